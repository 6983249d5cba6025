//! Chat completion requests for models that are called by messages.

use serde_json::{Value, json};
use waypost_core::translate::{Format, Policy, Settings};

use crate::{carried, chat, left_out, refused, said, translate, wrong};

const FROM: Format = Format::Chat;

fn user(parts: Value) -> Value {
    said(json!([{"role": "user", "content": parts}]))
}

fn tool(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}})
}

fn written_tool(name: &str) -> Value {
    json!({"name": name, "input_schema": {"type": "object"}})
}

#[test]
fn a_models_name_and_the_number_of_tokens() {
    let sent = |document: Value, settings: &Settings| -> Value {
        serde_json::from_slice(&translate(FROM, &document, settings).unwrap().body).unwrap()
    };
    let own = Settings { model: Some("claude".into()), max_tokens: Some(99), ..Settings::default() };
    let found = sent(chat(json!({})), &Settings::default());
    assert_eq!((&found["model"], &found["max_tokens"]), (&json!("m"), &json!(4096)));
    let found = sent(chat(json!({})), &own);
    assert_eq!((&found["model"], &found["max_tokens"]), (&json!("claude"), &json!(99)));
    for members in [json!({"max_tokens": 7}), json!({"max_completion_tokens": 7, "max_tokens": 8})] {
        assert_eq!(sent(chat(members), &own)["max_tokens"], json!(7));
    }
    wrong(FROM, &chat(json!({"model": null})), "model");
    wrong(FROM, &chat(json!({"model": 1})), "model");
    wrong(FROM, &chat(json!({"max_tokens": -1})), "max_tokens");
}

#[test]
fn sampling_goes_to_models_that_take_it() {
    let members = json!({"temperature": 0.5, "top_p": 0.25});
    refused(FROM, &chat(json!({"temperature": 0.5})), "temperature");
    refused(FROM, &chat(json!({"top_p": 0.5})), "top_p");
    let taking = Settings { sampling: true, ..Settings::default() };
    let found = translate(FROM, &chat(members), &taking).unwrap();
    let body: Value = serde_json::from_slice(&found.body).unwrap();
    assert_eq!((&body["temperature"], &body["top_p"]), (&json!(0.5), &json!(0.25)));
    // The other end takes nothing above 1, and another number would be another answer.
    assert_eq!(translate(FROM, &chat(json!({"temperature": 1.7})), &taking).unwrap_err().at, "temperature");
}

#[test]
fn where_the_model_stops() {
    carried(FROM, &chat(json!({"stop": "END"})), &json!({"stop_sequences": ["END"]}));
    carried(FROM, &chat(json!({"stop": ["a", "b"]})), &json!({"stop_sequences": ["a", "b"]}));
    left_out(
        FROM,
        &chat(json!({"stop": ["\n", "b", " "]})),
        &["stop[0]", "stop[2]"],
        &json!({"stop_sequences": ["b"]}),
    );
    wrong(FROM, &chat(json!({"stop": 1})), "stop");
    wrong(FROM, &chat(json!({"stop": ["a", 1]})), "stop[1]");
}

#[test]
fn parameters_that_the_other_end_has_not() {
    for members in [
        json!({"n": 2}),
        json!({"seed": 1}),
        json!({"logprobs": true}),
        json!({"top_logprobs": 2}),
        json!({"logit_bias": {"1": 1}}),
        json!({"presence_penalty": 1}),
        json!({"frequency_penalty": 0.1}),
        json!({"verbosity": "low"}),
        json!({"prediction": {"type": "content", "content": "a"}}),
        json!({"modalities": ["text", "audio"]}),
        json!({"audio": {"voice": "alloy", "format": "wav"}}),
        json!({"functions": []}),
        json!({"function_call": "auto"}),
        json!({"web_search_options": {}}),
        json!({"moderation": {}}),
        json!({"service_tier": "flex"}),
        json!({"something_new": 1}),
    ] {
        let name = members.as_object().unwrap().keys().next().unwrap().clone();
        refused(FROM, &chat(members), &name);
    }
    for members in [
        json!({"metadata": {"a": "b"}}),
        json!({"store": true}),
        json!({"prompt_cache_key": "k"}),
        json!({"prompt_cache_retention": "24h"}),
        json!({"prompt_cache_options": {"mode": "implicit"}}),
    ] {
        let name = members.as_object().unwrap().keys().next().unwrap().clone();
        left_out(FROM, &chat(members), &[&name], &json!({}));
    }
    let nothing = json!({
        "n": 1, "logprobs": false, "presence_penalty": 0, "frequency_penalty": 0.0, "modalities": ["text"], "seed": null,
    });
    carried(FROM, &chat(nothing), &json!({}));
}

#[test]
fn streams() {
    carried(FROM, &chat(json!({"stream": true})), &json!({"stream": true}));
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    carried(FROM, &chat(options), &json!({"stream": true}));
    let options = json!({"stream": true, "stream_options": {"include_obfuscation": false}});
    left_out(FROM, &chat(options), &["stream_options.include_obfuscation"], &json!({"stream": true}));
}

#[test]
fn tools() {
    let full = json!({"type": "function", "function": {
        "name": "f", "description": "d", "parameters": {"type": "object", "required": ["x"]}, "strict": true,
    }});
    let wanted = json!({"name": "f", "description": "d", "input_schema": {"type": "object", "required": ["x"]}, "strict": true});
    carried(FROM, &chat(json!({"tools": [full]})), &json!({"tools": [wanted]}));
    let bare = json!({"type": "function", "function": {"name": "f"}});
    let wanted = json!({"name": "f", "input_schema": {"type": "object", "properties": {}}});
    carried(FROM, &chat(json!({"tools": [bare]})), &json!({"tools": [wanted]}));
    let odd = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "x": 1}, "y": 2});
    left_out(
        FROM,
        &chat(json!({"tools": [odd]})),
        &["tools[0].function.x", "tools[0].y"],
        &json!({"tools": [written_tool("f")]}),
    );
    let custom = json!({"type": "custom", "custom": {"name": "c"}});
    refused(FROM, &chat(json!({"tools": [custom]})), "tools[0].custom");
    wrong(FROM, &chat(json!({"tools": [{"type": "function", "function": {}}]})), "tools[0].function.name");
}

#[test]
fn which_tools_are_called() {
    let with = |members: Value| crate::with(chat(json!({"tools": [tool("f"), tool("g")]})), members);
    let both = json!([written_tool("f"), written_tool("g")]);
    for (choice, wanted) in [
        (json!("auto"), json!({"type": "auto"})),
        (json!("none"), json!({"type": "none"})),
        (json!("required"), json!({"type": "any"})),
        (json!({"type": "function", "function": {"name": "g"}}), json!({"type": "tool", "name": "g"})),
    ] {
        carried(FROM, &with(json!({"tool_choice": choice})), &json!({"tools": both, "tool_choice": wanted}));
    }
    for (mode, wanted) in [("auto", "auto"), ("required", "any")] {
        let only = json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [
            {"type": "function", "function": {"name": "g"}},
        ]}});
        let wanted = json!({"tools": [written_tool("g")], "tool_choice": {"type": wanted}});
        carried(FROM, &with(json!({"tool_choice": only})), &wanted);
    }
    let one = json!({"parallel_tool_calls": false});
    let wanted = json!({"tools": both, "tool_choice": {"type": "auto", "disable_parallel_tool_use": true}});
    carried(FROM, &with(one.clone()), &wanted);
    let wanted = json!({"tools": both, "tool_choice": {"type": "any", "disable_parallel_tool_use": true}});
    carried(FROM, &with(crate::with(one.clone(), json!({"tool_choice": "required"}))), &wanted);
    let wanted = json!({"tools": both, "tool_choice": {"type": "none"}});
    carried(FROM, &with(crate::with(one.clone(), json!({"tool_choice": "none"}))), &wanted);
    carried(FROM, &with(json!({"parallel_tool_calls": true})), &json!({"tools": both}));
    carried(FROM, &chat(one), &json!({}));
    refused(
        FROM,
        &with(json!({"tool_choice": {"type": "custom", "custom": {"name": "c"}}})),
        "tool_choice.custom",
    );
    wrong(FROM, &with(json!({"tool_choice": "some"})), "tool_choice");
}

#[test]
fn structured_output() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}});
    let format = json!({"type": "json_schema", "json_schema": {"schema": schema, "strict": true}});
    let wanted = json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}});
    carried(FROM, &chat(json!({"response_format": format})), &wanted);
    let named = json!({"type": "json_schema", "json_schema": {
        "name": "n", "description": "d", "schema": schema, "strict": false,
    }});
    let lost = ["description", "name", "strict"].map(|name| format!("response_format.json_schema.{name}"));
    left_out(FROM, &chat(json!({"response_format": named})), &lost.each_ref().map(String::as_str), &wanted);
    carried(FROM, &chat(json!({"response_format": {"type": "text"}})), &json!({}));
    refused(FROM, &chat(json!({"response_format": {"type": "json_object"}})), "response_format");
    wrong(FROM, &chat(json!({"response_format": {"type": "json_schema"}})), "response_format.json_schema");
}

#[test]
fn thinking() {
    carried(FROM, &chat(json!({"reasoning_effort": "none"})), &json!({"thinking": {"type": "disabled"}}));
    for (effort, wanted) in
        [("minimal", "low"), ("low", "low"), ("medium", "medium"), ("xhigh", "xhigh"), ("max", "max")]
    {
        let wanted = json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": wanted}});
        carried(FROM, &chat(json!({"reasoning_effort": effort})), &wanted);
    }
}

#[test]
fn who_asks_is_told_without_a_name() {
    let hash = "a5b6a5bc6ad8ba2a6a0d8d1c0d5c4d5d"; // only its shape matters
    for members in [
        json!({"user": "ann@example.com"}),
        json!({"safety_identifier": "ann@example.com"}),
        json!({"user": "other", "safety_identifier": "ann@example.com"}),
    ] {
        let found = translate(FROM, &chat(members), &Settings::default()).unwrap();
        let body: Value = serde_json::from_slice(&found.body).unwrap();
        let id = body["metadata"]["user_id"].as_str().unwrap().to_owned();
        assert_eq!((id.len(), found.dropped.len()), (2 * hash.len(), 0));
        assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()) && !id.contains("ann"));
    }
}

#[test]
fn service_tiers() {
    carried(FROM, &chat(json!({"service_tier": "auto"})), &json!({"service_tier": "auto"}));
    carried(FROM, &chat(json!({"service_tier": "default"})), &json!({"service_tier": "standard_only"}));
    carried(FROM, &chat(json!({"service_tier": "fast"})), &json!({"speed": "fast"}));
}

#[test]
fn what_the_system_says() {
    let turns = json!([
        {"role": "system", "content": "a"},
        {"role": "developer", "content": [{"type": "text", "text": "b"}]},
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": "c"},
        {"role": "user", "content": "Ho"},
    ]);
    let wanted = json!({
        "system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        "messages": [
            {"role": "user", "content": "Hi"}, {"role": "system", "content": "c"}, {"role": "user", "content": "Ho"},
        ],
    });
    carried(FROM, &said(turns), &wanted);
    let turns = json!([{"role": "system", "content": "a"}, {"role": "user", "content": "Hi"}]);
    carried(FROM, &said(turns), &json!({"system": "a"}));
    wrong(FROM, &said(json!([{"role": "system", "content": "a"}])), "messages");
    wrong(FROM, &said(json!([])), "messages");
    wrong(FROM, &said(json!([{"role": "function", "name": "f", "content": "a"}])), "messages[0].role");
}

#[test]
fn empty_text_is_never_filled() {
    let turns =
        json!([{"role": "user", "content": [{"type": "text", "text": " "}, {"type": "text", "text": "Hi"}]}]);
    left_out(FROM, &said(turns), &["messages[0].content[0].text"], &json!({}));
    for content in [json!(""), json!(" \n"), json!([]), json!([{"type": "text", "text": ""}]), json!(null)] {
        wrong(FROM, &user(content), "messages[0]");
    }
    let named = json!([{"role": "user", "name": "ann", "content": "Hi"}]);
    left_out(FROM, &said(named), &["messages[0].name"], &json!({}));
}

#[test]
fn images() {
    let image = |url: &str| json!([{"type": "image_url", "image_url": {"url": url}}]);
    let wanted = |source: Value| json!({"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]});
    for (url, source) in [
        ("data:image/png;base64,AAAA", json!({"type": "base64", "media_type": "image/png", "data": "AAAA"})),
        ("data:image/jpg;base64,AAAA", json!({"type": "base64", "media_type": "image/jpeg", "data": "AAAA"})),
        ("https://h/a.png", json!({"type": "url", "url": "https://h/a.png"})),
    ] {
        carried(FROM, &user(image(url)), &wanted(source));
    }
    let plain = json!([{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "http://10.0.0.1/a"}}]);
    refused(FROM, &user(plain), "messages[0].content[1].image_url");
    let detailed = json!([{"type": "image_url", "image_url": {"url": "https://h/a", "detail": "low"}}]);
    let source = json!({"type": "url", "url": "https://h/a"});
    left_out(FROM, &user(detailed), &["messages[0].content[0].image_url.detail"], &wanted(source));
}

#[test]
fn documents_and_audio() {
    let file = json!([{"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}}]);
    let block = json!({
        "type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}, "title": "a.pdf",
    });
    carried(FROM, &user(file), &json!({"messages": [{"role": "user", "content": [block]}]}));
    let text = json!({"type": "text", "text": "Hi"});
    for file in [json!({"file_id": "file-1"}), json!({"file_data": "data:image/png;base64,AAAA"})] {
        refused(FROM, &user(json!([text, {"type": "file", "file": file}])), "messages[0].content[1].file");
    }
    let audio = json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}});
    refused(FROM, &user(json!([text, audio])), "messages[0].content[1].input_audio");
    // Of audio alone nothing would be left: that is no message, whatever may be dropped.
    let alone = user(json!([audio]));
    let fault = translate(FROM, &alone, &Settings::default()).unwrap_err();
    assert_eq!(fault.at, "messages[0].content[0].input_audio");
    let dropping = Settings { unsupported: Policy::Drop, ..Settings::default() };
    assert_eq!(translate(FROM, &alone, &dropping).unwrap_err().at, "messages[0]");
}

#[test]
fn places_worth_keeping() {
    let part =
        |text: String| json!({"type": "text", "text": text, "prompt_cache_breakpoint": {"mode": "explicit"}});
    let mut parts: Vec<Value> = (0..5).map(|n| part(n.to_string())).collect();
    let mark = json!({"type": "ephemeral", "ttl": "1h"});
    let mut blocks: Vec<Value> =
        (0..4).map(|n| json!({"type": "text", "text": n.to_string(), "cache_control": mark})).collect();
    blocks.push(json!({"type": "text", "text": "4"}));
    let wanted = json!({"messages": [{"role": "user", "content": blocks}]});
    left_out(FROM, &user(parts.clone().into()), &["messages[0].content[4].prompt_cache_breakpoint"], &wanted);
    // Tools come first in a prompt.
    let marked = crate::with(tool("f"), json!({"prompt_cache_breakpoint": {"mode": "explicit"}}));
    let document = crate::with(user(parts.split_off(1).into()), json!({"tools": [marked]}));
    let (body, dropped) = crate::becomes(FROM, &document);
    assert_eq!((&body["tools"][0]["cache_control"], dropped.len()), (&mark, 1));
    assert_eq!(dropped, ["messages[0].content[3].prompt_cache_breakpoint"]);
}

#[test]
fn calls_of_tools_and_their_results() {
    let call = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}});
    let turns = json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Wait", "tool_calls": [call("c1", "{\"x\": 1.50}"), call("c2", "")]},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "two"}]},
        {"role": "user", "content": "Go on"},
        {"role": "assistant", "content": null, "tool_calls": [call("c3", "{}")]},
        {"role": "tool", "tool_call_id": "c3", "content": ""},
    ]);
    let wanted = json!({"messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [
            {"type": "text", "text": "Wait"},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"x": 0}},
            {"type": "tool_use", "id": "c2", "name": "f", "input": {}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "c1", "content": "one"},
            {"type": "tool_result", "tool_use_id": "c2", "content": "two"},
            {"type": "text", "text": "Go on"},
        ]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c3", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c3"}]},
    ]});
    // A number keeps its digits.
    let wanted: Value = serde_json::from_str(&wanted.to_string().replace("\"x\":0", "\"x\":1.50")).unwrap();
    carried(FROM, &said(turns), &wanted);
    for arguments in ["[1]", "{", "null", "1"] {
        let turns = json!([
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": null, "tool_calls": [call("c", arguments)]},
        ]);
        wrong(FROM, &said(turns), "messages[1].tool_calls[0]");
    }
}

#[test]
fn ids_that_the_other_end_refuses_get_others_that_differ() {
    let ids = ["call:1 é", "call_1__", "call-1", "", "x".repeat(65).leak(), "toolu_wp_1"];
    let mut seen = std::collections::HashSet::new();
    for id in ids {
        let turns = json!([
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": id, "content": "r"},
        ]);
        let body = translate(FROM, &said(turns), &Settings::default()).unwrap().body;
        let body: Value = serde_json::from_slice(&body).unwrap();
        let call = body["messages"][1]["content"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(body["messages"][2]["content"][0]["tool_use_id"], call, "the result belongs to its call");
        assert!(
            call.len() <= 64 && call.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)),
            "{call}"
        );
        assert!(seen.insert(call), "{id:?}");
    }
}

#[test]
fn refusals_and_other_members_of_messages() {
    let turns = json!([
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": null, "refusal": "No."},
        {"role": "user", "content": "Please"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No!"}], "reasoning_content": "hm", "annotations": []},
    ]);
    let wanted = json!({"messages": [
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "No."},
        {"role": "user", "content": "Please"}, {"role": "assistant", "content": "No!"},
    ]});
    left_out(FROM, &said(turns), &["messages[3].reasoning_content", "messages[3].annotations"], &wanted);
    for members in [json!({"audio": {"id": "a"}}), json!({"function_call": {"name": "f", "arguments": ""}})] {
        let name = members.as_object().unwrap().keys().next().unwrap().clone();
        let turn = crate::with(json!({"role": "assistant", "content": "a"}), members);
        refused(
            FROM,
            &said(json!([{"role": "user", "content": "Hi"}, turn])),
            &format!("messages[1].{name}"),
        );
    }
}

#[test]
fn all_refusals_are_told_at_once() {
    let fault = translate(FROM, &chat(json!({"seed": 1, "n": 3})), &Settings::default()).unwrap_err();
    assert_eq!(fault.at, "seed");
    assert!(fault.message.contains("`n`") && fault.message.contains("unsupported: drop"), "{fault}");
}
