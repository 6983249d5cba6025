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
//! Forms are learned from documents that were walked through and whose tokens were all in the list at once, for each trie by
//! itself: what is recorded depends on it, and messages of several dialects come in turn. What documents can make this do
//! is bounded: how large all forms are, how many a document is compared with, how often one is learned, and how often
//! documents are compared in vain.

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::form::Form;
use super::kernels::{EARLY, Tokens};
use super::probe::words_at;
use super::trie::PathTrie;
use super::{Leaf, narrow};

/// How many bytes all forms may take, those of all tries together.
pub(super) const MOST: usize = 1 << 18;
/// For how many tries there are forms. Dialects are fewer.
const TRIES: usize = 8;
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

/// What was learned from documents, by trie.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// Of the last document's trie.
    current: Box<Forms>,
    /// Of other tries, the last one first.
    #[allow(clippy::vec_box)] // They change places with the current ones.
    others: Vec<Box<Forms>>,
}

/// The forms that are known of one trie's documents.
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
    /// Which trie that is; 0: none.
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

impl Learned {
    /// What was learned from this trie's documents.
    #[inline]
    pub(super) fn of(&mut self, trie: &PathTrie) -> &mut Forms {
        if self.current.trie != trie.number() {
            self.turn_to(trie.number());
        }
        &mut self.current
    }

    #[inline(never)]
    fn turn_to(&mut self, trie: u64) {
        let others = &mut self.others;
        if let Some(known) = others.iter().position(|forms| forms.trie == trie) {
            if let Some(before) = others.get_mut(..=known) {
                before.rotate_right(1);
            }
        } else if self.current.trie != 0 {
            // In the place of those that were not used for longest.
            let mut forms = if others.len() + 1 < TRIES { None } else { others.pop() }.unwrap_or_default();
            *forms = Forms::new(trie);
            others.insert(0, forms);
        } else {
            *self.current = Forms::new(trie);
            return;
        }
        if let Some(first) = others.first_mut() {
            std::mem::swap(&mut self.current, first);
        }
    }

    /// Adds a form to those of the last document's trie. Those of other tries are forgotten where there is no room for all,
    /// first what was not used for longest.
    pub(super) fn add(&mut self, form: Form) {
        if form.size() > MOST {
            return;
        }
        let mut room = MOST.saturating_sub(self.others.iter().map(|forms| forms.size).sum());
        while self.current.size + form.size() > room
            && let Some(forms) = self.others.pop()
        {
            room += forms.size;
        }
        self.current.add(form, room);
    }
}

impl Forms {
    fn new(trie: u64) -> Self {
        Self { trie, luck: FULL, lessons: LESSONS, ..Self::default() }
    }

    /// Begins a document. Whether it may be of a form that is known.
    #[inline]
    pub(super) fn begin(&mut self, body: &[u8]) -> bool {
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

    /// Whether to learn the form of a document that was of none: not of the trie's first one, which may be the only one, and
    /// seldom, if what was learned does not come again.
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

    /// Adds a form, if all take at most `room` bytes then, or if there is room for nothing else any more. One that is there
    /// already is tried first from now on.
    fn add(&mut self, form: Form, room: usize) {
        let mut same = self.by_quotes.get(&form.quotes).into_iter().flatten().copied();
        if let Some(known) =
            same.find(|&number| self.list.get(number).is_some_and(|known| known.is_same(&form)))
        {
            self.last = known;
            return;
        }
        let is_full = self.size + form.size() > room
            || self.by_quotes.get(&form.quotes).is_some_and(|numbers| numbers.len() >= CHOICES)
            || self.heads.len() >= HEADS && !self.heads.contains(&form.head());
        if is_full && self.unknown > OUTDATED {
            *self = Self { trie: self.trie, luck: self.luck, lessons: self.lessons, ..Self::default() };
        } else if is_full {
            return;
        }
        if form.size() <= room {
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

    /// What is known of the last document's trie.
    fn forms(found: &Scan) -> &super::Forms {
        &found.scratch.learned().current
    }

    /// How many documents in a row were of no known form, after this one.
    fn misses(body: &str, trie: &PathTrie, found: &mut Scan) -> u32 {
        let _ = scan(body.as_bytes(), trie, Options::default(), found);
        forms(found).misses
    }

    #[test]
    fn the_third_document_of_a_form_is_known() {
        let (trie, mut found) = (trie(), Scan::default());
        assert_eq!(misses(r#"{"a": "x", "b": [1, {}]}"#, &trie, &mut found), 1);
        assert!(forms(&found).list.is_empty());
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
        assert_eq!(forms(&found).list.len(), 3);
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
        assert_eq!(forms(&found).list.len(), arrays.len());
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
        assert_eq!(forms(&found).list.len(), 2);
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
                let before = forms(&found).misses;
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
            let before = forms(&found).list.len();
            for _ in 0..8 {
                misses(&document("x"), &trie, &mut found);
            }
            assert_eq!(misses(&document("x"), &trie, &mut found), 0, "{length}");
            assert_eq!(forms(&found).list.len(), before + 1);
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
        let learned = forms(&found).list.len();
        assert!((2..20).contains(&learned), "{learned}");
    }

    #[test]
    fn what_never_comes_again_is_tried_ever_less_often_and_takes_bounded_room() {
        let (trie, mut found) = (trie(), Scan::default());
        let mut tried = 0;
        for number in 0..20_000 {
            let before = forms(&found).misses;
            // Of another length each time, or many of the same.
            let more = ",1".repeat(number % 1000 / 3);
            let body = format!(r#"{{"k{number}": {{"a": [{number}{more}]}}}}"#);
            let after = misses(&body, &trie, &mut found);
            tried += u32::from(after != before);
            assert!(forms(&found).size <= super::MOST);
            assert!(forms(&found).by_quotes.values().all(|numbers| numbers.len() <= super::CHOICES));
        }
        assert!(tried < 500, "{tried}");
        // A form that does come again is learned for all that.
        let known = (0..100_000).any(|_| misses(r#"{"a": 1}"#, &trie, &mut found) == 0);
        assert!(known);
    }

    #[test]
    fn each_trie_has_its_forms_while_others_come_in_turn() {
        let tries: Vec<PathTrie> = (0..super::TRIES).map(|_| trie()).collect();
        let mut found = Scan::default();
        let document = |number: usize| format!(r#"{{"a": "x", "b{number}": [{number}]}}"#);
        for _ in 0..3 {
            for (number, trie) in tries.iter().enumerate() {
                misses(&document(number), trie, &mut found);
            }
        }
        for order in [1, 3, 5, 7] {
            for at in 0..super::TRIES {
                let number = at * order % super::TRIES;
                assert_eq!(misses(&document(number), &tries[number], &mut found), 0, "{number}");
                assert_eq!(forms(&found).list.len(), 1);
            }
        }
        // One more, and what was not used for longest is forgotten.
        let more = trie();
        misses(&document(0), &more, &mut found);
        assert_eq!(found.scratch.learned().others.len(), super::TRIES - 1);
        let [oldest, .., last] = [1, 2, 3, 4, 5, 6, 7].map(|at| at * 7 % super::TRIES);
        assert_eq!(misses(&document(last), &tries[last], &mut found), 0);
        assert_eq!(misses(&document(oldest), &tries[oldest], &mut found), 0);
        assert_eq!(misses(&document(0), &tries[0], &mut found), 1);
    }

    #[test]
    fn the_forms_of_all_tries_take_bounded_room_together() {
        let tries: Vec<PathTrie> = (0..super::TRIES).map(|_| trie()).collect();
        let mut found = Scan::default();
        let mut largest = 0;
        for number in 0..400 {
            let body = format!(r#"{{"a": ["x"{}]}}"#, r#", "x""#.repeat(100 + number));
            for _ in 0..3 {
                misses(&body, &tries[number / 5 % super::TRIES], &mut found);
            }
            let learned = found.scratch.learned();
            let size: usize = learned.others.iter().map(|forms| forms.size).sum();
            assert!(size + learned.current.size <= super::MOST);
            largest = largest.max(size + learned.current.size);
        }
        assert!(largest > super::MOST / 2, "{largest}");
    }
}
