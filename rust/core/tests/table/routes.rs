//! Routes: what their patterns may name, in which order they are tried, and that the three questions to a table have
//! one answer.

use crate::sample_messages::{ATTRIBUTES, Sent, sees, spec, table};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use waypost_core::dialect::Dialect;
use waypost_core::json::Options;
use waypost_core::pattern::Step;
use waypost_core::table::{RouteSpec, RouteTable};

// Reserved names.

#[test]
fn no_body_can_forge_what_is_reserved() {
    let body = json!({
        "id": "1", "kind": "model", "headers": {"x-tier": "gold"}, "path": "/secret", "method": "GET", "dialect": "openai",
        "client": {"address": "10.0.0.1"}, "body": {"x": 1}, "custom": {"deep": true}
    });
    let sent = Sent::envelope(&body);
    sees(
        &sent,
        &[
            json!({"headers": {"x-tier": [{"exists": false}]}, "client": {"address": [{"exists": false}]}}),
            json!({"path": "/v1/envelopes", "method": "POST", "dialect": "envelope"}),
            json!({"body": {"headers": {"x-tier": ["gold"]}, "body": {"x": [1]}, "custom": {"deep": [true]}}}),
        ],
        &[
            json!({"headers": {"x-tier": ["gold"]}}),
            json!({"path": "/secret"}),
            json!({"method": "GET"}),
            json!({"dialect": "openai"}),
            json!({"client": {"address": [{"cidr": "10.0.0.0/8"}]}}),
            json!({"body": {"x": [1]}}),
        ],
    );
}

#[test]
fn an_array_is_one_under_both_of_its_names() {
    let context = json!([{"type": "memory", "ref": "a"}, {"type": "document", "ref": "b"}]);
    sees(
        &Sent::envelope(&json!({"id": "1", "kind": "model", "context": context})),
        &[json!({"context": {"type": ["memory"]}, "body": {"context": {"ref": ["a"]}}})],
        &[json!({"context": {"type": ["memory"]}, "body": {"context": {"ref": ["b"]}}})],
    );
}

#[test]
fn headers_are_lists_of_values_by_lower_case_name() {
    let sent = Sent::envelope(&json!({"id": "1", "kind": "model"}))
        .header("x-tier", "gold")
        .header("x_tier", "forged")
        .header("x-tier", "silver")
        .header("x-n", "7");
    sees(
        &sent,
        &[
            json!({"headers": {"x-tier": ["gold"]}}),
            json!({"headers": {"x-tier": ["silver"]}}),
            json!({"headers": {"x-tier": [{"anything-but": "gold"}]}}),
            json!({"headers": {"x-none": [{"exists": false}], "x-n": ["7"]}}),
        ],
        &[
            json!({"headers": {"x-tier": ["forged"]}}),
            json!({"headers": {"x-none": [{"anything-but": "x"}]}}),
        ],
    );
}

#[test]
fn path_method_and_client_are_seen_as_they_are() {
    let sent =
        Sent { method: "PATCH", client: Some("2001:db8::7"), ..Sent::openai(&json!({})).at("/v1/Files/%41") };
    sees(
        &sent,
        &[
            json!({"path": "/v1/Files/%41", "method": "PATCH", "client": {"address": [{"cidr": "2001:db8::/32"}]}}),
            json!({"path": [{"prefix": "/v1/"}], "client": {"address": "2001:db8::7"}}),
        ],
        &[
            json!({"path": "/v1/files/%41"}),
            json!({"path": "/v1/Files/A"}),
            json!({"client": {"address": [{"cidr": "0.0.0.0/0"}]}}),
        ],
    );
}

#[test]
fn a_route_may_name_only_what_a_message_can_have() {
    for (pattern, path, says) in [
        (json!({"tenent": ["acme"]}), &["tenent"][..], "did you mean `tenant`?"),
        (json!({"custom": {"deep": [1]}}), &["custom"], "body: {custom"),
        (json!({"headers": ["x"]}), &["headers"], "name a header"),
        (json!({"headers": {"X-Tier": ["x"]}}), &["headers", "X-Tier"], "`x-tier`"),
        (json!({"headers": {"x-tier": {"a": ["x"]}}}), &["headers", "x-tier", "a"], "no fields"),
        (json!({"client": ["10.0.0.1"]}), &["client"], "address"),
        (json!({"client": {"port": [1]}}), &["client", "port"], "address"),
        (json!({"path": {"a": ["x"]}}), &["path", "a"], "no fields"),
        (json!({"method": ["post"]}), &["method"], "`POST`"),
        (json!({"dialect": ["openapi"]}), &["dialect"], "openai"),
        (json!({"kind": ["models"]}), &["kind"], "\"models\" is not a kind"),
        (json!({"model": {"name": ["x"]}}), &["model", "name"], "no fields"),
        (json!({"priority": {"x": [1]}}), &["priority", "x"], "no fields"),
    ] {
        let specs = [spec("fine", &json!({}), 0), spec("r", &pattern, 0)];
        let problems = RouteTable::compile(&specs, Options::default()).unwrap_err();
        let expected: Vec<Step> = [Step::Index(1), Step::Key("match".to_owned())]
            .into_iter()
            .chain(path.iter().map(|key| Step::Key((*key).to_owned())))
            .collect();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].path, expected, "{}", problems[0]);
        assert!(problems[0].message.contains(says), "{}", problems[0]);
    }
}

#[test]
fn what_a_field_can_never_hold_is_a_problem() {
    for (pattern, says) in [
        (json!({"priority": "high"}), "\"high\" can never match: `priority` is a whole number from 0 to 9"),
        (json!({"priority": ["7"]}), "`priority` is a whole number from 0 to 9; write 7"),
        (json!({"priority": [12]}), "12 can never match"),
        (json!({"priority": [7.5]}), "7.5 can never match"),
        (json!({"priority": [{"numeric": [">", 9]}]}), "> 9 can never match"),
        (json!({"priority": [{"prefix": "7"}]}), "prefix \"7\" can never match"),
        (json!({"deadline_ms": [-1]}), "-1 can never match: `deadline_ms` is a whole number of milliseconds"),
        (json!({"deadline_ms": ["1s"]}), "\"1s\" can never match"),
        (json!({"stream": ["yes"]}), "\"yes\" can never match: `stream` is true or false"),
        (json!({"stream": ["true"]}), "; write true"),
        (json!({"stream": [1]}), "1 can never match"),
        (json!({"stream": [{"numeric": ["=", 1]}]}), "= 1 can never match"),
        (json!({"id": [5]}), "5 can never match: `id` is a string of 1 to 128 characters; put it in quotes"),
        (json!({"id": [""]}), "\"\" can never match: `id` is a string of 1 to 128 characters"),
        (json!({"tenant": [1e300]}), "; put it in quotes"),
        (
            json!({"client": {"address": ["10.0.0.0/8"]}}),
            "`address` is one address; write [{cidr: 10.0.0.0/8}]",
        ),
        (json!({"path": ["/v1/models?limit=1"]}), "`path` begins with `/` and has no query"),
        (json!({"path": [{"prefix": "v1/"}]}), "`path` begins with `/` and has no query"),
        (json!({"id": [""]}), "\"\" can never match"),
        (json!({"tenant": [true]}), "; put it in quotes"),
        (json!({"tenant": [null]}), "to match messages without it, write {exists: false}"),
        (json!({"model": [{"numeric": [">", 3]}]}), "> 3 can never match: `model` is a string"),
        (json!({"kind": [{"numeric": [">", 3]}]}), "> 3 can never match: `kind` is one of"),
        (
            json!({"labels": ["x"]}),
            "\"x\" can never match: `labels` is an object; test one label: labels: {NAME: […]}",
        ),
        (json!({"context": [{"prefix": "x"}]}), "`context` is a list of objects"),
        (json!({"context": {"type": [1]}}), "1 can never match: `type` is a string"),
        (json!({"headers": {"x-tier": [5]}}), "5 can never match: a header is a string; put it in quotes"),
        (json!({"path": [1]}), "`path` is a string"),
        (json!({"method": [1]}), "`method` is a string"),
        (json!({"client": {"address": [1]}}), "`address` is a string"),
        (json!({"headers": {"x-waypost-tennant": ["a"]}}), "no message has a header `x-waypost-tennant`"),
        (json!({"$or": [{"priority": "high"}]}), "\"high\" can never match"),
    ] {
        let problems = RouteTable::compile(&[spec("r", &pattern, 0)], Options::default()).unwrap_err();
        assert_eq!(problems.len(), 1, "{pattern}: {problems:?}");
        assert!(problems[0].message.contains(says), "{pattern}: {}", problems[0]);
    }
    let problems = RouteTable::compile(
        &[spec("r", &json!({"priority": [1, "2", 3, 40], "stream": "on"}), 0)],
        Options::default(),
    );
    assert_eq!(problems.unwrap_err().len(), 3, "all of them are told");
}

#[test]
fn what_a_field_can_hold_is_none() {
    for pattern in [
        json!({"priority": [0, 9, 7.0, "x-".len()], "deadline_ms": [1, 86_400_000, 1e3], "stream": [true, false]}),
        json!({"priority": [{"numeric": [">", 8.5]}, {"exists": false}, {"anything-but": ["x"]}]}),
        json!({"priority": [{"numeric": [">=", 0, "<", 0.5]}], "deadline_ms": [{"numeric": ["<", 5]}]}),
        json!({"id": ["5"], "tenant": ["", "true", {"regex": "[0-9]"}, {"cidr": "10.0.0.0/8"}]}),
        json!({"content": [1, "a", null, {"numeric": [">", 1]}], "body": {"priority": ["high"]}}),
        json!({"labels": {"n": [1, "x", null]}, "context": {"type": ["a", null], "rank": [1]}}),
        json!({"labels": [{"exists": false}], "context": [{"exists": true}], "kind": [{"prefix": "mod"}]}),
        json!({"headers": {"x-waypost-tenant": ["acme"], "x-tier": ["5"]}}),
    ] {
        assert!(RouteTable::compile(&[spec("r", &pattern, 0)], Options::default()).is_ok(), "{pattern}");
    }
}

#[test]
fn every_problem_of_every_route_is_told_at_once() {
    let specs = [
        spec("a", &json!({"tenent": ["x"], "kind": []}), 0),
        spec("b", &json!({"$or": [{"tool": [{"regex": "("}]}, {"patH": ["x"]}]}), 0),
        spec("c", &json!({"model": {"prefix": "llama"}}), 0),
    ];
    let problems = RouteTable::compile(&specs, Options::default()).unwrap_err();
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for place in [
        "[0].match.tenent",
        "[0].match.kind",
        "[1].match.$or[0].tool[0].regex",
        "[1].match.$or[1].patH",
        "[2].match.model.prefix",
    ] {
        assert!(shown.iter().any(|line| line.starts_with(&format!("{place}: "))), "{place} in {shown:#?}");
    }
    assert_eq!(problems.len(), 5, "{shown:#?}");
}

// Precedence and order.

#[test]
fn higher_precedence_goes_first_then_the_order_written() {
    let specs = [
        spec("low", &json!({}), -1),
        spec("a", &json!({"kind": "model"}), 0),
        spec("b", &json!({"kind": ["model", "tool"]}), 0),
        spec("high", &json!({"kind": "tool"}), i64::MAX),
        spec("lowest", &json!({}), i64::MIN),
    ];
    let table = RouteTable::compile(&specs, Options::default()).unwrap();
    let names = |kind: &str| -> Vec<String> {
        let sent = Sent::envelope(&json!({"id": "1", "kind": kind}));
        let first = table.decide(&sent.message()).unwrap().decision.unwrap();
        let all = table.matches(&sent.message()).unwrap();
        assert_eq!(all[0], first);
        all.into_iter().map(|rank| table.decision(rank).unwrap().route.clone()).collect()
    };
    assert_eq!(names("model"), ["a", "b", "low", "lowest"]);
    assert_eq!(names("tool"), ["high", "b", "low", "lowest"]);
    assert_eq!(names("event"), ["low", "lowest"]);
    let order: Vec<&str> = table.decisions().iter().map(|decision| decision.route.as_str()).collect();
    assert_eq!(order, ["high", "a", "b", "low", "lowest"]);
    assert_eq!(
        (table.decision(0).unwrap().cluster.as_deref(), table.decision(0).unwrap().fallback.as_slice()),
        (Some("c"), &["d".to_owned()][..])
    );
    assert!(table.decision(5).is_none());
}

#[test]
fn no_route_names_what_was_seen() {
    let sent = Sent::envelope(
        &json!({"id": "1", "kind": "tool", "tool": "x".repeat(500), "labels": {"a": 1}, "context": [{"type": "m"}, {}]}),
    );
    let none = table(&[json!({"kind": "model"})]).decide(&sent.message()).unwrap().decision.unwrap_err();
    let names: Vec<&str> = none.seen.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["id", "kind", "tool", "context", "labels"]);
    assert_eq!(none.seen[1].1, "\"tool\"");
    assert!(none.seen.iter().all(|(_, shown)| shown.chars().count() < 100), "{none:?}");
    let nothing = table(&[]).decide(&Sent::json("{}").message()).unwrap();
    assert!(nothing.decision.unwrap_err().seen.is_empty());
}

#[test]
fn a_verdict_names_the_first_test_that_fails_and_what_is_there() {
    let sent = Sent::envelope(&json!({"id": "1", "kind": "tool", "labels": {"region": "us"}}));
    let table = table(&[
        json!({"kind": "tool", "labels": {"region": ["eu", {"prefix": "ap-"}]}}),
        json!({"kind": "tool", "tenant": "acme"}),
        json!({"kind": "tool"}),
    ]);
    let explained = table.explain(&sent.message()).unwrap();
    assert_eq!(explained.decision, Some(2));
    let [first, second, third] = &explained.verdicts[..] else { panic!() };
    assert_eq!((first.path.as_deref(), first.seen.as_deref()), (Some("labels.region"), Some("\"us\"")));
    assert_eq!(first.expected.as_deref(), Some("\"eu\" or prefix \"ap-\""));
    assert_eq!((second.path.as_deref(), second.seen.as_deref()), (Some("tenant"), None));
    assert_eq!((third.matched, third.path.as_deref()), (true, None));
}

// The three questions have one answer.

fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(values).prop_map(str::to_owned)
}

fn body() -> impl Strategy<Value = Json> {
    let word = || one_of(&["acme", "globex", "x"]);
    let scalar = prop_oneof![
        word().prop_map(Json::String),
        (0..10).prop_map(|n: i32| json!(n)),
        any::<bool>().prop_map(Json::Bool)
    ];
    let context =
        prop::collection::vec((word(), word()).prop_map(|(t, r)| json!({"type": t, "ref": r})), 0..3);
    let wrong = prop_oneof![9 => Just(None), 1 => scalar.clone().prop_map(Some)];
    (
        (
            prop::option::of(word()),
            prop::option::of(word()),
            prop::option::of(0..10),
            prop::option::of(context),
        ),
        (
            one_of(&["model", "tool", "query"]),
            prop::option::of(any::<bool>()),
            prop::option::of((word(), scalar)),
            wrong,
        ),
    )
        .prop_map(|((tenant, agent, priority, context), (kind, stream, label, wrong))| {
            let mut body = json!({"id": "1", "kind": kind, "user": agent, "extra": priority});
            let optional = [
                ("tenant", json!(tenant)),
                ("agent", json!(agent)),
                ("priority", json!(priority)),
                ("context", json!(context)),
                ("stream", json!(stream)),
                ("model", wrong.unwrap_or(Json::Null)),
            ];
            for (name, value) in optional {
                if !value.is_null() {
                    body[name] = value;
                }
            }
            if let Some((name, value)) = label {
                body["labels"] = json!({ name.clone(): value.clone() });
                body["metadata"] = json!({ name: value });
            }
            body
        })
}

fn route() -> impl Strategy<Value = Json> {
    let text = prop_oneof![
        4 => one_of(&["acme", "globex", "x", "gold"]).prop_map(Json::String),
        1 => Just(json!({"exists": true})),
        1 => Just(json!({"exists": false})),
        1 => Just(json!({"anything-but": ["acme"]})),
        1 => Just(json!({"prefix": "g"})),
    ];
    let texts = prop::collection::vec(text, 1..3).prop_map(Json::Array);
    let field = (
        one_of(&[
            "tenant",
            "agent",
            "model",
            "context.type",
            "context.ref",
            "labels.acme",
            "labels.x",
            "headers.x-tier",
            "body.user",
            "body.tenant",
        ]),
        texts,
    )
        .prop_map(|(path, tests)| path.split('.').rev().fold(tests, |inner, key| json!({ key: inner })));
    let other = prop_oneof![
        Just(json!({"kind": ["model"]})),
        Just(json!({"kind": ["tool", "query"]})),
        Just(json!({"dialect": ["openai"]})),
        Just(json!({"stream": [true]})),
        Just(json!({"priority": [{"numeric": [">", 4]}]})),
        Just(json!({"body": {"extra": [{"numeric": ["<", 4]}]}})),
        Just(json!({"body": [{"exists": false}]})),
    ];
    let part = prop_oneof![3 => field, 2 => other];
    let conjunction = prop::collection::vec(part, 0..3).prop_map(|parts| {
        let mut out = json!({});
        for part in parts {
            merge(&mut out, part);
        }
        out
    });
    (conjunction.clone(), prop::option::of(prop::collection::vec(conjunction, 1..3))).prop_map(
        |(mut all, any)| {
            let any: Vec<Json> =
                any.unwrap_or_default().into_iter().filter(|branch| branch != &json!({})).collect();
            if !any.is_empty() {
                all["$or"] = Json::Array(any);
            }
            all
        },
    )
}

fn merge(into: &mut Json, from: Json) {
    match (into, from) {
        (Json::Object(into), Json::Object(from)) => {
            for (key, value) in from {
                match into.get_mut(&key) {
                    Some(own) => merge(own, value),
                    None => drop(into.insert(key, value)),
                }
            }
        }
        (into, from) => *into = from,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn decide_matches_and_explain_agree(
        routes in prop::collection::vec((route(), -1_i64..2), 1..6),
        body in body(),
        dialect in prop::sample::select(&Dialect::ALL[..]),
        tier in prop::option::of(one_of(&["gold", "x"])),
        tenant in prop::option::of(one_of(&["acme", "globex"])),
        proved in prop::option::of(one_of(&["acme", "globex"])),
    ) {
        let specs: Vec<RouteSpec> =
            routes.iter().enumerate().map(|(i, (pattern, precedence))| spec(&i.to_string(), pattern, *precedence)).collect();
        let Ok(table) = RouteTable::compile(&specs, Options::default()) else { return Ok(()) };
        let mut sent = Sent::new(dialect, body);
        sent.headers.extend(tier.map(|value| ("x-tier".into(), value.into())));
        sent.headers.extend(tenant.map(|value| ("x-waypost-tenant".into(), value.into())));
        let label = [("acme", "acme")];
        let sent = match &proved { Some(name) => sent.by(Some(name), None, &label), None => sent };

        let message = sent.message();
        match (table.decide(&message), table.matches(&message), table.explain(&message)) {
            (Ok(decided), Ok(matches), Ok(explained)) => {
                prop_assert_eq!(decided.decision.as_ref().ok(), matches.first());
                prop_assert_eq!(explained.decision.as_ref(), matches.first());
                let told: Vec<usize> =
                    explained.verdicts.iter().enumerate().filter(|(_, v)| v.matched).map(|(rank, _)| rank).collect();
                prop_assert_eq!(&told, &matches);
                prop_assert_eq!(decided.envelope, explained.envelope);
                for verdict in &explained.verdicts {
                    prop_assert!(!verdict.reason.is_empty());
                    prop_assert!(verdict.matched || verdict.path.is_some(), "{:?}", verdict);
                }
                // A route decides the same alone as among others.
                for (rank, decision) in table.decisions().iter().enumerate() {
                    let own = specs.iter().find(|spec| spec.name == decision.route).unwrap();
                    let alone = RouteTable::compile(std::slice::from_ref(own), Options::default()).unwrap();
                    prop_assert_eq!(alone.decide(&message).unwrap().decision.is_ok(), matches.contains(&rank));
                }
            }
            (Err(a), Err(b), Err(c)) => prop_assert!(a == b && b == c),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn any_text_in_any_field_is_taken_or_refused(name in prop::sample::select(&ATTRIBUTES[..]), text in "\\PC{0,12}", raw in any::<bool>()) {
        let value = if raw { text.clone() } else { Json::String(text.clone()).to_string() };
        for dialect in Dialect::ALL {
            let sent = Sent::new(dialect, format!(r#"{{"{name}": {value}}}"#));
            let valid = serde_json::from_str::<Json>(sent.body.as_deref().unwrap()).is_ok();
            let decided = table(&[json!({})]).decide(&sent.message());
            if decided.is_ok() {
                prop_assert!(valid);
            }
        }
    }
}
