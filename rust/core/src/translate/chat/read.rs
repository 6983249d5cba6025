//! Reads chat completion requests.

use serde_json::Value;

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
    let turns = members.list("messages")?;
    if turns.is_empty() {
        return Err(Fault::new("messages", "is missing: it must be a list of at least one message"));
    }
    let turns = turns.into_iter().map(|(at, turn)| read_turn(turn, &at, losses)).collect::<Result<_, _>>()?;
    let older = members.count("max_tokens")?;
    let mut conversation = Conversation {
        model: members.string("model")?,
        turns,
        max_tokens: members.count("max_completion_tokens")?.or(older),
        stop: read_stop(&mut members)?,
        temperature: members.number("temperature")?,
        top_p: members.number("top_p")?,
        one_tool_at_a_time: members.boolean("parallel_tool_calls")? == Some(false),
        stream: members.boolean("stream")?,
        tier: members.string("service_tier")?,
        ..Conversation::default()
    };
    let user = members.string("user")?.map(|user| (user, "user".to_owned()));
    let safety = members.string("safety_identifier")?.map(|user| (user, "safety_identifier".to_owned()));
    conversation.user = safety.or(user);
    if let Some(mut options) = members.object("stream_options")? {
        conversation.usage_in_stream = options.boolean("include_usage")? == Some(true);
        options.lose(losses);
    }
    for (at, tool) in members.list("tools")? {
        conversation.tools.extend(read_tool(tool, &at, losses)?);
    }
    conversation.choice =
        members.take("tool_choice").map(|choice| read_choice(choice, losses)).transpose()?;
    if let Some(format) = members.object("response_format")? {
        conversation.schema = read_format(format, losses)?;
    }
    match members.string("reasoning_effort")?.as_deref() {
        Some("none") => conversation.thinking = Some(Thinking::Off),
        Some(effort) => conversation.effort = Some(effort.to_owned()),
        None => {}
    }
    // What says no more than its absence would.
    let mut rest = members.rest();
    let is_default = |name: &str, value: &Value| match name {
        "n" => value.as_u64() == Some(1),
        "logprobs" => value == &Value::Bool(false),
        "presence_penalty" | "frequency_penalty" => value.as_f64() == Some(0.0),
        "modalities" => value.as_array().is_some_and(|list| list.iter().all(|each| each == "text")),
        _ => false,
    };
    rest.retain(|name, value| !is_default(name, value));
    conversation.rest = rest;
    Ok(conversation)
}

fn read_stop(members: &mut Members) -> Result<Vec<String>, Fault> {
    match members.take("stop") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text]),
        Some(list) => elements(list, "stop")?
            .into_iter()
            .map(|(at, each)| match each {
                Value::String(text) => Ok(text),
                _ => Err(Fault::new(&at, "must be a string")),
            })
            .collect(),
    }
}

fn read_turn(turn: Value, at: &str, losses: &mut Losses) -> Result<Turn, Fault> {
    let mut members = Members::of(turn, at)?;
    let role = members.required_string("role")?;
    let content_at = members.path("content");
    let mut parts = match members.take("content") {
        None => Vec::new(),
        Some(content) => read_content(content, &content_at, losses)?,
    };
    if let Some(text) = members.string("refusal")? {
        parts.push(Part::new(members.path("refusal"), Body::Refusal(text)));
    }
    let role = match role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => {
            for (at, call) in members.list("tool_calls")? {
                parts.extend(read_call(call, &at, losses)?);
            }
            Role::Assistant
        }
        "tool" => {
            let call = members.required_string("tool_call_id")?;
            let result = Body::ToolResult { call, parts, failed: false };
            parts = vec![Part::new(content_at, result)];
            Role::User
        }
        _ => {
            let message = "must be system, developer, user, assistant or tool";
            return Err(Fault::new(&members.path("role"), message));
        }
    };
    let at = members.at().to_owned();
    members.lose(losses);
    Ok(Turn { at, role, parts })
}

fn read_content(content: Value, at: &str, losses: &mut Losses) -> Result<Vec<Part>, Fault> {
    if let Value::String(text) = content {
        return Ok(vec![Part::new(at, Body::Text(text))]);
    }
    let list = elements(content, at).map_err(|_| Fault::new(at, "must be a string or a list of parts"))?;
    let mut parts = Vec::with_capacity(list.len());
    for (at, part) in list {
        parts.extend(read_part(part, &at, losses)?);
    }
    Ok(parts)
}

/// A part, or `None` if it cannot be carried, and is told to `losses`.
fn read_part(part: Value, at: &str, losses: &mut Losses) -> Result<Option<Part>, Fault> {
    let mut members = Members::of(part, at)?;
    let kind = members.required_string("type")?;
    let body = match kind.as_str() {
        "text" => Some(Body::Text(members.required_string("text")?)),
        "refusal" => Some(Body::Refusal(members.required_string("refusal")?)),
        "image_url" => read_image(&mut members, losses)?,
        "file" => read_file(&mut members, losses)?,
        _ => None,
    };
    let cached = members.object("prompt_cache_breakpoint")?.map(|_| Cached::Long);
    let lost = format!("{at}.{kind}");
    members.lose(losses);
    if body.is_none() {
        losses.lose(&lost);
    }
    Ok(body.map(|body| Part { at: at.to_owned(), body, cached }))
}

fn read_image(members: &mut Members, losses: &mut Losses) -> Result<Option<Body>, Fault> {
    let at = members.path("image_url");
    let Some(mut image) = members.object("image_url")? else {
        return Err(Fault::new(&at, "is missing: it must be an object"));
    };
    let url = image.required_string("url")?;
    image.lose(losses);
    // Nobody should fetch for a client what it may not reach itself.
    let plain = url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http:"));
    Ok((!plain).then(|| Body::Image(Source::of_url(url))))
}

fn read_file(members: &mut Members, losses: &mut Losses) -> Result<Option<Body>, Fault> {
    let at = members.path("file");
    let Some(mut file) = members.object("file")? else {
        return Err(Fault::new(&at, "is missing: it must be an object"));
    };
    let name = file.string("filename")?;
    let _ = file.string("file_id")?; // Nobody else knows the file; `losses` hears of the whole part.
    let source = file.string("file_data")?.map(Source::of_url);
    let is_pdf =
        matches!(&source, Some(Source::Base64 { media_type, .. }) if media_type == "application/pdf");
    file.lose(losses);
    Ok(source.filter(|_| is_pdf).map(|source| Body::Document { source, name }))
}

fn read_call(call: Value, at: &str, losses: &mut Losses) -> Result<Option<Part>, Fault> {
    let mut members = Members::of(call, at)?;
    let id = members.required_string("id")?;
    let _ = members.string("type")?;
    let Some(mut function) = members.object("function")? else {
        losses.lose(at);
        return Ok(None);
    };
    let name = function.required_string("name")?;
    let arguments = function.string("arguments")?.unwrap_or_default();
    function.lose(losses);
    members.lose(losses);
    Ok(Some(Part::new(at, Body::ToolCall(ToolCall { id, name, arguments }))))
}

fn read_tool(tool: Value, at: &str, losses: &mut Losses) -> Result<Option<Tool>, Fault> {
    let mut members = Members::of(tool, at)?;
    let kind = members.required_string("type")?;
    let Some(mut function) = members.object("function")? else {
        losses.lose(&format!("{at}.{kind}"));
        return Ok(None);
    };
    let tool = Tool {
        at: at.to_owned(),
        name: function.required_string("name")?,
        description: function.string("description")?,
        parameters: function.take("parameters"),
        strict: function.boolean("strict")?,
        cached: members.object("prompt_cache_breakpoint")?.map(|_| Cached::Long),
    };
    function.lose(losses);
    members.lose(losses);
    Ok(Some(tool))
}

fn read_choice(choice: Value, losses: &mut Losses) -> Result<Choice, Fault> {
    const AT: &str = "tool_choice";
    if let Value::String(word) = &choice {
        return match word.as_str() {
            "auto" => Ok(Choice::Auto),
            "none" => Ok(Choice::None),
            "required" => Ok(Choice::Any),
            _ => Err(Fault::new(AT, "must be auto, none, required or an object")),
        };
    }
    let mut members = Members::of(choice, AT)?;
    let kind = members.required_string("type")?;
    let choice = match kind.as_str() {
        "function" => {
            let name = members.object("function")?.map(|mut function| function.required_string("name"));
            Choice::Tool(name.unwrap_or_else(|| Err(Fault::new("tool_choice.function", "is missing")))?)
        }
        "allowed_tools" => {
            let missing = || Fault::new("tool_choice.allowed_tools", "is missing");
            let mut allowed = members.object("allowed_tools")?.ok_or_else(missing)?;
            let must = allowed.string("mode")?.as_deref() == Some("required");
            let names = allowed.list("tools")?.into_iter().map(|(at, tool)| {
                let mut tool = Members::of(tool, &at)?;
                let function = tool.object("function")?;
                function.map_or_else(|| tool.required_string("name"), |mut own| own.required_string("name"))
            });
            Choice::Of { names: names.collect::<Result<_, _>>()?, must }
        }
        _ => {
            losses.lose(&format!("{AT}.{kind}"));
            Choice::Auto
        }
    };
    members.lose(losses);
    Ok(choice)
}

fn read_format(mut format: Members, losses: &mut Losses) -> Result<Option<Schema>, Fault> {
    let kind = format.required_string("type")?;
    match kind.as_str() {
        "text" => Ok(None),
        "json_schema" => {
            let at = format.path("json_schema");
            let Some(mut schema) = format.object("json_schema")? else {
                return Err(Fault::new(&at, "is missing: it must be an object"));
            };
            let name = schema.string("name")?;
            let strict = schema.boolean("strict")?;
            let found = schema.take("schema");
            schema.lose(losses);
            let missing = || Fault::new("response_format.json_schema.schema", "is missing");
            Ok(Some(Schema { name, form: found.ok_or_else(missing)?, strict }))
        }
        _ => {
            losses.lose("response_format");
            Ok(None)
        }
    }
}
