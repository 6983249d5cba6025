//! What patterns see of one message: its tracked values, by field.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::workspace::Document;
use crate::json::{self, Element, Kind};
use crate::pattern::{Decimal, Seen, quote};
use crate::table::ids::FieldId;

/// No entry.
const NONE: u32 = u32::MAX;

/// A value at a field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) field: FieldId,
    /// The innermost array element around the value: an index into the scan's elements.
    pub(crate) element: u32,
    /// Never [`Kind::EscapedString`].
    pub(crate) kind: Kind,
    /// A credential: patterns see it, explanations do not show it.
    pub(crate) secret: bool,
    /// What a string stands for; the JSON text of any other value.
    pub(crate) text: &'a str,
}

/// A message's values in the order in which they stand.
pub(crate) type Entries<'a> = SmallVec<[Entry<'a>; 16]>;

/// The values of one message, by field, and the array elements that hold them.
#[derive(Debug)]
pub(crate) struct View<'a> {
    /// Its leaves come first. An entry is made of one where somebody asks for it: most are never looked at.
    document: Document<'a>,
    entries: &'a [Entry<'a>],
    /// Where there are so many values that one should not go through all of them for each field.
    chains: Option<&'a Chains>,
    pub(crate) elements: &'a [Element],
}

/// Up to how many values are gone through for each field.
const FEW: usize = 24;

/// For each field, its values one after the other. Nothing is cleared for a new message: what an older one left is told
/// by its number.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    message: u32,
    /// By field.
    heads: Vec<Head>,
    /// By value, the next one of the same field.
    next: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Head {
    message: u32,
    first: u32,
    last: u32,
}

impl Chains {
    #[inline(never)]
    fn link(&mut self, document: Document<'_>, entries: &[Entry<'_>]) {
        let fields = fields_and_elements(document, entries).map(|(field, _)| field);
        self.message = self.message.wrapping_add(1);
        if self.message == 0 {
            self.heads.clear();
            self.message = 1;
        }
        json::reset(&mut self.next);
        for (field, at) in fields.zip(0..) {
            let index = field as usize;
            if index >= self.heads.len() {
                self.heads.resize(index + 1, Head::default());
            }
            let Some(head) = self.heads.get_mut(index) else { continue };
            if head.message == self.message {
                if let Some(next) = self.next.get_mut(head.last as usize) {
                    *next = at;
                }
                head.last = at;
            } else {
                *head = Head { message: self.message, first: at, last: at };
            }
            self.next.push(NONE);
        }
    }

    fn first(&self, field: FieldId) -> u32 {
        let head = self.heads.get(field as usize).filter(|head| head.message == self.message);
        head.map_or(NONE, |head| head.first)
    }
}

impl<'a> Entry<'a> {
    /// A string that does not come from the body: a header's value, say. It belongs to no array element.
    pub(crate) fn text(field: FieldId, text: &'a str) -> Self {
        Self { field, element: 0, kind: Kind::String, secret: false, text }
    }

    /// The scalar as predicates see it; `None` for an object or an array, which none does.
    pub(crate) fn seen(&self) -> Option<Seen<'a>> {
        match self.kind {
            Kind::Null => Some(Seen::Null),
            Kind::False => Some(Seen::Bool(false)),
            Kind::True => Some(Seen::Bool(true)),
            Kind::Number => Decimal::parse(self.text).map(Seen::Number),
            Kind::String | Kind::EscapedString => Some(Seen::String(Cow::Borrowed(self.text))),
            Kind::Object | Kind::Array => None,
        }
    }

    pub(crate) fn is_scalar(&self) -> bool {
        !matches!(self.kind, Kind::Object | Kind::Array)
    }

    /// The value as JSON text, of at most about 80 characters.
    pub(crate) fn shown(&self) -> String {
        const LENGTH: usize = 80;
        if self.secret {
            return "(a credential, not shown)".to_owned();
        }
        let mut out = String::new();
        let hidden = if let Some(Seen::String(text)) = self.seen() {
            let short: String = text.chars().take(LENGTH).collect();
            // Writing to a String cannot fail.
            let _ = quote(&short, &mut out);
            text.len() - short.len()
        } else {
            out.extend(self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LENGTH));
            self.text.chars().nth(LENGTH).map_or(0, char::len_utf8)
        };
        if hidden > 0 {
            out.push('…');
        }
        out
    }
}

impl<'a> View<'a> {
    #[allow(clippy::inline_always)] // A result that is moved through memory in small parts waits to be read in large ones.
    #[inline(always)]
    pub(crate) fn new(document: Document<'a>, entries: &'a [Entry<'a>], chains: &'a mut Chains) -> Self {
        let chains = (document.leaves.len() + entries.len() > FEW).then(|| {
            chains.link(document, entries);
            &*chains
        });
        Self { document, entries, chains, elements: document.elements }
    }

    /// How many values there are, containers included.
    pub(crate) fn len(&self) -> usize {
        self.document.leaves.len() + self.entries.len()
    }

    /// The field and the element of each value, containers included, in the order of the message.
    pub(crate) fn fields_and_elements(&self) -> impl Iterator<Item = (FieldId, u32)> {
        fields_and_elements(self.document, self.entries)
    }

    /// Visits all values, containers included, at fields that are asked for, in the order of the message.
    #[inline]
    pub(crate) fn visit(&self, asked: impl Fn(FieldId) -> bool, mut visit: impl FnMut(Entry<'a>)) {
        let (mut leaves, mut others) = (self.document.leaves.iter(), self.entries.iter());
        // In one place, as only there it becomes a part of the loop.
        loop {
            let entry = if let Some(leaf) = leaves.next() {
                if !asked(leaf.field) {
                    continue;
                }
                self.document.entry(leaf)
            } else if let Some(entry) = others.next() {
                if !asked(entry.field) {
                    continue;
                }
                *entry
            } else {
                break;
            };
            visit(entry);
        }
    }

    /// Whether some value at a field, containers included, is what is asked for. They are shown in the order of the message.
    #[inline]
    pub(crate) fn any(&self, field: FieldId, mut is: impl FnMut(&Entry<'a>) -> bool) -> bool {
        let Some(chains) = self.chains else {
            let leaves = self.document.leaves.iter();
            return leaves.filter(|leaf| leaf.field == field).any(|leaf| is(&self.document.entry(leaf)))
                || self.entries.iter().any(|entry| entry.field == field && is(entry));
        };
        let mut at = chains.first(field);
        while let Some(entry) = self.get(at as usize) {
            if is(&entry) {
                return true;
            }
            at = chains.next.get(at as usize).copied().unwrap_or(NONE);
        }
        false
    }

    /// The value of this number.
    fn get(&self, at: usize) -> Option<Entry<'a>> {
        let leaves = self.document.leaves;
        match leaves.get(at) {
            Some(leaf) => Some(self.document.entry(leaf)),
            None => self.entries.get(at - leaves.len()).copied(),
        }
    }

    /// Whether there is a scalar at a field.
    pub(crate) fn has_scalar(&self, field: FieldId) -> bool {
        self.any(field, Entry::is_scalar)
    }

    /// The values at a field as JSON text, shortened; `None` where there are none.
    pub(crate) fn shown(&self, field: FieldId) -> Option<String> {
        const COUNT: usize = 4;
        let (mut first, mut scalars) = (None, Vec::new());
        self.any(field, |entry| {
            first = first.or(Some(*entry));
            scalars.extend(entry.is_scalar().then_some(*entry));
            false
        });
        match scalars.as_slice() {
            [] => first.map(|entry| entry.shown()),
            [one] => Some(one.shown()),
            many => {
                let mut out = String::from("[");
                for (index, entry) in many.iter().take(COUNT).enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    out.push_str(&entry.shown());
                }
                out.push_str(if many.len() > COUNT { ", …]" } else { "]" });
                Some(out)
            }
        }
    }
}

fn fields_and_elements<'a>(
    document: Document<'a>,
    entries: &'a [Entry<'a>],
) -> impl Iterator<Item = (FieldId, u32)> + use<'a> {
    let leaves = document.leaves.iter().map(|leaf| (leaf.field, leaf.element));
    leaves.chain(entries.iter().map(|entry| (entry.field, entry.element)))
}
