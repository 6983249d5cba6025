//! Messages requests for models that are called by chat completions.

use serde_json::{Value, json};
use waypost_core::translate::{Format, Policy, Settings};

use crate::{carried, left_out, messages, refused, said, translate, with, wrong};

const FROM: Format = Format::Messages;

fn user(blocks: Value) -> Value {
    said(json!([{"role": "user", "content": blocks}]))
}

#[test]
fn a_models_name_and_the_number_of_tokens() {
    let own = Settings { model: Some("llama".into()), max_tokens: Some(99), ..Settings::default() };
    let found = translate(FROM, &messages(json!({})), &own).unwrap();
    let body: Value = serde_json::from_slice(&found.body).unwrap();
    assert_eq!((&body["model"], &body["max_completion_tokens"]), (&json!("llama"), &json!(10)));
}

#[test]
fn sampling_and_where_the_model_stops() {
    let members = json!({"temperature": 0.50, "top_p": 1, "stop_sequences": ["a", "b", "c", "d"]});
    let wanted = json!({"temperature": 0.50, "top_p": 1, "stop": ["a", "b", "c", "d"]});
    carried(FROM, &messages(members), &wanted);
    refused(FROM, &messages(json!({"top_k": 5})), "top_k");
    refused(FROM, &messages(json!({"stop_sequences": ["a", "b", "c", "d", "e"]})), "stop_sequences");
    wrong(FROM, &messages(json!({"stop_sequences": [1]})), "stop_sequences[0]");
}

#[test]
fn parameters_that_the_other_end_has_not() {
    for members in [
        json!({"container": "c"}),
        json!({"mcp_servers": []}),
        json!({"context_management": {}}),
        json!({"inference_geo": "eu"}),
        json!({"speed": "fast"}),
        json!({"thread": {"type": "create"}}),
        json!({"compaction": {}}),
        json!({"fallbacks": []}),
        json!({"something_new": 1}),
    ] {
        let name = members.as_object().unwrap().keys().next().unwrap().clone();
        refused(FROM, &messages(members), &name);
    }
    left_out(
        FROM,
        &messages(json!({"cache_control": {"type": "ephemeral"}})),
        &["cache_control"],
        &json!({}),
    );
    left_out(FROM, &messages(json!({"diagnostics": {}})), &["diagnostics"], &json!({}));
    carried(FROM, &messages(json!({"speed": "standard"})), &json!({}));
    refused(FROM, &messages(json!({"output_config": {"task_budget": 1}})), "output_config.task_budget");
}

#[test]
fn thinking() {
    for (members, wanted) in [
        (json!({"thinking": {"type": "disabled"}}), json!({"reasoning_effort": "none"})),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}), json!({"reasoning_effort": "low"})),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 4096}}),
            json!({"reasoning_effort": "medium"}),
        ),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 8192}}),
            json!({"reasoning_effort": "high"}),
        ),
        (json!({"thinking": {"type": "adaptive"}}), json!({})),
        (json!({"output_config": {"effort": "max"}}), json!({"reasoning_effort": "max"})),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}, "output_config": {"effort": "high"}}),
            json!({"reasoning_effort": "high"}),
        ),
    ] {
        carried(FROM, &messages(members), &wanted);
    }
    let shown = json!({"thinking": {"type": "adaptive", "display": "omitted"}});
    left_out(FROM, &messages(shown), &["thinking.display"], &json!({}));
    wrong(FROM, &messages(json!({"thinking": {"type": "enabled"}})), "thinking.budget_tokens");
}

#[test]
fn structured_output_and_streams() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let members = json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}});
    // What was optional stays so: `strict` is not set.
    let wanted = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}});
    carried(FROM, &messages(members), &wanted);
    let wanted = json!({"stream": true, "stream_options": {"include_usage": true}});
    carried(FROM, &messages(json!({"stream": true})), &wanted);
    carried(FROM, &messages(json!({"stream": false})), &json!({"stream": false}));
}

#[test]
fn tools_and_which_are_called() {
    let tool = json!({"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": true});
    let function = json!({"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true});
    let written = json!([{"type": "function", "function": function}]);
    let given = |members: Value| with(messages(json!({"tools": [tool]})), members);
    carried(FROM, &given(json!({})), &json!({"tools": written}));
    for (choice, wanted) in [
        (json!({"type": "auto"}), json!("auto")),
        (json!({"type": "none"}), json!("none")),
        (json!({"type": "any"}), json!("required")),
        (json!({"type": "tool", "name": "f"}), json!({"type": "function", "function": {"name": "f"}})),
    ] {
        carried(
            FROM,
            &given(json!({"tool_choice": choice})),
            &json!({"tools": written, "tool_choice": wanted}),
        );
    }
    let one = json!({"tool_choice": {"type": "auto", "disable_parallel_tool_use": true}});
    let wanted = json!({"tools": written, "tool_choice": "auto", "parallel_tool_calls": false});
    carried(FROM, &given(one), &wanted);
    let more = with(
        tool.clone(),
        json!({"type": "custom", "cache_control": {"type": "ephemeral"}, "defer_loading": true}),
    );
    let lost = ["tools[0].cache_control", "tools[0].defer_loading"];
    left_out(FROM, &messages(json!({"tools": [more]})), &lost, &json!({"tools": written}));
    for kind in ["web_search_20250305", "bash_20250124", "computer_toolset_20260801"] {
        let tools = json!({"tools": [tool, {"type": kind, "name": "x"}]});
        refused(FROM, &messages(tools), "tools[1].type");
    }
}

#[test]
fn tiers_and_who_asks() {
    carried(FROM, &messages(json!({"service_tier": "auto"})), &json!({"service_tier": "auto"}));
    carried(FROM, &messages(json!({"service_tier": "standard_only"})), &json!({"service_tier": "default"}));
    carried(FROM, &messages(json!({"metadata": {"user_id": "u1"}})), &json!({"safety_identifier": "u1"}));
    let long = messages(json!({"metadata": {"user_id": "u".repeat(80)}}));
    let body = translate(FROM, &long, &Settings::default()).unwrap().body;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["safety_identifier"].as_str().unwrap().len(), 64);
    left_out(FROM, &messages(json!({"metadata": {"team": "a"}})), &["metadata.team"], &json!({}));
}

#[test]
fn what_the_system_says() {
    let hi = json!({"role": "user", "content": "Hi"});
    let wanted = json!({"messages": [{"role": "system", "content": "a"}, hi]});
    carried(FROM, &messages(json!({"system": "a"})), &wanted);
    let marked = json!([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "b"}]);
    let parts = json!([
        {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}, {"type": "text", "text": "b"},
    ]);
    carried(
        FROM,
        &messages(json!({"system": marked})),
        &json!({"messages": [{"role": "system", "content": parts}, hi]}),
    );
    let turns = json!([hi, {"role": "system", "content": "c"}, {"role": "assistant", "content": "d"}]);
    carried(FROM, &said(turns.clone()), &json!({"messages": turns}));
    wrong(FROM, &said(json!([{"role": "tool", "content": "a"}])), "messages[0].role");
    wrong(FROM, &said(json!([{"role": "user"}])), "messages[0].content");
}

#[test]
fn images_and_documents() {
    let sent = |block: Value, part: Value| {
        carried(FROM, &user(json!([block])), &json!({"messages": [{"role": "user", "content": [part]}]}));
    };
    let base64 = |kind: &str| json!({"type": "base64", "media_type": kind, "data": "AAAA"});
    let image = |url: &str| json!({"type": "image_url", "image_url": {"url": url}});
    sent(json!({"type": "image", "source": base64("image/png")}), image("data:image/png;base64,AAAA"));
    sent(json!({"type": "image", "source": {"type": "url", "url": "https://h/a"}}), image("https://h/a"));
    let file = json!({"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"});
    sent(
        json!({"type": "document", "source": base64("application/pdf"), "title": "a.pdf"}),
        json!({"type": "file", "file": file}),
    );
    let text =
        json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}});
    carried(FROM, &user(json!([text])), &json!({"messages": [{"role": "user", "content": "words"}]}));
    let hi = json!({"type": "text", "text": "Hi"});
    for (block, path) in [
        (json!({"type": "image", "source": {"type": "file", "file_id": "f"}}), ""),
        (json!({"type": "document", "source": {"type": "file", "file_id": "f"}}), ""),
        (json!({"type": "document", "source": {"type": "url", "url": "https://h/a.pdf"}}), ".source"),
        (json!({"type": "search_result", "source": "s", "title": "t", "content": []}), ""),
        (json!({"type": "container_upload", "file_id": "f"}), ""),
        (json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}), ""),
        (json!({"type": "something_new"}), ""),
    ] {
        refused(FROM, &user(json!([hi, block])), &format!("messages[0].content[1]{path}"));
    }
    let cited = json!([{"type": "text", "text": "Hi", "citations": []}]);
    left_out(FROM, &user(cited), &["messages[0].content[0].citations"], &json!({}));
}

#[test]
fn calls_of_tools_and_their_results() {
    let turns = json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "r"},
            {"type": "text", "text": "Wait"},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"x": 1}},
            {"type": "tool_use", "id": "c2", "name": "f", "input": {}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "c1", "content": "one"},
            {"type": "tool_result", "tool_use_id": "c2", "is_error": true, "content": [
                {"type": "text", "text": "two"},
                {"type": "image", "source": {"type": "url", "url": "https://h/a"}},
            ]},
            {"type": "text", "text": "Go on"},
        ]},
    ]);
    let call = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}});
    let wanted = json!({"messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Wait", "tool_calls": [call("c1", "{\"x\":1}"), call("c2", "{}")]},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": "Error: two"},
        {"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "https://h/a"}}, {"type": "text", "text": "Go on"},
        ]},
    ]});
    let lost = ["messages[1].content[0].thinking", "messages[1].content[1].data"];
    left_out(FROM, &said(turns), &lost, &wanted);
    let alone = json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "cache_control": {"type": "ephemeral"}}]},
    ]);
    let wanted = json!({"messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": null, "tool_calls": [call("c", "{}")]},
        {"role": "tool", "tool_call_id": "c", "content": ""},
    ]});
    left_out(FROM, &said(alone), &["messages[2].content[0].cache_control"], &wanted);
}

#[test]
fn a_message_that_would_become_empty_is_refused() {
    let turns = json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}]},
        {"role": "user", "content": "Go on"},
    ]);
    for unsupported in [Policy::Refuse, Policy::Drop] {
        let settings = Settings { unsupported, ..Settings::default() };
        assert_eq!(translate(FROM, &said(turns.clone()), &settings).unwrap_err().at, "messages[1]");
    }
}
