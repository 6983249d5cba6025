//! The form of a document that is known to be valid.

use super::forms::{Form, Key, Recorded, Scalar};
use super::kernels::{PAIRS, Tokens};
use super::probe::{HELD, filled, has_escapes, words_at};
use super::trie::{NONE, NodeId, PathTrie};
use super::{Element, Kind, Leaf, narrow};

/// Of how many kinds there are always whole vectors.
const WHOLE: usize = 32;

/// The form of a valid document, `tokens` being all it has and `elements` those that were recorded of it. `None` if it
/// is no object or array, too large, or has a key with escapes or one twice, which may be allowed.
pub(super) fn learn(tokens: &Tokens<'_>, body: &[u8], trie: &PathTrie, elements: &[Element]) -> Option<Form> {
    let length = tokens.len();
    if length > PAIRS {
        return None;
    }
    let kinds: Vec<u8> = (0..length).map(|token| tokens.kind(narrow(token))).collect();
    let form = Form {
        masks: vec![u8::MAX; length],
        kinds,
        length,
        keys: Vec::new(),
        values: Vec::new(),
        scalars: Vec::new(),
        strings: (0, 0),
        elements: elements.to_vec(),
        depth: 0,
    };
    let mut learner =
        Learner { tokens, body, trie, form, open: Vec::new(), keys: Vec::new(), at: 0, elements: 1 };
    learner.document()?;
    let mut form = learner.form;
    form.kinds.resize(length.next_multiple_of(WHOLE), 0);
    form.masks.resize(form.kinds.len(), 0);
    form.keys.shrink_to_fit();
    form.values.shrink_to_fit();
    form.scalars.shrink_to_fit();
    Some(form)
}

struct Learner<'b> {
    tokens: &'b Tokens<'b>,
    body: &'b [u8],
    trie: &'b PathTrie,
    form: Form,
    open: Vec<Open>,
    /// Those of the objects that are open.
    keys: Vec<&'b [u8]>,
    /// The number of the next token.
    at: u32,
    /// How many elements there were before.
    elements: u32,
}

/// A container that is open.
#[derive(Clone, Copy)]
struct Open {
    is_object: bool,
    node: NodeId,
    /// In which its values are.
    element: u32,
    /// Which values of the form it is.
    values: (usize, usize),
    /// How many keys there were before its own.
    keys: usize,
}

impl Learner<'_> {
    fn document(&mut self) -> Option<()> {
        if !matches!(self.kind(), b'{' | b'[') {
            return None;
        }
        self.value(self.trie.root(), 0, false);
        while let Some(&open) = self.open.last() {
            match self.kind() {
                b'}' | b']' => {
                    self.close(open)?;
                    continue;
                }
                b',' => self.at += 1,
                _ => {}
            }
            let node = if open.is_object { self.key(open.node)? } else { open.node };
            self.value(node, open.element, !open.is_object);
        }
        Some(())
    }

    /// The kind of the next token.
    fn kind(&self) -> u8 {
        self.tokens.kind(self.at)
    }

    /// A key, up to its value; returns where that is.
    fn key(&mut self, parent: NodeId) -> Option<NodeId> {
        let token = self.at;
        let (start, end) = (self.tokens.at(token) as usize + 1, self.tokens.at(token + 1) as usize);
        if has_escapes(self.body, start, end) {
            return None;
        }
        let key = self.body.get(start..end)?;
        self.keys.push(key);
        for from in (0..key.len().max(1)).step_by(HELD) {
            let filled = filled((key.len() - from).min(HELD))?;
            let (low, high) = words_at(self.body, start + from);
            let words = (low & filled.0, high & filled.1);
            let [from, end] = [from + 1, key.len() + 1].map(|at| u16::try_from(at).ok());
            self.form.keys.push(Key { words, filled, token, from: from?, end: end? });
        }
        self.at += 3;
        if parent == NONE {
            return Some(NONE);
        }
        Some(self.trie.child(parent, &self.trie.seeds().probe(key), Some(key)))
    }

    /// A value, or the bracket that opens it.
    fn value(&mut self, node: NodeId, element: u32, is_element: bool) {
        let token = self.at;
        match self.kind() {
            kind @ (b'{' | b'[') => {
                let (is_object, mut inside) = (kind == b'{', element);
                if is_element && node != NONE {
                    inside = self.elements;
                    self.elements += 1;
                }
                let kind = if is_object { Kind::Object } else { Kind::Array };
                let values = self.record(node, inside, kind, (token, token));
                self.open.push(Open { is_object, node, element: inside, values, keys: self.keys.len() });
                self.form.depth = self.form.depth.max(self.open.len());
                self.at += 1;
            }
            b'"' => {
                let (first, behind) = self.record(node, element, Kind::String, (token, token + 1));
                if first < behind {
                    let strings = &mut self.form.strings;
                    *strings = (if strings.1 == 0 { token } else { strings.0 }, token + 1);
                }
                self.at += 2;
            }
            _ => {
                if let Some(mask) = self.form.masks.get_mut(token as usize) {
                    *mask = 0;
                }
                let (first, behind) = self.record(node, element, Kind::Null, (token, token));
                self.form.scalars.push(Scalar { token, values: (narrow(first), narrow(behind)) });
                self.at += 1;
            }
        }
    }

    /// Records a value between two tokens, in each field of a node; returns which values of the form that are.
    fn record(&mut self, node: NodeId, element: u32, kind: Kind, tokens: (u32, u32)) -> (usize, usize) {
        let first = self.form.values.len();
        // A string is between its quotes, a container has both its brackets.
        let (start, end) = if kind == Kind::String { (1, 0) } else { (0, 1) };
        let fields = if node == NONE { &[] } else { self.trie.fields(node) };
        let leaf = |&field| Recorded { leaf: Leaf { field, element, start, end, kind }, tokens };
        self.form.values.extend(fields.iter().map(leaf));
        (first, self.form.values.len())
    }

    /// Out of a container.
    fn close(&mut self, open: Open) -> Option<()> {
        let at = self.at;
        let values = self.form.values.get_mut(open.values.0..open.values.1)?;
        for value in values {
            value.tokens.1 = at;
        }
        let own = self.keys.get_mut(open.keys..)?;
        own.sort_unstable();
        if own.is_sorted_by(|one, next| one < next) {
            self.keys.truncate(open.keys);
            self.open.pop();
            self.at += 1;
            return Some(());
        }
        None
    }
}
