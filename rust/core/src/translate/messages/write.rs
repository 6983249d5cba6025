//! Writes messages requests.

use crate::translate::content::{Body, Cached, Part, Role, Source, ToolCall, Turn, plain};
use crate::translate::conversation::{Choice, Conversation, Thinking, Tool};
use crate::translate::digest::digest;
use crate::translate::{Fault, Losses, MAX_TOKENS, Settings};
use serde_json::{Map, Value, json};

/// How many places of a request may be marked as worth keeping.
const MARKS: usize = 4;

pub(in crate::translate) fn write_request(
    model: String,
    conversation: Conversation,
    settings: &Settings,
    losses: &mut Losses,
) -> Result<Value, Fault> {
    let mut out = Map::new();
    out.insert("model".into(), model.into());
    let max_tokens = conversation.max_tokens.or(settings.max_tokens).unwrap_or(MAX_TOKENS);
    out.insert("max_tokens".into(), max_tokens.into());
    let mut writer = Writer { marks: 0, losses };
    let mut tools = Map::new();
    writer.tools(&mut tools, conversation.tools, conversation.choice, conversation.one_tool_at_a_time);
    let (system, messages) = writer.turns(conversation.turns)?;
    if !system.is_empty() {
        out.insert("system".into(), plain(system));
    }
    if messages.is_empty() {
        return Err(Fault::new(
            "messages",
            "must hold a message of role user: these models do not begin without one",
        ));
    }
    out.insert("messages".into(), messages.into());
    out.extend(tools);
    let losses = writer.losses;
    if let Some(stream) = conversation.stream {
        out.insert("stream".into(), stream.into());
    }
    let (blank, stop): (Vec<_>, Vec<_>) =
        conversation.stop.into_iter().enumerate().partition(|(_, text)| text.trim().is_empty());
    for (at, _) in blank {
        losses.lose(&format!("stop[{at}]"));
    }
    if !stop.is_empty() {
        let stop: Vec<String> = stop.into_iter().map(|(_, text)| text).collect();
        out.insert("stop_sequences".into(), stop.into());
    }
    let above = |number: &serde_json::Number| number.as_f64().is_none_or(|value| value > 1.0);
    for (name, number) in [("temperature", conversation.temperature), ("top_p", conversation.top_p)] {
        match number {
            Some(number) if settings.sampling && !above(&number) => {
                out.insert(name.into(), number.into());
            }
            Some(_) => losses.lose(name),
            None => {}
        }
    }
    let mut output = Map::new();
    think(&mut out, conversation.thinking, conversation.effort.is_some(), max_tokens);
    if let Some(effort) = conversation.effort {
        output.insert("effort".into(), if effort == "minimal" { "low".into() } else { effort.into() });
    }
    if let Some(schema) = conversation.schema {
        output.insert("format".into(), json!({"type": "json_schema", "schema": schema.form}));
        if schema.name.is_some() {
            losses.lose("response_format.json_schema.name");
        }
        if schema.strict == Some(false) {
            losses.lose("response_format.json_schema.strict");
        }
    }
    if !output.is_empty() {
        out.insert("output_config".into(), output.into());
    }
    match conversation.tier.as_deref() {
        Some("auto") => _ = out.insert("service_tier".into(), "auto".into()),
        Some("default") => _ = out.insert("service_tier".into(), "standard_only".into()),
        Some("fast") => _ = out.insert("speed".into(), "fast".into()),
        Some(_) => losses.lose("service_tier"),
        None => {}
    }
    if let Some((user, _)) = conversation.user {
        out.insert("metadata".into(), json!({"user_id": digest(&user)}));
    }
    Ok(out.into())
}

/// Whether and how much the model thinks. A budget is below `max_tokens`, which thinking counts for.
fn think(out: &mut Map<String, Value>, thinking: Option<Thinking>, effort: bool, max_tokens: u64) {
    let thinking = match thinking {
        Some(Thinking::Off) => Some(json!({"type": "disabled"})),
        Some(Thinking::Budget(tokens)) => {
            Some(json!({"type": "enabled", "budget_tokens": tokens.min(max_tokens.saturating_sub(1))}))
        }
        Some(Thinking::Adaptive) => Some(json!({"type": "adaptive"})),
        None => effort.then(|| json!({"type": "adaptive"})),
    };
    if let Some(thinking) = thinking {
        out.insert("thinking".into(), thinking);
    }
}

struct Writer<'l> {
    /// Places marked so far.
    marks: usize,
    losses: &'l mut Losses,
}

impl Writer<'_> {
    /// What the system says at the start, and the messages.
    fn turns(&mut self, turns: Vec<Turn>) -> Result<(Vec<Value>, Vec<Value>), Fault> {
        let mut system = Vec::new();
        let mut messages: Vec<Value> = Vec::new();
        let mut results: Option<Vec<Value>> = None; // of tools: the next user's turn goes into the same message
        for turn in turns {
            let only_results = turn.parts.iter().all(|part| matches!(part.body, Body::ToolResult { .. }));
            let count = turn.parts.len();
            let blocks = self.parts(turn.parts, count)?;
            if turn.role == Role::System && messages.is_empty() && results.is_none() {
                system.extend(blocks);
                continue;
            }
            if blocks.is_empty() {
                return Err(Fault::new(&turn.at, "is empty: these models refuse messages that say nothing"));
            }
            if turn.role == Role::User && (only_results || results.is_some()) {
                let mut open = results.take().unwrap_or_default();
                open.extend(blocks);
                if only_results {
                    results = Some(open);
                } else {
                    messages.push(json!({"role": "user", "content": open}));
                }
                continue;
            }
            if let Some(open) = results.take() {
                messages.push(json!({"role": "user", "content": open}));
            }
            let role = match turn.role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            messages.push(json!({"role": role, "content": plain(blocks)}));
        }
        if let Some(open) = results {
            messages.push(json!({"role": "user", "content": open}));
        }
        Ok((system, messages))
    }

    /// The blocks of `among` parts.
    fn parts(&mut self, parts: Vec<Part>, among: usize) -> Result<Vec<Value>, Fault> {
        let mut blocks = Vec::with_capacity(parts.len());
        for part in parts {
            blocks.extend(self.part(part, among)?);
        }
        Ok(blocks)
    }

    fn part(&mut self, part: Part, among: usize) -> Result<Option<Value>, Fault> {
        let mut block = match part.body {
            Body::Text(text) | Body::Refusal(text) => {
                if text.trim().is_empty() {
                    if among > 1 {
                        self.losses.leave_out(&format!("{}.text", part.at));
                    }
                    return Ok(None);
                }
                json!({"type": "text", "text": text})
            }
            Body::Image(source) => json!({"type": "image", "source": write_source(source)}),
            Body::Document { source, name } => {
                let mut block = json!({"type": "document", "source": write_source(source)});
                if let (Some(name), Some(block)) = (name, block.as_object_mut()) {
                    block.insert("title".into(), name.into());
                }
                block
            }
            Body::ToolCall(call) => write_call(&call, &part.at)?,
            Body::ToolResult { call, parts, failed } => {
                let count = parts.len();
                let mut block = json!({"type": "tool_result", "tool_use_id": tool_id(&call)});
                let content = self.parts(parts, count)?;
                if let Some(block) = block.as_object_mut() {
                    if !content.is_empty() {
                        block.insert("content".into(), plain(content));
                    }
                    if failed {
                        block.insert("is_error".into(), true.into());
                    }
                }
                block
            }
            Body::Thinking { text, signature: Some(signature) } => {
                json!({"type": "thinking", "thinking": text, "signature": signature})
            }
            Body::Redacted(data) => json!({"type": "redacted_thinking", "data": data}),
            // Without its maker's proof it would be refused.
            Body::Thinking { signature: None, .. } | Body::Foreign(_) => {
                self.losses.lose(&part.at);
                return Ok(None);
            }
        };
        if let (Some(cached), Some(block)) = (part.cached, block.as_object_mut()) {
            self.mark(cached, &part.at, block);
        }
        Ok(Some(block))
    }

    fn mark(&mut self, cached: Cached, at: &str, block: &mut Map<String, Value>) {
        if self.marks == MARKS {
            self.losses.lose(&format!("{at}.prompt_cache_breakpoint"));
            return;
        }
        self.marks += 1;
        let mark = match cached {
            Cached::Short => json!({"type": "ephemeral"}),
            Cached::Long => json!({"type": "ephemeral", "ttl": "1h"}),
        };
        block.insert("cache_control".into(), mark);
    }

    fn tool(&mut self, tool: Tool) -> Value {
        let mut out = Map::new();
        out.insert("name".into(), tool.name.into());
        if let Some(description) = tool.description {
            out.insert("description".into(), description.into());
        }
        let nothing = || json!({"type": "object", "properties": {}});
        out.insert("input_schema".into(), tool.parameters.unwrap_or_else(nothing));
        if let Some(strict) = tool.strict {
            out.insert("strict".into(), strict.into());
        }
        if let Some(cached) = tool.cached {
            self.mark(cached, &tool.at, &mut out);
        }
        out.into()
    }

    fn tools(&mut self, out: &mut Map<String, Value>, tools: Vec<Tool>, choice: Option<Choice>, one: bool) {
        if tools.is_empty() {
            return;
        }
        let (only, choice) = match choice {
            Some(Choice::Of { names, must }) => {
                (Some(names), Some(if must { Choice::Any } else { Choice::Auto }))
            }
            other => (None, other),
        };
        let allowed = |tool: &Tool| only.as_ref().is_none_or(|names| names.contains(&tool.name));
        let list: Vec<Value> = tools.into_iter().filter(allowed).map(|tool| self.tool(tool)).collect();
        out.insert("tools".into(), list.into());
        let choice = choice.or(one.then_some(Choice::Auto));
        let (kind, name) = match choice {
            None => return,
            Some(Choice::None) => ("none", None),
            Some(Choice::Any) => ("any", None),
            Some(Choice::Tool(name)) => ("tool", Some(name)),
            Some(Choice::Auto | Choice::Of { .. }) => ("auto", None),
        };
        let mut choice = Map::new();
        choice.insert("type".into(), kind.into());
        if let Some(name) = name {
            choice.insert("name".into(), name.into());
        }
        if one && kind != "none" {
            choice.insert("disable_parallel_tool_use".into(), true.into());
        }
        out.insert("tool_choice".into(), choice.into());
    }
}

fn write_source(source: Source) -> Value {
    match source {
        Source::Base64 { media_type, data } => {
            json!({"type": "base64", "media_type": media_type, "data": data})
        }
        Source::Text(text) => json!({"type": "text", "media_type": "text/plain", "data": text}),
        Source::Url(url) => json!({"type": "url", "url": url}),
    }
}

fn write_call(call: &ToolCall, at: &str) -> Result<Value, Fault> {
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    let Ok(input @ Value::Object(_)) = serde_json::from_str::<Value>(arguments) else {
        let message = format!(
            "calls `{}` with arguments that are no JSON object, which these models refuse",
            call.name
        );
        return Err(Fault::new(at, &message));
    };
    Ok(json!({"type": "tool_use", "id": tool_id(&call.id), "name": call.name, "input": input}))
}

/// An id of a call that the other end takes: its own letters, digits, `_` and `-`. Ids that differ stay different.
fn tool_id(id: &str) -> String {
    let taken = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !id.is_empty() && id.len() <= 64 && id.bytes().all(taken) && !id.starts_with(MADE) {
        return id.to_owned();
    }
    format!("{MADE}{}", digest(id).get(..40).unwrap_or_default())
}

/// What made ids begin with.
const MADE: &str = "toolu_wp_";
