//! What a decision costs by the number of rules, a rule matching or none: `cargo bench --bench decide`.
//!
//! Documents of different subjects take turns, so that not always the same part of the rules is at hand. `dialect` is
//! what a message costs from its path to its decision, by its dialect, among 1,000 routes.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use waypost_core::dialect::{Dialect, entry};
use waypost_core::json::Options;
use waypost_core::pattern::{Pattern, Problem, Value};
use waypost_core::table::{Header, Matcher, Message, RouteSpec, RouteTable};

/// How many documents take turns.
const DOCUMENTS: usize = 1024;

fn text(value: impl Into<String>) -> Value {
    Value::String(value.into())
}

fn map(fields: Vec<(&str, Value)>) -> Value {
    Value::Map(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// A predicate: `{"prefix": …}`, say.
fn asks(name: &str, operand: Value) -> Value {
    Value::List(vec![map(vec![(name, operand)])])
}

/// The rule about one subject: five shapes in turn.
fn rule(subject: usize) -> Result<Pattern, Vec<Problem>> {
    let tenant = || text(format!("tenant-{subject}"));
    let pattern = match subject % 5 {
        0 => map(vec![("kind", text("model")), ("tenant", tenant())]),
        1 => map(vec![("tenant", tenant()), ("model", asks("prefix", text("llama-")))]),
        2 => map(vec![("agent", asks("wildcard", text(format!("agent-{subject}-*"))))]),
        3 => map(vec![
            ("task", text(format!("task-{subject}"))),
            ("tenant", asks("anything-but", text("internal"))),
        ]),
        _ => {
            let reference = asks("prefix", text(format!("mem://{subject}/")));
            map(vec![("context", map(vec![("type", text("memory")), ("ref", reference)]))])
        }
    };
    Matcher::parse(&pattern)
}

/// An envelope of about 1 KB that matches the rule about `subject` and no other.
fn envelope(subject: usize) -> Vec<u8> {
    let mut body = format!(
        r#"{{"id": "01JD{subject:010}", "kind": "model", "agent": "agent-{subject}-7", "model": "llama-3-8b",
 "tenant": "tenant-{subject}", "task": "task-{subject}", "priority": 7,
 "context": [{{"type": "document", "ref": "doc://kb/7"}}, {{"type": "memory", "ref": "mem://{subject}/42"}}],
 "content": ""#
    );
    for line in 0.. {
        if body.len() > 1_000 {
            break;
        }
        let _ = write!(body, "line {line} of a message that is on its way to some model\\n");
    }
    body.push_str("\"}");
    body.into_bytes()
}

/// A message that an endpoint's path and 12 header fields come with.
fn message<'a>(path: &'a str, headers: &'a [Header<'a>], body: &'a [u8]) -> Message<'a> {
    let found = entry(path);
    Message {
        dialect: found.map_or(Dialect::Json, |found| found.dialect),
        kind: found.and_then(|found| found.kind("POST")),
        method: "POST",
        path,
        headers,
        client: Some("192.0.2.7"),
        identity: None,
        body: Some(body),
    }
}

fn dialects(criterion: &mut Criterion) -> Result<(), Vec<Problem>> {
    const ROUTES: usize = 1_000;
    let route = |subject: usize| RouteSpec {
        name: subject.to_string(),
        pattern: map(vec![("tenant", text(format!("tenant-{subject}")))]),
        ..RouteSpec::default()
    };
    let table = RouteTable::compile(&(0..ROUTES).map(route).collect::<Vec<_>>(), Options::default())?;
    let mut group = criterion.benchmark_group("dialect");
    for (name, path) in [("envelope", "/v1/envelopes"), ("openai", "/v1/chat/completions")] {
        let sent: Vec<(Vec<Header<'static>>, Vec<u8>)> = (0..DOCUMENTS)
            .map(|at| {
                let subject = at * 7_919 % ROUTES;
                let mut headers: Vec<Header<'static>> = (0..11)
                    .map(|at| (format!("x-field-{at}").into(), "some value of a field".into()))
                    .collect();
                let body = if name == "envelope" {
                    envelope(subject)
                } else {
                    headers.push(("x-waypost-tenant".into(), format!("tenant-{subject}").into()));
                    let content = "line of a message that is on its way to some model ".repeat(18);
                    let body = format!(
                        r#"{{"model": "llama-3-8b", "user": "agent-{subject}", "stream": false, "metadata":
 {{"region": "eu"}}, "messages": [{{"role": "user", "content": "{content}"}}]}}"#
                    );
                    body.into_bytes()
                };
                (headers, body)
            })
            .collect();
        let mut turns = sent.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let (headers, body) = turns.next()?;
                let decided = table.decide(&message(black_box(path), headers, black_box(body))).ok()?;
                decided.decision.ok()
            });
        });
    }
    group.finish();
    Ok(())
}

fn main() -> Result<(), Vec<Problem>> {
    let mut criterion = Criterion::default().configure_from_args();
    dialects(&mut criterion)?;
    let mut group = criterion.benchmark_group("decide");
    group.throughput(Throughput::Elements(1));
    for count in [10, 1_000, 100_000] {
        let rules = (0..count).map(rule).collect::<Result<Vec<Pattern>, _>>()?;
        let matcher = Matcher::new(&rules, Options::default());
        for (name, beyond) in [("hit", 0), ("miss", count)] {
            // A stride that has no factor in common with the counts: subjects from everywhere.
            let subjects = (0..DOCUMENTS).map(|at| at * 7_919 % count);
            let bodies: Vec<(usize, Vec<u8>)> =
                subjects.map(|subject| (subject, envelope(subject + beyond))).collect();
            for (subject, body) in &bodies {
                assert_eq!(matcher.first(body), Ok((beyond == 0).then_some(*subject)));
            }
            let mut turns = bodies.iter().cycle();
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| turns.next().map(|(_, body)| matcher.first(black_box(body))));
            });
        }
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}
