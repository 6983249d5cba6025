//! Why a document cannot be matched.

use std::fmt;

use crate::json::InvalidDocument;

/// Why a document cannot be matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MatchError {
    /// The document is not valid JSON.
    Json(InvalidDocument),
    /// Matching the document takes too long.
    TooCostly,
}

impl MatchError {
    /// The error code, which is stable.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(invalid) => invalid.error.code(),
            Self::TooCostly => "too_costly",
        }
    }
}

impl fmt::Display for MatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(invalid) => invalid.fmt(f),
            Self::TooCostly => f.write_str(
                "comparing the values of this message with the rules takes too many steps: send fewer or shorter \
                 values in the fields that the rules test",
            ),
        }
    }
}

impl std::error::Error for MatchError {}

impl From<InvalidDocument> for MatchError {
    fn from(invalid: InvalidDocument) -> Self {
        Self::Json(invalid)
    }
}
