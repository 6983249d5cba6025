//! What a model is asked, in no format.

use serde_json::{Map, Number, Value};

use super::content::{Cached, Turn};

/// A request: all that any of the formats can say and another one may.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub(super) model: Option<String>,
    pub(super) turns: Vec<Turn>,
    pub(super) tools: Vec<Tool>,
    pub(super) choice: Option<Choice>,
    /// The model may call one tool at a time only.
    pub(super) one_tool_at_a_time: bool,
    pub(super) max_tokens: Option<u64>,
    pub(super) stop: Vec<String>,
    pub(super) temperature: Option<Number>,
    pub(super) top_p: Option<Number>,
    pub(super) top_k: Option<Number>,
    pub(super) schema: Option<Schema>,
    pub(super) thinking: Option<Thinking>,
    pub(super) effort: Option<String>,
    pub(super) stream: Option<bool>,
    /// A stream tells at its end what was used.
    pub(super) usage_in_stream: bool,
    /// Who asks, and the path where that stands.
    pub(super) user: Option<(String, String)>,
    pub(super) tier: Option<String>,
    /// Members of the document that only its own format has.
    pub(super) rest: Map<String, Value>,
}

/// A tool that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tool {
    /// Where it stands in the client's document.
    pub(super) at: String,
    pub(super) name: String,
    pub(super) description: Option<String>,
    /// A JSON schema of its arguments.
    pub(super) parameters: Option<Value>,
    pub(super) strict: Option<bool>,
    pub(super) cached: Option<Cached>,
}

/// Which tools the model calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Auto,
    None,
    /// Any, but one at least.
    Any,
    Tool(String),
    /// One of these only, or none unless it `must`.
    Of {
        names: Vec<String>,
        must: bool,
    },
}

/// What the reply's text must be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Schema {
    pub(super) name: Option<String>,
    /// A JSON schema.
    pub(super) form: Value,
    pub(super) strict: Option<bool>,
}

/// Whether the model thinks before it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    Off,
    /// As much as the model likes.
    Adaptive,
    /// At most so many tokens.
    Budget(u64),
}
