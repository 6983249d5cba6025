//! The scanner: walks over the tokens by the grammar of JSON.

mod faults;

use self::faults::first_fault;
use super::error::{Error, ErrorKind};
use super::forms::{Forms, Learned};
use super::frame::{Frame, Shape, ValueContext};
use super::kernels::{Ahead, Available, Before, TokenBuffer, Tokens, Window};
use super::keys::{IN_BODY, Key, Keys};
use super::learn::learn;
use super::probe::has_escapes;
use super::trie::{NONE, NodeId, PathTrie};
use super::{DuplicateKeys, Element, Kind, Leaf, MAX_DEPTH, Options, narrow, reset, scalar};

/// Buffers that are reused from document to document.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    open: Vec<Frame>,
    keys: Keys,
    learned: Learned,
    token_buffer: TokenBuffer,
}

#[cfg(test)]
impl Scratch {
    pub(super) fn learned(&self) -> &Learned {
        &self.learned
    }
}

/// A value in the walk over the tokens.
enum Value {
    /// A scalar, and its number of tokens.
    Scalar { tokens: usize },
    /// The bracket of a container.
    Bracket(Shape),
}

/// The token that interrupts the walk over one container.
enum Step {
    /// The opening bracket of an inner container, with its context.
    Open(Shape, ValueContext),
    /// The container's closing bracket.
    Close,
}

/// The walk failed; [`Scanner::error`] has the reason. Returning the error itself would be slower, because it goes through
/// memory.
#[derive(Debug)]
struct Failed;

struct Scanner<'a, 'b> {
    body: &'b [u8],
    window: Window<'b>,
    trie: &'a PathTrie,
    options: Options,
    leaves: &'a mut Vec<Leaf>,
    elements: &'a mut Vec<Element>,
    has_escapes: &'a mut bool,
    keys: &'a mut Keys,
    arrays: u32,
    error: Option<Error>,
}

pub(super) fn run<'b>(
    body: &'b [u8],
    kernel: Available,
    trie: &PathTrie,
    options: Options,
    out: (&mut Vec<Leaf>, &mut Vec<Element>, &mut bool),
    scratch: &mut Scratch,
) -> Result<&'b str, Error> {
    if u32::try_from(body.len()).is_err() {
        return Err(Error { kind: ErrorKind::TooLarge, offset: u32::MAX as usize });
    }
    let (leaves, elements, has_escapes) = out;
    let Scratch { open, keys, learned, token_buffer } = scratch;
    let options = Options { depth: options.depth.min(MAX_DEPTH), ..options };
    let mut scanner = Scanner {
        body,
        window: Window::new(body, kernel),
        trie,
        options,
        leaves,
        elements,
        has_escapes,
        keys,
        arrays: 0,
        error: None,
    };
    let mut tokens = token_buffer.clear();
    let forms = learned.of(trie);
    let is_compared = forms.begin(body);
    if is_compared {
        if let Some(text) = scanner.by_form(forms, &mut tokens) {
            return Ok(text);
        }
        scanner.leaves.clear();
        scanner.window = Window::new(body, kernel);
        tokens = token_buffer.clear();
    }
    scanner.window.refill(&mut tokens, 0);
    let is_whole = scanner.window.is_whole();
    reset(open);
    scanner.keys.reset(trie.len());
    scanner.elements.push(Element { parent: 0, array: 0, end: 1 });
    let walked = scanner.document(open, &mut tokens);
    let is_learnable = is_whole && walked.is_ok();
    if is_compared || is_learnable {
        forms.miss();
    }
    if let Err(Failed) = walked {
        return Err(first_fault(body, scanner.error.unwrap_or(scanner.window.fault())));
    }
    scanner.finish();
    if is_learnable
        && forms.learns()
        && let Some(form) = learn(&tokens, body, trie, scanner.elements)
    {
        learned.add(form);
    }
    // The walk reached the end, so all of the body has been checked.
    scanner.window.text().ok_or(Error { kind: ErrorKind::InvalidUtf8, offset: 0 })
}

impl<'b> Scanner<'_, 'b> {
    /// Walks over the document; `open` must be empty.
    ///
    /// Frames are used in place: copying data that was just stored in small parts stalls the processor.
    fn document(&mut self, open: &mut Vec<Frame>, tokens: &mut Tokens<'_>) -> Result<(), Failed> {
        let mut next = 0;
        let node = self.trie.root();
        let context =
            ValueContext { shape: Shape::Document, node, fields: self.trie.fields_at(node), element: 0 };
        let ahead = self.ahead(tokens, &mut next);
        match self.value(&context, ahead, 0)? {
            Value::Scalar { tokens: count } => next += count,
            Value::Bracket(shape) => self.open(open, shape, context, 0, ahead.at(0))?,
        }
        while let Some(frame) = open.last_mut() {
            let step = match frame.context.shape {
                Shape::Object => self.members(frame, tokens, &mut next)?,
                Shape::Array | Shape::Document => self.elements(frame, tokens, &mut next)?,
            };
            let at = tokens.ahead(next).at(0);
            match step {
                Step::Open(shape, context) => {
                    let array = frame.array;
                    self.open(open, shape, context, array, at)?;
                }
                Step::Close => {
                    self.close(frame, at)?;
                    open.pop();
                    next += 1;
                }
            }
        }
        let ahead = self.ahead(tokens, &mut next);
        if ahead.kind(0) == 0 && ahead.at(0) as usize == self.body.len() {
            Ok(())
        } else {
            self.fail_behind(Shape::Document, ahead.at(0) as usize)
        }
    }

    /// Records the values of a document of a known form, and returns its text. `None` if the document has no known form, or may
    /// be wrong; the recorded values are invalid then.
    ///
    /// See [`forms`](super::forms) for why this returns no error.
    #[inline]
    fn by_form(&mut self, forms: &mut Forms, anchors: &mut Tokens<'_>) -> Option<&'b str> {
        if !self.window.list_quotes(anchors) {
            return None;
        }
        let controls = self.window.controls();
        let number = forms.record(self.body, anchors, controls, self.options.depth, self.leaves)?;
        let form = forms.get(number)?;
        let text = self.window.text()?;
        let (first, last) = form.strings;
        if self.window.may_have_escapes(anchors.at(first) as usize, anchors.at(last) as usize) {
            self.mark_escapes();
        }
        self.elements.extend_from_slice(&form.elements);
        forms.hit(number);
        Some(text)
    }

    /// Marks the recorded strings that have escapes.
    #[inline(never)]
    fn mark_escapes(&mut self) {
        for leaf in self.leaves.iter_mut().filter(|leaf| leaf.kind == Kind::String) {
            let (start, end) = (leaf.start as usize, leaf.end as usize);
            if self.window.may_have_escapes(start, end) && has_escapes(self.body, start, end) {
                leaf.kind = Kind::EscapedString;
                *self.has_escapes = true;
            }
        }
    }

    /// The tokens from the next one on; lists more if necessary.
    #[inline(always)]
    fn ahead<'t>(&mut self, tokens: &'t mut Tokens<'_>, next: &mut usize) -> Ahead<'t> {
        if tokens.lacks(*next) {
            self.window.refill(tokens, *next);
            *next = 0;
        }
        tokens.ahead(*next)
    }

    /// Walks over members of the innermost object, up to a container or the end.
    #[inline(always)]
    fn members(
        &mut self,
        frame: &mut Frame,
        tokens: &mut Tokens<'_>,
        next: &mut usize,
    ) -> Result<Step, Failed> {
        let mut before = if frame.fresh { Before::BRACE } else { Before::COMMA };
        frame.fresh = false;
        loop {
            let ahead = self.ahead(tokens, next);
            // One comparison covers most members: a key and a string.
            if ahead.is_string_member(before) {
                before = Before::COMMA;
                let node = self.key(frame, ahead.at(1), ahead.at(2));
                if node != NONE {
                    let context = ValueContext { node, fields: self.trie.fields_at(node), ..frame.context };
                    self.string(&context, ahead.at(4), ahead.at(5));
                }
                *next += 6;
                continue;
            }
            if !ahead.is_member(before) {
                return match ahead.kind(0) {
                    b'}' => Ok(Step::Close),
                    b'{' if before == Before::BRACE && ahead.kind(1) == b'}' => {
                        *next += 1;
                        Ok(Step::Close)
                    }
                    b'{' if before == Before::BRACE => self.fail_member(ahead),
                    b',' if before == Before::COMMA => self.fail_member(ahead),
                    _ => self.fail_behind(Shape::Object, ahead.at(0) as usize),
                };
            }
            before = Before::COMMA;
            let node = self.key(frame, ahead.at(1), ahead.at(2));
            let context = ValueContext { node, fields: self.trie.fields_at(node), ..frame.context };
            match self.value(&context, ahead, 4)? {
                Value::Scalar { tokens: count } => *next += 4 + count,
                Value::Bracket(shape) => {
                    *next += 4;
                    return Ok(Step::Open(shape, context));
                }
            }
        }
    }

    /// Walks over elements of the innermost array, up to a container or the end.
    #[inline(always)]
    fn elements(
        &mut self,
        frame: &mut Frame,
        tokens: &mut Tokens<'_>,
        next: &mut usize,
    ) -> Result<Step, Failed> {
        let mut before = if frame.fresh { b'[' } else { b',' };
        frame.fresh = false;
        loop {
            let ahead = self.ahead(tokens, next);
            match ahead.kind(0) {
                b']' => return Ok(Step::Close),
                b'[' if before == b'[' && ahead.kind(1) == b']' => {
                    *next += 1;
                    return Ok(Step::Close);
                }
                first if first == before => before = b',',
                _ => return self.fail_behind(Shape::Array, ahead.at(0) as usize),
            }
            match self.value(&frame.context, ahead, 1)? {
                Value::Scalar { tokens: count } => *next += 1 + count,
                Value::Bracket(shape) => {
                    *next += 1;
                    return Ok(Step::Open(shape, frame.context));
                }
            }
        }
    }

    /// The value at token `index` of `ahead`.
    #[inline(always)]
    fn value(&mut self, context: &ValueContext, ahead: Ahead<'_>, index: usize) -> Result<Value, Failed> {
        if ahead.is_string(index) {
            self.string(context, ahead.at(index), ahead.at(index + 1));
            return Ok(Value::Scalar { tokens: 2 });
        }
        match ahead.kind(index) {
            b'{' => return Ok(Value::Bracket(Shape::Object)),
            b'[' => return Ok(Value::Bracket(Shape::Array)),
            b'"' => return self.fail(ErrorKind::UnexpectedEnd, ahead.at(index + 1) as usize),
            _ => {}
        }
        let (end, kind) = self.scalar(context.shape, ahead, index)?;
        self.record(context, ahead.at(index) as usize, end, kind);
        Ok(Value::Scalar { tokens: 1 })
    }

    /// The end and the kind of the number or word that is expected at token `index` of `ahead`.
    #[inline(always)]
    fn scalar(&mut self, shape: Shape, ahead: Ahead<'_>, index: usize) -> Result<(usize, Kind), Failed> {
        let (at, behind) = (ahead.at(index) as usize, ahead.at(index + 1) as usize);
        let found = scalar::end(self.body, at, behind).or_else(|error| self.fail_with(error))?;
        let Some((end, kind)) = found else { return self.fail_value(at) };
        // Any byte here other than the next token or whitespace belongs to this one.
        if behind == end || matches!(self.body.get(end), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            Ok((end, kind))
        } else {
            self.fail_behind(shape, end)
        }
    }

    /// Registers the key between two quotes, and returns the node of its value. Most keys are short, without escapes and
    /// clearly different from earlier ones; they need no further call.
    #[inline(always)]
    fn key(&mut self, frame: &mut Frame, quote: u32, end: u32) -> NodeId {
        let (start, end) = (quote as usize + 1, end as usize);
        let Some(probe) = self.trie.seeds().probe_short(self.body, start, end - start) else {
            return self.any_key(frame, quote, end);
        };
        if self.window.may_have_escapes(start, end) && probe.has_backslash() {
            return self.any_key(frame, quote, end);
        }
        let mut node = NONE;
        if frame.below & probe.bit() != 0 {
            node = self.trie.child(frame.context.node, &probe, None);
            if node != NONE && self.options.duplicate_keys == DuplicateKeys::Error {
                self.keys.see(&mut frame.keys, node, quote);
                return node;
            }
        }
        let key = Key::new(quote, &probe, IN_BODY, self.leaves.len());
        if self.keys.push_new(&mut frame.keys, key, &probe) { node } else { self.any_key(frame, quote, end) }
    }

    #[cold]
    #[inline(never)]
    fn any_key(&mut self, frame: &mut Frame, quote: u32, end: usize) -> NodeId {
        let (probe, unescaped) = self.keys.probe(self.body, self.trie.seeds(), quote as usize + 1, end);
        let key = Key::new(quote, &probe, unescaped, self.leaves.len());
        let node = self.trie.child(frame.context.node, &probe, Some(self.keys.text(self.body, &key)));
        if node != NONE && self.options.duplicate_keys == DuplicateKeys::Error {
            self.keys.see(&mut frame.keys, node, quote);
        } else {
            self.keys.push(self.body, &mut frame.keys, key, &probe, self.options.duplicate_keys);
        }
        node
    }

    /// Records the string between two quotes, if its path is tracked.
    #[inline(always)]
    fn string(&mut self, context: &ValueContext, quote: u32, end: u32) {
        if context.fields.0 > 0 {
            let (start, end) = (quote as usize + 1, end as usize);
            let escaped = self.window.may_have_escapes(start, end) && has_escapes(self.body, start, end);
            *self.has_escapes |= escaped;
            self.record(context, start, end, if escaped { Kind::EscapedString } else { Kind::String });
        }
    }

    /// Records a value, if its path is tracked.
    #[inline(always)]
    fn record(&mut self, context: &ValueContext, start: usize, end: usize, kind: Kind) {
        let (count, field) = context.fields;
        if count > 0 {
            let (start, end) = (narrow(start), narrow(end));
            self.leaves.push(Leaf { field, element: context.element, start, end, kind });
            if count > 1 {
                self.record_others(context.node);
            }
        }
    }

    /// Records the fields of a node after the first, which is already recorded.
    #[cold]
    #[inline(never)]
    fn record_others(&mut self, node: NodeId) {
        let Some(&leaf) = self.leaves.last() else { return };
        self.leaves.extend(self.trie.fields(node).iter().skip(1).map(|&field| Leaf { field, ..leaf }));
    }

    /// Enters the container whose bracket is at `at`. `array` is the number of the array around it, if there is one.
    #[inline(always)]
    fn open(
        &mut self,
        open: &mut Vec<Frame>,
        shape: Shape,
        outer: ValueContext,
        array: u32,
        at: u32,
    ) -> Result<(), Failed> {
        if open.len() >= self.options.depth {
            return self.fail_with(Error { kind: ErrorKind::TooDeep, offset: at as usize });
        }
        let mut context = ValueContext { shape, ..outer };
        let (leaf, mut number, mut below, mut is_element) = (narrow(self.leaves.len()), 0, 0, false);
        if outer.node != NONE {
            below = self.trie.below(outer.node);
            if outer.shape == Shape::Array {
                is_element = true;
                context.element = narrow(self.elements.len());
                self.elements.push(Element { parent: outer.element, array, end: context.element });
            }
            let kind = if shape == Shape::Array {
                self.arrays += 1;
                number = self.arrays;
                Kind::Array
            } else {
                Kind::Object
            };
            // The end is set when the container closes.
            self.record(&context, at as usize, at as usize, kind);
        }
        open.push(Frame {
            fresh: true,
            is_element,
            context,
            below,
            array: number,
            leaf,
            keys: self.keys.open(),
        });
        Ok(())
    }

    /// Leaves the innermost container, whose closing bracket is at `at`.
    #[inline(always)]
    fn close(&mut self, frame: &mut Frame, at: u32) -> Result<(), Failed> {
        if frame.context.shape == Shape::Object {
            self.keys
                .close(self.body, &mut frame.keys, self.options.duplicate_keys)
                .or_else(|offset| self.fail_with(Error { kind: ErrorKind::DuplicateKey, offset }))?;
        }
        if frame.context.node != NONE {
            let (count, _) = frame.context.fields;
            self.end_leaves(frame.leaf, count, at);
            if frame.is_element {
                let end = narrow(self.elements.len());
                if let Some(element) = self.elements.get_mut(frame.context.element as usize) {
                    element.end = end;
                }
            }
        }
        Ok(())
    }

    /// Sets the end of a container's `count` leaves from `first` on; its closing bracket is at `at`.
    #[inline(always)]
    fn end_leaves(&mut self, first: u32, count: u32, at: u32) {
        let own = self.leaves.iter_mut().skip(first as usize).take(count as usize);
        own.for_each(|leaf| leaf.end = at + 1);
    }

    /// Completes the results of a valid document.
    fn finish(&mut self) {
        let end = narrow(self.elements.len());
        if let Some(document) = self.elements.first_mut() {
            document.end = end;
        }
        let dropped = &mut self.keys.dropped;
        if dropped.is_empty() {
            return;
        }
        // Ranges are nested or disjoint. Sorted by start, one sweep drops them all.
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
