//! What a model answers, in no format.

use super::content::Part;

/// A whole reply.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) id: String,
    pub(super) model: String,
    pub(super) parts: Vec<Part>,
    pub(super) stop: Stop,
    /// The text at which the model stopped.
    pub(super) stop_sequence: Option<String>,
    pub(super) usage: Usage,
}

/// Why the model stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stop {
    /// It had said everything.
    #[default]
    End,
    /// It came to a text at which it was to stop.
    Sequence,
    /// It had used up its tokens, or the model's context.
    Length,
    /// It waits for the results of tools.
    Tools,
    /// It will not say more.
    Refusal,
    /// Its maker paused it. The conversation goes on when it is sent back.
    Pause,
}

/// Tokens that were used, as far as the endpoint told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Of the prompt: all of them, those of the cache included.
    pub(super) prompt: Option<u64>,
    /// Of the prompt: read from a cache.
    pub(super) read: Option<u64>,
    /// Of the prompt: written to a cache.
    pub(super) written: Option<u64>,
    /// Of the reply, those of thinking included.
    pub(super) output: Option<u64>,
    /// Of the reply: those of thinking.
    pub(super) thinking: Option<u64>,
}
