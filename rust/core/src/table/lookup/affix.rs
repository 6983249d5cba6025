//! Finds the prefixes of a text among many strings.

use smallvec::SmallVec;

use super::by_length::{ByLength, last};
use super::sorted::Sorted;
use crate::table::ids::{PredicateId, narrow};

/// Prefixes (or reversed suffixes) with their predicates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Affixes {
    /// The common prefix of all strings.
    common: Vec<u8>,
    /// The first eight bytes of the common prefix as a number, and a mask for the bytes in use.
    begin: (u64, u64),
    /// Length of the longest string, in bytes. No more of a text matters.
    longest: usize,
    strings: Strings,
}

/// The strings without their common prefix.
#[derive(Clone, Debug, Default)]
enum Strings {
    #[default]
    None,
    /// The only string is the common prefix.
    One(PredicateId),
    ByLength(ByLength),
    Sorted(Sorted),
}

/// The most distinct lengths of strings that are looked up by length.
const LENGTHS: usize = 24;

/// The bit that marks a predicate that holds wherever its string is found. There are never enough predicates to use it.
const ENOUGH: PredicateId = 1 << 30;

impl Affixes {
    /// Builds the table from strings, their predicates, and whether a predicate holds wherever its string is found.
    pub(crate) fn build(strings: Vec<(Vec<u8>, PredicateId, bool)>) -> Self {
        let flagged = |(bytes, id, enough)| (bytes, if enough { id | ENOUGH } else { id });
        let mut strings: Vec<(Vec<u8>, PredicateId)> = strings.into_iter().map(flagged).collect();
        strings.sort_unstable();
        let (Some((first, id)), Some((last, _))) = (strings.first(), strings.last()) else {
            return Self::default();
        };
        let common = common(first, last).to_vec();
        let length = common.len();
        let mask = u64::MAX.checked_shr(64 - 8 * narrow(length.min(8))).unwrap_or_default();
        let begin = (start(&common) & mask, mask);
        let longest = strings.iter().map(|(bytes, _)| bytes.len()).max().unwrap_or_default();
        let strings = if strings.len() == 1 {
            Strings::One(*id)
        } else if let Some(strings) = ByLength::build(&strings, length, LENGTHS) {
            Strings::ByLength(strings)
        } else {
            Strings::Sorted(Sorted::build(strings, length))
        };
        Self { common, begin, longest, strings }
    }

    /// Sets handles, by predicate.
    pub(crate) fn set_handles(&mut self, handle: impl Fn(PredicateId) -> usize) {
        if let Strings::ByLength(strings) = &mut self.strings {
            strings.set_handles(|id| handle(id & !ENOUGH));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.strings, Strings::None)
    }

    /// Length of the longest string, in bytes; `None` without strings.
    pub(crate) fn longest(&self) -> Option<usize> {
        (!self.is_empty()).then_some(self.longest)
    }

    /// Calls `found` for every string that `text` begins with: with its predicate, and whether that holds.
    #[inline]
    pub(crate) fn prefixes(&self, text: &[u8], found: impl FnMut(PredicateId, bool)) {
        if !self.is_empty() {
            self.find(text, found);
        }
    }

    /// Calls `found` for every string that, reversed, `text` ends with: with its predicate, and whether that holds.
    #[inline]
    pub(crate) fn suffixes(&self, text: &[u8], found: impl FnMut(PredicateId, bool)) {
        if !self.is_empty() {
            let end: SmallVec<[u8; 64]> = text.iter().rev().take(self.longest).copied().collect();
            self.find(&end, found);
        }
    }

    fn find(&self, text: &[u8], mut found: impl FnMut(PredicateId, bool)) {
        let (begin, mask) = self.begin;
        if start(text) & mask != begin || text.len() < self.common.len() {
            return;
        }
        if self.common.len() > size_of_val(&begin) && !text.starts_with(&self.common) {
            return;
        }
        let mut report = |id: PredicateId| found(id & !ENOUGH, id & ENOUGH != 0);
        match &self.strings {
            Strings::None => {}
            Strings::One(id) => report(*id),
            Strings::ByLength(strings) => {
                strings.find(text, self.common.len(), &mut |number| strings.report(number, &mut report));
            }
            Strings::Sorted(strings) => strings.find(text, &mut report),
        }
    }
}

/// The common prefix of two texts. For the first and the last of sorted texts, it is the common prefix of all.
pub(super) fn common<'t>(first: &'t [u8], last: &[u8]) -> &'t [u8] {
    let length = first.iter().zip(last).take_while(|(a, b)| a == b).count();
    first.get(..length).unwrap_or_default()
}

/// The first eight bytes as a number, padded with zeros.
#[inline]
fn start(text: &[u8]) -> u64 {
    text.first_chunk().map_or_else(|| last(text, text.len()), |chunk| u64::from_le_bytes(*chunk))
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
                // Few strings are prefixes of others.
                prop::collection::btree_set("[ab]{1,3}", 0..5).prop_map(|set| set.into_iter().collect()),
                prop::collection::btree_set("[ab]{4}", 0..12).prop_map(|set| set.into_iter().collect()),
                prop::collection::btree_set("[ab\u{0}]{4}", 0..12).prop_map(|set| set.into_iter().collect()),
                prop::collection::vec("[ab\u{0}]{10,20}", 0..40),
                // Too many lengths, or strings that are too long.
                prop::collection::vec("[ab]{1,40}", 30..90),
                prop::collection::vec("[ab]{60,80}", 2..9),
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
