//! Reads a request head from a client (RFC 9112, section 3), at a message boundary.
//!
//! 1. A head is *plain* if it has one of the common methods, a path in visible ASCII as its target, version HTTP/1.0 or 1.1,
//!    and no `Transfer-Encoding` or `Expect`. An `Upgrade` is an offer, which a server may ignore (RFC 9110, section 7.8): the
//!    message behind it is read as any other.
//! 2. A head that is legal but not plain is not judged here. Its bytes are left to a parser for all of HTTP/1.1.
//! 3. A head that two parsers could read in two ways is an error: line ends other than CRLF, folded lines, whitespace before
//!    a colon, control characters, another version.
//! 4. Each byte of a head that comes in pieces is examined once. A head is rejected as soon as it is wrong or too long.

use std::mem::MaybeUninit;

use super::fields::Fields;
use super::head::{self, Complete, Options, Section, Slots};
use super::{Error, ErrorKind, MAX_FIELDS};

/// Allowance in bytes for the parts of a head other than target and fields: method, version, spaces and line ends.
const START_LINE: usize = 256;

/// The methods of plain requests.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A plain request head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainHead {
    /// One of the common methods.
    pub method: &'static str,
    /// Path and query in visible ASCII, beginning with `/`, without a fragment.
    pub target: String,
    /// Whether the version is HTTP/1.0.
    pub old: bool,
    /// Names in lower case, values without surrounding whitespace, in wire order.
    pub fields: Fields,
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

    /// Reads the bytes of one socket read. Returns the head (`None` if it is not plain) once it is complete, and the bytes that
    /// follow it.
    ///
    /// # Errors
    /// The bytes are not a request head, or could be read in two ways. After an error or a head, the reader must not be used.
    pub fn feed<'a>(&mut self, mut data: &'a [u8]) -> Result<Complete<'a, Option<PlainHead>>, Error> {
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

/// Parses a complete head; `None` if it is legal but not plain.
fn parse(section: &[u8]) -> Result<Option<PlainHead>, Error> {
    let mut slots: Slots<'_> = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let read = parsed.parse_with_uninit_headers(section, &mut slots).map_err(|error| match error {
        httparse::Error::Token | httparse::Error::NewLine | httparse::Error::Status => ErrorKind::RequestLine,
        error => head::error_kind(error),
    })?;
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(ErrorKind::RequestLine.into());
    };
    if read != httparse::Status::Complete(section.len()) {
        return Err(ErrorKind::RequestLine.into());
    }
    let known = METHODS.into_iter().find(|known| *known == method);
    let mut plain = known.is_some()
        && target.starts_with('/')
        && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let mut options = Options::default();
    for field in parsed.headers.iter() {
        let name = field.name;
        plain &= match name.len() {
            6 => !name.eq_ignore_ascii_case("expect"),
            10 if name.eq_ignore_ascii_case("connection") => {
                options.add(field.value)?;
                true
            }
            17 => !name.eq_ignore_ascii_case("transfer-encoding"),
            _ => true,
        };
    }
    // Check all fields, even if another parser takes over.
    let fields = head::fields(parsed.headers)?;
    let Some(method) = known.filter(|_| plain) else { return Ok(None) };
    Ok(Some(PlainHead { method, target: target.to_owned(), old: version == 0, fields }))
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

    fn whole(head: &[u8]) -> Result<Option<PlainHead>, ErrorKind> {
        let mut reader = RequestReader::new(32 * 1024);
        let found = reader.feed(head).map_err(|error| error.kind)?;
        Ok(found.expect("a complete head").0)
    }

    /// Found by the fuzz target: `httparse` does not ignore incomplete empty lines, so this module must not either.
    #[test]
    fn only_whole_empty_lines_are_ignored() {
        let head = "GET /v1/a HTTP/1.1\r\n\r\n";
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
        let found = whole(b"\r\nPOST /v1/a?b=c HTTP/1.1\r\nHost: h\r\nX-A:  b \r\n\r\n").unwrap().unwrap();
        assert_eq!((found.method, found.target.as_str(), found.old), ("POST", "/v1/a?b=c", false));
        assert_eq!(found.fields.iter().nth(1), Some((&b"x-a"[..], &b"b"[..])));
        assert!(whole(b"GET /v1/a HTTP/1.0\r\n\r\n").unwrap().unwrap().old);
    }

    #[test]
    fn legal_but_not_plain() {
        for head in [
            &b"GET * HTTP/1.1\r\nhost: h\r\n\r\n"[..],
            b"GET http://h/v1/a HTTP/1.1\r\nhost: h\r\n\r\n",
            b"GET /v1/a#b HTTP/1.1\r\nhost: h\r\n\r\n",
            b"TRACE /v1/a HTTP/1.1\r\nhost: h\r\n\r\n",
            b"CONNECT h:1 HTTP/1.1\r\nhost: h\r\n\r\n",
            b"POST /v1/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST /v1/a HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
        ] {
            assert_eq!(whole(head), Ok(None), "{}", head.escape_ascii());
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
            let found = whole(head.as_bytes()).unwrap().unwrap();
            assert_eq!((found.method, found.target.as_str()), ("POST", "/v1/a"), "{offer}");
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
