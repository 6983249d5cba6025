//! The pass over the bytes.

use super::error::{Error, ErrorKind};
use super::kernels::{Ahead, Available, Tokens, Window};
use super::keys::{IN_BODY, Key, Keys, Object};
use super::probe::has_escapes;
use super::trie::{NONE, NodeId, PathTrie};
use super::{DuplicateKeys, Element, Kind, Leaf, MAX_DEPTH, Options, narrow, number, reset};

/// Buffers that outlive one document.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    open: Vec<Frame>,
    keys: Keys,
    tokens: Tokens,
}

/// A container that is open; the outermost frame stands for the document.
#[derive(Debug, Clone, Copy)]
struct Frame {
    shape: Shape,
    /// Where the container is in the trie.
    node: NodeId,
    /// The innermost element at this place, which may be the container itself.
    element: u32,
    /// An array's number.
    array: u32,
    /// Index of the container's own first leaf; it has one for each of the node's fields.
    leaf: u32,
    /// An object's keys.
    keys: Object,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Document,
    Object,
    Array,
}

impl Frame {
    /// What is around everything, where nothing is tracked.
    const DOCUMENT: Self =
        Self { shape: Shape::Document, node: NONE, element: 0, array: 0, leaf: 0, keys: Object::NONE };
}

impl Shape {
    /// The byte behind the last value in it; behind a document there is none.
    #[inline(always)]
    fn end(self) -> u8 {
        match self {
            Self::Document => 0,
            Self::Object => b'}',
            Self::Array => b']',
        }
    }
}

struct Scanner<'a, 'b> {
    body: &'b [u8],
    window: Window<'b>,
    trie: &'a PathTrie,
    options: Options,
    leaves: &'a mut Vec<Leaf>,
    elements: &'a mut Vec<Element>,
    /// The document and the containers that are open. The innermost one is not copied from here: what has just
    /// been stored in small parts is slow to load in large ones.
    open: &'a mut Vec<Frame>,
    keys: &'a mut Keys,
    arrays: u32,
}

pub(super) fn run<'b>(
    body: &'b [u8],
    kernel: Available,
    trie: &PathTrie,
    options: Options,
    out: (&mut Vec<Leaf>, &mut Vec<Element>),
    scratch: &mut Scratch,
) -> Result<&'b str, Error> {
    if u32::try_from(body.len()).is_err() {
        return Err(Error { kind: ErrorKind::TooLarge, offset: u32::MAX as usize });
    }
    let (leaves, elements) = out;
    let Scratch { open, keys, tokens } = scratch;
    reset(open);
    keys.reset(trie.len());
    elements.push(Element { parent: 0, array: 0, end: 1 });
    open.push(Frame { node: trie.root(), ..Frame::DOCUMENT });
    let window = Window::new(body, kernel);
    let options = Options { depth: options.depth.min(MAX_DEPTH), ..options };
    let mut scanner = Scanner { body, window, trie, options, leaves, elements, open, keys, arrays: 0 };
    scanner.document(tokens.reset()).map_err(|error| first_fault(body, error))?;
    scanner.finish();
    // All of it has been seen, so that all of it has been checked.
    scanner.window.text().ok_or(Error { kind: ErrorKind::InvalidUtf8, offset: 0 })
}

/// What is wrong with a body whose tokens are wrong: that it is no text at all comes first.
#[cold]
fn first_fault(body: &[u8], error: Error) -> Error {
    if let Err(error) = simdutf8::compat::from_utf8(body) {
        return Error { kind: ErrorKind::InvalidUtf8, offset: error.valid_up_to() };
    }
    if body.starts_with(b"\xEF\xBB\xBF") {
        return Error { kind: ErrorKind::ByteOrderMark, offset: 0 };
    }
    error
}

impl Scanner<'_, '_> {
    fn document(&mut self, tokens: &mut Tokens) -> Result<(), Error> {
        let mut next = 0;
        let mut node = self.trie.root();
        // Whether the next token is the brace or comma before a member, or a value starts there.
        let mut member = false;
        'value: loop {
            let Some(mut ahead) = tokens.ahead(next) else {
                self.window.refill(tokens, next);
                next = 0;
                continue;
            };
            if member {
                if !ahead.is_member() {
                    return self.fail_member(ahead);
                }
                node = self.key(ahead.at(1), ahead.at(2));
                ahead.skip(4);
            }
            let at = ahead.at(0);
            match ahead.kind(0) {
                _ if ahead.is_string() => {
                    if node != NONE {
                        self.record_string(node, at as usize + 1, ahead.at(1) as usize);
                    }
                    ahead.skip(2);
                }
                b'"' => return self.fail(ErrorKind::UnexpectedEnd, ahead.at(1) as usize),
                b'{' => {
                    self.open(Shape::Object, node, at)?;
                    if ahead.kind(1) != b'}' {
                        next += ahead.passed();
                        member = true;
                        continue;
                    }
                    self.close(ahead.at(1))?;
                    ahead.skip(2);
                }
                b'[' => {
                    self.open(Shape::Array, node, at)?;
                    if ahead.kind(1) != b']' {
                        next += ahead.passed() + 1;
                        member = false;
                        continue;
                    }
                    self.close(ahead.at(1))?;
                    ahead.skip(2);
                }
                b'-' | b'0'..=b'9' => {
                    let end = number::end(self.body, at as usize, ahead.at(1) as usize)?;
                    if node != NONE {
                        self.record(node, at as usize, end, Kind::Number);
                    }
                    self.ends(end, ahead.at(1))?;
                    ahead.skip(1);
                }
                first => {
                    self.literal(first, node, at, ahead.at(1))?;
                    ahead.skip(1);
                }
            }
            // Behind a value.
            loop {
                let (kind, at) = (ahead.kind(0), ahead.at(0));
                if kind == b',' {
                    next += ahead.passed();
                    match self.frame().shape {
                        Shape::Object => member = true,
                        Shape::Array => {
                            member = false;
                            next += 1;
                            node = self.frame().node;
                        }
                        Shape::Document => return self.fail_behind(at as usize),
                    }
                    continue 'value;
                }
                if kind != self.frame().shape.end() {
                    return self.fail_behind(at as usize);
                }
                if self.frame().shape == Shape::Document {
                    return if at as usize == self.body.len() {
                        Ok(())
                    } else {
                        self.fail_behind(at as usize)
                    };
                }
                self.close(at)?;
                next += ahead.passed() + 1;
                ahead = loop {
                    if let Some(ahead) = tokens.ahead(next) {
                        break ahead;
                    }
                    self.window.refill(tokens, next);
                    next = 0;
                };
            }
        }
    }

    /// The innermost container.
    #[inline(always)]
    fn frame(&self) -> &Frame {
        // The document never closes.
        self.open.last().unwrap_or(&Frame::DOCUMENT)
    }

    /// The error at a token that is not what it should be, which may be that there is none.
    #[cold]
    fn fail<T>(&self, kind: ErrorKind, offset: usize) -> Result<T, Error> {
        Err(if offset >= self.window.stop() { self.window.fault() } else { Error { kind, offset } })
    }

    /// The error of what stands behind a value.
    #[cold]
    fn fail_behind<T>(&self, offset: usize) -> Result<T, Error> {
        let kind = match self.frame().shape {
            Shape::Object => ErrorKind::ExpectedCommaOrBrace,
            Shape::Array => ErrorKind::ExpectedCommaOrBracket,
            Shape::Document => ErrorKind::TrailingData,
        };
        self.fail(kind, offset)
    }

    /// The error of what is no key with a colon behind it.
    #[cold]
    fn fail_member<T>(&self, ahead: Ahead<'_>) -> Result<T, Error> {
        let kind = match [ahead.kind(1), ahead.kind(2)] {
            [b'"', b'"'] => return self.fail(ErrorKind::ExpectedColon, ahead.at(3) as usize),
            [b'"', _] => return self.fail(ErrorKind::UnexpectedEnd, ahead.at(2) as usize),
            _ => ErrorKind::ExpectedKey,
        };
        self.fail(kind, ahead.at(1) as usize)
    }

    /// Notes the key between two quotes; returns where its value is in the trie. Most keys are short, plain and
    /// unlike those before them: they take no call from here.
    #[inline(always)]
    fn key(&mut self, quote: u32, end: u32) -> NodeId {
        let (start, end) = (quote as usize + 1, end as usize);
        let Some(probe) = self.trie.seeds().probe_short(self.body, start, end - start) else {
            return self.any_key(quote, end);
        };
        if self.window.may_have_escapes(start, end) && probe.has_backslash() {
            return self.any_key(quote, end);
        }
        let Some(Frame { node, keys: object, .. }) = self.open.last_mut() else { return NONE };
        let node = self.trie.child(*node, &probe, None);
        if node != NONE && self.options.duplicate_keys == DuplicateKeys::Error {
            self.keys.see(object, node, quote);
            return node;
        }
        let key = Key::new(quote, &probe, IN_BODY, self.leaves.len());
        if self.keys.push_new(object, key, &probe) { node } else { self.any_key(quote, end) }
    }

    #[cold]
    #[inline(never)]
    fn any_key(&mut self, quote: u32, end: usize) -> NodeId {
        let (probe, unescaped) = self.keys.probe(self.body, self.trie.seeds(), quote as usize + 1, end);
        let key = Key::new(quote, &probe, unescaped, self.leaves.len());
        let Some(Frame { node, keys: object, .. }) = self.open.last_mut() else { return NONE };
        let node = self.trie.child(*node, &probe, Some(self.keys.text(self.body, &key)));
        if node != NONE && self.options.duplicate_keys == DuplicateKeys::Error {
            self.keys.see(object, node, quote);
        } else {
            self.keys.push(self.body, object, key, &probe, self.options.duplicate_keys);
        }
        node
    }

    /// Checks that the number or word that ends at `end` does end there, the next token being `behind`.
    #[inline(always)]
    fn ends(&self, end: usize, behind: u32) -> Result<(), Error> {
        // A byte that is neither the next token nor whitespace belongs to this one.
        if behind as usize == end || matches!(self.body.get(end), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            Ok(())
        } else {
            self.fail_behind(end)
        }
    }

    /// The word that starts with `first` at `at`, or what should be one.
    #[inline(always)]
    fn literal(&mut self, first: u8, node: NodeId, at: u32, behind: u32) -> Result<(), Error> {
        let at = at as usize;
        let (kind, length) = match first {
            b't' if self.body.get(at..at + 4) == Some(b"true") => (Kind::True, 4),
            b'f' if self.body.get(at..at + 5) == Some(b"false") => (Kind::False, 5),
            b'n' if self.body.get(at..at + 4) == Some(b"null") => (Kind::Null, 4),
            _ => return self.fail_value(at),
        };
        if node != NONE {
            self.record(node, at, at + length, kind);
        }
        self.ends(at + length, behind)
    }

    /// The error of what is no value, or ends within one.
    #[cold]
    fn fail_value<T>(&self, at: usize) -> Result<T, Error> {
        let rest = self.body.get(at..).unwrap_or_default();
        let cut = [&b"true"[..], b"false", b"null"].iter().any(|word| word.starts_with(rest));
        if cut {
            self.fail(ErrorKind::UnexpectedEnd, self.body.len())
        } else {
            self.fail(ErrorKind::ExpectedValue, at)
        }
    }

    #[inline(always)]
    fn record_string(&mut self, node: NodeId, start: usize, end: usize) {
        let escaped = self.window.may_have_escapes(start, end) && has_escapes(self.body, start, end);
        self.record(node, start, end, if escaped { Kind::EscapedString } else { Kind::String });
    }

    #[inline(always)]
    fn record(&mut self, node: NodeId, start: usize, end: usize, kind: Kind) {
        let (count, field) = self.trie.mark(node);
        if count > 0 {
            let (start, end) = (narrow(start), narrow(end));
            self.leaves.push(Leaf { field, element: self.frame().element, start, end, kind });
            if count > 1 {
                self.record_others(node);
            }
        }
    }

    /// The fields of a node but the first, which has been recorded.
    #[cold]
    #[inline(never)]
    fn record_others(&mut self, node: NodeId) {
        let Some(&leaf) = self.leaves.last() else { return };
        self.leaves.extend(self.trie.fields(node).iter().skip(1).map(|&field| Leaf { field, ..leaf }));
    }

    /// Enters the container whose bracket is at `at`.
    #[inline(always)]
    fn open(&mut self, shape: Shape, node: NodeId, at: u32) -> Result<(), Error> {
        if self.open.len() > self.options.depth {
            return Err(Error { kind: ErrorKind::TooDeep, offset: at as usize });
        }
        let (element, leaf, keys) = (self.frame().element, narrow(self.leaves.len()), self.keys.open());
        self.open.push(Frame { shape, node, element, array: 0, leaf, keys });
        if node != NONE {
            self.record_open(at);
        }
        Ok(())
    }

    #[inline(never)]
    fn record_open(&mut self, at: u32) {
        let [.., outer, frame] = self.open.as_mut_slice() else { return };
        if outer.shape == Shape::Array {
            frame.element = narrow(self.elements.len());
            self.elements.push(Element { parent: outer.element, array: outer.array, end: frame.element });
        }
        let kind = if frame.shape == Shape::Array {
            self.arrays += 1;
            frame.array = self.arrays;
            Kind::Array
        } else {
            Kind::Object
        };
        let node = frame.node;
        // The end is not known yet.
        self.record(node, at as usize, at as usize, kind);
    }

    /// Leaves the innermost container, whose closing bracket is at `at`.
    #[inline(always)]
    fn close(&mut self, at: u32) -> Result<(), Error> {
        let Some(frame) = self.open.last_mut() else { return Ok(()) };
        if frame.shape == Shape::Object {
            self.keys
                .close(self.body, &mut frame.keys, self.options.duplicate_keys)
                .map_err(|offset| Error { kind: ErrorKind::DuplicateKey, offset })?;
        }
        if frame.node != NONE {
            self.record_close(at);
        }
        self.open.truncate(self.open.len().saturating_sub(1));
        Ok(())
    }

    #[inline(never)]
    fn record_close(&mut self, at: u32) {
        let [.., outer, frame] = self.open.as_slice() else { return };
        let (count, _) = self.trie.mark(frame.node);
        let own = self.leaves.iter_mut().skip(frame.leaf as usize).take(count as usize);
        own.for_each(|leaf| leaf.end = at + 1);
        if frame.element != outer.element {
            let end = narrow(self.elements.len());
            if let Some(element) = self.elements.get_mut(frame.element as usize) {
                element.end = end;
            }
        }
    }

    /// The document is valid: what can only be said now.
    fn finish(&mut self) {
        let end = narrow(self.elements.len());
        if let Some(document) = self.elements.first_mut() {
            document.end = end;
        }
        let dropped = &mut self.keys.dropped;
        if dropped.is_empty() {
            return;
        }
        // Ranges nest or are apart; sorted by start, one sweep drops them all.
        dropped.sort_unstable_by_key(|range| range.start);
        let (mut index, mut next, mut until) = (0, 0, 0);
        self.leaves.retain(|_| {
            while let Some(range) = dropped.get(next).filter(|range| range.start <= index) {
                until = until.max(range.end);
                next += 1;
            }
            index += 1;
            index > until
        });
    }
}
