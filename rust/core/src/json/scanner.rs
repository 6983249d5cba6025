//! The pass over the bytes.

use super::error::{Error, ErrorKind};
use super::keys::{Keys, Mark};
use super::trie::{NONE, NodeId, PathTrie};
use super::{Element, Kind, Leaf, MAX_DEPTH, Options, escape, narrow, reset, skip};

/// Buffers that outlive one document.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    open: Vec<Frame>,
    keys: Keys,
}

/// A container that is open; the outermost frame stands for the document.
#[derive(Debug, Clone, Copy)]
struct Frame {
    shape: Shape,
    /// Where the container is in the trie.
    node: NodeId,
    /// Index of the container's own first leaf; it has one for each of the node's fields.
    leaf: usize,
    /// An array's number.
    array: u32,
    /// An object's keys.
    keys: Mark,
    /// The container as an element of an array.
    element: Option<Opened>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Document,
    Object,
    Array,
}

#[derive(Debug, Clone, Copy)]
struct Opened {
    id: u32,
    parent: u32,
}

struct Scanner<'a> {
    body: &'a [u8],
    text: &'a str,
    at: usize,
    trie: &'a PathTrie,
    options: Options,
    leaves: &'a mut Vec<Leaf>,
    elements: &'a mut Vec<Element>,
    /// The containers around `frame`.
    open: &'a mut Vec<Frame>,
    keys: &'a mut Keys,
    /// The innermost container.
    frame: Frame,
    /// The innermost element.
    element: u32,
    arrays: u32,
}

pub(super) fn run(
    body: &[u8],
    trie: &PathTrie,
    options: Options,
    leaves: &mut Vec<Leaf>,
    elements: &mut Vec<Element>,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    if u32::try_from(body.len()).is_err() {
        return Err(Error { kind: ErrorKind::TooLarge, offset: u32::MAX as usize });
    }
    let text = simdutf8::basic::from_utf8(body).or_else(|_| {
        simdutf8::compat::from_utf8(body)
            .map_err(|error| Error { kind: ErrorKind::InvalidUtf8, offset: error.valid_up_to() })
    })?;
    if body.starts_with(b"\xEF\xBB\xBF") {
        return Err(Error { kind: ErrorKind::ByteOrderMark, offset: 0 });
    }
    let Scratch { open, keys } = scratch;
    reset(open);
    keys.reset();
    elements.push(Element { parent: 0, array: 0, end: 1 });
    let options = Options { depth: options.depth.min(MAX_DEPTH), ..options };
    let frame = Frame {
        shape: Shape::Document,
        node: trie.root(),
        leaf: 0,
        array: 0,
        keys: Mark::default(),
        element: None,
    };
    let mut scanner = Scanner {
        body,
        text,
        at: 0,
        trie,
        options,
        leaves,
        elements,
        open,
        keys,
        frame,
        element: 0,
        arrays: 0,
    };
    scanner.document()?;
    scanner.finish();
    Ok(())
}

impl Scanner<'_> {
    fn document(&mut self) -> Result<(), Error> {
        let mut node = self.frame.node;
        'value: loop {
            // A value must start here.
            match self.peek()? {
                b'"' => self.string_value(node)?,
                b'{' => {
                    self.open(Shape::Object, node)?;
                    if self.peek()? != b'}' {
                        node = self.key()?;
                        continue 'value;
                    }
                    self.close()?;
                }
                b'[' => {
                    self.open(Shape::Array, node)?;
                    if self.peek()? != b']' {
                        continue 'value;
                    }
                    self.close()?;
                }
                b'-' | b'0'..=b'9' => self.number(node)?,
                b't' => self.literal(b"true", Kind::True, node)?,
                b'f' => self.literal(b"false", Kind::False, node)?,
                b'n' => self.literal(b"null", Kind::Null, node)?,
                _ => return self.fail(ErrorKind::ExpectedValue),
            }
            // A value has ended here.
            loop {
                match self.frame.shape {
                    Shape::Object => match self.peek()? {
                        b',' => {
                            self.at += 1;
                            node = self.key()?;
                            continue 'value;
                        }
                        b'}' => self.close()?,
                        _ => return self.fail(ErrorKind::ExpectedCommaOrBrace),
                    },
                    Shape::Array => match self.peek()? {
                        b',' => {
                            self.at += 1;
                            node = self.frame.node;
                            continue 'value;
                        }
                        b']' => self.close()?,
                        _ => return self.fail(ErrorKind::ExpectedCommaOrBracket),
                    },
                    Shape::Document => {
                        self.at = skip::whitespace(self.body, self.at);
                        if self.at < self.body.len() {
                            return self.fail(ErrorKind::TrailingData);
                        }
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The next byte that is not whitespace, which is not consumed.
    #[inline]
    fn peek(&mut self) -> Result<u8, Error> {
        self.at = skip::whitespace(self.body, self.at);
        self.here()
    }

    #[inline]
    fn here(&self) -> Result<u8, Error> {
        self.body
            .get(self.at)
            .copied()
            .ok_or(Error { kind: ErrorKind::UnexpectedEnd, offset: self.body.len() })
    }

    fn fail<T>(&self, kind: ErrorKind) -> Result<T, Error> {
        Err(Error { kind, offset: self.at })
    }

    fn record(&mut self, node: NodeId, start: usize, end: usize, kind: Kind) {
        for &field in self.trie.fields(node) {
            let (start, end) = (narrow(start), narrow(end));
            self.leaves.push(Leaf { field, element: self.element, start, end, kind });
        }
    }

    /// Enters the container whose bracket is here.
    fn open(&mut self, shape: Shape, node: NodeId) -> Result<(), Error> {
        if self.open.len() >= self.options.depth {
            return self.fail(ErrorKind::TooDeep);
        }
        let mut frame =
            Frame { shape, node, leaf: self.leaves.len(), array: 0, keys: self.keys.mark(), element: None };
        if node != NONE {
            if self.frame.shape == Shape::Array {
                let (id, parent) = (narrow(self.elements.len()), self.element);
                self.elements.push(Element { parent, array: self.frame.array, end: id });
                frame.element = Some(Opened { id, parent });
                self.element = id;
            }
            if shape == Shape::Array {
                self.arrays += 1;
                frame.array = self.arrays;
            }
            let kind = if shape == Shape::Array { Kind::Array } else { Kind::Object };
            // The end is not known yet.
            self.record(node, self.at, self.at, kind);
        }
        self.open.push(std::mem::replace(&mut self.frame, frame));
        self.at += 1;
        Ok(())
    }

    /// Leaves the innermost container, whose closing bracket is here.
    fn close(&mut self) -> Result<(), Error> {
        self.at += 1;
        let frame = self.frame;
        if frame.shape == Shape::Object {
            self.keys
                .close(self.body, frame.keys, self.leaves.len(), self.options.duplicate_keys)
                .map_err(|offset| Error { kind: ErrorKind::DuplicateKey, offset })?;
        }
        if frame.node != NONE {
            let own = frame.leaf..frame.leaf + self.trie.fields(frame.node).len();
            for leaf in self.leaves.get_mut(own).unwrap_or_default() {
                leaf.end = narrow(self.at);
            }
            if let Some(Opened { id, parent }) = frame.element {
                let end = narrow(self.elements.len());
                if let Some(element) = self.elements.get_mut(id as usize) {
                    element.end = end;
                }
                self.element = parent;
            }
        }
        if let Some(outer) = self.open.pop() {
            self.frame = outer;
        }
        Ok(())
    }

    /// A member's key and colon; returns where its value is in the trie.
    #[inline]
    fn key(&mut self) -> Result<NodeId, Error> {
        if self.peek()? != b'"' {
            return self.fail(ErrorKind::ExpectedKey);
        }
        let quote = self.at;
        let (end, escaped) = self.string()?;
        let raw = self.text.get(quote + 1..end).unwrap_or_default();
        let trie = self.trie;
        let (hash, key) = self.keys.push(raw, escaped, quote, self.leaves.len(), |key| trie.hash(key));
        let node = match self.frame.node {
            NONE => NONE,
            parent => trie.child(parent, hash, key),
        };
        if self.peek()? != b':' {
            return self.fail(ErrorKind::ExpectedColon);
        }
        self.at += 1;
        Ok(node)
    }

    fn string_value(&mut self, node: NodeId) -> Result<(), Error> {
        let start = self.at + 1;
        let (end, escaped) = self.string()?;
        if node != NONE {
            self.record(node, start, end, if escaped { Kind::EscapedString } else { Kind::String });
        }
        Ok(())
    }

    /// Passes the string whose opening quote is here; returns the offset of the closing one, and whether
    /// there are escapes between them.
    #[inline]
    fn string(&mut self) -> Result<(usize, bool), Error> {
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at = skip::string(self.body, self.at);
            match self.here()? {
                b'"' => {
                    let end = self.at;
                    self.at += 1;
                    return Ok((end, escaped));
                }
                b'\\' => {
                    self.at = escape::check(self.body, self.at)?;
                    escaped = true;
                }
                _ => return self.fail(ErrorKind::ControlCharacter),
            }
        }
    }

    fn number(&mut self, node: NodeId) -> Result<(), Error> {
        let start = self.at;
        if self.here()? == b'-' {
            self.at += 1;
        }
        if self.here()? == b'0' {
            self.at += 1;
            if self.here().is_ok_and(|byte| byte.is_ascii_digit()) {
                return self.fail(ErrorKind::InvalidNumber);
            }
        } else {
            self.digits()?;
        }
        if self.here() == Ok(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Ok(b'e' | b'E') = self.here() {
            self.at += 1;
            if let Ok(b'+' | b'-') = self.here() {
                self.at += 1;
            }
            self.digits()?;
        }
        if node != NONE {
            self.record(node, start, self.at, Kind::Number);
        }
        Ok(())
    }

    /// At least one digit.
    #[inline]
    fn digits(&mut self) -> Result<(), Error> {
        if !self.here()?.is_ascii_digit() {
            return self.fail(ErrorKind::InvalidNumber);
        }
        while self.body.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        Ok(())
    }

    fn literal(&mut self, word: &[u8], kind: Kind, node: NodeId) -> Result<(), Error> {
        let rest = self.body.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            if word.starts_with(rest) {
                self.at = self.body.len();
                return self.fail(ErrorKind::UnexpectedEnd);
            }
            return self.fail(ErrorKind::ExpectedValue);
        }
        let start = self.at;
        self.at += word.len();
        if node != NONE {
            self.record(node, start, self.at, kind);
        }
        Ok(())
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
