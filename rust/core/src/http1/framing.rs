//! What the fields of a request's head say of its message (RFC 9112, section 6; RFC 9110, section 7.2).

use super::fields::Fields;
use super::head::Options;
use super::{Error, ErrorKind, head};

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// The head announces no body.
    #[default]
    Absent,
    /// `Content-Length`, in bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What the fields of a request's head say of its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// The framing of the body.
    pub framing: Framing,
    /// Whether the client waits for `100 (Continue)` before it sends the body (RFC 9110, section 10.1.1).
    pub expects_continue: bool,
    /// Whether `Connection` has the option `close`.
    pub closes: bool,
    /// Whether a field shows that a browser sent the request; see [`shows_browser`].
    pub browser: bool,
}

impl Announced {
    /// Reads fields in normal form. `version` is the version of HTTP: `1.0`, `1.1`, `2` or `3`.
    ///
    /// # Errors
    /// Framing fields or Host fields that two parsers could read in two ways, and `Connection` fields with too many options.
    pub(crate) fn of(fields: &Fields, version: &str) -> Result<Self, Error> {
        let mut host = None;
        let mut coding = None;
        let mut length = None;
        let mut options = Options::default();
        let mut expects_continue = false;
        let mut browser = false;
        for (name, value) in fields {
            match name {
                b"connection" => options.add(value)?,
                b"content-length" => {
                    once(&mut length, value, "the request has more than one Content-Length")?;
                }
                b"expect" => {
                    expects_continue |= version != "1.0" && value.eq_ignore_ascii_case(b"100-continue");
                }
                b"host" => {
                    once(&mut host, value, "the request has more than one Host field")?;
                }
                b"accept-language" | b"origin" | b"sec-fetch-site" | b"user-agent" => {
                    browser |= shows_browser(name, value);
                }
                b"transfer-encoding" => {
                    once(&mut coding, value, ONE_CODING)?;
                }
                _ => {}
            }
        }
        match host {
            Some(host) if !host.is_empty() && !head::is_host(host) => {
                return Err(wrong("the Host field is not a host name or address with an optional port"));
            }
            None if version == "1.1" => return Err(wrong("the request has no Host field")),
            _ => {}
        }
        let framing = match (coding, length) {
            (None, None) => Framing::Absent,
            (None, Some(length)) => Framing::Length(number(length)?),
            (Some(_), _) if version == "1.0" => return Err(wrong("HTTP/1.0 has no Transfer-Encoding")),
            (Some(coding), _) if !coding.eq_ignore_ascii_case(b"chunked") => return Err(wrong(ONE_CODING)),
            (Some(_), None) => Framing::Chunked,
            (Some(_), Some(_)) => {
                return Err(wrong("the request has both Content-Length and Transfer-Encoding"));
            }
        };
        Ok(Self { framing, expects_continue, closes: options.contains(b"close"), browser })
    }
}

/// Whether a header field shows that a browser sent the request. With a `GET` to a name without TLS, a page can keep back neither
/// the user's languages nor, in some browsers, the name of the browser.
pub(crate) fn shows_browser(name: &[u8], value: &[u8]) -> bool {
    let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
    is(b"accept-language")
        || is(b"origin")
        || is(b"sec-fetch-site")
        || (is(b"user-agent") && value.starts_with(b"Mozilla/"))
}

const ONE_CODING: &str = "the only supported Transfer-Encoding is a single `chunked`";

/// Notes the value of a field that may be there once.
fn once<'a>(noted: &mut Option<&'a [u8]>, value: &'a [u8], twice: &'static str) -> Result<(), Error> {
    if noted.replace(value).is_some() { Err(wrong(twice)) } else { Ok(()) }
}

fn wrong(what: &'static str) -> Error {
    ErrorKind::Request(what).into()
}

/// Parses `1*DIGIT` that fits 64 bits (RFC 9110, section 8.6).
fn number(value: &[u8]) -> Result<u64, Error> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(wrong("Content-Length is not a number"));
    }
    let digits = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
    digits.ok_or_else(|| wrong("Content-Length does not fit 64 bits"))
}
