//! What is legal in a configuration, but probably not meant.

use std::fmt::Write;

use crate::sample_messages::convert;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use waypost_core::auth::Identities;
use waypost_core::cluster::{Cluster, Credential, Endpoint, policy::Policy};
use waypost_core::dialect::{Dialect, entry};
use waypost_core::engine::{Config, Limits, Snapshot, Trusted};
use waypost_core::json::Options;
use waypost_core::table::{Header, Message, RouteSpec};

fn cluster(name: &str, speaks: Dialect) -> Cluster {
    Cluster {
        name: name.to_owned(),
        speaks,
        endpoints: vec![Endpoint::parse("http://localhost:9", 1).unwrap()],
        credential: Credential::None,
        model: None,
        policy: Policy::default(),
    }
}

fn route(name: &str, pattern: &Json, to: &str, fallback: &[&str]) -> RouteSpec {
    RouteSpec {
        name: name.to_owned(),
        pattern: convert(pattern),
        to: Some(to.to_owned()),
        fallback: fallback.iter().map(|name| (*name).to_owned()).collect(),
        precedence: 0,
        ..RouteSpec::default()
    }
}

fn warnings(clusters: &[(&str, Dialect)], routes: Vec<RouteSpec>) -> Vec<String> {
    warnings_of(clusters.iter().map(|(name, speaks)| cluster(name, *speaks)).collect(), routes)
}

fn warnings_of(clusters: Vec<Cluster>, routes: Vec<RouteSpec>) -> Vec<String> {
    let config = Config {
        routes,
        clusters,
        identities: Identities::default(),
        trusted: Trusted::default(),
        hosts: Vec::new(),
        limits: Limits { header: 32 << 10, json: Options::default() },
    };
    Snapshot::compile(config).unwrap().warnings.iter().map(ToString::to_string).collect()
}

/// The warnings of two routes, the first of which is tried first.
fn pair(first: &Json, second: &Json) -> Vec<String> {
    let nowhere = |name, pattern| RouteSpec { to: None, ..route(name, pattern, "", &[]) };
    let routes = vec![nowhere("a", first), nowhere("b", second)];
    let found = warnings(&[("c", Dialect::OpenAi)], routes);
    found.into_iter().filter(|line| line.contains("never reached")).collect()
}

#[test]
fn a_cluster_that_no_route_names() {
    let clusters = [("one", Dialect::OpenAi), ("two", Dialect::OpenAi), ("three", Dialect::OpenAi)];
    let found = warnings(&clusters, vec![route("r", &json!({"kind": "model"}), "one", &["three"])]);
    assert_eq!(found, ["clusters.two: no route names this cluster"]);
}

#[test]
fn statuses_that_concern_the_callers_own_key() {
    let mut passing = cluster("a", Dialect::OpenAi);
    passing.credential = Credential::Pass;
    passing.policy.retry.statuses = vec![503, 401];
    let mut own = cluster("b", Dialect::OpenAi);
    own.policy.retry.statuses = vec![401];
    let routes = vec![route("r", &json!({"kind": "model"}), "a", &["b"])];
    let told = "clusters.a.retry.statuses: with `credential: pass`, a 401 concerns the caller's own key and is answered at once, \
                never retried";
    assert_eq!(warnings_of(vec![passing, own], routes), [told]);
}

#[test]
fn of_each_kind_so_many_are_told_as_somebody_can_read() {
    let broad = |at| route(&format!("r{at}"), &json!({"tenant": [format!("t{at}")]}), "one", &[]);
    let all = |count: u32| {
        warnings(&[("one", Dialect::OpenAi), ("two", Dialect::OpenAi)], (0..count).map(broad).collect())
    };
    let found = all(20);
    assert_eq!(found.len(), 21, "{found:#?}");
    let found = all(1000);
    assert_eq!(found.len(), 22, "{found:#?}");
    assert!(found[20].starts_with("routes[19].to: this route also matches"), "{found:#?}");
    assert_eq!(
        found[21],
        "routes: 980 more warnings of this kind: a route also matches what cannot be sent on"
    );
}

#[test]
fn no_routes_at_all() {
    let found = warnings(&[("one", Dialect::OpenAi)], vec![]);
    assert_eq!(found, ["routes: there are no routes, so every message is refused"]);
}

#[test]
fn a_route_behind_a_broader_one_is_never_reached() {
    for (earlier, later) in [
        (json!({"kind": "model"}), json!({"kind": "model", "tenant": "acme"})),
        (json!({"kind": ["model", "tool"]}), json!({"kind": "tool"})),
        (json!({"kind": ["model", "tool"]}), json!({"kind": ["tool", "model"], "tenant": "acme"})),
        (json!({"tenant": [{"prefix": "a"}, "b"]}), json!({"tenant": [{"prefix": "a"}]})),
        (
            json!({"kind": "model", "tenant": ["a", "b"]}),
            json!({"model": "m", "tenant": "b", "priority": 7, "kind": "model"}),
        ),
        (json!({"kind": "model"}), json!({"kind": "model", "$or": [{"tenant": "a"}, {"task": "t"}]})),
        (json!({"labels": {"region": "eu"}}), json!({"labels": {"region": "eu", "tier": "gold"}})),
        (json!({"path": "/v1/models"}), json!({"path": "/v1/models", "method": "GET"})),
        (json!({"tenant": [{"exists": false}]}), json!({"tenant": [{"exists": false}], "kind": "model"})),
        // Written in two ways.
        (json!({"tenant": [{"wildcard": "a*"}]}), json!({"tenant": [{"prefix": "a"}], "kind": "model"})),
        (
            json!({"body": {"n": [7.0, {"anything-but": ["b", "a"]}]}}),
            json!({"body": {"n": [{"anything-but": ["a", "b"]}, 7]}, "kind": "model"}),
        ),
    ] {
        assert_eq!(
            pair(&earlier, &later),
            [
                "routes[1].match: never reached: route `a` is tried earlier and matches every message that this route matches"
            ],
            "{earlier} {later}"
        );
    }
}

#[test]
fn a_route_behind_one_that_is_not_broader_is_reached() {
    for (earlier, later) in [
        (json!({"kind": "model", "tenant": "acme"}), json!({"kind": "model"})),
        (json!({"kind": "tool"}), json!({"kind": ["tool", "event"]})),
        (json!({"kind": "model", "tenant": "a"}), json!({"kind": "model", "task": "a"})),
        (json!({"kind": "model", "$or": [{"tenant": "a"}]}), json!({"kind": "model", "tenant": "b"})),
        (json!({"labels": {"a.b": "x"}}), json!({"labels": {"a": {"b": "x"}}, "kind": "model"})),
        (json!({"tenant": "a"}), json!({"$or": [{"tenant": "a"}, {"tenant": "b"}], "kind": "model"})),
        // Requests to unlisted paths pass the first one by.
        (json!({"model": "m"}), json!({"model": "m", "path": [{"prefix": "/v1/"}]})),
        (json!({}), json!({"path": [{"prefix": "/v1/"}]})),
    ] {
        assert_eq!(pair(&earlier, &later), Vec::<String>::new(), "{earlier} {later}");
    }
}

fn values(words: &'static [&'static str]) -> impl Strategy<Value = Json> {
    let word = prop::sample::select(words).prop_map(|word| json!(word));
    let other = prop::sample::select(vec![
        json!({"exists": false}),
        json!({"prefix": words[0]}),
        json!({"anything-but": "a"}),
    ]);
    prop::collection::vec(prop_oneof![4 => word, 1 => other], 1..4).prop_map(Json::Array)
}

fn fields() -> impl Strategy<Value = Json> {
    const NAMES: &[&str] = &["a", "ab", "b", "c"];
    let field = prop_oneof![
        values(NAMES).prop_map(|tests| ("tenant", tests)),
        values(NAMES).prop_map(|tests| ("model", tests)),
        values(NAMES).prop_map(|tests| ("labels", json!({"n": tests}))),
        values(&["/v1/a", "/v1/chat/completions"]).prop_map(|tests| ("path", tests)),
        prop::collection::vec(values(NAMES), 1..3)
            .prop_map(|each| ("$or", each.into_iter().map(|tests| json!({"model": tests})).collect())),
    ];
    prop::collection::vec(field, 0..4)
        .prop_map(|fields| fields.into_iter().map(|(name, tests)| (name.to_owned(), tests)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_never_reached_is_reached_by_nothing(
        patterns in prop::collection::vec(fields(), 2..8),
        messages in prop::collection::vec((0..4_usize, 0..5_usize, 0..5_usize, 0..5_usize), 20),
    ) {
        let routes = patterns.iter().zip(0..).map(|(pattern, i)| {
            RouteSpec { to: None, ..route(&format!("{i}"), pattern, "", &[]) }
        });
        let limits = Limits { header: 32 << 10, json: Options::default() };
        let config = Config {
            routes: routes.collect(),
            clusters: Vec::new(),
            identities: Identities::default(),
            trusted: Trusted::default(),
            hosts: Vec::new(),
            limits,
        };
        let snapshot = Snapshot::compile(config).unwrap();
        let never: Vec<String> = snapshot
            .warnings
            .iter()
            .filter(|warning| warning.message.contains("never reached"))
            .map(|warning| warning.to_string().chars().find(char::is_ascii_digit).unwrap().to_string())
            .collect();
        for (path, tenant, model, label) in messages {
            let path = ["/v1/a", "/v1/chat/completions", "/v1/b", "/v1/responses"][path];
            let word = |at: usize| ["a", "ab", "b", "c"].get(at);
            let mut body = json!({});
            for (name, value) in [("model", word(model).map(|word| json!(word))), ("metadata", word(label).map(|word| json!({"n": word})))] {
                body.as_object_mut().unwrap().extend(value.map(|value| (name.to_owned(), value)));
            }
            let body = body.to_string();
            let headers: Vec<Header<'_>> =
                word(tenant).map(|word| ("x-waypost-tenant".into(), (*word).into())).into_iter().collect();
            let message = Message {
                dialect: Dialect::OpenAi,
                kind: entry(path).and_then(|entry| entry.kind("POST")),
                method: "POST",
                path,
                headers: &headers,
                client: None,
                identity: None,
                body: Some(body.as_bytes()),
            };
            if let Ok(rank) = snapshot.table.decide(&message).unwrap().decision {
                let route = &snapshot.table.decision(rank).unwrap().route;
                prop_assert!(!never.contains(route), "{route} took {message:?}: {:?}", snapshot.warnings);
            }
        }
    }
}

#[test]
fn broader_routes_are_found_among_many() {
    const COUNT: usize = 20_000;
    let pattern = |i: usize| json!({"kind": "model", "tenant": format!("t{}", i % (COUNT - 1)), "task": format!("k{i}")});
    let mut routes: Vec<RouteSpec> =
        (0..COUNT).map(|i| route(&format!("r{i}"), &pattern(i), "c", &[])).collect();
    routes.insert(0, route("t7", &json!({"tenant": ["t6", "t7", "t8"], "kind": "model"}), "c", &[]));
    let mut found = String::new();
    for line in warnings(&[("c", Dialect::OpenAi)], routes) {
        writeln!(found, "{line}").unwrap();
    }
    assert_eq!(found.lines().count(), 3, "{found}");
}

#[test]
fn a_method_or_a_path_rules_kinds_of_message_out() {
    for pattern in [
        json!({"method": "GET"}),
        json!({"method": [{"anything-but": "POST"}]}),
        json!({"path": [{"prefix": "/v1/files"}]}),
        json!({"$or": [{"method": "GET"}, {"path": "/v1/chat/completions"}]}),
        json!({"method": "GET", "path": [{"anything-but": "/v1/envelopes"}]}),
    ] {
        let found = warnings(&[("c", Dialect::OpenAi)], vec![route("r", &pattern, "c", &[])]);
        assert_eq!(found, Vec::<String>::new(), "{pattern}");
    }
    let both = json!({"method": ["GET", "POST"]});
    let found = warnings(&[("c", Dialect::OpenAi)], vec![route("r", &both, "c", &[])]);
    assert!(found[0].contains("also matches envelopes of kind query, context, tool, event"), "{found:?}");
    // Nothing is both.
    for pattern in [
        json!({"method": "GET", "path": "/v1/envelopes"}),
        json!({"method": "POST", "path": "/v1/models"}),
        json!({"method": "BREW"}),
        json!({"path": [{"prefix": "/v2/"}]}),
    ] {
        let found = warnings(&[("c", Dialect::OpenAi)], vec![route("r", &pattern, "c", &[])]);
        assert!(found[0].contains("no message can match"), "{pattern}: {found:?}");
    }
}
