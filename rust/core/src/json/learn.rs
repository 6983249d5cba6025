//! The form of a document that is known to be valid.

use super::forms::{MOST, Part, What};
use super::kernels::{AHEAD, Ahead, Tokens, Window};
use super::narrow;
use super::probe::{has_escapes, words};
use super::trie::{NONE, NodeId, PathTrie};

/// The parts of a valid document, the window being before it. `None` if it is too large or no object or array, has a
/// key of more than 16 bytes or with escapes, or one twice, which may be allowed.
pub(super) fn learn(
    window: Window<'_>,
    tokens: &mut Tokens<'_>,
    body: &[u8],
    trie: &PathTrie,
) -> Option<Vec<Part>> {
    let mut learner = Learner {
        window,
        body,
        trie,
        parts: Vec::new(),
        open: Vec::new(),
        passed: Vec::new(),
        keys: Vec::new(),
        leaves: 0,
        elements: 1,
    };
    learner.document(tokens)?;
    Some(learner.parts)
}

struct Learner<'b> {
    window: Window<'b>,
    body: &'b [u8],
    trie: &'b PathTrie,
    parts: Vec<Part>,
    open: Vec<Open>,
    /// The kinds of tokens that are in no part yet.
    passed: Vec<u8>,
    /// Those of the objects that are open.
    keys: Vec<(u64, u64)>,
    /// How many leaves there are before the next one.
    leaves: u32,
    elements: u32,
}

/// A container that is open.
#[derive(Clone, Copy)]
struct Open {
    is_object: bool,
    node: NodeId,
    /// In which its values are.
    element: u32,
    /// Its first leaf, and how many it has.
    leaf: (u32, u32),
    /// How many keys there were before its own.
    keys: usize,
}

impl Learner<'_> {
    fn document(&mut self, tokens: &mut Tokens<'_>) -> Option<()> {
        let mut next = 0;
        let mut depth = 0;
        let ahead = self.ahead(tokens, &mut next);
        let document = Open { is_object: true, node: self.trie.root(), element: 0, leaf: (0, 0), keys: 0 };
        self.enter(ahead, 0, None, document)?;
        while let Some(&open) = self.open.last() {
            depth = depth.max(self.open.len());
            if self.parts.len() > MOST {
                return None;
            }
            let ahead = self.ahead(tokens, &mut next);
            let kind = ahead.kind(0);
            if matches!(kind, b'}' | b']') {
                self.close(open);
                next += 1;
            } else if kind != b',' && matches!(ahead.kind(1), b'}' | b']') {
                self.pass(kind);
                next += 1;
            } else {
                next += self.value(ahead, open)?;
            }
        }
        let ahead = self.ahead(tokens, &mut next);
        if ahead.kind(0) != 0 {
            return None;
        }
        self.push(&[0], 0, Part::new(&[], What::End { depth }));
        Some(())
    }

    fn ahead<'t>(&mut self, tokens: &'t mut Tokens<'_>, next: &mut usize) -> Ahead<'t> {
        if tokens.lacks(*next) {
            self.window.refill(tokens, *next);
            *next = 0;
        }
        tokens.ahead(*next)
    }

    /// A member or element; returns how many tokens that are, of an object or array those before its bracket.
    fn value(&mut self, ahead: Ahead<'_>, open: Open) -> Option<usize> {
        let (index, key, node) = if open.is_object {
            let (start, end) = (ahead.at(1) as usize + 1, ahead.at(2) as usize);
            let words =
                words(self.body, start, end - start).filter(|_| !has_escapes(self.body, start, end))?;
            if self.keys.get(open.keys..)?.contains(&words) {
                return None;
            }
            self.keys.push(words);
            let probe = self.trie.seeds().probe(self.body.get(start..end)?);
            let node = if open.node == NONE { NONE } else { self.trie.child(open.node, &probe, None) };
            (4, Some(words), node)
        } else {
            (1, None, open.node)
        };
        let place = Open { node, ..open };
        let kinds: [u8; AHEAD] = std::array::from_fn(|index| ahead.kind(index));
        match ahead.kind(index) {
            b'{' | b'[' => {
                self.enter(ahead, index, key, place)?;
                Some(index)
            }
            b'"' => {
                let what = if self.fields(node).0 > 0 { What::String } else { What::Pass };
                self.member(kinds.get(..index + 2)?, index, key, what, place);
                Some(index + 2)
            }
            _ => {
                self.member(kinds.get(..index)?, index, key, What::Scalar, place);
                // Its first byte may be another one.
                let part = self.parts.last_mut()?;
                part.passes += 1;
                Some(index + 1)
            }
        }
    }

    fn fields(&self, node: NodeId) -> (u32, u32) {
        self.trie.mark(node)
    }

    /// Into the object or array whose bracket is the next token but `index`, at a place.
    fn enter(&mut self, ahead: Ahead<'_>, index: usize, key: Option<(u64, u64)>, place: Open) -> Option<()> {
        let is_object = match ahead.kind(index) {
            b'{' => true,
            b'[' => false,
            _ => return None,
        };
        let mut inside = Open { is_object, keys: self.keys.len(), ..place };
        if place.node != NONE && !place.is_object {
            inside.element = self.elements;
            self.elements += 1;
        }
        let count = self.fields(place.node).0;
        inside.leaf = (self.leaves, count);
        let kinds: [u8; AHEAD] = std::array::from_fn(|index| ahead.kind(index));
        if index > 0 || count > 0 {
            let what = if count > 0 { What::Open } else { What::Pass };
            self.member(kinds.get(..index)?, index, key, what, inside);
        }
        self.open.push(inside);
        Some(())
    }

    /// Out of a container.
    fn close(&mut self, open: Open) {
        let kind = if open.is_object { b'}' } else { b']' };
        let (leaf, count) = open.leaf;
        if count > 0 {
            let part = Part { fields: (count, 0), ..Part::new(&[], What::Close { leaf }) };
            self.push(&[kind], 0, part);
        } else {
            self.pass(kind);
        }
        self.keys.truncate(open.keys);
        self.open.pop();
    }

    /// Tokens of which the one at `index` begins a value.
    fn member(&mut self, kinds: &[u8], index: usize, key: Option<(u64, u64)>, what: What, place: Open) {
        let mut part = Part::new(&[], what);
        if what != What::Pass {
            part = Part { node: place.node, fields: self.fields(place.node), element: place.element, ..part };
            self.leaves += part.fields.0;
        }
        if let Some(words) = key {
            part = Part { words, key: Some(1), ..part };
        }
        self.push(kinds, index, part);
    }

    /// Passes a token, with those of the next part if there is room there.
    fn pass(&mut self, kind: u8) {
        // A member takes six.
        if self.passed.len() + 6 >= AHEAD {
            self.flush();
        }
        self.passed.push(kind);
    }

    fn flush(&mut self) {
        if !self.passed.is_empty() {
            self.parts.push(Part::new(&self.passed, What::Pass));
            self.passed.clear();
        }
    }

    /// A part of these tokens and those passed before them.
    fn push(&mut self, kinds: &[u8], index: usize, part: Part) {
        let before = narrow(self.passed.len());
        self.passed.extend_from_slice(kinds);
        let Part { kinds, passes, .. } = Part::new(&self.passed, part.what);
        self.passed.clear();
        #[expect(clippy::cast_possible_truncation)] // at most eight
        let shift = before as u8;
        let at = shift + u8::try_from(index).unwrap_or(0);
        self.parts.push(Part { kinds, passes, at, key: part.key.map(|key| key + shift), ..part });
    }
}
