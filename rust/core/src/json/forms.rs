//! Documents of one form: the same keys in the same order, with values of the same types, but whatever they are.
//!
//! Most documents are of a form that was met before. Such a one is not walked through: for each member a [`Part`] says
//! which tokens, which key and what to record come next, all of which is compared and nothing looked up. A document whose
//! tokens and keys are those of a valid one, in their order, is valid itself but for its numbers and words, which are
//! read. Where one differs it is walked through from the beginning, which finds what is wrong, if anything is.
//!
//! Forms are learned from documents that were walked through. Those that begin alike share parts, and where they differ
//! there is a choice. What documents can make this do is bounded: how many parts there are, how many are looked at in one
//! place, how often one is learned, and how often it is tried in vain.

use super::kernels::{Ahead, Kinds};
use super::probe::words;
use super::trie::{NodeId, PathTrie};
use super::{Element, narrow};

/// How many parts there may be: 80 KB.
pub(super) const MOST: usize = 1024;
/// How many elements of forms may be kept.
const ELEMENTS: usize = 4096;
/// How many parts may be next.
const CHOICES: usize = 8;
/// After how many documents in a row that were of no known form some are not tried.
const PATIENCE: u32 = 4;
/// How many are not tried then at most.
const LONGEST: u32 = 64;
/// After how many documents that were tried in vain all forms are forgotten, if there is no room for another.
const OUTDATED: u32 = 256;

/// Number of a part.
pub(super) type PartId = u32;
const NOTHING: PartId = u32::MAX;

/// Some tokens of a document, and what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The key, of at most 16 bytes, followed by zeros; none has a byte that is zero.
    pub(super) words: (u64, u64),
    pub(super) kinds: Kinds,
    /// Which of the tokens opens the key, where there is one.
    pub(super) key: Option<u8>,
    /// Which of them begins what is recorded.
    pub(super) at: u8,
    /// How many of them are passed.
    pub(super) passes: u8,
    pub(super) what: What,
    /// Where what is recorded is.
    pub(super) node: NodeId,
    pub(super) fields: (u32, u32),
    pub(super) element: u32,
    pub(super) next: PartId,
    /// What else may come in its place.
    pub(super) other: PartId,
}

/// What to do about a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Nothing.
    Pass,
    /// Record a string.
    String,
    /// Check a number or word, and record it where it is tracked.
    Scalar,
    /// Record an object or array, which begins.
    Open,
    /// An object or array ends, whose leaves begin here.
    Close { leaf: u32 },
    /// The document ends, in which so many containers were nested.
    End { depth: usize },
}

/// The forms that are known.
#[derive(Debug, Default)]
pub(super) struct Forms {
    /// In no order but that the first begins the first form.
    parts: Vec<Part>,
    /// Those of one form after those of the other; a part that ends one says which, by its place and its element.
    elements: Vec<Element>,
    /// By which trie they were learned.
    trie: u64,
    /// How many documents in a row were of none, of those that were tried.
    misses: u32,
    /// How many were in all.
    unknown: u32,
    /// How many documents will not be tried.
    skip: u32,
    /// Whether this one is.
    is_tried: bool,
}

impl Part {
    /// Tokens of which these are the kinds, and that are all passed.
    pub(super) fn new(kinds: &[u8], what: What) -> Self {
        let passes = u8::try_from(kinds.len()).unwrap_or(u8::MAX);
        Self {
            words: (0, 0),
            kinds: Kinds::new(kinds),
            key: None,
            at: 0,
            passes,
            what,
            node: super::trie::NONE,
            fields: (0, 0),
            element: 0,
            next: NOTHING,
            other: NOTHING,
        }
    }

    /// Whether some tokens are this.
    #[inline(always)]
    fn is(&self, body: &[u8], ahead: &Ahead<'_>) -> bool {
        if !ahead.are(self.kinds) {
            return false;
        }
        let Some(key) = self.key else { return true };
        let (start, end) = (ahead.at(key as usize) as usize + 1, ahead.at(key as usize + 1) as usize);
        words(body, start, end - start) == Some(self.words)
    }
}

impl Forms {
    /// Begins a document. Whether it may be of a form that is known.
    pub(super) fn begin(&mut self, trie: &PathTrie) -> bool {
        if self.trie != trie.number() {
            *self = Self { trie: trie.number(), misses: u32::MAX, ..Self::default() };
        }
        self.is_tried = self.skip == 0;
        self.skip = self.skip.saturating_sub(1);
        self.is_tried && !self.parts.is_empty()
    }

    /// The document was of a known form.
    #[inline]
    pub(super) fn hit(&mut self) {
        self.misses = 0;
    }

    /// The document was of none. Whether to learn its form: not of the first document after another trie's, which may be the
    /// only one, and ever less often of those that are in vain.
    pub(super) fn miss(&mut self) -> bool {
        if !self.is_tried {
            return false;
        }
        self.misses = self.misses.wrapping_add(1);
        self.unknown = self.unknown.saturating_add(1);
        self.skip = self.misses.saturating_sub(PATIENCE).min(LONGEST);
        self.misses.is_power_of_two() || self.misses > 0 && self.misses.is_multiple_of(LONGEST)
    }

    /// The part that begins the first form.
    pub(super) const FIRST: PartId = 0;

    /// The part that some tokens are, of those that may be next.
    #[inline(always)]
    pub(super) fn find(&self, mut at: PartId, body: &[u8], ahead: &Ahead<'_>) -> Option<&Part> {
        loop {
            let part = self.parts.get(at as usize)?;
            if part.is(body, ahead) {
                return Some(part);
            }
            at = part.other;
        }
    }

    /// The elements of the form that a part ends.
    pub(super) fn elements(&self, part: &Part) -> &[Element] {
        self.elements.get(part.node as usize..part.element as usize).unwrap_or_default()
    }

    /// Adds a form, if there is room for it or for nothing else any more.
    pub(super) fn add(&mut self, form: &[Part], elements: &[Element]) {
        if self.try_to_add(form, elements).is_none() && self.unknown > OUTDATED {
            *self = Self { trie: self.trie, ..Self::default() };
            self.try_to_add(form, elements);
        }
    }

    fn try_to_add(&mut self, form: &[Part], elements: &[Element]) -> Option<()> {
        if self.parts.len() + form.len() > MOST || self.elements.len() + elements.len() > ELEMENTS {
            return None;
        }
        let mut before: Option<PartId> = None;
        for part in form {
            let mut part = *part;
            if let What::End { .. } = part.what {
                part.node = narrow(self.elements.len());
                self.elements.extend_from_slice(elements);
                part.element = narrow(self.elements.len());
            }
            before = Some(self.choice(before, part)?);
        }
        Some(())
    }

    /// The part that is this one, behind another, or at the beginning; a new one if there is room for a choice.
    fn choice(&mut self, before: Option<PartId>, part: Part) -> Option<PartId> {
        let new = narrow(self.parts.len());
        let first = match before {
            Some(before) => self.parts.get(before as usize)?.next,
            None => Self::FIRST,
        };
        let (mut at, mut last) = (first, NOTHING);
        for _ in 0..CHOICES {
            let Some(other) = self.parts.get(at as usize) else {
                self.parts.push(part);
                if let Some(last) = self.parts.get_mut(last as usize) {
                    last.other = new;
                } else if let Some(before) = self.parts.get_mut(before.unwrap_or(NOTHING) as usize) {
                    before.next = new;
                }
                return Some(new);
            };
            if *other == (Part { next: other.next, other: other.other, ..part }) {
                return Some(at);
            }
            (last, at) = (at, other.other);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::json::{Options, PathTrie, Scan, scan};

    fn trie() -> PathTrie {
        let mut trie = PathTrie::new();
        trie.insert(&["a"], 0);
        trie
    }

    /// How many documents in a row were of no known form, after this one.
    fn misses(body: &str, trie: &PathTrie, found: &mut Scan) -> u32 {
        let _ = scan(body.as_bytes(), trie, Options::default(), found);
        found.scratch.forms().misses
    }

    #[test]
    fn the_third_document_of_a_form_is_known() {
        let (trie, mut found) = (trie(), Scan::default());
        assert_eq!(misses(r#"{"a": "x", "b": [1, {}]}"#, &trie, &mut found), 0);
        assert!(found.scratch.forms().parts.is_empty());
        assert_eq!(misses(r#"{"a": "y", "b": [2, {}]}"#, &trie, &mut found), 1);
        assert_eq!(misses(r#"{"a":"\n","b": [-3.5, { } ] }"#, &trie, &mut found), 0);
        assert_eq!(misses(r#"{"a":"", "b": [null, {}]}"#, &trie, &mut found), 0);
        // Another form, which shares the beginning, is learned, and the first one stays known.
        assert_eq!(misses(r#"{"a": "x", "c": {"b": 1}}"#, &trie, &mut found), 1);
        assert_eq!(misses(r#"{"a": "x", "b": [1, {}]}"#, &trie, &mut found), 0);
        assert_eq!(misses(r#"{"a": "x", "c": {"b": 2}}"#, &trie, &mut found), 0);
        assert!(found.scratch.forms().parts.len() < 12);
    }

    #[test]
    fn what_never_comes_again_is_tried_ever_less_often_and_takes_bounded_room() {
        let (trie, mut found) = (trie(), Scan::default());
        let mut tried = 0;
        for number in 0..20_000 {
            let before = found.scratch.forms().misses;
            let after = misses(&format!(r#"{{"k{number}": {{"a": [{number}]}}}}"#), &trie, &mut found);
            tried += u32::from(after != before);
            assert!(found.scratch.forms().parts.len() <= super::MOST);
        }
        assert!(tried < 500, "{tried}");
        // A form that does come again is learned for all that.
        let known = (0..100_000).any(|_| misses(r#"{"a": 1}"#, &trie, &mut found) == 0);
        assert!(known);
    }
}
