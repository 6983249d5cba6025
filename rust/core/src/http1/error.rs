//! Errors of HTTP/1.1 messages.

use std::fmt;

/// A message that cannot be read, or must not be written.
///
/// From `ResponseReader`, the error is the endpoint's fault (502 `upstream_protocol`). From `write_request_head`, it is the
/// fault of whoever supplied the named part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The kind of error.
    pub kind: ErrorKind,
    /// The name of the field at fault, escaped and shortened, if known.
    pub field: Option<Box<str>>,
}

impl Error {
    /// The most bytes of a field's name that an error shows.
    const SHOWN: usize = 64;

    pub(super) fn of_field(kind: ErrorKind, name: &[u8]) -> Self {
        let shown = name.get(..Self::SHOWN).unwrap_or(name);
        Self { kind, field: Some(shown.escape_ascii().to_string().into()) }
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, field: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.sentence())?;
        match &self.field {
            Some(field) => write!(f, " (field \"{field}\")"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// The kinds of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The bytes do not begin with `HTTP/`.
    NotHttp,
    /// The version is not 1.0 or 1.1.
    Version,
    /// The status line is not a version, three digits and a phrase, with one space between (RFC 9112, section 4).
    StatusLine,
    /// The status is below 100 or above 599 (RFC 9110, section 15).
    Status,
    /// CR without LF (RFC 9112, section 2.2).
    BareCr,
    /// LF without CR (RFC 9112, section 2.2).
    BareLf,
    /// A line begins with whitespace: obsolete line folding (RFC 9112, section 5.2).
    ObsFold,
    /// The head is longer than `max_head`.
    HeadTooLarge,
    /// The head of a request is longer than allowed.
    RequestTooLarge,
    /// The request line is not a method, a target and a version, with one space between (RFC 9112, section 3).
    RequestLine,
    /// There are more fields than [`MAX_FIELDS`](super::MAX_FIELDS).
    TooManyFields,
    /// A field name is empty or not a token, or whitespace precedes the colon (RFC 9112, section 5.1).
    FieldName,
    /// A field value contains a control character (RFC 9110, section 5.5).
    FieldValue,
    /// A `Connection` option is not a token, or there are more than [`MAX_OPTIONS`](super::MAX_OPTIONS).
    ConnectionOption,
    /// `Content-Length` is not a plain decimal number that fits 64 bits (RFC 9112, section 6.3).
    ContentLength,
    /// There is more than one `Content-Length`, even with equal values.
    RepeatedContentLength,
    /// `Transfer-Encoding` is anything other than one `chunked`.
    TransferEncoding,
    /// The message has both `Content-Length` and `Transfer-Encoding` (RFC 9112, section 6.3).
    BothLengths,
    /// An HTTP/1.0 message has `Transfer-Encoding` (RFC 9112, section 6.1).
    OldTransferEncoding,
    /// An interim response announces a body (RFC 9112, section 6.3).
    InterimBody,
    /// There are more interim responses than [`MAX_INTERIM`](super::MAX_INTERIM).
    TooManyInterim,
    /// The response switches protocols, which no request asked for: 101, or 2xx to CONNECT.
    Upgrade,
    /// A chunk's size is not hexadecimal (RFC 9112, section 7.1).
    ChunkSize,
    /// A chunk's size has more digits than 64 bits need.
    ChunkTooLarge,
    /// A chunk extension is too long or contains a control character.
    ChunkExtension,
    /// A chunk's data is not followed by CRLF.
    ChunkEnd,
    /// The trailers are longer than `max_head`.
    TrailersTooLarge,
    /// Bytes or the end of the connection came after the end of the response.
    AfterEnd,
    /// The endpoint closed the connection before the first byte of a response.
    ClosedBeforeResponse,
    /// The endpoint closed the connection within the head, or after an interim response.
    TruncatedHead,
    /// The endpoint closed the connection before the announced end of the body.
    TruncatedBody,
    /// The method is not a token, or is CONNECT.
    Method,
    /// The target is not in origin-form: `/path?query` in visible ASCII (RFC 9112, section 3.2.1).
    Target,
    /// The host is not `host[:port]` (RFC 9110, section 7.2).
    Host,
    /// The caller added a field that the framing code writes itself.
    ReservedField,
    /// The Host field or the framing fields of a request; the text says what is wrong.
    Request(&'static str),
    /// The trailers of a request are longer than allowed.
    RequestTrailersTooLarge,
    /// A trailer field of a request would frame or route it (RFC 9110, section 6.5.1).
    TrailerField,
}

impl ErrorKind {
    fn sentence(self) -> &'static str {
        match self {
            Self::NotHttp => "the endpoint's response is not HTTP/1",
            Self::Version => "the version is not HTTP/1.0 or HTTP/1.1",
            Self::Status => "the response's status is not a number from 100 to 599",
            Self::StatusLine => {
                "the response's status line is not a version, a status of three digits and a phrase"
            }
            Self::BareCr => "a line has a CR without an LF after it",
            Self::BareLf => "a line ends with LF instead of CRLF",
            Self::ObsFold => "a header line begins with whitespace (obsolete line folding)",
            Self::HeadTooLarge => "the response's head is longer than allowed",
            Self::RequestTooLarge => "the request's head is longer than `limits.header` allows",
            Self::RequestLine => {
                "the request line is not a method, a target and a version, with one space between"
            }
            Self::TooManyFields => "there are more than 128 header fields",
            Self::FieldName => {
                "a header field's name is empty or contains a character that names may not have"
            }
            Self::FieldValue => "a header field's value contains a control character",
            Self::ConnectionOption => "a Connection field has too many options, or one that is not a token",
            Self::ContentLength => "the response's Content-Length is not a decimal number below 2^64",
            Self::RepeatedContentLength => "the response has more than one Content-Length",
            Self::TransferEncoding => "the response's Transfer-Encoding is not exactly one \"chunked\"",
            Self::BothLengths => "the response has both Content-Length and Transfer-Encoding",
            Self::OldTransferEncoding => "an HTTP/1.0 response has Transfer-Encoding",
            Self::InterimBody => "an interim (1xx) response announces a body",
            Self::TooManyInterim => "the endpoint sent too many interim (1xx) responses",
            Self::Upgrade => "the endpoint switched protocols without being asked to",
            Self::ChunkSize => "a chunk's size is not a hexadecimal number followed by CRLF",
            Self::ChunkTooLarge => "a chunk's size has more than 16 digits",
            Self::ChunkExtension => "a chunk extension is too long or contains a control character",
            Self::ChunkEnd => "a chunk's data is not followed by CRLF",
            Self::TrailersTooLarge => "the trailers are longer than allowed",
            Self::AfterEnd => "the response had already ended",
            Self::ClosedBeforeResponse => "the endpoint closed the connection before it sent a response",
            Self::TruncatedHead => "the endpoint closed the connection within the response's head",
            Self::TruncatedBody => "the endpoint closed the connection before the end of the response's body",
            Self::Method => "the request's method cannot be forwarded",
            Self::Target => "the request's target is not a path that begins with \"/\" and is visible ASCII",
            Self::Host => "the endpoint's host is not a host name or address with an optional port",
            Self::ReservedField => "this header field is derived from the message and cannot be set",
            Self::Request(what) => what,
            Self::RequestTrailersTooLarge => "the request's trailers are longer than `limits.header` allows",
            Self::TrailerField => "a trailer field may not frame or route the request",
        }
    }
}
