//! Writes chat completion requests.

use serde_json::{Map, Value, json};

use crate::translate::content::{Body, Part, Role, Source, Turn, plain};
use crate::translate::conversation::{Choice, Conversation, Thinking, Tool};
use crate::translate::digest::digest;
use crate::translate::{Fault, Losses};

/// How many texts a model may stop at.
const STOPS: usize = 4;
/// What a schema is called that has no name.
const SCHEMA: &str = "reply";
/// Characters that a caller's name may have.
const USER: usize = 64;
/// What the result of a tool begins with that has failed.
const FAILED: &str = "Error: ";

pub(in crate::translate) fn write_request(
    model: String,
    conversation: Conversation,
    losses: &mut Losses,
) -> Result<Value, Fault> {
    let mut out = Map::new();
    out.insert("model".into(), model.into());
    let mut messages = Vec::new();
    for turn in conversation.turns {
        write_turn(turn, &mut messages, losses)?;
    }
    out.insert("messages".into(), messages.into());
    if let Some(tokens) = conversation.max_tokens {
        out.insert("max_completion_tokens".into(), tokens.into());
    }
    if conversation.stop.len() > STOPS {
        losses.lose("stop_sequences");
    }
    if !conversation.stop.is_empty() {
        out.insert("stop".into(), conversation.stop.into_iter().take(STOPS).collect::<Vec<_>>().into());
    }
    for (name, number) in [("temperature", conversation.temperature), ("top_p", conversation.top_p)] {
        if let Some(number) = number {
            out.insert(name.into(), number.into());
        }
    }
    if conversation.top_k.is_some() {
        losses.lose("top_k");
    }
    if !conversation.tools.is_empty() {
        let tools: Vec<Value> = conversation.tools.into_iter().map(write_tool).collect();
        out.insert("tools".into(), tools.into());
        if let Some(choice) = conversation.choice {
            out.insert("tool_choice".into(), write_choice(choice));
        }
        if conversation.one_tool_at_a_time {
            out.insert("parallel_tool_calls".into(), false.into());
        }
    }
    if let Some(schema) = conversation.schema {
        let name = schema.name.as_deref().unwrap_or(SCHEMA);
        let mut own = json!({"name": name, "schema": schema.form});
        if let (Some(strict), Some(own)) = (schema.strict, own.as_object_mut()) {
            own.insert("strict".into(), strict.into());
        }
        out.insert("response_format".into(), json!({"type": "json_schema", "json_schema": own}));
    }
    if let Some(effort) = effort(conversation.thinking, conversation.effort) {
        out.insert("reasoning_effort".into(), effort.into());
    }
    if let Some(stream) = conversation.stream {
        out.insert("stream".into(), stream.into());
        if conversation.usage_in_stream {
            out.insert("stream_options".into(), json!({"include_usage": true}));
        }
    }
    match conversation.tier.as_deref() {
        Some("standard_only") => _ = out.insert("service_tier".into(), "default".into()),
        Some(tier) => _ = out.insert("service_tier".into(), tier.into()),
        None => {}
    }
    if let Some((user, _)) = conversation.user {
        let user = if user.chars().count() > USER { digest(&user) } else { user };
        out.insert("safety_identifier".into(), user.into());
    }
    Ok(out.into())
}

/// How hard the model thinks. A budget says it roughly.
fn effort(thinking: Option<Thinking>, effort: Option<String>) -> Option<String> {
    let word = match thinking {
        Some(Thinking::Off) => "none",
        _ if effort.is_some() => return effort,
        Some(Thinking::Budget(..2048)) => "low",
        Some(Thinking::Budget(..8192)) => "medium",
        Some(Thinking::Budget(_)) => "high",
        Some(Thinking::Adaptive) | None => return None,
    };
    Some(word.to_owned())
}

/// A turn is several messages where tools have answered: one for each result, before what else is said.
fn write_turn(turn: Turn, messages: &mut Vec<Value>, losses: &mut Losses) -> Result<(), Fault> {
    let role = match turn.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let mut calls = Vec::new();
    let mut parts = Vec::new();
    let mut shown = Vec::new(); // what tools have shown beside text
    let mut results = 0;
    for part in turn.parts {
        if part.cached.is_some() && matches!(part.body, Body::ToolCall(_) | Body::ToolResult { .. }) {
            losses.lose(&format!("{}.cache_control", part.at));
        }
        match part.body {
            Body::ToolCall(call) => calls.push(json!({
                "id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments},
            })),
            Body::ToolResult { call, parts, failed } => {
                results += 1;
                let mut content = String::new();
                for inner in parts {
                    if let Body::Text(text) = inner.body {
                        content.push_str(&text);
                    } else {
                        shown.extend(write_part(inner, losses));
                    }
                }
                if failed {
                    content.insert_str(0, FAILED);
                }
                messages.push(json!({"role": "tool", "tool_call_id": call, "content": content}));
            }
            _ => parts.extend(write_part(part, losses)),
        }
    }
    shown.append(&mut parts);
    let said = shown;
    if said.is_empty() && calls.is_empty() {
        // With nothing to say, or nothing but results of tools.
        return if results > 0 {
            Ok(())
        } else {
            Err(Fault::new(&turn.at, "says nothing that can be carried over"))
        };
    }
    let mut message = Map::new();
    message.insert("role".into(), role.into());
    message.insert("content".into(), if said.is_empty() { Value::Null } else { plain(said) });
    if !calls.is_empty() {
        message.insert("tool_calls".into(), calls.into());
    }
    messages.push(message.into());
    Ok(())
}

/// A part, or `None` if it cannot be carried, and is told to `losses`.
fn write_part(part: Part, losses: &mut Losses) -> Option<Value> {
    let mut out = match part.body {
        Body::Text(text) | Body::Document { source: Source::Text(text), .. } => {
            json!({"type": "text", "text": text})
        }
        Body::Refusal(text) => json!({"type": "refusal", "refusal": text}),
        Body::Image(source) => match source.to_url() {
            Some(url) => json!({"type": "image_url", "image_url": {"url": url}}),
            None => return lost(&part.at, losses),
        },
        Body::Document { source: source @ Source::Base64 { .. }, name } => {
            let mut file = Map::new();
            file.insert("file_data".into(), source.to_url().into());
            file.insert("filename".into(), name.unwrap_or_else(|| "document.pdf".to_owned()).into());
            json!({"type": "file", "file": file})
        }
        Body::Thinking { .. } => return lost(&format!("{}.thinking", part.at), losses),
        Body::Redacted(_) => return lost(&format!("{}.data", part.at), losses),
        Body::Document { .. } => return lost(&format!("{}.source", part.at), losses),
        Body::ToolCall(_) | Body::ToolResult { .. } | Body::Foreign(_) => return lost(&part.at, losses),
    };
    if let (Some(_), Some(out)) = (part.cached, out.as_object_mut()) {
        out.insert("prompt_cache_breakpoint".into(), json!({"mode": "explicit"}));
    }
    Some(out)
}

fn lost(at: &str, losses: &mut Losses) -> Option<Value> {
    losses.lose(at);
    None
}

fn write_tool(tool: Tool) -> Value {
    let mut function = Map::new();
    function.insert("name".into(), tool.name.into());
    if let Some(description) = tool.description {
        function.insert("description".into(), description.into());
    }
    if let Some(parameters) = tool.parameters {
        function.insert("parameters".into(), parameters);
    }
    if let Some(strict) = tool.strict {
        function.insert("strict".into(), strict.into());
    }
    json!({"type": "function", "function": function})
}

fn write_choice(choice: Choice) -> Value {
    match choice {
        Choice::Auto => "auto".into(),
        Choice::None => "none".into(),
        Choice::Any => "required".into(),
        Choice::Tool(name) => json!({"type": "function", "function": {"name": name}}),
        Choice::Of { names, must } => {
            let tools: Vec<Value> = names
                .into_iter()
                .map(|name| json!({"type": "function", "function": {"name": name}}))
                .collect();
            let mode = if must { "required" } else { "auto" };
            json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}})
        }
    }
}
