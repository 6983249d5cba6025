//! What `write_request_head` writes, and what it refuses to write.

// clippy.toml allows these in tests; the helpers of an integration test do not count as one.

use proptest::prelude::*;
use waypost_core::http1::{
    Added, BodyLength, Error, ErrorKind, RequestHead, encode_chunk, write_request_head,
};

const PLAIN: RequestHead<'static> = RequestHead {
    method: b"POST",
    target: b"/v1/x?y=1",
    host: b"127.0.0.1:9100",
    remove: &[],
    extra: &[],
    normal: false,
    body: BodyLength::None,
};

fn added(name: &str) -> Added<'_> {
    Added::new(name.as_bytes()).unwrap()
}

fn write(head: &RequestHead<'_>, fields: &[(&str, &str)]) -> Result<String, Error> {
    let mut out = Vec::new();
    write_request_head(
        &mut out,
        head,
        fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())),
    )?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn a_whole_head() {
    let head = RequestHead {
        remove: &[b"x-api-key", b"authorization"],
        extra: &[(added("x-forwarded-for"), b"192.0.2.1"), (added("authorization"), b" Bearer upstream ")],
        body: BodyLength::Known(17),
        ..PLAIN
    };
    let fields = [
        ("Host", "waypost.example"),
        ("Accept", " */*\t"),
        ("Content-Length", "3"),
        ("X-API-Key", "secret"),
        ("Authorization", "Bearer client"),
        ("Expect", "100-continue"),
        ("x-forwarded-for", "203.0.113.9"),
        ("Via", "1.0 fred"),
        ("Trailer", "x-sum"),
        ("X-Empty", ""),
        ("via", "HTTP/2 barney (x)"),
    ];
    let expected = "POST /v1/x?y=1 HTTP/1.1\r\nhost: 127.0.0.1:9100\r\naccept: */*\r\n\
                    x-empty: \r\nx-forwarded-for: 192.0.2.1\r\nauthorization: Bearer upstream\r\n\
                    via: 1.0 fred, HTTP/2 barney (x), 1.1 waypost\r\ncontent-length: 17\r\n\r\n";
    assert_eq!(write(&head, &fields).unwrap(), expected);
}

#[test]
fn the_body_is_framed_as_asked_and_never_as_the_downstream_did() {
    for (body, line) in [
        (BodyLength::None, ""),
        (BodyLength::Known(0), "content-length: 0\r\n"),
        (BodyLength::Known(u64::MAX), "content-length: 18446744073709551615\r\n"),
        (BodyLength::Chunked, "transfer-encoding: chunked\r\n"),
    ] {
        let fields = [
            ("Transfer-Encoding", "gzip, chunked"),
            ("Content-Length", "1"),
            ("content_length", "2"),
            ("Transfer_Encoding", "chunked"),
        ];
        let expected =
            format!("POST /v1/x?y=1 HTTP/1.1\r\nhost: 127.0.0.1:9100\r\nvia: 1.1 waypost\r\n{line}\r\n");
        assert_eq!(write(&RequestHead { body, ..PLAIN }, &fields).unwrap(), expected);
    }
}

/// The names that were written, but for those that every head has.
fn names(head: &RequestHead<'_>, fields: &[(&str, &str)]) -> Vec<String> {
    let written = write(head, fields).unwrap();
    let lines = written.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.map(|(name, _)| name.to_owned()).filter(|name| name != "host" && name != "via").collect()
}

#[test]
fn fields_for_the_downstreams_hop_are_dropped() {
    let fields = [
        ("Connection", "keep-alive, X-Hop,"),
        ("connection", "via"),
        ("x-hop", "1"),
        ("X-HOP", "2"),
        ("Via", "1.1 hidden"),
        ("Keep-Alive", "1"),
        ("Proxy-Connection", "1"),
        ("Proxy-Authorization", "Basic x"),
        ("Proxy_Authorization", "Basic x"),
        ("TE", "gzip"),
        ("Upgrade", "websocket"),
        ("x-hope", "stays"),
    ];
    assert_eq!(names(&PLAIN, &fields), ["x-hope"]);
    assert!(write(&PLAIN, &fields).unwrap().contains("\r\nvia: 1.1 waypost\r\n"));
}

#[test]
fn the_downstreams_connection_cannot_remove_what_the_proxy_adds() {
    let head = RequestHead { extra: &[(added("x-request-id"), b"1")], ..PLAIN };
    let written = write(&head, &[("Connection", "x-request-id, host, via")]).unwrap();
    for line in ["\r\nx-request-id: 1\r\n", "\r\nhost: 127.0.0.1:9100\r\n", "\r\nvia: 1.1 waypost\r\n"] {
        assert!(written.contains(line), "{written}");
    }
}

#[test]
fn removed_and_replaced_names_cannot_come_back_with_underscores() {
    let head =
        RequestHead { remove: &[b"x-api-key"], extra: &[(added("x-forwarded-for"), b"192.0.2.1")], ..PLAIN };
    let fields =
        [("X_API_KEY", "a"), ("x-api_key", "a"), ("X_Forwarded-For", "b"), ("x_other", "c"), ("h_ost", "d")];
    assert_eq!(names(&head, &fields), ["x_other", "h_ost", "x-forwarded-for"]);
    let head = RequestHead { remove: &[b"x_api_key"], extra: &[(added("x_tier"), b"gold")], ..PLAIN };
    assert_eq!(names(&head, &[("X-Api-Key", "a"), ("x-tier", "b"), ("x_tier", "c")]), ["x_tier"]);
}

#[test]
fn trailers_are_asked_for_where_the_downstream_takes_them() {
    for (te, asked) in [
        ("trailers", true),
        ("gzip;q=0.5, Trailers", true),
        ("gzip", false),
        ("trailers;q=0", false),
        ("x-trailers", false),
    ] {
        let written = write(&PLAIN, &[("Connection", "TE"), ("TE", te)]).unwrap();
        assert_eq!(written.contains("\r\nte: trailers\r\nconnection: te\r\n"), asked, "{te}");
        assert_eq!(written.matches("te: ").count(), usize::from(asked), "{te}");
    }
}

#[test]
fn what_could_break_out_of_its_place_is_refused() {
    let refused = |head: RequestHead<'_>, kind: ErrorKind| {
        let mut out = b"before".to_vec();
        let fields: [(&[u8], &[u8]); 0] = [];
        let error = write_request_head(&mut out, &head, fields).expect_err(&format!("{head:?}"));
        assert_eq!(error.kind, kind, "{head:?}");
        assert_eq!(out, b"before");
    };
    for method in ["", "GET ", "G\r\nET", "GET\0", "CONNECT", "G\u{e9}T", "GET /"] {
        refused(RequestHead { method: method.as_bytes(), ..PLAIN }, ErrorKind::Method);
    }
    for target in [
        "",
        "*",
        "x",
        "http://other/",
        "/a b",
        "/a\r\nx: y",
        "/a\n",
        "/\0",
        "/\u{e9}",
        "/\x7f",
        "/\t",
        "/a#b",
        " /",
    ] {
        refused(RequestHead { target: target.as_bytes(), ..PLAIN }, ErrorKind::Target);
    }
    for host in ["", "a b", "a\r\nx: y", "user@host", "a/b", "a?b", "a#b", "a\\b", "\u{e9}"] {
        refused(RequestHead { host: host.as_bytes(), ..PLAIN }, ErrorKind::Host);
    }
    for name in
        ["host", "content-length", "transfer_encoding", "connection", "te", "via", "expect", "upgrade"]
    {
        assert_eq!(Added::new(name.as_bytes()).unwrap_err().kind, ErrorKind::ReservedField, "{name}");
    }
    for name in ["", "a b", "a:", "a\r\n", "a\0", "\u{e9}", "a ", "A"] {
        assert_eq!(Added::new(name.as_bytes()).unwrap_err().kind, ErrorKind::FieldName, "{name}");
    }
    for value in ["a\r\nx: y", "a\n", "a\r", "\0", "\x0b", "a\x7f"] {
        refused(RequestHead { extra: &[(added("x"), value.as_bytes())], ..PLAIN }, ErrorKind::FieldValue);
    }
}

#[test]
fn bad_downstream_fields_are_refused_even_where_they_would_be_dropped() {
    for (name, value, kind) in [
        ("x", "a\r\ny: z", ErrorKind::FieldValue),
        ("x ", "a", ErrorKind::FieldName),
        ("", "a", ErrorKind::FieldName),
        ("host", "a\0", ErrorKind::FieldValue),
        ("te", "trailers\r\n", ErrorKind::FieldValue),
        ("via", "\n", ErrorKind::FieldValue),
        ("connection", "a b", ErrorKind::ConnectionOption),
    ] {
        assert_eq!(
            write(&PLAIN, &[("a", "b"), (name, value)]).unwrap_err().kind,
            kind,
            "{name:?}: {value:?}"
        );
    }
    let error = write(&PLAIN, &[("x-bad", "\r")]).unwrap_err();
    assert_eq!(error.to_string(), "a header field's value contains a control character (field \"x-bad\")");
}

#[test]
fn chunks_are_encoded() {
    assert_eq!(encode_chunk(b""), b"0\r\n\r\n");
    assert_eq!(encode_chunk(b"a"), b"1\r\na\r\n");
    let long = encode_chunk(&vec![b'x'; 0x1_0000]);
    assert!(long.starts_with(b"10000\r\nxx") && long.ends_with(b"x\r\n"));
    assert_eq!(long.len(), 7 + 0x1_0000 + 2);
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}",
        1 => prop::sample::select(vec!["Connection", "TE", "Via", "Host", "x-secret", "X-Added"]).prop_map(str::to_owned),
    ]
    .prop_map(String::into_bytes)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"x-secret, a".to_vec()),
        Just(b"trailers".to_vec()),
        prop::collection::vec(prop_oneof![Just(b'\t'), b' '..=b'~', 0x80..=u8::MAX], 0..20),
    ]
}

proptest! {
    /// A head that was written is read by another parser as exactly what was asked for.
    #[test]
    fn what_is_written_parses_back(
        fields in prop::collection::vec((name(), value()), 0..20),
        target in "/[!-\"$-~]{0,20}",
        length in any::<u64>(),
    ) {
        let head = RequestHead {
            target: target.as_bytes(),
            remove: &[b"x-secret"],
            extra: &[(added("x-added"), b"1")],
            body: BodyLength::Known(length),
            ..PLAIN
        };
        let given = fields.iter().map(|(name, value)| (&name[..], &value[..]));
        let mut out = Vec::new();
        if let Err(error) = write_request_head(&mut out, &head, given) {
            prop_assert_eq!(error.kind, ErrorKind::ConnectionOption);
            prop_assert!(out.is_empty());
            return Ok(());
        }
        let blank = |byte: &u8| !matches!(byte, b' ' | b'\t');
        let trim = |value: &[u8]| {
            let begin = value.iter().position(blank).unwrap_or(value.len());
            value[begin..value.iter().rposition(blank).map_or(begin, |end| end + 1)].to_vec()
        };
        let normal: Vec<(Vec<u8>, Vec<u8>)> =
            fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), trim(value))).collect();
        let mut same = Vec::new();
        let given = normal.iter().map(|(name, value)| (&name[..], &value[..]));
        write_request_head(&mut same, &RequestHead { normal: true, ..head }, given).unwrap();
        prop_assert_eq!(&same, &out);
        let mut slots = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut slots);
        prop_assert_eq!(parsed.parse(&out), Ok(httparse::Status::Complete(out.len())));
        prop_assert_eq!(parsed.method, Some("POST"));
        prop_assert_eq!(parsed.path, Some(&*target));
        prop_assert_eq!(parsed.version, Some(1));

        let is = |name: &[u8], other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let options: Vec<Vec<u8>> = fields.iter().filter(|(name, _)| is(name, "connection"))
            .flat_map(|(_, value)| value.split(|&byte| byte == b','))
            .map(|option| option.trim_ascii().to_ascii_lowercase()).collect();
        let added = ["x-added", "via", "te", "connection", "content-length"];
        let written: Vec<(Vec<u8>, Vec<u8>)> = parsed.headers.iter().skip(1)
            .map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec()))
            .filter(|(name, _)| !added.iter().any(|own| is(name, own))).collect();
        let dropped = ["connection", "te", "via", "host", "x-secret", "x_secret", "x-added", "x_added", "expect", "upgrade"];
        let expected: Vec<(Vec<u8>, Vec<u8>)> = fields.iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim_ascii().to_vec()))
            .filter(|(name, _)| !options.contains(name) && !dropped.iter().any(|drop| is(name, drop))).collect();
        prop_assert_eq!(written, expected);

        let all = |wanted: &str| -> Vec<&[u8]> {
            parsed.headers.iter().filter(|field| field.name == wanted).map(|field| field.value).collect()
        };
        let length = length.to_string();
        prop_assert_eq!(all("content-length"), [length.as_bytes()]);
        prop_assert_eq!(all("host"), [b"127.0.0.1:9100"]);
        prop_assert_eq!(all("x-added"), [b"1"]);
        prop_assert_eq!(all("via").len(), 1);
        prop_assert!(all("via")[0].ends_with(b"1.1 waypost"));
    }

    /// Nothing that is given can add a line: every line of what is written is one that was asked for.
    #[test]
    fn no_input_adds_a_line(
        method in prop::collection::vec(any::<u8>(), 1..4),
        target in prop::collection::vec(any::<u8>(), 0..4),
        host in prop::collection::vec(any::<u8>(), 1..4),
        field in (prop::collection::vec(any::<u8>(), 1..4), prop::collection::vec(any::<u8>(), 0..4)),
        extra in (prop::collection::vec(any::<u8>(), 1..4), prop::collection::vec(any::<u8>(), 0..4)),
        broken in 0..5,
    ) {
        let pick = |index: i32, bytes: &[u8], sound: &[u8]| if broken == index { bytes.to_vec() } else { sound.to_vec() };
        let method = pick(0, &method, b"GET");
        let target = [&b"/"[..], &pick(1, &target, b"")].concat();
        let host = pick(2, &host, b"a");
        let field = (pick(3, &field.0, b"b"), pick(3, &field.1, b"c"));
        let extra = (pick(4, &extra.0, b"d"), pick(4, &extra.1, b"e"));
        let Ok(name) = Added::new(&extra.0) else { return Ok(()) };
        let head = RequestHead {
            method: &method, target: &target, host: &host, extra: &[(name, &extra.1)], ..PLAIN
        };
        let mut out = Vec::new();
        if write_request_head(&mut out, &head, [(&field.0[..], &field.1[..])]).is_err() {
            prop_assert!(out.is_empty());
            return Ok(());
        }
        let count = |byte: u8| memchr::memchr_iter(byte, &out).count();
        let lines = count(b'\n');
        prop_assert!((5..=6).contains(&lines), "{}", out.escape_ascii());
        prop_assert_eq!(count(b'\r'), lines);
        prop_assert!(out.ends_with(b"\r\n\r\n") && !out.contains(&0));
    }
}
