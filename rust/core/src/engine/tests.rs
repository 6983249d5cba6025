//! A dialect that is unlike the others ([`sample`](crate::dialect::sample)) works everywhere, by its spec alone.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{
    Boundary, Config, EndpointAt, Guard, Ids, Intake, Limits, NoPlan, Peer, Plan, Rejection, Request,
    Snapshot, Trusted,
};
use crate::auth::keys::Caller;
use crate::auth::{Identities, Identity, UnixTime};
use crate::cluster::policy::{Balance, Policy};
use crate::cluster::{Cluster, Credential, Endpoint};
use crate::dialect::{Dialect, Kind};
use crate::hash::hash;
use crate::http1::{BodyLength, Fields};
use crate::json::Options;
use crate::pattern::tests::convert;
use crate::table::{MessageError, RouteSpec};

fn cluster(name: &str, speaks: Dialect, url: &str) -> Cluster {
    Cluster {
        name: name.to_owned(),
        speaks,
        endpoints: vec![Endpoint::parse(url, 1).unwrap()],
        credential: Credential::None,
        model: None,
        policy: Policy::default(),
    }
}

/// Routes named `0`, `1`, … by their patterns and clusters. `calls` speaks the sample dialect, `models` OpenAI's, `natives`
/// envelopes.
fn config(routes: &[(Json, &str)]) -> Config {
    let route = |(name, (pattern, to)): (usize, &(Json, &str))| RouteSpec {
        name: name.to_string(),
        pattern: convert(pattern),
        to: Some((*to).to_owned()),
        ..RouteSpec::default()
    };
    Config {
        routes: routes.iter().enumerate().map(route).collect(),
        clusters: vec![
            cluster("calls", Dialect::Sample, "http://h/inner/rpc"),
            cluster("models", Dialect::OpenAi, "http://h/api/v1"),
            cluster("natives", Dialect::Envelope, "http://h"),
        ],
        identities: Identities::default(),
        trusted: Trusted::default(),
        hosts: Vec::new(),
        limits: Limits { header: 32 << 10, json: Options::default() },
    }
}

fn snapshot(routes: &[(Json, &str)]) -> Snapshot {
    Snapshot::compile(config(routes)).unwrap()
}

fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request {
    let fields = headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    Request {
        method: method.to_owned().into(),
        target: target.to_owned(),
        headers: [(b"host".to_vec(), b"h".to_vec())].into_iter().chain(fields).collect::<Fields>(),
        client: None,
        certificate: None,
        scheme: "http".into(),
        version: "1.1".into(),
    }
}

fn accept(snapshot: &Snapshot, method: &str, target: &str) -> Result<Intake, Rejection> {
    snapshot.accept(request(method, target, &[]), UnixTime(0), &Ids::new(1))
}

fn plan(snapshot: &Snapshot, target: &str, body: &Json) -> Result<(Intake, Plan), NoPlan> {
    let intake = accept(snapshot, "POST", target).unwrap();
    let plan = snapshot.plan(&intake, Some(body.to_string().as_bytes()))?;
    Ok((intake, plan))
}

/// The name of the route that takes a call.
#[track_caller]
fn taken(snapshot: &Snapshot, target: &str, body: &Json) -> String {
    let (_, plan) = plan(snapshot, target, body).unwrap();
    snapshot.table.decision(plan.rank).unwrap().route.clone()
}

fn call(method: &str, params: &Json) -> Json {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

#[test]
fn routes_see_what_is_nested_and_what_is_computed() {
    let snapshot = snapshot(&[
        (json!({"kind": "tool", "tool": [{"prefix": "git_"}]}), "calls"),
        (json!({"kind": "tool", "agent": "ann"}), "calls"),
        (json!({"kind": "context", "tool": "file:///a"}), "calls"),
        (json!({"labels": {"team": "red"}, "path": "/rpc/files"}), "calls"),
        (json!({"dialect": "sample", "kind": [{"exists": false}], "task": "ping"}), "calls"),
        (json!({"dialect": "sample"}), "calls"),
    ]);
    let mut ann = call("tools/list", &json!({}));
    ann["metadata"] = json!({"user_id": "ann"});
    let mut red = call("tools/call", &json!({"name": "x"}));
    red["metadata"] = json!({"team": "red", "user_id": "bob"});
    for (target, body, wanted) in [
        ("/rpc", call("tools/call", &json!({"name": "git_push", "uri": "u"})), "0"),
        ("/rpc", call("tools/call", &json!({"name": "\u{67}it_pull"})), "0"),
        ("/rpc/deep/down?q=1", ann, "1"),
        ("/rpc", call("resources/read", &json!({"name": "git_", "uri": "file:///a"})), "2"),
        ("/rpc/files", red, "3"),
        ("/rpc", call("ping", &json!(null)), "4"),
        // What is no string, or stands in an array, computes nothing.
        ("/rpc", call("tools/call", &json!([{"name": "git_push"}])), "5"),
        ("/rpc", call("tools/call", &json!({"name": ["git_push"]})), "5"),
        ("/rpc", call("tools/call", &json!({"name": {"git_": "git_"}})), "5"),
        ("/rpc", call("tools/call", &json!({"name": 5})), "5"),
        ("/rpc", json!({"id": 1, "result": {"method": "tools/call"}}), "5"),
    ] {
        assert_eq!(taken(&snapshot, target, &body), wanted, "{target} {body}");
    }
}

#[test]
fn a_computed_kind_is_the_messages_kind() {
    let snapshot = snapshot(&[(json!({"dialect": "sample"}), "calls")]);
    for (target, method, kind, idempotent) in [
        ("/rpc", "tools/call", Some(Kind::Tool), false),
        ("/rpc", "resources/read", Some(Kind::Context), true),
        ("/rpc", "initialize", None, false),
        // What the path says is not asked of the body.
        ("/v1/talk", "tools/call", Some(Kind::Model), true),
    ] {
        let (_, plan) = plan(&snapshot, target, &call(method, &json!({}))).unwrap();
        assert_eq!((plan.envelope.kind, plan.idempotent), (kind, idempotent), "{target} {method}");
        assert_eq!(plan.envelope.task.as_deref(), Some(method));
    }
    let Err(NoPlan::Message(error)) = plan(&snapshot, "/rpc", &json!({"method": "broken"})) else { panic!() };
    let told = "`method` must be one of \"query\", \"context\", \"model\", \"tool\", \"event\"";
    assert_eq!(error.to_string(), told);
}

#[test]
fn explain_shows_what_was_computed() {
    let snapshot = snapshot(&[
        (json!({"dialect": "sample", "kind": "context"}), "calls"),
        (json!({"dialect": "sample", "tool": "a"}), "calls"),
    ]);
    let intake = accept(&snapshot, "POST", "/rpc").unwrap();
    let body = call("tools/call", &json!({"name": "a"})).to_string();
    let explained = snapshot.explain(&intake, Some(body.as_bytes())).unwrap();
    assert_eq!(explained.decision, Some(1));
    let seen = [("kind", "\"tool\""), ("task", "\"tools/call\""), ("tool", "\"a\"")];
    assert_eq!(explained.seen, seen.map(|(name, shown)| (name, shown.to_owned())));
    let verdict = &explained.verdicts[0];
    assert_eq!((verdict.path.as_deref(), verdict.seen.as_deref()), (Some("kind"), Some("\"tool\"")));
}

#[test]
fn each_method_has_its_own_way_to_be_read() {
    let snapshot = snapshot(&[(json!({"dialect": "sample"}), "calls")]);
    let post = accept(&snapshot, "POST", "/rpc/a").unwrap();
    assert_eq!((post.dialect, post.buffered), (Dialect::Sample, true));
    for method in ["GET", "DELETE"] {
        let intake = accept(&snapshot, method, "/rpc").unwrap();
        assert!(!intake.buffered, "{method}");
        assert_eq!(snapshot.plan(&intake, None).unwrap().envelope.kind, None);
    }
    let rejected = accept(&snapshot, "PUT", "/rpc").unwrap_err();
    assert_eq!((rejected.code, rejected.allow.as_deref()), ("method_not_allowed", Some("POST, GET, DELETE")));
    // A path of its own goes before what another dialect has below a shorter one.
    assert_eq!(accept(&snapshot, "POST", "/v1/talk").unwrap().dialect, Dialect::Sample);
    assert_eq!(accept(&snapshot, "POST", "/v1/talk/on").unwrap().dialect, Dialect::OpenAi);
    for path in ["/rpc/", "/rpc/../x", "/rpc//a", "/rpcs"] {
        assert_eq!(accept(&snapshot, "POST", path).unwrap_err().code, "not_found", "{path}");
    }
}

#[test]
fn the_reader_of_connections_takes_paths_of_any_dialect() {
    let snapshot = snapshot(&[(json!({"dialect": "sample"}), "calls")]);
    let peer = Peer { client: None, certificate: None, scheme: "http".into(), guard: Guard::Open };
    for (target, plain) in
        [("/rpc", true), ("/rpc/a?b", true), ("/v1/talk", true), ("/rpcs", false), ("/", false)]
    {
        let head = format!("POST {target} HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n");
        let found = snapshot
            .at_boundary(&mut snapshot.reader(), head.as_bytes(), &peer, UnixTime(0), &Ids::new(1))
            .unwrap();
        assert_eq!(matches!(found, Boundary::Plain(..)), plain, "{target}");
    }
}

#[test]
fn errors_speak_the_dialects_own_words() {
    let snapshot = snapshot(&[(json!({"dialect": "sample"}), "calls")]);
    let hint = |path| accept(&snapshot, "POST", path).unwrap_err().message;
    assert_eq!(hint("/RPC"), "there is nothing at `/RPC`: did you mean `/rpc`?");
    assert_eq!(hint("/rpc/"), "there is nothing at `/rpc/`: did you mean `/rpc`?");
    let all = "envelopes go to /v1/envelopes, OpenAI requests to /v1/chat/completions and other paths below /v1/, \
               Anthropic requests to /v1/messages and other paths below /v1/messages/, sample calls to /rpc and other paths below /depot/";
    assert_eq!(hint("/x"), format!("there is nothing at `/x`: {all}"));

    let refusal = |target, body: &[u8], headers: &[(&str, &str)]| {
        let intake = snapshot.accept(request("POST", target, headers), UnixTime(0), &Ids::new(1)).unwrap();
        match snapshot.plan(&intake, Some(body)) {
            Err(NoPlan::Message(MessageError::Envelope { field, message, .. })) => (field, message),
            other => panic!("{other:?}"),
        }
    };
    let (_, message) = refusal("/rpc", b"[]", &[]);
    assert_eq!(message, "a call is a JSON object, but this body is not");
    let (field, message) = refusal("/rpc", br#"{"metadata": {"user_id": 7}}"#, &[]);
    assert_eq!(
        (field.as_str(), message.as_str()),
        ("metadata.user_id", "`metadata.user_id` must be a string")
    );
    let (_, message) = refusal("/rpc", b"{}", &[("x-waypost-task", "t")]);
    assert_eq!(message, "header `x-waypost-task` has no effect on a call: set `method` in the call");
    let (_, message) = refusal("/rpc", b"{}", &[("x-waypost-tenent", "t")]);
    let told =
        "there is no header `x-waypost-tenent`; did you mean `x-waypost-tenant`? Headers: x-waypost-tenant";
    assert_eq!(message, told);
}

#[test]
fn unlisted_paths_go_to_routes_that_test_the_path() {
    let snapshot = snapshot(&[
        (json!({"dialect": "sample", "path": [{"prefix": "/depot/a"}]}), "calls"),
        (json!({"dialect": "sample", "method": "GET"}), "calls"),
    ]);
    let route = |target| {
        let intake = accept(&snapshot, "GET", target).unwrap();
        snapshot.plan(&intake, None).map(|plan| plan.rank)
    };
    assert_eq!(route("/depot/a1").unwrap(), 0);
    // Without a kind, but on a path that is listed.
    assert_eq!(route("/rpc").unwrap(), 1);
    let Err(NoPlan::Route { none, .. }) = route("/depot/b") else { panic!() };
    assert!(none.unlisted && none.to_string().ends_with("only go to routes that test `path`"), "{none}");
}

#[test]
fn a_message_without_an_attempt_belongs_to_the_first_cluster_that_may_have_it() {
    let mut config = config(&[(json!({"dialect": "sample"}), "models")]);
    config.routes[0].fallback = vec!["calls".to_owned()];
    let snapshot = Snapshot::compile(config).unwrap();
    let (_, plan) = plan(&snapshot, "/rpc", &call("tools/call", &json!({"name": "a"}))).unwrap();
    assert_eq!(snapshot.cluster_of(&plan, None).unwrap().1.name, "calls");
}

#[test]
fn check_says_what_cannot_be_sent_on() {
    let problem = |pattern: &Json, to| {
        let found = Snapshot::compile(config(&[(pattern.clone(), to)])).unwrap_err();
        found.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>().join("; ")
    };
    let warning = |pattern: &Json, to: &str| {
        let found = snapshot(&[(pattern.clone(), to)]).warnings;
        let found = found.iter().map(|warning| warning.message.clone());
        found.filter(|message| !message.contains("no route names")).collect::<Vec<_>>().join("; ")
    };
    let sample = json!({"dialect": "sample"});
    assert_eq!(
        problem(&sample, "natives"),
        "cluster `natives` speaks envelope: sample calls of kind tool, context, model or none cannot be sent to it"
    );
    assert_eq!(
        problem(&json!({"dialect": "sample", "kind": "tool"}), "models"),
        "cluster `models` speaks openai: sample calls of kind tool cannot be sent to it"
    );
    assert_eq!(
        problem(&json!({"dialect": "sample", "method": "DELETE"}), "models"),
        "cluster `models` speaks openai: sample calls of no kind cannot be sent to it"
    );
    assert!(warning(&sample, "models").starts_with(
        "this route also matches sample calls of kind tool, model or none, which cannot be sent on"
    ));
    for (pattern, to) in [
        (json!({"dialect": "sample", "kind": "context"}), "models"),
        (json!({"path": "/rpc"}), "calls"),
        (json!({"path": "/rpc/files"}), "calls"),
        (json!({"tool": "t", "path": [{"prefix": "/rpc"}]}), "calls"),
        (json!({"path": [{"prefix": "/depot"}]}), "calls"),
    ] {
        assert_eq!(warning(&pattern, to), "", "{pattern}");
    }
    for pattern in [
        json!({"path": "/rpc", "kind": "model"}),
        json!({"path": "/rpc", "method": "PUT"}),
        json!({"path": "/rpc", "priority": 3}),
        json!({"path": "/rpc/", "dialect": "sample"}),
        json!({"path": "/depot/a", "method": "POST", "dialect": "sample"}),
    ] {
        assert!(warning(&pattern, "calls").starts_with("no message can match"), "{pattern}");
    }
}

#[test]
fn requests_go_where_the_dialect_has_them_go() {
    let snapshot = snapshot(&[
        (json!({"dialect": "sample", "kind": "context"}), "models"),
        (json!({"dialect": "sample"}), "calls"),
    ]);
    let first_line = |target, body: &Json, headers: &[(&str, &str)]| {
        let intake = snapshot.accept(request("POST", target, headers), UnixTime(0), &Ids::new(1)).unwrap();
        let plan = snapshot.plan(&intake, Some(body.to_string().as_bytes())).unwrap();
        let at = EndpointAt::new(plan.clusters[0], 0.into());
        let head = snapshot.head(&intake, &plan, at, BodyLength::Known(2), None).unwrap().unwrap();
        (snapshot.action(&intake, &plan), String::from_utf8(head).unwrap())
    };
    let (action, head) =
        first_line("/rpc/files?q=1", &call("tools/call", &json!({})), &[("x-waypost-tenant", "a")]);
    assert_eq!(action, "forward");
    assert!(
        head.starts_with("POST /inner/rpc HTTP/1.1\r\n") && head.contains("x-waypost-tenant: a\r\n"),
        "{head}"
    );
    let (action, head) =
        first_line("/rpc", &call("resources/read", &json!({})), &[("x-waypost-tenant", "a")]);
    assert_eq!(action, "translate");
    assert!(head.starts_with("POST /api/v1/chat/completions HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("x-waypost-tenant: a\r\n") && head.contains("x-waypost-task: resources/read\r\n"),
        "{head}"
    );
}

#[test]
fn endpoints_can_be_chosen_by_what_is_computed() {
    let of = |field: &str, body: &Json| {
        let mut config = config(&[(json!({"dialect": "sample"}), "calls")]);
        config.clusters[0].policy.balance = Balance::Hash(field.to_owned());
        let snapshot = Snapshot::compile(config).unwrap();
        let body = body.to_string();
        let intake = accept(&snapshot, "POST", "/rpc").unwrap();
        let plan = snapshot.plan(&intake, Some(body.as_bytes())).unwrap();
        snapshot.key(0, &intake, &plan, Some(body.as_bytes()))
    };
    let mut body = call("tools/call", &json!({"name": "a\nb"}));
    body["metadata"] = json!({"user_id": "ann", "team": "red"});
    for (field, wanted) in [
        ("tool", Some("a\nb")),
        ("kind", Some("tool")),
        ("agent", Some("ann")),
        ("labels.team", Some("red")),
        ("task", Some("tools/call")),
        ("content", None),
    ] {
        assert_eq!(of(field, &body), wanted.map(|text: &str| hash(text.as_bytes())), "{field}");
    }
    assert_eq!(of("tool", &call("tools/call", &json!({"name": ["a"]}))), None);
    assert_eq!(of("tool", &call("tools/call", &json!([{"name": "a"}]))), None);
}

#[test]
fn an_identity_replaces_what_such_a_body_says_but_no_header() {
    let identity = Identity {
        tenant: Some("acme".to_owned()),
        agent: Some("ann".to_owned()),
        labels: vec![("team".to_owned(), "red".to_owned())],
    };
    let caller = Arc::new(Caller::new("k", identity));
    let snapshot = snapshot(&[(
        json!({"agent": "ann", "labels": {"team": "red"}, "tenant": "acme", "dialect": "sample"}),
        "calls",
    )]);
    let planned = |headers: &[(&str, &str)]| {
        let asked = request("POST", "/rpc", headers);
        let intake = snapshot.accept_of(asked, Arc::clone(&caller), &Ids::new(1)).unwrap();
        let body = json!({"metadata": {"user_id": "eve", "team": "blue"}}).to_string();
        snapshot.plan(&intake, Some(body.as_bytes())).map(|plan| plan.rank)
    };
    assert_eq!(planned(&[]).unwrap(), 0);
    assert_eq!(planned(&[("x-waypost-tenant", "acme")]).unwrap(), 0);
    let Err(NoPlan::Message(error)) = planned(&[("x-waypost-tenant", "other")]) else { panic!() };
    assert_eq!(error, MessageError::IdentityConflict { field: "x-waypost-tenant".to_owned(), id: None });
}
