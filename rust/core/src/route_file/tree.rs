//! The values of one route.

/// A value as written.
#[derive(Debug, PartialEq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    /// A whole number in its shortest decimal form.
    Integer(String),
    Text(String),
    List(Vec<Tree>),
    /// Keys are different.
    Map(Vec<(String, Tree)>),
    /// Any value that no plain route has.
    Other,
}

impl Tree {
    /// A number: whole ones of few digits are plain.
    pub(super) fn number(text: &str) -> Self {
        const DIGITS: usize = 18;
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_plain = (1..=DIGITS).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && (!digits.starts_with('0') || text == "0");
        if is_plain { Self::Integer(text.to_owned()) } else { Self::Other }
    }

    /// A mapping; [`Tree::Other`] if a key comes twice.
    pub(super) fn map(entries: Vec<(String, Self)>) -> Self {
        const FEW: usize = 16;
        let doubled = if entries.len() <= FEW {
            entries
                .iter()
                .enumerate()
                .any(|(at, (key, _))| entries.iter().take(at).any(|(other, _)| other == key))
        } else {
            let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
            keys.sort_unstable();
            keys.windows(2).any(|pair| pair.first() == pair.last())
        };
        if doubled { Self::Other } else { Self::Map(entries) }
    }
}
