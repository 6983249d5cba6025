//! A snapshot: what is compiled, what is refused by its head, where messages go.

use crate::sample_messages::convert;
use serde_json::{Value as Json, json};
use waypost_core::auth::{Identities, UnixTime};
use waypost_core::cluster::{Cluster, Credential, Endpoint, policy::Policy};
use waypost_core::dialect::{Dialect, Kind};
use waypost_core::engine::{
    Config, Ids, Intake, Limits, NoPlan, Plan, Rejection, Request, Snapshot, Trusted,
};
use waypost_core::json::Options;
use waypost_core::pattern::Problem;
use waypost_core::table::RouteSpec;

const HEADER: usize = 4096;

fn cluster(name: &str, speaks: Dialect, weights: &[u32]) -> Cluster {
    let endpoint = |(index, weight): (usize, &u32)| {
        Endpoint::parse(&format!("http://{name}-{index}:80"), *weight).unwrap()
    };
    Cluster {
        name: name.to_owned(),
        speaks,
        endpoints: weights.iter().enumerate().map(endpoint).collect(),
        credential: Credential::None,
        model: None,
        policy: Policy::default(),
    }
}

fn route(name: &str, pattern: &Json, to: Option<&str>, fallback: &[&str]) -> RouteSpec {
    RouteSpec {
        name: name.to_owned(),
        pattern: convert(pattern),
        to: to.map(str::to_owned),
        fallback: fallback.iter().map(|name| (*name).to_owned()).collect(),
        precedence: 0,
        ..RouteSpec::default()
    }
}

fn compile(routes: Vec<RouteSpec>) -> Result<Snapshot, Vec<Problem>> {
    let clusters = vec![
        cluster("models", Dialect::OpenAi, &[1]),
        cluster("natives", Dialect::Envelope, &[1]),
        cluster("pair", Dialect::OpenAi, &[1, 3]),
    ];
    let limits = Limits { header: HEADER, json: Options::default() };
    Snapshot::compile(Config {
        routes,
        clusters,
        identities: Identities::default(),
        trusted: Trusted::default(),
        hosts: Vec::new(),
        limits,
    })
}

fn snapshot(routes: Vec<RouteSpec>) -> Snapshot {
    compile(routes).unwrap()
}

fn problems(routes: Vec<RouteSpec>) -> Vec<String> {
    compile(routes).unwrap_err().iter().map(ToString::to_string).collect()
}

fn warnings(routes: Vec<RouteSpec>) -> Vec<String> {
    let lines = snapshot(routes).warnings.into_iter().map(|warning| warning.to_string());
    lines.filter(|line| !line.ends_with("no route names this cluster")).collect()
}

/// An HTTP/1.1 request, with a Host field unless it has one.
fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request {
    let host = [("host", "h")]
        .into_iter()
        .filter(|_| !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")));
    let headers: Vec<(&str, &str)> = host.chain(headers.iter().copied()).collect();
    Request {
        method: method.to_owned().into(),
        target: target.to_owned(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect(),
        client: Some("192.0.2.7".into()),
        certificate: None,
        scheme: "https".into(),
        version: "1.1".into(),
    }
}

fn accept(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Intake, Rejection> {
    snapshot(vec![]).accept(request(method, target, headers), UnixTime(0), &Ids::new(1))
}

fn code(method: &str, target: &str, headers: &[(&str, &str)]) -> &'static str {
    accept(method, target, headers).map_or_else(|rejection| rejection.code, |_| "")
}

fn plan(
    snapshot: &Snapshot,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<(Intake, Plan), NoPlan> {
    let ids = Ids::new(1);
    let intake = snapshot.accept(request("POST", target, headers), UnixTime(0), &ids).unwrap();
    let plan = snapshot.plan(&intake, Some(body.as_bytes()))?;
    Ok((intake, plan))
}

fn envelope(kind: &str) -> String {
    json!({"id": "m-1", "kind": kind}).to_string()
}

// Compiling.

#[test]
fn problems_of_every_sort_are_told_together() {
    let mut found = problems(vec![
        route("a", &json!({"kind": ["modle", "tol"], "method": ["get"]}), Some("models"), &[]),
        route("b", &json!({"kind": "tool"}), Some("models"), &["pair"]),
        route("c", &json!({"foo": {"a": 1, "b": {"c": 2}}}), Some("gone"), &[]),
    ]);
    found.sort();
    let places: Vec<&str> = found.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "routes[0].match.kind",
            "routes[0].match.kind",
            "routes[0].match.method",
            "routes[1].fallback[0]",
            "routes[1].to",
            "routes[2].match.foo",
            "routes[2].to"
        ],
        "{found:#?}"
    );
}

#[test]
fn clusters_must_exist() {
    let found = problems(vec![
        route("a", &json!({"kind": "model"}), Some("model"), &["models", "nowhere"]),
        route("b", &json!({"kind": []}), Some("Models"), &[]),
    ]);
    assert!(
        found
            .iter()
            .any(|line| line
                .starts_with("routes[0].to: unknown cluster `model`; known: models, natives, pair")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|line| line.starts_with("routes[0].fallback[1]: unknown cluster `nowhere`")),
        "{found:#?}"
    );
    // What is wrong with patterns is told at the same time.
    assert!(found.iter().any(|line| line.starts_with("routes[1].match.kind: an empty list")), "{found:#?}");
    assert!(
        found.iter().any(|line| line.starts_with("routes[1].to: unknown cluster `Models`")),
        "{found:#?}"
    );
    assert_eq!(found.len(), 4);
}

#[test]
fn joins_that_cannot_be_are_problems() {
    for (pattern, to, sort) in [
        (json!({"kind": "tool"}), "models", "envelopes of kind tool cannot"),
        (json!({"kind": ["query", "event"]}), "models", "envelopes of kind query, event cannot"),
        (json!({"dialect": "openai"}), "natives", "OpenAI requests"),
        (json!({"path": "/v1/chat/completions"}), "natives", "OpenAI requests"),
        (json!({"path": [{"prefix": "/v1/audio"}], "dialect": "openai"}), "natives", "OpenAI requests"),
        (
            json!({"$or": [{"kind": "tool"}, {"kind": "event"}]}),
            "models",
            "envelopes of kind tool, event cannot",
        ),
        (json!({"kind": [{"anything-but": "model"}]}), "models", "envelopes of kind query"),
        (json!({"kind": [{"exists": false}], "path": [{"prefix": "/v1/"}]}), "natives", "OpenAI requests"),
        (json!({"kind": "query", "tenant": "acme", "body": {"x": [1]}}), "models", "envelopes of kind query"),
    ] {
        for (to, fallback, place) in
            [(Some(to), vec![], "routes[0].to"), (None, vec![to], "routes[0].fallback[0]")]
        {
            let found = problems(vec![route("r", &pattern, to, &fallback)]);
            assert_eq!(found.len(), 1, "{found:#?}");
            assert!(
                found[0].starts_with(&format!("{place}: cluster `")) && found[0].contains(sort),
                "{pattern}: {found:#?}"
            );
            assert!(found[0].contains("cannot be sent"), "{found:#?}");
        }
    }
}

#[test]
fn joins_that_sometimes_cannot_be_are_warnings() {
    for (pattern, to, sort) in [
        (json!({}), "models", "envelopes of kind query, context, tool, event, which"),
        (json!({"tenant": "acme"}), "natives", "OpenAI requests"),
        (json!({"kind": "model"}), "natives", "OpenAI requests"),
        (json!({"kind": ["model", "tool"]}), "models", "envelopes of kind tool, which"),
        (json!({"headers": {"x-tier": ["gold"]}}), "models", "event"),
    ] {
        let found = warnings(vec![route("r", &pattern, Some(to), &[])]);
        assert_eq!(found.len(), 1, "{pattern}: {found:#?}");
        assert!(
            found[0].starts_with("routes[0].to: ") && found[0].contains(sort) && found[0].contains("refused"),
            "{found:#?}"
        );
    }
}

#[test]
fn a_fallback_that_sometimes_cannot_be_is_passed_over() {
    let found = warnings(vec![route("r", &json!({"dialect": "openai"}), Some("models"), &["pair"])]);
    assert_eq!(found, Vec::<String>::new());
    let found = warnings(vec![route("r", &json!({"kind": "model"}), Some("models"), &["natives"])]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].starts_with("routes[0].fallback[0]: ") && found[0].contains("skip this cluster"),
        "{found:#?}"
    );
}

#[test]
fn joins_that_can_be_are_silent() {
    for (pattern, to) in [
        (json!({"kind": "model"}), "models"),
        (json!({"dialect": "openai"}), "models"),
        (json!({"dialect": "openai", "kind": "model"}), "pair"),
        (json!({"path": "/v1/chat/completions"}), "models"),
        (json!({"path": [{"prefix": "/v1/audio/"}]}), "models"),
        (json!({"dialect": "envelope"}), "natives"),
        (json!({"path": "/v1/envelopes"}), "natives"),
        (json!({"kind": [{"anything-but": "model"}], "dialect": "envelope"}), "natives"),
        (json!({"kind": ["query", "context", "tool", "event"]}), "natives"),
        (json!({"$or": [{"kind": "tool"}, {"kind": "event", "tenant": "acme"}]}), "natives"),
        // No OpenAI request has these.
        (json!({"tool": "search"}), "natives"),
        (json!({"topic": [{"prefix": "alerts/"}]}), "natives"),
        (json!({"context": {"type": ["memory"]}}), "natives"),
        (json!({"content": {"text": [{"exists": true}]}}), "natives"),
    ] {
        assert_eq!(warnings(vec![route("r", &pattern, Some(to), &[])]), Vec::<String>::new(), "{pattern}");
    }
    // Without it they are among the others.
    let found = warnings(vec![route("r", &json!({"topic": [{"exists": false}]}), Some("natives"), &[])]);
    assert!(found[0].contains("OpenAI requests"), "{found:#?}");
    assert!(
        warnings(vec![route("r", &json!({}), None, &[])]).is_empty(),
        "a route that leads nowhere joins nothing"
    );
}

#[test]
fn routes_behind_one_that_takes_all_are_never_reached() {
    let kinds = json!({"kind": ["tool", "event"]});
    let mut early = route("early", &json!({"kind": "tool"}), Some("natives"), &[]);
    early.precedence = 1;
    let found = warnings(vec![
        route("a", &kinds, Some("natives"), &[]),
        route("b", &json!({"kind": ["event", "tool"]}), Some("natives"), &[]),
        route("all", &json!({}), None, &[]),
        route("c", &json!({"tenant": "acme"}), None, &[]),
        route("d", &json!({}), None, &[]),
        early,
    ]);
    assert_eq!(
        found,
        [
            "routes[1].match: never reached: a route with the same pattern is tried earlier",
            "routes[3].match: never reached: route `all` is tried earlier and matches every message",
            "routes[4].match: never reached: route `all` is tried earlier and matches every message",
        ]
    );
    for (a, b) in [
        (json!({"tenant": "a"}), json!({"tenant": "b"})),
        (json!({"tenant": "a"}), json!({"agent": "a"})),
        (json!({"tenant": ["a", "b"]}), json!({"$or": [{"tenant": "a"}, {"tenant": "c"}]})),
        (json!({"labels": {"a.b": ["x"]}}), json!({"labels": {"a": {"b": ["x"]}}})),
        (json!({"tenant": [{"regex": "a"}]}), json!({"tenant": [{"regex": "b"}]})),
        (json!({"$or": [{"tenant": "a", "agent": "b"}]}), json!({"$or": [{"tenant": "a"}, {"agent": "b"}]})),
        (json!({"priority": [{"numeric": [">", 5]}]}), json!({"priority": [{"numeric": [">=", 5]}]})),
    ] {
        assert!(warnings(vec![route("a", &a, None, &[]), route("b", &b, None, &[])]).is_empty(), "{a} {b}");
    }
}

// Accepting.

#[test]
fn paths_have_dialects() {
    for (method, target, dialect, buffered) in [
        ("POST", "/v1/envelopes", Dialect::Envelope, true),
        ("POST", "/v1/envelopes?x=/y", Dialect::Envelope, true),
        ("POST", "/v1/chat/completions", Dialect::OpenAi, true),
        ("POST", "/v1/completions", Dialect::OpenAi, true),
        ("POST", "/v1/responses", Dialect::OpenAi, true),
        ("POST", "/v1/embeddings", Dialect::OpenAi, true),
        ("GET", "/v1/models", Dialect::OpenAi, false),
        ("HEAD", "/v1/models?limit=1", Dialect::OpenAi, false),
        ("DELETE", "/v1/files/1", Dialect::OpenAi, false),
    ] {
        let intake = accept(method, target, &[]).unwrap();
        assert_eq!((intake.dialect, intake.buffered), (dialect, buffered), "{method} {target}");
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    for target in [
        "/",
        "/v1",
        "/v1/",
        "/v2/chat/completions",
        "/V1/envelopes",
        "//v1/envelopes",
        "/v1?x",
        "/healthz",
        "/v1/?q",
    ] {
        let rejection = accept("POST", target, &[]).unwrap_err();
        assert_eq!(
            (rejection.code, rejection.dialect, rejection.allow.is_none()),
            ("not_found", Dialect::Json, true),
            "{target}"
        );
        assert!(rejection.message.contains("/v1/"), "{}", rejection.message);
    }
    let long = format!("/{}", "x".repeat(3000));
    assert!(accept("GET", &long, &[]).unwrap_err().message.len() < 400, "a long path is not repeated");
}

#[test]
fn methods_are_checked() {
    for (method, target, allow) in [
        ("GET", "/v1/envelopes", "POST"),
        ("post", "/v1/envelopes", "POST"),
        ("OPTIONS", "/v1/chat/completions", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
    ] {
        let rejection = accept(method, target, &[]).unwrap_err();
        assert_eq!(
            (rejection.code, rejection.allow.as_deref()),
            ("method_not_allowed", Some(allow)),
            "{method} {target}"
        );
        assert!(
            rejection.message.contains(allow) && rejection.message.contains(method),
            "{}",
            rejection.message
        );
    }
    assert_eq!(code("PATCH", "/v1/anything", &[]), "");
}

#[test]
fn content_types() {
    let json = |value: &str| code("POST", "/v1/envelopes", &[("Content-Type", value)]);
    for value in [
        "application/json",
        "Application/JSON; charset=utf-8",
        " application/json ;x",
        "application/vnd.api+json",
        "application/cloudevents+json; charset=UTF-8",
    ] {
        assert_eq!(json(value), "", "{value}");
    }
    for value in [
        "",
        "text/plain",
        "text/json",
        "application/jsonl",
        "json",
        "application/json, application/json",
        "multipart/form-data; boundary=x",
        "x/y+json",
    ] {
        assert_eq!(json(value), "unsupported_media_type", "{value}");
    }
    let twice = [("content-type", "application/json"), ("CONTENT-TYPE", "application/json")];
    assert_eq!(code("POST", "/v1/envelopes", &twice), "unsupported_media_type");

    // Where any body may come, only JSON is held back.
    for (content_type, buffered) in
        [(None, true), (Some("application/json"), true), (Some("multipart/form-data"), false)]
    {
        let mut headers = vec![("content-length", "5")];
        headers.extend(content_type.map(|value| ("content-type", value)));
        assert_eq!(accept("POST", "/v1/files", &headers).unwrap().buffered, buffered, "{content_type:?}");
        headers[0] = ("transfer-encoding", "chunked");
        assert_eq!(accept("POST", "/v1/files", &headers).unwrap().buffered, buffered, "{content_type:?}");
        headers[0] = ("content-length", "0");
        assert!(!accept("POST", "/v1/files", &headers).unwrap().buffered);
    }
}

#[test]
fn content_encodings() {
    for (value, refused) in [
        ("gzip", true),
        ("br", true),
        ("", true),
        ("identity", false),
        ("Identity", false),
        ("identity, gzip", true),
    ] {
        let headers = [("content-encoding", value), ("content-length", "5")];
        let wanted = if refused { "unsupported_media_type" } else { "" };
        assert_eq!(code("POST", "/v1/chat/completions", &headers), wanted, "{value}");
        assert_eq!(code("POST", "/v1/files", &headers), wanted, "{value}");
        let upload = [headers[0], headers[1], ("content-type", "application/octet-stream")];
        assert_eq!(code("POST", "/v1/files", &upload), "", "what is not read may be compressed");
    }
}

#[test]
fn heads_have_a_limit() {
    let target = "/v1/models";
    let fits = "x".repeat(HEADER - target.len() - "a".len() - 4 - "hosth".len() - 4);
    assert_eq!(code("GET", target, &[("a", &fits)]), "");
    let rejection = accept("GET", target, &[("a", &format!("{fits}x"))]).unwrap_err();
    assert_eq!(rejection.code, "header_too_large");
    assert!(
        rejection.message.contains("4097") && rejection.message.contains("`limits.header` allows 4096"),
        "{}",
        rejection.message
    );
    // Of all fields together, and before anything else is looked at.
    let many: Vec<(&str, &str)> = vec![("a", ""); HEADER / 5 + 1];
    assert_eq!(code("BREW", "/nowhere", &many), "header_too_large");
    assert_eq!(code("GET", &format!("/v1/models?{}", "x".repeat(HEADER)), &[]), "header_too_large");
}

#[test]
fn what_could_not_be_sent_on_is_refused_at_once() {
    let options = ["x"; 33].join(", ");
    for (method, target, headers) in [
        ("GET", "/v1/models?x=é", &[][..]),
        ("GET", "/v1/models?x= y", &[]),
        ("GET", "/v1/models#x", &[]),
        ("GET", "/v1/models?\r\nx: y", &[]),
        ("G T", "/v1/files", &[]),
        ("", "/v1/files", &[]),
        ("CONNECT", "/v1/files", &[]),
        ("GET", "/v1/models", &[("a b", "c")]),
        ("GET", "/v1/models", &[("", "c")]),
        ("GET", "/v1/models", &[("a", "b\r\nc: d")]),
        ("GET", "/v1/models", &[("a", "\0")]),
        ("GET", "/v1/models", &[("connection", "close, (")]),
        ("GET", "/v1/models", &[("connection", &options)]),
    ] {
        assert_eq!(code(method, target, headers), "bad_framing", "{method:?} {target:?} {headers:?}");
    }
    assert_eq!(
        code("GET", "/v1/models?a=%20&b=[]|^", &[("a", "ü\t"), ("_b", ""), ("connection", "close,,x")]),
        ""
    );
}

#[test]
fn ids_come_from_the_client_where_they_are_usable() {
    let id = |headers: &[(&str, &str)]| accept("GET", "/v1/models", headers).unwrap().id;
    assert_eq!(id(&[("X-Request-Id", "r-1")]), "r-1");
    assert_eq!(id(&[("x-request-id", "a b"), ("x-request-id", "r-2")]), "r-2", "the first that is usable");
    let long = "x".repeat(129);
    for unusable in ["", "a b", "é", &long] {
        let fresh = id(&[("x-request-id", unusable)]);
        assert!(fresh.len() == 32 && fresh.bytes().all(|byte| byte.is_ascii_hexdigit()), "{fresh}");
    }
    let ids = Ids::new(1);
    let snapshot = snapshot(vec![]);
    let fresh = || snapshot.accept(request("GET", "/v1/models", &[]), UnixTime(0), &ids).unwrap().id;
    assert_ne!(fresh(), fresh());
}

// Planning.

#[test]
fn a_message_goes_to_its_cluster_then_to_the_fallbacks() {
    let snapshot = snapshot(vec![route("r", &json!({"kind": "model"}), Some("pair"), &["models", "pair"])]);
    let (_, plan) = plan(&snapshot, "/v1/chat/completions", &[], "{}").unwrap();
    assert_eq!(plan.clusters[..], [2, 0, 2]);
}

#[test]
fn a_message_that_its_cluster_cannot_have_is_refused() {
    let alone = snapshot(vec![route("r", &json!({}), Some("models"), &[])]);
    let Err(NoPlan::Unjoinable { id, message }) = plan(&alone, "/v1/envelopes", &[], &envelope("tool"))
    else {
        panic!("it has a plan")
    };
    assert_eq!(id, "m-1");
    assert!(
        message.contains("`r`") && message.contains("`models`") && message.contains("kind tool"),
        "{message}"
    );
    // Where another cluster can have it, those that cannot are passed over.
    let snapshot = snapshot(vec![route("r", &json!({}), Some("models"), &["natives"])]);
    let (_, found) = plan(&snapshot, "/v1/envelopes", &[], &envelope("tool")).unwrap();
    assert_eq!(found.clusters[..], [1]);
    let (_, found) = plan(&snapshot, "/v1/chat/completions", &[], "{}").unwrap();
    assert_eq!(found.clusters.len(), 1);
    let (_, found) = plan(&snapshot, "/v1/envelopes", &[], &envelope("model")).unwrap();
    assert_eq!(found.clusters[..], [0, 1]);
}

#[test]
fn a_route_that_leads_nowhere_has_no_target() {
    let snapshot = snapshot(vec![route("r", &json!({}), None, &[])]);
    assert!(plan(&snapshot, "/v1/envelopes", &[], &envelope("event")).unwrap().1.clusters.is_empty());
}

#[test]
fn no_route_is_no_plan() {
    let snapshot = snapshot(vec![route("r", &json!({"kind": "tool"}), Some("natives"), &[])]);
    let Err(NoPlan::Route { none, .. }) = plan(&snapshot, "/v1/envelopes", &[], &envelope("event")) else {
        panic!()
    };
    assert!(none.seen.contains(&("kind", "\"event\"".to_owned())), "{none:?}");
}

#[test]
fn a_body_that_should_be_there_must_be() {
    let snapshot = snapshot(vec![route("r", &json!({}), None, &[])]);
    let ids = Ids::new(1);
    for target in ["/v1/envelopes", "/v1/chat/completions"] {
        let intake = snapshot.accept(request("POST", target, &[]), UnixTime(0), &ids).unwrap();
        for body in [None, Some(&b""[..]), Some(b" ")] {
            let Err(NoPlan::Message(error)) = snapshot.plan(&intake, body) else {
                panic!("{target} {body:?}")
            };
            assert_eq!(error.code(), "invalid_json");
        }
    }
    let intake = snapshot.accept(request("GET", "/v1/models", &[]), UnixTime(0), &ids).unwrap();
    assert!(snapshot.plan(&intake, None).is_ok());
}

#[test]
fn the_messages_own_id_counts_most() {
    let snapshot = snapshot(vec![route("r", &json!({}), None, &[])]);
    let id = [("x-request-id", "r-1")];
    let ids = |target: &str, headers: &[(&str, &str)], body: &str| {
        let plan = plan(&snapshot, target, headers, body).unwrap().1;
        let request_id = plan.request_id().into_owned();
        (plan.id, request_id)
    };
    let same = |id: &str| (id.to_owned(), id.to_owned());
    assert_eq!(ids("/v1/envelopes", &id, &envelope("event")), same("m-1"));
    assert_eq!(ids("/v1/chat/completions", &id, r#"{"id": "x"}"#), same("r-1"));
    let (fresh, _) = ids("/v1/chat/completions", &[], "{}");
    assert_eq!(fresh.len(), 32);
    // What a header cannot carry is percent-encoded.
    let unsafe_id = json!({"id": "a b\r\nx-evil: 1\u{e9}", "kind": "event"}).to_string();
    assert_eq!(
        ids("/v1/envelopes", &id, &unsafe_id),
        ("a b\r\nx-evil: 1é".to_owned(), "a%20b%0D%0Ax-evil:%201%C3%A9".to_owned())
    );
}

#[test]
fn only_what_changes_nothing_may_be_sent_again() {
    let snapshot = snapshot(vec![route("r", &json!({"path": [{"prefix": "/v1/"}]}), None, &[])]);
    for kind in Kind::ALL {
        let idempotent = plan(&snapshot, "/v1/envelopes", &[], &envelope(kind.name())).unwrap().1.idempotent;
        assert_eq!(idempotent, !matches!(kind, Kind::Tool | Kind::Event), "{kind:?}");
    }
    let ids = Ids::new(1);
    for (method, idempotent) in [
        ("GET", true),
        ("HEAD", true),
        ("OPTIONS", true),
        ("PUT", true),
        ("DELETE", true),
        ("POST", false),
        ("PATCH", false),
    ] {
        let intake = snapshot.accept(request(method, "/v1/files/1", &[]), UnixTime(0), &ids).unwrap();
        assert_eq!(snapshot.plan(&intake, None).unwrap().idempotent, idempotent, "{method}");
    }
}

#[test]
fn patterns_see_the_head_as_it_came() {
    let pattern = json!({
        "headers": {"x-tier": ["gold"], "x-raw": ["\u{ff}"]}, "client": {"address": [{"cidr": "192.0.2.0/24"}]},
        "method": "POST", "path": "/v1/files"
    });
    let snapshot = snapshot(vec![route("r", &pattern, Some("models"), &[])]);
    let ids = Ids::new(1);
    let mut head = request("POST", "/v1/files?x=1", &[("X-Tier", "gold")]);
    head.headers.push(b"X-RAW", b"\xff"); // Not UTF-8: seen as Latin-1.
    let intake = snapshot.accept(head, UnixTime(0), &ids).unwrap();
    assert!(snapshot.plan(&intake, None).is_ok());
}
