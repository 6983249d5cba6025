//! Escapes in strings (RFC 8259, section 7).

use std::borrow::Cow;

use super::error::{Error, ErrorKind};

/// Checks the escape whose backslash is at `at`, and returns the offset after it; for a surrogate pair, after its second half.
pub(super) fn check(body: &[u8], at: usize) -> Result<usize, Error> {
    match byte(body, at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 2),
        b'u' => {
            let lone = Err(Error { kind: ErrorKind::LoneSurrogate, offset: at });
            match checked_unit(body, at)? {
                0xD800..=0xDBFF => {
                    let paired = byte(body, at + 6)? == b'\\' && byte(body, at + 7)? == b'u';
                    if !paired {
                        return lone;
                    }
                    match checked_unit(body, at + 6)? {
                        0xDC00..=0xDFFF => Ok(at + 12),
                        _ => lone,
                    }
                }
                0xDC00..=0xDFFF => lone,
                _ => Ok(at + 6),
            }
        }
        _ => Err(Error { kind: ErrorKind::InvalidEscape, offset: at }),
    }
}

fn byte(body: &[u8], at: usize) -> Result<u8, Error> {
    body.get(at).copied().ok_or(Error { kind: ErrorKind::UnexpectedEnd, offset: body.len() })
}

/// The code unit of the `\u` escape whose backslash is at `at`.
fn checked_unit(body: &[u8], at: usize) -> Result<u32, Error> {
    unit(body, at + 2).ok_or_else(|| {
        let digits = body.get(at + 2..).unwrap_or_default();
        if digits.len() < 4 && digits.iter().all(u8::is_ascii_hexdigit) {
            Error { kind: ErrorKind::UnexpectedEnd, offset: body.len() }
        } else {
            Error { kind: ErrorKind::InvalidEscape, offset: at }
        }
    })
}

/// The value of the four hexadecimal digits at `at`.
fn unit(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.iter().try_fold(0, |unit, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(unit << 4 | digit)
    })
}

/// Unescapes `raw`, the content of a string without its quotes.
///
/// `raw` is the span of a [`Leaf`](super::Leaf) of a document that [`scan`](super::scan) found valid. Without escapes, the
/// result is borrowed. In other text, escapes that RFC 8259 does not define become U+FFFD. The function never panics.
#[must_use]
pub fn unescape(raw: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    unescape_into(raw, &mut text);
    Cow::Owned(text)
}

/// Appends `raw`, unescaped. For a valid string, the result is not longer than `raw`.
pub(crate) fn unescape_into(raw: &str, text: &mut String) {
    let mut unread = raw;
    while let Some((plain, escape)) = unread.split_once('\\') {
        text.push_str(plain);
        let mut after = escape.chars();
        text.push(match after.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(same @ ('"' | '\\' | '/')) => same,
            Some('u') => unicode(&mut after),
            _ => char::REPLACEMENT_CHARACTER,
        });
        unread = after.as_str();
    }
    text.push_str(unread);
}

/// The character of a `\u` escape. `after` starts after the `u`, and is advanced past the escape.
fn unicode(after: &mut std::str::Chars<'_>) -> char {
    let text = after.as_str();
    let Some(first) = unit(text.as_bytes(), 0) else { return char::REPLACEMENT_CHARACTER };
    let (code, length) = match text.get(4..).and_then(|tail| tail.strip_prefix("\\u")) {
        Some(digits) if (0xD800..0xDC00).contains(&first) => match unit(digits.as_bytes(), 0) {
            Some(second @ 0xDC00..=0xDFFF) => (0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00), 10),
            _ => (first, 4),
        },
        _ => (first, 4),
    };
    *after = text.get(length..).unwrap_or_default().chars();
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}
