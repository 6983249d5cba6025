//! Messages of any dialect, and what a table says of them.

#![allow(dead_code, missing_docs, unreachable_pub)] // Each test uses some of it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::must_use_candidate)]
#![allow(clippy::return_self_not_must_use, clippy::needless_pass_by_value, clippy::missing_panics_doc)]

use std::borrow::Cow;

use serde_json::{Value as Json, json};
use waypost_core::auth::Identity;
use waypost_core::dialect::{Dialect, entry};
use waypost_core::json::Options;
use waypost_core::pattern::Value;
use waypost_core::table::{Header, Message, MessageError, RouteSpec, RouteTable};

pub fn convert(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => Value::Number(n.to_string()),
        Json::String(s) => Value::String(s.clone()),
        Json::Array(items) => Value::List(items.iter().map(convert).collect()),
        Json::Object(map) => Value::Map(map.iter().map(|(k, v)| (k.clone(), convert(v))).collect()),
    }
}

pub fn spec(name: &str, pattern: &Json, precedence: i64) -> RouteSpec {
    RouteSpec {
        name: name.to_owned(),
        pattern: convert(pattern),
        to: Some("c".to_owned()),
        fallback: vec!["d".to_owned()],
        precedence,
        ..RouteSpec::default()
    }
}

/// Routes named `0`, `1`, … of equal precedence.
pub fn table(patterns: &[Json]) -> RouteTable {
    let specs: Vec<RouteSpec> =
        patterns.iter().enumerate().map(|(index, pattern)| spec(&index.to_string(), pattern, 0)).collect();
    RouteTable::compile(&specs, Options::default()).unwrap()
}

/// A message that owns its parts.
#[derive(Clone, Debug)]
pub struct Sent {
    pub dialect: Dialect,
    pub method: &'static str,
    pub path: &'static str,
    pub headers: Vec<Header<'static>>,
    pub client: Option<&'static str>,
    pub identity: Option<Identity>,
    pub body: Option<String>,
}

impl Sent {
    pub fn new(dialect: Dialect, body: impl ToString) -> Self {
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

    pub fn envelope(body: &Json) -> Self {
        Self::new(Dialect::Envelope, body)
    }

    pub fn openai(body: &Json) -> Self {
        Self::new(Dialect::OpenAi, body)
    }

    pub fn json(body: impl ToString) -> Self {
        Self::new(Dialect::Json, body)
    }

    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((Cow::Borrowed(name), Cow::Borrowed(value)));
        self
    }

    pub fn at(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    pub fn by(self, tenant: Option<&str>, agent: Option<&str>, labels: &[(&str, &str)]) -> Self {
        let identity = Identity {
            tenant: tenant.map(str::to_owned),
            agent: agent.map(str::to_owned),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        Self { identity: Some(identity), ..self }
    }

    pub fn message(&self) -> Message<'_> {
        Message {
            dialect: self.dialect,
            kind: entry(self.path)
                .filter(|found| found.dialect == self.dialect)
                .and_then(|found| found.kind(self.method)),
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
pub fn takes(pattern: &Json, sent: &Sent) -> bool {
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
pub fn sees(sent: &Sent, yes: &[Json], no: &[Json]) {
    for pattern in yes {
        assert!(takes(pattern, sent), "{pattern} should take {sent:?}");
    }
    for pattern in no {
        assert!(!takes(pattern, sent), "{pattern} should not take {sent:?}");
    }
}

pub fn refusal(sent: &Sent) -> MessageError {
    let table = table(&[json!({})]);
    let Err(error) = table.decide(&sent.message()) else { panic!("{sent:?} was taken") };
    assert_eq!(table.matches(&sent.message()).unwrap_err(), error);
    assert_eq!(table.explain(&sent.message()).unwrap_err(), error);
    error
}

#[track_caller]
pub fn wrong(sent: &Sent, wanted_field: &str, wanted_offset: Option<usize>) -> String {
    match refusal(sent) {
        MessageError::Envelope { field, offset, message, .. } => {
            assert_eq!((field.as_str(), offset), (wanted_field, wanted_offset), "{message} {sent:?}");
            message
        }
        other => panic!("{other:?} for {sent:?}"),
    }
}

pub fn absent(name: &str) -> Json {
    json!({ name: [{"exists": false}] })
}

pub const ATTRIBUTES: [&str; 14] = [
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
