//! Documents of one form: the same keys in the same order, with values of the same types, but whatever they are.
//!
//! Most documents are of a form that was met before. Such a one is not walked through: its tokens are compared with
//! the form's, all at once, then its keys, and what is to be recorded is where the form says; nothing is looked up. A
//! document whose tokens and keys are those of a valid one, in their order, is valid itself but for its numbers and
//! words, which are read. One that is of no known form is walked through, which finds what is wrong, if anything is.
//!
//! Forms are learned from documents that were walked through and whose tokens are all in the list at once. What
//! documents can make this do is bounded: how large all forms are, how many a document is compared with, how often
//! one is learned, and how often documents are compared in vain.

use hashbrown::HashMap;

use super::kernels::Tokens;
use super::probe::words_at;
use super::trie::PathTrie;
use super::{Element, Leaf};

/// How many bytes all forms may take.
const MOST: usize = 1 << 18;
/// How many forms may have as many tokens as each other.
const CHOICES: usize = 8;
/// After how many documents in a row that were of no known form some are not tried.
const PATIENCE: u32 = 4;
/// How many are not tried then at most.
const LONGEST: u32 = 64;
/// After how many documents that were tried in vain all forms are forgotten, if there is no room for another.
const OUTDATED: u32 = 256;

/// What a document of some form is made of.
#[derive(Clone, Debug)]
pub(super) struct Form {
    /// The kinds of its tokens, and which of their bits count: none of a scalar's, whose first byte may be another.
    /// Behind them are some that do not count, so that there are whole vectors of them.
    pub(super) kinds: Vec<u8>,
    pub(super) masks: Vec<u8>,
    /// How many of those are tokens.
    pub(super) length: usize,
    pub(super) keys: Vec<Key>,
    /// What is recorded, in that order.
    pub(super) values: Vec<Recorded>,
    /// The numbers and words, recorded or not.
    pub(super) scalars: Vec<Scalar>,
    /// The tokens between which all strings are that are recorded.
    pub(super) strings: (u32, u32),
    pub(super) elements: Vec<Element>,
    /// How many containers are nested.
    pub(super) depth: usize,
}

/// At most 16 bytes of a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) words: (u64, u64),
    /// Which bits of those count.
    pub(super) filled: (u64, u64),
    /// Number of the token that opens the key.
    pub(super) token: u32,
    /// How far behind that they are, and how far the one that closes the key is.
    pub(super) from: u16,
    pub(super) end: u16,
}

/// A value that is recorded, in one of its fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorded {
    /// As it is recorded, but that its offsets are counted from those of two tokens.
    pub(super) leaf: Leaf,
    pub(super) tokens: (u32, u32),
}

/// A number or word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scalar {
    pub(super) token: u32,
    /// Which values of the form it is.
    pub(super) values: (u32, u32),
}

/// The forms that are known.
#[derive(Debug, Default)]
pub(super) struct Forms {
    list: Vec<Form>,
    /// Which have so many tokens.
    by_length: HashMap<usize, Vec<usize>>,
    /// How many bytes all take.
    size: usize,
    /// Which one the last document was of.
    last: usize,
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

impl Form {
    /// Whether this is the form of a document but for its numbers and words, `tokens` being all it has.
    #[inline]
    fn is(&self, body: &[u8], tokens: &Tokens<'_>) -> bool {
        if tokens.len() != self.length || !tokens.are(&self.kinds, &self.masks) {
            return false;
        }
        // No branch for each: nearly always all are the same.
        let differences = self.keys.iter().fold(0, |others, key| {
            let (quote, end) = tokens.pair(key.token);
            let (low, high) = words_at(body, quote as usize + key.from as usize);
            let words = (low ^ key.words.0) & key.filled.0 | (high ^ key.words.1) & key.filled.1;
            others | words | u64::from((end - quote) ^ u32::from(key.end))
        });
        differences == 0
    }

    /// How many bytes it takes.
    fn size(&self) -> usize {
        let Self { kinds, masks, keys, values, scalars, elements, .. } = self;
        size_of::<Self>()
            + size_of_val(&**kinds)
            + size_of_val(&**masks)
            + size_of_val(&**keys)
            + size_of_val(&**values)
            + size_of_val(&**scalars)
            + size_of_val(&**elements)
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
        self.is_tried && !self.list.is_empty()
    }

    /// The number of the form that a document is of, but for its numbers and words, `tokens` being all it has.
    #[inline]
    pub(super) fn find(&self, body: &[u8], tokens: &Tokens<'_>) -> Option<usize> {
        let is = |number: usize| self.list.get(number).is_some_and(|form| form.is(body, tokens));
        if is(self.last) {
            return Some(self.last);
        }
        self.by_length.get(&tokens.len())?.iter().copied().find(|&number| number != self.last && is(number))
    }

    /// The form of that number.
    #[inline]
    pub(super) fn get(&self, number: usize) -> Option<&Form> {
        self.list.get(number)
    }

    /// The document was of the form of that number.
    #[inline]
    pub(super) fn hit(&mut self, number: usize) {
        self.misses = 0;
        self.last = number;
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

    /// Adds a form, if there is room for it or for nothing else any more.
    pub(super) fn add(&mut self, form: Form) {
        let is_full = self.size + form.size() > MOST
            || self.by_length.get(&form.length).is_some_and(|numbers| numbers.len() >= CHOICES);
        if is_full && self.unknown > OUTDATED {
            *self = Self { trie: self.trie, ..Self::default() };
        } else if is_full {
            return;
        }
        if form.size() <= MOST {
            self.size += form.size();
            self.by_length.entry(form.length).or_default().push(self.list.len());
            self.list.push(form);
        }
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
        assert!(found.scratch.forms().list.is_empty());
        assert_eq!(misses(r#"{"a": "y", "b": [2, {}]}"#, &trie, &mut found), 1);
        assert_eq!(misses(r#"{"a":"\n","b": [-3.5, { } ] }"#, &trie, &mut found), 0);
        assert_eq!(misses(r#"{"a":"", "b": [null, {}]}"#, &trie, &mut found), 0);
        // Other forms, one of as many tokens, are learned, and the first one stays known.
        assert_eq!(misses(r#"{"a": "x", "c": {"b": 1}}"#, &trie, &mut found), 1);
        assert_eq!(misses(r#"{"a": "x", "b": [1, {}]}"#, &trie, &mut found), 0);
        assert_eq!(misses(r#"{"a": "x", "d": {"b": 1}}"#, &trie, &mut found), 1);
        for _ in 0..3 {
            assert_eq!(misses(r#"{"a": "x", "c": {"b": 2}}"#, &trie, &mut found), 0);
            assert_eq!(misses(r#"{"a": "x", "d": {"b": 3}}"#, &trie, &mut found), 0);
        }
        assert_eq!(found.scratch.forms().list.len(), 3);
    }

    #[test]
    fn long_keys_are_compared_to_their_ends() {
        let (trie, mut found) = (trie(), Scan::default());
        for length in [15, 16, 17, 32, 33, 300] {
            let document = |last: &str| format!(r#"{{"{}{last}": 1}}"#, "k".repeat(length - 1));
            let before = found.scratch.forms().list.len();
            for _ in 0..8 {
                misses(&document("x"), &trie, &mut found);
            }
            assert_eq!(misses(&document("x"), &trie, &mut found), 0, "{length}");
            assert_eq!(found.scratch.forms().list.len(), before + 1);
            assert_eq!(misses(&document("y"), &trie, &mut found), 1, "{length}");
            assert_eq!(misses(&document("yy"), &trie, &mut found), 2, "{length}");
            found = Scan::default();
        }
    }

    #[test]
    fn what_never_comes_again_is_tried_ever_less_often_and_takes_bounded_room() {
        let (trie, mut found) = (trie(), Scan::default());
        let mut tried = 0;
        for number in 0..20_000 {
            let before = found.scratch.forms().misses;
            // Of another length each time, or many of the same.
            let more = ",1".repeat(number % 1000 / 3);
            let body = format!(r#"{{"k{number}": {{"a": [{number}{more}]}}}}"#);
            let after = misses(&body, &trie, &mut found);
            tried += u32::from(after != before);
            assert!(found.scratch.forms().size <= super::MOST);
            let forms = found.scratch.forms();
            assert!(forms.by_length.values().all(|numbers| numbers.len() <= super::CHOICES));
        }
        assert!(tried < 500, "{tried}");
        // A form that does come again is learned for all that.
        let known = (0..100_000).any(|_| misses(r#"{"a": 1}"#, &trie, &mut found) == 0);
        assert!(known);
    }
}
