//! Values that a table is asked for beside its routes: in the one pass over the body, those that a pass for them alone finds.

use crate::documents::{document, pattern};
use crate::sample_messages::{Sent, spec};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use waypost_core::dialect::Dialect;
use waypost_core::json::{self, Kind, Options, PathTrie, Scan};
use waypost_core::table::RouteTable;

fn path(name: &str) -> Vec<Box<str>> {
    name.split('.').map(Box::from).collect()
}

fn asking(patterns: &[Json], names: &[&str]) -> RouteTable {
    let specs: Vec<_> = patterns.iter().map(|pattern| spec("r", pattern, 0)).collect();
    let asked: Vec<_> = names.iter().map(|name| path(name)).collect();
    RouteTable::compile_asking(&specs, Options::default(), &asked).unwrap()
}

fn values(table: &RouteTable, sent: &Sent, count: usize) -> Vec<Option<String>> {
    table
        .ask(&sent.message(), |asked| (0..count).map(|n| asked.value(n).map(str::to_owned)).collect())
        .unwrap()
}

fn value(sent: &Sent, name: &str) -> Option<String> {
    values(&asking(&[], &[name]), sent, 1).remove(0)
}

/// What a pass for this path alone finds.
fn alone(body: &str, path: &[Box<str>]) -> Option<String> {
    let mut trie = PathTrie::new();
    trie.insert(path, 0);
    let mut scan = Scan::default();
    let text = json::scan(body.as_bytes(), &trie, Options::default(), &mut scan).unwrap();
    let leaf = scan.leaves.first()?;
    match leaf.kind {
        Kind::EscapedString => Some(json::unescape(&text[leaf.span()]).into_owned()),
        Kind::Null | Kind::Object | Kind::Array => None,
        _ => Some(text[leaf.span()].to_owned()),
    }
}

proptest! {
    #[test]
    fn a_value_is_what_a_pass_for_it_alone_finds(
        mut patterns in prop::collection::vec(pattern(), 0..4),
        mut body in document(),
        escaped in prop::option::of("[a\"\\n\\\\é]{0,4}"),
    ) {
        if let Some(text) = escaped {
            body["a"] = json!(text);
        }
        let names = ["body.a", "body.b", "body.e", "body.e.a", "body.e.b", "body.e.a.b", "body.none"];
        patterns.retain(|pattern| *pattern != json!({}));
        let patterns: Vec<Json> = patterns.into_iter().map(|pattern| json!({"body": pattern})).collect();
        let table = asking(&patterns, &names);
        let sent = Sent::json(&body);
        let expected: Vec<_> = names.iter().map(|name| alone(&body.to_string(), &path(name)[1..])).collect();
        prop_assert_eq!(&values(&table, &sent, names.len()), &expected);

        // Asking changes no decision, and gives a decided message the same values.
        let (decided, found) = table
            .decide_asking(&sent.message(), |rank, asked| (rank, asked.value(0).map(str::to_owned)))
            .unwrap();
        let plain = asking(&patterns, &[]).decide(&sent.message()).unwrap();
        prop_assert_eq!(decided.decision.as_ref().ok(), plain.decision.as_ref().ok());
        prop_assert_eq!(&decided.envelope, &plain.envelope);
        prop_assert_eq!(decided.decision.ok().map(|rank| (rank, expected[0].clone())), found);
    }

    #[test]
    fn an_attribute_is_where_its_dialect_has_it(value in "\\PC{1,8}", other in "\\PC{1,8}") {
        let names = ["agent", "labels.session", "task", "body.x"];
        let envelope = json!({
            "id": "i", "kind": "query", "agent": value, "labels": {"session": other}, "task": value, "x": other,
        });
        let openai = json!({"user": value, "metadata": {"session": other}, "task": "no", "x": other});
        let some = |text: &str| Some(text.to_owned());
        let table = asking(&[], &names);
        prop_assert_eq!(
            values(&table, &Sent::envelope(&envelope), 4),
            [some(&value), some(&other), some(&value), some(&other)]
        );
        let sent = Sent::openai(&openai).header("x-waypost-task", "sum");
        prop_assert_eq!(values(&table, &sent, 4), [some(&value), some(&other), some("sum"), some(&other)]);
    }
}

#[test]
fn what_a_caller_proved_stands_for_what_the_message_says() {
    let sent = Sent::openai(&json!({"metadata": {"other": "x"}}));
    assert_eq!(value(&sent.clone().by(None, Some("a"), &[]), "agent").as_deref(), Some("a"));
    assert_eq!(value(&sent.clone().by(Some("t"), None, &[]), "tenant").as_deref(), Some("t"));
    let proved = sent.by(None, None, &[("session", "s")]);
    assert_eq!(value(&proved, "labels.session").as_deref(), Some("s"));
    assert_eq!(value(&proved, "labels.other").as_deref(), Some("x"));
}

#[test]
fn what_is_no_part_of_the_body_can_be_asked_for() {
    let sent = Sent { client: Some("192.0.2.7"), ..Sent::openai(&json!({"content": "c"})) };
    let sent = sent.header("x-session", "first").header("x-session", "second");
    for (name, expected) in [
        ("headers.x-session", Some("first")),
        ("headers.x-none", None),
        ("path", Some("/v1/chat/completions")),
        ("method", Some("POST")),
        ("dialect", Some("openai")),
        ("client.address", Some("192.0.2.7")),
        ("kind", Some("model")),
        ("id", None),
    ] {
        assert_eq!(value(&sent, name).as_deref(), expected, "{name}");
    }
    let envelope = |content: Json| Sent::envelope(&json!({"id": "i", "kind": "query", "content": content}));
    assert_eq!(value(&envelope(json!("text")), "content").as_deref(), Some("text"));
    assert_eq!(value(&envelope(json!({"a": "text"})), "content"), None);
    assert_eq!(value(&envelope(json!({"a": "text"})), "content.a").as_deref(), Some("text"));
}

#[test]
fn only_a_decided_message_is_asked() {
    let table = asking(&[json!({"kind": ["tool"]})], &["body.a"]);
    let sent = Sent::openai(&json!({"a": 1}));
    let (decided, asked) = table.decide_asking(&sent.message(), |_, _| ()).unwrap();
    assert!(decided.decision.is_err() && asked.is_none());
    assert_eq!(
        table.ask(&sent.message(), |asked| asked.value(0).map(str::to_owned)),
        Ok(Some("1".to_owned()))
    );
    assert!(table.ask(&Sent::new(Dialect::OpenAi, "{").message(), |_| ()).is_err());
}
