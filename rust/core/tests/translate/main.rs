//! Translations between the formats in which models are called.

#![allow(clippy::indexing_slicing, clippy::needless_pass_by_value, clippy::panic, clippy::unwrap_used)] // Tests.

mod chat_to_messages;
mod messages_to_chat;
mod replies;
mod streams;
mod table;
mod there_and_back;

use serde_json::{Map, Value, json};
use waypost_core::translate::{Fault, Format, Policy, Settings, Translated, request};

/// A chat completion request with these members more.
fn chat(members: Value) -> Value {
    with(json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}), members)
}

/// A messages request with these members more.
fn messages(members: Value) -> Value {
    with(json!({"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}), members)
}

/// These messages, as a request of either format.
fn said(messages: Value) -> Value {
    json!({"model": "m", "max_tokens": 10, "messages": messages})
}

fn with(base: Value, members: Value) -> Value {
    let (Value::Object(mut base), Value::Object(members)) = (base, members) else { panic!("objects") };
    base.extend(members);
    base.into()
}

fn translate(from: Format, document: &Value, settings: &Settings) -> Result<Translated, Fault> {
    let to = if from == Format::Chat { Format::Messages } else { Format::Chat };
    request(from, to, document.to_string().as_bytes(), settings)
}

/// What a request becomes, without the members that every request has.
#[track_caller]
fn becomes(from: Format, document: &Value) -> (Map<String, Value>, Vec<String>) {
    let found = translate(from, document, &Settings::default()).unwrap();
    let Ok(Value::Object(mut body)) = serde_json::from_slice(&found.body) else { panic!("an object") };
    for usual in ["model", "max_tokens", "max_completion_tokens"] {
        body.remove(usual);
    }
    if body["messages"] == json!([{"role": "user", "content": "Hi"}]) {
        body.remove("messages");
    }
    (body, found.dropped)
}

/// Nothing is lost, and it becomes this.
#[track_caller]
fn carried(from: Format, document: &Value, wanted: &Value) {
    let (body, dropped) = becomes(from, document);
    assert_eq!((Value::Object(body), dropped), (wanted.clone(), vec![]), "{document}");
}

/// What is at these paths is left out and named; the rest becomes this.
#[track_caller]
fn left_out(from: Format, document: &Value, paths: &[&str], wanted: &Value) {
    let (body, dropped) = becomes(from, document);
    assert_eq!(Value::Object(body), *wanted, "{document}");
    assert_eq!(dropped, paths, "{document}");
}

/// The message is refused, which names the path; a cluster that drops such fields gets the rest, and the path is named.
#[track_caller]
fn refused(from: Format, document: &Value, path: &str) {
    let fault = translate(from, document, &Settings::default()).unwrap_err();
    assert_eq!(fault.at, path, "{document}: {fault}");
    let dropping = Settings { unsupported: Policy::Drop, ..Settings::default() };
    let found = translate(from, document, &dropping).unwrap();
    assert!(found.dropped.iter().any(|dropped| dropped == path), "{document}: {:?}", found.dropped);
}

/// The message is wrong at this path, whatever the policy is.
#[track_caller]
fn wrong(from: Format, document: &Value, path: &str) {
    let dropping = Settings { unsupported: Policy::Drop, ..Settings::default() };
    for settings in [Settings::default(), dropping] {
        let fault = translate(from, document, &settings).unwrap_err();
        assert_eq!(fault.at, path, "{document}: {fault}");
    }
}
