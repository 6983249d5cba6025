//! Chat completions: writes streams.

use serde_json::{Map, Value, json};

use super::reply::{write_stop, write_usage};
use crate::translate::event::{Event, Kind};
use crate::translate::reply::Usage;
use crate::translate::stream::StreamError;

/// Writes strictly: the role comes first and once, calls are numbered from 0 in their order, their ids and names come once, every
/// `delta` is an object, and `[DONE]` ends the stream.
#[derive(Debug)]
pub(in crate::translate) struct StreamWriter {
    now: u64,
    usage: bool,
    id: String,
    model: String,
    /// What the open parts are, by their numbers.
    parts: Vec<(usize, Part)>,
    calls: usize,
}

#[derive(Debug)]
enum Part {
    Text(&'static str),
    /// A call by its number, and whether some of its arguments were written.
    Call(usize, bool),
    Silent,
}

impl StreamWriter {
    /// `usage`: the client asked for it.
    pub(in crate::translate) fn new(now: u64, usage: bool) -> Self {
        Self { now, usage, id: String::new(), model: String::new(), parts: Vec::new(), calls: 0 }
    }

    /// Appends what a client gets of an event. `usage` is all that was told so far.
    pub(in crate::translate) fn write(&mut self, event: &Event, usage: &Usage, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model } => {
                self.id.clone_from(id);
                self.model.clone_from(model);
                self.delta(&json!({"role": "assistant", "content": ""}), out);
            }
            Event::Open { part, kind } => {
                let opened = match kind {
                    Kind::Text => Part::Text("content"),
                    Kind::Thinking => Part::Text("reasoning_content"),
                    Kind::Refusal => Part::Text("refusal"),
                    Kind::Redacted(_) => Part::Silent,
                    Kind::Tool { id, name } => {
                        let function = json!({"name": name, "arguments": ""});
                        let call =
                            json!({"index": self.calls, "id": id, "type": "function", "function": function});
                        self.delta(&json!({"tool_calls": [call]}), out);
                        self.calls += 1;
                        Part::Call(self.calls - 1, false)
                    }
                };
                self.parts.push((*part, opened));
            }
            Event::More { part, text } => {
                let found = self.parts.iter_mut().find(|(known, _)| known == part).map(|(_, part)| part);
                match found {
                    _ if text.is_empty() => {}
                    Some(Part::Text(name)) => {
                        let name = *name;
                        self.delta(&json!({ name: text }), out);
                    }
                    Some(Part::Call(number, written)) => {
                        *written = true;
                        let number = *number;
                        self.arguments(number, text, out);
                    }
                    Some(Part::Silent) | None => {}
                }
            }
            Event::Close { part } => {
                let at = self.parts.iter().position(|(known, _)| known == part);
                let closed = at.map(|at| self.parts.swap_remove(at).1);
                // Arguments are JSON, so those of a call without any are an empty object.
                if let Some(Part::Call(number, false)) = closed {
                    self.arguments(number, "{}", out);
                }
            }
            Event::Stop { stop, .. } => {
                let choice =
                    json!({"index": 0, "delta": {}, "logprobs": null, "finish_reason": write_stop(*stop)});
                self.chunk(&json!([choice]), None, out);
            }
            Event::End => {
                if self.usage {
                    self.chunk(&json!([]), Some(write_usage(usage)), out);
                }
                out.extend_from_slice(b"data: [DONE]\n\n");
            }
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::Signature { .. } | Event::Usage(_) => {}
        }
    }

    fn arguments(&self, number: usize, text: &str, out: &mut Vec<u8>) {
        self.delta(&json!({"tool_calls": [{"index": number, "function": {"arguments": text}}]}), out);
    }

    fn delta(&self, delta: &Value, out: &mut Vec<u8>) {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": null});
        self.chunk(&json!([choice]), None, out);
    }

    fn chunk(&self, choices: &Value, usage: Option<Value>, out: &mut Vec<u8>) {
        let mut chunk = Map::new();
        chunk.insert("id".into(), self.id.as_str().into());
        chunk.insert("object".into(), "chat.completion.chunk".into());
        chunk.insert("created".into(), self.now.into());
        chunk.insert("model".into(), self.model.as_str().into());
        chunk.insert("choices".into(), choices.clone());
        if let Some(usage) = usage {
            chunk.insert("usage".into(), usage);
        }
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(Value::Object(chunk).to_string().as_bytes());
        out.extend_from_slice(b"\n\n");
    }
}

/// Appends the event that tells a client of an error. The nested object is a must: clients take a flat one for a chunk.
pub(in crate::translate) fn write_stream_error(error: StreamError<'_>, out: &mut Vec<u8>) {
    let error = json!({"message": error.message, "type": error.kind, "param": null, "code": error.code});
    out.extend_from_slice(format!("data: {}\n\n", json!({ "error": error })).as_bytes());
}
