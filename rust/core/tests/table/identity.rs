//! Who the caller proved to be, against what the message says of it.

use crate::sample_messages::{Sent, absent, refusal, sees};
use serde_json::{Value as Json, json};
use waypost_core::dialect::Dialect;

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
