//! Numbers, `true`, `false` and `null`.

use super::error::Error;
use super::{Kind, number};

/// The end and the kind of the number or word that begins at `at`; `None` if none does. `behind` is its expected end, which
/// makes the check faster. Bytes after its end are not examined.
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

/// The kind of the valid number or word that begins at `at`.
#[inline(always)]
pub(super) fn kind(body: &[u8], at: usize) -> Kind {
    match body.get(at) {
        Some(b't') => Kind::True,
        Some(b'f') => Kind::False,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}
