//! What goes to the other format and comes back is the same: text, images, calls and their results, tools, choices, schemas,
//! where the model stops. The conversations are written as each format's own clients write them: no blank text, no text beside a
//! tool's result in the same message, arguments as JSON without spaces.

use proptest::prelude::*;
use serde_json::{Value, json};
use waypost_core::translate::{Format, Settings, request};

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 \\\\\"\\n\u{e9}\u{4e16}\u{1f600}]{0,20}x"
}

fn arguments() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(
        "[a-c]",
        prop_oneof![text().prop_map(Value::from), any::<i64>().prop_map(Value::from)],
        0..3,
    )
    .prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn url() -> impl Strategy<Value = String> {
    prop_oneof![Just("https://h/a.png".to_owned()), "data:image/png;base64,[A-Za-z0-9+/]{4,8}"]
}

/// What a user says: a string, or parts.
fn said() -> impl Strategy<Value = Value> {
    let part = prop_oneof![
        text().prop_map(|text| json!({"type": "text", "text": text})),
        url().prop_map(|url| json!({"type": "image_url", "image_url": {"url": url}})),
    ];
    prop_oneof![text().prop_map(Value::from), prop::collection::vec(part, 2..4).prop_map(Value::from),]
}

/// A user's message, and what the assistant does: text, or calls with their results.
fn exchange() -> impl Strategy<Value = Vec<Value>> {
    let calls = prop::collection::vec((arguments(), text()), 0..3);
    (said(), prop::option::of(text()), calls).prop_map(|(asked, answer, calls)| {
        let mut turns = vec![json!({"role": "user", "content": asked})];
        if answer.is_none() && calls.is_empty() {
            return turns;
        }
        let mut message = json!({"role": "assistant", "content": answer});
        if !calls.is_empty() {
            let written = calls.iter().enumerate().map(|(at, (arguments, _))| {
                json!({"id": format!("c{at}"), "type": "function", "function": {"name": "f", "arguments": arguments.to_string()}})
            });
            message["tool_calls"] = written.collect();
        }
        turns.push(message);
        let results = calls.iter().enumerate();
        turns.extend(results.map(|(at, (_, result))| json!({"role": "tool", "tool_call_id": format!("c{at}"), "content": result})));
        if !calls.is_empty() {
            turns.push(json!({"role": "assistant", "content": "done"}));
        }
        turns
    })
}

fn chat() -> impl Strategy<Value = Value> {
    let system = prop::option::of(text());
    let turns = prop::collection::vec(exchange(), 1..4).prop_map(|all| all.concat());
    let choice = prop_oneof![
        Just(None),
        Just(Some(json!("auto"))),
        Just(Some(json!("none"))),
        Just(Some(json!("required"))),
        Just(Some(json!({"type": "function", "function": {"name": "f"}}))),
    ];
    (system, turns, choice, any::<bool>(), prop::collection::vec(text(), 0..4), any::<u16>()).prop_map(
        |(system, turns, choice, strict, stop, tokens)| {
            let mut messages: Vec<Value> =
                system.map(|text| json!({"role": "system", "content": text})).into_iter().collect();
            messages.extend(turns);
            let function =
                json!({"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": strict});
            let mut out = json!({"model": "m", "messages": messages, "max_completion_tokens": tokens});
            if !stop.is_empty() {
                out["stop"] = stop.into();
            }
            out["tools"] = json!([{"type": "function", "function": function}]);
            if let Some(choice) = choice {
                out["tool_choice"] = choice;
            }
            out
        },
    )
}

fn other(format: Format) -> Format {
    if format == Format::Chat { Format::Messages } else { Format::Chat }
}

fn translate(from: Format, document: &Value) -> Value {
    let found = request(from, other(from), document.to_string().as_bytes(), &Settings::default());
    let found = found.unwrap_or_else(|fault| panic!("{document}: {fault}"));
    assert_eq!(found.dropped, Vec::<String>::new(), "{document}");
    serde_json::from_slice(&found.body).unwrap()
}

proptest! {
    #[test]
    fn a_chat_comes_back(chat in chat()) {
        let there = translate(Format::Chat, &chat);
        prop_assert_eq!(translate(Format::Messages, &there), chat, "{}", there);
    }

    #[test]
    fn messages_come_back(chat in chat()) {
        let messages = translate(Format::Chat, &chat);
        let back = translate(Format::Chat, &translate(Format::Messages, &messages));
        prop_assert_eq!(back, messages);
    }

    /// Whatever the document is, there is an answer, and never a panic.
    #[test]
    fn anything_has_an_answer(document in anything(), from in prop::sample::select(&Format::ALL[..])) {
        let _ = request(from, other(from), document.to_string().as_bytes(), &Settings::default());
        let _ = waypost_core::translate::reply(from, other(from), document.to_string().as_bytes(), 0);
    }
}

/// JSON of the words that the formats know.
fn anything() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "role",
        "user",
        "assistant",
        "tool",
        "system",
        "type",
        "text",
        "content",
        "tool_calls",
        "id",
        "function",
        "name",
        "arguments",
        "messages",
        "model",
        "tools",
        "tool_choice",
        "image_url",
        "url",
        "file",
        "source",
        "base64",
        "tool_use",
        "tool_result",
        "input",
        "thinking",
        "choices",
        "message",
        "usage",
        "stop_reason",
        "finish_reason",
        "{}",
        "allowed_tools",
    ]);
    let leaf = prop_oneof![
        word.clone().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    let inner = leaf.prop_recursive(6, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(word.clone(), inner, 0..6).prop_map(|map| Value::Object(
                map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    });
    (inner.clone(), inner.clone(), inner).prop_map(|(first, second, third)| {
        json!({"model": "m", "messages": [{"role": "user", "content": first}, second], "tools": [third], "type": "message",
               "content": [second], "choices": [{"message": first}]})
    })
}
