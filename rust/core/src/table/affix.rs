//! Byte strings, of which those that a text begins with are found by one binary search.

use super::predicates::PredicateId;

/// Prefixes (or reversed suffixes) with their predicates, sorted. The prefixes of a text are the greatest string that is
/// not after it, where that is one, and those of its own prefixes that are in the set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Affixes {
    strings: Vec<Affix>,
    /// In bytes, the longest of them: nobody has to look at more of a text.
    longest: usize,
}

#[derive(Clone, Debug)]
struct Affix {
    bytes: Box<[u8]>,
    id: PredicateId,
    /// Position of the longest other string that this one begins with. An equal one counts.
    parent: Option<u32>,
}

impl Affixes {
    pub(crate) fn is_empty(&self) -> bool {
        self.strings.is_empty()
    }

    pub(crate) fn build(mut strings: Vec<(Vec<u8>, PredicateId)>) -> Self {
        strings.sort_unstable();
        let longest = strings.iter().map(|(bytes, _)| bytes.len()).max().unwrap_or_default();
        let mut out: Vec<Affix> = Vec::with_capacity(strings.len());
        for (bytes, id) in strings {
            // The one before is a prefix, or one of its prefixes is, or none is.
            let mut parent = out.len().checked_sub(1);
            while let Some(affix) = parent.and_then(|at| out.get(at)) {
                if bytes.starts_with(&affix.bytes) {
                    break;
                }
                parent = affix.parent.map(|at| at as usize);
            }
            let parent = parent.and_then(|at| u32::try_from(at).ok());
            out.push(Affix { bytes: bytes.into(), id, parent });
        }
        Self { strings: out, longest }
    }

    /// Calls `found` with the predicate of every string that `text` begins with.
    pub(crate) fn find(&self, text: impl Iterator<Item = u8>, mut found: impl FnMut(PredicateId)) {
        if self.strings.is_empty() {
            return;
        }
        let text: smallvec::SmallVec<[u8; 64]> = text.take(self.longest).collect();
        let after = self.strings.partition_point(|affix| *affix.bytes <= *text);
        let mut at = after.checked_sub(1);
        while let Some(affix) = at.and_then(|at| self.strings.get(at)) {
            if text.starts_with(&affix.bytes) {
                found(affix.id);
            }
            at = affix.parent.map(|at| at as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_every_prefix(strings in prop::collection::vec("[ab]{1,5}", 0..30), text in "[abc]{0,8}") {
            let affixes = Affixes::build((0..).zip(&strings).map(|(id, s)| (s.as_bytes().to_vec(), id)).collect());
            let mut found = Vec::new();
            affixes.find(text.bytes(), |id| found.push(id));
            found.sort_unstable();
            let expected: Vec<u32> = (0..).zip(&strings).filter(|(_, s)| text.starts_with(s.as_str())).map(|(id, _)| id).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
