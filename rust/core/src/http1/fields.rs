//! Header fields in one piece of memory: a message has a dozen, and each allocation costs as much as reading one.

use std::ops::Range;
use std::{fmt, slice};

use super::{Error, head};

/// Header or trailer fields in wire order, each a name and a value.
#[derive(Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    /// One was appended as it is.
    raw: bool,
}

/// Where in the bytes a field is: its name, and the value right behind it.
#[derive(Clone, Copy)]
struct Span {
    name: usize,
    value: usize,
    end: usize,
}

impl Fields {
    /// No fields, and room for so many that take so many bytes.
    #[must_use]
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), spans: Vec::with_capacity(fields), raw: false }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Whether all are valid, their names in lower case, their values without surrounding whitespace.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        !self.raw
    }

    /// Names and values.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { bytes: &self.bytes, spans: self.spans.iter() }
    }

    /// All names and values in one piece, where all are UTF-8, for [`parts`](Self::parts).
    #[must_use]
    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }

    /// Where in the [`text`](Self::text) names and values are.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        self.spans.iter().map(|span| (span.name..span.value, span.value..span.end))
    }

    /// Appends a field as it is.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.raw = true;
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.close(begin, value);
    }

    /// Appends a field in normal form: the name in lower case, the value without surrounding whitespace.
    pub(super) fn push_checked(&mut self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        let begin = self.bytes.len();
        head::name(name, &mut self.bytes)?;
        let value = head::value(name, value)?;
        self.close(begin, value);
        Ok(())
    }

    /// Leaves out the fields of which `keep` says no.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let bytes = &self.bytes;
        self.spans.retain(|span| {
            let (name, value) = span.of(bytes);
            keep(name, value)
        });
    }

    /// Gives the first field of this name another value.
    pub(super) fn set(&mut self, name: &[u8], value: &[u8]) {
        let Some(at) = self.iter().position(|(field, _)| field == name) else { return };
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.close(begin, value);
        if let (Some(new), Some(old)) = (self.spans.pop(), self.spans.get_mut(at)) {
            *old = new;
        }
    }

    fn close(&mut self, begin: usize, value: &[u8]) {
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.spans.push(Span { name: begin, value: middle, end: self.bytes.len() });
    }
}

impl Span {
    fn of(self, bytes: &[u8]) -> (&[u8], &[u8]) {
        let field = bytes.get(self.name..self.end).unwrap_or_default();
        field.split_at_checked(self.value - self.name).unwrap_or_default()
    }
}

/// Goes through [`Fields`].
#[derive(Clone)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    spans: slice::Iter<'a, Span>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.spans.next().map(|span| span.of(self.bytes))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a Fields {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut out = Self::default();
        for (name, value) in fields {
            out.push(name.as_ref(), value.as_ref());
        }
        out
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other)
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self
            .iter()
            .map(|(name, value)| (name.escape_ascii().to_string(), value.escape_ascii().to_string()));
        f.debug_list().entries(shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let mut fields: Fields = [("a", "1"), ("b", ""), ("a", "3")].into_iter().collect();
        fields.set(b"a", b"22");
        fields.set(b"c", b"4");
        assert_eq!(fields, [("a", "22"), ("b", ""), ("a", "3")].into_iter().collect());
        fields.retain(|name, value| (name, value) != (b"a", b"22"));
        fields.push(b"A", b" x");
        assert_eq!((fields.len(), fields.is_empty()), (3, false));
        assert_eq!(format!("{fields:?}"), r#"[("b", ""), ("a", "3"), ("A", " x")]"#);
        assert_ne!(fields, Fields::default());
    }

    #[test]
    fn normal_form() {
        let mut fields = Fields::with_capacity(1, 8);
        fields.push_checked(b"X-A", b"\t b ").unwrap();
        assert!(fields.push_checked(b"x a", b"").is_err() && fields.push_checked(b"x", b"\0").is_err());
        assert_eq!(fields, [("x-a", "b")].into_iter().collect());
        assert!(fields.is_normal() && !fields.iter().collect::<Fields>().is_normal());
    }
}
