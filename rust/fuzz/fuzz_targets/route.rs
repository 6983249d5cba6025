//! Any bytes as a message: no panic, one answer to every question, and what is accepted is JSON to another reader and
//! becomes one head that another parser reads.
//!
//! The first byte chooses dialect, path and framing; the next lines, up to an empty one, are header fields; the rest is
//! the body.
#![no_main]

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde::de::IgnoredAny;
use waypost_core::auth::{Identity, UnixTime};
use waypost_core::auth::keys::{Admin, Caller, FIELDS, Keys, OWN_FIELD, hash};
use waypost_core::cluster::{Cluster, Credential, Endpoint, policy::Policy};
use waypost_core::dialect::{Dialect, entry};
use waypost_core::engine::{Config, Ending, EndpointAt, Ids, Limits, NoPlan, Request, Snapshot, Trusted};
use waypost_core::http1::BodyLength;
use waypost_core::json::Options;
use waypost_core::log::{LONGEST, Why, write_line};
use waypost_core::pattern::Value;
use waypost_core::table::{Header, Message, RouteSpec};

const PATHS: [(&str, Dialect); 4] = [
    ("/v1/envelopes", Dialect::Envelope),
    ("/v1/chat/completions", Dialect::OpenAi),
    ("/v1/files", Dialect::OpenAi),
    ("/", Dialect::Json),
];

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.map(|(key, value)| (key.to_owned(), value)).into())
}

fn list<const N: usize>(items: [Value; N]) -> Value {
    Value::List(items.into())
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let absent = || list([map([("exists", Value::Bool(false))])]);
    let patterns = [
        map([("labels", map([("tier", text("gold")), ("a", map([("b", absent())]))]))]),
        map([("context", map([("type", text("memory")), ("ref", list([map([("prefix", text("m"))])]))]))]),
        map([
            ("headers", map([("x-tier", text("gold"))])),
            ("tenant", list([map([("anything-but", text("x"))])])),
        ]),
        map([
            ("priority", list([map([("numeric", list([text(">="), Value::Number("7".into())]))])])),
            ("stream", absent()),
        ]),
        map([("body", map([("messages", map([("role", text("user"))]))]))]),
        map([]),
    ];
    let routes = patterns.into_iter().enumerate().map(|(index, pattern)| RouteSpec {
        name: index.to_string(),
        pattern,
        to: Some(["openai", "native"][index % 2].to_owned()),
        fallback: vec!["native".to_owned(), "openai".to_owned()],
        precedence: 0, ..RouteSpec::default() });
    let cluster = |name: &str, speaks, credential| Cluster {
        name: name.to_owned(),
        speaks,
        endpoints: vec![
            Endpoint::parse("http://a:1/base", 1).unwrap(),
            Endpoint::parse("https://[::1]", 2).unwrap(),
        ],
        credential,
        model: None,
        policy: Policy::default(),
    };
    let ours = Credential::Header { name: "X-Api-Key".to_owned(), value: "ours".to_owned() };
    let clusters = vec![
        cluster("openai", Dialect::OpenAi, ours),
        cluster("native", Dialect::Envelope, Credential::None),
    ];
    let limits = Limits { header: 1 << 14, json: Options::default() };
    let trusted = Trusted { blocks: vec!["10.0.0.0/8".parse().unwrap()], unix: false };
    let keys = Keys::default();
    Snapshot::compile(Config { routes: routes.collect(), clusters, identities: keys.into(), trusted, hosts: Vec::new(), limits }).unwrap()
});

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let caller = Caller { admin: Admin::All, ..Caller::new("n", Identity::default()) };
    Keys::new([(hash(b"key"), caller)])
});

/// Whether another reader takes it for JSON.
fn is_json(body: &[u8]) -> bool {
    let mut reader = serde_json::Deserializer::from_slice(body);
    reader.disable_recursion_limit();
    IgnoredAny::deserialize(&mut reader).is_ok() && reader.end().is_ok()
}

/// The three questions to the table.
fn ask(message: &Message<'_>, body: &[u8]) {
    let table = &SNAPSHOT.table;
    match (table.decide(message), table.matches(message), table.explain(message)) {
        (Ok(decided), Ok(matches), Ok(explained)) => {
            assert_eq!(decided.decision.as_ref().ok(), matches.first());
            assert_eq!(explained.decision.as_ref(), matches.first());
            for (rank, verdict) in explained.verdicts.iter().enumerate() {
                assert_eq!(verdict.matched, matches.contains(&rank));
            }
            assert!(explained.seen.iter().all(|(_, shown)| shown.chars().count() < 2048));
            assert!(is_json(body));
            if message.dialect == Dialect::Envelope {
                let id = decided.envelope.id.expect("an envelope has an id").chars().count();
                assert!((1..=128).contains(&id) && decided.envelope.kind.is_some());
            }
            assert!(decided.envelope.priority.is_none_or(|priority| priority <= 9));
        }
        (Err(a), Err(b), Err(c)) => {
            assert!(a == b && b == c && !a.to_string().is_empty());
        }
        other => panic!("{other:?}"),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, rest)) = data.split_first() else { return };
    let (path, dialect) = PATHS[usize::from(choice & 3)];
    let at = rest.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = at.map_or((&rest[..0], rest), |at| (&rest[..at], &rest[at + 2..]));
    let fields = head.split(|&byte| byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        Some((line[..colon].to_vec(), line[colon + 1..].to_vec()))
    });
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = fields.collect();

    let identity = Identity {
        tenant: Some("acme".to_owned()),
        agent: None,
        labels: vec![("tier".to_owned(), "gold".to_owned()), ("n".to_owned(), "1".to_owned())],
    };
    let latin = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect::<String>();
    let headers: Vec<Header<'_>> = fields
        .iter()
        .map(|(name, value)| (Cow::Owned(latin(&name.to_ascii_lowercase())), Cow::Owned(latin(value))))
        .collect();
    let mut message = Message {
        dialect,
        kind: entry(path).and_then(|entry| entry.kind("POST")),
        method: "POST",
        path,
        headers: &headers,
        client: Some("192.0.2.7"),
        identity: None,
        body: Some(body),
    };
    ask(&message, body);
    message.identity = Some(&identity);
    ask(&message, body);

    if choice & 4 != 0 {
        fields.push((b"content-length".to_vec(), body.len().to_string().into_bytes()));
    }
    let is_key = |(name, value): &(Vec<u8>, Vec<u8>)| {
        FIELDS.iter().chain(&[OWN_FIELD]).any(|field| name.eq_ignore_ascii_case(field.as_bytes()))
            && value.trim_ascii().ends_with(b"key")
    };
    let pairs = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
    assert!(KEYS.admit(pairs, Admin::All).is_err() || fields.iter().any(is_key));
    // A trusted proxy, or a stranger.
    let peer = if choice & 32 != 0 { "10.0.0.1" } else { "192.0.2.7" };
    let ids = Ids::new(u64::from(choice));
    let request = Request {
        method: "POST".into(),
        target: if choice & 8 != 0 { format!("{path}?{}", latin(head)) } else { path.to_owned() },
        headers: fields.into_iter().collect(),
        client: Some(peer.into()),
        certificate: None,
        scheme: "http".into(),
        version: if choice & 16 != 0 { "1.1" } else { "2" }.into(),
    };
    let Ok(intake) = SNAPSHOT.accept(request, UnixTime(0), &ids) else { return };
    assert!((1..=128).contains(&intake.id.len()));
    let plan = match SNAPSHOT.plan(&intake, intake.buffered.then_some(body)) {
        Ok(plan) => plan,
        Err(NoPlan::Message(error)) => return assert!(!error.to_string().is_empty()),
        // Paths that are not listed go to routes that name them only.
        Err(NoPlan::Route { none, .. }) => {
            return assert!(path != "/v1/envelopes" && path != "/v1/chat/completions", "{none:?}");
        }
        Err(NoPlan::Unjoinable { message, .. }) => return assert!(!message.is_empty()),
    };
    assert!(!intake.buffered || body.is_empty() || is_json(body));
    assert!(!plan.clusters.is_empty());
    for &cluster in &plan.clusters {
        let at = EndpointAt { cluster, endpoint: 0, address: None };
        let length = body.len() as u64;
        let head =
            SNAPSHOT.head(&intake, &plan, at, BodyLength::Known(length), Some(5)).unwrap().unwrap();
        let mut slots = [httparse::EMPTY_HEADER; 8192];
        let mut parsed = httparse::Request::new(&mut slots);
        assert_eq!(parsed.parse(&head), Ok(httparse::Status::Complete(head.len())));
        let values = |name: &str| -> Vec<&[u8]> {
            parsed.headers.iter().filter(|field| field.name == name).map(|field| field.value).collect()
        };
        assert_eq!(values("x-request-id"), [plan.request_id().as_bytes()]);
        let way = values("x-forwarded-for");
        assert!(way.len() == 1 && way[0].ends_with(peer.as_bytes()));
        assert!(choice & 32 != 0 || (way[0] == peer.as_bytes() && values("forwarded").is_empty()));
        assert_eq!(values("x-waypost-deadline-ms"), [b"5"]);
        assert!(values("authorization").is_empty() && values("transfer-encoding").is_empty());
        assert!(values("x-api-key").iter().all(|value| *value == b"ours"));
        if length > 0 {
            assert_eq!(values("content-length"), [length.to_string().as_bytes()]);
        }
        let parent = values("traceparent");
        assert!(parent.is_empty() || (parent.len() == 1 && parent[0].len() >= 55));
        assert!(!parent.is_empty() || values("tracestate").is_empty());
        let ending = Ending {
            time: length,
            at: Some(at),
            address: None,
            upstream_id: None,
            attempts: 1,
            trail: &[],
            status: 200,
            bytes_in: length,
            bytes_out: length,
            queued: Duration::ZERO,
            first_byte: None,
            total: Duration::ZERO,
            why: Why::Ok,
        };
        let mut line = Vec::new();
        write_line(&SNAPSHOT.record(&intake, Some(&plan), &ending), &mut line);
        assert!(is_json(&line) && line.ends_with(b"}\n") && line.len() <= LONGEST);
        assert_eq!(line.iter().filter(|byte| **byte < b' ').count(), 1);
    }
});
