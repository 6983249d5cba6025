//! What patterns see of a message of each dialect, and what is no message of it.

use crate::sample_messages::{ATTRIBUTES, Sent, absent, refusal, sees, table, takes, wrong};
use serde_json::{Value as Json, json};
use waypost_core::dialect::{Dialect, Kind};
use waypost_core::table::MessageError;

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
            json!({"priority": 8}),
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
fn headers_of_the_openai_dialect_are_refused_beside_an_envelope() {
    let sent = || Sent::envelope(&json!({"id": "1", "kind": "model"}));
    for (name, meant) in [
        ("x-waypost-tenant", "set `tenant` in the envelope"),
        ("x-waypost-task", "set `task` in the envelope"),
        ("x-waypost-priority", "set `priority` in the envelope"),
        ("x-waypost-model", "there is no header `x-waypost-model`"),
        ("x-waypost-route", "there is no header `x-waypost-route`"),
    ] {
        let message = wrong(&sent().header(name, "7"), name, None);
        assert!(message.contains(meant), "{message}");
    }
}

#[test]
fn the_deadline_that_another_waypost_tells_is_no_attribute_of_an_envelope() {
    let sent = Sent::envelope(&json!({"id": "1", "kind": "model"})).header("x-waypost-deadline-ms", "5");
    sees(&sent, &[absent("deadline_ms")], &[]);
}

#[test]
fn a_header_that_is_named_like_those_of_attributes_is_one_or_is_refused() {
    let all = "x-waypost-tenant, x-waypost-task, x-waypost-priority, x-waypost-deadline-ms";
    for sent in [
        Sent::openai(&json!({"model": "m"})),
        Sent::openai(&json!({})).at("/v1/audio/speech"),
        Sent { body: None, ..Sent::openai(&json!({})) }.at("/v1/models"),
    ] {
        let message = wrong(&sent.clone().header("x-waypost-tennant", "acme"), "x-waypost-tennant", None);
        assert!(message.contains("did you mean `x-waypost-tenant`? Headers: "), "{message}");
        assert!(message.ends_with(all), "{message}");
        for name in ["x-waypost-", "x-waypost-agent", "x-waypost-route", "x-waypost-attempts"] {
            assert!(wrong(&sent.clone().header(name, "acme"), name, None).ends_with(all));
        }
    }
    let long: &str = Box::leak(format!("x-waypost-{}", "x".repeat(5000)).into_boxed_str());
    let sent = Sent::openai(&json!({})).header(long, "");
    assert!(refusal(&sent).to_string().len() < 300);
}

#[test]
fn an_openai_path_without_a_kind_of_its_own_is_of_none() {
    let sent = Sent::openai(&json!({"model": "whisper"})).at("/v1/audio/speech");
    sees(
        &sent,
        &[
            json!({"path": "/v1/audio/speech", "kind": [{"exists": false}]}),
            json!({"path": "/v1/audio/speech", "model": "whisper"}),
        ],
        // Such a path has to be named.
        &[json!({"kind": "model"}), json!({"model": "whisper"}), json!({})],
    );
    let streamed = Sent { body: None, ..sent };
    sees(
        &streamed,
        &[json!({"path": [{"prefix": "/v1/audio/"}], "model": [{"exists": false}]})],
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
        sees(&sent, &[absent(name)], &[json!({ name: [{"anything-but": "x"}] })]);
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
    let sent = Sent::new(Dialect::Envelope, r#"{"id": "1", "kind": "model", "deadline_ms": 864e5}"#);
    assert_eq!(table(&[json!({})]).decide(&sent.message()).unwrap().envelope.deadline_ms, Some(86_400_000));
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
            assert_eq!(inner.error.offset, offset, "{body}");
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
