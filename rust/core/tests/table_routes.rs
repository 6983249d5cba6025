//! Route tables: what patterns see of a message of each dialect, what is no message of it, who the caller is, and
//! that the three questions to a table have one answer.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use waypost_core::dialect::{Dialect, Kind, entry};
use waypost_core::json::Options;
use waypost_core::pattern::{Step, Value};
use waypost_core::table::{Header, Identity, Message, MessageError, RouteSpec, RouteTable};

fn convert(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => Value::Number(n.to_string()),
        Json::String(s) => Value::String(s.clone()),
        Json::Array(items) => Value::List(items.iter().map(convert).collect()),
        Json::Object(map) => Value::Map(map.iter().map(|(k, v)| (k.clone(), convert(v))).collect()),
    }
}

fn spec(name: &str, pattern: &Json, precedence: i64) -> RouteSpec {
    RouteSpec {
        name: name.to_owned(),
        pattern: convert(pattern),
        to: Some("c".to_owned()),
        fallback: vec!["d".to_owned()],
        precedence,
    }
}

/// Routes named `0`, `1`, … of equal precedence.
fn table(patterns: &[Json]) -> RouteTable {
    let specs: Vec<RouteSpec> =
        patterns.iter().enumerate().map(|(index, pattern)| spec(&index.to_string(), pattern, 0)).collect();
    RouteTable::compile(&specs, Options::default()).unwrap()
}

/// A message that owns its parts.
#[derive(Clone, Debug)]
struct Sent {
    dialect: Dialect,
    method: &'static str,
    path: &'static str,
    headers: Vec<Header<'static>>,
    client: Option<&'static str>,
    identity: Option<Identity>,
    body: Option<String>,
}

impl Sent {
    fn new(dialect: Dialect, body: impl ToString) -> Self {
        Self {
            dialect,
            method: "POST",
            path: dialect.default_path(),
            headers: Vec::new(),
            client: None,
            identity: None,
            body: Some(body.to_string()),
        }
    }

    fn envelope(body: &Json) -> Self {
        Self::new(Dialect::Envelope, body)
    }

    fn openai(body: &Json) -> Self {
        Self::new(Dialect::OpenAi, body)
    }

    fn json(body: impl ToString) -> Self {
        Self::new(Dialect::Json, body)
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((Cow::Borrowed(name), Cow::Borrowed(value)));
        self
    }

    fn at(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    fn by(self, tenant: Option<&str>, agent: Option<&str>, labels: &[(&str, &str)]) -> Self {
        let identity = Identity {
            tenant: tenant.map(str::to_owned),
            agent: agent.map(str::to_owned),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        Self { identity: Some(identity), ..self }
    }

    fn message(&self) -> Message<'_> {
        Message {
            dialect: self.dialect,
            kind: entry(self.path).filter(|found| found.dialect == self.dialect).and_then(|found| found.kind),
            method: self.method,
            path: self.path,
            headers: &self.headers,
            client: self.client,
            identity: self.identity.as_ref(),
            body: self.body.as_deref().map(str::as_bytes),
        }
    }
}

/// Whether a route with this pattern takes the message, by all three questions.
#[track_caller]
fn takes(pattern: &Json, sent: &Sent) -> bool {
    let table = table(std::slice::from_ref(pattern));
    let message = sent.message();
    let decided = table.decide(&message).unwrap().decision;
    let matches = table.matches(&message).unwrap();
    let explained = table.explain(&message).unwrap();
    assert_eq!(decided.as_ref().ok().copied(), matches.first().copied());
    assert_eq!(explained.decision, matches.first().copied());
    assert_eq!(explained.verdicts[0].matched, decided.is_ok(), "{pattern}");
    decided.is_ok()
}

#[track_caller]
fn sees(sent: &Sent, yes: &[Json], no: &[Json]) {
    for pattern in yes {
        assert!(takes(pattern, sent), "{pattern} should take {sent:?}");
    }
    for pattern in no {
        assert!(!takes(pattern, sent), "{pattern} should not take {sent:?}");
    }
}

fn refusal(sent: &Sent) -> MessageError {
    let table = table(&[json!({})]);
    let error = table.decide(&sent.message()).expect_err(&format!("{sent:?}"));
    assert_eq!(table.matches(&sent.message()).unwrap_err(), error);
    assert_eq!(table.explain(&sent.message()).unwrap_err(), error);
    error
}

#[track_caller]
fn wrong(sent: &Sent, wanted_field: &str, wanted_offset: Option<usize>) -> String {
    match refusal(sent) {
        MessageError::Envelope { field, offset, message } => {
            assert_eq!((field.as_str(), offset), (wanted_field, wanted_offset), "{message} {sent:?}");
            message
        }
        other => panic!("{other:?} for {sent:?}"),
    }
}

fn absent(name: &str) -> Json {
    json!({ name: [{"exists": false}] })
}

const ATTRIBUTES: [&str; 14] = [
    "id",
    "kind",
    "agent",
    "model",
    "tenant",
    "task",
    "tool",
    "content",
    "context",
    "priority",
    "deadline_ms",
    "labels",
    "topic",
    "stream",
];

// Where fields come from.

#[test]
fn an_envelope_carries_every_attribute_in_its_body() {
    let sent = Sent::envelope(&json!({
        "id": "m-1", "kind": "model", "agent": "planner", "model": "llama", "tenant": "acme", "task": "summarize",
        "tool": "search", "content": {"text": "hello"}, "context": [{"type": "memory", "ref": "mem://1"}, {"type": "document"}],
        "priority": 7, "deadline_ms": 1500, "labels": {"region": "eu", "n": 1}, "topic": "alerts/eu", "stream": true
    }));
    sees(
        &sent,
        &[
            json!({"id": "m-1", "kind": "model", "agent": "planner", "model": "llama", "tenant": "acme", "task": "summarize"}),
            json!({"tool": "search", "content": {"text": "hello"}, "priority": 7, "deadline_ms": 1500}),
            json!({"context": {"type": ["memory"], "ref": [{"prefix": "mem://"}]}, "labels": {"region": ["eu"], "n": [1]}}),
            json!({"topic": [{"wildcard": "alerts/*"}], "stream": true, "priority": [{"numeric": [">", 6]}]}),
            json!({"dialect": "envelope", "path": "/v1/envelopes", "method": "POST"}),
            json!({"body": {"id": ["m-1"], "labels": {"n": [1]}}}),
        ],
        &[
            json!({"context": {"type": ["document"], "ref": [{"prefix": "mem://"}]}}),
            json!({"dialect": "openai"}),
            json!({"body": {"kind": ["tool"]}}),
            json!({"client": {"address": [{"exists": true}]}}),
        ],
    );
    let envelope = table(&[json!({})]).decide(&sent.message()).unwrap().envelope;
    assert_eq!(envelope.id.as_deref(), Some("m-1"));
    assert_eq!(envelope.kind, Some(Kind::Model));
    assert_eq!(envelope.model.as_deref(), Some("llama"));
    assert!(envelope.stream);
    assert_eq!((envelope.priority, envelope.deadline_ms), (Some(7), Some(1500)));
}

#[test]
fn an_openai_request_carries_attributes_in_body_and_headers() {
    let sent = Sent::openai(&json!({
        "model": "gpt", "stream": true, "user": "planner", "metadata": {"tier": "gold"},
        // These names are not the dialect's: they stay in the body.
        "agent": "forged", "tenant": "forged", "kind": "tool", "priority": 9, "id": "x", "labels": {"tier": "forged"}, "task": "forged"
    }))
    .header("x-waypost-tenant", "acme")
    .header("x-waypost-task", "summarize")
    .header("x-waypost-priority", "7")
    .header("x-waypost-deadline-ms", "250")
    .header("x-request-id", "r-1");
    sees(
        &sent,
        &[
            json!({"model": "gpt", "stream": true, "agent": "planner", "labels": {"tier": ["gold"]}, "kind": "model"}),
            json!({"tenant": "acme", "task": "summarize", "priority": 7, "deadline_ms": 250, "dialect": "openai"}),
            json!({"priority": [{"numeric": [">=", 7, "<", 8]}]}),
            json!({"body": {"user": ["planner"], "tenant": ["forged"]}}),
            json!({"tool": [{"exists": false}], "topic": [{"exists": false}], "content": [{"exists": false}], "context": [{"exists": false}]}),
        ],
        &[
            json!({"agent": "forged"}),
            json!({"tenant": "forged"}),
            json!({"kind": "tool"}),
            json!({"priority": 9}),
            json!({"labels": {"tier": ["forged"]}}),
            json!({"priority": "7"}),
        ],
    );
    let envelope = table(&[json!({})]).decide(&sent.message()).unwrap().envelope;
    assert_eq!((envelope.priority, envelope.deadline_ms), (Some(7), Some(250)));
    assert_eq!((envelope.model.as_deref(), envelope.stream, envelope.id), (Some("gpt"), true, None));
    assert_eq!(envelope.kind, Some(Kind::Model));
}

#[test]
fn other_json_carries_no_attribute() {
    let sent = Sent::json(json!({"kind": "model", "tenant": 5, "priority": "no", "context": 1, "id": null}))
        .header("x-waypost-tenant", "acme")
        .header("x-waypost-priority", "not a number");
    for name in ATTRIBUTES {
        sees(&sent, &[absent(name)], &[json!({ name: [{"exists": true}] })]);
    }
    sees(&sent, &[json!({"body": {"kind": ["model"], "tenant": [5]}, "dialect": "json", "path": "/"})], &[]);
}

#[test]
fn headers_of_the_openai_dialect_mean_nothing_in_an_envelope() {
    let sent = Sent::envelope(&json!({"id": "1", "kind": "model"}))
        .header("x-waypost-tenant", "acme")
        .header("x-waypost-priority", "99")
        .header("x-waypost-priority", "twice");
    sees(&sent, &[absent("tenant"), absent("priority")], &[json!({"tenant": "acme"})]);
}

#[test]
fn an_openai_path_without_a_kind_of_its_own_is_of_none() {
    let sent = Sent::openai(&json!({"model": "whisper"})).at("/v1/audio/speech");
    sees(
        &sent,
        &[absent("kind"), json!({"path": "/v1/audio/speech", "model": "whisper"})],
        &[json!({"kind": "model"})],
    );
    let streamed = Sent { body: None, ..sent };
    sees(
        &streamed,
        &[absent("model"), json!({"path": [{"prefix": "/v1/audio/"}]})],
        &[json!({"body": {"model": ["whisper"]}})],
    );
}

#[test]
fn defaults_are_invisible() {
    let envelope = Sent::envelope(&json!({"id": "1", "kind": "model"}));
    let openai = Sent::openai(&json!({"model": "m"}));
    for sent in [envelope, openai] {
        sees(
            &sent,
            &[absent("priority"), absent("stream")],
            &[
                json!({"priority": 5}),
                json!({"priority": [{"numeric": [">=", 0]}]}),
                json!({"stream": false}),
                json!({"priority": [{"anything-but": 9}]}),
            ],
        );
    }
}

#[test]
fn null_in_an_optional_field_is_absence() {
    let optional = [
        "agent",
        "model",
        "tenant",
        "task",
        "tool",
        "context",
        "priority",
        "deadline_ms",
        "labels",
        "topic",
        "stream",
    ];
    let mut body = json!({"id": "1", "kind": "query"});
    for name in optional {
        body[name] = Json::Null;
    }
    let sent = Sent::envelope(&body);
    for name in optional {
        sees(&sent, &[absent(name)], &[json!({ name: null }), json!({ name: [{"anything-but": "x"}] })]);
    }
    let envelope = table(&[json!({})]).decide(&sent.message()).unwrap().envelope;
    assert_eq!(
        (envelope.model, envelope.stream, envelope.priority, envelope.deadline_ms),
        (None, false, None, None)
    );

    let sent = Sent::openai(&json!({"model": null, "stream": null, "user": null, "metadata": null}));
    for name in ["model", "stream", "agent", "labels"] {
        sees(&sent, &[absent(name)], &[]);
    }
    // The document as such keeps it.
    sees(&sent, &[json!({"body": {"model": [null]}})], &[]);
}

// Validation.

/// `name` has a value that it must not have: the value's own offset and the field are in the error.
#[track_caller]
fn refused_in_envelope(name: &str, value: &str) {
    let rest = match name {
        "id" => r#""kind": "model""#,
        "kind" => r#""id": "1""#,
        _ => r#""id": "1", "kind": "model""#,
    };
    let before = format!("{{{rest},\n \"{name}\" : ");
    let sent = Sent::new(Dialect::Envelope, format!("{before}{value}, \"after\": [1]}}"));
    // Of a list of references the element that is none.
    let inside = usize::from(name == "context" && value.starts_with('['));
    let message = wrong(&sent, name, Some(before.len() + inside));
    assert!(message.starts_with(&format!("`{name}` must be ")), "{message}");
}

#[test]
fn every_field_of_an_envelope_is_checked() {
    let values = [
        ("null", "null"),
        ("boolean", "true"),
        ("number", "7"),
        ("string", r#""text""#),
        ("escaped", r#""\u0074ext""#),
        ("list", r#"["text"]"#),
        ("empty list", "[]"),
        ("object", r#"{"a": 1}"#),
    ];
    let allowed = |name: &str, sort: &str| match name {
        "id" => matches!(sort, "string" | "escaped"),
        "kind" => false,
        "agent" | "model" | "tenant" | "task" | "tool" | "topic" => {
            matches!(sort, "null" | "string" | "escaped")
        }
        "content" => true,
        "context" => matches!(sort, "null" | "empty list"),
        "priority" | "deadline_ms" => matches!(sort, "null" | "number"),
        "labels" => matches!(sort, "null" | "object"),
        "stream" => matches!(sort, "null" | "boolean"),
        _ => unreachable!(),
    };
    for name in ATTRIBUTES {
        for (sort, value) in values {
            if allowed(name, sort) {
                let kind = if name == "kind" { "" } else { r#""kind": "model","# };
                let id = if name == "id" { "" } else { r#""id": "1","# };
                let sent = Sent::new(Dialect::Envelope, format!("{{{id}{kind}\"{name}\": {value}}}"));
                assert!(takes(&json!({}), &sent), "{name}: {sort}");
            } else {
                refused_in_envelope(name, value);
            }
        }
    }
}

#[test]
fn values_out_of_bounds_are_refused() {
    for value in ["-1", "10", "7.5", "1e1", "1e999999999999", "-0.1", "99999999999999999999999", "5e-1"] {
        refused_in_envelope("priority", value);
    }
    for value in ["0", "-1", "1.5", "18446744073709551616", "1e400", "1e-400"] {
        refused_in_envelope("deadline_ms", value);
    }
    for value in [r#""""#, &format!("\"{}\"", "x".repeat(129)), &format!("\"{}\"", "é".repeat(129))] {
        refused_in_envelope("id", value);
    }
    for value in [r#""Model""#, r#""""#, r#""models""#, r#""model ""#] {
        refused_in_envelope("kind", value);
    }
    for value in [
        r#"["x"]"#,
        r#"[{"type": "memory"}, 1]"#,
        "[null]",
        "[[]]",
        r#"[[{"type": "memory"}]]"#,
        r#"{"type": "memory"}"#,
    ] {
        let before = r#"{"id": "1", "kind": "model", "context": "#;
        let sent = Sent::new(Dialect::Envelope, format!("{before}{value}}}"));
        let MessageError::Envelope { field, offset, .. } = refusal(&sent) else { panic!("{value}") };
        assert_eq!(field, "context", "{value}");
        assert!(offset.unwrap() >= before.len(), "{value}");
    }
}

#[test]
fn numbers_count_by_value() {
    for (value, priority) in [("0", 0), ("9", 9), ("7.0", 7), ("70e-1", 7), ("0.5e1", 5), ("-0", 0)] {
        let sent =
            Sent::new(Dialect::Envelope, format!(r#"{{"id": "1", "kind": "model", "priority": {value}}}"#));
        let decided = table(&[json!({"priority": priority})]).decide(&sent.message()).unwrap();
        assert!(decided.decision.is_ok(), "{value}");
        assert_eq!(decided.envelope.priority, Some(priority), "{value}");
    }
    let sent =
        Sent::new(Dialect::Envelope, r#"{"id": "1", "kind": "model", "deadline_ms": 18446744073709551615}"#);
    assert_eq!(table(&[json!({})]).decide(&sent.message()).unwrap().envelope.deadline_ms, Some(u64::MAX));
}

#[test]
fn an_id_is_measured_in_characters() {
    for id in ["x".to_owned(), "x".repeat(128), "é".repeat(128), "😀".repeat(128), "a b\n".to_owned()] {
        let sent = Sent::envelope(&json!({"id": id, "kind": "event"}));
        assert_eq!(table(&[json!({})]).decide(&sent.message()).unwrap().envelope.id.as_deref(), Some(&*id));
    }
    // 128 characters, twelve bytes each as they are written.
    let sent = Sent::new(
        Dialect::Envelope,
        format!(r#"{{"id": "{}", "kind": "event"}}"#, r"\ud83d\ude00".repeat(128)),
    );
    assert!(takes(&json!({"id": "😀".repeat(128)}), &sent));
}

#[test]
fn context_references_are_checked_each() {
    let inner = |value: &str| {
        format!(r#"{{"id": "1", "kind": "query", "context": [{{"type": "memory"}}, {{"ref": {value}}}]}}"#)
    };
    for value in ["1", "true", "{}", r#"{"a": 1}"#] {
        let body = inner(value);
        let offset = body.rfind(value);
        let message = wrong(&Sent::new(Dialect::Envelope, body), "context.ref", offset);
        assert!(message.contains("`context.ref`") && message.contains("strings"), "{message}");
    }
    for value in [r#""doc://1""#, "null"] {
        assert!(takes(&json!({"context": {"type": "memory"}}), &Sent::new(Dialect::Envelope, inner(value))));
    }
    // Other fields of a reference are nobody's business.
    let sent = Sent::envelope(
        &json!({"id": "1", "kind": "query", "context": [{"score": 0.5, "type": "memory"}, {}]}),
    );
    assert!(takes(&json!({"context": {"score": [{"numeric": ["<", 1]}]}}), &sent));
}

#[test]
fn required_fields_are_missed() {
    for (body, field) in [
        (json!({}), "id"),
        (json!({"kind": "model"}), "id"),
        (json!({"id": "1"}), "kind"),
        (json!({"body": {"id": "1", "kind": "model"}}), "id"),
    ] {
        let message = wrong(&Sent::envelope(&body), field, None);
        assert!(message.starts_with(&format!("`{field}` is missing")), "{message}");
    }
}

#[test]
fn the_first_fault_of_the_document_is_named() {
    wrong(&Sent::new(Dialect::Envelope, r#"{"priority": "high", "kind": 5}"#), "priority", Some(13));
    wrong(&Sent::new(Dialect::Envelope, r#"{"kind": 5, "priority": "high"}"#), "kind", Some(9));
}

#[test]
fn what_is_no_object_is_no_message() {
    for body in ["[]", "1", "null", r#""text""#, r#"[{"id": "1", "kind": "model"}]"#] {
        for dialect in [Dialect::Envelope, Dialect::OpenAi] {
            let message = wrong(&Sent::new(dialect, body), "", Some(0));
            assert!(message.contains("JSON object"), "{message}");
        }
        // It has no fields, but is there as a whole.
        sees(
            &Sent::json(body),
            &[json!({}), json!({"body": {"id": [{"exists": false}]}})],
            &[json!({"body": {"kind": ["model"]}}), json!({"body": {"id": [{"anything-but": "x"}]}})],
        );
        assert!(takes(&json!({"path": "/v1/files"}), &Sent::new(Dialect::OpenAi, body).at("/v1/files")));
    }
    sees(&Sent::json("5"), &[json!({"body": [5]})], &[json!({"body": [6]})]);
    sees(&Sent::json("[5, 6]"), &[json!({"body": [6]})], &[json!({"body": [7]})]);
}

#[test]
fn faults_of_the_json_come_first_and_have_their_code() {
    for (body, code, offset) in [
        ("", "invalid_json", 0),
        ("{", "invalid_json", 1),
        (r#"{"id": "1", "id": "1"}"#, "duplicate_key", 12),
        (r#"{"x": {"a": 1, "\u0061": 2}}"#, "duplicate_key", 15),
        (r#"{"kind": 5} x"#, "invalid_json", 12),
    ] {
        for dialect in Dialect::ALL {
            let error = refusal(&Sent::new(dialect, body));
            assert_eq!(error.code(), code, "{body}");
            let MessageError::Json(inner) = error else { panic!("{body}") };
            assert_eq!(inner.offset, offset, "{body}");
        }
    }
    assert_eq!(refusal(&Sent::json("[".repeat(129))).code(), "too_deep");
}

#[test]
fn openai_fields_are_checked_under_their_own_names() {
    for (body, field, offset) in [
        (r#"{"model": 5}"#, "model", 10),
        (r#"{"model": ["gpt"]}"#, "model", 10),
        (r#"{"stream": "true"}"#, "stream", 11),
        (r#"{"user": 7}"#, "user", 9),
        (r#"{"metadata": []}"#, "metadata", 13),
        (r#"{"metadata": "x"}"#, "metadata", 13),
    ] {
        let message = wrong(&Sent::new(Dialect::OpenAi, body), field, Some(offset));
        assert!(message.contains(&format!("`{field}`")), "{message}");
    }
}

#[test]
fn openai_headers_are_checked() {
    let sent = || Sent::openai(&json!({"model": "m"}));
    for (name, values) in [
        (
            "x-waypost-priority",
            &["", "10", "-1", "+5", "5.0", "5e0", " 5", "0x5", "high", "5, 6", "٥", "null"][..],
        ),
        ("x-waypost-deadline-ms", &["", "0", "-1", "1.5", "1e3", "1s", "18446744073709551616", "00"]),
    ] {
        for value in values {
            wrong(&sent().header(name, value), name, None);
        }
    }
    for name in ["x-waypost-tenant", "x-waypost-task", "x-waypost-priority", "x-waypost-deadline-ms"] {
        let message = wrong(&sent().header(name, "5").header(name, "5"), name, None);
        assert!(message.contains("twice"), "{message}");
    }
    for priority in ["0", "9"] {
        assert!(takes(
            &json!({"priority": [{"exists": true}]}),
            &sent().header("x-waypost-priority", priority)
        ));
    }
}

// Reserved names.

#[test]
fn no_body_can_forge_what_is_reserved() {
    let body = json!({
        "id": "1", "kind": "model", "headers": {"x-tier": "gold"}, "path": "/secret", "method": "GET", "dialect": "openai",
        "client": {"address": "10.0.0.1"}, "body": {"x": 1}, "custom": {"deep": true}
    });
    let sent = Sent::envelope(&body);
    sees(
        &sent,
        &[
            json!({"headers": {"x-tier": [{"exists": false}]}, "client": {"address": [{"exists": false}]}}),
            json!({"path": "/v1/envelopes", "method": "POST", "dialect": "envelope"}),
            json!({"body": {"headers": {"x-tier": ["gold"]}, "body": {"x": [1]}, "custom": {"deep": [true]}}}),
        ],
        &[
            json!({"headers": {"x-tier": ["gold"]}}),
            json!({"path": "/secret"}),
            json!({"method": "GET"}),
            json!({"dialect": "openai"}),
            json!({"client": {"address": [{"cidr": "10.0.0.0/8"}]}}),
            json!({"body": {"x": [1]}}),
        ],
    );
}

#[test]
fn headers_are_lists_of_values_by_lower_case_name() {
    let sent = Sent::envelope(&json!({"id": "1", "kind": "model"}))
        .header("x-tier", "gold")
        .header("x_tier", "forged")
        .header("x-tier", "silver")
        .header("x-n", "7");
    sees(
        &sent,
        &[
            json!({"headers": {"x-tier": ["gold"]}}),
            json!({"headers": {"x-tier": ["silver"]}}),
            json!({"headers": {"x-tier": [{"anything-but": "gold"}]}}),
            json!({"headers": {"x-none": [{"exists": false}], "x-n": ["7"]}}),
        ],
        &[
            json!({"headers": {"x-tier": ["forged"]}}),
            json!({"headers": {"x-n": [7]}}),
            json!({"headers": {"x-none": [{"anything-but": "x"}]}}),
        ],
    );
}

#[test]
fn path_method_and_client_are_seen_as_they_are() {
    let sent =
        Sent { method: "PATCH", client: Some("2001:db8::7"), ..Sent::openai(&json!({})).at("/v1/Files/%41") };
    sees(
        &sent,
        &[
            json!({"path": "/v1/Files/%41", "method": "PATCH", "client": {"address": [{"cidr": "2001:db8::/32"}]}}),
            json!({"path": [{"prefix": "/v1/"}], "client": {"address": "2001:db8::7"}}),
        ],
        &[
            json!({"path": "/v1/files/%41"}),
            json!({"path": "/v1/Files/A"}),
            json!({"client": {"address": [{"cidr": "0.0.0.0/0"}]}}),
        ],
    );
}

#[test]
fn a_route_may_name_only_what_a_message_can_have() {
    for (pattern, path, says) in [
        (json!({"tenent": ["acme"]}), &["tenent"][..], "did you mean `tenant`?"),
        (json!({"custom": {"deep": [1]}}), &["custom"], "body: {custom"),
        (json!({"headers": ["x"]}), &["headers"], "name a header"),
        (json!({"headers": {"X-Tier": ["x"]}}), &["headers", "X-Tier"], "`x-tier`"),
        (json!({"headers": {"x-tier": {"a": ["x"]}}}), &["headers", "x-tier", "a"], "no fields"),
        (json!({"client": ["10.0.0.1"]}), &["client"], "address"),
        (json!({"client": {"port": [1]}}), &["client", "port"], "address"),
        (json!({"path": {"a": ["x"]}}), &["path", "a"], "no fields"),
        (json!({"method": ["post"]}), &["method"], "`POST`"),
        (json!({"dialect": ["openapi"]}), &["dialect"], "openai"),
        (json!({"kind": ["models"]}), &["kind"], "\"models\" is no kind"),
        (json!({"model": {"name": ["x"]}}), &["model", "name"], "no fields"),
        (json!({"priority": {"x": [1]}}), &["priority", "x"], "no fields"),
    ] {
        let specs = [spec("fine", &json!({}), 0), spec("r", &pattern, 0)];
        let problems = RouteTable::compile(&specs, Options::default()).unwrap_err();
        let expected: Vec<Step> = [Step::Index(1), Step::Key("match".to_owned())]
            .into_iter()
            .chain(path.iter().map(|key| Step::Key((*key).to_owned())))
            .collect();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].path, expected, "{}", problems[0]);
        assert!(problems[0].message.contains(says), "{}", problems[0]);
    }
}

#[test]
fn every_problem_of_every_route_is_told_at_once() {
    let specs = [
        spec("a", &json!({"tenent": ["x"], "kind": []}), 0),
        spec("b", &json!({"$or": [{"tool": [{"regex": "("}]}, {"patH": ["x"]}]}), 0),
        spec("c", &json!({"model": {"prefix": "llama"}}), 0),
    ];
    let problems = RouteTable::compile(&specs, Options::default()).unwrap_err();
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for place in [
        "[0].match.tenent",
        "[0].match.kind",
        "[1].match.$or[0].tool[0].regex",
        "[1].match.$or[1].patH",
        "[2].match.model.prefix",
    ] {
        assert!(shown.iter().any(|line| line.starts_with(&format!("{place}: "))), "{place} in {shown:#?}");
    }
    assert_eq!(problems.len(), 5, "{shown:#?}");
}

// Identity.

#[test]
fn an_identity_decides_where_the_message_is_silent() {
    let identity = |sent: Sent| sent.by(Some("acme"), Some("planner"), &[("tier", "gold"), ("region", "eu")]);
    for sent in [
        Sent::envelope(&json!({"id": "1", "kind": "model", "labels": {"own": "x"}})),
        Sent::envelope(&json!({"id": "1", "kind": "model", "tenant": null, "labels": null})),
        Sent::envelope(
            &json!({"id": "1", "kind": "model", "tenant": "acme", "agent": "planner", "labels": {"tier": "gold"}}),
        ),
        Sent::openai(&json!({"model": "m"})),
        Sent::openai(&json!({"model": "m", "user": "planner", "metadata": {"tier": "gold", "region": "eu"}}))
            .header("x-waypost-tenant", "acme"),
        Sent::json(json!({"tenant": "other"})),
        Sent { body: None, ..Sent::openai(&json!({})).at("/v1/audio/speech") },
    ] {
        let sent = identity(sent);
        sees(
            &sent,
            &[json!({"tenant": "acme", "agent": "planner", "labels": {"tier": ["gold"], "region": ["eu"]}})],
            &[
                absent("tenant"),
                json!({"tenant": [{"anything-but": "acme"}]}),
                json!({"labels": {"tier": [{"anything-but": "gold"}]}}),
            ],
        );
    }
    let sent = identity(Sent::envelope(&json!({"id": "1", "kind": "model", "labels": {"own": "x"}})));
    sees(&sent, &[json!({"labels": {"own": ["x"], "tier": ["gold"]}})], &[]);
}

#[test]
fn a_message_that_contradicts_its_caller_is_refused() {
    let envelope = |rest: Json| {
        let mut body = json!({"id": "1", "kind": "model"});
        body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        Sent::envelope(&body)
    };
    let raw = |labels: &str| {
        Sent::new(Dialect::Envelope, format!(r#"{{"id": "1", "kind": "model", "labels": {labels}}}"#))
    };
    let openai = |body: Json| Sent::openai(&body);
    for (sent, wanted) in [
        (envelope(json!({"tenant": "globex"})), "tenant"),
        (envelope(json!({"tenant": ""})), "tenant"),
        (envelope(json!({"tenant": "Acme"})), "tenant"),
        (envelope(json!({"agent": "other"})), "agent"),
        (raw(r#"{"tier": "silver"}"#), "labels.tier"),
        (raw(r#"{"\u0074ier": "silver"}"#), "labels.tier"),
        (raw(r#"{"tier": ["gold", "silver"]}"#), "labels.tier"),
        (raw(r#"{"tier": ["gold"]}"#), "labels.tier"),
        (raw(r#"{"tier": []}"#), "labels.tier"),
        (raw(r#"{"tier": {"x": "gold"}}"#), "labels.tier"),
        (raw(r#"{"tier": {}}"#), "labels.tier"),
        (raw(r#"{"tier": 1}"#), "labels.tier"),
        (openai(json!({})).header("x-waypost-tenant", "globex"), "x-waypost-tenant"),
        (openai(json!({"user": "other"})), "user"),
        (openai(json!({"metadata": {"tier": "silver"}})), "metadata.tier"),
    ] {
        let sent = sent.by(Some("acme"), Some("planner"), &[("tier", "gold")]);
        let error = refusal(&sent);
        assert_eq!(error.code(), "identity_conflict");
        assert!(error.to_string().contains(&format!("`{wanted}`")), "{error}");
        // It says nothing of what the key stands for.
        assert!(!error.to_string().contains("acme") && !error.to_string().contains("gold"), "{error}");
    }
    // A wrong type is that first.
    assert_eq!(refusal(&envelope(json!({"tenant": 5})).by(Some("5"), None, &[])).code(), "invalid_envelope");
    // What the key says nothing of is the message's own to say.
    let sent = envelope(json!({"tenant": "globex", "labels": {"tier": "silver"}})).by(
        None,
        Some("planner"),
        &[("region", "eu")],
    );
    sees(
        &sent,
        &[json!({"tenant": "globex", "agent": "planner", "labels": {"tier": ["silver"], "region": ["eu"]}})],
        &[],
    );
    // A dotted label is one key.
    let sent = envelope(json!({"labels": {"a": {"b": "x"}}})).by(None, None, &[("a.b", "y")]);
    sees(&sent, &[json!({"labels": {"a.b": ["y"], "a": {"b": ["x"]}}})], &[]);
}

// Precedence and order.

#[test]
fn higher_precedence_goes_first_then_the_order_written() {
    let specs = [
        spec("low", &json!({}), -1),
        spec("a", &json!({"kind": "model"}), 0),
        spec("b", &json!({"kind": ["model", "tool"]}), 0),
        spec("high", &json!({"kind": "tool"}), i64::MAX),
        spec("lowest", &json!({}), i64::MIN),
    ];
    let table = RouteTable::compile(&specs, Options::default()).unwrap();
    let names = |kind: &str| -> Vec<String> {
        let sent = Sent::envelope(&json!({"id": "1", "kind": kind}));
        let first = table.decide(&sent.message()).unwrap().decision.unwrap();
        let all = table.matches(&sent.message()).unwrap();
        assert_eq!(all[0], first);
        all.into_iter().map(|rank| table.decision(rank).unwrap().route.clone()).collect()
    };
    assert_eq!(names("model"), ["a", "b", "low", "lowest"]);
    assert_eq!(names("tool"), ["high", "b", "low", "lowest"]);
    assert_eq!(names("event"), ["low", "lowest"]);
    let order: Vec<&str> = table.decisions().iter().map(|decision| decision.route.as_str()).collect();
    assert_eq!(order, ["high", "a", "b", "low", "lowest"]);
    assert_eq!(
        (table.decision(0).unwrap().cluster.as_deref(), table.decision(0).unwrap().fallback.as_slice()),
        (Some("c"), &["d".to_owned()][..])
    );
    assert!(table.decision(5).is_none());
}

#[test]
fn no_route_names_what_was_seen() {
    let sent = Sent::envelope(
        &json!({"id": "1", "kind": "tool", "tool": "x".repeat(500), "labels": {"a": 1}, "context": [{"type": "m"}, {}]}),
    );
    let none = table(&[json!({"kind": "model"})]).decide(&sent.message()).unwrap().decision.unwrap_err();
    let names: Vec<&str> = none.seen.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["id", "kind", "tool", "context", "labels"]);
    assert_eq!(none.seen[1].1, "\"tool\"");
    assert!(none.seen.iter().all(|(_, shown)| shown.chars().count() < 100), "{none:?}");
    let nothing = table(&[]).decide(&Sent::json("{}").message()).unwrap();
    assert!(nothing.decision.unwrap_err().seen.is_empty());
}

#[test]
fn a_verdict_names_the_first_test_that_fails_and_what_is_there() {
    let sent = Sent::envelope(&json!({"id": "1", "kind": "tool", "labels": {"region": "us"}}));
    let table = table(&[
        json!({"kind": "tool", "labels": {"region": ["eu", {"prefix": "ap-"}]}}),
        json!({"kind": "tool", "tenant": "acme"}),
        json!({"kind": "tool"}),
    ]);
    let explained = table.explain(&sent.message()).unwrap();
    assert_eq!(explained.decision, Some(2));
    let [first, second, third] = &explained.verdicts[..] else { panic!() };
    assert_eq!((first.path.as_deref(), first.seen.as_deref()), (Some("labels.region"), Some("\"us\"")));
    assert_eq!(first.expected.as_deref(), Some("\"eu\" or prefix \"ap-\""));
    assert_eq!((second.path.as_deref(), second.seen.as_deref()), (Some("tenant"), None));
    assert_eq!((third.matched, third.path.as_deref()), (true, None));
}

// The three questions have one answer.

fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(values).prop_map(str::to_owned)
}

fn body() -> impl Strategy<Value = Json> {
    let word = || one_of(&["acme", "globex", "x"]);
    let scalar = prop_oneof![
        word().prop_map(Json::String),
        (0..10).prop_map(|n: i32| json!(n)),
        any::<bool>().prop_map(Json::Bool)
    ];
    let context =
        prop::collection::vec((word(), word()).prop_map(|(t, r)| json!({"type": t, "ref": r})), 0..3);
    let wrong = prop_oneof![9 => Just(None), 1 => scalar.clone().prop_map(Some)];
    (
        (
            prop::option::of(word()),
            prop::option::of(word()),
            prop::option::of(0..10),
            prop::option::of(context),
        ),
        (
            one_of(&["model", "tool", "query"]),
            prop::option::of(any::<bool>()),
            prop::option::of((word(), scalar)),
            wrong,
        ),
    )
        .prop_map(|((tenant, agent, priority, context), (kind, stream, label, wrong))| {
            let mut body = json!({"id": "1", "kind": kind, "user": agent, "extra": priority});
            let optional = [
                ("tenant", json!(tenant)),
                ("agent", json!(agent)),
                ("priority", json!(priority)),
                ("context", json!(context)),
                ("stream", json!(stream)),
                ("model", wrong.unwrap_or(Json::Null)),
            ];
            for (name, value) in optional {
                if !value.is_null() {
                    body[name] = value;
                }
            }
            if let Some((name, value)) = label {
                body["labels"] = json!({ name.clone(): value.clone() });
                body["metadata"] = json!({ name: value });
            }
            body
        })
}

fn route() -> impl Strategy<Value = Json> {
    let text = prop_oneof![
        4 => one_of(&["acme", "globex", "x", "gold"]).prop_map(Json::String),
        1 => Just(json!({"exists": true})),
        1 => Just(json!({"exists": false})),
        1 => Just(json!({"anything-but": ["acme"]})),
        1 => Just(json!({"prefix": "g"})),
    ];
    let texts = prop::collection::vec(text, 1..3).prop_map(Json::Array);
    let field = (
        one_of(&[
            "tenant",
            "agent",
            "model",
            "context.type",
            "context.ref",
            "labels.acme",
            "labels.x",
            "headers.x-tier",
            "body.user",
            "body.tenant",
        ]),
        texts,
    )
        .prop_map(|(path, tests)| path.split('.').rev().fold(tests, |inner, key| json!({ key: inner })));
    let other = prop_oneof![
        Just(json!({"kind": ["model"]})),
        Just(json!({"kind": ["tool", "query"]})),
        Just(json!({"dialect": ["openai"]})),
        Just(json!({"stream": [true]})),
        Just(json!({"priority": [{"numeric": [">", 4]}]})),
        Just(json!({"body": {"extra": [{"numeric": ["<", 4]}]}})),
        Just(json!({"body": [{"exists": false}]})),
    ];
    let part = prop_oneof![3 => field, 2 => other];
    let conjunction = prop::collection::vec(part, 0..3).prop_map(|parts| {
        let mut out = json!({});
        for part in parts {
            merge(&mut out, part);
        }
        out
    });
    (conjunction.clone(), prop::option::of(prop::collection::vec(conjunction, 1..3))).prop_map(
        |(mut all, any)| {
            let any: Vec<Json> =
                any.unwrap_or_default().into_iter().filter(|branch| branch != &json!({})).collect();
            if !any.is_empty() {
                all["$or"] = Json::Array(any);
            }
            all
        },
    )
}

fn merge(into: &mut Json, from: Json) {
    match (into, from) {
        (Json::Object(into), Json::Object(from)) => {
            for (key, value) in from {
                match into.get_mut(&key) {
                    Some(own) => merge(own, value),
                    None => drop(into.insert(key, value)),
                }
            }
        }
        (into, from) => *into = from,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn decide_matches_and_explain_agree(
        routes in prop::collection::vec((route(), -1_i64..2), 1..6),
        body in body(),
        dialect in prop::sample::select(&Dialect::ALL[..]),
        tier in prop::option::of(one_of(&["gold", "x"])),
        tenant in prop::option::of(one_of(&["acme", "globex"])),
        proved in prop::option::of(one_of(&["acme", "globex"])),
    ) {
        let specs: Vec<RouteSpec> =
            routes.iter().enumerate().map(|(i, (pattern, precedence))| spec(&i.to_string(), pattern, *precedence)).collect();
        let Ok(table) = RouteTable::compile(&specs, Options::default()) else { return Ok(()) };
        let mut sent = Sent::new(dialect, body);
        sent.headers.extend(tier.map(|value| ("x-tier".into(), value.into())));
        sent.headers.extend(tenant.map(|value| ("x-waypost-tenant".into(), value.into())));
        let label = [("acme", "acme")];
        let sent = match &proved { Some(name) => sent.by(Some(name), None, &label), None => sent };

        let message = sent.message();
        match (table.decide(&message), table.matches(&message), table.explain(&message)) {
            (Ok(decided), Ok(matches), Ok(explained)) => {
                prop_assert_eq!(decided.decision.as_ref().ok(), matches.first());
                prop_assert_eq!(explained.decision.as_ref(), matches.first());
                let told: Vec<usize> =
                    explained.verdicts.iter().enumerate().filter(|(_, v)| v.matched).map(|(rank, _)| rank).collect();
                prop_assert_eq!(&told, &matches);
                prop_assert_eq!(decided.envelope, explained.envelope);
                for (verdict, decision) in explained.verdicts.iter().zip(table.decisions()) {
                    prop_assert_eq!(&verdict.rule, &decision.route);
                    prop_assert!(!verdict.reason.is_empty());
                    prop_assert!(verdict.matched || verdict.path.is_some(), "{:?}", verdict);
                }
                // A route decides the same alone as among others.
                for (rank, decision) in table.decisions().iter().enumerate() {
                    let own = specs.iter().find(|spec| spec.name == decision.route).unwrap();
                    let alone = RouteTable::compile(std::slice::from_ref(own), Options::default()).unwrap();
                    prop_assert_eq!(alone.decide(&message).unwrap().decision.is_ok(), matches.contains(&rank));
                }
            }
            (Err(a), Err(b), Err(c)) => prop_assert!(a == b && b == c),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn any_text_in_any_field_is_taken_or_refused(name in prop::sample::select(&ATTRIBUTES[..]), text in "\\PC{0,12}", raw in any::<bool>()) {
        let value = if raw { text.clone() } else { Json::String(text.clone()).to_string() };
        for dialect in Dialect::ALL {
            let sent = Sent::new(dialect, format!(r#"{{"{name}": {value}}}"#));
            let valid = serde_json::from_str::<Json>(sent.body.as_deref().unwrap()).is_ok();
            let decided = table(&[json!({})]).decide(&sent.message());
            if decided.is_ok() {
                prop_assert!(valid);
            }
        }
    }
}
