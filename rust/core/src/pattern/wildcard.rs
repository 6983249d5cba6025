//! `{"wildcard": "a*b"}`: `*` stands for any run of characters, `\*` and `\\` for themselves.

use memchr::memmem;

/// A compiled wildcard. Matching is linear in the text: each piece is searched once, leftmost, which is enough
/// because `*` is the only operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wildcard {
    source: Box<str>,
    /// The literal before the first `*`.
    head: Box<str>,
    /// The literals between stars, none of them empty.
    middle: Vec<Box<str>>,
    /// The literal after the last `*`; `None` where there is no star at all.
    tail: Option<Box<str>>,
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
                    pieces.push(std::mem::take(&mut piece).into_boxed_str());
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
        let mut pieces = pieces.into_iter();
        let last = piece.into_boxed_str();
        let (head, tail) = match pieces.next() {
            Some(first) => (first, Some(last)),
            None => (last, None),
        };
        Ok(Self { source: source.into(), head, middle: pieces.collect(), tail })
    }

    /// The wildcard as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What every text that matches starts with.
    pub(crate) fn head(&self) -> &str {
        &self.head
    }

    /// What every text that matches ends with.
    pub(crate) fn tail(&self) -> &str {
        self.tail.as_deref().unwrap_or_default()
    }

    /// The literals between stars: every text that matches has them inside.
    pub(crate) fn inside(&self) -> impl Iterator<Item = &str> {
        self.middle.iter().map(|piece| &**piece)
    }

    /// Whether it is one literal, before or behind a star: every text that begins or ends with that matches.
    pub(crate) fn is_affix(&self) -> bool {
        self.tail.is_some() && self.middle.is_empty() && (self.head.is_empty() || self.tail().is_empty())
    }

    /// Whether the whole of `text` matches. Linear in the length of `text`.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let Some(tail) = &self.tail else { return text == &*self.head };
        let Some(rest) = text.strip_prefix(&*self.head) else { return false };
        let Some(rest) = rest.strip_suffix(&**tail) else { return false };
        let mut rest = rest.as_bytes();
        for piece in &self.middle {
            let Some(found) = memmem::find(rest, piece.as_bytes()) else { return false };
            rest = rest.get(found + piece.len()..).unwrap_or_default();
        }
        true
    }
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
