//! Reads a request head from a client (RFC 9112, section 3), at a message boundary.
//!
//! 1. Every head on a listener is read here, whichever way its message goes on, and no other parser reads it after that.
//! 2. A head that two parsers could read in two ways is an error: line ends other than CRLF, folded lines, whitespace before
//!    a colon, control characters, another version, a method in lower case, framing fields or a Host field that are not
//!    exactly one and clear.
//! 3. A target in absolute form becomes a path, and its authority replaces the value of Host (section 3.2.2). A fragment is
//!    dropped.
//! 4. An offer to upgrade is not taken, so `Upgrade` changes nothing in how a message is read (RFC 9110, section 7.8).
//! 5. A head is *plain* if it has one of the common methods, a path as its target, and no `Transfer-Encoding` and no
//!    `Expect`.
//! 6. Each byte of a head that comes in pieces is examined once. A head is rejected as soon as it is wrong or too long.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use super::fields::Fields;
use super::framing::{Announced, Framing};
use super::head::{self, Complete, Section, Slots};
use super::{Error, ErrorKind, MAX_FIELDS};

/// Allowance in bytes for the parts of a head other than target and fields: method, version, spaces and line ends.
const START_LINE: usize = 256;

/// The methods of plain requests.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The head of a client's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingHead {
    /// The method: letters in upper case, and hyphens.
    pub method: Cow<'static, str>,
    /// Path and query in visible ASCII, beginning with `/`, without a fragment; or `*`.
    pub target: String,
    /// Whether the version is HTTP/1.0.
    pub old: bool,
    /// Names in lower case, values without surrounding whitespace, in wire order.
    pub fields: Fields,
    /// What the fields say of the message.
    pub announced: Announced,
    /// Whether the head is plain.
    pub plain: bool,
}

impl IncomingHead {
    /// The version: `1.0` or `1.1`.
    #[must_use]
    pub const fn version(&self) -> &'static str {
        if self.old { "1.0" } else { "1.1" }
    }
}

/// Collects the bytes of one head.
#[derive(Debug)]
pub struct RequestReader {
    section: Section,
    /// Number of bytes of ignored empty lines.
    taken: usize,
    begun: bool,
    /// Whether the last byte was the CR of an empty line.
    half_line: bool,
}

impl RequestReader {
    /// Reads one head. `max_header` limits target and fields, in bytes. The reader rejects a head that is too long to satisfy
    /// the limit.
    #[must_use]
    pub fn new(max_header: usize) -> Self {
        let section = Section::request(max_header.saturating_add(START_LINE));
        Self { section, taken: 0, begun: false, half_line: false }
    }

    /// Reads the bytes of one socket read. Returns the head once it is complete, and the bytes that follow it.
    ///
    /// # Errors
    /// The bytes are not a request head, or could be read in two ways. After an error or a head, the reader must not be used.
    pub fn feed<'a>(&mut self, mut data: &'a [u8]) -> Result<Complete<'a, IncomingHead>, Error> {
        if !self.begun {
            // Ignore empty lines before a request (RFC 9112, section 2.2), but only complete ones.
            while let [byte @ (b'\r' | b'\n'), after @ ..] = data {
                if self.half_line != (*byte == b'\n') {
                    return Err(ErrorKind::RequestLine.into());
                }
                self.half_line = *byte == b'\r';
                data = after;
                self.taken += 1;
                if self.taken > START_LINE {
                    return Err(ErrorKind::RequestLine.into());
                }
            }
            let Some(first) = data.first() else { return Ok(None) };
            if self.half_line || !first.is_ascii_alphabetic() {
                return Err(ErrorKind::RequestLine.into());
            }
            self.begun = true;
        }
        let Some((section, surplus)) = self.section.take(data)? else { return Ok(None) };
        Ok(Some((parse(&section)?, surplus)))
    }

    /// Whether only empty lines have been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.begun
    }
}

/// Parses a complete head.
fn parse(section: &[u8]) -> Result<IncomingHead, Error> {
    let mut slots: Slots<'_> = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let read = parsed.parse_with_uninit_headers(section, &mut slots).map_err(|error| match error {
        httparse::Error::Token | httparse::Error::NewLine | httparse::Error::Status => ErrorKind::RequestLine,
        error => head::error_kind(error),
    })?;
    let (Some(method), Some(sent), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(ErrorKind::RequestLine.into());
    };
    if read != httparse::Status::Complete(section.len()) {
        return Err(ErrorKind::RequestLine.into());
    }
    let old = version == 0;
    let known = METHODS.into_iter().find(|known| *known == method);
    let method = match known {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(other_method(method)?),
    };
    let (target, authority) = origin_form(sent)?;
    let mut fields = head::fields(parsed.headers)?;
    let announced = Announced::of(&fields, if old { "1.0" } else { "1.1" })?;
    if let Some(authority) = authority {
        fields.put(b"host", authority.as_bytes())?;
    }
    let plain = known.is_some()
        && target.starts_with('/')
        && announced.framing != Framing::Chunked
        && !announced.expects_continue;
    Ok(IncomingHead { method, target: target.into_owned(), old, fields, announced, plain })
}

/// Checks a method that is not one of the common ones. Methods are case-sensitive (RFC 9110, section 9.1), but not every server
/// knows that, so one with letters in lower case is an error.
fn other_method(method: &str) -> Result<String, ErrorKind> {
    let fits = method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    if fits && method != "CONNECT" { Ok(method.to_owned()) } else { Err(ErrorKind::Method) }
}

/// The target in origin-form (`*` stays), and the authority of one in absolute-form (RFC 9112, section 3.2).
fn origin_form(target: &str) -> Result<(Cow<'_, str>, Option<&str>), ErrorKind> {
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ErrorKind::Target);
    }
    let target = target.split('#').next().unwrap_or_default();
    if target.starts_with('/') || target == "*" {
        return Ok((target.into(), None));
    }
    let (scheme, after) = target.split_once("://").ok_or(ErrorKind::Target)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(ErrorKind::Target);
    }
    let end = after.find(['/', '?']).unwrap_or(after.len());
    let (authority, path) = after.split_at_checked(end).ok_or(ErrorKind::Target)?;
    if !head::is_host(authority.as_bytes()) {
        return Err(ErrorKind::Target);
    }
    let path = if path.starts_with('/') { path.into() } else { format!("/{path}").into() };
    Ok((path, Some(authority)))
}

/// The target of a possibly broken request line; empty if there is none. Errors are answered in the dialect of the target.
#[must_use]
pub fn target_of(data: &[u8]) -> &str {
    let line =
        data.trim_ascii_start().split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    let target = line.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    std::str::from_utf8(target).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(head: &[u8]) -> Result<IncomingHead, ErrorKind> {
        let mut reader = RequestReader::new(32 * 1024);
        let found = reader.feed(head).map_err(|error| error.kind)?;
        Ok(found.expect("a complete head").0)
    }

    /// Found by the fuzz target: `httparse` does not ignore incomplete empty lines, so this module must not either.
    #[test]
    fn only_whole_empty_lines_are_ignored() {
        let head = "GET /v1/a HTTP/1.1\r\nhost: h\r\n\r\n";
        for (before, good) in
            [("\r\n\r\n", true), ("\n", false), ("\r", false), ("\n\r", false), ("\r\r\n", false)]
        {
            let bytes = format!("{before}{head}").into_bytes();
            assert_eq!(whole(&bytes).is_ok(), good, "{before:?}");
            let mut reader = RequestReader::new(1024);
            let pieces = bytes.chunks(1).map(|piece| reader.feed(piece).map(|found| found.is_some()));
            assert_eq!(pieces.collect::<Result<Vec<bool>, Error>>().is_ok(), good, "{before:?} byte by byte");
        }
    }

    #[test]
    fn plain_heads() {
        let found = whole(b"\r\nPOST /v1/a?b=c HTTP/1.1\r\nHost: h\r\nX-A:  b \r\n\r\n").unwrap();
        assert_eq!((&*found.method, found.target.as_str(), found.old), ("POST", "/v1/a?b=c", false));
        assert_eq!(found.fields.iter().nth(1), Some((&b"x-a"[..], &b"b"[..])));
        assert!(found.plain);
        assert!(whole(b"GET /v1/a HTTP/1.0\r\n\r\n").unwrap().old);
        // An offer to upgrade changes nothing in how a message is read.
        let offer =
            b"POST /v1/a HTTP/1.1\r\nhost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n";
        assert!(whole(offer).unwrap().plain);
    }

    #[test]
    fn legal_but_not_plain() {
        for head in [
            &b"OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n"[..],
            b"TRACE /v1/a HTTP/1.1\r\nhost: h\r\n\r\n",
            b"M-SEARCH /v1/a HTTP/1.1\r\nhost: h\r\n\r\n",
            b"POST /v1/a HTTP/1.1\r\nhost: h\r\nTransfer-Encoding: Chunked \r\n\r\n",
            b"POST /v1/a HTTP/1.1\r\nhost: h\r\nExpect: 100-Continue\r\n\r\n",
        ] {
            assert!(!whole(head).unwrap().plain, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn every_form_of_a_target_has_one_reading() {
        for (sent, target, host) in [
            ("/v1/a?b#c", "/v1/a?b", "sent"),
            ("*", "*", "sent"),
            ("http://other:80/v1/a?b=http://c", "/v1/a?b=http://c", "other:80"),
            ("HTTPS://Other", "/", "Other"),
            ("http://[::1]?b", "/?b", "[::1]"),
            ("http://other/#c", "/", "other"),
        ] {
            let head = format!("GET {sent} HTTP/1.1\r\nx: y\r\nhost: sent\r\n\r\n");
            let found = whole(head.as_bytes()).unwrap();
            let hosts: Vec<&[u8]> =
                found.fields.iter().filter(|(name, _)| *name == b"host").map(|(_, value)| value).collect();
            assert_eq!((found.target.as_str(), hosts), (target, vec![host.as_bytes()]), "{sent}");
        }
        // The target names the host even if no field does.
        let old = whole(b"GET http://other/ HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(old.fields, [("host", "other")].into_iter().collect());
        for sent in ["h:1", "ftp://h/a", "http:///a", "http://u@h/a", "http:/a", "a", "#", "?a", "//"] {
            let head = format!("GET {sent} HTTP/1.1\r\nhost: sent\r\n\r\n");
            let refused = whole(head.as_bytes());
            assert_eq!(refused.is_err(), sent != "//", "{sent}");
        }
    }

    #[test]
    fn what_the_fields_announce() {
        let read = |version: &str, fields: &str| {
            let head = format!("POST /v1/a HTTP/{version}\r\n{fields}\r\n");
            whole(head.as_bytes()).map(|head| head.announced)
        };
        let none = Announced::default();
        let host = "host: h\r\n";
        for (version, fields, announced) in [
            ("1.1", "", none),
            ("1.1", "content-length: 005\r\n", Announced { framing: Framing::Length(5), ..none }),
            ("1.1", "transfer-encoding: CHUNKED\r\n", Announced { framing: Framing::Chunked, ..none }),
            ("1.1", "connection: a, Close\r\n", Announced { closes: true, ..none }),
            ("1.1", "expect: 100-Continue\r\n", Announced { expects_continue: true, ..none }),
            ("1.0", "expect: 100-Continue\r\n", none),
            ("1.1", "expect: 200-ok\r\n", none),
            ("1.1", "origin: null\r\n", Announced { browser: true, ..none }),
            ("1.1", "Sec-Fetch-Site: none\r\n", Announced { browser: true, ..none }),
            ("1.1", "Accept-Language: en\r\n", Announced { browser: true, ..none }),
            ("1.1", "User-Agent: Mozilla/5.0 (X11)\r\n", Announced { browser: true, ..none }),
            ("1.1", "User-Agent: curl/8.0\r\n", none),
        ] {
            assert_eq!(read(version, &format!("{host}{fields}")), Ok(announced), "{fields}");
        }
        for (version, fields) in [
            ("1.1", ""),
            ("1.1", "host: a\r\nhost: a\r\n"),
            ("1.0", "host: a\r\nhost: a\r\n"),
            ("1.1", "host: a@b\r\n"),
            ("1.1", "host: h\r\ncontent-length: 5\r\ncontent-length: 5\r\n"),
            ("1.1", "host: h\r\ncontent-length: 5, 5\r\n"),
            ("1.1", "host: h\r\ncontent-length: +5\r\n"),
            ("1.1", "host: h\r\ncontent-length:\r\n"),
            ("1.1", "host: h\r\ncontent-length: 18446744073709551616\r\n"),
            ("1.1", "host: h\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n"),
            ("1.1", "host: h\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
            ("1.1", "host: h\r\ntransfer-encoding: gzip, chunked\r\n"),
            ("1.0", "transfer-encoding: chunked\r\n"),
        ] {
            assert!(matches!(read(version, fields), Err(ErrorKind::Request(_))), "{version} {fields}");
        }
    }

    #[test]
    fn an_offer_to_upgrade_is_plain() {
        for offer in [
            "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n",
            "Connection: keep-alive, Upgrade\r\nupgrade: websocket\r\n",
            "Upgrade: TLS/1.3, h2c\r\n",
            "Connection: upgrade\r\n",
        ] {
            let head = format!("POST /v1/a HTTP/1.1\r\nhost: h\r\n{offer}content-length: 3\r\n\r\n");
            let found = whole(head.as_bytes()).unwrap();
            assert_eq!(
                (&*found.method, found.target.as_str(), found.plain),
                ("POST", "/v1/a", true),
                "{offer}"
            );
        }
        assert_eq!(
            whole(b"GET / HTTP/1.1\r\nconnection: upgrade, @\r\n\r\n"),
            Err(ErrorKind::ConnectionOption)
        );
    }

    #[test]
    fn refused_as_soon_as_it_is_seen() {
        for (head, kind) in [
            (&b"\x16\x03\x01"[..], ErrorKind::RequestLine),
            (b"GET /\n", ErrorKind::BareLf),
            (b"GET / HTTP/1.1\r\na: b\r\n c\r\n", ErrorKind::ObsFold),
            (b"GET / HTTP/1.1\rX", ErrorKind::BareCr),
            (b"garbage\r\n\r\n", ErrorKind::RequestLine),
            (b"GET /a b HTTP/1.1\r\n\r\n", ErrorKind::Version),
            (b"PRI * HTTP/2.0\r\n\r\n", ErrorKind::Version),
            (b"GET / HTTP/1.1\r\na : b\r\n\r\n", ErrorKind::FieldName),
            (b"GET / HTTP/1.1\r\na: b\0c\r\n\r\n", ErrorKind::FieldValue),
            (b"GET / HTTP/1.1\r\nnonsense\r\n\r\n", ErrorKind::FieldName),
            (b"GET / HTTP/1.1\r\n: b\r\n\r\n", ErrorKind::FieldName),
            (b"get / HTTP/1.1\r\nhost: h\r\n\r\n", ErrorKind::Method),
            (b"CONNECT h:1 HTTP/1.1\r\nhost: h\r\n\r\n", ErrorKind::Method),
            (b"GET /caf\xc3\xa9 HTTP/1.1\r\nhost: h\r\n\r\n", ErrorKind::Target),
        ] {
            let refused = RequestReader::new(1024).feed(head).map_err(|error| error.kind);
            assert_eq!(refused, Err(kind), "{}", head.escape_ascii());
        }
        let mut reader = RequestReader::new(1024);
        assert!(reader.feed(b"GET /").unwrap().is_none());
        assert_eq!(reader.feed(&[b'a'; 2000]).map_err(|e| e.kind), Err(ErrorKind::RequestTooLarge));
    }

    #[test]
    fn any_split_gives_the_same() {
        let head = b"\r\nPOST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n";
        let expected = whole(head).unwrap();
        for at in 0..head.len() {
            let mut reader = RequestReader::new(1024);
            assert!(reader.feed(&head[..at]).unwrap().is_none());
            let (found, rest) = reader.feed(&head[at..]).unwrap().unwrap();
            assert_eq!((found, rest), (expected.clone(), &b""[..]), "{at}");
        }
    }

    #[test]
    fn targets_of_broken_heads() {
        assert_eq!(target_of(b"POST /v1/envelopes HTTP/1.1\r\na : b"), "/v1/envelopes");
        assert_eq!(target_of(b"\r\nGET /v1/a"), "/v1/a");
        assert_eq!(target_of(b"garbage"), "");
        assert_eq!(target_of(b"GET \xff HTTP/1.1"), "");
    }
}
