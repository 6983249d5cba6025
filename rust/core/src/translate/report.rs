//! Errors as endpoints report them, in any of the shapes that are seen.

use serde_json::Value;

use super::stream::StreamFault;

/// The most characters of an error that is no object which are told.
const SHOWN: usize = 1000;

/// The error that a document reports in its `error`: an object, or text. `None` if it reports none.
pub(super) fn reported(document: &Value) -> Option<StreamFault> {
    let error = document.get("error")?;
    let text = |name: &str| match error.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    match error {
        Value::String(message) if !message.is_empty() => Some(plain(message)),
        Value::Object(members) if !members.is_empty() => Some(StreamFault::Reported {
            kind: text("type"),
            code: text("code"),
            message: text("message").unwrap_or_default(),
        }),
        _ => None,
    }
}

/// What a stream is that has an event of which this is true.
pub(super) fn malformed(what: &str) -> StreamFault {
    StreamFault::Malformed(format!("an event of the stream {what}"))
}

/// The error of an event that is called one, whatever it says.
pub(super) fn named(data: &[u8]) -> StreamFault {
    let document = serde_json::from_slice::<Value>(data).unwrap_or_default();
    let flat = || reported(&serde_json::json!({ "error": document }));
    reported(&document).or_else(flat).unwrap_or_else(|| plain(&String::from_utf8_lossy(data)))
}

fn plain(message: &str) -> StreamFault {
    StreamFault::Reported { kind: None, code: None, message: message.chars().take(SHOWN).collect() }
}
