//! Finds the literals that a text contains.

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use memchr::memmem::Finder;
use smallvec::SmallVec;

use super::affix::common;
use super::by_length::ByLength;
use crate::table::ids::{PredicateId, narrow};

/// The most bytes of a literal that are searched for. Without this limit, very many long literals that are prefixes of each
/// other could be found at one offset of a text.
const LENGTH: usize = 32;

/// The most distinct lengths of literals that are looked up. Each length takes one look-up at every offset where a literal may
/// begin.
const LENGTHS: usize = 8;

/// Literals with their predicates. One pass over a text finds all of them.
#[derive(Clone, Debug, Default)]
pub(crate) enum Inner {
    #[default]
    Nothing,
    /// Literals that begin in few ways. They are looked up at each offset where a text has one of these beginnings.
    Few { starts: Starts, strings: ByLength },
    /// Other literals, found by an automaton.
    Any { automaton: AhoCorasick, strings: Vec<SmallVec<[PredicateId; 1]>> },
}

impl Inner {
    /// Builds the table; `None` if the literals, of some gigabytes, are too large for an automaton.
    pub(crate) fn build(literals: Vec<(&[u8], PredicateId)>) -> Option<Self> {
        let cut = |(literal, id): (&[u8], _)| (literal.get(..LENGTH).unwrap_or(literal).to_vec(), id);
        let mut literals: Vec<(Vec<u8>, PredicateId)> = literals.into_iter().map(cut).collect();
        literals.sort_unstable();
        if literals.is_empty() {
            return Some(Self::Nothing);
        }
        if let Some(starts) = Starts::of(&literals)
            && let Some(strings) = ByLength::build(&literals, starts.length(), LENGTHS)
        {
            return Some(Self::Few { starts, strings });
        }
        let same = || literals.chunk_by(|one, next| one.0 == next.0);
        let strings = same().map(|same| same.iter().map(|(_, id)| *id).collect()).collect();
        let patterns = same().filter_map(|same| same.first()).map(|(literal, _)| literal);
        let kind = Some(AhoCorasickKind::ContiguousNFA);
        let automaton = AhoCorasick::builder().kind(kind).build(patterns).ok()?;
        Some(Self::Any { automaton, strings })
    }

    /// Sets handles, by predicate.
    pub(crate) fn set_handles(&mut self, handle: impl Fn(PredicateId) -> usize) {
        if let Self::Few { strings, .. } = self {
            strings.set_handles(handle);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// Calls `found` once with the predicate of every literal that `text` contains. Takes time linear in the text.
    pub(crate) fn find(&self, text: &[u8], mut found: impl FnMut(PredicateId)) {
        let mut numbers = Numbers::default();
        match self {
            Self::Nothing => {}
            Self::Few { starts, strings } => {
                starts.find(text, |from| strings.find(text, from, &mut |number| numbers.add(number)));
                numbers.distinct().iter().for_each(|number| strings.report(*number, &mut found));
            }
            Self::Any { automaton, strings } => {
                for literal in automaton.find_overlapping_iter(text) {
                    numbers.add(narrow(literal.pattern().as_usize()));
                }
                let ids = numbers.distinct().iter().filter_map(|number| strings.get(*number as usize));
                ids.flatten().for_each(|id| found(*id));
            }
        }
    }
}

/// The beginnings of literals.
#[derive(Clone, Debug)]
pub(crate) enum Starts {
    /// All literals have this common prefix.
    Alike(Box<Finder<'static>>),
    /// Each literal begins with one of these pairs of bytes. Each pair has a bit, which it shares with some others.
    Pairs(Box<[u64; BITS / 64]>),
}

/// Number of bits for pairs.
const BITS: usize = 4096;
/// The most pairs that literals may begin with. With more, too many other pairs share their bits.
const PAIRS: usize = 256;

impl Starts {
    /// Builds the beginnings of sorted literals; `None` if a literal has only one byte, or if there are too many pairs.
    fn of(literals: &[(Vec<u8>, PredicateId)]) -> Option<Self> {
        let common = common(&literals.first()?.0, &literals.last()?.0);
        if common.len() > 1 {
            return Some(Self::Alike(Box::new(Finder::new(common).into_owned())));
        }
        let mut pairs = Vec::new();
        for (literal, _) in literals {
            let pair = literal.first_chunk::<2>()?;
            if pairs.last() != Some(pair) {
                pairs.push(*pair);
            }
        }
        let mut bits = Box::new([0; BITS / 64]);
        for pair in pairs.iter().take(PAIRS) {
            let bit = bit(*pair);
            if let Some(word) = bits.get_mut(bit / 64) {
                *word |= 1 << (bit % 64);
            }
        }
        (pairs.len() <= PAIRS).then_some(Self::Pairs(bits))
    }

    /// Length of the common prefix, which needs no further comparison.
    fn length(&self) -> usize {
        match self {
            Self::Alike(common) => common.needle().len(),
            Self::Pairs(_) => 0,
        }
    }

    /// Calls `found` for each offset at which a literal may begin, with the offset after the common prefix.
    fn find(&self, text: &[u8], mut found: impl FnMut(usize)) {
        match self {
            Self::Alike(common) => {
                let mut from = 0;
                while let Some(at) = text.get(from..).and_then(|tail| common.find(tail)) {
                    found(from + at + common.needle().len());
                    from += at + 1;
                }
            }
            Self::Pairs(bits) => {
                for (at, (one, other)) in text.iter().zip(text.iter().skip(1)).enumerate() {
                    let bit = bit([*one, *other]);
                    if bits.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 != 0) {
                        found(at);
                    }
                }
            }
        }
    }
}

/// The bit of a pair of bytes.
fn bit([one, other]: [u8; 2]) -> usize {
    (usize::from(one) << 6 ^ usize::from(other)) % BITS
}

/// A set of numbers, each of which may be added very often.
#[derive(Default)]
struct Numbers {
    list: SmallVec<[u32; 16]>,
    /// Length of the list at which duplicates are removed.
    most: usize,
}

impl Numbers {
    fn add(&mut self, number: u32) {
        const AT_LEAST: usize = 1024;
        self.list.push(number);
        if self.list.len() > self.most.max(AT_LEAST) {
            self.most = 2 * self.distinct().len();
        }
    }

    fn distinct(&mut self) -> &[u32] {
        if self.list.len() > 1 {
            self.list.sort_unstable();
            self.list.dedup();
        }
        &self.list
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_every_literal_by_its_beginning(
            literals in prop_oneof![
                prop::collection::vec("[ab]{1,40}", 0..80),
                // All have a common prefix, and can overlap.
                prop::collection::vec("aba[ab]{0,5}", 0..80),
                prop::collection::vec("a/[ab]{20,40}", 0..9),
                // They have few beginnings, or many.
                prop::collection::vec("[ab]{2,9}", 2..80),
                prop::collection::vec("[a-z]{2,4}", 200..400),
            ],
            text in prop_oneof!["[ab]{0,60}", "(a/[ab]{1,30}){0,4}", "[a-z]{0,200}", Just("ab".repeat(3000))],
        ) {
            let inner = Inner::build(literals.iter().map(String::as_bytes).zip(0..).collect()).unwrap();
            let mut found = Vec::new();
            inner.find(text.as_bytes(), |id| found.push(id));
            found.sort_unstable();
            let begins = |literal: &str| text.contains(literal.get(..LENGTH).unwrap_or(literal));
            let expected: Vec<u32> = (0..).zip(&literals).filter(|(_, l)| begins(l)).map(|(id, _)| id).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
