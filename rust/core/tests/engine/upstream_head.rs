//! The head of an attempt: what an endpoint gets to see of the client's request.

use proptest::prelude::*;
use serde_json::json;
use waypost_core::auth::keys::{Caller, Keys, hash};
use waypost_core::auth::{Identity, UnixTime};
use waypost_core::cluster::{Cluster, Credential, Endpoint, policy::Policy};
use waypost_core::dialect::Dialect;
use waypost_core::engine::{Config, EndpointAt, Ids, Limits, Request, Snapshot, Trusted};
use waypost_core::http1::BodyLength;
use waypost_core::json::Options;
use waypost_core::pattern::Value;
use waypost_core::table::RouteSpec;

/// A head as another parser reads it.
#[derive(Debug)]
struct Head {
    line: String,
    fields: Vec<(String, String)>,
}

impl Head {
    fn parse(head: &[u8]) -> Self {
        let mut slots = [httparse::EMPTY_HEADER; 256];
        let mut parsed = httparse::Request::new(&mut slots);
        assert_eq!(parsed.parse(head).unwrap(), httparse::Status::Complete(head.len()));
        let field = |field: &httparse::Header<'_>| {
            (field.name.to_owned(), String::from_utf8_lossy(field.value).into_owned())
        };
        Self {
            line: format!(
                "{} {} 1.{}",
                parsed.method.unwrap(),
                parsed.path.unwrap(),
                parsed.version.unwrap()
            ),
            fields: parsed.headers.iter().map(field).collect(),
        }
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }

    fn one(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name}: {all:?}");
        all.first().copied()
    }
}

struct Setup {
    url: &'static str,
    speaks: Dialect,
    credential: Credential,
    method: &'static str,
    target: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    client: Option<&'static str>,
    body: Option<String>,
    length: BodyLength,
    remaining: Option<u64>,
    keys: Keys,
    trusted: Trusted,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            url: "http://upstream:9100",
            speaks: Dialect::OpenAi,
            credential: Credential::None,
            method: "POST",
            target: "/v1/chat/completions?x=1",
            headers: vec![
                ("Host", "waypost.example"),
                ("Content-Type", "application/json"),
                ("Content-Length", "2"),
            ],
            client: Some("192.0.2.7"),
            body: Some("{}".to_owned()),
            length: BodyLength::Known(2),
            remaining: None,
            keys: Keys::default(),
            trusted: Trusted::default(),
        }
    }
}

impl Setup {
    fn with(mut self, headers: &[(&'static str, &'static str)]) -> Self {
        self.headers.extend(headers);
        self
    }

    fn snapshot(&self) -> Snapshot {
        let clusters = vec![Cluster {
            name: "c".to_owned(),
            speaks: self.speaks,
            endpoints: vec![Endpoint::parse(self.url, 1).unwrap()],
            credential: self.credential.clone(),
            model: None,
            policy: Policy::default(),
        }];
        // Paths that are not listed have to be named.
        let prefix = Value::Map(vec![("prefix".to_owned(), Value::String("/v1/".to_owned()))]);
        let pattern = Value::Map(vec![("path".to_owned(), Value::List(vec![prefix]))]);
        let routes = vec![RouteSpec {
            name: "r".to_owned(),
            pattern,
            to: Some("c".to_owned()),
            fallback: vec![],
            precedence: 0,
            ..RouteSpec::default()
        }];
        let limits = Limits { header: 1 << 16, json: Options::default() };
        Snapshot::compile(Config {
            routes,
            clusters,
            identities: self.keys.clone().into(),
            trusted: self.trusted.clone(),
            hosts: Vec::new(),
            limits,
        })
        .unwrap()
    }

    fn head(&self) -> Head {
        let snapshot = self.snapshot();
        let ids = Ids::new(1);
        let host = [("host", "h")]
            .into_iter()
            .filter(|_| !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")));
        let fields = host
            .chain(self.headers.iter().copied())
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        let request = Request {
            method: self.method.to_owned().into(),
            target: self.target.to_owned(),
            headers: fields.collect(),
            client: self.client.map(Into::into),
            certificate: None,
            scheme: "https".into(),
            version: "1.1".into(),
        };
        let intake = snapshot.accept(request, UnixTime(0), &ids).unwrap();
        let plan = snapshot.plan(&intake, self.body.as_deref().map(str::as_bytes)).unwrap();
        let at = EndpointAt::new(plan.clusters[0], 0.into());
        let head = snapshot.head(&intake, &plan, at, self.length, self.remaining).unwrap().unwrap();
        assert_eq!(snapshot.translates(&intake, at.cluster), intake.dialect != self.speaks);
        Head::parse(&head)
    }
}

#[test]
fn a_request_is_passed_on() {
    let head = Setup::default()
        .with(&[
            ("Accept", "text/event-stream"),
            ("X-Custom", "a"),
            ("x-custom", "b"),
            ("OpenAI-Beta", "x=y"),
        ])
        .head();
    assert_eq!(head.line, "POST /v1/chat/completions?x=1 1.1");
    assert_eq!(head.fields[0], ("host".to_owned(), "upstream:9100".to_owned()));
    assert_eq!(head.one("content-type"), Some("application/json"));
    assert_eq!(head.one("content-length"), Some("2"));
    assert_eq!(head.one("accept"), Some("text/event-stream"));
    assert_eq!(head.all("x-custom"), ["a", "b"]);
    assert_eq!(head.one("openai-beta"), Some("x=y"));
    assert_eq!(head.one("via"), Some("1.1 waypost"));
    assert_eq!(head.one("x-request-id").map(str::len), Some(32));
    assert_eq!(head.one("x-waypost-deadline-ms"), None);
}

const CREDENTIALS: [(&str, &str); 5] = [
    ("Authorization", "Bearer client"),
    ("X-Api-Key", "client"),
    ("api-key", "client"),
    // An endpoint that speaks CGI or WSGI takes these for the others.
    ("x_api_key", "client"),
    ("API_KEY", "client"),
];

#[test]
fn the_clients_credential_goes_no_further() {
    let sent = |credential: Credential| Setup { credential, ..Setup::default() }.with(&CREDENTIALS).head();
    let header = |name: &str| Credential::Header { name: name.to_owned(), value: "ours".to_owned() };
    let client = |head: &Head| head.fields.iter().filter(|(_, value)| value.contains("client")).count();

    let head = sent(Credential::None);
    assert_eq!(client(&head), 0, "{head:?}");
    for name in ["Authorization", "x-api-key", "Api-Key", "x-goog-api-key"] {
        let head = sent(header(name));
        assert_eq!(client(&head), 0, "{head:?}");
        assert_eq!(head.one(&name.to_ascii_lowercase()), Some("ours"));
        assert_eq!(head.fields.iter().filter(|(_, value)| value == "ours").count(), 1);
    }
    let head = sent(Credential::Pass);
    assert_eq!(client(&head), CREDENTIALS.len(), "{head:?}");
    assert_eq!(head.one("authorization"), Some("Bearer client"));
}

/// A key that Waypost knows is never forwarded, in whichever field it comes; what else there is, is the caller's own.
#[test]
fn a_key_for_waypost_goes_no_further_where_credentials_pass() {
    let setup = || Setup { credential: Credential::Pass, keys: keys(), ..Setup::default() };
    let own =
        [("authorization", "Bearer sk-user"), ("x-api-key", "sk-other"), ("api-key", "x"), ("cookie", "a=b")];
    let head = setup().with(&own).with(&[("X-Waypost-Key", "acme"), ("x_waypost_key", "acme")]).head();
    for (name, value) in own {
        assert_eq!(head.all(name), [value]);
    }
    assert_eq!((head.all("x-waypost-key"), head.all("x_waypost_key")), (vec![], vec![]));
    let many = [
        ("authorization", "Bearer acme"),
        ("Authorization", "acme"),
        ("X_Api_Key", "acme"),
        ("api-key", " acme "),
        ("cookie", "a=b; key=acme"),
        ("authorization", "Key acme, x"),
    ];
    for fields in [&many[..], &[&many[..], &[("x-waypost-key", "acme")]].concat()] {
        let head = setup().with(fields).head();
        assert!(
            !head.fields.iter().any(|(name, value)| value.contains("acme") && name != "x-waypost-tenant"),
            "{head:?}"
        );
    }
    let head = setup()
        .with(&[("x-api-key", "acme"), ("authorization", "Basic YTpi"), ("cookie", "acme-like=1")])
        .head();
    assert_eq!((head.one("authorization"), head.one("cookie")), (Some("Basic YTpi"), Some("acme-like=1")));
    assert_eq!(head.one("x-api-key"), None);
    // Without keys, nothing is recognised, and the field is Waypost's alone all the same.
    let head = Setup { credential: Credential::Pass, ..Setup::default() }
        .with(&[("authorization", "Bearer acme"), ("x-waypost-key", "acme")])
        .head();
    assert_eq!((head.one("authorization"), head.one("x-waypost-key")), (Some("Bearer acme"), None));
}

#[test]
fn what_was_for_this_hop_stays_here() {
    let head = Setup::default()
        .with(&[
            ("Connection", "keep-alive, X-Hop"),
            ("Keep-Alive", "timeout=5"),
            ("X-Hop", "1"),
            ("Proxy-Authorization", "Basic x"),
            ("Proxy-Connection", "close"),
            ("Upgrade", "h2c"),
            ("TE", "gzip"),
            ("Expect", "100-continue"),
        ])
        .head();
    for name in [
        "connection",
        "keep-alive",
        "x-hop",
        "proxy-authorization",
        "proxy-connection",
        "upgrade",
        "te",
        "expect",
        "transfer-encoding",
    ] {
        assert_eq!(head.one(name), None, "{name}");
    }
}

#[test]
fn a_client_cannot_say_who_it_is() {
    let forged: [(&str, &str); 10] = [
        ("X-Forwarded-For", "10.0.0.1"),
        ("x_forwarded_for", "10.0.0.1"),
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-Proto", "evil"),
        ("X-Forwarded-Port", "1"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X-Forwarded_Ssl", "evil"),
        ("X-FORWARDED-SERVER", "evil"),
        ("Forwarded", "for=10.0.0.1"),
        ("X-Request-Id", "not usable"),
    ];
    let head = Setup::default().with(&forged).head();
    assert_eq!(head.one("x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(head.one("x-forwarded-host"), Some("waypost.example"));
    assert_eq!(head.one("x-forwarded-proto"), Some("https"));
    let known = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
    for (name, _) in &head.fields {
        assert!(known.contains(&name.as_str()) || !name.replace('_', "-").contains("forwarded"), "{name}");
    }
    assert_ne!(head.one("x-request-id"), Some("not usable"));

    // What is not known is left out.
    let headers = forged.to_vec();
    let head = Setup { client: None, headers, ..Setup::default() }.head();
    assert_eq!((head.one("x-forwarded-for"), head.one("x-forwarded-host")), (None, Some("h")));
}

#[test]
fn targets_follow_the_endpoints_path() {
    for (url, target, line) in [
        (
            "https://api.example/openai/v1",
            "/v1/chat/completions?a=/v1",
            "POST /openai/v1/chat/completions?a=/v1 1.1",
        ),
        ("http://h/", "/v1/embeddings", "POST /v1/embeddings 1.1"),
        ("http://h/base", "/v1/v1/x", "POST /base/v1/x 1.1"),
    ] {
        assert_eq!(Setup { url, target, ..Setup::default() }.head().line, line, "{url}");
    }
    let head = Setup { url: "http://[2001:db8::1]:8080", ..Setup::default() }.head();
    assert_eq!(head.one("host"), Some("[2001:db8::1]:8080"));
}

#[test]
fn bodies_are_framed_as_they_are_sent() {
    let framing = |setup: &Setup| {
        let head = setup.head();
        (head.one("content-length").map(str::to_owned), head.one("transfer-encoding").map(str::to_owned))
    };
    let length = |n: &str| (Some(n.to_owned()), None);
    let chunked = (None, Some("chunked".to_owned()));
    let host = ("host", "w");
    for (method, target, headers, body, sent, expected) in [
        ("POST", "/v1/completions", vec![host], Some("{}"), BodyLength::Known(2), length("2")),
        (
            "POST",
            "/v1/completions",
            vec![host, ("transfer-encoding", "chunked")],
            Some("{}"),
            BodyLength::Known(2),
            length("2"),
        ),
        // The client's own length does not count.
        (
            "POST",
            "/v1/completions",
            vec![host, ("content-length", "99")],
            Some("{}"),
            BodyLength::Known(2),
            length("2"),
        ),
        (
            "POST",
            "/v1/files",
            vec![host, ("transfer-encoding", "chunked"), ("content-type", "a/b")],
            None,
            BodyLength::Chunked,
            chunked.clone(),
        ),
        (
            "POST",
            "/v1/files",
            vec![host, ("content-length", "5"), ("content-type", "a/b")],
            None,
            BodyLength::Known(5),
            length("5"),
        ),
        // A POST that says it has no body says so upstream (RFC 9110, section 8.6).
        (
            "POST",
            "/v1/batches/1/cancel",
            vec![host, ("content-length", "0")],
            None,
            BodyLength::Known(0),
            length("0"),
        ),
        ("GET", "/v1/models", vec![host], None, BodyLength::Known(0), (None, None)),
        ("GET", "/v1/models", vec![host], None, BodyLength::None, (None, None)),
        // HTTP/2 needs no length: what is sent must be framed all the same.
        ("POST", "/v1/files", vec![host, ("content-type", "a/b")], None, BodyLength::Known(5), length("5")),
        ("POST", "/v1/files", vec![host, ("content-type", "a/b")], None, BodyLength::Chunked, chunked),
    ] {
        let setup = Setup {
            method,
            target,
            headers,
            body: body.map(str::to_owned),
            length: sent,
            ..Setup::default()
        };
        assert_eq!(framing(&setup), expected, "{method} {target} {sent:?}");
    }
}

#[test]
fn the_deadline_is_what_is_left_of_it() {
    let head =
        Setup { remaining: Some(250), ..Setup::default() }.with(&[("x-waypost-deadline-ms", "1000")]).head();
    assert_eq!(head.one("x-waypost-deadline-ms"), Some("250"));
}

#[test]
fn an_envelope_is_passed_on_as_it_is_or_translated() {
    let envelope = |stream: bool, speaks: Dialect, url: &'static str| {
        let body = json!({"id": "m 1", "kind": "model", "stream": stream, "deadline_ms": 500}).to_string();
        let headers = vec![
            ("content-type", "application/cloudevents+json"),
            ("accept", "x/y"),
            ("accept-encoding", "gzip"),
            ("x-own", "1"),
        ];
        Setup {
            url,
            speaks,
            target: "/v1/envelopes?trace=1",
            body: Some(body),
            length: BodyLength::Known(77),
            headers,
            ..Setup::default()
        }
        .head()
    };
    let head = envelope(true, Dialect::Envelope, "http://h");
    assert_eq!(head.line, "POST /v1/envelopes 1.1");
    assert_eq!(
        (head.one("content-type"), head.one("accept"), head.one("accept-encoding")),
        (Some("application/cloudevents+json"), Some("x/y"), Some("gzip"))
    );
    assert_eq!((head.one("x-request-id"), head.one("content-length")), (Some("m%201"), Some("77")));
    assert_eq!(envelope(false, Dialect::Envelope, "http://h/inbox/").line, "POST /inbox 1.1");

    for (stream, accept) in [(true, "text/event-stream"), (false, "application/json")] {
        let head = envelope(stream, Dialect::OpenAi, "http://h/openai/v1");
        assert_eq!(head.line, "POST /openai/v1/chat/completions 1.1");
        assert_eq!((head.one("accept"), head.one("content-type")), (Some(accept), Some("application/json")));
        assert_eq!((head.one("accept-encoding"), head.one("x-own")), (Some("identity"), Some("1")));
    }
}

/// A key `acme` that proves the tenant of that name.
fn keys() -> Keys {
    let identity = Identity { tenant: Some("acme".to_owned()), ..Identity::default() };
    Keys::new([(hash(b"acme"), Caller::new("n", identity))])
}

#[test]
fn an_endpoint_is_told_what_the_key_proves_and_not_the_key() {
    for (speaks, target, body) in [
        (Dialect::OpenAi, "/v1/chat/completions", r#"{"model": "m"}"#),
        (Dialect::Envelope, "/v1/envelopes", r#"{"id": "1", "kind": "model"}"#),
        (Dialect::OpenAi, "/v1/envelopes", r#"{"id": "1", "kind": "model"}"#),
    ] {
        for (name, value) in [("Authorization", "Bearer acme"), ("x-api-key", "acme"), ("API-KEY", "acme")] {
            let setup =
                Setup { speaks, target, body: Some(body.to_owned()), keys: keys(), ..Setup::default() };
            let head = setup
                .with(&[(name, value), ("x_waypost_tenant", "globex"), ("X-Waypost_Tenant", "globex")])
                .head();
            assert_eq!(head.one("x-waypost-tenant"), Some("acme"));
            let others = head.fields.iter().filter(|(name, _)| name != "x-waypost-tenant");
            let mut told = others.filter(|(_, value)| value.contains("acme") || value.contains("globex"));
            assert_eq!(told.next(), None);
        }
    }
    // Without keys it is the client's to say.
    let head = Setup::default().with(&[("x-waypost-tenant", "globex")]).head();
    assert_eq!(head.one("x-waypost-tenant"), Some("globex"));
}

#[test]
fn what_a_trusted_proxy_tells_is_passed_on() {
    let told: [(&str, &str); 8] = [
        ("X-Forwarded-For", "6.6.6.6, 203.0.113.5"),
        ("x_forwarded_for", "6.6.6.6"),
        ("X-Forwarded-Host", "public.example"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Port", "8443"),
        ("X_Forwarded_Port", "1"),
        ("Forwarded", "for=203.0.113.5;proto=http"),
        ("X-Request-Id", "r-1"),
    ];
    let trusted = Trusted { blocks: vec!["192.0.2.0/24".parse().unwrap()], unix: false };
    let head = Setup { trusted: trusted.clone(), ..Setup::default() }.with(&told).head();
    assert_eq!(head.one("x-forwarded-for"), Some("6.6.6.6, 203.0.113.5, 192.0.2.7"));
    assert_eq!(head.one("x-forwarded-host"), Some("public.example"));
    assert_eq!(head.one("x-forwarded-proto"), Some("http"));
    assert_eq!(head.one("x-forwarded-port"), Some("8443"));
    assert_eq!(head.one("forwarded"), Some("for=203.0.113.5;proto=http, for=192.0.2.7"));
    assert_eq!(head.one("x_forwarded_for").or(head.one("x_forwarded_port")), None);

    let forwarded = [("Forwarded", "for=203.0.113.5;host=public.example"), ("X-Forwarded-Host", "evil")];
    let head = Setup { trusted: trusted.clone(), ..Setup::default() }.with(&forwarded).head();
    assert_eq!(head.one("x-forwarded-for"), Some("203.0.113.5, 192.0.2.7"));
    assert_eq!(head.one("x-forwarded-host"), Some("public.example"));
    assert_eq!(head.one("x-forwarded-proto"), Some("https"));

    let head = Setup { trusted, ..Setup::default() }.head();
    assert_eq!((head.one("x-forwarded-for"), head.one("forwarded")), (Some("192.0.2.7"), None));
}

proptest! {
    /// Whatever is accepted can be sent on, as one head, and holds none of what is kept back.
    #[test]
    fn what_is_accepted_can_be_sent(
        method in "GET|POST|[A-Z~ ]{0,3}",
        target in "/v1/[a-z%?#é \r]{0,6}",
        fields in prop::collection::vec(("(?i)connection|te|x.forwarded.for|authorization|[a-z_:\n]{0,4}", "close, x|[ -~]{0,6}|[\u{0}-é]{0,3}"), 0..6),
    ) {
        let snapshot = Setup::default().snapshot();
        let ids = Ids::new(1);
        let request = Request { method: method.into(), target, headers: fields.into_iter().collect(), client: Some("192.0.2.7".into()), certificate: None, scheme: "http".into(), version: "2".into() };
        if let Ok(intake) = snapshot.accept(request, UnixTime(0), &ids)
            && let Ok(plan) = snapshot.plan(&intake, Some(b"{}"))
        {
            let at = EndpointAt::new(plan.clusters[0], 0.into());
            let head = snapshot.head(&intake, &plan, at, BodyLength::Known(2), None);
            let head = Head::parse(&head.unwrap().unwrap());
            prop_assert_eq!(head.one("x-forwarded-for"), Some("192.0.2.7"));
            prop_assert_eq!(head.one("authorization"), None);
            prop_assert_eq!(head.all("host"), ["upstream:9100"]);
        }
    }
}

/// Waypost records no span, so that a parent of its own would be one that nobody knows.
#[test]
fn a_trace_is_passed_on_as_it_came() {
    for sent in [
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fe-more",
    ] {
        let fields = [("TraceParent", sent), ("tracestate", "a=1"), ("TraceState", "b=2")];
        let head = Setup::default().with(&fields).head();
        assert_eq!(head.all("traceparent"), [sent]);
        assert_eq!(head.all("tracestate"), ["a=1", "b=2"]);
    }
}

/// A new one would end in `-00`, and make endpoints drop their own traces.
#[test]
fn without_a_valid_trace_none_is_sent() {
    let sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for fields in [
        &[][..],
        &[("tracestate", "a=1")],
        &[("traceparent", "00-0-0-0"), ("tracestate", "a=1")],
        &[("traceparent", sent), ("Traceparent", sent), ("tracestate", "a=1")],
    ] {
        let head = Setup::default().with(fields).head();
        assert_eq!((head.all("traceparent"), head.all("tracestate")), (vec![], vec![]), "{fields:?}");
    }
}
