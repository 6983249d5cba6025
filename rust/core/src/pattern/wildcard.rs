//! Wildcards, `{"wildcard": "a*b"}`: `*` matches any run of characters, `\*` a star and `\\` a backslash.

use memchr::{memchr, memmem};
use smol_str::SmolStr;

/// A compiled wildcard. Matching takes time linear in the text: each literal is searched for once, leftmost, which
/// suffices because `*` is the only operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wildcard(Form);

/// Most wildcards are short and have no escapes, so they need no allocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// Without escapes: the source contains the literals unchanged.
    Plain(SmolStr),
    Escaped(Box<Escaped>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Escaped {
    source: SmolStr,
    /// The literals before, between and after the stars, unescaped.
    pieces: Vec<SmolStr>,
}

/// The literals of a wildcard.
struct Pieces<'w> {
    /// The unread part of a wildcard without escapes.
    plain: Option<&'w str>,
    unescaped: std::slice::Iter<'w, SmolStr>,
}

impl<'w> Iterator for Pieces<'w> {
    type Item = &'w str;

    #[inline]
    fn next(&mut self) -> Option<&'w str> {
        let Some(plain) = self.plain else { return self.unescaped.next().map(SmolStr::as_str) };
        let (piece, after_star) = match memchr(b'*', plain.as_bytes()) {
            Some(at) => (plain.get(..at), plain.get(at + 1..)),
            None => (Some(plain), None),
        };
        self.plain = after_star;
        piece
    }
}

impl Wildcard {
    /// Compiles a wildcard.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what is allowed.
    pub fn parse(source: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut piece = String::new();
        let mut after_star = false;
        let mut chars = source.chars();
        while let Some(c) = chars.next() {
            match c {
                '*' if after_star => {
                    return Err("`**` is not allowed: one `*` already matches any run of characters".into());
                }
                '*' => {
                    pieces.push(SmolStr::from(std::mem::take(&mut piece)));
                    after_star = true;
                    continue;
                }
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '\\')) => piece.push(escaped),
                    Some(other) => {
                        return Err(format!(
                            "`\\{other}` is not an escape: only `\\*` (a star) and `\\\\` (a backslash) are"
                        ));
                    }
                    None => {
                        return Err(
                            "the wildcard ends in a lone backslash: write `\\\\` for a backslash".into()
                        );
                    }
                },
                other => piece.push(other),
            }
            after_star = false;
        }
        pieces.push(piece.into());
        let source = SmolStr::from(source);
        Ok(Self(if source.contains('\\') {
            Form::Escaped(Box::new(Escaped { source, pieces }))
        } else {
            Form::Plain(source)
        }))
    }

    /// The wildcard as written.
    #[must_use]
    pub fn source(&self) -> &str {
        match &self.0 {
            Form::Plain(source) => source,
            Form::Escaped(escaped) => &escaped.source,
        }
    }

    /// The literals before, between and after the stars: at least one. Those between stars are never empty.
    fn pieces(&self) -> Pieces<'_> {
        match &self.0 {
            Form::Plain(source) => Pieces { plain: Some(source), unescaped: [].iter() },
            Form::Escaped(escaped) => Pieces { plain: None, unescaped: escaped.pieces.iter() },
        }
    }

    /// The same, each by itself.
    pub(super) fn literals(&self) -> impl Iterator<Item = SmolStr> {
        self.pieces().map(SmolStr::from)
    }

    /// The prefix of every matching text.
    pub(crate) fn head(&self) -> &str {
        self.pieces().next().unwrap_or_default()
    }

    /// The suffix of every matching text; empty without a star.
    pub(crate) fn tail(&self) -> &str {
        self.pieces().skip(1).last().unwrap_or_default()
    }

    /// The literals between stars, which every matching text contains.
    pub(crate) fn inside(&self) -> impl Iterator<Item = &str> {
        let mut inside: Vec<&str> = self.pieces().skip(1).collect();
        inside.pop();
        inside.into_iter()
    }

    /// Whether the wildcard is one literal before or after one star, and so equivalent to a prefix or suffix.
    pub(crate) fn is_affix(&self) -> bool {
        self.pieces().count() == 2 && self.pieces().any(str::is_empty)
    }

    /// The source from the first star on, empty without a star; `None` if the wildcard has escapes.
    pub(crate) fn plain_tail(&self) -> Option<&str> {
        match &self.0 {
            Form::Plain(source) => source.get(self.head().len()..),
            Form::Escaped(_) => None,
        }
    }

    /// Whether all of `text` matches. Takes time linear in the length of `text`.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        in_order(self.pieces().map(str::as_bytes), text.as_bytes())
    }
}

/// Whether a text starts with the first literal, ends with the last and contains the others between, in this order.
pub(crate) fn in_order<'p>(mut pieces: impl Iterator<Item = &'p [u8]>, text: &[u8]) -> bool {
    let Some(mut unread) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let Some(mut piece) = pieces.next() else { return unread.is_empty() };
    for next in pieces {
        let Some(found) = memmem::find(unread, piece) else { return false };
        unread = unread.get(found + piece.len()..).unwrap_or_default();
        piece = next;
    }
    unread.ends_with(piece)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex_automata::meta::Regex;

    use super::*;

    #[test]
    fn table() {
        for (pattern, yes, no) in [
            ("*", &["", "x", "*"][..], &[][..]),
            ("a*", &["a", "ab", "a*"], &["", "ba"]),
            ("*a", &["a", "ba"], &["ab"]),
            ("a*a", &["aa", "aba"], &["a"]),
            ("a*b*c", &["abc", "aXbYc", "abbc"], &["acb", "ab", "bc"]),
            (r"a\*b", &["a*b"], &["axb"]),
            (r"a\\*", &[r"a\", r"a\x"], &["a"]),
            (r"\**", &["*", "*x"], &["", "x"]),
            ("", &[""], &["x"]),
            ("é*ü", &["éü", "é-ü"], &["eü"]),
        ] {
            let wildcard = Wildcard::parse(pattern).unwrap();
            for text in yes {
                assert!(wildcard.matches(text), "{pattern} matches {text}");
            }
            for text in no {
                assert!(!wildcard.matches(text), "{pattern} does not match {text}");
            }
        }
    }

    #[test]
    fn errors_say_what_is_allowed() {
        for (pattern, message) in
            [("a**b", "`**`"), (r"a\n", r"`\n`"), ("a\\", "lone backslash"), (r"\***", "`**`")]
        {
            let error = Wildcard::parse(pattern).unwrap_err();
            assert!(error.contains(message), "{pattern}: {error}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_regex(pattern in "([abé]|\\\\\\*)?(\\*?([abé]|\\\\\\*))*", text in "[abé*]{0,12}") {
            let wildcard = Wildcard::parse(&pattern).unwrap();
            let mut regex = String::from("(?s)\\A");
            let mut chars = pattern.chars();
            while let Some(c) = chars.next() {
                match c {
                    '*' => regex.push_str(".*"),
                    '\\' => { chars.next(); regex.push_str("\\*"); }
                    c => regex.push(c),
                }
            }
            regex.push_str("\\z");
            prop_assert_eq!(wildcard.matches(&text), Regex::new(&regex).unwrap().is_match(&text));
        }
    }
}
