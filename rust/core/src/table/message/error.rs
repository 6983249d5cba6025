//! Why a message cannot be routed.

use std::fmt;

use super::read::Envelope;
use crate::json;
use crate::table::error::MatchError;

/// Why a message cannot be routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// The body is not valid JSON.
    Json(json::InvalidDocument),
    /// The body or the headers are not valid in the message's dialect.
    Envelope {
        /// The wrong attribute, by its name in the dialect; empty if the whole body is wrong.
        field: String,
        /// Byte offset in the body; `None` if the fault is not in the body.
        offset: Option<usize>,
        /// What is wrong and what is allowed.
        message: String,
        /// The message's id, if it is valid.
        id: Option<String>,
    },
    /// The message contradicts the caller's identity.
    IdentityConflict {
        /// The contradicting attribute, by its name in the dialect.
        field: String,
        /// The message's id, if it has one.
        id: Option<String>,
    },
    /// Matching the message takes too long.
    TooCostly {
        /// The message's id, if it has one.
        id: Option<String>,
    },
}

impl MessageError {
    /// Adds the message's id to the error.
    pub(super) fn with_id(mut self, envelope: &Envelope) -> Self {
        match &mut self {
            Self::Envelope { id, .. } | Self::IdentityConflict { id, .. } | Self::TooCostly { id } => {
                id.clone_from(&envelope.id);
            }
            Self::Json(_) => (),
        }
        self
    }

    /// The error code, which is stable.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(invalid) => invalid.error.code(),
            Self::Envelope { .. } => "invalid_envelope",
            Self::IdentityConflict { .. } => "identity_conflict",
            Self::TooCostly { .. } => MatchError::TooCostly.code(),
        }
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(invalid) => invalid.fmt(f),
            Self::Envelope { message, .. } => f.write_str(message),
            Self::IdentityConflict { field, .. } => {
                write!(
                    f,
                    "`{field}` contradicts the identity of this caller's key: leave it out, or use another key"
                )
            }
            Self::TooCostly { .. } => MatchError::TooCostly.fmt(f),
        }
    }
}

impl std::error::Error for MessageError {}
