//! Predicates: one test on one scalar.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use smol_str::SmolStr;

use super::exclusions::Exclusions;
use super::{Decimal, Folded, Range, Regex, Wildcard, Work};

/// A scalar of a document, as predicates see it.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, by value.
    Number(Decimal),
    /// A string, unescaped.
    String(Cow<'a, str>),
}

/// A scalar in a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number: its value, and its text for error messages.
    Number(Box<(Decimal, SmolStr)>),
    /// A string.
    String(SmolStr),
}

impl Scalar {
    fn equals(&self, seen: &Seen<'_>) -> bool {
        match (self, seen) {
            (Self::Null, Seen::Null) => true,
            (Self::Bool(wanted), Seen::Bool(seen)) => wanted == seen,
            (Self::Number(wanted), Seen::Number(seen)) => wanted.0 == *seen,
            (Self::String(wanted), Seen::String(seen)) => **wanted == **seen,
            _ => false,
        }
    }
}

/// One thing that `{"anything-but": …}` excludes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Exclusion {
    /// A value.
    Equals(Scalar),
    /// Strings with this prefix.
    Prefix(SmolStr),
    /// Strings with this suffix.
    Suffix(SmolStr),
    /// This string in any case.
    EqualsIgnoreCase(Folded),
    /// Strings that match this wildcard.
    Wildcard(Wildcard),
}

impl Exclusion {
    pub(super) fn excludes(&self, seen: &Seen<'_>) -> bool {
        match (self, seen) {
            (Self::Equals(scalar), seen) => scalar.equals(seen),
            (Self::Prefix(prefix), Seen::String(text)) => text.starts_with(prefix.as_str()),
            (Self::Suffix(suffix), Seen::String(text)) => text.ends_with(suffix.as_str()),
            (Self::EqualsIgnoreCase(folded), Seen::String(text)) => folded.equals(text),
            (Self::Wildcard(wildcard), Seen::String(text)) => wildcard.matches(text),
            _ => false,
        }
    }
}

/// One test on one scalar.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Predicate {
    /// This value.
    Equals(Scalar),
    /// A string with this prefix.
    Prefix(SmolStr),
    /// A string with this prefix in any case.
    PrefixIgnoreCase(Folded),
    /// A string with this suffix.
    Suffix(SmolStr),
    /// A string with this suffix in any case.
    SuffixIgnoreCase(Folded),
    /// This string in any case.
    EqualsIgnoreCase(Folded),
    /// A string that matches this wildcard.
    Wildcard(Wildcard),
    /// Any scalar except these.
    AnythingBut(Exclusions),
    /// A number in this range.
    Numeric(Range),
    /// A string that is an address in this block.
    Cidr(IpNet),
    /// A string that this regular expression matches from end to end.
    Regex(Box<Regex>),
    /// Any scalar (`true`), or no scalar (`false`).
    Exists(bool),
}

impl Predicate {
    /// Whether this scalar satisfies the predicate.
    ///
    /// No scalar satisfies `exists: false`. If the field has no scalar, ask [`Predicate::wants_absence`] instead.
    #[must_use]
    pub fn matches(&self, seen: &Seen<'_>) -> bool {
        self.matches_within(seen, &Work::unlimited())
    }

    /// [`Predicate::matches`], within a budget. If that is exhausted, the result means nothing.
    #[must_use]
    pub fn matches_within(&self, seen: &Seen<'_>, work: &Work) -> bool {
        if let Seen::String(text) = seen
            && !work.read(text.len())
        {
            return false;
        }
        match (self, seen) {
            (Self::Equals(scalar), seen) => scalar.equals(seen),
            (Self::AnythingBut(exclusions), seen) => !exclusions.exclude(seen, work),
            (Self::Exists(wanted), _) => *wanted,
            (Self::Numeric(range), Seen::Number(number)) => range.contains(number),
            (Self::Prefix(prefix), Seen::String(text)) => text.starts_with(prefix.as_str()),
            (Self::PrefixIgnoreCase(prefix), Seen::String(text)) => prefix.is_prefix_of(text),
            (Self::Suffix(suffix), Seen::String(text)) => text.ends_with(suffix.as_str()),
            (Self::SuffixIgnoreCase(suffix), Seen::String(text)) => suffix.is_suffix_of(text),
            (Self::EqualsIgnoreCase(folded), Seen::String(text)) => folded.equals(text),
            (Self::Wildcard(wildcard), Seen::String(text)) => wildcard.matches(text),
            (Self::Cidr(block), Seen::String(text)) => {
                parse_address(text).is_some_and(|a| block.contains(&a))
            }
            (Self::Regex(pattern), Seen::String(text)) => pattern.matches(text, work),
            _ => false,
        }
    }

    /// Whether the predicate holds if the document has no scalar at the field.
    #[must_use]
    pub fn wants_absence(&self) -> bool {
        matches!(self, Self::Exists(false))
    }
}

/// Parses an IPv4 or IPv6 address strictly: without leading zeros, zone or surrounding space.
pub(crate) fn parse_address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    } else {
        text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
    }
}

/// Writes `text` as a JSON string, for messages.
pub(crate) fn quote(text: &str, out: &mut impl fmt::Write) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            c if c.is_control() => write!(out, "\\u{:04x}", c as u32)?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(number) => f.write_str(&number.1),
            Self::String(text) => quote(text, f),
        }
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, text) = match self {
            Self::Equals(scalar) => return scalar.fmt(f),
            Self::Prefix(text) => ("prefix", &**text),
            Self::Suffix(text) => ("suffix", &**text),
            Self::EqualsIgnoreCase(folded) => ("equals-ignore-case", folded.source()),
            Self::Wildcard(wildcard) => ("wildcard", wildcard.source()),
        };
        write!(f, "{key} ")?;
        quote(text, f)
    }
}

/// The predicate as explanations show it: `prefix "llama"`, `>= 7`, `anything but "a" or "b"`.
impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, text) = match self {
            Self::Equals(scalar) => return scalar.fmt(f),
            Self::Exists(true) => return f.write_str("any value"),
            Self::Exists(false) => return f.write_str("no value"),
            Self::Numeric(range) => return range.fmt(f),
            Self::Cidr(block) => return write!(f, "an address in {block}"),
            Self::AnythingBut(exclusions) => {
                f.write_str("anything but ")?;
                return join(f, exclusions);
            }
            Self::Prefix(text) => ("prefix", &**text),
            Self::PrefixIgnoreCase(folded) => ("prefix (any case)", folded.source()),
            Self::Suffix(text) => ("suffix", &**text),
            Self::SuffixIgnoreCase(folded) => ("suffix (any case)", folded.source()),
            Self::EqualsIgnoreCase(folded) => ("any case of", folded.source()),
            Self::Wildcard(wildcard) => ("wildcard", wildcard.source()),
            Self::Regex(pattern) => ("regex", &*pattern.source),
        };
        write!(f, "{key} ")?;
        quote(text, f)
    }
}

/// Writes `a, b or c`: at most eight items, then the number of further ones.
pub(crate) fn join<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    const SHOWN: usize = 8;
    for (index, item) in items.iter().take(SHOWN).enumerate() {
        match index {
            0 => {}
            _ if index + 1 == items.len() => f.write_str(" or ")?,
            _ => f.write_str(", ")?,
        }
        item.fmt(f)?;
    }
    if items.len() > SHOWN {
        write!(f, " or {} more", items.len() - SHOWN)?;
    }
    Ok(())
}
