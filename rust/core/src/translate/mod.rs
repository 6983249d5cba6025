//! Translations between the wire formats in which models are called: bytes in, bytes out.
//!
//! Each format has readers, which make a [`Conversation`] or a [`Reply`] of its bytes, and writers, which make its bytes of
//! one. A pair of formats is a reader and a writer, so what is read or written of a format stands in one place. What a
//! writer cannot carry it gives to [`Losses`], by the path that the client knows. The [table](TABLE) says of each what
//! becomes of it: it is dropped and named, or the message is refused. Nothing is lost in silence.

mod chat;
mod content;
mod conversation;
mod digest;
mod event;
mod losses;
mod members;
mod messages;
mod reply;
mod report;
mod sse;
mod stream;
mod table;

use std::fmt;

use serde_json::Value;

use conversation::Conversation;

pub use losses::{Losses, Policy};
pub use members::Fault;
pub use stream::{Stream, StreamError, StreamFault, StreamOptions};
pub use table::{Direction, Row, TABLE, Verdict};

/// A wire format in which models are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// OpenAI's chat completions.
    Chat,
    /// Anthropic's messages.
    Messages,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 2] = [Self::Chat, Self::Messages];

    /// Its name in documentation and errors.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat completions",
            Self::Messages => "messages",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a cluster says of the requests that it gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The model's name, instead of the client's.
    pub model: Option<String>,
    /// `max_tokens` for requests without one, where the format needs one.
    pub max_tokens: Option<u64>,
    /// The model takes `temperature`, `top_p` and `top_k`, which newer models of Anthropic refuse.
    pub sampling: bool,
    /// What becomes of that which can neither be carried nor left out without a loss of meaning.
    pub unsupported: Policy,
}

/// A translated document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translated {
    /// The document.
    pub body: Vec<u8>,
    /// Paths in the client's document that were left out, each once.
    pub dropped: Vec<String>,
}

/// `max_tokens` where neither the client nor the cluster names one, and the format needs one.
const MAX_TOKENS: u64 = 4096;

/// Translates a request.
///
/// ```
/// use waypost_core::translate::{Format, Settings, request};
/// let chat = br#"{"model": "m", "messages": [{"role": "user", "content": "Hi"}], "user": "ann", "store": true}"#;
/// let found = request(Format::Chat, Format::Messages, chat, &Settings::default()).unwrap();
/// assert!(found.body.starts_with(br#"{"model":"m","max_tokens":4096,"messages":[{"role":"user","content":"Hi"}]"#));
/// assert_eq!(found.dropped, ["store"]);
/// ```
///
/// # Errors
/// What is wrong with the request, or what of it the other format cannot carry, by the client's own names.
pub fn request(from: Format, to: Format, body: &[u8], settings: &Settings) -> Result<Translated, Fault> {
    let mut losses = Losses::new(from, to, settings.unsupported);
    let document = parse(body)?;
    let conversation = match from {
        Format::Chat => chat::read_request(document, &mut losses)?,
        Format::Messages => messages::read_request(document, &mut losses)?,
    };
    match write_request(to, conversation, settings, &mut losses) {
        Ok(written) => finish(&written, losses),
        // A message that has become empty is better told by what it has lost.
        Err(fault) => Err(losses.finish().err().unwrap_or(fault)),
    }
}

fn write_request(
    to: Format,
    conversation: Conversation,
    settings: &Settings,
    losses: &mut Losses,
) -> Result<Value, Fault> {
    for name in conversation.rest.keys() {
        losses.lose(name);
    }
    let model = settings.model.as_ref().or(conversation.model.as_ref()).cloned();
    let model = model.ok_or_else(|| Fault::new("model", "is missing"))?;
    match to {
        Format::Chat => chat::write_request(model, conversation, losses),
        Format::Messages => messages::write_request(model, conversation, settings, losses),
    }
}

/// Translates a whole reply. `now` is the time in seconds since 1970, for formats that tell when a reply was made.
///
/// # Errors
/// What makes it no reply of its format.
pub fn reply(from: Format, to: Format, body: &[u8], now: u64) -> Result<Translated, Fault> {
    // A reply that exists is worth more than what is lost of it.
    let mut losses = Losses::new(from, to, Policy::Drop);
    let document = parse(body)?;
    let reply = match from {
        Format::Chat => chat::read_reply(document, &mut losses)?,
        Format::Messages => messages::read_reply(document, &mut losses)?,
    };
    let written = match to {
        Format::Chat => chat::write_reply(reply, now, &mut losses),
        Format::Messages => messages::write_reply(reply, &mut losses),
    };
    finish(&written, losses)
}

fn parse(body: &[u8]) -> Result<Value, Fault> {
    serde_json::from_slice(body).map_err(|error| Fault::new("", &format!("cannot be read: {error}")))
}

fn finish(document: &Value, losses: Losses) -> Result<Translated, Fault> {
    let dropped = losses.finish()?;
    Ok(Translated { body: document.to_string().into_bytes(), dropped })
}
