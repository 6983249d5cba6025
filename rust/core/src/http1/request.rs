//! Writing a request head (RFC 9112, section 3).
//!
//! 1. Every byte that is written has been checked: a method, target, host, name or value that could end a line
//!    early is an error, and then nothing is written at all.
//! 2. Framing fields, `host`, `connection`, `te` and `via` are written from what this module knows, never copied.
//! 3. The downstream's fields lose those that were for its hop (with what its `Connection` lists), `expect`, and
//!    whatever the caller removes or replaces. Here `_` equals `-`: an endpoint that speaks CGI or WSGI would
//!    take `x_forwarded_for` for the field that has just been replaced.
//! 4. `te: trailers` is kept, since trailers are relayed, and then is listed in `connection` (RFC 9110, section
//!    10.1.4). No other transfer coding is asked for.

use smallvec::SmallVec;

use super::head::{self, Options};
use super::{Error, ErrorKind};
use crate::text::digits;

/// What this proxy adds to `via` (RFC 9110, section 7.6.3).
const VIA: &[u8] = b"1.1 waypost";

/// How a request body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body, and neither field is written.
    None,
    /// `content-length`, in bytes. Zero is written too: a POST without a body says so (RFC 9110, section 8.6).
    Known(u64),
    /// `transfer-encoding: chunked`; the body is written with [`encode_chunk`](super::encode_chunk).
    Chunked,
}

/// A request head, but for the downstream's own fields.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// A token, in the right case. CONNECT is refused.
    pub method: &'a [u8],
    /// In origin-form, `/path?query`: the only form that an endpoint is asked in (`*` and `http://…` are refused).
    pub target: &'a [u8],
    /// `host[:port]` of the endpoint, IPv6 addresses in brackets.
    pub host: &'a [u8],
    /// Names of downstream fields that are not sent on (credentials, say), in lower case.
    pub remove: &'a [&'a [u8]],
    /// Further fields. Each replaces all downstream fields of its name.
    pub extra: &'a [(Added<'a>, &'a [u8])],
    /// The downstream's fields are in normal form ([`Fields::is_normal`](super::Fields::is_normal)).
    pub normal: bool,
    /// How the body is framed.
    pub body: BodyLength,
}

/// The name of a field that may be added to a request: a token in lower case, and none that is written here anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added<'a>(&'a [u8]);

impl<'a> Added<'a> {
    /// A name that is written in the program.
    #[must_use]
    #[allow(clippy::panic, clippy::missing_panics_doc)] // A constant: it would not compile.
    pub(crate) const fn known(name: &'static str) -> Added<'static> {
        let lower = name.as_bytes();
        assert!(head::is_lower_name(lower) && !is_reserved(lower), "this field cannot be added");
        Added(lower)
    }

    /// `lower` as such a name.
    ///
    /// # Errors
    /// [`ErrorKind::FieldName`] and [`ErrorKind::ReservedField`].
    pub fn new(lower: &'a [u8]) -> Result<Self, Error> {
        if !head::is_token(lower) || lower.iter().any(u8::is_ascii_uppercase) {
            return Err(Error::of_field(ErrorKind::FieldName, lower));
        }
        if is_reserved(&head::folded(lower)) {
            return Err(Error::of_field(ErrorKind::ReservedField, lower));
        }
        Ok(Self(lower))
    }
}

/// Append a request head, through its empty line, to `out`. Names are written in lower case.
///
/// `fields` are the downstream's header fields in wire order (name in any case, value), and are gone through
/// twice. Each costs a comparison with every name in `remove` and `extra`.
///
/// # Errors
/// Whatever is not valid in its place. `out` is as it was.
pub fn write_request_head<'f, I>(out: &mut Vec<u8>, head: &RequestHead<'_>, fields: I) -> Result<(), Error>
where
    I: IntoIterator<Item = (&'f [u8], &'f [u8])> + Clone,
{
    let begin = out.len();
    let written = write(out, head, fields);
    if written.is_err() {
        out.truncate(begin);
    }
    written
}

/// Whether [`write_request_head`] can send these parts of a downstream request on: to be asked before anything is
/// decided, so that what is wrong with them is the client's error and not that of an attempt.
///
/// # Errors
/// As [`write_request_head`].
pub fn check_request<'f, I>(method: &[u8], target: &[u8], fields: I) -> Result<(), Error>
where
    I: IntoIterator<Item = (&'f [u8], &'f [u8])>,
{
    check_line(method, target)?;
    let mut options = Options::default();
    for (name, value) in fields {
        head::check_name(name)?;
        let value = head::value(name, value)?;
        if name.eq_ignore_ascii_case(b"connection") {
            options.add(value)?;
        }
    }
    Ok(())
}

fn write<'f, I>(out: &mut Vec<u8>, head: &RequestHead<'_>, fields: I) -> Result<(), Error>
where
    I: IntoIterator<Item = (&'f [u8], &'f [u8])> + Clone,
{
    check(head)?;
    let mut options = Options::default();
    for (_, value) in fields.clone().into_iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"))
    {
        options.add(value)?;
    }

    for part in [head.method, b" ", head.target, b" HTTP/1.1\r\nhost: ", head.host, b"\r\n"] {
        out.extend_from_slice(part);
    }
    let mut via: SmallVec<[&[u8]; 2]> = SmallVec::new();
    let mut trailers = false;
    for (name, value) in fields {
        let begin = out.len();
        let value = if head.normal {
            out.extend_from_slice(name);
            value
        } else {
            head::name(name, out)?;
            head::value(name, value)?
        };
        let lower = out.get(begin..).unwrap_or_default();
        let folded = head::folded(lower);
        let removed = head.remove.iter().any(|removed| same(removed, &folded));
        let nominated = options.contains(lower);
        match lower {
            b"via" if !removed && !nominated && !value.is_empty() => via.push(value),
            b"te" if !removed => trailers |= accepts_trailers(value),
            _ => {}
        }
        let replaced = head.extra.iter().any(|(extra, _)| same(extra.0, &folded));
        let kept = !is_reserved(&folded) && !removed && !nominated && !replaced;
        if kept {
            end_field(out, value);
        } else {
            out.truncate(begin);
        }
    }
    for (Added(name), value) in head.extra {
        out.extend_from_slice(name);
        end_field(out, head::value(name, value)?);
    }
    out.extend_from_slice(b"via: ");
    for earlier in via {
        out.extend_from_slice(earlier);
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(VIA);
    out.extend_from_slice(if trailers { b"\r\nte: trailers\r\nconnection: te\r\n" } else { b"\r\n" });
    match head.body {
        BodyLength::None => {}
        BodyLength::Known(length) => {
            out.extend_from_slice(b"content-length: ");
            digits::push(length, out);
            out.extend_from_slice(b"\r\n");
        }
        BodyLength::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The value and line end of a field whose name has been written.
fn end_field(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn check_line(method: &[u8], target: &[u8]) -> Result<(), Error> {
    if !head::is_token(method) || method == b"CONNECT" {
        return Err(ErrorKind::Method.into());
    }
    // All bytes, whatever is found: that is done for many at once.
    let unfit = |found, &byte: &u8| found | u8::from(!byte.is_ascii_graphic()) | u8::from(byte == b'#');
    if target.first() != Some(&b'/') || target.iter().fold(0, unfit) != 0 {
        return Err(ErrorKind::Target.into());
    }
    Ok(())
}

/// Everything but the downstream's fields and the bytes of the extra ones.
fn check(head: &RequestHead<'_>) -> Result<(), Error> {
    check_line(head.method, head.target)?;
    if head::is_host(head.host) { Ok(()) } else { Err(ErrorKind::Host.into()) }
}

/// Whether a field is written by this module, or by nobody.
const fn is_reserved(folded: &[u8]) -> bool {
    head::is_hop_by_hop(folded) || matches!(folded, b"host" | b"content-length" | b"expect" | b"via")
}

/// Whether a name, in any case, is this folded one.
fn same(name: &[u8], folded: &[u8]) -> bool {
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == folded.len() && name.iter().zip(folded).all(|(&a, &b)| fold(a) == b)
}

/// Whether a `TE` field says that trailers are welcome (RFC 9110, section 10.1.4).
fn accepts_trailers(value: &[u8]) -> bool {
    value.split(|&byte| byte == b',').any(|member| head::trim(member).eq_ignore_ascii_case(b"trailers"))
}
