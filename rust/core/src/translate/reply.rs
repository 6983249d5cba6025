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
    /// Of the prompt: those that no cache was used for.
    pub(super) fresh: Option<u64>,
    /// Of the prompt: read from a cache.
    pub(super) read: Option<u64>,
    /// Of the prompt: written to a cache.
    pub(super) written: Option<u64>,
    /// Of the reply, those of thinking included.
    pub(super) output: Option<u64>,
    /// Of the reply: those of thinking.
    pub(super) thinking: Option<u64>,
}

impl Usage {
    /// All of the prompt, those of the cache included.
    pub(super) fn prompt(&self) -> Option<u64> {
        let cached = self.read.unwrap_or(0).saturating_add(self.written.unwrap_or(0));
        self.fresh.map(|fresh| fresh.saturating_add(cached))
    }

    /// Those of the prompt that no cache was used for, where only all are told.
    pub(super) fn without_cache(&mut self, prompt: Option<u64>) {
        let cached = self.read.unwrap_or(0).saturating_add(self.written.unwrap_or(0));
        self.fresh = prompt.map(|prompt| prompt.saturating_sub(cached));
    }

    /// What is told later replaces what was told before.
    pub(super) fn update(&mut self, more: Self) {
        for (known, told) in [
            (&mut self.fresh, more.fresh),
            (&mut self.read, more.read),
            (&mut self.written, more.written),
            (&mut self.output, more.output),
            (&mut self.thinking, more.thinking),
        ] {
            *known = told.or(*known);
        }
    }
}
