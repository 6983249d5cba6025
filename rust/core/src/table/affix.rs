//! Byte strings, of which those that a text begins with are found by one binary search.

use smallvec::SmallVec;

use super::levels::Levels;
use super::narrow;
use super::predicates::PredicateId;

/// Prefixes (or reversed suffixes) with their predicates, sorted. The prefixes of a text are the greatest string that is
/// not after it, where that is one, and those of its own prefixes that are in the set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Affixes {
    /// How many bytes all of them begin with alike.
    common: usize,
    /// The first eight of those, and which bytes of the number they are.
    begin: (u64, u64),
    /// By string, the eight bytes behind the common ones, as a number that sorts as they do; those that are missing are 0.
    keys: Levels,
    /// By string, its predicate, and [`ENOUGH`] if that holds wherever the string is found.
    ids: Vec<PredicateId>,
    strings: Vec<Affix>,
    bytes: Vec<u8>,
    /// In bytes, the longest of them: nobody has to look at more of a text.
    longest: usize,
    /// Whether some begin with others.
    nested: bool,
    /// Whether no more is needed of any than its key: then they stay where they are.
    short: bool,
}

/// Set beside a predicate that holds wherever its string is found. There are never so many that it is theirs.
const ENOUGH: PredicateId = 1 << 30;

#[derive(Clone, Debug)]
struct Affix {
    /// Where its bytes are.
    start: u32,
    length: u32,
    /// Position of the longest other string that this one begins with, or [`NONE`]. An equal one counts.
    parent: u32,
}

const NONE: u32 = u32::MAX;

impl Affixes {
    /// Each with its predicate, and whether that holds wherever the string is found.
    pub(crate) fn build(mut strings: Vec<(Vec<u8>, PredicateId, bool)>) -> Self {
        strings.sort_unstable();
        let mut out = Self::default();
        if let (Some((first, ..)), Some((last, ..))) = (strings.first(), strings.last()) {
            out.common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        }
        let mut keys = Vec::with_capacity(strings.len());
        out.ids.reserve_exact(strings.len());
        out.short = out.common <= 8;
        for (bytes, id, enough) in strings {
            // The one before is a prefix, or one of its prefixes is, or none is.
            let mut parent = narrow(out.strings.len().wrapping_sub(1));
            while let Some(affix) = out.strings.get(parent as usize) {
                if bytes.starts_with(out.bytes(affix)) {
                    break;
                }
                parent = affix.parent;
            }
            out.nested |= parent != NONE;
            let rest = bytes.get(out.common..).unwrap_or_default();
            out.short &= rest.len() <= 8 && !rest.contains(&0);
            out.ids.push(if enough { id | ENOUGH } else { id });
            out.longest = out.longest.max(bytes.len());
            keys.push(key(&bytes, out.common));
            let (start, length) = (narrow(out.bytes.len()), narrow(bytes.len()));
            out.bytes.extend_from_slice(&bytes);
            out.strings.push(Affix { start, length, parent });
        }
        out.keys = Levels::new(keys);
        if let Some(affix) = out.strings.first() {
            let length = out.common.min(8);
            let mask = if length == 0 { 0 } else { u64::MAX << (64 - 8 * length) };
            out.begin = (key(out.bytes(affix), 0) & mask, mask);
        }
        out.short &= !out.nested;
        out.strings.shrink_to_fit();
        out.bytes.shrink_to_fit();
        out
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.strings.is_empty()
    }

    /// In bytes, the longest of them, where there are any.
    pub(crate) fn longest(&self) -> Option<usize> {
        (!self.is_empty()).then_some(self.longest)
    }

    /// Calls `found` with the predicate of every string that `text` begins with, and whether it holds.
    pub(crate) fn prefixes(&self, text: &[u8], mut found: impl FnMut(PredicateId, bool)) {
        match self.strings.as_slice() {
            [_] if text.starts_with(&self.bytes) => self.tell(0, &mut found),
            [] | [_] => {}
            _ => self.find(text, &mut found),
        }
    }

    /// Calls `found` with the predicate of every string, written backwards, that `text` ends with, and
    /// whether it holds.
    pub(crate) fn suffixes(&self, text: &[u8], mut found: impl FnMut(PredicateId, bool)) {
        match self.strings.as_slice() {
            [_] if self.bytes.len() <= text.len()
                && text.iter().rev().zip(&self.bytes).all(|(a, b)| a == b) =>
            {
                self.tell(0, &mut found);
            }
            [] | [_] => {}
            _ => {
                let end: SmallVec<[u8; 64]> = text.iter().rev().take(self.longest).copied().collect();
                self.find(&end, &mut found);
            }
        }
    }

    #[inline]
    fn tell(&self, at: usize, found: &mut impl FnMut(PredicateId, bool)) {
        if let Some(id) = self.ids.get(at) {
            found(id & !ENOUGH, id & ENOUGH != 0);
        }
    }

    fn find(&self, text: &[u8], found: &mut impl FnMut(PredicateId, bool)) {
        let (begin, mask) = self.begin;
        if key(text, 0) & mask != begin {
            return;
        }
        let key = key(text, self.common);
        let same = self.keys.first_from(key, &self.ids, 1);
        let is_same = self.keys.get(same) == Some(key);
        if self.short {
            let at = if is_same { same } else { same.wrapping_sub(1) };
            if self.keys.get(at).is_some_and(|nearest| key & filled(nearest) == nearest) {
                self.tell(at, found);
            }
            return;
        }
        // Only among strings with the same key does the whole string say which is greater.
        let mut after = same;
        if is_same {
            let behind = self.strings.get(same..).unwrap_or_default();
            let is_before = |affix: &Affix| self.key_of(affix) == key && self.bytes(affix) <= text;
            after += behind.partition_point(is_before);
        }
        let mut at = narrow(after.wrapping_sub(1));
        // Most that are no prefixes can be told by their keys, without a look at anything else.
        let nearest = self.keys.get(at as usize).unwrap_or_default();
        if !self.nested && key & filled(nearest) != nearest {
            return;
        }
        while let Some(affix) = self.strings.get(at as usize) {
            if self.begins(text, key, at as usize, affix) {
                self.tell(at as usize, found);
            }
            at = affix.parent;
        }
    }

    /// Whether a text of this key begins with the string at a position, the first bytes of those that all strings have in
    /// common being in it.
    #[inline]
    fn begins(&self, text: &[u8], key: u64, at: usize, affix: &Affix) -> bool {
        let length = affix.length as usize;
        match (length.saturating_sub(self.common), self.keys.get(at)) {
            // The keys say all of it, and the string's bytes can stay where they are.
            (rest, Some(own)) if self.common <= 8 && rest <= 8 => {
                let different = (key ^ own) & u64::MAX.checked_shl(narrow(64 - 8 * rest)).unwrap_or_default();
                different == 0 && text.len() >= length
            }
            _ => text.starts_with(self.bytes(affix)),
        }
    }

    fn key_of(&self, affix: &Affix) -> u64 {
        key(self.bytes(affix), self.common)
    }

    fn bytes(&self, affix: &Affix) -> &[u8] {
        let start = affix.start as usize;
        self.bytes.get(start..start + affix.length as usize).unwrap_or_default()
    }
}

/// The bytes of a key up to the last one that is not 0.
#[inline]
fn filled(key: u64) -> u64 {
    u64::MAX.checked_shl(key.trailing_zeros() / 8 * 8).unwrap_or_default()
}

/// Eight bytes from an offset on, those that are missing being 0.
#[inline]
fn key(text: &[u8], from: usize) -> u64 {
    let rest = text.get(from..).unwrap_or_default();
    if let Some(chunk) = rest.first_chunk() {
        return u64::from_be_bytes(*chunk);
    }
    let missing = 8 * (8 - rest.len());
    if let Some(chunk) = text.last_chunk() {
        return u64::from_be_bytes(*chunk).checked_shl(narrow(missing)).unwrap_or_default();
    }
    rest.iter()
        .fold(0, |key, byte| key << 8 | u64::from(*byte))
        .checked_shl(narrow(missing))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_every_prefix(
            common in "[ab]{0,12}",
            strings in prop_oneof![
                prop::collection::vec("[ab\u{0}]{1,9}", 0..2),
                prop::collection::vec("[ab\u{0}]{1,9}", 0..400),
                // Few begin with others.
                prop::collection::btree_set("[ab]{1,3}", 0..5).prop_map(|set| set.into_iter().collect()),
                prop::collection::btree_set("[ab]{4}", 0..12).prop_map(|set| set.into_iter().collect()),
                prop::collection::btree_set("[ab\u{0}]{4}", 0..12).prop_map(|set| set.into_iter().collect()),
            ],
            text in prop_oneof!["[abc\u{0}]{0,8}", "[ab]{4,12}"],
            begins in prop::option::of((any::<prop::sample::Index>(), prop_oneof![Just(0), 0_usize..14])),
        ) {
            let strings: Vec<String> = strings.into_iter().map(|s| common.clone() + &s).collect();
            let begins = begins.filter(|_| !strings.is_empty()).map(|(index, cut)| {
                let string = index.get(&strings);
                string[..string.len().saturating_sub(cut)].to_owned()
            });
            let text = begins.unwrap_or(common) + &text;
            let affixes = Affixes::build((0..).zip(&strings).map(|(id, s)| (s.as_bytes().to_vec(), id, id % 2 == 0)).collect());
            let mut found = Vec::new();
            affixes.prefixes(text.as_bytes(), |id, enough| found.push(if enough == (id % 2 == 0) { id } else { u32::MAX }));
            found.sort_unstable();
            let expected: Vec<u32> = (0..).zip(&strings).filter(|(_, s)| text.starts_with(s.as_str())).map(|(id, _)| id).collect();
            prop_assert_eq!(&found, &expected);
            let reversed: String = text.chars().rev().collect();
            let mut found = Vec::new();
            affixes.suffixes(reversed.as_bytes(), |id, _| found.push(id));
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
