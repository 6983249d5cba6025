//! What `ResponseReader` accepts, refuses and says about the connection.

// clippy.toml allows these in tests; the helpers of an integration test do not count as one.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use waypost_core::http1::{
    Error, ErrorKind, Fields, MAX_FIELDS, MAX_INTERIM, MAX_OPTIONS, ResponseEnd, ResponseHead, ResponseReader,
};

const MAX_HEAD: usize = 4096;

#[derive(Debug, PartialEq)]
struct Read {
    head: ResponseHead,
    body: Vec<u8>,
    end: Option<ResponseEnd>,
}

/// The outcome of feeding `wire` in pieces of `size` bytes.
fn feed(reader: &mut ResponseReader, wire: &[u8], size: usize) -> Result<Read, Error> {
    let (mut head, mut body, mut end) = (None, Vec::new(), None);
    for piece in wire.chunks(size) {
        let progress = reader.feed(piece)?;
        assert!(end.is_none() || progress.end.is_none(), "one end");
        assert!(head.is_none() || progress.head.is_none(), "one head");
        body.extend_from_slice(&progress.body);
        head = head.or(progress.head);
        end = end.or(progress.end);
    }
    Ok(Read { head: head.expect("a complete head"), body, end })
}

/// The outcome for `wire`, which must be the same whole and byte by byte.
fn read_to(method: &str, wire: &[u8]) -> Result<Read, Error> {
    let whole = feed(&mut ResponseReader::new(method, MAX_HEAD), wire, wire.len());
    let bytewise = feed(&mut ResponseReader::new(method, MAX_HEAD), wire, 1);
    assert_eq!(whole, bytewise, "{}", wire.escape_ascii());
    whole
}

fn read(wire: &[u8]) -> Read {
    read_to("POST", wire).unwrap_or_else(|error| panic!("{error}: {}", wire.escape_ascii()))
}

fn refusal(method: &str, wire: &[u8]) -> ErrorKind {
    match read_to(method, wire) {
        Err(error) => error.kind,
        Ok(read) => panic!("accepted {}: {read:?}", wire.escape_ascii()),
    }
}

fn fields(expected: &[(&str, &str)]) -> Fields {
    expected.iter().copied().collect()
}

#[test]
fn head_and_body_come_in_normal_form() {
    let read =
        read(b"HTTP/1.1 200 Fine\r\nX-One:a\r\nx-two: \t b c \t\r\nX-ONE:\r\nContent-LENGTH: 003\r\n\r\nabc");
    assert_eq!(read.head.status, 200);
    assert_eq!(
        read.head.headers,
        fields(&[("x-one", "a"), ("x-two", "b c"), ("x-one", ""), ("content-length", "3")])
    );
    assert_eq!(read.body, b"abc");
    assert_eq!(read.end, Some(ResponseEnd { reusable: true, trailers: Fields::default(), empty: false }));
}

#[test]
fn fields_for_this_hop_are_removed() {
    let read = read(
        b"HTTP/1.1 407 x\r\nConnection: X-Hop, keep-alive,,\r\nconnection: x-other\r\nx-hop: 1\r\nX-Other: 1\r\n\
          Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\n\
          Proxy-Authenticate: Basic\r\nProxy-Authentication-Info: a\r\nProxy-Authorization: b\r\n\
          Transfer-Encoding: Chunked\r\nTrailer: x-sum\r\nx-hope: stays\r\n\r\n\
          0\r\nX-Hop: 1\r\nX-Sum: 9\r\n\r\n",
    );
    assert_eq!(read.head.headers, fields(&[("trailer", "x-sum"), ("x-hope", "stays")]));
    assert_eq!(
        read.end,
        Some(ResponseEnd { reusable: true, trailers: fields(&[("x-sum", "9")]), empty: false })
    );
}

/// RFC 9112, section 5.1.
#[test]
fn space_between_a_name_and_its_colon_is_removed() {
    let read = read(
        b"HTTP/1.1 200 OK\r\nX-One : a\r\nx-two\t \t:b\r\nConnection : x-hop\r\nx-hop: 1\r\nContent-Length : 3\r\n\r\nabc",
    );
    assert_eq!(read.head.headers, fields(&[("x-one", "a"), ("x-two", "b"), ("content-length", "3")]));
    assert_eq!((read.body, read.end.unwrap().reusable), (b"abc".to_vec(), true));
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding\t: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
    assert_eq!(self::read(chunked).body, b"a");
    for both in [
        "Content-Length : 3\r\nContent-Length: 3",
        "Transfer-Encoding : chunked\r\nContent-Length: 3",
        "Content-Length : 3\r\nTransfer-Encoding: chunked",
    ] {
        let kind = refusal("GET", format!("HTTP/1.1 200 OK\r\n{both}\r\n\r\nabc").as_bytes());
        assert!(
            matches!(kind, ErrorKind::RepeatedContentLength | ErrorKind::BothLengths),
            "{both}: {kind:?}"
        );
    }
}

#[test]
fn connection_cannot_remove_the_length_that_frames_the_body() {
    let read = read(b"HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 1\r\n\r\na");
    assert_eq!(read.head.headers, fields(&[("content-length", "1")]));
}

#[test]
fn responses_without_a_body() {
    for (method, wire, length, reusable) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Some("5"), true),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None, true),
        ("HEAD", "HTTP/1.1 200 OK\r\n\r\n", None, true),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Some("5"), true),
        ("GET", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", None, true),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", None, true),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", None, true),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", None, false),
        ("GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", None, false),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Some("0"), true),
        ("HEAD", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", Some("5"), false),
    ] {
        let read = read_to(method, wire.as_bytes()).unwrap();
        let expected: Fields = length.map(|length| ("content-length", length)).into_iter().collect();
        assert_eq!(read.head.headers, expected, "{method} {wire}");
        assert_eq!(
            read.end,
            Some(ResponseEnd { reusable, trailers: Fields::default(), empty: false }),
            "{method} {wire}"
        );
        assert!(read.body.is_empty());
    }
    // Methods are case-sensitive.
    assert_eq!(read_to("head", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap().end, None);
}

#[test]
fn a_connection_is_reused_only_where_both_sides_agree() {
    for (head, reusable) in [
        ("HTTP/1.1 200 OK\r\n", true),
        ("HTTP/1.1 200\r\n", true),
        ("HTTP/1.1 200 \r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n", false),
        ("HTTP/1.1 200 OK\r\nConnection: x, CLOSE\r\n", false),
        ("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close\r\n", false),
        ("HTTP/1.1 200 OK\r\nConnection: closed\r\n", true),
        ("HTTP/1.0 200 OK\r\n", false),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", true),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\n", false),
        ("HTTP/1.0 200 OK\r\nKeep-Alive: timeout=5\r\n", false),
    ] {
        let wire = format!("{head}Content-Length: 2\r\n\r\nab");
        assert_eq!(read(wire.as_bytes()).end.unwrap().reusable, reusable, "{head}");
    }
}

#[test]
fn keep_alive_says_how_long_a_connection_may_be_idle() {
    let ms = |value: &str| {
        let wire = format!("HTTP/1.1 200 OK\r\nKeep-Alive: {value}\r\nContent-Length: 2\r\n\r\nab");
        let mut reader = ResponseReader::new("GET", MAX_HEAD);
        let progress = reader.feed(wire.as_bytes()).unwrap();
        assert!(progress.head.unwrap().headers.iter().all(|(name, _)| name != b"keep-alive"));
        reader.idle_limit().map(|limit| limit.as_millis())
    };
    for (value, limit) in [
        ("timeout=5", Some(4000)),
        ("timeout=5, max=100", Some(4000)),
        ("max=100, Timeout = 1", Some(800)),
        ("timeout=0", Some(0)),
        ("timeout=999999999", Some(799_999_999_200)),
        ("timeout=9999999999", None),
        ("timeout=-1", None),
        ("timeout=1.5", None),
        ("timeout=", None),
        ("timeout", None),
        ("max=5", None),
        ("", None),
        ("time\u{f6}ut=5", None),
    ] {
        assert_eq!(ms(value), limit, "{value}");
    }
    let mut reader = ResponseReader::new("GET", MAX_HEAD);
    let interim = b"HTTP/1.1 103 Early Hints\r\nKeep-Alive: timeout=1\r\n\r\nHTTP/1.1 204 x\r\n\r\n";
    assert!(reader.feed(interim).unwrap().end.is_some());
    assert_eq!(reader.idle_limit(), None);
}

#[test]
fn bytes_behind_the_end_spoil_the_connection() {
    for wire in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    ] {
        let mut reader = ResponseReader::new("GET", MAX_HEAD);
        let with_more = format!("{wire}HTTP/1.1 200 OK\r\n");
        let progress = reader.feed(with_more.as_bytes()).unwrap();
        assert!(!progress.end.expect("the end, all the same").reusable, "{wire}");

        let mut reader = ResponseReader::new("GET", MAX_HEAD);
        assert!(reader.feed(wire.as_bytes()).unwrap().end.unwrap().reusable, "{wire}");
        assert_eq!(reader.feed(b"").unwrap().end, None);
        assert_eq!(reader.feed(b"\r\n").unwrap_err().kind, ErrorKind::AfterEnd);
        assert_eq!(reader.feed(b"").unwrap_err().kind, ErrorKind::AfterEnd);
        assert_eq!(reader.eof().unwrap_err().kind, ErrorKind::AfterEnd);
    }
}

#[test]
fn interim_responses_are_skipped() {
    let read = read(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: close\r\n\r\n\
          HTTP/1.1 102 x\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
    );
    assert_eq!((read.head.status, read.body.as_slice()), (200, &b"a"[..]));
    assert_eq!(read.head.headers, fields(&[("content-length", "1")]));
    assert!(read.end.unwrap().reusable);

    let interim = b"HTTP/1.1 102 Processing\r\n\r\n".repeat(MAX_INTERIM.into());
    let last = b"HTTP/1.1 204 x\r\n\r\n";
    assert_eq!(read_to("GET", &[&interim, &last[..]].concat()).unwrap().head.status, 204);
    let more = [&interim, &b"HTTP/1.1 102 Processing\r\n\r\n"[..], last].concat();
    assert_eq!(refusal("GET", &more), ErrorKind::TooManyInterim);
}

#[test]
fn a_body_without_announced_end_lasts_until_the_endpoint_closes() {
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"] {
        let mut reader = ResponseReader::new("GET", MAX_HEAD);
        let read =
            feed(&mut reader, format!("{head}0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n").as_bytes(), 3).unwrap();
        assert_eq!(read.body, b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(read.end, None);
        assert_eq!(
            reader.eof(),
            Ok(ResponseEnd { reusable: false, trailers: Fields::default(), empty: false })
        );
        assert_eq!(reader.eof().unwrap_err().kind, ErrorKind::AfterEnd);
    }
}

#[test]
fn closing_too_early_is_an_error_that_says_where() {
    for (wire, kind) in [
        ("", ErrorKind::ClosedBeforeResponse),
        ("H", ErrorKind::TruncatedHead),
        ("HTTP/1.1 200 OK\r\n\r", ErrorKind::TruncatedHead),
        ("HTTP/1.1 100 Continue\r\n\r\n", ErrorKind::TruncatedHead),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", ErrorKind::TruncatedBody),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ErrorKind::TruncatedBody),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", ErrorKind::TruncatedBody),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: b\r\n\r", ErrorKind::TruncatedBody),
    ] {
        let mut reader = ResponseReader::new("GET", MAX_HEAD);
        reader.feed(wire.as_bytes()).unwrap();
        assert_eq!(reader.eof().unwrap_err().kind, kind, "{wire}");
        assert_eq!(reader.eof().unwrap_err().kind, kind, "{wire}: again");
        assert_eq!(reader.feed(b"x").unwrap_err().kind, kind, "{wire}: again");
    }
}

#[test]
fn malformed_heads_are_refused() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(MAX_HEAD));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(MAX_FIELDS + 1));
    let options = format!("HTTP/1.1 200 OK\r\nConnection: {}\r\n\r\n", "a,".repeat(MAX_OPTIONS + 1));
    for (wire, kind) in [
        // Start line.
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", ErrorKind::NotHttp),
        (" HTTP/1.1 200 OK\r\n\r\n", ErrorKind::NotHttp),
        ("http/1.1 200 OK\r\n\r\n", ErrorKind::NotHttp),
        ("\x15\x03\x01\x00\x02\x02\x46", ErrorKind::NotHttp),
        ("ICY 200 OK\r\n\r\n", ErrorKind::NotHttp),
        ("HTTP/2.0 200 OK\r\n\r\n", ErrorKind::Version),
        ("HTTP/1.2 200 OK\r\n\r\n", ErrorKind::Version),
        ("HTTP/0.9 200 OK\r\n\r\n", ErrorKind::Version),
        ("HTTP/11 200 OK\r\n\r\n", ErrorKind::Version),
        ("HTTP/1.1  200 OK\r\n\r\n", ErrorKind::StatusLine),
        ("HTTP/1.1 20 OK\r\n\r\n", ErrorKind::StatusLine),
        ("HTTP/1.1 2000 OK\r\n\r\n", ErrorKind::StatusLine),
        ("HTTP/1.1 +20 OK\r\n\r\n", ErrorKind::StatusLine),
        ("HTTP/1.1 abc OK\r\n\r\n", ErrorKind::StatusLine),
        ("HTTP/1.1 099 OK\r\n\r\n", ErrorKind::Status),
        ("HTTP/1.1 600 OK\r\n\r\n", ErrorKind::Status),
        ("HTTP/1.1 999 OK\r\n\r\n", ErrorKind::Status),
        ("HTTP/1.1 200 O\x01K\r\n\r\n", ErrorKind::StatusLine),
        ("HTTP/1.1 200 O\0K\r\n\r\n", ErrorKind::StatusLine),
        ("HTTP/1.1 200\tOK\r\n\r\n", ErrorKind::StatusLine),
        ("HTTP/1.1\r\n\r\n", ErrorKind::Version),
        // Line ends.
        ("HTTP/1.1 200 OK\n\n", ErrorKind::BareLf),
        ("HTTP/1.1 200 OK\nx: y\r\n\r\n", ErrorKind::BareLf),
        ("HTTP/1.1 200 OK\r\nx: y\n\r\n", ErrorKind::BareLf),
        ("HTTP/1.1 200 OK\r\nx: y\r\n\n", ErrorKind::BareLf),
        ("HTTP/1.1 200 OK\r\nx: y\r\r\n\r\n", ErrorKind::BareCr),
        ("HTTP/1.1 200 OK\r\nx: y\rz: 1\r\n\r\n", ErrorKind::BareCr),
        ("HTTP/1.1 200 O\rK\r\n\r\n", ErrorKind::BareCr),
        ("HTTP/1.1 200 OK\r\n\rx", ErrorKind::BareCr),
        ("HTTP/1.1 200 OK\r\n x: y\r\n\r\n", ErrorKind::ObsFold),
        ("HTTP/1.1 200 OK\r\nx: y\r\n z\r\n\r\n", ErrorKind::ObsFold),
        ("HTTP/1.1 200 OK\r\nx: y\r\n\tz\r\n\r\n", ErrorKind::ObsFold),
        ("HTTP/1.1 200 OK\r\nx: y\r\n \r\n\r\n", ErrorKind::ObsFold),
        // Fields.
        ("HTTP/1.1 200 OK\r\nx\x0b: y\r\n\r\n", ErrorKind::FieldName),
        ("HTTP/1.1 200 OK\r\n: y\r\n\r\n", ErrorKind::FieldName),
        ("HTTP/1.1 200 OK\r\nx\r\n\r\n", ErrorKind::FieldName),
        ("HTTP/1.1 200 OK\r\nx y: z\r\n\r\n", ErrorKind::FieldName),
        ("HTTP/1.1 200 OK\r\nx(y): z\r\n\r\n", ErrorKind::FieldName),
        ("HTTP/1.1 200 OK\r\n\u{ff}x: z\r\n\r\n", ErrorKind::FieldName),
        ("HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n", ErrorKind::FieldValue),
        ("HTTP/1.1 200 OK\r\nx: \x0b\r\n\r\n", ErrorKind::FieldValue),
        ("HTTP/1.1 200 OK\r\nx: \x7f\r\n\r\n", ErrorKind::FieldValue),
        ("HTTP/1.1 200 OK\r\nConnection: a b\r\n\r\n", ErrorKind::ConnectionOption),
        ("HTTP/1.1 200 OK\r\nConnection: \"close\"\r\n\r\n", ErrorKind::ConnectionOption),
        (&options, ErrorKind::ConnectionOption),
        // Limits.
        (&long, ErrorKind::HeadTooLarge),
        (&many, ErrorKind::TooManyFields),
        // Never asked for.
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", ErrorKind::Upgrade),
    ] {
        assert_eq!(refusal("GET", wire.as_bytes()), kind, "{}", wire.escape_debug());
    }
    assert_eq!(refusal("CONNECT", b"HTTP/1.1 200 OK\r\n\r\n"), ErrorKind::Upgrade);
    assert_eq!(read_to("CONNECT", b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").unwrap().head.status, 403);
}

#[test]
fn ambiguous_framing_is_refused() {
    for (fields, kind) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", ErrorKind::BothLengths),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", ErrorKind::BothLengths),
        ("Content-Length: 5\r\nContent-Length: 6", ErrorKind::RepeatedContentLength),
        ("Content-Length: 5\r\nX: y\r\ncontent-length: 5", ErrorKind::RepeatedContentLength),
        ("Content-Length: 5, 5", ErrorKind::ContentLength),
        ("Content-Length: +5", ErrorKind::ContentLength),
        ("Content-Length: -5", ErrorKind::ContentLength),
        ("Content-Length: 5 5", ErrorKind::ContentLength),
        ("Content-Length: 0x5", ErrorKind::ContentLength),
        ("Content-Length: 5.0", ErrorKind::ContentLength),
        ("Content-Length: 1e1", ErrorKind::ContentLength),
        ("Content-Length: 1_0", ErrorKind::ContentLength),
        ("Content-Length: \"5\"", ErrorKind::ContentLength),
        ("Content-Length: \u{665}", ErrorKind::ContentLength),
        ("Content-Length:", ErrorKind::ContentLength),
        ("Content-Length: 5;", ErrorKind::ContentLength),
        ("Content-Length: 18446744073709551616", ErrorKind::ContentLength),
        ("Content-Length: 99999999999999999999999", ErrorKind::ContentLength),
        ("Transfer-Encoding: chunked, chunked", ErrorKind::TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", ErrorKind::TransferEncoding),
        ("Transfer-Encoding: gzip, chunked", ErrorKind::TransferEncoding),
        ("Transfer-Encoding: chunked, gzip", ErrorKind::TransferEncoding),
        ("Transfer-Encoding: chunked,", ErrorKind::TransferEncoding),
        ("Transfer-Encoding: identity", ErrorKind::TransferEncoding),
        ("Transfer-Encoding: xchunked", ErrorKind::TransferEncoding),
        ("Transfer-Encoding: chunked;q=1", ErrorKind::TransferEncoding),
        ("Transfer-Encoding: \"chunked\"", ErrorKind::TransferEncoding),
        ("Transfer-Encoding:", ErrorKind::TransferEncoding),
        ("Transfer-Encoding: \x0bchunked", ErrorKind::FieldValue),
    ] {
        // Whatever ends the body, the ambiguity shows that somebody on the way reads it otherwise.
        for (method, status) in
            [("GET", 200), ("HEAD", 200), ("GET", 204), ("GET", 304), ("GET", 500), ("GET", 103)]
        {
            let wire = format!("HTTP/1.1 {status} x\r\n{fields}\r\n\r\n");
            assert_eq!(refusal(method, wire.as_bytes()), kind, "{method} {status} {fields}");
        }
    }
    for (wire, kind) in [
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ErrorKind::OldTransferEncoding),
        ("HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n", ErrorKind::InterimBody),
        ("HTTP/1.1 100 Continue\r\nContent-Length: 1\r\n\r\n", ErrorKind::InterimBody),
    ] {
        assert_eq!(refusal("GET", wire.as_bytes()), kind, "{wire}");
    }
}

#[test]
fn every_byte_in_every_place_of_a_head() {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let text = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    for byte in 0..=u8::MAX {
        let head = |before: &str, after: &str| [before.as_bytes(), &[byte], after.as_bytes()].concat();
        for (wire, accepted, place) in [
            (head("HTTP/1.1 204 a", "b\r\nx: y\r\n\r\n"), text(byte), "reason"),
            (
                head("HTTP/1.1 204 OK\r\nx", ": y\r\n\r\n"),
                token(byte) || b" \t:".contains(&byte),
                "end of a name",
            ),
            (head("HTTP/1.1 204 OK\r\n", "x: y\r\n\r\n"), token(byte), "start of a name"),
            (head("HTTP/1.1 204 OK\r\nx: a", "b\r\n\r\n"), text(byte), "value"),
            (head("HTTP/1.1 204 OK\r\nx: y\r", "\r\n"), byte == b'\n', "line end"),
        ] {
            assert_eq!(read_to("GET", &wire).is_ok(), accepted, "{byte:#04x} in {place}");
        }
    }
}

fn chunked(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}").into_bytes()
}

#[test]
fn chunks_are_decoded() {
    let extension = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(256));
    for (wire, body) in [
        ("0\r\n\r\n", ""),
        ("0000000000000000\r\n\r\n", ""),
        ("0;x=\"y\"\r\n\r\n", ""),
        ("1\r\na\r\n0\r\n\r\n", "a"),
        ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("a\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("000000000000000a\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("4\r\n\r\n\r\n\r\n2\r\nab\r\n0\r\n\r\n", "\r\n\r\nab"),
        ("1;a\r\nx\r\n1 \t ; a = \"\u{e9}\t\"\r\ny\r\n0 ;\r\n\r\n", "xy"),
        (&extension, "a"),
    ] {
        let read = read(&chunked(wire));
        assert_eq!(read.body, body.as_bytes(), "{wire}");
        assert_eq!(
            read.end,
            Some(ResponseEnd { reusable: true, trailers: Fields::default(), empty: false }),
            "{wire}"
        );
    }
}

#[test]
fn malformed_chunks_are_refused() {
    let extension = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(257));
    let padding = format!("1{};\r\na\r\n0\r\n\r\n", " ".repeat(258));
    let trailers = format!("0\r\nx: {}\r\n\r\n", "y".repeat(MAX_HEAD));
    let many = format!("0\r\n{}\r\n", "x: y\r\n".repeat(MAX_FIELDS + 1));
    for (wire, kind) in [
        ("\r\n\r\n", ErrorKind::ChunkSize),
        ("g\r\n", ErrorKind::ChunkSize),
        ("+1\r\na\r\n", ErrorKind::ChunkSize),
        ("-1\r\na\r\n", ErrorKind::ChunkSize),
        (" 1\r\na\r\n", ErrorKind::ChunkSize),
        ("0x1\r\na\r\n", ErrorKind::ChunkSize),
        ("1_0\r\na\r\n", ErrorKind::ChunkSize),
        (";x\r\n", ErrorKind::ChunkSize),
        ("1 \r\na\r\n", ErrorKind::ChunkSize),
        ("1 1\r\na\r\n", ErrorKind::ChunkSize),
        ("1\n", ErrorKind::ChunkSize),
        ("1\na\r\n", ErrorKind::ChunkSize),
        ("1\0\r\na\r\n", ErrorKind::ChunkSize),
        ("\u{661}\r\na\r\n", ErrorKind::ChunkSize),
        ("00000000000000000\r\n\r\n", ErrorKind::ChunkTooLarge),
        ("10000000000000000\r\n", ErrorKind::ChunkTooLarge),
        ("1\ra\r\n", ErrorKind::BareCr),
        ("1\r\r\na\r\n", ErrorKind::BareCr),
        ("1;x\na\r\n", ErrorKind::BareLf),
        ("1;x\ry\r\na\r\n", ErrorKind::BareCr),
        ("1;\0\r\na\r\n", ErrorKind::ChunkExtension),
        ("1;\x7f\r\na\r\n", ErrorKind::ChunkExtension),
        (&extension, ErrorKind::ChunkExtension),
        (&padding, ErrorKind::ChunkExtension),
        ("1\r\nab\r\n", ErrorKind::ChunkEnd),
        ("1\r\na\n0\r\n\r\n", ErrorKind::ChunkEnd),
        ("1\r\na\r0\r\n\r\n", ErrorKind::ChunkEnd),
        ("1\r\na0\r\n\r\n", ErrorKind::ChunkEnd),
        ("3\r\na\r\n0\r\n\r\n", ErrorKind::ChunkEnd),
        ("0\r\n\n", ErrorKind::BareLf),
        ("0\r\nx: y\n\r\n", ErrorKind::BareLf),
        ("0\r\n\rx", ErrorKind::BareCr),
        ("0\r\n x: y\r\n\r\n", ErrorKind::ObsFold),
        ("0\r\nx: y\r\n z\r\n\r\n", ErrorKind::ObsFold),
        ("0\r\nx y: z\r\n\r\n", ErrorKind::FieldName),
        ("0\r\nGET / HTTP/1.1\r\n\r\n", ErrorKind::FieldName),
        ("0\r\nx: \0\r\n\r\n", ErrorKind::FieldValue),
        (&trailers, ErrorKind::TrailersTooLarge),
        (&many, ErrorKind::TooManyFields),
    ] {
        assert_eq!(refusal("GET", &chunked(wire)), kind, "{}", wire.escape_debug());
    }
}

#[test]
fn the_largest_sizes_are_read_without_room_for_them() {
    let largest = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\nabc", u64::MAX);
    for wire in [largest.as_bytes(), &chunked("ffffffffffffffff\r\nabc")] {
        let mut reader = ResponseReader::new("GET", MAX_HEAD);
        assert_eq!(&*reader.feed(wire).unwrap().body, b"abc");
        assert_eq!(&*reader.feed(b"def").unwrap().body, b"def");
        assert_eq!(reader.eof().unwrap_err().kind, ErrorKind::TruncatedBody);
    }
}

#[test]
fn trailers_are_kept_where_they_mean_something() {
    let read = read(&chunked(
        "1\r\na\r\n0\r\nX-Checksum:  9 \r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\
         Set-Cookie: a=b\r\nContent-Type: text/html\r\nAuthorization: x\r\nConnection: close\r\nIf-Match: x\r\n\
         Trailer: y\r\nserver-timing \t: db\r\n\r\n",
    ));
    let trailers = fields(&[("x-checksum", "9"), ("server-timing", "db")]);
    assert_eq!(read.end, Some(ResponseEnd { reusable: true, trailers, empty: false }));
}

#[test]
fn a_body_in_one_piece_is_not_copied() {
    let long = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".to_vec();
    let one_chunk = chunked("3\r\nabc\r\n0\r\n\r\n");
    let close = b"HTTP/1.1 200 OK\r\n\r\nabc".to_vec();
    for wire in [long, one_chunk, close] {
        let mut reader = ResponseReader::new("GET", MAX_HEAD);
        let progress = reader.feed(&wire).unwrap();
        assert!(matches!(progress.body, Cow::Borrowed(b"abc")), "{}", wire.escape_ascii());
    }
    let mut reader = ResponseReader::new("GET", MAX_HEAD);
    let wire = chunked("3\r\nabc\r\n1\r\nd\r\n");
    let body = reader.feed(&wire).unwrap().body;
    let Cow::Owned(body) = body else { panic!("joined") };
    assert_eq!(body, b"abcd");
    assert!(body.capacity() <= wire.len());
}

/// How many bytes an endpoint that repeats `unit` for ever can send before it is refused.
fn endless(start: &[u8], unit: &[u8]) -> (usize, ErrorKind) {
    let mut reader = ResponseReader::new("GET", MAX_HEAD);
    reader.feed(start).unwrap();
    for sent in 1..10 * MAX_HEAD {
        if let Err(error) = reader.feed(unit) {
            return (sent * unit.len(), error.kind);
        }
    }
    panic!("never refused: {}", unit.escape_ascii());
}

#[test]
fn nothing_that_is_held_or_skipped_is_endless() {
    for (start, unit, kind) in [
        ("HTTP/1.1 200 ", "x", ErrorKind::HeadTooLarge),
        ("HTTP/1.1 200 OK\r\n", "x", ErrorKind::HeadTooLarge),
        ("HTTP/1.1 200 OK\r\nx:", " ", ErrorKind::HeadTooLarge),
        ("HTTP/1.1 200 OK\r\n", "x:\r\n", ErrorKind::TooManyFields),
        ("", "HTTP/1.1 100 x\r\n\r\n", ErrorKind::TooManyInterim),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0", ErrorKind::ChunkTooLarge),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0", " ", ErrorKind::ChunkExtension),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0", ";", ErrorKind::ChunkExtension),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "x", ErrorKind::TrailersTooLarge),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "x:\r\n", ErrorKind::TooManyFields),
    ] {
        let (sent, seen) = endless(start.as_bytes(), unit.as_bytes());
        assert_eq!(seen, kind, "{start:?} {unit:?}");
        assert!(sent <= MAX_HEAD, "{start:?} {unit:?}: {sent}");
    }
}

#[test]
fn the_limit_of_a_head_is_exact() {
    let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n".to_vec();
    let body = [b'x'; 40];
    for size in [1, 7, 1000] {
        let all = [&wire[..], &body].concat();
        let fits = feed(&mut ResponseReader::new("GET", wire.len()), &all, size);
        assert_eq!(fits.unwrap().body, body);
        let over = feed(&mut ResponseReader::new("GET", wire.len() - 1), &all, size);
        assert_eq!(over.unwrap_err().kind, ErrorKind::HeadTooLarge);
    }
    let fields = "x: y\r\n".repeat(MAX_FIELDS);
    let most = format!("HTTP/1.1 204 OK\r\n{fields}\r\n");
    assert_eq!(read(most.as_bytes()).head.headers.len(), MAX_FIELDS);
}

#[test]
fn a_head_that_comes_byte_by_byte_costs_linear_time() {
    // Looking at everything again for every byte would take minutes.
    let size = 4 << 20;
    let begin = Instant::now();
    let mut reader = ResponseReader::new("GET", 2 * size);
    let wire = format!("HTTP/1.1 204 OK\r\nx: {}\r\n\r\n", "y".repeat(size));
    let read = feed(&mut reader, wire.as_bytes(), 1).unwrap();
    assert_eq!(read.head.headers.iter().next().unwrap().1.len(), size);
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn errors_read_as_sentences() {
    let mut reader = ResponseReader::new("GET", MAX_HEAD);
    let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let error = reader.feed(wire).unwrap_err();
    assert_eq!(error.to_string(), "the response has both Content-Length and Transfer-Encoding");
    assert_eq!(reader.feed(b"").unwrap_err(), error);
    assert_eq!(reader.eof().unwrap_err(), error);
}
