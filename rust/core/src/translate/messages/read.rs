//! Reads messages requests.

use serde_json::{Map, Value};

use crate::translate::content::{Body, Cached, Part, Role, Source, ToolCall, Turn};
use crate::translate::conversation::{Choice, Conversation, Schema, Thinking, Tool};
use crate::translate::members::{Members, elements};
use crate::translate::{Fault, Losses};

/// Whatever a request says that its own format alone has stays in `rest`.
pub(in crate::translate) fn read_request(
    document: Value,
    losses: &mut Losses,
) -> Result<Conversation, Fault> {
    let mut members = Members::of(document, "")?;
    let mut turns = Vec::new();
    if let Some(system) = members.take("system") {
        turns.push(Turn {
            at: "system".into(),
            role: Role::System,
            parts: read_content(system, "system", losses)?,
        });
    }
    let messages = members.list("messages")?;
    if messages.is_empty() {
        return Err(Fault::new("messages", "is missing: it must be a list of at least one message"));
    }
    for (at, turn) in messages {
        turns.push(read_turn(turn, &at, losses)?);
    }
    let stop = members.list("stop_sequences")?.into_iter().map(|(at, each)| match each {
        Value::String(text) => Ok(text),
        _ => Err(Fault::new(&at, "must be a string")),
    });
    let stream = members.boolean("stream")?;
    let mut conversation = Conversation {
        model: members.string("model")?,
        turns,
        max_tokens: members.count("max_tokens")?,
        stop: stop.collect::<Result<_, _>>()?,
        temperature: members.number("temperature")?,
        top_p: members.number("top_p")?,
        top_k: members.number("top_k")?,
        usage_in_stream: stream == Some(true),
        stream,
        tier: members.string("service_tier")?,
        ..Conversation::default()
    };
    for (at, tool) in members.list("tools")? {
        conversation.tools.extend(read_tool(tool, &at, losses)?);
    }
    if let Some(choice) = members.object("tool_choice")? {
        let (choice, one) = read_choice(choice, losses)?;
        conversation.choice = Some(choice);
        conversation.one_tool_at_a_time = one;
    }
    if let Some(thinking) = members.object("thinking")? {
        conversation.thinking = Some(read_thinking(thinking, losses)?);
    }
    if let Some(mut output) = members.object("output_config")? {
        conversation.effort = output.string("effort")?;
        if let Some(mut format) = output.object("format")? {
            let schema = format.take("schema");
            let _ = format.string("type")?;
            format.lose(losses);
            conversation.schema = schema.map(|form| Schema { name: None, form, strict: None });
        }
        output.lose(losses);
    }
    if let Some(mut metadata) = members.object("metadata")? {
        conversation.user = metadata.string("user_id")?.map(|user| (user, "metadata.user_id".to_owned()));
        metadata.lose(losses);
    }
    let mut rest = members.rest();
    rest.retain(|name, value| !(name == "speed" && value == "standard"));
    conversation.rest = rest;
    Ok(conversation)
}

fn read_turn(turn: Value, at: &str, losses: &mut Losses) -> Result<Turn, Fault> {
    let mut members = Members::of(turn, at)?;
    let role = match members.required_string("role")?.as_str() {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => return Err(Fault::new(&members.path("role"), "must be user, assistant or system")),
    };
    let content_at = members.path("content");
    let content = members.take("content").ok_or_else(|| Fault::new(&content_at, "is missing"))?;
    let parts = read_content(content, &content_at, losses)?;
    members.lose(losses);
    Ok(Turn { at: at.to_owned(), role, parts })
}

pub(super) fn read_content(content: Value, at: &str, losses: &mut Losses) -> Result<Vec<Part>, Fault> {
    if let Value::String(text) = content {
        return Ok(vec![Part::new(at, Body::Text(text))]);
    }
    let list = elements(content, at).map_err(|_| Fault::new(at, "must be a string or a list of blocks"))?;
    list.into_iter().map(|(at, block)| read_block(block, &at, losses)).collect()
}

fn read_block(block: Value, at: &str, losses: &mut Losses) -> Result<Part, Fault> {
    let whole = block.clone();
    let mut members = Members::of(block, at)?;
    let kind = members.required_string("type")?;
    let body = match kind.as_str() {
        "text" => Body::Text(members.required_string("text")?),
        "image" => match read_source(&mut members)? {
            Some(source) => Body::Image(source),
            None => return Ok(foreign(whole, at)),
        },
        "document" => match read_source(&mut members)? {
            Some(source) => Body::Document { source, name: members.string("title")? },
            None => return Ok(foreign(whole, at)),
        },
        "tool_use" => {
            let (id, name) = (members.required_string("id")?, members.required_string("name")?);
            let input = members.take("input").unwrap_or_else(|| Value::Object(Map::new()));
            Body::ToolCall(ToolCall { id, name, arguments: input.to_string() })
        }
        "tool_result" => {
            let call = members.required_string("tool_use_id")?;
            let failed = members.boolean("is_error")? == Some(true);
            let content_at = members.path("content");
            let parts = match members.take("content") {
                None => Vec::new(),
                Some(content) => read_content(content, &content_at, losses)?,
            };
            Body::ToolResult { call, parts, failed }
        }
        "thinking" => {
            let text = members.string("thinking")?.unwrap_or_default();
            Body::Thinking { text, signature: members.string("signature")? }
        }
        "redacted_thinking" => Body::Redacted(members.required_string("data")?),
        _ => return Ok(foreign(whole, at)),
    };
    let cached =
        members.object("cache_control")?.map(|mut mark| match mark.string("ttl").ok().flatten().as_deref() {
            Some("1h") => Cached::Long,
            _ => Cached::Short,
        });
    members.lose(losses);
    Ok(Part { at: at.to_owned(), body, cached })
}

/// A block that only this format has.
fn foreign(block: Value, at: &str) -> Part {
    let members = match block {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    Part::new(at, Body::Foreign(members))
}

/// Where the data comes from; `None` if it is at the other end, as a file.
fn read_source(members: &mut Members) -> Result<Option<Source>, Fault> {
    let at = members.path("source");
    let Some(mut source) = members.object("source")? else {
        return Err(Fault::new(&at, "is missing: it must be an object"));
    };
    Ok(match source.required_string("type")?.as_str() {
        "base64" => {
            let media_type = source.required_string("media_type")?;
            Some(Source::Base64 { media_type, data: source.required_string("data")? })
        }
        "text" => Some(Source::Text(source.required_string("data")?)),
        "url" => Some(Source::Url(source.required_string("url")?)),
        _ => None,
    })
}

fn read_tool(tool: Value, at: &str, losses: &mut Losses) -> Result<Option<Tool>, Fault> {
    let mut members = Members::of(tool, at)?;
    if members.string("type")?.is_some_and(|kind| kind != "custom") {
        losses.lose(&format!("{at}.type"));
        return Ok(None);
    }
    let tool = Tool {
        at: at.to_owned(),
        name: members.required_string("name")?,
        description: members.string("description")?,
        parameters: members.take("input_schema"),
        strict: members.boolean("strict")?,
        cached: None,
    };
    members.lose(losses);
    Ok(Some(tool))
}

/// The choice, and whether the model may call one tool at a time only.
fn read_choice(mut members: Members, losses: &mut Losses) -> Result<(Choice, bool), Fault> {
    let one = members.boolean("disable_parallel_tool_use")? == Some(true);
    let choice = match members.required_string("type")?.as_str() {
        "auto" => Choice::Auto,
        "none" => Choice::None,
        "any" => Choice::Any,
        "tool" => Choice::Tool(members.required_string("name")?),
        _ => return Err(Fault::new(&members.path("type"), "must be auto, any, tool or none")),
    };
    members.lose(losses);
    Ok((choice, one))
}

fn read_thinking(mut members: Members, losses: &mut Losses) -> Result<Thinking, Fault> {
    let thinking = match members.required_string("type")?.as_str() {
        "disabled" => Thinking::Off,
        "enabled" => {
            let missing = || Fault::new("thinking.budget_tokens", "is missing");
            Thinking::Budget(members.count("budget_tokens")?.ok_or_else(missing)?)
        }
        _ => Thinking::Adaptive,
    };
    members.lose(losses);
    Ok(thinking)
}
