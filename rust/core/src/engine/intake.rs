//! A request's head: is it for us, and how is its body to be read?

use std::borrow::Cow;

use super::id::is_usable;
use crate::dialect::{self, Body, Dialect, Kind};
use crate::table::Header;

/// A request's head as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method, in the case it came in.
    pub method: String,
    /// Path and query, not decoded.
    pub target: String,
    /// Header fields in wire order.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The client's address.
    pub client: Option<String>,
    /// `http` or `https`.
    pub scheme: String,
}

/// A request that was not refused by its head.
#[derive(Clone, Debug)]
pub struct Intake {
    pub(super) request: Request,
    /// The wire format of its body.
    pub dialect: Dialect,
    pub(super) kind: Option<Kind>,
    /// Its `x-request-id`, or the id that was offered.
    pub id: String,
    /// Whether the body is to be read whole before anything is decided.
    pub buffered: bool,
    pub(super) has_body: bool,
}

/// A request that is answered at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
    /// Methods that are allowed, for `method_not_allowed`.
    pub allow: Option<String>,
    /// The dialect in which to answer.
    pub dialect: Dialect,
}

impl Intake {
    /// Looks at a request's head. `fresh_id` is used where the client sent no usable `x-request-id`.
    pub(super) fn accept(
        request: Request,
        max_header: usize,
        fresh_id: impl FnOnce() -> String,
    ) -> Result<Self, Refusal> {
        let path = request.target.split('?').next().unwrap_or_default();
        let entry = dialect::entry(path);
        let dialect = entry.map_or(Dialect::Json, |entry| entry.dialect);
        let refuse = |code, message| Refusal { code, message, allow: None, dialect };

        // What a field takes on the wire beside its name and value: `: ` and CRLF.
        let size = |(name, value): &(Vec<u8>, Vec<u8>)| name.len() + value.len() + 4;
        let total = request.target.len() + request.headers.iter().map(size).sum::<usize>();
        if total > max_header {
            let message =
                format!("the request's head takes {total} bytes, `limits.header` allows {max_header}");
            return Err(refuse("header_too_large", message));
        }
        let Some(entry) = entry else {
            let shown: String = path.chars().take(100).collect();
            let hint = if dialect::is_canonical(path) {
                "envelopes go to /v1/envelopes, OpenAI requests to /v1/chat/completions and other paths below /v1/"
            } else {
                "a path has no empty, `.` or `..` segments, no control characters, and `%` only before two \
                 hexadecimal digits"
            };
            return Err(refuse("not_found", format!("there is nothing at `{shown}`: {hint}")));
        };
        if !entry.methods.is_empty() && !entry.methods.contains(&request.method.as_str()) {
            let allow = entry.methods.join(", ");
            let message = format!("{path} takes {allow}, not {}", request.method);
            return Err(Refusal { allow: Some(allow), ..refuse("method_not_allowed", message) });
        }
        let length = request.fields("content-length").next();
        let framed = request.fields("transfer-encoding").next().is_some();
        if let Some(message) = request.ambiguity() {
            return Err(refuse("bad_framing", message.to_owned()));
        }
        let has_body = framed || length.is_some_and(|length| length != b"0");
        let json = match request.media_type() {
            MediaType::Absent | MediaType::Json => true,
            MediaType::Other => false,
        };
        let buffered = entry.body == Body::Json || (has_body && json);
        if buffered {
            if !json {
                let message = "a message is JSON: send `content-type: application/json`".to_owned();
                return Err(refuse("unsupported_media_type", message));
            }
            if request.fields("content-encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
                let message =
                    "a compressed body cannot be routed by content: send it without `content-encoding`";
                return Err(refuse("unsupported_media_type", message.to_owned()));
            }
        }
        let sent = request.fields("x-request-id").find(|id| is_usable(id));
        let id = sent.map_or_else(fresh_id, |id| String::from_utf8_lossy(id).into_owned());
        let kind = entry.kind;
        Ok(Self { dialect, kind, id, buffered, has_body: has_body || entry.body == Body::Json, request })
    }

    /// The header fields as patterns see them.
    pub(super) fn headers(&self) -> Vec<Header<'_>> {
        let text = |bytes: &[u8]| -> Cow<'_, str> {
            // Field values are opaque bytes (RFC 9110, section 5.5): those that are not UTF-8 are seen as Latin-1.
            match std::str::from_utf8(bytes) {
                Ok(text) => Cow::Owned(text.to_owned()),
                Err(_) => bytes.iter().copied().map(char::from).collect::<String>().into(),
            }
        };
        let fields = self.request.headers.iter();
        fields.map(|(name, value)| (text(&name.to_ascii_lowercase()), text(value))).collect()
    }

    pub(super) fn path(&self) -> &str {
        self.request.target.split('?').next().unwrap_or_default()
    }
}

enum MediaType {
    Absent,
    Json,
    Other,
}

impl Request {
    /// The values of a field.
    pub(super) fn fields<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
        let named = move |(field, _): &&(Vec<u8>, Vec<u8>)| field.eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().filter(named).map(|(_, value)| value.as_slice())
    }

    /// What different readers of this head could take for different requests (RFC 9112, sections 3.2 and 6.1).
    fn ambiguity(&self) -> Option<&'static str> {
        let mut codings = self.fields("transfer-encoding");
        if codings.next().is_some_and(|coding| !coding.eq_ignore_ascii_case(b"chunked"))
            || codings.next().is_some()
        {
            return Some("the only transfer coding of a request is chunked, once");
        }
        let mut hosts = self.fields("host");
        // The characters of `uri-host [":" port]` (RFC 3986, section 3.2.2).
        let hosted = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
        if hosts.next().is_some_and(|host| !host.iter().all(hosted)) || hosts.next().is_some() {
            return Some("a request has one host field, which holds a name or an address, maybe with a port");
        }
        None
    }

    fn media_type(&self) -> MediaType {
        let mut values = self.fields("content-type");
        let Some(value) = values.next() else { return MediaType::Absent };
        if values.next().is_some() {
            return MediaType::Other;
        }
        let essence =
            value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
        let is_json = essence == b"application/json"
            || (essence.starts_with(b"application/") && essence.ends_with(b"+json"));
        if is_json { MediaType::Json } else { MediaType::Other }
    }
}
