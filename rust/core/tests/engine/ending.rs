//! What is counted and logged of a message once it is over.

use std::time::Duration;

use serde_json::{Value as Json, json};
use waypost_core::auth::keys::{Caller, Keys, hash};
use waypost_core::auth::{Identity, UnixTime};
use waypost_core::cluster::policy::Policy;
use waypost_core::cluster::{Cluster, Credential, Endpoint};
use waypost_core::dialect::Dialect;
use waypost_core::engine::{
    Config, Ending, EndpointAt, Ids, Intake, Limits, Recorder, Request, Snapshot, Trusted,
};
use waypost_core::json::Options;
use waypost_core::log::{Outcome, Pushed, Why};
use waypost_core::metrics::{Format, Metrics, Total};
use waypost_core::pattern::Value;
use waypost_core::table::RouteSpec;

const ENDING: Ending<'_> = Ending {
    time: 1_795_404_245_678,
    at: Some(EndpointAt { cluster: 1, endpoint: 0, address: None }),
    address: None,
    upstream_id: None,
    attempts: 2,
    trail: &[],
    status: 200,
    bytes_in: 11,
    bytes_out: 22,
    queued: Duration::from_millis(1),
    first_byte: Some(Duration::from_millis(2)),
    total: Duration::from_millis(3),
    why: Why::Ok,
};

fn cluster(name: &str, url: &str) -> Cluster {
    Cluster {
        name: name.to_owned(),
        speaks: Dialect::Envelope,
        endpoints: vec![Endpoint::parse(url, 1).unwrap()],
        credential: Credential::None,
        model: None,
        policy: Policy::default(),
    }
}

fn snapshot(keys: Keys) -> Snapshot {
    let route = RouteSpec {
        name: "all".to_owned(),
        pattern: Value::Map(Vec::new()),
        to: Some("first".to_owned()),
        fallback: vec!["second".to_owned()],
        precedence: 0,
        ..RouteSpec::default()
    };
    Snapshot::compile(Config {
        routes: vec![route],
        clusters: vec![cluster("first", "http://a"), cluster("second", "http://b")],
        identities: keys.into(),
        trusted: Trusted::default(),
        hosts: Vec::new(),
        limits: Limits { header: 10_000, json: Options::default() },
    })
    .unwrap()
}

fn keys() -> Keys {
    let identity =
        Identity { tenant: Some("acme".to_owned()), agent: Some("robot".to_owned()), labels: Vec::new() };
    Keys::new([(hash(b"k"), Caller::new("planner", identity))])
}

fn accept(snapshot: &Snapshot, fields: &[(&str, &[u8])]) -> Intake {
    let host = ("host", &b"h"[..]);
    let fields = fields.iter().chain([&host]);
    let request = Request {
        method: "POST".into(),
        target: "/v1/envelopes?key=secret".to_owned(),
        headers: fields.map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect(),
        client: Some("192.0.2.7".into()),
        certificate: None,
        scheme: "http".into(),
        version: "1.1".into(),
    };
    snapshot.accept(request, UnixTime(0), &Ids::new(1)).unwrap()
}

fn recorder() -> Recorder {
    let recorder =
        Recorder::new(Metrics::on_heap(vec!["no_route".to_owned(), "upstream_protocol".to_owned()]));
    recorder.log(true);
    recorder
}

fn lines(recorder: &Recorder) -> Vec<Json> {
    let (bytes, count) = recorder.take_lines();
    let found: Vec<Json> = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(found.len() as u64, count);
    found
}

/// Ends a message in this way, and gives its line.
fn ended(keys: Keys, fields: &[(&str, &[u8])], body: &Json, ending: &Ending<'_>) -> (Json, Recorder) {
    let snapshot = snapshot(keys);
    let recorder = recorder();
    let intake = accept(&snapshot, fields);
    let plan = snapshot.plan(&intake, Some(body.to_string().as_bytes())).unwrap();
    assert_eq!(recorder.ended(&snapshot, &snapshot.slots(), &intake, &plan, ending), Pushed::First);
    (lines(&recorder).remove(0), recorder)
}

#[test]
fn a_line_says_all_of_a_message() {
    let parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let body = json!({"id": "m-1", "kind": "model", "model": "llama", "agent": "robot"});
    let (mut line, recorder) = ended(keys(), &[("x-api-key", b"k"), ("traceparent", parent)], &body, &ENDING);
    let times =
        ["queue_ms", "first_byte_ms", "total_ms"].map(|name| line.as_object_mut().unwrap().remove(name));
    assert_eq!(times.map(|time| time.unwrap().as_f64()), [1.0, 2.0, 3.0].map(Some));
    let expected = json!({
        "time": "2026-11-23T03:24:05.678Z", "id": "m-1", "client": "192.0.2.7", "key": "planner", "tenant": "acme",
        "agent": "robot", "method": "POST", "path": "/v1/envelopes", "kind": "model", "model": "llama", "route": "all",
        "cluster": "second", "endpoint": "http://b", "attempts": 2, "status": 200, "bytes_in": 11, "bytes_out": 22,
        "why": "ok",
        "trace": "0af7651916cd43dd8448eb211c80319c",
    });
    assert_eq!(line, expected);
    let text = recorder.metrics.render(Format::Text, "0", &[]);
    assert!(
        text.contains("waypost_requests_total{route=\"all\",cluster=\"second\",status=\"2xx\"} 1\n"),
        "{text}"
    );
}

#[test]
fn without_keys_the_message_is_believed() {
    let body = json!({"id": "m-1", "kind": "query", "tenant": "globex\n\"", "agent": "a"});
    let (line, _) = ended(Keys::default(), &[], &body, &ENDING);
    assert_eq!((&line["tenant"], line.get("key"), line.get("agent")), (&json!("globex\n\""), None, None));
    assert_eq!(line.get("trace"), None, "none begins here");
}

#[test]
fn a_message_that_reached_no_endpoint_is_its_clusters() {
    let ending = Ending { at: None, attempts: 0, status: 503, why: Why::Error("queue_full"), ..ENDING };
    let (line, _) = ended(Keys::default(), &[], &json!({"id": "m-1", "kind": "query"}), &ending);
    assert_eq!((&line["cluster"], line.get("endpoint")), (&json!("first"), None));
    assert_eq!(line["why"], "queue_full");
}

#[test]
fn endings_are_counted_by_how() {
    let body = json!({"id": "m-1", "kind": "query"});
    let of = |why| ended(Keys::default(), &[], &body, &Ending { why, ..ENDING }).1.metrics;
    let gone = of(Why::ClientGone);
    assert_eq!((gone.total(Total::ClientsGone), gone.total(Total::Aborted)), (1, 0));
    let aborted = of(Why::Aborted("upstream_protocol"));
    assert_eq!((aborted.total(Total::ClientsGone), aborted.total(Total::Aborted)), (0, 1));
    let errors = |metrics: &Metrics, code: &str| {
        metrics
            .render(Format::Text, "0", &[])
            .contains(&format!("waypost_errors_total{{code=\"{code}\"}} 1\n"))
    };
    assert!(errors(&aborted, "upstream_protocol") && !errors(&gone, "upstream_protocol"));
    assert!(errors(&of(Why::Error("no_route")), "no_route"));
}

#[test]
fn a_refusal_says_what_was_known() {
    let recorder = recorder();
    let snapshot = snapshot(keys());
    let intake = accept(&snapshot, &[("x-api-key", b"k"), ("x-request-id", b"r-1")]);
    let rejected = Ending { at: None, attempts: 0, status: 400, why: Why::Error("invalid_json"), ..ENDING };
    assert_eq!(recorder.record_rejection(&intake, &intake.id, &rejected), Pushed::First);
    assert_eq!(recorder.record_rejection(&intake, "m-7", &rejected), Pushed::Waits);
    let found = lines(&recorder);
    assert_eq!((&found[0]["id"], &found[1]["id"]), (&json!("r-1"), &json!("m-7")));
    assert_eq!(
        (&found[0]["key"], &found[0]["why"], found[0].get("route")),
        (&json!("planner"), &json!("invalid_json"), None)
    );
    let text = recorder.metrics.render(Format::Text, "0", &[]);
    assert!(
        text.contains("waypost_requests_total{route=\"(none)\",cluster=\"(none)\",status=\"4xx\"} 2\n"),
        "{text}"
    );
}

#[test]
fn without_a_log_no_line_is_kept() {
    let recorder = recorder();
    recorder.log(false);
    let snapshot = snapshot(Keys::default());
    let intake = accept(&snapshot, &[]);
    assert_eq!(recorder.record_rejection(&intake, "m", &ENDING), Pushed::Waits);
    assert_eq!(recorder.take_lines(), (Vec::new(), 0));
}

#[test]
fn lines_that_nobody_writes_are_dropped_and_counted() {
    let recorder = recorder();
    let snapshot = snapshot(Keys::default());
    let intake = accept(&snapshot, &[]);
    let mut pushed = 0_u64;
    while recorder.record_rejection(&intake, "m", &ENDING) != Pushed::Dropped {
        pushed += 1;
    }
    for _ in 0..9 {
        assert_eq!(recorder.record_rejection(&intake, "m", &ENDING), Pushed::Dropped);
    }
    let (bytes, count) = recorder.take_lines();
    assert!(bytes.len() <= 4 << 20 && bytes.ends_with(b"}\n"));
    assert_eq!((count, recorder.metrics.total(Total::LinesDropped)), (pushed, 10));
    assert_eq!(recorder.record_rejection(&intake, "m", &ENDING), Pushed::First);
}

#[test]
fn the_latest_messages_are_kept_without_a_log() {
    let recorder = recorder();
    recorder.log(false);
    let snapshot = snapshot(keys());
    let intake = accept(&snapshot, &[("x-api-key", b"k")]);
    let body = json!({"id": "m-1", "kind": "model", "model": "llama", "agent": "robot"}).to_string();
    let plan = snapshot.plan(&intake, Some(body.as_bytes())).unwrap();
    recorder.ended(&snapshot, &snapshot.slots(), &intake, &plan, &ENDING);
    let refused = Ending { at: None, attempts: 0, status: 400, why: Why::Error("invalid_json"), ..ENDING };
    recorder.record_rejection(&intake, "m-7", &refused);
    let texts = |outcome: &Outcome| {
        outcome.texts().filter_map(|(name, text)| Some((name, text?.into_owned()))).collect::<Vec<_>>()
    };
    let [refusal, whole] = &recorder.recent()[..] else { panic!("two") };
    assert_eq!((whole.time, whole.attempts, whole.status), (ENDING.time, 2, 200));
    assert_eq!(whole.total, ENDING.total);
    let of = |pairs: &[(&'static str, &str)]| {
        pairs.iter().map(|(name, text)| (*name, (*text).to_owned())).collect::<Vec<_>>()
    };
    let expected = [
        ("id", "m-1"),
        ("method", "POST"),
        ("path", "/v1/envelopes"),
        ("dialect", "envelope"),
        ("kind", "model"),
        ("model", "llama"),
        ("tenant", "acme"),
        ("route", "all"),
        ("cluster", "second"),
        ("endpoint", "http://b"),
        ("why", "ok"),
    ];
    assert_eq!(texts(whole), of(&expected));
    assert_eq!((refusal.attempts, refusal.status), (0, 400));
    assert_eq!(texts(refusal)[0], ("id", "m-7".to_owned()));
    assert_eq!(texts(refusal).last().unwrap(), &("why", "invalid_json".to_owned()));
}
