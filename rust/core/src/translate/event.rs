//! What happens while a model answers, in no format.

use super::reply::{Stop, Usage};

/// One thing that happens. Parts are numbered in the order in which they begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The reply begins.
    Start { id: String, model: String },
    /// A part begins.
    Open { part: usize, kind: Kind },
    /// A part goes on.
    More { part: usize, text: String },
    /// The proof of what the model thought.
    Signature { part: usize, text: String },
    /// A part is over.
    Close { part: usize },
    /// Tokens that were used; what was told before and is not told again still holds.
    Usage(Usage),
    /// The model stopped. Usage may follow.
    Stop { stop: Stop, sequence: Option<String> },
    /// The stream is whole.
    End,
    /// The endpoint is alive.
    Ping,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Thinking,
    /// What the model thought, readable for its maker only.
    Redacted(String),
    Refusal,
    /// A call, of which the arguments follow.
    Tool {
        id: String,
        name: String,
    },
}

impl Event {
    /// Whether a client that has got this cannot be given another reply any more.
    pub(super) fn commits(&self) -> bool {
        match self {
            Self::Open { kind, .. } => matches!(kind, Kind::Tool { .. } | Kind::Redacted(_)),
            Self::More { text, .. } => !text.is_empty(),
            Self::Stop { .. } | Self::End => true,
            Self::Start { .. }
            | Self::Signature { .. }
            | Self::Close { .. }
            | Self::Usage(_)
            | Self::Ping => false,
        }
    }
}
