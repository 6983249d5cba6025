//! The form of a document that is known to be valid.

use super::form::{Form, Piece, Recorded, Scalar, Spot};
use super::forms::MOST;
use super::kernels::{EARLY, Tokens};
use super::probe::{HELD, filled, has_escapes, words_at};
use super::trie::{NONE, NodeId, PathTrie};
use super::{Element, Kind, Leaf, narrow, scalar};

/// How many scalars there may be between which there is no quote: the end of each is found from the one before, which takes
/// longer than to find them among the tokens.
const IN_A_ROW: usize = 64;

/// The form of a valid document, `tokens` being all it has and `elements` those that were recorded of it. `None` if it
/// is no object or array, too large, or has a key with escapes or one twice, which may be allowed.
pub(super) fn learn(tokens: &Tokens<'_>, body: &[u8], trie: &PathTrie, elements: &[Element]) -> Option<Form> {
    let mut learner = Learner {
        tokens,
        body,
        trie,
        open: Vec::new(),
        keys: Vec::new(),
        at: 0,
        elements: 1,
        quotes: Vec::new(),
        literals: Vec::new(),
        start: 0,
        scalars: Vec::new(),
        values: Vec::new(),
        depth: 0,
    };
    learner.document()?;
    learner.end_literal(body.len());
    learner.form(elements)
}

struct Learner<'b> {
    tokens: &'b Tokens<'b>,
    body: &'b [u8],
    trie: &'b PathTrie,
    open: Vec<Open>,
    /// Those of the objects that are open.
    keys: Vec<&'b [u8]>,
    /// The number of the next token.
    at: u32,
    /// How many elements there were before.
    elements: u32,
    /// Where quotes are.
    quotes: Vec<usize>,
    /// What is before, between and behind values.
    literals: Vec<Literal>,
    /// Where the next one of those starts.
    start: usize,
    /// The literal before each.
    scalars: Vec<(usize, (u32, u32))>,
    values: Vec<Value>,
    /// How many containers were open at once.
    depth: usize,
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

/// What is between two values.
#[derive(Clone, Copy)]
struct Literal {
    start: usize,
    end: usize,
    anchor: Anchor,
}

/// From where places are counted.
#[derive(Clone, Copy)]
enum Anchor {
    /// A quote, by its number.
    Quote(usize),
    /// Where so many scalars have ended: the document's first byte, if none.
    Scalars(usize),
}

/// A position in a literal: its number, and the offset.
type LiteralPosition = (usize, usize);

/// A value that is recorded.
struct Value {
    leaf: Leaf,
    start: LiteralPosition,
    end: LiteralPosition,
}

impl Learner<'_> {
    fn document(&mut self) -> Option<()> {
        if !matches!(self.kind(), b'{' | b'[') {
            return None;
        }
        self.value(self.trie.root(), 0, false)?;
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
            self.value(node, open.element, !open.is_object)?;
        }
        Some(())
    }

    /// The kind of the next token.
    fn kind(&self) -> u8 {
        self.tokens.kind(self.at)
    }

    /// The offset of the next token, which is passed.
    fn pass(&mut self) -> usize {
        let at = self.tokens.at(self.at) as usize;
        self.at += 1;
        at
    }

    /// Passes the next token, a quote.
    fn quote(&mut self) -> usize {
        let at = self.pass();
        self.quotes.push(at);
        at
    }

    /// A key, up to its value; returns where that is.
    fn key(&mut self, parent: NodeId) -> Option<NodeId> {
        let (start, end) = (self.quote() + 1, self.quote());
        self.at += 1;
        if has_escapes(self.body, start, end) {
            return None;
        }
        let key = self.body.get(start..end)?;
        self.keys.push(key);
        if parent == NONE {
            return Some(NONE);
        }
        Some(self.trie.child(parent, &self.trie.seeds().probe(key), Some(key)))
    }

    /// A value, or the bracket that opens it.
    fn value(&mut self, node: NodeId, element: u32, is_element: bool) -> Option<()> {
        match self.kind() {
            kind @ (b'{' | b'[') => {
                let at = (self.literals.len(), self.pass());
                let (is_object, mut inside) = (kind == b'{', element);
                if is_element && node != NONE {
                    inside = self.elements;
                    self.elements += 1;
                }
                let kind = if is_object { Kind::Object } else { Kind::Array };
                let values = self.record(node, inside, kind, at, at);
                self.open.push(Open { is_object, node, element: inside, values, keys: self.keys.len() });
                self.depth = self.depth.max(self.open.len());
            }
            b'"' => {
                let start = self.quote() + 1;
                let before = self.end_literal(start);
                let end = self.quote();
                self.start = end;
                self.record(node, element, Kind::String, (before, start), (before + 1, end));
            }
            _ => {
                let start = self.pass();
                let before = self.end_literal(start);
                let (end, kind) = scalar::end(self.body, start, self.tokens.at(self.at) as usize).ok()??;
                self.start = end;
                let (first, behind) = self.record(node, element, kind, (before, start), (before + 1, end));
                self.scalars.push((before, (narrow(first), narrow(behind))));
            }
        }
        Some(())
    }

    /// Ends what is between the last value and the next one; returns its number.
    fn end_literal(&mut self, end: usize) -> usize {
        let start = self.start;
        let quote = self.quotes.partition_point(|at| *at < start);
        let anchor = if quote < self.quotes.len() {
            Anchor::Quote(quote)
        } else {
            Anchor::Scalars(self.scalars.len())
        };
        self.literals.push(Literal { start, end, anchor });
        self.literals.len() - 1
    }

    /// Records a value in each field of a node; returns which values of the form that are.
    fn record(
        &mut self,
        node: NodeId,
        element: u32,
        kind: Kind,
        start: LiteralPosition,
        end: LiteralPosition,
    ) -> (usize, usize) {
        let first = self.values.len();
        let fields = if node == NONE { &[] } else { self.trie.fields(node) };
        let value = |&field| Value { leaf: Leaf { field, element, start: 0, end: 0, kind }, start, end };
        self.values.extend(fields.iter().map(value));
        (first, self.values.len())
    }

    /// Out of a container.
    fn close(&mut self, open: Open) -> Option<()> {
        let end = (self.literals.len(), self.pass() + 1);
        for value in self.values.get_mut(open.values.0..open.values.1)? {
            value.end = end;
        }
        let own = self.keys.get_mut(open.keys..)?;
        own.sort_unstable();
        if own.is_sorted_by(|one, next| one < next) {
            self.keys.truncate(open.keys);
            self.open.pop();
            return Some(());
        }
        None
    }

    /// The form of what was seen.
    fn form(&self, elements: &[Element]) -> Option<Form> {
        let quotes = self.quotes.len();
        if quotes + self.scalars.len() >= EARLY {
            return None;
        }
        let spot = |(literal, at): LiteralPosition| -> Option<Spot> {
            let (anchor, from) = match self.literals.get(literal)?.anchor {
                Anchor::Quote(quote) => (quote, *self.quotes.get(quote)?),
                // Behind a scalar a literal starts.
                Anchor::Scalars(count) => (quotes + count, self.literals.get(literal)?.start),
            };
            Some(Spot { anchor: narrow(anchor), behind: narrow(at).wrapping_sub(narrow(from)) })
        };
        let mut form = Form {
            pieces: Vec::new(),
            more_pieces: Vec::new(),
            quotes,
            controls: 0,
            bytes: 0,
            start: spot((0, 0))?,
            end: spot((self.literals.len().checked_sub(1)?, self.body.len()))?,
            values: Vec::with_capacity(self.values.len()),
            scalars: Vec::with_capacity(self.scalars.len()),
            strings: (0, 0),
            elements: elements.to_vec(),
            depth: self.depth,
            was_met: false,
        };
        let mut scalars = self.scalars.iter().peekable();
        for (number, literal) in self.literals.iter().enumerate() {
            let own = self.body.get(literal.start..literal.end)?;
            form.bytes += own.len();
            if form.bytes > MOST {
                return None;
            }
            form.controls += own.iter().filter(|byte| **byte < 0x20).count();
            let pieces = match literal.anchor {
                Anchor::Scalars(1..) => &mut form.more_pieces,
                _ => &mut form.pieces,
            };
            for from in (0..own.len()).step_by(HELD) {
                let filled = filled((own.len() - from).min(HELD))?;
                let (low, high) = words_at(self.body, literal.start + from);
                let words = (low & filled.0, high & filled.1);
                pieces.push(Piece { words, filled, at: spot((number, literal.start + from))? });
            }
            // What is found by the end of a scalar is compared then.
            if let Some(last) = form.scalars.last_mut() {
                last.pieces = narrow(form.more_pieces.len());
            }
            if let Some((_, values)) = scalars.next_if(|(before, _)| *before == number) {
                let next = self.literals.get(number + 1)?;
                let is_found = matches!(next.anchor, Anchor::Quote(_));
                form.scalars.push(Scalar {
                    at: spot((number, literal.end))?,
                    next: if is_found { Some(spot((number + 1, next.start))?) } else { None },
                    pieces: 0,
                    values: *values,
                });
            }
        }
        let in_a_row = form.scalars.chunk_by(|one, _| one.next.is_none()).map(<[Scalar]>::len).max();
        if in_a_row.is_some_and(|length| length > IN_A_ROW) {
            return None;
        }
        for value in &self.values {
            let (start, end) = (spot(value.start)?, spot(value.end)?);
            if value.leaf.kind == Kind::String {
                // Behind its opening quote.
                let strings = &mut form.strings;
                *strings = (if strings.1 == 0 { start.anchor } else { strings.0 }, end.anchor);
            }
            let leaf = Leaf { start: start.behind, end: end.behind, ..value.leaf };
            form.values.push(Recorded { leaf, anchors: (start.anchor, end.anchor) });
        }
        form.pieces.shrink_to_fit();
        form.more_pieces.shrink_to_fit();
        Some(form)
    }
}
