//! Documents of one form: the same bytes before, between and behind their values, which are strings, numbers and words, be
//! those what they may.
//!
//! Most documents are of a form that was met before: a program writes the same keys in the same order with the same whitespace.
//! Such a document is not read token by token. All that is looked for in it are the quotes of its strings, and everything
//! else is compared with the form: a piece of a literal stands a fixed number of bytes from a quote, or from the end
//! of the number before it. A document that has no other quotes than the form, no control characters but as many as there are in
//! the literals, no escape that is wrong, and the literals of a valid document in their places, is valid itself but for
//! its numbers and words, which are read. What is to be recorded is where the form says; nothing is looked up. One that is of
//! no known form is walked through, which finds what is wrong, if anything is.
//!
//! Forms are learned from documents that were walked through and whose tokens were all in the list at once. What
//! documents can make this do is bounded: how large all forms are, how many a document is compared with, how often
//! one is learned, and how often documents are compared in vain.

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::form::Form;
use super::kernels::{EARLY, Tokens};
use super::probe::words_at;
use super::trie::PathTrie;
use super::{Leaf, narrow};

/// How many bytes all forms may take.
pub(super) const MOST: usize = 1 << 18;
/// How many forms may have as many quotes as each other.
const CHOICES: usize = 8;
/// How many ways to begin there may be among them: a document that begins otherwise is not looked at.
const HEADS: usize = 8;
/// All of the documents that were tried lately; and how much of that has to have been of known forms, for the others were looked
/// at in vain: where it is less, some are not tried.
const FULL: u32 = 1 << 16;
const ENOUGH: u32 = FULL / 5 * 3;
/// How many documents are lately, more or less.
const STEP: u32 = 8;
/// How many are not tried then.
const SHORTEST: u32 = 8;
const LONGEST: u32 = 64;
/// How many forms may be learned before one of them comes again, and after how many documents of no known form another one may.
const LESSONS: u32 = 8;
const AGAIN: u32 = 16;
/// How many numbers and words of a document may have been read when it turns out to be of another form after all, for another
/// one to be tried that is like it but for what is between them: to read many again takes longer than to walk through it.
const IN_VAIN: usize = 4;
/// After how many documents that were tried in vain all forms are forgotten, if there is no room for another.
const OUTDATED: u32 = 256;

/// The forms that are known.
#[derive(Debug, Default)]
pub(super) struct Forms {
    list: Vec<Form>,
    /// Which have so many quotes.
    by_quotes: HashMap<usize, Vec<usize>>,
    /// How many bytes all take.
    size: usize,
    /// Which one the last document was of.
    last: usize,
    /// The first up to eight bytes of them, and which bits of those count.
    heads: SmallVec<[(u64, u64); HEADS]>,
    /// By which trie they were learned.
    trie: u64,
    /// How many documents in a row were of none, of those that were tried.
    misses: u32,
    /// How many were in all.
    unknown: u32,
    /// How much of [`FULL`] was of known forms lately.
    luck: u32,
    /// How many may be learned.
    lessons: u32,
    /// How many documents will not be tried.
    skip: u32,
    /// Whether this one is.
    is_tried: bool,
}

impl Forms {
    /// Begins a document. Whether it may be of a form that is known.
    #[inline]
    pub(super) fn begin(&mut self, trie: &PathTrie, body: &[u8]) -> bool {
        if self.trie != trie.number() {
            *self = Self { trie: trie.number(), luck: FULL, lessons: LESSONS, ..Self::default() };
        }
        self.is_tried = self.skip == 0;
        self.skip = self.skip.saturating_sub(1);
        let (low, _) = words_at(body, 0);
        self.is_tried && self.heads.iter().any(|(word, mask)| low & mask == *word)
    }

    /// Records what is in a document that is of a known form, and returns the number of that, `anchors` being all its quotes.
    /// `None`: it is of none that was tried, or of one with more containers nested than so many, and nothing was recorded.
    #[inline]
    pub(super) fn record(
        &self,
        body: &[u8],
        anchors: &mut Tokens<'_>,
        controls: usize,
        depth: usize,
        leaves: &mut Vec<Leaf>,
    ) -> Option<usize> {
        let quotes = anchors.len();
        if quotes >= EARLY {
            return None;
        }
        anchors.set(narrow(quotes), 0);
        let form = self.list.get(self.last)?;
        if form.is(body, anchors, quotes, controls) && form.depth <= depth {
            match form.record(body, anchors, leaves) {
                Ok(()) => return Some(self.last),
                Err(scalars) if scalars > IN_VAIN => return None,
                Err(_) => {}
            }
        }
        self.record_other(body, anchors, (quotes, controls), depth, leaves)
    }

    /// The same by any form but the last one.
    #[inline(never)]
    fn record_other(
        &self,
        body: &[u8],
        anchors: &mut Tokens<'_>,
        (quotes, controls): (usize, usize),
        depth: usize,
        leaves: &mut Vec<Leaf>,
    ) -> Option<usize> {
        for &number in self.by_quotes.get(&quotes)? {
            let Some(form) = self.list.get(number).filter(|_| number != self.last) else { continue };
            if form.is(body, anchors, quotes, controls) && form.depth <= depth {
                match form.record(body, anchors, leaves) {
                    Ok(()) => return Some(number),
                    Err(scalars) if scalars > IN_VAIN => return None,
                    Err(_) => {}
                }
            }
        }
        None
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
        self.luck += (FULL - self.luck) / STEP;
        self.last = number;
        if let Some(form) = self.list.get_mut(number).filter(|form| !form.was_met) {
            form.was_met = true;
            self.lessons = (self.lessons + 2).min(LESSONS);
        }
    }

    /// The document was of none.
    pub(super) fn miss(&mut self) {
        if self.is_tried {
            self.luck -= self.luck / STEP;
            self.misses = self.misses.saturating_add(1);
            self.skip = if self.luck < ENOUGH { self.misses.clamp(SHORTEST, LONGEST) } else { 0 };
        }
    }

    /// Whether to learn the form of a document that was of none: not of the first one after another trie's, which may be the
    /// only one, and seldom, if what was learned does not come again.
    pub(super) fn learns(&mut self) -> bool {
        if !self.is_tried {
            return false;
        }
        self.unknown = self.unknown.saturating_add(1);
        if self.unknown == 1 {
            return false;
        }
        if self.unknown.is_multiple_of(AGAIN) {
            self.lessons = (self.lessons + 1).min(LESSONS);
        }
        let learns = self.lessons > 0;
        self.lessons = self.lessons.saturating_sub(1);
        learns
    }

    /// Adds a form, if there is room for it or for nothing else any more. One that is there already is tried first from now on.
    pub(super) fn add(&mut self, form: Form) {
        let mut same = self.by_quotes.get(&form.quotes).into_iter().flatten().copied();
        if let Some(known) =
            same.find(|&number| self.list.get(number).is_some_and(|known| known.is_same(&form)))
        {
            self.last = known;
            return;
        }
        let is_full = self.size + form.size() > MOST
            || self.by_quotes.get(&form.quotes).is_some_and(|numbers| numbers.len() >= CHOICES)
            || self.heads.len() >= HEADS && !self.heads.contains(&form.head());
        if is_full && self.unknown > OUTDATED {
            *self = Self { trie: self.trie, luck: self.luck, lessons: self.lessons, ..Self::default() };
        } else if is_full {
            return;
        }
        if form.size() <= MOST {
            self.size += form.size();
            let head = form.head();
            if !self.heads.contains(&head) {
                self.heads.push(head);
            }
            self.by_quotes.entry(form.quotes).or_default().push(self.list.len());
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
        assert_eq!(misses(r#"{"a": "x", "b": [1, {}]}"#, &trie, &mut found), 1);
        assert!(found.scratch.forms().list.is_empty());
        assert_eq!(misses(r#"{"a": "y", "b": [2, {}]}"#, &trie, &mut found), 2);
        assert_eq!(misses(r#"{"a": "\n", "b": [-3.5, {}]}"#, &trie, &mut found), 0);
        assert_eq!(misses(r#"{"a": "", "b": [null, {}]}"#, &trie, &mut found), 0);
        // Other forms, one of as many quotes, are learned, and the first one stays known.
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
    fn forms_that_differ_between_numbers_alone_are_known_beside_each_other() {
        let (trie, mut found) = (trie(), Scan::default());
        let arrays = ["[1, 2, 3]", "[1, 2]", "[1 ,2]", "[1,2]", "[ 1, null ]", "[[1], 2]"];
        let document = |array: &str| format!(r#"{{"a": "x", "b": {array}}}"#);
        for array in arrays.iter().chain(&arrays) {
            for _ in 0..8 {
                misses(&document(array), &trie, &mut found);
            }
        }
        for array in arrays.iter().chain(arrays.iter().rev()) {
            assert_eq!(misses(&document(array), &trie, &mut found), 0, "{array}");
        }
        assert_eq!(found.scratch.forms().list.len(), arrays.len());
    }

    #[test]
    fn a_form_that_is_not_tried_behind_another_one_is_not_learned_twice() {
        let (trie, mut found) = (trie(), Scan::default());
        let rows = |length: usize| format!(r#"{{"a": [1{}]}}"#, ", 1".repeat(length));
        let (one, other) = (rows(40), rows(41));
        for _ in 0..300 {
            misses(&one, &trie, &mut found);
            misses(&other, &trie, &mut found);
        }
        assert_eq!(found.scratch.forms().list.len(), 2);
        // By itself each is known, sooner or later.
        for body in [one, other] {
            assert!((0..300).any(|_| misses(&body, &trie, &mut found) == 0), "{body}");
        }
    }

    #[test]
    fn documents_that_are_compared_in_vain_are_compared_less_often_whatever_they_are() {
        let large = format!(r#"{{"a": [1{}]}}"#, ", 1".repeat(5000));
        for body in [&*large, r#"{"a": [1, }"#, r#"{"a": [1], "a": 2}"#] {
            let (trie, mut found) = (trie(), Scan::default());
            while misses(r#"{"a": [1]}"#, &trie, &mut found) > 0 {}
            let mut compared = 0;
            for _ in 0..1000 {
                let before = found.scratch.forms().misses;
                compared += u32::from(misses(body, &trie, &mut found) != before);
            }
            assert!((10..60).contains(&compared), "{compared}");
        }
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
    fn little_is_learned_where_it_does_not_come_again() {
        let (trie, mut found) = (trie(), Scan::default());
        let mut known = 0;
        for number in 0..1000 {
            known += u32::from(misses(r#"{"a": 1}"#, &trie, &mut found) == 0);
            misses(&format!(r#"{{"a": {{"k{number}": 1}}}}"#), &trie, &mut found);
        }
        assert!(known > 100, "{known}");
        let learned = found.scratch.forms().list.len();
        assert!((2..20).contains(&learned), "{learned}");
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
            assert!(forms.by_quotes.values().all(|numbers| numbers.len() <= super::CHOICES));
        }
        assert!(tried < 500, "{tried}");
        // A form that does come again is learned for all that.
        let known = (0..100_000).any(|_| misses(r#"{"a": 1}"#, &trie, &mut found) == 0);
        assert!(known);
    }
}
