//! Literals that texts have somewhere inside.

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use memchr::memmem::Finder;
use smallvec::SmallVec;

use super::affix::common;
use super::by_length::ByLength;
use crate::table::ids::{PredicateId, narrow};

/// How many bytes of each literal are looked for: of longer ones that begin with each other, too many could be found at one
/// place of a text.
const LENGTH: usize = 32;

/// Of how many lengths literals may be that are looked up: of each, at every place of a text where they may begin.
const LENGTHS: usize = 8;

/// Literals with their predicates, all of which are found in one pass over a text.
#[derive(Clone, Debug, Default)]
pub(crate) enum Inner {
    #[default]
    Nothing,
    /// They begin in few ways: where a text has one of those, the literals there are looked up.
    Few { starts: Starts, strings: ByLength },
    /// Any others, by an automaton.
    Any { automaton: AhoCorasick, strings: Vec<SmallVec<[PredicateId; 1]>> },
}

impl Inner {
    /// `None` where no automaton can be made of them: there is room for some gigabytes.
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

    /// Calls `found` with the predicate of every literal that `text` has, once. Linear in the text.
    pub(crate) fn find(&self, text: &[u8], mut found: impl FnMut(PredicateId)) {
        let mut numbers = Numbers::default();
        match self {
            Self::Nothing => {}
            Self::Few { starts, strings } => {
                starts.find(text, |behind| strings.find(text, behind, &mut |number| numbers.add(number)));
                numbers.distinct().iter().for_each(|number| strings.tell(*number, &mut found));
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

/// How literals begin.
#[derive(Clone, Debug)]
pub(crate) enum Starts {
    /// All alike.
    Alike(Box<Finder<'static>>),
    /// With one of these pairs of bytes: a bit for each, which some others share.
    Pairs(Box<[u64; BITS / 64]>),
}

/// How many bits pairs have.
const BITS: usize = 4096;
/// With how many pairs literals may begin: with more, too many others have the same bits.
const PAIRS: usize = 256;

impl Starts {
    /// `None` if some literal has one byte alone, or there are too many pairs. The literals are in order.
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

    /// How many bytes are known of each literal where it may begin.
    fn length(&self) -> usize {
        match self {
            Self::Alike(common) => common.needle().len(),
            Self::Pairs(_) => 0,
        }
    }

    /// Calls `found` with each offset in a text behind the bytes that are known of literals that may begin before.
    fn find(&self, text: &[u8], mut found: impl FnMut(usize)) {
        match self {
            Self::Alike(common) => {
                let mut from = 0;
                while let Some(at) = text.get(from..).and_then(|rest| common.find(rest)) {
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

/// Numbers of which each may come very often.
#[derive(Default)]
struct Numbers {
    list: SmallVec<[u32; 16]>,
    /// How many there may be before those that came again are taken out.
    most: usize,
}

impl Numbers {
    fn add(&mut self, number: u32) {
        const SOME: usize = 1024;
        self.list.push(number);
        if self.list.len() > self.most.max(SOME) {
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
                // All begin alike, and can overlap.
                prop::collection::vec("aba[ab]{0,5}", 0..80),
                prop::collection::vec("a/[ab]{20,40}", 0..9),
                // They begin in a few ways, or in many.
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
