//! Buffers that are reused from message to message, one set for each thread.

use std::cell::Cell;

use super::view::{Chains, Entry};
use crate::json::{self, Element, Kind, Leaf, Options, PathTrie, Scan};
use crate::table::ids::narrow;

thread_local! {
    static IDLE: Cell<Option<Box<Workspace>>> = const { Cell::new(None) };
}

/// The buffers for reading and matching one message.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    scan: Scan,
    text: Text,
    chains: Chains,
}

/// The unescaped strings of a document, concatenated.
#[derive(Debug, Default)]
struct Text {
    unescaped: String,
    /// For each string, its start in the body, ascending, and its end in `unescaped`.
    ends: Vec<(u32, u32)>,
}

/// A valid document and its tracked values, in the order of the document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Document<'a> {
    pub(crate) body: &'a str,
    pub(crate) elements: &'a [Element],
    pub(crate) leaves: &'a [Leaf],
    text: &'a Text,
}

impl Workspace {
    /// Lends this thread's workspace.
    // Not inlined, the result is stored in small parts and loaded in large ones, which stalls the processor.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn lend<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        let mut workspace = IDLE.take().unwrap_or_default();
        let result = work(&mut workspace);
        IDLE.set(Some(workspace));
        result
    }

    /// Scans `body`, which must be valid JSON as a whole.
    // Not inlined, the result is stored in small parts and loaded in large ones, which stalls the processor.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn read<'a>(
        &'a mut self,
        body: &'a [u8],
        trie: &PathTrie,
        options: Options,
    ) -> Result<(Document<'a>, &'a mut Chains), json::InvalidDocument> {
        let Self { scan, text, chains } = self;
        let body = json::scan(body, trie, options, scan)
            .map_err(|error| json::InvalidDocument::new(error, body, options))?;
        if scan.has_escapes || !text.ends.is_empty() {
            text.fill(&scan.leaves, body);
        }
        Ok((Document { body, elements: &scan.elements, leaves: &scan.leaves, text }, chains))
    }

    /// The empty document, for a message without a body.
    pub(crate) fn nothing(&mut self) -> (Document<'_>, &mut Chains) {
        let Self { text, chains, .. } = self;
        text.fill(&[], "");
        (Document { body: "", elements: &[], leaves: &[], text }, chains)
    }
}

impl Text {
    fn fill(&mut self, leaves: &[Leaf], body: &str) {
        json::reset(&mut self.ends);
        json::reset_text(&mut self.unescaped);
        for leaf in leaves.iter().filter(|leaf| leaf.kind == Kind::EscapedString) {
            // One value may belong to several fields.
            if self.ends.last().is_none_or(|(start, _)| *start != leaf.start) {
                json::unescape_into(body.get(leaf.span()).unwrap_or_default(), &mut self.unescaped);
                // The unescaped text is no longer than the document, whose length fits.
                self.ends.push((leaf.start, narrow(self.unescaped.len())));
            }
        }
    }

    /// The string that starts at this offset of the body.
    #[cold]
    fn at(&self, start: u32) -> Option<&str> {
        let index = self.ends.binary_search_by_key(&start, |(start, _)| *start).ok()?;
        let end = |index: usize| self.ends.get(index).map(|(_, end)| *end as usize);
        let start = index.checked_sub(1).and_then(end).unwrap_or_default();
        self.unescaped.get(start..end(index)?)
    }
}

impl<'a> Document<'a> {
    /// Whether the document is an object. Only an object has fields, although paths look through arrays.
    pub(crate) fn is_object(&self) -> bool {
        self.body.trim_ascii_start().starts_with('{')
    }

    /// The same document without tracked values.
    pub(crate) fn without_leaves(self) -> Self {
        Self { leaves: &[], ..self }
    }

    /// The entry of a tracked value.
    #[inline]
    pub(crate) fn entry(&self, leaf: &Leaf) -> Entry<'a> {
        let (kind, text) = match leaf.kind {
            Kind::EscapedString => (Kind::String, self.text.at(leaf.start)),
            kind => (kind, self.body.get(leaf.span())),
        };
        let text = text.unwrap_or_default();
        Entry { field: leaf.field, element: leaf.element, kind, secret: false, text }
    }
}
