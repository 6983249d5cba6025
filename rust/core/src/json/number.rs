//! Checks numbers (RFC 8259, section 6).

use super::error::{Error, ErrorKind};
use super::kernels::{SPAN, others};

/// Checks the number whose first byte, a digit or a minus, is at `at`, and returns the offset after it. The next token is at
/// `behind`.
#[inline(always)]
pub(super) fn end(body: &[u8], at: usize, behind: usize) -> Result<usize, Error> {
    if is_plain(body, at, behind) { Ok(behind) } else { any_end(body, at) }
}

/// Whether the bytes from `at` to `behind` are a number of digits with an optional minus and point. False does not mean that
/// they are not.
#[inline(always)]
fn is_plain(body: &[u8], at: usize, behind: usize) -> bool {
    let Some(chunk) = body.get(at..at + SPAN).and_then(<[u8]>::first_chunk) else { return false };
    let length = behind.saturating_sub(at);
    if length >= SPAN {
        return false;
    }
    let minus = chunk.first() == Some(&b'-');
    let sign = usize::from(minus);
    let others = others(chunk) & ((1 << length) - 1) & !u32::from(minus);
    let zero = chunk.get(sign) == Some(&b'0');
    if others == 0 {
        // Only digits: at least one, and no leading zero.
        return length > sign && !(zero && length > sign + 1);
    }
    let point = others.trailing_zeros() as usize;
    others.is_power_of_two()
        && chunk.get(point) == Some(&b'.')
        && point > sign
        && point + 1 < length
        && !(zero && point > sign + 1)
}

#[inline(never)]
fn any_end(body: &[u8], at: usize) -> Result<usize, Error> {
    let byte = |at: usize| body.get(at).copied().unwrap_or_default();
    let integer = at + usize::from(byte(at) == b'-');
    let mut at = required_digits(body, integer)?;
    if byte(integer) == b'0' && at > integer + 1 {
        return Err(Error { kind: ErrorKind::InvalidNumber, offset: integer + 1 });
    }
    if byte(at) == b'.' {
        at = required_digits(body, at + 1)?;
    }
    if byte(at) | 0x20 == b'e' {
        at += 1;
        at += usize::from(matches!(byte(at), b'+' | b'-'));
        at = required_digits(body, at)?;
    }
    Ok(at)
}

/// Skips digits, of which there must be at least one.
#[inline]
fn required_digits(body: &[u8], at: usize) -> Result<usize, Error> {
    let end = digits(body, at);
    if end > at { Ok(end) } else { Err(no_digit(body, at)) }
}

#[cold]
fn no_digit(body: &[u8], offset: usize) -> Error {
    let kind = if offset < body.len() { ErrorKind::InvalidNumber } else { ErrorKind::UnexpectedEnd };
    Error { kind, offset }
}

/// The first offset from `at` on that is not a digit, or the body's length.
#[inline]
fn digits(body: &[u8], mut at: usize) -> usize {
    const ZEROS: u64 = u64::from_ne_bytes([b'0'; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    /// Added to 10 or more, it sets the highest bit.
    const ABOVE: u64 = u64::from_ne_bytes([0x80 - 10; 8]);
    while let Some(word) = body.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let values = u64::from_le_bytes(*word) ^ ZEROS;
        // A sum may carry into the next byte, so only the lowest set bit is reliable.
        let others = (values | values.wrapping_add(ABOVE)) & HIGHS;
        if others != 0 {
            return at + (others.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while body.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tests all texts of up to six of these characters.
    #[test]
    fn what_looks_plain_is_a_number() {
        let mut texts = vec![String::new()];
        for _ in 0..6 {
            let longer = texts.iter().flat_map(|text| "-.019e".chars().map(move |c| format!("{text}{c}")));
            texts = longer.chain([String::new()]).collect();
            for text in &texts {
                for padding in [SPAN, 0] {
                    let body = format!("{text},{}", "7".repeat(padding));
                    let plain = is_plain(body.as_bytes(), 0, text.len());
                    let number = any_end(body.as_bytes(), 0) == Ok(text.len());
                    assert_eq!(plain, number && padding > 0 && !text.contains('e'), "{body}");
                }
            }
        }
    }

    #[test]
    fn long_numbers_are_numbers() {
        for length in 1..100 {
            for point in 0..length {
                let mut text = "1234567890".repeat(10);
                text.truncate(length);
                text.replace_range(point..=point, ".");
                let body = format!("{text}{}", ",".repeat(SPAN));
                let expected = point > 0 && point + 1 < length;
                assert_eq!(end(body.as_bytes(), 0, length) == Ok(length), expected, "{body}");
            }
        }
    }

    #[test]
    fn digits_end_at_the_first_other_byte() {
        for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
            for at in 0..20 {
                for filler in [b'0', b'9'] {
                    for behind in [byte, b'0', b'9', 0xFF] {
                        let mut body = vec![filler; 21];
                        body[at + 1..].fill(behind);
                        body[at] = byte;
                        assert_eq!(digits(&body, 0), at);
                    }
                }
            }
        }
        assert_eq!((digits(b"", 0), digits(b"123", 0), digits(b"123", 3), digits(b"123", 9)), (0, 3, 3, 9));
    }
}
