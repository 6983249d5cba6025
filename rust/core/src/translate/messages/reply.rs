//! Messages: whole replies.

use serde_json::{Map, Value, json};

use super::read::read_content;
use crate::translate::content::Body;
use crate::translate::members::Members;
use crate::translate::reply::{Reply, Stop, Usage};
use crate::translate::{Fault, Losses};

pub(in crate::translate) fn read_reply(document: Value, losses: &mut Losses) -> Result<Reply, Fault> {
    let mut members = Members::of(document, "")?;
    if members.string("type")?.as_deref() != Some("message") {
        return Err(Fault::new("type", "must be `message`"));
    }
    let content = members.take("content").ok_or_else(|| Fault::new("content", "is missing"))?;
    let stop = members.string("stop_reason")?;
    let mut reply = Reply {
        id: members.string("id")?.unwrap_or_default(),
        model: members.string("model")?.unwrap_or_default(),
        parts: read_content(content, "content", losses)?,
        stop: stop.map_or(Stop::End, |reason| read_stop(&reason, losses)),
        stop_sequence: members.string("stop_sequence")?,
        usage: Usage::default(),
    };
    if let Some(usage) = members.object("usage")? {
        reply.usage = read_usage(usage)?;
    }
    Ok(reply)
}

/// A reason that is not known is told: the reply may not be whole.
pub(super) fn read_stop(reason: &str, losses: &mut Losses) -> Stop {
    match reason {
        "end_turn" => Stop::End,
        "stop_sequence" => Stop::Sequence,
        "max_tokens" | "model_context_window_exceeded" => Stop::Length,
        "tool_use" => Stop::Tools,
        "refusal" => Stop::Refusal,
        "pause_turn" => Stop::Pause,
        _ => {
            losses.lose("stop_reason");
            Stop::End
        }
    }
}

/// `input_tokens` are those that no cache was used for.
pub(super) fn read_usage(mut usage: Members) -> Result<Usage, Fault> {
    let thinking = usage.object("output_tokens_details")?.map(|mut details| details.count("thinking_tokens"));
    Ok(Usage {
        fresh: usage.count("input_tokens")?,
        read: usage.count("cache_read_input_tokens")?,
        written: usage.count("cache_creation_input_tokens")?,
        output: usage.count("output_tokens")?,
        thinking: thinking.transpose()?.flatten(),
    })
}

pub(in crate::translate) fn write_reply(reply: Reply, losses: &mut Losses) -> Value {
    let mut blocks = Vec::with_capacity(reply.parts.len());
    for part in reply.parts {
        match part.body {
            Body::Text(text) | Body::Refusal(text) if text.is_empty() => {}
            Body::Text(text) | Body::Refusal(text) => blocks.push(json!({"type": "text", "text": text})),
            Body::ToolCall(call) => {
                let input = read_arguments(&call.arguments);
                if input.is_none() {
                    losses.lose(&format!("{}.function.arguments", part.at));
                }
                let input = input.unwrap_or_else(|| Value::Object(Map::new()));
                blocks.push(json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input}));
            }
            // The proof of its maker is what clients send back; there is none.
            Body::Thinking { text, signature } => {
                let signature = signature.unwrap_or_default();
                blocks.push(json!({"type": "thinking", "thinking": text, "signature": signature}));
            }
            Body::Redacted(data) => blocks.push(json!({"type": "redacted_thinking", "data": data})),
            _ => losses.lose(&part.at),
        }
    }
    json!({
        "id": reply.id,
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": blocks,
        "stop_reason": write_stop(reply.stop),
        "stop_sequence": reply.stop_sequence,
        "usage": write_usage(&reply.usage),
    })
}

/// The arguments of a call, `None` if the model has not written an object.
fn read_arguments(arguments: &str) -> Option<Value> {
    if arguments.trim().is_empty() {
        return Some(Value::Object(Map::new()));
    }
    serde_json::from_str(arguments).ok().filter(Value::is_object)
}

pub(super) fn write_stop(stop: Stop) -> &'static str {
    match stop {
        Stop::End => "end_turn",
        Stop::Sequence => "stop_sequence",
        Stop::Length => "max_tokens",
        Stop::Tools => "tool_use",
        Stop::Refusal => "refusal",
        Stop::Pause => "pause_turn",
    }
}

pub(super) fn write_usage(usage: &Usage) -> Value {
    let mut out = Map::new();
    out.insert("input_tokens".into(), usage.fresh.unwrap_or(0).into());
    out.insert("cache_creation_input_tokens".into(), usage.written.unwrap_or(0).into());
    out.insert("cache_read_input_tokens".into(), usage.read.unwrap_or(0).into());
    out.insert("output_tokens".into(), usage.output.unwrap_or(0).into());
    if let Some(thinking) = usage.thinking {
        out.insert("output_tokens_details".into(), json!({"thinking_tokens": thinking}));
    }
    out.into()
}
