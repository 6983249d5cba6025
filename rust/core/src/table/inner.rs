//! Literals that texts have somewhere inside.

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use smallvec::SmallVec;

use super::predicates::PredicateId;

/// Of how many bytes of each literal an automaton is made: of longer ones that begin with each other, too many could be
/// found at one place of a text.
const LENGTH: usize = 32;

/// Literals with their predicates, all of which are found in one pass over a text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inner {
    automaton: Option<AhoCorasick>,
    /// By the automaton's pattern.
    ids: Vec<SmallVec<[PredicateId; 1]>>,
}

impl Inner {
    /// `None` where no automaton can be made of them: there is room for some gigabytes.
    pub(crate) fn build(mut literals: Vec<(&[u8], PredicateId)>) -> Option<Self> {
        for (literal, _) in &mut literals {
            *literal = literal.get(..LENGTH).unwrap_or(literal);
        }
        literals.sort_unstable();
        let mut patterns: Vec<&[u8]> = Vec::new();
        let mut ids: Vec<SmallVec<[PredicateId; 1]>> = Vec::new();
        for (literal, id) in literals {
            match ids.last_mut() {
                Some(ids) if patterns.last() == Some(&literal) => ids.push(id),
                _ => {
                    patterns.push(literal);
                    ids.push(SmallVec::from_slice(&[id]));
                }
            }
        }
        let kind = Some(AhoCorasickKind::ContiguousNFA);
        let automaton = AhoCorasick::builder().kind(kind).build(patterns).ok()?;
        Some(Self { automaton: Some(automaton), ids })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Calls `found` with the predicate of every literal that `text` has, once. Linear in the text.
    pub(crate) fn find(&self, text: &[u8], mut found: impl FnMut(PredicateId)) {
        let Some(automaton) = &self.automaton else { return };
        let mut left = self.ids.len();
        let mut seen: SmallVec<[u64; 16]> = SmallVec::from_elem(0, left.div_ceil(64));
        for literal in automaton.find_overlapping_iter(text) {
            let index = literal.pattern().as_usize();
            let Some(word) = seen.get_mut(index / 64) else { continue };
            let bit = 1 << (index % 64);
            if *word & bit == 0 {
                *word |= bit;
                self.ids.get(index).into_iter().flatten().for_each(|id| found(*id));
                left -= 1;
                if left == 0 {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_every_literal_by_its_beginning(
            literals in prop::collection::vec("[ab]{1,40}", 0..80),
            text in "[ab]{0,60}",
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
