//! What becomes of each field when a message goes from one format to another. The code asks this table for everything that
//! it cannot carry, and the documentation shows it.

use super::Format;

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is carried.
    Map,
    /// It is left out and named: the answer means the same without it.
    Drop,
    /// The message is refused, unless the cluster says that such fields are left out and named.
    Refuse,
}

/// The fields of requests of one format, on their way to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// The format that has the fields.
    pub from: Format,
    /// The format that the request is written in.
    pub to: Format,
    /// The fields.
    pub rows: &'static [Row],
}

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its path, `[]` for each element of a list. `*` at the end stands for all fields that no other row names.
    pub field: &'static str,
    /// What it becomes; empty if nothing.
    pub becomes: &'static str,
    /// What becomes of it.
    pub verdict: Verdict,
    /// What else there is to say; may be empty.
    pub note: &'static str,
}

/// Every direction.
pub static TABLE: [Direction; 2] = [
    Direction { from: Format::Chat, to: Format::Messages, rows: CHAT_TO_MESSAGES },
    Direction { from: Format::Messages, to: Format::Chat, rows: MESSAGES_TO_CHAT },
];

const fn map(field: &'static str, becomes: &'static str, note: &'static str) -> Row {
    Row { field, becomes, verdict: Verdict::Map, note }
}

const fn left_out(field: &'static str, note: &'static str) -> Row {
    Row { field, becomes: "", verdict: Verdict::Drop, note }
}

const fn refused(field: &'static str, note: &'static str) -> Row {
    Row { field, becomes: "", verdict: Verdict::Refuse, note }
}

const CHAT_TO_MESSAGES: &[Row] = &[
    map("model", "model", "by the cluster's `models`"),
    map(
        "max_completion_tokens",
        "max_tokens",
        "also `max_tokens`; without either the cluster's `defaults`, else 4096",
    ),
    map("max_tokens", "max_tokens", ""),
    refused(
        "temperature",
        "carried if the cluster's `sampling` says that its model takes it, and it is at most 1",
    ),
    refused("top_p", "carried if the cluster's `sampling` says that its model takes it"),
    map("stop", "stop_sequences", ""),
    left_out("stop[]", "if it is blank only, which the other end refuses"),
    refused("n", "if it is not 1"),
    refused("seed", ""),
    refused("logprobs", "if it is true"),
    refused("top_logprobs", ""),
    refused("logit_bias", ""),
    refused("presence_penalty", "if it is not 0"),
    refused("frequency_penalty", "if it is not 0"),
    map("stream", "stream", ""),
    map(
        "stream_options.include_usage",
        "",
        "the usage comes with each stream, and is shown where it was asked for",
    ),
    left_out("stream_options.*", ""),
    map("tools[].function", "tools[]", "without `parameters`: an object without properties"),
    map("tools[].function.strict", "tools[].strict", ""),
    map("tools[].prompt_cache_breakpoint", "tools[].cache_control", "as on parts of messages"),
    left_out("tools[].prompt_cache_breakpoint", "likewise"),
    left_out("tools[].*", ""),
    left_out("tools[].function.*", ""),
    refused("tools[].custom", ""),
    map("tool_choice", "tool_choice", "`required` becomes `any`"),
    map("tool_choice.allowed_tools", "tools, tool_choice", "only those tools are sent"),
    map("parallel_tool_calls", "tool_choice.disable_parallel_tool_use", "where there are tools"),
    map("response_format.json_schema.schema", "output_config.format.schema", ""),
    left_out("response_format.json_schema.*", "a schema has no name there, and always holds"),
    refused("response_format", "`json_object`: nothing there says so"),
    map(
        "reasoning_effort",
        "output_config.effort, thinking",
        "`none` becomes `disabled`, `minimal` becomes `low`",
    ),
    refused("verbosity", ""),
    refused("prediction", ""),
    refused("modalities", "if it is more than text"),
    refused("audio", ""),
    refused("functions", "deprecated: use `tools`"),
    refused("function_call", "deprecated: use `tool_choice`"),
    refused("web_search_options", ""),
    refused("moderation", ""),
    map("service_tier", "service_tier, speed", "`auto`, `default` and `fast`"),
    refused("service_tier", "any other"),
    map("user", "metadata.user_id", "as a SHA-256, so that no address of a person reaches the other end"),
    map("safety_identifier", "metadata.user_id", "likewise, and instead of `user`"),
    left_out("metadata", ""),
    left_out("store", ""),
    left_out("prompt_cache_key", ""),
    left_out("prompt_cache_retention", ""),
    left_out("prompt_cache_options", ""),
    map(
        "messages[].role",
        "system, messages[].role",
        "`system` and `developer` at the start become `system`",
    ),
    left_out("messages[].name", ""),
    map("messages[].content", "messages[].content", ""),
    left_out("messages[].content[].text", "if it is blank only, and the message says something else"),
    map("messages[].content[].image_url.url", "messages[].content[].source", "data or https"),
    refused("messages[].content[].image_url", "http"),
    left_out("messages[].content[].image_url.detail", ""),
    map("messages[].content[].file", "messages[].content[], a document", "a PDF, as data"),
    refused("messages[].content[].file", "of another type, or by its id"),
    refused("messages[].content[].input_audio", ""),
    map("messages[].content[].prompt_cache_breakpoint", "cache_control", "for an hour; the first four"),
    left_out("messages[].content[].prompt_cache_breakpoint", "those after the fourth"),
    map("messages[].content[].refusal", "text", "also `messages[].refusal`"),
    map(
        "messages[].tool_calls[]",
        "messages[].content[], a tool_use",
        "ids that the other end refuses get others",
    ),
    map(
        "messages[].tool_call_id",
        "messages[].content[].tool_use_id",
        "results of one turn go into one message",
    ),
    left_out("messages[].reasoning_content", "it has no proof of its maker"),
    left_out("messages[].annotations", ""),
    refused("messages[].audio", ""),
    refused("messages[].function_call", "deprecated: use `tool_calls`"),
    refused("*", ""),
];

const MESSAGES_TO_CHAT: &[Row] = &[
    map("model", "model", "by the cluster's `models`"),
    map("max_tokens", "max_completion_tokens", ""),
    map("system", "messages[0]", "of role `system`"),
    map("stop_sequences", "stop", ""),
    refused("stop_sequences", "more than four"),
    map("temperature", "temperature", ""),
    map("top_p", "top_p", ""),
    refused("top_k", ""),
    map(
        "thinking",
        "reasoning_effort",
        "`disabled` becomes `none`; a budget below 2,048 `low`, below 8,192 `medium`, else `high`",
    ),
    left_out("thinking.*", ""),
    map("output_config.effort", "reasoning_effort", ""),
    map("output_config.format", "response_format", "under the name `reply`"),
    refused("output_config.*", ""),
    map("stream", "stream, stream_options.include_usage", ""),
    map("tools[].input_schema", "tools[].function.parameters", ""),
    map("tools[].strict", "tools[].function.strict", ""),
    left_out("tools[].cache_control", ""),
    left_out("tools[].*", ""),
    refused("tools[].type", "a tool that runs at its maker's"),
    map("tool_choice", "tool_choice", "`any` becomes `required`"),
    map("tool_choice.disable_parallel_tool_use", "parallel_tool_calls", ""),
    map("service_tier", "service_tier", "`standard_only` becomes `default`"),
    map("metadata.user_id", "safety_identifier", "as a SHA-256 if it is longer than 64 characters"),
    left_out("metadata.*", ""),
    left_out("cache_control", ""),
    left_out("diagnostics", ""),
    refused("speed", "`fast`"),
    refused("container", ""),
    refused("mcp_servers", ""),
    refused("context_management", ""),
    refused("inference_geo", "a demand on the place of the model"),
    map("messages[].role", "messages[].role", ""),
    map("messages[].content", "messages[].content", ""),
    map(
        "messages[].content[].cache_control",
        "prompt_cache_breakpoint",
        "on text, images and documents; also in `system`",
    ),
    left_out("messages[].content[].cache_control", "elsewhere"),
    left_out("messages[].content[].citations", ""),
    map("messages[].content[].source", "image_url, file", "base64 and url"),
    refused("messages[].content[].source", "by the id of a file"),
    left_out("messages[].content[].context", "of a document"),
    map("messages[].content[].input", "messages[].tool_calls[].function.arguments", ""),
    map(
        "messages[].content[].tool_use_id",
        "messages[].tool_call_id",
        "a message of role `tool` for each result",
    ),
    map("messages[].content[].is_error", "the result begins with `Error: `", ""),
    map(
        "messages[].content[].content[]",
        "messages[].content",
        "text stays with the result, images follow in a user's message",
    ),
    left_out("messages[].content[].thinking", "it is of use to its maker only"),
    left_out("messages[].content[].data", "of redacted thinking"),
    refused("messages[].content[]", "a search result, what a tool at the maker's did, or anything else"),
    refused("*", ""),
];

/// What becomes of that which is not carried, by its path in the client's document.
pub(super) fn verdict(from: Format, to: Format, at: &str) -> Verdict {
    let rows =
        TABLE.iter().find(|table| table.from == from && table.to == to).map_or(&[][..], |found| found.rows);
    let field = generic(at);
    let lost = |name: &str| {
        rows.iter().find(|row| row.field == name && row.verdict != Verdict::Map).map(|row| row.verdict)
    };
    let mut above = field.as_str();
    lost(above).unwrap_or_else(|| {
        while let Some((rest, _)) = above.rsplit_once('.') {
            above = rest;
            if let Some(found) = lost(&format!("{above}.*")) {
                return found;
            }
        }
        Verdict::Refuse
    })
}

/// The path of all fields that stand where this one does: `tools[].strict` for `tools[3].strict`.
fn generic(at: &str) -> String {
    let mut out = String::with_capacity(at.len());
    let mut inside = false;
    for each in at.chars() {
        inside = each != ']' && inside;
        if !inside {
            out.push(each);
        }
        inside |= each == '[';
    }
    out
}
