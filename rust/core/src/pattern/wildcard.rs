//! `{"wildcard": "a*b"}`: `*` stands for any run of characters, `\*` and `\\` for themselves.

use memchr::{memchr, memmem};
use smol_str::SmolStr;

/// A compiled wildcard. Matching is linear in the text: each piece is searched once, leftmost, which is enough
/// because `*` is the only operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wildcard(Form);

/// Most have no escapes and are short: they take no memory of their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// As written: its literals stand there as they are.
    Plain(SmolStr),
    Escaped(Box<Escaped>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Escaped {
    source: SmolStr,
    /// The literals before, between and behind the stars.
    pieces: Vec<SmolStr>,
}

/// The literals of a wildcard.
struct Pieces<'w> {
    /// What is left of one without escapes.
    plain: Option<&'w str>,
    unescaped: std::slice::Iter<'w, SmolStr>,
}

impl<'w> Iterator for Pieces<'w> {
    type Item = &'w str;

    #[inline]
    fn next(&mut self) -> Option<&'w str> {
        let Some(plain) = self.plain else { return self.unescaped.next().map(SmolStr::as_str) };
        let (piece, rest) = match memchr(b'*', plain.as_bytes()) {
            Some(at) => (plain.get(..at), plain.get(at + 1..)),
            None => (Some(plain), None),
        };
        self.plain = rest;
        piece
    }
}

impl Wildcard {
    /// Compiles a wildcard.
    ///
    /// # Errors
    /// What is wrong and what is allowed, as a sentence.
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
                    None => return Err("it ends in a lone backslash: write `\\\\` for a backslash".into()),
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

    /// The literals before, between and behind the stars: at least one, and of those between none is empty.
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

    /// What every text that matches starts with.
    pub(crate) fn head(&self) -> &str {
        self.pieces().next().unwrap_or_default()
    }

    /// What every text that matches ends with.
    pub(crate) fn tail(&self) -> &str {
        self.pieces().skip(1).last().unwrap_or_default()
    }

    /// The literals between stars: every text that matches has them inside.
    pub(crate) fn inside(&self) -> impl Iterator<Item = &str> {
        let mut inside: Vec<&str> = self.pieces().skip(1).collect();
        inside.pop();
        inside.into_iter()
    }

    /// Whether it is one literal, before or behind a star: every text that begins or ends with that matches.
    pub(crate) fn is_affix(&self) -> bool {
        self.pieces().count() == 2 && self.pieces().any(str::is_empty)
    }

    /// What is behind the head of one without escapes, from the star on; nothing where there is no star.
    pub(crate) fn plain_tail(&self) -> Option<&str> {
        match &self.0 {
            Form::Plain(source) => source.get(self.head().len()..),
            Form::Escaped(_) => None,
        }
    }

    /// Whether the whole of `text` matches. Linear in the length of `text`.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        in_order(self.pieces().map(str::as_bytes), text.as_bytes())
    }
}

/// Whether a text is of some literals, in that order, and of anything between them.
pub(crate) fn in_order<'p>(mut pieces: impl Iterator<Item = &'p [u8]>, text: &[u8]) -> bool {
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let Some(mut piece) = pieces.next() else { return rest.is_empty() };
    for behind in pieces {
        let Some(found) = memmem::find(rest, piece) else { return false };
        rest = rest.get(found + piece.len()..).unwrap_or_default();
        piece = behind;
    }
    rest.ends_with(piece)
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
