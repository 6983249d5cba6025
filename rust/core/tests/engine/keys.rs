//! Who may call, and what a message can say against it: over every combination of header fields.

use crate::sample_messages::convert;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;
use waypost_core::auth::keys::{Admin, Caller, Keys, hash};
use waypost_core::auth::{Identity, UnixTime};
use waypost_core::cluster::{Cluster, Credential, Endpoint, policy::Policy};
use waypost_core::dialect::Dialect;
use waypost_core::engine::{
    Config, EndpointAt, Ids, Intake, Limits, NoPlan, Rejection, Request, Snapshot, Trusted,
};
use waypost_core::http1::BodyLength;
use waypost_core::json::Options;
use waypost_core::table::{MessageError, RouteSpec};

const IDS: &[&str] = &["acme", "globex", "admin"];

fn keys() -> Keys {
    Keys::new(IDS.iter().map(|name| {
        let identity = Identity {
            tenant: Some((*name).to_owned()),
            agent: Some(format!("{name}-agent")),
            labels: vec![("tier".to_owned(), format!("{name}-tier"))],
        };
        let admin = if *name == "admin" { Admin::All } else { Admin::No };
        let caller = Caller { admin, ..Caller::new(format!("key-of-{name}"), identity) };
        (hash(format!("{name}-key").as_bytes()), caller)
    }))
}

/// A snapshot that has a route for each key's identity, and one for clients at 203.0.113.0/24, first.
fn snapshot(keys: Keys) -> Snapshot {
    let cluster = |name: &str, speaks| Cluster {
        name: name.to_owned(),
        speaks,
        endpoints: vec![Endpoint::parse("http://upstream:80", 1).unwrap()],
        credential: Credential::None,
        model: None,
        policy: Policy::default(),
    };
    let route = |name: String, pattern| RouteSpec {
        name,
        pattern: convert(&pattern),
        to: Some("natives".to_owned()),
        fallback: vec!["models".to_owned()],
        precedence: 0,
        ..RouteSpec::default()
    };
    let near = json!({"client": {"address": [{"cidr": "203.0.113.0/24"}]}});
    let forged = json!({"headers": {"x-forwarded-for": [{"exists": true}]}});
    let mut routes = vec![route("near".to_owned(), near), route("forged".to_owned(), forged)];
    routes.extend(IDS.iter().map(|name| {
        let labels = json!({"tier": [format!("{name}-tier")]});
        route(
            (*name).to_owned(),
            json!({"tenant": [name], "agent": [format!("{name}-agent")], "labels": labels}),
        )
    }));
    routes.push(route("rest".to_owned(), json!({})));
    Snapshot::compile(Config {
        routes,
        clusters: vec![cluster("natives", Dialect::Envelope), cluster("models", Dialect::OpenAi)],
        identities: keys.into(),
        trusted: Trusted { blocks: vec!["10.0.0.0/8".parse().unwrap()], unix: false },
        hosts: Vec::new(),
        limits: Limits { header: 1 << 14, json: Options::default() },
    })
    .unwrap()
}

fn request(target: &str, client: &str, fields: &[(&str, &str)]) -> Request {
    let fields = [("host", "h")].iter().chain(fields);
    Request {
        method: "POST".into(),
        target: target.to_owned(),
        headers: fields.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect(),
        client: Some(client.into()),
        certificate: None,
        scheme: "http".into(),
        version: "1.1".into(),
    }
}

const TARGETS: [(&str, &str); 2] =
    [("/v1/envelopes", r#"{"id": "1", "kind": "model"}"#), ("/v1/chat/completions", r#"{"model": "m"}"#)];

fn accept(snapshot: &Snapshot, target: &str, fields: &[(&str, &str)]) -> Result<Intake, Rejection> {
    snapshot.accept(request(target, "192.0.2.7", fields), UnixTime(0), &Ids::new(1))
}

fn route_of(snapshot: &Snapshot, intake: &Intake, body: &str) -> String {
    let plan = snapshot.plan(intake, Some(body.as_bytes())).unwrap();
    snapshot.table.decision(plan.rank).unwrap().route.clone()
}

#[test]
fn without_a_key_nothing_is_learned() {
    let snapshot = snapshot(keys());
    for target in [
        "/v1/envelopes",
        "/v1/chat/completions",
        "/v1/files",
        "/nowhere",
        "/v1/../x",
        "/v1/envelopes?key=acme-key",
    ] {
        for fields in [
            &[][..],
            &[("authorization", "Bearer nobody")],
            &[("x-api-key", "acme-key"), ("api-key", "globex-key")],
            &[("content-type", "text/plain")],
            &[("transfer-encoding", "gzip"), ("content-length", "x")],
        ] {
            let refused = accept(&snapshot, target, fields).unwrap_err();
            assert_eq!((refused.code, refused.allow), ("unauthorized", None), "{target} {fields:?}");
            let told = refused.message;
            assert!(!told.contains("acme") && !told.contains("nobody") && !told.contains("globex"), "{told}");
        }
    }
    let openai = accept(&snapshot, "/v1/chat/completions", &[]).unwrap_err();
    assert_eq!(openai.dialect, Dialect::OpenAi);
    // What is too large is not looked at.
    let large = "x".repeat(1 << 14);
    assert_eq!(
        accept(&snapshot, "/v1/envelopes", &[("x-api-key", &large)]).unwrap_err().code,
        "header_too_large"
    );
}

#[test]
fn a_key_decides_where_the_message_is_silent() {
    let snapshot = snapshot(keys());
    for name in IDS {
        for (target, body) in TARGETS {
            let key = format!("Bearer {name}-key");
            let intake = accept(&snapshot, target, &[("authorization", &key)]).unwrap();
            assert_eq!(intake.caller.as_ref().unwrap().name, format!("key-of-{name}"));
            assert_eq!(route_of(&snapshot, &intake, body), *name);
            let plan = snapshot.plan(&intake, Some(body.as_bytes())).unwrap();
            assert_eq!(plan.envelope.tenant.as_deref(), Some(*name));
            let explained = snapshot.explain(&intake, Some(body.as_bytes())).unwrap();
            assert_eq!(explained.decision, Some(plan.rank));
            let shown = format!("{explained:?}");
            assert!(!shown.contains("key-of") && !shown.contains(&format!("{name}-key")), "{shown}");
        }
    }
}

#[test]
fn a_caller_can_be_assumed_for_an_explanation() {
    let snapshot = snapshot(keys());
    let caller = snapshot.caller("key-of-globex").unwrap();
    let fields = [("authorization", "Bearer acme-key")];
    for fields in [&fields[..], &[]] {
        let asked = request("/v1/envelopes", "192.0.2.7", fields);
        let intake = snapshot.accept_of(asked, caller.clone(), &Ids::new(1)).unwrap();
        assert_eq!(route_of(&snapshot, &intake, TARGETS[0].1), "globex");
    }
    assert!(snapshot.caller("globex-key").is_none());
}

#[test]
fn without_keys_everybody_is_believed() {
    let snapshot = snapshot(Keys::default());
    let fields = [("authorization", "Bearer acme-key"), ("x-api-key", "other")];
    let intake = accept(&snapshot, "/v1/envelopes", &fields).unwrap();
    assert!(intake.caller.is_none());
    assert_eq!(route_of(&snapshot, &intake, TARGETS[0].1), "rest");
    let body = r#"{"id": "1", "kind": "model", "tenant": "acme", "agent": "acme-agent", "labels": {"tier": "acme-tier"}}"#;
    assert_eq!(route_of(&snapshot, &intake, body), "acme");
}

#[test]
fn the_address_that_routes_see_is_that_of_the_client() {
    let snapshot = snapshot(Keys::default());
    let (target, body) = TARGETS[0];
    let at = |client: &str, fields: &[(&str, &str)]| {
        let intake = snapshot.accept(request(target, client, fields), UnixTime(0), &Ids::new(1)).unwrap();
        route_of(&snapshot, &intake, body)
    };
    let told = [("X-Forwarded-For", "203.0.113.9")];
    assert_eq!(at("203.0.113.9", &[]), "near");
    assert_eq!(at("::ffff:203.0.113.9", &[]), "near");
    assert_eq!(at("10.0.0.1", &told), "near");
    // Neither is a stranger believed, nor can a route see what it says.
    assert_eq!(at("192.0.2.7", &told), "rest");
    assert_eq!(at("192.0.2.7", &[("Forwarded", "for=203.0.113.9")]), "rest");
    assert_eq!(at("10.0.0.1", &[("X-Forwarded-For", "203.0.113.9, 192.0.2.7")]), "forged");
    let asked =
        request(target, "10.0.0.1", &[("X-Forwarded-For", "192.0.2.7"), ("Forwarded", "for=203.0.113.9")]);
    assert_eq!(snapshot.accept(asked, UnixTime(0), &Ids::new(1)).unwrap_err().code, "bad_framing");
}

/// Fields of which some could change who a caller is, if anything could.
const NAMES: &[&str] = &[
    "authorization",
    "x-api-key",
    "api-key",
    "x_api_key",
    "proxy-authorization",
    "cookie",
    "connection",
    "x-waypost-tenant",
    "x_waypost_tenant",
    "x-waypost-agent",
    "x-waypost-labels",
    "x-waypost-task",
    "x-forwarded-for",
    "x_forwarded_for",
    "forwarded",
    "x-forwarded-user",
    "x-real-ip",
    "x-request-id",
];
const VALUES: &[&str] = &[
    "Bearer acme-key",
    "bearer globex-key",
    "Bearer admin-key",
    "Basic acme-key",
    "Bearer",
    "acme-key",
    "globex-key",
    "admin-key",
    "acme",
    "globex",
    "admin",
    "acme-tier",
    "globex-tier",
    "acme, globex",
    "",
    "203.0.113.9",
    "for=203.0.113.9",
    "authorization",
    "x-waypost-tenant, x-api-key",
    "Bearer acme-key, Bearer globex-key",
];

fn field() -> impl Strategy<Value = (String, String)> {
    let mixed = |name: &str, upper: u32| -> String {
        let change =
            |(at, c): (usize, char)| if upper >> (at % 32) & 1 == 1 { c.to_ascii_uppercase() } else { c };
        name.chars().enumerate().map(change).collect()
    };
    (select(NAMES), any::<u32>(), select(VALUES))
        .prop_map(move |(name, upper, value)| (mixed(name, upper), value.to_owned()))
}

/// The keys that the fields present, by a reading of their own.
fn presented(fields: &[(String, String)]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (name, value) in fields {
        let key = match name.to_lowercase().as_str() {
            "authorization" => {
                let mut words = value.splitn(2, ' ');
                let is_bearer = words.next().is_some_and(|word| word.to_lowercase() == "bearer");
                words.next().filter(|_| is_bearer).unwrap_or_default()
            }
            "x-api-key" | "api-key" => value,
            _ => "",
        };
        if !key.is_empty() && !found.contains(&key.to_owned()) {
            found.push(key.to_owned());
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever fields a client sends: it is its one key that decides who it is, or nobody is let in.
    #[test]
    fn no_fields_change_what_a_key_proves(fields in prop::collection::vec(field(), 0..7), target in select(&TARGETS[..])) {
        let snapshot = snapshot(keys());
        let (target, body) = target;
        let sent: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let proved = match &presented(&fields)[..] {
            [key] => IDS.iter().find(|name| format!("{name}-key") == *key),
            _ => None,
        };
        let intake = match (accept(&snapshot, target, &sent), proved) {
            (Ok(intake), Some(_)) => intake,
            (Err(refused), None) => {
                prop_assert_eq!(refused.code, "unauthorized");
                return Ok(());
            }
            // A `Connection` that lists something else than names.
            (Err(Rejection { code: "bad_framing", .. }), Some(_)) => return Ok(()),
            (taken, proved) => return Err(TestCaseError::fail(format!("{taken:?} {proved:?}"))),
        };
        let tenant = proved.unwrap();
        let identity = &intake.caller.as_ref().unwrap().identity;
        prop_assert_eq!(identity.tenant.as_deref(), Some(*tenant));
        match snapshot.plan(&intake, Some(body.as_bytes())) {
            Ok(plan) => {
                prop_assert_eq!(&snapshot.table.decision(plan.rank).unwrap().route, tenant);
                let length = BodyLength::Known(body.len() as u64);
                let at = EndpointAt::new(plan.clusters[0], 0.into());
                let head = snapshot.head(&intake, &plan, at, length, None).unwrap().unwrap();
                let head = String::from_utf8(head).unwrap().to_lowercase().replace('_', "-");
                let told: Vec<&str> = head.lines().filter(|line| line.starts_with("x-waypost-tenant:")).collect();
                prop_assert_eq!(told, [format!("x-waypost-tenant: {tenant}")]);
                let way: Vec<&str> = head.lines().filter(|line| line.starts_with("x-forwarded-for:")).collect();
                prop_assert_eq!(way, ["x-forwarded-for: 192.0.2.7"]);
                for secret in ["\nauthorization:", "\nx-api-key:", "\napi-key:", "\ncookie:", "\nforwarded:"] {
                    prop_assert!(!head.contains(secret), "{}", head);
                }
            }
            // Refused for saying otherwise, for saying something twice, or for saying what no field says.
            Err(NoPlan::Message(MessageError::IdentityConflict { field, .. })) => {
                prop_assert!(field == "x-waypost-tenant" && target == "/v1/chat/completions", "{}", field);
            }
            Err(NoPlan::Message(MessageError::Envelope { field, .. })) => {
                prop_assert!(field.starts_with("x-waypost-"), "{}", field);
            }
            Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
        }
    }
}
