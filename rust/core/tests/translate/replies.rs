//! Whole replies, both ways.

use serde_json::{Value, json};
use waypost_core::translate::{Fault, Format, reply};

use crate::with;

const NOW: u64 = 1_700_000_000;

fn translated(from: Format, document: &Value) -> Result<(Value, Vec<String>), Fault> {
    let to = if from == Format::Chat { Format::Messages } else { Format::Chat };
    let found = reply(from, to, document.to_string().as_bytes(), NOW)?;
    Ok((serde_json::from_slice(&found.body).unwrap(), found.dropped))
}

fn message(members: Value) -> Value {
    let base = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn", "stop_sequence": null, "usage": {"input_tokens": 3, "output_tokens": 5},
    });
    with(base, members)
}

fn completion(message: Value, finish: Value) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "llama",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    })
}

#[test]
fn a_message_for_a_client_of_chat() {
    let (body, dropped) = translated(Format::Messages, &message(json!({}))).unwrap();
    let wanted = json!({
        "id": "msg_1", "object": "chat.completion", "created": NOW, "model": "claude",
        "choices": [{
            "index": 0, "message": {"role": "assistant", "content": "Hi", "refusal": null}, "logprobs": null,
            "finish_reason": "stop",
        }],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    });
    assert_eq!((body, dropped), (wanted, vec![]));
    let blocks = json!([
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "one "},
        {"type": "text", "text": "two"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
    ]);
    let (body, _) =
        translated(Format::Messages, &message(json!({"content": blocks, "stop_reason": "tool_use"})))
            .unwrap();
    let call = json!({"id": "t", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}});
    let wanted = json!({
        "role": "assistant", "content": "one two", "refusal": null, "reasoning_content": "hm", "tool_calls": [call],
    });
    assert_eq!(
        (&body["choices"][0]["message"], &body["choices"][0]["finish_reason"]),
        (&wanted, &json!("tool_calls"))
    );
    let found = json!({"content": [{"type": "web_search_tool_result", "tool_use_id": "s", "content": []}]});
    assert_eq!(translated(Format::Messages, &message(found)).unwrap().1, ["content[0]"]);
}

#[test]
fn a_completion_for_a_client_of_messages() {
    let document = completion(json!({"role": "assistant", "content": "Hi"}), json!("stop"));
    let (body, dropped) = translated(Format::Chat, &document).unwrap();
    let usage = json!({
        "input_tokens": 3, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 5,
    });
    let wanted = json!({
        "id": "chatcmpl-1", "type": "message", "role": "assistant", "model": "llama",
        "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn", "stop_sequence": null, "usage": usage,
    });
    assert_eq!((body, dropped), (wanted, vec![]));
    let call = |arguments: &str| json!({"id": "t", "type": "function", "function": {"name": "f", "arguments": arguments}});
    let answer = json!({
        "role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [call("{\"x\": 1}"), call("")],
    });
    let (body, _) = translated(Format::Chat, &completion(answer, json!("stop"))).unwrap();
    let wanted = json!([
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "t", "name": "f", "input": {}},
    ]);
    assert_eq!((&body["content"], &body["stop_reason"]), (&wanted, &json!("tool_use")), "servers say `stop`");
    let broken = completion(json!({"content": null, "tool_calls": [call("{")]}), json!("tool_calls"));
    let lost = "choices[0].message.tool_calls[0].function.arguments";
    assert_eq!(translated(Format::Chat, &broken).unwrap().1, [lost]);
    let mut two = completion(json!({"content": "Hi"}), json!("stop"));
    two["choices"].as_array_mut().unwrap().push(json!({"index": 1, "message": {"content": "Ho"}}));
    assert_eq!(translated(Format::Chat, &two).unwrap().1, ["choices[1]"]);
}

#[test]
fn why_the_model_stopped() {
    for (reason, wanted) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("model_context_window_exceeded", "length"),
        // Neither is whole, so neither may look so.
        ("pause_turn", "length"),
    ] {
        let (body, dropped) = translated(Format::Messages, &message(json!({"stop_reason": reason}))).unwrap();
        assert_eq!((&body["choices"][0]["finish_reason"], dropped), (&json!(wanted), vec![]), "{reason}");
    }
    let (body, dropped) =
        translated(Format::Messages, &message(json!({"stop_reason": "brand_new"}))).unwrap();
    assert_eq!(
        (&body["choices"][0]["finish_reason"], &dropped[..]),
        (&json!("stop"), &["stop_reason".to_owned()][..])
    );
    for (reason, wanted) in [
        (json!("stop"), "end_turn"),
        (json!("length"), "max_tokens"),
        (json!("tool_calls"), "tool_use"),
        (json!("function_call"), "tool_use"),
        (json!("content_filter"), "refusal"),
        (json!(null), "end_turn"),
    ] {
        let (body, _) =
            translated(Format::Chat, &completion(json!({"content": "Hi"}), reason.clone())).unwrap();
        assert_eq!(body["stop_reason"], wanted, "{reason}");
    }
}

#[test]
fn tokens_are_counted_as_the_client_counts_them() {
    let usage = json!({
        "input_tokens": 10, "cache_read_input_tokens": 200, "cache_creation_input_tokens": 30, "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 4},
    });
    let (body, _) = translated(Format::Messages, &message(json!({"usage": usage}))).unwrap();
    let wanted = json!({
        "prompt_tokens": 240, "completion_tokens": 7, "total_tokens": 247,
        "prompt_tokens_details": {"cached_tokens": 200, "cache_write_tokens": 30},
        "completion_tokens_details": {"reasoning_tokens": 4},
    });
    assert_eq!(body["usage"], wanted);
    let back = with(completion(json!({"content": "Hi"}), json!("stop")), json!({"usage": wanted}));
    assert_eq!(translated(Format::Chat, &back).unwrap().0["usage"], usage, "the three parts survive");
}

#[test]
fn what_is_no_reply() {
    for document in [json!({"type": "error", "error": {}}), json!([]), json!({"type": "message"})] {
        translated(Format::Messages, &document).unwrap_err();
    }
    for document in
        [json!({"choices": []}), json!({"error": "no"}), json!({"choices": [{"index": 0}]}), json!("a")]
    {
        translated(Format::Chat, &document).unwrap_err();
    }
    let fault = reply(Format::Chat, Format::Messages, b"<html>", NOW).unwrap_err();
    assert!(fault.to_string().starts_with("the body cannot be read"), "{fault}");
}
