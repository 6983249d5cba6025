//! Numbers and words.

use super::error::Error;
use super::{Kind, number};

/// Where the number or word ends that begins at an offset, and what it is; `None` if there is none. `behind` is where it
/// should end, if that is known: that makes it faster. What comes then is not looked at.
#[inline(always)]
pub(super) fn end(body: &[u8], at: usize, behind: usize) -> Result<Option<(usize, Kind)>, Error> {
    Ok(match body.get(at) {
        Some(b'-' | b'0'..=b'9') => Some((number::end(body, at, behind)?, Kind::Number)),
        Some(b't') if body.get(at..at + 4) == Some(b"true") => Some((at + 4, Kind::True)),
        Some(b'f') if body.get(at..at + 5) == Some(b"false") => Some((at + 5, Kind::False)),
        Some(b'n') if body.get(at..at + 4) == Some(b"null") => Some((at + 4, Kind::Null)),
        _ => None,
    })
}

/// What the number or word is that begins at an offset.
#[inline(always)]
pub(super) fn kind(body: &[u8], at: usize) -> Kind {
    match body.get(at) {
        Some(b't') => Kind::True,
        Some(b'f') => Kind::False,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}
