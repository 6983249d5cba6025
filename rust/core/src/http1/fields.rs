//! Header fields in one allocation. A message has about a dozen fields, and each allocation costs as much as parsing one.

use std::ops::Range;
use std::{fmt, slice};

use super::{Error, head};

/// Header or trailer fields in wire order, each a name and a value.
#[derive(Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    /// Whether a field was appended unchecked.
    raw: bool,
}

/// Position of a field: the start of its name, the start of its value right after, and the end.
#[derive(Clone, Copy)]
struct Span {
    name: usize,
    value: usize,
    end: usize,
}

impl Fields {
    /// Makes an empty list with room for `fields` fields of `bytes` bytes in all.
    #[must_use]
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), spans: Vec::with_capacity(fields), raw: false }
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Whether all fields are known to be in normal form: valid, names in lower case, values without surrounding whitespace.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        !self.raw
    }

    /// Names and values.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { bytes: &self.bytes, spans: self.spans.iter() }
    }

    /// All names and values as one text, if they are UTF-8; see [`parts`](Self::parts).
    #[must_use]
    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }

    /// The ranges of names and values in [`text`](Self::text).
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        self.spans.iter().map(|span| (span.name..span.value, span.value..span.end))
    }

    /// The same fields in normal form.
    ///
    /// # Errors
    /// A name or a value that no head may have.
    pub fn normal(&self) -> Result<Self, Error> {
        let mut out = Self::with_capacity(self.spans.len(), self.bytes.len());
        self.iter().try_for_each(|(name, value)| out.push_checked(name, value))?;
        Ok(out)
    }

    /// Appends a field unchecked and unchanged.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.raw = true;
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.close(begin, value);
    }

    /// Checks a field and appends it in normal form.
    pub(super) fn push_checked(&mut self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        let begin = self.bytes.len();
        head::name(name, &mut self.bytes)?;
        let value = head::value(name, value)?;
        self.close(begin, value);
        Ok(())
    }

    /// Keeps only the fields for which `keep` returns true.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let bytes = &self.bytes;
        self.spans.retain(|span| {
            let (name, value) = span.of(bytes);
            keep(name, value)
        });
    }

    /// Replaces the value of the first field with this name, or appends the field.
    pub(super) fn put(&mut self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        if self.iter().any(|(field, _)| field == name) {
            self.set(name, value);
            return Ok(());
        }
        self.push_checked(name, value)
    }

    /// Replaces the value of the first field with this name, if there is one.
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

/// Iterator over [`Fields`].
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
