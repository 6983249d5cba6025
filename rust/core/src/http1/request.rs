//! Writes a request head (RFC 9112, section 3).
//!
//! 1. Every byte is checked. If a method, target, host, name or value could end a line early, that is an error, and nothing
//!    is written.
//! 2. Framing fields, `host`, `connection`, `te` and `via` are always written anew, never copied.
//! 3. Of the downstream fields, hop-by-hop fields (including those that `Connection` lists), `expect`, and fields that the
//!    caller removes or replaces are dropped. For this comparison `_` equals `-`, because an endpoint that uses CGI or WSGI
//!    would mistake `x_forwarded_for` for the replaced field.
//! 4. `te: trailers` is kept, because trailers are relayed, and listed in `connection` (RFC 9110, section 10.1.4). No other
//!    transfer coding is requested.

use smallvec::SmallVec;

use super::head::{self, Options};
use super::{Error, ErrorKind};
use crate::text::digits;

/// The entry that this proxy adds to `via` (RFC 9110, section 7.6.3).
const VIA: &[u8] = b"1.1 waypost";

/// The framing of a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// No body and no framing field.
    None,
    /// `content-length`, in bytes. Zero is written too, as a POST without a body should (RFC 9110, section 8.6).
    Known(u64),
    /// `transfer-encoding: chunked`; the body is written with [`encode_chunk`](super::encode_chunk).
    Chunked,
}

/// A request head without the downstream fields.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method, a token in the right case. CONNECT is an error.
    pub method: &'a [u8],
    /// The target in origin-form, `/path?query`. Other forms (`*`, `http://…`) are errors.
    pub target: &'a [u8],
    /// `host[:port]` of the endpoint; IPv6 addresses are in brackets.
    pub host: &'a [u8],
    /// Names, in lower case, of downstream fields to remove, such as credentials.
    pub remove: &'a [&'a [u8]],
    /// Further fields. Each replaces all downstream fields of its name.
    pub extra: &'a [(Added<'a>, &'a [u8])],
    /// Whether the downstream fields are in normal form ([`Fields::is_normal`](super::Fields::is_normal)).
    pub normal: bool,
    /// The framing of the body.
    pub body: BodyLength,
}

/// The name of a field that may be added to a request: a token in lower case that this module does not write itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added<'a>(&'a [u8]);

impl<'a> Added<'a> {
    /// A name that is a constant of the program.
    #[must_use]
    #[allow(clippy::panic, clippy::missing_panics_doc)] // It is evaluated by the compiler only.
    pub(crate) const fn known(name: &'static str) -> Added<'static> {
        let lower = name.as_bytes();
        assert!(head::is_lower_name(lower) && !is_reserved(lower), "this field cannot be added");
        Added(lower)
    }

    /// Checks the name `lower`.
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

/// Appends a request head, including the empty line, to `out`. Names are written in lower case.
///
/// `fields` are the downstream header fields in wire order (name in any case, value). They are iterated twice, and each is
/// compared with every name in `remove` and `extra`.
///
/// # Errors
/// A part is invalid. `out` is unchanged then.
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
        let removed = head.remove.iter().any(|removed| same_name(removed, &folded));
        let nominated = options.contains(lower);
        match lower {
            b"via" if !removed && !nominated && !value.is_empty() => via.push(value),
            b"te" if !removed => trailers |= accepts_trailers(value),
            _ => {}
        }
        let replaced = head.extra.iter().any(|(extra, _)| same_name(extra.0, &folded));
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

/// Writes the value and the line end of a field whose name is already written.
fn end_field(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Checks that a method and a target can be written. Called before the message is decided, so that an invalid part is the client's
/// error and not that of an attempt.
pub(crate) fn check_line(method: &[u8], target: &[u8]) -> Result<(), Error> {
    if !head::is_token(method) || method == b"CONNECT" {
        return Err(ErrorKind::Method.into());
    }
    // Without an early exit, the compiler vectorises the loop.
    let unfit = |found, &byte: &u8| found | u8::from(!byte.is_ascii_graphic()) | u8::from(byte == b'#');
    if target.first() != Some(&b'/') || target.iter().fold(0, unfit) != 0 {
        return Err(ErrorKind::Target.into());
    }
    Ok(())
}

/// Checks the start line and the host.
fn check(head: &RequestHead<'_>) -> Result<(), Error> {
    check_line(head.method, head.target)?;
    if head::is_host(head.host) { Ok(()) } else { Err(ErrorKind::Host.into()) }
}

/// Whether a field may only be written by this module, or not at all.
const fn is_reserved(folded: &[u8]) -> bool {
    head::is_hop_by_hop(folded) || matches!(folded, b"host" | b"content-length" | b"expect" | b"via")
}

/// Whether two names are the same for an endpoint that uses CGI or WSGI: in any case, and `_` equals `-`.
pub(crate) fn same_name(one: &[u8], other: &[u8]) -> bool {
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    one.len() == other.len() && one.iter().zip(other).all(|(&a, &b)| fold(a) == fold(b))
}

/// Whether a `TE` field accepts trailers (RFC 9110, section 10.1.4).
fn accepts_trailers(value: &[u8]) -> bool {
    value.split(|&byte| byte == b',').any(|member| head::trim(member).eq_ignore_ascii_case(b"trailers"))
}
