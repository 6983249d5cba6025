//! Callers that something else than a key proves, and what happens where two proofs meet.

use std::sync::Arc;

use crate::sample_messages::convert;
use serde_json::json;
use waypost_core::auth::keys::{Admin, Caller, Denied, Keys, hash, presented};
use waypost_core::auth::{
    Answer, Certificate, Identities, Identity, IdentitySource, Presented, Proof, UnixTime,
};
use waypost_core::cluster::{Cluster, Credential, Endpoint, policy::Policy};
use waypost_core::dialect::Dialect;
use waypost_core::engine::{
    Boundary, Config, Guard, Ids, Limits, Peer, Rejection, Request, Snapshot, Trusted,
};
use waypost_core::json::Options;
use waypost_core::table::RouteSpec;

const NOON: UnixTime = UnixTime(1_800_000_000);

fn caller(name: &str, tenant: &str, admin: bool) -> Arc<Caller> {
    let identity = Identity { tenant: Some(tenant.to_owned()), ..Identity::default() };
    let admin = if admin { Admin::All } else { Admin::No };
    Arc::new(Caller { admin, ..Caller::new(name, identity) })
}

fn certificate(of: &str) -> Arc<Certificate> {
    Arc::new(Certificate::new(format!("CN={of}"), of.as_bytes()))
}

/// Callers by the fingerprints of their certificates.
#[derive(Debug)]
struct ByCertificate(Vec<([u8; 32], Arc<Caller>)>);

impl IdentitySource for ByCertificate {
    fn proof(&self) -> Proof {
        Proof::Certificate
    }

    fn identify(&self, presented: &Presented<'_>, _: UnixTime) -> Answer {
        let Some(certificate) = presented.certificate else { return Answer::Nothing };
        let found = self.0.iter().find(|(fingerprint, _)| *fingerprint == certificate.fingerprint);
        found.map_or(Answer::Unknown, |(_, caller)| Answer::Caller(caller.clone()))
    }
}

/// Tokens that say whose they are and until when: `token:TENANT:SECONDS`.
#[derive(Debug)]
struct Tokens;

impl IdentitySource for Tokens {
    fn proof(&self) -> Proof {
        Proof::Token
    }

    fn identify(&self, request: &Presented<'_>, now: UnixTime) -> Answer {
        let token = match presented(request.fields) {
            Ok(Some(token)) => std::str::from_utf8(token).unwrap(),
            Ok(None) => return Answer::Nothing,
            Err(denied) => return Answer::Denied(denied),
        };
        let Some((tenant, until)) = token.strip_prefix("token:").and_then(|rest| rest.split_once(':')) else {
            return Answer::Unknown;
        };
        match until.parse() {
            Ok(until) if now < UnixTime(until) => Answer::Caller(caller("token", tenant, false)),
            Ok(_) => Answer::Denied(Denied::Expired),
            Err(_) => Answer::Denied(Denied::Rejected("this token says no time")),
        }
    }
}

/// One caller on the loopback address.
#[derive(Debug)]
struct Here;

impl IdentitySource for Here {
    fn proof(&self) -> Proof {
        Proof::Address
    }

    fn identify(&self, presented: &Presented<'_>, _: UnixTime) -> Answer {
        match presented.address {
            Some("127.0.0.1") => Answer::Caller(caller("here", "acme", false)),
            _ => Answer::Nothing,
        }
    }
}

fn keys() -> Identities {
    let of = |name: &str, tenant, admin| {
        (hash(format!("{name}-key").as_bytes()), Arc::unwrap_or_clone(caller(name, tenant, admin)))
    };
    Identities::from(Keys::new([
        of("acme", "acme", false),
        of("globex", "globex", false),
        of("root", "acme", true),
    ]))
}

fn by_certificate() -> Arc<dyn IdentitySource> {
    let of = |name: &str, tenant, admin| (certificate(name).fingerprint, caller(name, tenant, admin));
    Arc::new(ByCertificate(vec![of("acme", "acme", false), of("chief", "acme", true)]))
}

fn snapshot(identities: Identities) -> Snapshot {
    let cluster = Cluster {
        name: "c".to_owned(),
        speaks: Dialect::OpenAi,
        endpoints: vec![Endpoint::parse("http://upstream", 1).unwrap()],
        credential: Credential::None,
        model: None,
        policy: Policy::default(),
    };
    let route = |tenant: &str| RouteSpec {
        name: tenant.to_owned(),
        pattern: convert(&json!({"tenant": tenant, "kind": "model"})),
        to: Some("c".to_owned()),
        ..RouteSpec::default()
    };
    Snapshot::compile(Config {
        routes: vec![route("acme"), route("globex")],
        clusters: vec![cluster],
        identities,
        trusted: Trusted::default(),
        hosts: Vec::new(),
        limits: Limits { header: 1 << 14, json: Options::default() },
    })
    .unwrap()
}

/// A request with a key or another token, a certificate and an address, where they are not empty.
fn request(token: &str, certified: &str, address: &str) -> Request {
    let token = (!token.is_empty()).then(|| (b"x-api-key".to_vec(), token.as_bytes().to_vec()));
    Request {
        method: "POST".into(),
        target: "/v1/chat/completions".to_owned(),
        headers: [(b"host".to_vec(), b"h".to_vec())].into_iter().chain(token).collect(),
        client: (!address.is_empty()).then(|| address.into()),
        certificate: (!certified.is_empty()).then(|| certificate(certified)),
        scheme: "https".into(),
        version: "1.1".into(),
    }
}

/// The name of the caller, or what the client is told.
fn accepted(snapshot: &Snapshot, request: Request, now: UnixTime) -> Result<Option<String>, String> {
    let told = |rejection: Rejection| {
        assert_eq!(rejection.code, "unauthorized");
        rejection.message
    };
    let intake = snapshot.accept(request, now, &Ids::new(1)).map_err(told)?;
    Ok(intake.caller.map(|caller| caller.name.clone()))
}

#[test]
fn a_certificate_proves_a_caller_whom_routes_see() {
    let snapshot = snapshot(Identities::default().with(by_certificate()));
    let intake = snapshot.accept(request("", "acme", ""), NOON, &Ids::new(1)).unwrap();
    let plan = snapshot.plan(&intake, Some(br#"{"model": "m"}"#)).unwrap();
    assert_eq!(snapshot.table.decision(plan.rank).unwrap().route, "acme");
    assert_eq!(plan.envelope.tenant.as_deref(), Some("acme"));
    let told = |certified| accepted(&snapshot, request("", certified, ""), NOON);
    assert_eq!(told("acme"), Ok(Some("acme".to_owned())));
    assert_eq!(told("mallory"), Err(Denied::UnknownCertificate.to_string()));
    assert_eq!(told(""), Err(Denied::Unproven.to_string()));
    // A key is nothing here: there are none.
    assert_eq!(accepted(&snapshot, request("acme-key", "acme", ""), NOON), Ok(Some("acme".to_owned())));
}

#[test]
fn a_token_is_good_until_its_time_by_the_hosts_clock() {
    let snapshot = snapshot(Identities::default().with(Arc::new(Tokens)));
    let at = |now| accepted(&snapshot, request("token:acme:1800000060", "", ""), UnixTime(now));
    assert_eq!(at(1_800_000_000), Ok(Some("token".to_owned())));
    assert_eq!(at(1_800_000_059), Ok(Some("token".to_owned())));
    assert_eq!(at(1_800_000_060), Err(Denied::Expired.to_string()));
    let told = accepted(&snapshot, request("token:acme:soon", "", ""), NOON);
    assert_eq!(told, Err("this token says no time".to_owned()));
    assert_eq!(accepted(&snapshot, request("acme-key", "", ""), NOON), Err(Denied::Unknown.to_string()));
}

#[test]
fn the_reader_of_a_connection_hands_on_its_certificate_and_the_time() {
    let token = "x-api-key: token:acme:1800000060\r\n";
    let plain = |identities: Identities, field: &str, certified: Option<&str>, now: u64| {
        let snapshot = snapshot(identities);
        let peer = Peer {
            client: None,
            certificate: certified.map(certificate),
            scheme: "https".into(),
            guard: Guard::Open,
        };
        let head =
            format!("POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\n{field}content-length: 2\r\n\r\n{{}}");
        let mut reader = snapshot.reader();
        let found = snapshot.at_boundary(&mut reader, head.as_bytes(), &peer, UnixTime(now), &Ids::new(1));
        match found.unwrap() {
            Boundary::Plain(intake, _) => intake.caller.as_ref().map(|caller| caller.name.clone()),
            _ => None,
        }
    };
    let certified = || Identities::default().with(by_certificate());
    assert_eq!(plain(certified(), "", Some("acme"), 0).as_deref(), Some("acme"));
    assert_eq!(plain(certified(), "", Some("mallory"), 0), None);
    assert_eq!(plain(certified(), "", None, 0), None);
    let tokens = || Identities::default().with(Arc::new(Tokens));
    assert_eq!(plain(tokens(), token, None, 1_800_000_059).as_deref(), Some("token"));
    assert_eq!(plain(tokens(), token, None, 1_800_000_060), None);
}

#[test]
fn two_proofs_have_to_agree_and_the_first_source_counts() {
    let snapshot = snapshot(keys().with(by_certificate()).with(Arc::new(Tokens)).with(Arc::new(Here)));
    let until = "1800000060";
    for (token, certified, address, wanted) in [
        // One proof of each sort.
        ("acme-key", "", "", Ok("acme")),
        ("", "acme", "", Ok("acme")),
        (&format!("token:acme:{until}"), "", "", Ok("token")),
        ("", "", "127.0.0.1", Ok("here")),
        // Several proofs of one identity: keys come first, then what was added first.
        ("acme-key", "acme", "127.0.0.1", Ok("acme")),
        (&format!("token:acme:{until}"), "", "127.0.0.1", Ok("token")),
        (&format!("token:acme:{until}"), "acme", "127.0.0.1", Ok("acme")),
        // Proofs of several.
        ("globex-key", "acme", "", Err(Denied::Conflict)),
        ("globex-key", "", "127.0.0.1", Err(Denied::Conflict)),
        (&format!("token:globex:{until}"), "acme", "", Err(Denied::Conflict)),
        // The same tenant, but one of them opens administration.
        ("root-key", "acme", "", Err(Denied::Conflict)),
        ("acme-key", "chief", "", Err(Denied::Conflict)),
        // What nobody knows is not made good by another proof.
        ("nobody", "acme", "", Err(Denied::Unknown)),
        ("acme-key", "mallory", "", Err(Denied::UnknownCertificate)),
        ("nobody", "", "127.0.0.1", Err(Denied::Unknown)),
        // Nor is what was good once.
        ("token:acme:1", "acme", "127.0.0.1", Err(Denied::Expired)),
        // Nothing at all.
        ("", "", "192.0.2.7", Err(Denied::Missing)),
    ] {
        let told = accepted(&snapshot, request(token, certified, address), NOON);
        let wanted = wanted.map(|name| Some(name.to_owned())).map_err(|denied| denied.to_string());
        assert_eq!(told, wanted, "{token} {certified} {address}");
    }
    let mut two = request("acme-key", "acme", "");
    two.headers.push(b"api-key", b"globex-key");
    assert_eq!(accepted(&snapshot, two, NOON), Err(Denied::Several.to_string()));
}

#[test]
fn administration_takes_admins_by_any_proof() {
    let admitted = |identities: Identities, token: &str, certified: &str| {
        let asked = request(token, certified, "");
        let presented =
            Presented { fields: &asked.headers, certificate: asked.certificate.as_deref(), address: None };
        snapshot(identities).admit(&presented, Admin::All, NOON)
    };
    let both = || keys().with(by_certificate());
    assert_eq!(admitted(both(), "root-key", ""), Ok(()));
    assert_eq!(admitted(both(), "", "chief"), Ok(()));
    assert_eq!(admitted(both(), "root-key", "chief"), Ok(()));
    assert_eq!(admitted(both(), "acme-key", "acme"), Err(Denied::NotAdmin));
    assert_eq!(admitted(both(), "", ""), Err(Denied::Missing));
    assert_eq!(admitted(keys(), "root-key", "mallory"), Ok(()));
    assert_eq!(admitted(Identities::default(), "", "chief"), Err(Denied::NoAdmin));
}

#[test]
fn without_sources_every_caller_is_let_in() {
    let snapshot = snapshot(Identities::default());
    assert_eq!(accepted(&snapshot, request("nobody", "mallory", "192.0.2.7"), NOON), Ok(None));
}
