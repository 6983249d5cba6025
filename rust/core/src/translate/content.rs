//! What is said in a conversation.

use serde_json::{Map, Value};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The one who has set the model up.
    System,
    /// The one who asks. What tools have answered is said by this one.
    User,
    /// The model.
    Assistant,
}

/// What one says before another speaks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Turn {
    /// Where it stands in the client's document.
    pub(super) at: String,
    pub(super) role: Role,
    pub(super) parts: Vec<Part>,
}

/// A piece of what is said.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    /// Where it stands in the client's document.
    pub(super) at: String,
    pub(super) body: Body,
    /// What was said up to here is worth keeping for later requests.
    pub(super) cached: Option<Cached>,
}

/// How long what was said may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cached {
    /// Five minutes, or as long as the other end likes.
    Short,
    /// An hour or more.
    Long,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    Text(String),
    Image(Source),
    Document {
        source: Source,
        name: Option<String>,
    },
    ToolCall(ToolCall),
    ToolResult {
        call: String,
        parts: Vec<Part>,
        failed: bool,
    },
    /// What the model thought; `signature` is the maker's proof of it.
    Thinking {
        text: String,
        signature: Option<String>,
    },
    /// What the model thought, readable for its maker only.
    Redacted(String),
    /// Why the model says nothing else.
    Refusal(String),
    /// What only one format has, as it stands there.
    Foreign(Map<String, Value>),
}

/// Where data comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Base64 (RFC 4648, section 4).
    Base64 {
        media_type: String,
        data: String,
    },
    Text(String),
    Url(String),
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ToolCall {
    pub(super) id: String,
    pub(super) name: String,
    /// JSON, as the model wrote it.
    pub(super) arguments: String,
}

impl Part {
    pub(super) fn new(at: impl Into<String>, body: Body) -> Self {
        Self { at: at.into(), body, cached: None }
    }
}

impl Source {
    /// The source that a URL is: the data itself where the URL has it (RFC 2397), in base64.
    pub(super) fn of_url(url: String) -> Self {
        let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
        let Some((media_type, data)) = data else { return Self::Url(url) };
        // Not a registered type, but what many write.
        let media_type = if media_type == "image/jpg" { "image/jpeg" } else { media_type };
        Self::Base64 { media_type: media_type.to_owned(), data: data.to_owned() }
    }

    /// A URL of the data; text has none.
    pub(super) fn to_url(&self) -> Option<String> {
        match self {
            Self::Base64 { media_type, data } => Some(format!("data:{media_type};base64,{data}")),
            Self::Url(url) => Some(url.clone()),
            Self::Text(_) => None,
        }
    }
}

/// What is written for some parts; as a string, where there is only one text that says no more than that.
pub(super) fn plain(parts: Vec<Value>) -> Value {
    match &parts[..] {
        [Value::Object(part)] if part.len() == 2 && part.get("type").is_some_and(|kind| kind == "text") => {
            part.get("text").cloned().unwrap_or_default()
        }
        _ => parts.into(),
    }
}
