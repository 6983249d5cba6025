//! Byte strings, of which those that a text begins with are found by one binary search.

use smallvec::SmallVec;

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
    keys: Vec<u64>,
    /// By the byte behind the common ones, where the strings with a greater one begin. Empty where strings are few.
    first: Vec<u32>,
    strings: Vec<Affix>,
    bytes: Vec<u8>,
    /// In bytes, the longest of them: nobody has to look at more of a text.
    longest: usize,
}

#[derive(Clone, Debug)]
struct Affix {
    /// Where its bytes are.
    start: u32,
    length: u32,
    id: PredicateId,
    /// Position of the longest other string that this one begins with, or [`NONE`]. An equal one counts.
    parent: u32,
}

const NONE: u32 = u32::MAX;

/// Up to how many strings are searched without a look at the first byte.
const FEW: usize = 16;

impl Affixes {
    pub(crate) fn build(mut strings: Vec<(Vec<u8>, PredicateId)>) -> Self {
        strings.sort_unstable();
        let mut out = Self::default();
        if let (Some((first, _)), Some((last, _))) = (strings.first(), strings.last()) {
            out.common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        }
        for (bytes, id) in strings {
            // The one before is a prefix, or one of its prefixes is, or none is.
            let mut parent = narrow(out.strings.len().wrapping_sub(1));
            while let Some(affix) = out.strings.get(parent as usize) {
                if bytes.starts_with(out.bytes(affix)) {
                    break;
                }
                parent = affix.parent;
            }
            out.longest = out.longest.max(bytes.len());
            out.keys.push(key(&bytes, out.common));
            let (start, length) = (narrow(out.bytes.len()), narrow(bytes.len()));
            out.bytes.extend_from_slice(&bytes);
            out.strings.push(Affix { start, length, id, parent });
        }
        if out.keys.len() > FEW {
            let behind = |byte: u64| out.keys.partition_point(|key| key >> 56 <= byte);
            out.first = (0..=0xFF).map(|byte| narrow(behind(byte))).collect();
        }
        if let Some(affix) = out.strings.first() {
            let length = out.common.min(8);
            let mask = if length == 0 { 0 } else { u64::MAX << (64 - 8 * length) };
            out.begin = (key(out.bytes(affix), 0) & mask, mask);
        }
        out.keys.shrink_to_fit();
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

    /// Calls `found` with the predicate of every string that `text` begins with.
    pub(crate) fn prefixes(&self, text: &[u8], found: impl FnMut(PredicateId)) {
        if !self.is_empty() {
            self.find(text, found);
        }
    }

    /// Calls `found` with the predicate of every string, written backwards, that `text` ends with.
    pub(crate) fn suffixes(&self, text: &[u8], found: impl FnMut(PredicateId)) {
        if !self.is_empty() {
            let end: SmallVec<[u8; 64]> = text.iter().rev().take(self.longest).copied().collect();
            self.find(&end, found);
        }
    }

    fn find(&self, text: &[u8], mut found: impl FnMut(PredicateId)) {
        let (begin, mask) = self.begin;
        if key(text, 0) & mask != begin {
            return;
        }
        let key = key(text, self.common);
        // Only among strings with the same key does the whole string say which is greater.
        let same = self.first_from(key);
        let mut after = same;
        if self.keys.get(same) == Some(&key) {
            let end = self.keys.partition_point(|other| *other <= key);
            let ties = self.strings.get(same..end).unwrap_or_default();
            after += ties.partition_point(|affix| self.bytes(affix) <= text);
        }
        let mut at = narrow(after.wrapping_sub(1));
        while let Some(affix) = self.strings.get(at as usize) {
            if text.starts_with(self.bytes(affix)) {
                found(affix.id);
            }
            at = affix.parent;
        }
    }

    /// The first string whose key is at least this one.
    fn first_from(&self, key: u64) -> usize {
        let byte = (key >> 56) as usize;
        let behind = |byte: usize| self.first.get(byte).map(|at| *at as usize);
        let (from, to) = match behind(byte) {
            None => (0, self.keys.len()),
            Some(to) => (byte.checked_sub(1).and_then(behind).unwrap_or_default(), to),
        };
        let keys = self.keys.get(from..to).unwrap_or_default();
        from + keys.partition_point(|other| *other < key)
    }

    fn bytes(&self, affix: &Affix) -> &[u8] {
        let start = affix.start as usize;
        self.bytes.get(start..start + affix.length as usize).unwrap_or_default()
    }
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

/// An index or offset; 2³² − 1 for what does not fit, where nothing is.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_every_prefix(
            common in "[ab]{0,10}",
            strings in prop::collection::vec("[ab\u{0}]{1,5}", 0..30),
            text in "[abc\u{0}]{0,8}",
        ) {
            let strings: Vec<String> = strings.into_iter().map(|s| common.clone() + &s).collect();
            let text = common + &text;
            let affixes = Affixes::build((0..).zip(&strings).map(|(id, s)| (s.as_bytes().to_vec(), id)).collect());
            let mut found = Vec::new();
            affixes.prefixes(text.as_bytes(), |id| found.push(id));
            found.sort_unstable();
            let expected: Vec<u32> = (0..).zip(&strings).filter(|(_, s)| text.starts_with(s.as_str())).map(|(id, _)| id).collect();
            prop_assert_eq!(&found, &expected);
            let reversed: String = text.chars().rev().collect();
            let mut found = Vec::new();
            affixes.suffixes(reversed.as_bytes(), |id| found.push(id));
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
