//! A snapshot in force: by what of a message an endpoint is chosen, and whose account it is charged to.

use crate::sample_messages::convert;
use serde_json::{Value as Json, json};
use waypost_core::auth::keys::{Caller, Keys, hash};
use waypost_core::auth::{Identity, UnixTime};
use waypost_core::cluster::policy::{Balance, Per, Policy, Rate};
use waypost_core::cluster::{Cluster, Credential, Endpoint, Instant, Outcome, Registry};
use waypost_core::dialect::{Dialect, Kind};
use waypost_core::engine::{
    BoundClusters, Config, Ids, Intake, Limits, OwnRequest, Plan, Purpose, Request, Snapshot, Step, Trusted,
};
use waypost_core::json::Options;
use waypost_core::table::RouteSpec;

const NOW: Instant = Instant::from_nanos(1_000_000_000_000);

struct Site {
    snapshot: Snapshot,
    bound: BoundClusters,
    /// Kept, as what it knows is.
    _registry: Registry,
}

impl Site {
    /// One cluster with eight endpoints, and a route for everything.
    fn new(speaks: Dialect, policy: Policy, keys: Keys) -> Self {
        let cluster = Cluster {
            name: "c".to_owned(),
            speaks,
            endpoints: (0..8).map(|n| Endpoint::parse(&format!("http://e{n}"), 1).unwrap()).collect(),
            credential: Credential::None,
            model: None,
            policy,
        };
        let route = RouteSpec {
            name: "all".to_owned(),
            pattern: convert(&json!({"path": [{"prefix": "/"}]})),
            to: Some("c".to_owned()),
            fallback: Vec::new(),
            precedence: 0,
            ..RouteSpec::default()
        };
        let limits = Limits { header: 4096, json: Options::default() };
        let (trusted, hosts) = (Trusted::default(), Vec::new());
        let config = Config {
            routes: vec![route],
            clusters: vec![cluster],
            identities: keys.into(),
            trusted,
            hosts,
            limits,
        };
        let snapshot = Snapshot::compile(config).unwrap();
        let mut registry = Registry::new(1);
        let bound = snapshot.join(&mut registry, NOW);
        Self { snapshot, bound, _registry: registry }
    }

    fn hashing(speaks: Dialect, field: &str) -> Self {
        let policy = Policy { balance: Balance::Hash(field.to_owned()), ..Policy::default() };
        assert_eq!(policy.problems(), []);
        Self::new(speaks, policy, Keys::default())
    }

    fn intake(&self, target: &str, headers: &[(&str, &str)]) -> Intake {
        let fields = [("host", "h")].iter().chain(headers);
        let request = Request {
            method: "POST".into(),
            target: target.to_owned(),
            headers: fields.map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())).collect(),
            client: Some("192.0.2.7".into()),
            certificate: None,
            scheme: "http".into(),
            version: "1.1".into(),
        };
        self.snapshot.accept(request, UnixTime(0), &Ids::new(1)).unwrap()
    }

    /// The first step for a message.
    fn begin(&self, target: &str, headers: &[(&str, &str)], body: &Json) -> Step {
        let intake = self.intake(target, headers);
        let body = body.to_string();
        let plan = self.snapshot.plan(&intake, Some(body.as_bytes())).unwrap();
        self.first_step(&intake, &plan, &body)
    }

    /// The first step for an internal call on behalf of a message.
    fn begin_child(&self, headers: &[(&str, &str)], body: &Json, own: Option<(OwnRequest, Json)>) -> Step {
        let intake = self.intake("/v1/envelopes", headers);
        let body = body.to_string();
        let plan = self.snapshot.plan(&intake, Some(body.as_bytes())).unwrap();
        let (own, body) = own.map_or((None, body), |(own, body)| (Some(own), body.to_string()));
        let (intake, plan) = self.snapshot.child(&intake, &plan, "c", Purpose::Step, own, None).unwrap();
        self.first_step(&intake, &plan, &body)
    }

    fn first_step(&self, intake: &Intake, plan: &Plan, body: &str) -> Step {
        let course = self.snapshot.course(&self.bound, intake, plan, Some(body.as_bytes()), NOW);
        let mut course = course.unwrap();
        let step = course.begin(NOW);
        course.end(Outcome::Cancelled, NOW);
        step
    }

    fn home(&self, target: &str, headers: &[(&str, &str)], body: &Json) -> usize {
        endpoint(&self.begin(target, headers, body))
    }
}

fn endpoint(step: &Step) -> usize {
    match step {
        Step::Attempt { at, .. } => at.endpoint,
        other => panic!("{other:?}"),
    }
}

/// Header fields and a body.
type Message = (Vec<(&'static str, String)>, Json);

/// Whether `message(value)` has a home for each value, and not one for all.
fn sticks(home: impl Fn(&str) -> usize) -> bool {
    let values: Vec<String> = (0..30).map(|n| format!("v{n}")).collect();
    let first: Vec<usize> = values.iter().map(|value| home(value)).collect();
    let same = (0..5).all(|_| values.iter().map(|value| home(value)).eq(first.iter().copied()));
    same && first.iter().any(|at| *at != first[0])
}

#[test]
fn every_field_that_patterns_see_can_be_what_endpoints_are_chosen_by() {
    let envelope = |field: &str, body: &dyn Fn(&str) -> Json| {
        let site = Site::hashing(Dialect::Envelope, field);
        sticks(|value| {
            let mut document = json!({"kind": "query"});
            document.as_object_mut().unwrap().extend(body(value).as_object().unwrap().clone());
            document.as_object_mut().unwrap().entry("id").or_insert(json!("i"));
            site.home("/v1/envelopes", &[], &document)
        })
    };
    for name in ["id", "agent", "model", "tenant", "task", "tool", "topic"] {
        assert!(envelope(name, &|value| json!({name: value})), "{name}");
    }
    assert!(envelope("labels.session", &|value| json!({"labels": {"x": "1", "session": value}})));
    assert!(envelope("content.user.id", &|value| json!({"content": {"user": [{"id": value}]}})));
    assert!(envelope("context.ref", &|value| json!({"context": [{"type": "t", "ref": value}]})));
    assert!(envelope("body.deep.er", &|value| json!({"deep": {"er": value}})));

    let openai = |field: &str, message: &dyn Fn(&str) -> Message| {
        let site = Site::hashing(Dialect::OpenAi, field);
        sticks(|value| {
            let (headers, body) = message(value);
            let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            site.home("/v1/chat/completions", &headers, &body)
        })
    };
    let field = |name, value: &str| (vec![(name, value.to_owned())], json!({}));
    assert!(openai("headers.x-session", &|value| field("X-Session", value)));
    assert!(openai("tenant", &|value| field("x-waypost-tenant", value)));
    assert!(openai("task", &|value| field("x-waypost-task", value)));
    assert!(openai("agent", &|value| (vec![], json!({"user": value}))));
    assert!(openai("labels.session", &|value| (vec![], json!({"metadata": {"session": value}}))));
    assert!(openai("body.n", &|value| (vec![], json!({"n": value[1..].parse::<u32>().unwrap()}))));
    let site = Site::hashing(Dialect::OpenAi, "path");
    assert!(sticks(|value| site.home(&format!("/v1/files/{value}"), &[], &json!({}))));
}

#[test]
fn escapes_stand_for_what_they_mean_and_what_is_not_there_for_nothing() {
    let site = Site::hashing(Dialect::Envelope, "task");
    let plain = site.home("/v1/envelopes", &[], &json!({"id": "i", "kind": "query", "task": "a\"b"}));
    let field = Site::hashing(Dialect::OpenAi, "body.task");
    assert_eq!(field.home("/v1/chat/completions", &[], &json!({"task": "a\"b"})), plain);
    // By least load: not always the same.
    let homes: std::collections::HashSet<usize> =
        [json!({}), json!({"task": null}), json!({"task": {"a": 1}})]
            .iter()
            .cycle()
            .take(60)
            .map(|body| field.home("/v1/chat/completions", &[], body))
            .collect();
    assert!(homes.len() > 1, "{homes:?}");
}

#[test]
fn what_a_key_proves_counts_and_not_what_a_message_says() {
    let key = |name: &str, agent: Option<&str>| {
        let identity = Identity {
            tenant: Some("acme".to_owned()),
            agent: agent.map(str::to_owned),
            labels: vec![("session".to_owned(), name.to_owned())],
        };
        (hash(name.as_bytes()), Caller::new(name, identity))
    };
    let keys = || Keys::new(vec![key("k1", Some("a1")), key("k2", None)]);
    let rate = |per| Rate { per, messages: 1, every: std::time::Duration::from_secs(60), burst: 1, keys: 9 };
    let body = |agent: &str| json!({"id": "i", "kind": "query", "agent": agent});
    let taken = |per: Per, calls: &[(&str, &str)]| {
        let policy = Policy { rate: vec![rate(per)], ..Policy::default() };
        let site = Site::new(Dialect::Envelope, policy, keys());
        let step =
            |&(key, agent): &(&str, &str)| site.begin("/v1/envelopes", &[("x-api-key", key)], &body(agent));
        calls.iter().map(|call| matches!(step(call), Step::Attempt { .. })).collect::<Vec<_>>()
    };
    assert_eq!(taken(Per::Key, &[("k1", "a1"), ("k2", "x"), ("k1", "a1")]), [true, true, false]);
    assert_eq!(taken(Per::Tenant, &[("k1", "a1"), ("k2", "x")]), [true, false]);
    assert_eq!(
        taken(Per::Agent, &[("k1", "a1"), ("k2", "x"), ("k2", "y"), ("k2", "x")]),
        [true, true, true, false]
    );
    let policy = Policy { balance: Balance::Hash("labels.session".to_owned()), ..Policy::default() };
    let site = Site::new(Dialect::Envelope, policy, keys());
    let homes: std::collections::HashSet<usize> =
        (0..20).map(|_| site.home("/v1/envelopes", &[("x-api-key", "k2")], &body("x"))).collect();
    assert_eq!(homes.len(), 1);
}

#[test]
fn an_internal_call_goes_where_its_own_body_says_and_its_parents_tenant() {
    let message = |n: &str| json!({"id": "i", "kind": "query", "tenant": n, "n": n});
    let own = |n: &str| {
        let request = OwnRequest { dialect: Dialect::Envelope, kind: Kind::Query, stream: false };
        Some((request, json!({"id": "i", "kind": "query", "n": n})))
    };
    let site = Site::hashing(Dialect::Envelope, "body.n");
    assert!(sticks(|n| endpoint(&site.begin_child(&[], &message(n), None))));
    assert!(sticks(|n| endpoint(&site.begin_child(&[], &message("parent"), own(n)))));
    let home = |n: &str| site.home("/v1/envelopes", &[], &message(n));
    for n in ["v1", "v2", "v3", "v4", "v5"] {
        assert_eq!(endpoint(&site.begin_child(&[], &message(n), None)), home(n));
        assert_eq!(endpoint(&site.begin_child(&[], &message("parent"), own(n))), home(n));
    }
    let site = Site::hashing(Dialect::Envelope, "tenant");
    for n in ["v1", "v2", "v3", "v4", "v5"] {
        let home = site.home("/v1/envelopes", &[], &message(n));
        assert_eq!(endpoint(&site.begin_child(&[], &message(n), own("x"))), home);
    }
}
