//! Finds the error of a rejected body.

use super::{Failed, Scanner};
use crate::json::error::{Error, ErrorKind};
use crate::json::frame::Shape;
use crate::json::kernels::Ahead;

/// The error to report for a body with wrong tokens. Invalid UTF-8 and a byte order mark take precedence.
#[cold]
pub(super) fn first_fault(body: &[u8], error: Error) -> Error {
    if let Err(error) = simdutf8::compat::from_utf8(body) {
        return Error { kind: ErrorKind::InvalidUtf8, offset: error.valid_up_to() };
    }
    if body.starts_with(b"\xEF\xBB\xBF") {
        return Error { kind: ErrorKind::ByteOrderMark, offset: 0 };
    }
    error
}

impl Scanner<'_, '_> {
    /// Fails at an unexpected token, or at the end of the tokens.
    #[cold]
    pub(super) fn fail<T>(&mut self, kind: ErrorKind, offset: usize) -> Result<T, Failed> {
        let error = Error { kind, offset };
        self.fail_with(if offset >= self.window.stop() { self.window.fault() } else { error })
    }

    #[cold]
    pub(super) fn fail_with<T>(&mut self, error: Error) -> Result<T, Failed> {
        self.error = Some(error);
        Err(Failed)
    }

    /// Fails at an unexpected token after a value.
    #[cold]
    pub(super) fn fail_behind<T>(&mut self, shape: Shape, offset: usize) -> Result<T, Failed> {
        let kind = match shape {
            Shape::Object => ErrorKind::ExpectedCommaOrBrace,
            Shape::Array => ErrorKind::ExpectedCommaOrBracket,
            Shape::Document => ErrorKind::TrailingData,
        };
        self.fail(kind, offset)
    }

    /// Fails where a key and a colon are expected.
    #[cold]
    pub(super) fn fail_member<T>(&mut self, ahead: Ahead<'_>) -> Result<T, Failed> {
        let kind = match [ahead.kind(1), ahead.kind(2)] {
            [b'"', b'"'] => return self.fail(ErrorKind::ExpectedColon, ahead.at(3) as usize),
            [b'"', _] => return self.fail(ErrorKind::UnexpectedEnd, ahead.at(2) as usize),
            _ => ErrorKind::ExpectedKey,
        };
        self.fail(kind, ahead.at(1) as usize)
    }

    /// Fails where a value is expected, or where the body ends within a word.
    #[cold]
    pub(super) fn fail_value<T>(&mut self, at: usize) -> Result<T, Failed> {
        let tail = self.body.get(at..).unwrap_or_default();
        let is_cut_off = [&b"true"[..], b"false", b"null"].iter().any(|word| word.starts_with(tail));
        if is_cut_off {
            self.fail(ErrorKind::UnexpectedEnd, self.body.len())
        } else {
            self.fail(ErrorKind::ExpectedValue, at)
        }
    }
}
