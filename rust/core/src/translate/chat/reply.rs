//! Chat completions: whole replies.

use serde_json::{Map, Value, json};

use crate::translate::content::{Body, Part, ToolCall};
use crate::translate::members::Members;
use crate::translate::reply::{Reply, Stop, Usage};
use crate::translate::{Fault, Losses};

/// Reads a completion, of which only the first choice can be carried.
pub(in crate::translate) fn read_reply(document: Value, losses: &mut Losses) -> Result<Reply, Fault> {
    let mut members = Members::of(document, "")?;
    let mut reply = Reply {
        id: members.string("id")?.unwrap_or_default(),
        model: members.string("model")?.unwrap_or_default(),
        ..Reply::default()
    };
    let mut choices = members.list("choices")?.into_iter();
    let (at, choice) = choices.next().ok_or_else(|| Fault::new("choices", "is missing or empty"))?;
    for (at, _) in choices {
        losses.lose(&at);
    }
    let mut choice = Members::of(choice, &at)?;
    let finish = choice.string("finish_reason")?;
    let message = choice.object("message")?;
    let mut message = message.ok_or_else(|| Fault::new(&choice.path("message"), "is missing"))?;
    read_message(&mut message, &mut reply)?;
    reply.stop = read_stop(finish.as_deref(), &reply.parts);
    if let Some(usage) = members.object("usage")? {
        reply.usage = read_usage(usage)?;
    }
    Ok(reply)
}

fn read_message(message: &mut Members, reply: &mut Reply) -> Result<(), Fault> {
    // Two names for what the model thought, neither of them official.
    let thought = message.string("reasoning_content")?;
    let thought = thought.map_or_else(|| message.string("reasoning"), |text| Ok(Some(text)))?;
    let texts = [
        thought.map(|text| Body::Thinking { text, signature: None }),
        message.string("content")?.map(Body::Text),
        message.string("refusal")?.map(Body::Refusal),
    ];
    reply.parts.extend(texts.into_iter().flatten().map(|body| Part::new("", body)));
    for (at, call) in message.list("tool_calls")? {
        let mut call = Members::of(call, &at)?;
        let id = call.string("id")?.unwrap_or_default();
        let missing = || Fault::new(&at, "is no call of a function");
        let mut function = call.object("function")?.ok_or_else(missing)?;
        let name = function.required_string("name")?;
        let arguments = function.string("arguments")?.unwrap_or_default();
        reply.parts.push(Part::new(at, Body::ToolCall(ToolCall { id, name, arguments })));
    }
    Ok(())
}

/// Some servers say `stop` though the model calls tools.
pub(super) fn read_stop(reason: Option<&str>, parts: &[Part]) -> Stop {
    let calls = parts.iter().any(|part| matches!(part.body, Body::ToolCall(_)));
    match reason {
        Some("length") => Stop::Length,
        Some("content_filter") => Stop::Refusal,
        Some("tool_calls" | "function_call") => Stop::Tools,
        _ if calls => Stop::Tools,
        _ => Stop::End,
    }
}

pub(super) fn read_usage(mut usage: Members) -> Result<Usage, Fault> {
    let prompt = usage.count("prompt_tokens")?;
    let mut found = Usage { output: usage.count("completion_tokens")?, ..Usage::default() };
    if let Some(mut details) = usage.object("prompt_tokens_details")? {
        found.read = details.count("cached_tokens")?;
        found.written = details.count("cache_write_tokens")?;
    }
    if let Some(mut details) = usage.object("completion_tokens_details")? {
        found.thinking = details.count("reasoning_tokens")?;
    }
    found.without_cache(prompt);
    Ok(found)
}

/// Writes a completion of one choice, made `now`, in seconds since 1970.
pub(in crate::translate) fn write_reply(reply: Reply, now: u64, losses: &mut Losses) -> Value {
    let (mut text, mut thought, mut refusal) = (String::new(), String::new(), String::new());
    let mut calls = Vec::new();
    for part in reply.parts {
        match part.body {
            Body::Text(more) => text.push_str(&more),
            Body::Thinking { text: more, .. } => thought.push_str(&more),
            Body::Refusal(more) => refusal.push_str(&more),
            Body::ToolCall(call) => calls.push(json!({
                "id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments},
            })),
            _ => losses.lose(&part.at),
        }
    }
    let or_null = |text: String| if text.is_empty() { Value::Null } else { text.into() };
    let mut message = Map::new();
    message.insert("role".into(), "assistant".into());
    let silent = text.is_empty() && (!calls.is_empty() || !refusal.is_empty());
    message.insert("content".into(), if silent { Value::Null } else { text.into() });
    message.insert("refusal".into(), or_null(refusal));
    if !thought.is_empty() {
        message.insert("reasoning_content".into(), thought.into());
    }
    if !calls.is_empty() {
        message.insert("tool_calls".into(), calls.into());
    }
    let choice = json!({
        "index": 0, "message": message, "logprobs": null, "finish_reason": write_stop(reply.stop),
    });
    let mut out = Map::new();
    out.insert("id".into(), reply.id.into());
    out.insert("object".into(), "chat.completion".into());
    out.insert("created".into(), now.into());
    out.insert("model".into(), reply.model.into());
    out.insert("choices".into(), vec![choice].into());
    out.insert("usage".into(), write_usage(&reply.usage));
    out.into()
}

pub(super) fn write_stop(stop: Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence => "stop",
        // A turn that its maker paused is not whole.
        Stop::Length | Stop::Pause => "length",
        Stop::Tools => "tool_calls",
        Stop::Refusal => "content_filter",
    }
}

pub(super) fn write_usage(usage: &Usage) -> Value {
    let (prompt, output) = (usage.prompt().unwrap_or(0), usage.output.unwrap_or(0));
    let mut out = Map::new();
    out.insert("prompt_tokens".into(), prompt.into());
    out.insert("completion_tokens".into(), output.into());
    out.insert("total_tokens".into(), prompt.saturating_add(output).into());
    let mut details = Map::new();
    for (name, count) in [("cached_tokens", usage.read), ("cache_write_tokens", usage.written)] {
        if let Some(count) = count {
            details.insert(name.into(), count.into());
        }
    }
    if !details.is_empty() {
        out.insert("prompt_tokens_details".into(), details.into());
    }
    if let Some(thinking) = usage.thinking {
        out.insert("completion_tokens_details".into(), json!({"reasoning_tokens": thinking}));
    }
    out.into()
}
