//! What patterns see of one message: its tracked values, by field.

use std::borrow::Cow;

use super::fields::FieldId;
use crate::json::{Element, Kind, Leaf, Scan, unescape};
use crate::pattern::{Decimal, Seen, quote};

/// A value at a field. Kept small, and read only when asked for: a document may hold very many.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) field: FieldId,
    /// The innermost array element around the value: an index into the scan's elements.
    pub(crate) element: u32,
    pub(crate) kind: Kind,
    /// A credential: patterns see it, explanations do not show it.
    pub(crate) secret: bool,
    /// The value's text as it stands in the message, strings without quotes.
    pub(crate) raw: Cow<'a, str>,
}

/// The tracked values of one message, ordered by field, and the array elements that hold them.
#[derive(Debug)]
pub(crate) struct View<'a> {
    entries: Vec<Entry<'a>>,
    pub(crate) elements: &'a [Element],
}

/// Whether a valid document is an object. One that is not has no fields, though arrays are transparent for paths.
pub(crate) fn is_object(body: &str) -> bool {
    body.trim_ascii_start().starts_with('{')
}

impl<'a> Entry<'a> {
    /// Everything that a scan of `body` recorded.
    pub(crate) fn all(scan: &Scan, body: &'a str) -> Vec<Self> {
        scan.leaves.iter().map(|leaf| Self::of(leaf, body)).collect()
    }

    /// The value of a leaf that a scan of `body` recorded.
    pub(crate) fn of(leaf: &Leaf, body: &'a str) -> Self {
        let raw = Cow::Borrowed(body.get(leaf.span()).unwrap_or_default());
        Self { field: leaf.field, element: leaf.element, kind: leaf.kind, secret: false, raw }
    }

    /// A string that does not come from the body: a header's value, say. It belongs to no array element.
    pub(crate) fn text(field: FieldId, text: impl Into<Cow<'a, str>>) -> Self {
        Self { field, element: 0, kind: Kind::String, secret: false, raw: text.into() }
    }

    /// The scalar as predicates see it; `None` for an object or an array, which none does.
    pub(crate) fn seen(&self) -> Option<Seen<'_>> {
        match self.kind {
            Kind::Null => Some(Seen::Null),
            Kind::False => Some(Seen::Bool(false)),
            Kind::True => Some(Seen::Bool(true)),
            Kind::Number => Decimal::parse(&self.raw).map(Seen::Number),
            Kind::String => Some(Seen::String(Cow::Borrowed(&self.raw))),
            Kind::EscapedString => Some(Seen::String(unescape(&self.raw))),
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
            out.extend(self.raw.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LENGTH));
            self.raw.chars().nth(LENGTH).map_or(0, char::len_utf8)
        };
        if hidden > 0 {
            out.push('…');
        }
        out
    }
}

impl<'a> View<'a> {
    pub(crate) fn new(mut entries: Vec<Entry<'a>>, elements: &'a [Element]) -> Self {
        // Stable: a field's values stay in the order of the document.
        entries.sort_by_key(|entry| entry.field);
        Self { entries, elements }
    }

    /// All values at a field, containers included, in the order of the document.
    pub(crate) fn entries(&self, field: FieldId) -> &[Entry<'a>] {
        let start = self.entries.partition_point(|entry| entry.field < field);
        let rest = self.entries.get(start..).unwrap_or_default();
        let length = rest.partition_point(|entry| entry.field == field);
        rest.get(..length).unwrap_or_default()
    }

    /// All scalars with their fields, in the order of the fields.
    pub(crate) fn all_scalars(&self) -> impl Iterator<Item = (FieldId, Seen<'_>)> {
        self.entries.iter().filter_map(|entry| entry.seen().map(|seen| (entry.field, seen)))
    }

    /// The scalars at a field, each with its array element.
    pub(crate) fn scalars(&self, field: FieldId) -> impl Iterator<Item = (u32, Seen<'_>)> {
        self.entries(field).iter().filter_map(|entry| entry.seen().map(|seen| (entry.element, seen)))
    }

    /// The values at a field as JSON text, shortened; `None` where there are none.
    pub(crate) fn shown(&self, field: FieldId) -> Option<String> {
        const COUNT: usize = 4;
        let scalars: Vec<&Entry<'_>> = self.entries(field).iter().filter(|entry| entry.is_scalar()).collect();
        match scalars.as_slice() {
            [] => self.entries(field).first().map(Entry::shown),
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
