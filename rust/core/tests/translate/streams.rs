//! Streams, both ways: what servers write, however it is split, becomes what the other format's clients read.

use proptest::prelude::*;
use serde_json::{Value, json};
use waypost_core::translate::{Format, Stream, StreamError, StreamFault, StreamOptions};

/// What a client gets of a stream that is whole and comes in these pieces.
fn whole(from: Format, pieces: &[&[u8]]) -> String {
    let mut stream = begin(from);
    let mut out = Vec::new();
    for piece in pieces {
        stream.feed(piece, &mut out).unwrap();
    }
    stream.finish(&mut out).unwrap();
    assert!(stream.done() && stream.committed());
    String::from_utf8(out).unwrap()
}

fn begin(from: Format) -> Stream {
    let to = if from == Format::Chat { Format::Messages } else { Format::Chat };
    Stream::new(from, to, StreamOptions { now: 7, usage: true, prompt: 11, ..StreamOptions::default() })
}

/// The documents of a stream's events, each with its name; comments are left out.
fn documents(text: &str) -> Vec<(String, Value)> {
    let event = |event: &str| {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let data = field("data: ")?;
        Some((field("event: ").unwrap_or_default(), serde_json::from_str(&data).unwrap_or(Value::from(data))))
    };
    text.split("\n\n").filter_map(event).collect()
}

fn sse(documents: &[Value]) -> Vec<u8> {
    documents.iter().flat_map(|document| format!("data: {document}\n\n").into_bytes()).collect()
}

fn typed(documents: &[Value]) -> Vec<u8> {
    let event =
        |document: &Value| format!("event: {}\ndata: {document}\n\n", document["type"].as_str().unwrap());
    documents.iter().flat_map(|document| event(document).into_bytes()).collect()
}

fn chunk(delta: Value, finish: Value) -> Value {
    json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

fn call(index: u64, id: &str, name: &str, arguments: &str) -> Value {
    let function = json!({"name": name, "arguments": arguments});
    chunk(
        json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}),
        json!(null),
    )
}

fn arguments(index: u64, text: &str) -> Value {
    chunk(json!({"tool_calls": [{"index": index, "function": {"arguments": text}}]}), json!(null))
}

const DONE: &[u8] = b"data: [DONE]\n\n";

fn chat_stream() -> Vec<u8> {
    let mut stream = sse(&[
        chunk(json!({"role": "assistant", "content": ""}), json!(null)),
        chunk(json!({"reasoning_content": "hm"}), json!(null)),
        chunk(json!({"content": "He"}), json!(null)),
        chunk(json!({"content": "y \u{1f600}"}), json!(null)),
        call(0, "t0", "f", ""),
        arguments(0, "{\"x\":"),
        arguments(0, "1}"),
        call(1, "t1", "g", "{}"),
        chunk(json!({}), json!("tool_calls")),
        json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}}),
    ]);
    stream.extend_from_slice(b": alive\n\n");
    stream.extend_from_slice(DONE);
    stream
}

fn block(index: u64, content: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": content})
}

fn delta(index: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn over(index: u64) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn messages_stream() -> Vec<u8> {
    typed(&[
        json!({"type": "message_start", "message": {
            "id": "msg", "type": "message", "role": "assistant", "model": "claude", "content": [],
            "usage": {"input_tokens": 2, "cache_read_input_tokens": 100, "output_tokens": 1},
        }}),
        block(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
        delta(0, json!({"type": "signature_delta", "signature": "s"})),
        over(0),
        json!({"type": "ping"}),
        block(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "Hey \u{1f600}"})),
        over(1),
        block(2, json!({"type": "tool_use", "id": "t0", "name": "f", "input": {}})),
        delta(2, json!({"type": "input_json_delta", "partial_json": ""})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "{\"x\":"})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "1}"})),
        over(2),
        block(3, json!({"type": "tool_use", "id": "t1", "name": "g", "input": {}})),
        over(3),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 5}}),
        json!({"type": "message_stop"}),
    ])
}

#[test]
fn a_chat_for_a_client_of_messages() {
    let found = whole(Format::Chat, &[&chat_stream()]);
    let usage = |input: u64, read: u64, output: u64| {
        json!({
            "input_tokens": input, "cache_creation_input_tokens": 0, "cache_read_input_tokens": read, "output_tokens": output,
        })
    };
    let wanted = [
        json!({"type": "message_start", "message": {
            "id": "c", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": null,
            "stop_sequence": null, "usage": usage(0, 0, 0),
        }}),
        block(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
        over(0),
        block(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "He"})),
        delta(1, json!({"type": "text_delta", "text": "y \u{1f600}"})),
        over(1),
        block(2, json!({"type": "tool_use", "id": "t0", "name": "f", "input": {}})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "{\"x\":"})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "1}"})),
        over(2),
        block(3, json!({"type": "tool_use", "id": "t1", "name": "g", "input": {}})),
        delta(3, json!({"type": "input_json_delta", "partial_json": "{}"})),
        over(3),
        json!({"type": "ping"}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": usage(5, 4, 5)}),
        json!({"type": "message_stop"}),
    ];
    let documents = documents(&found);
    assert!(
        documents.iter().all(|(name, document)| document["type"] == *name),
        "clients skip what has no name"
    );
    assert_eq!(documents.into_iter().map(|(_, document)| document).collect::<Vec<_>>(), wanted);
}

#[test]
fn messages_for_a_client_of_chat() {
    let found = whole(Format::Messages, &[&messages_stream()]);
    let chunk = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
        json!({"id": "msg", "object": "chat.completion.chunk", "created": 7, "model": "claude", "choices": [choice]})
    };
    let tool = |call: Value| chunk(json!({"tool_calls": [call]}), json!(null));
    let first = |index: u64, id: &str, name: &str| {
        tool(
            json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}),
        )
    };
    let more = |index: u64, text: &str| tool(json!({"index": index, "function": {"arguments": text}}));
    let mut last = chunk(json!({}), json!(null));
    last["choices"] = json!([]);
    last["usage"] = json!({
        "prompt_tokens": 102, "completion_tokens": 5, "total_tokens": 107, "prompt_tokens_details": {"cached_tokens": 100},
    });
    let wanted = [
        chunk(json!({"role": "assistant", "content": ""}), json!(null)),
        chunk(json!({"reasoning_content": "hm"}), json!(null)),
        chunk(json!({"content": "Hey \u{1f600}"}), json!(null)),
        first(0, "t0", "f"),
        more(0, "{\"x\":"),
        more(0, "1}"),
        first(1, "t1", "g"),
        more(1, "{}"),
        chunk(json!({}), json!("tool_calls")),
        last,
        json!("[DONE]"),
    ];
    let found_documents: Vec<Value> = documents(&found).into_iter().map(|(_, document)| document).collect();
    assert_eq!(found_documents, wanted);
    assert!(found.contains("\n\n: ping\n\n"), "a ping with data would be a chunk to clients");
    let mut quiet = Stream::new(Format::Messages, Format::Chat, StreamOptions::default());
    let mut out = Vec::new();
    quiet.feed(&messages_stream(), &mut out).unwrap();
    assert!(!String::from_utf8(out).unwrap().contains("usage"), "nobody asked");
}

#[test]
fn any_split_gives_the_same_events() {
    for (from, stream) in [(Format::Chat, chat_stream()), (Format::Messages, messages_stream())] {
        let wanted = whole(from, &[&stream]);
        for at in 0..=stream.len() {
            assert_eq!(whole(from, &[&stream[..at], &stream[at..]]), wanted, "split at {at}");
        }
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(whole(from, &single), wanted);
        let crlf = String::from_utf8(stream).unwrap().replace('\n', "\r\n");
        assert_eq!(whole(from, &[crlf.as_bytes()]), wanted);
    }
}

/// What a client of messages puts together: the text, and each call with its arguments.
fn put_together(text: &str) -> (String, Vec<(String, String, String)>) {
    let (mut said, mut calls) = (String::new(), Vec::new());
    let mut open: Option<u64> = None;
    for (_, document) in documents(text) {
        match document["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!(open, None, "blocks follow one another");
                open = document["index"].as_u64();
                let content = &document["content_block"];
                if content["type"] == "tool_use" {
                    let text = |name: &str| content[name].as_str().unwrap().to_owned();
                    calls.push((text("id"), text("name"), String::new()));
                }
            }
            "content_block_delta" => {
                assert_eq!(document["index"].as_u64(), open);
                said.push_str(document["delta"]["text"].as_str().unwrap_or_default());
                if let Some(json) = document["delta"]["partial_json"].as_str() {
                    calls.last_mut().unwrap().2.push_str(json);
                }
            }
            "content_block_stop" => assert_eq!(document["index"].as_u64(), open.take()),
            _ => {}
        }
    }
    assert_eq!(open, None);
    (said, calls)
}

fn called(id: &str, name: &str, arguments: &str) -> (String, String, String) {
    (id.to_owned(), name.to_owned(), arguments.to_owned())
}

#[test]
fn interleaved_calls_become_blocks_with_their_own_arguments() {
    let stream = sse(&[
        call(0, "t0", "f", ""),
        call(1, "t1", "g", ""),
        arguments(0, "{\"a\":"),
        arguments(1, "{\"b\":\"}"),
        arguments(0, "1}"),
        arguments(1, "\\\"\"}"),
        chunk(json!({}), json!("stop")),
    ]);
    let (_, calls) = put_together(&whole(Format::Chat, &[&stream]));
    assert_eq!(calls, [called("t0", "f", "{\"a\":1}"), called("t1", "g", "{\"b\":\"}\\\"\"}")]);
}

#[test]
fn calls_one_after_the_other_are_told_as_they_come() {
    let mut stream = begin(Format::Chat);
    let mut out = Vec::new();
    stream
        .feed(
            &sse(&[call(0, "t0", "f", "{\"a\":1}"), call(1, "t1", "g", ""), arguments(1, "{\"b")]),
            &mut out,
        )
        .unwrap();
    assert!(String::from_utf8(out).unwrap().ends_with("\"partial_json\":\"{\\\"b\"}}\n\n"));
}

#[test]
fn streams_as_servers_write_them() {
    let hey = |finish: Value| chunk(json!({"content": "Hey"}), finish);
    let end = chunk(json!({}), json!("stop"));
    for (why, documents) in [
        ("without [DONE]", vec![hey(json!(null)), end.clone()]),
        (
            "usage in the last chunk",
            vec![hey(json!("stop")), json!({"choices": [], "usage": {"prompt_tokens": 1}})],
        ),
        (
            "no role, no id, no model",
            vec![json!({"choices": [{"delta": {"content": "Hey"}, "finish_reason": "stop"}]})],
        ),
        ("null members", vec![json!({"choices": null, "usage": null, "error": null}), hey(json!("stop"))]),
        (
            "a delta that is null",
            vec![hey(json!(null)), json!({"choices": [{"delta": null, "finish_reason": "stop"}]})],
        ),
        (
            "a second choice",
            vec![json!({"choices": [{"index": 1, "delta": {"content": "no"}}]}), hey(json!("stop"))],
        ),
    ] {
        let (said, _) = put_together(&whole(Format::Chat, &[&sse(&documents)]));
        assert_eq!(said, "Hey", "{why}");
    }
    let tool = |call: Value| chunk(json!({"tool_calls": [call]}), json!(null));
    let function = |name: Value, arguments: &str| json!({"name": name, "arguments": arguments});
    for (why, documents) in [
        ("from index 1", vec![call(1, "t", "f", "{}")]),
        ("an id and a name with each piece", vec![call(0, "t", "f", "{"), call(0, "t", "f", "}")]),
        (
            "without an index",
            vec![
                tool(json!({"id": "t", "function": function(json!("f"), "{")})),
                tool(json!({"function": function(json!(null), "}")})),
            ],
        ),
        (
            "a name that comes late",
            vec![tool(json!({"index": 0, "id": "t", "function": {"arguments": "{"}})), call(0, "", "f", "}")],
        ),
        (
            "arguments as an object",
            vec![tool(json!({"index": 0, "id": "t", "function": {"name": "f", "arguments": {}}}))],
        ),
    ] {
        let documents = [documents, vec![end.clone()]].concat();
        let found = whole(Format::Chat, &[&sse(&documents)]);
        assert_eq!(put_together(&found).1, [called("t", "f", "{}")], "{why}");
        assert!(found.contains("\"stop_reason\":\"tool_use\""), "{why}");
    }
    let full = typed(&[
        json!({"type": "message_start", "message": {"id": "i", "model": "m"}}),
        block(0, json!({"type": "something_new", "x": 1})),
        delta(0, json!({"type": "new_delta"})),
        over(0),
        block(1, json!({"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}})),
        over(1),
        json!({"type": "brand_new_event"}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}}),
        json!({"type": "message_stop"}),
    ]);
    assert!(whole(Format::Messages, &[&full]).contains("{\"arguments\":\"{\\\"a\\\":1}\"}"));
}

#[test]
fn usage_is_the_last_that_was_told_and_an_estimate_where_none_was() {
    let start = json!({"type": "message_start", "message": {
        "id": "i", "model": "m", "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1},
    }});
    let told =
        |usage: Value| json!({"type": "message_delta", "delta": {"stop_reason": null}, "usage": usage});
    let stop =
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 8}});
    let usages = [
        told(json!({"output_tokens": 3})),
        told(json!({"input_tokens": 0, "cache_read_input_tokens": null})),
    ];
    let [first, second] = usages;
    let stream = typed(&[start, first, second, stop, json!({"type": "message_stop"})]);
    let found = whole(Format::Messages, &[&stream]);
    assert!(
        found.contains("\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":8,\"total_tokens\":13"),
        "{found}"
    );
    let silent = sse(&[chunk(json!({"content": "12345"}), json!("stop"))]);
    let found = whole(Format::Chat, &[&silent]);
    assert!(
        found.contains("\"usage\":{\"input_tokens\":11,") && found.contains("\"output_tokens\":2}"),
        "{found}"
    );
}

#[test]
fn a_stream_that_stops_short_is_a_fault() {
    let short = |from: Format, stream: &[u8]| {
        let mut translated = begin(from);
        let mut out = Vec::new();
        translated.feed(stream, &mut out).and_then(|()| translated.finish(&mut out)).unwrap_err()
    };
    for stream in [&b""[..], b": comment\n\n", &sse(&[chunk(json!({"content": "Hey"}), json!(null))]), DONE] {
        assert!(matches!(short(Format::Chat, stream), StreamFault::Short(_)));
    }
    let whole = messages_stream();
    let cut = whole.len() - "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n".len();
    for stream in [&b""[..], &whole[..cut]] {
        assert!(matches!(short(Format::Messages, stream), StreamFault::Short(_)));
    }
    for stream in [&b"data: {\n\n"[..], b"data: []\n\n", b"data: {\"choices\": 1}\n\n"] {
        assert!(matches!(short(Format::Chat, stream), StreamFault::Malformed(_)));
    }
    let reported = |kind: Option<&str>, code: Option<&str>, message: &str| StreamFault::Reported {
        kind: kind.map(str::to_owned),
        code: code.map(str::to_owned),
        message: message.to_owned(),
    };
    for (stream, fault) in [
        (
            &b"data: {\"error\": {\"message\": \"no\", \"code\": 500}}\n\n"[..],
            reported(None, Some("500"), "no"),
        ),
        (b"data: {\"error\": \"no\"}\n\n", reported(None, None, "no")),
        (b"event: error\ndata: {\"type\": \"x\", \"message\": \"no\"}\n\n", reported(Some("x"), None, "no")),
        (b"event: error\ndata: out of memory\n\n", reported(None, None, "out of memory")),
    ] {
        assert_eq!(short(Format::Chat, stream), fault);
    }
    let overloaded = b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n";
    assert_eq!(short(Format::Messages, overloaded), reported(Some("overloaded_error"), None, "busy"));
}

#[test]
fn nothing_that_opens_a_stream_commits_it() {
    for (from, opening, content) in [
        (
            Format::Chat,
            sse(&[
                chunk(json!({"role": "assistant", "content": ""}), json!(null)),
                json!({"choices": [], "usage": {}}),
            ]),
            sse(&[chunk(json!({"content": "H"}), json!(null))]),
        ),
        (
            Format::Messages,
            typed(&[
                json!({"type": "message_start", "message": {"id": "i", "model": "m"}}),
                json!({"type": "ping"}),
                block(0, json!({"type": "text", "text": ""})),
            ]),
            typed(&[delta(0, json!({"type": "text_delta", "text": "H"}))]),
        ),
    ] {
        let mut stream = begin(from);
        let mut out = Vec::new();
        stream.feed(&opening, &mut out).unwrap();
        assert!(!stream.committed() && !out.is_empty());
        stream.feed(&content, &mut out).unwrap();
        assert!(stream.committed());
    }
}

#[test]
fn an_error_is_told_as_each_client_reads_it() {
    let error = StreamError { code: "upstream_reset", kind: "api_error", message: "gone", request_id: "r1" };
    let mut out = Vec::new();
    begin(Format::Messages).fail(error, &mut out);
    let wanted =
        json!({"error": {"message": "gone", "type": "api_error", "param": null, "code": "upstream_reset"}});
    assert_eq!(documents(&String::from_utf8(out).unwrap()), [(String::new(), wanted)]);
    let mut out = Vec::new();
    begin(Format::Chat).fail(error, &mut out);
    let wanted =
        json!({"type": "error", "error": {"type": "api_error", "message": "gone"}, "request_id": "r1"});
    assert_eq!(documents(&String::from_utf8(out).unwrap()), [("error".to_owned(), wanted)]);
}

#[test]
fn what_waits_is_bounded() {
    let options = StreamOptions { limit: 1000, ..StreamOptions::default() };
    let mut stream = Stream::new(Format::Chat, Format::Messages, options);
    let mut out = Vec::new();
    stream.feed(&sse(&[call(0, "t0", "f", "{"), call(1, "t1", "g", "{")]), &mut out).unwrap();
    let more = sse(&[arguments(1, &"x".repeat(300))]);
    let fed = (0..5).find_map(|_| stream.feed(&more, &mut out).err());
    assert!(matches!(fed, Some(StreamFault::Malformed(_))));
}

proptest! {
    /// Calls whose pieces come in any order become blocks that hold what was written.
    #[test]
    fn interleaved_calls_are_never_mixed(order in prop::collection::vec((0_u64..3, "[a-z{}\"\\\\]{0,4}"), 0..40)) {
        let mut documents: Vec<Value> = (0..3).map(|at| call(at, &format!("t{at}"), "f", "")).collect();
        documents.extend(order.iter().map(|(at, text)| arguments(*at, text)));
        documents.push(chunk(json!({}), json!("tool_calls")));
        let (_, calls) = put_together(&whole(Format::Chat, &[&sse(&documents)]));
        let text = |call: u64| order.iter().filter(|(at, _)| *at == call).map(|(_, text)| text.as_str()).collect::<String>();
        let wanted: Vec<_> = (0..3).map(|at| called(&format!("t{at}"), "f", &text(at))).collect();
        prop_assert_eq!(calls, wanted);
    }

    /// Whatever comes, there is an answer, and never a panic.
    #[test]
    fn any_bytes_have_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200), from in prop::sample::select(&Format::ALL[..])) {
        let mut stream = begin(from);
        let mut out = Vec::new();
        let _ = stream.feed(&bytes, &mut out).and_then(|()| stream.finish(&mut out));
    }
}
