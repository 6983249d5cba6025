//! Accepts or rejects a request by its head, and determines how to read its body.

use std::borrow::Cow;
use std::mem;
use std::sync::Arc;

use smallvec::SmallVec;

use super::call::Purpose;
use super::id::{Ids, is_usable};
use super::origin::{Origin, Trusted};
use super::trace::Trace;
use crate::auth::keys::{self, Caller, Denied};
use crate::auth::{Certificate, Presented};
use crate::dialect::{self, Body, Dialect, Entry, Kind};
use crate::http1::{self, Announced, Fields, Framing};
use crate::table::Header;
use crate::translate::Format;

/// A request's head as received.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Method, in the case received.
    pub method: Cow<'static, str>,
    /// Path and query, not decoded.
    pub target: String,
    /// Header fields in wire order.
    pub headers: Fields,
    /// The address of the connection's peer; `None` on a Unix domain socket.
    pub client: Option<Arc<str>>,
    /// The certificate of the connection's other end, where TLS has verified one.
    pub certificate: Option<Arc<Certificate>>,
    /// The connection's scheme, `http` or `https`.
    pub scheme: Cow<'static, str>,
    /// The HTTP version: `1.0`, `1.1`, `2` or `3`.
    pub version: Cow<'static, str>,
}

/// A request whose head was accepted.
#[derive(Clone, Debug)]
pub struct Intake {
    pub(super) request: Request,
    pub(super) origin: Origin,
    /// The caller, if there are keys or other sources of identities.
    pub caller: Option<Arc<Caller>>,
    /// The wire format of the body.
    pub dialect: Dialect,
    pub(super) kind: Option<Kind>,
    /// How a model is called, if that can be translated.
    pub format: Option<Format>,
    /// The request's `x-request-id`, or a new id.
    pub id: String,
    /// Whether the whole body must be read before the message is decided.
    pub buffered: bool,
    /// The length of the body in bytes, if the head says it.
    pub length: Option<u64>,
    /// Whether the head announces a body, possibly an empty one.
    pub(super) framed: bool,
    /// Whether a JSON body is required.
    pub(super) json: bool,
    /// The trace that the request belongs to, if it names one.
    pub(super) trace: Option<Trace>,
    /// The purpose of an internal call.
    pub(super) purpose: Option<Purpose>,
}

/// A request that is answered at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The error code, which is stable.
    pub code: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
    /// The allowed methods, for `method_not_allowed`.
    pub allow: Option<String>,
    /// The dialect of the answer.
    pub dialect: Dialect,
    /// The request's `x-request-id`, or a new id.
    pub id: String,
}

impl Intake {
    /// Checks a request's head, and takes `request` if it is accepted. `entry` is the dialect's entry at its path. `announced` is
    /// what [`http1::RequestReader`] found in its fields, if that read it. `identify` determines the caller. `ids` makes an id if
    /// the client sent no usable `x-request-id`.
    pub(super) fn accept(
        request: &mut Request,
        entry: Option<Entry>,
        announced: Option<Announced>,
        max_header: usize,
        trusted: &Trusted,
        identify: impl FnOnce(&Request) -> Result<Option<Arc<Caller>>, Denied>,
        ids: &Ids,
    ) -> Result<Self, Rejection> {
        let announced = match announced {
            Some(announced) => Ok(announced),
            None => request.normalize(),
        };
        let path = path_of(&request.target);
        let dialect = entry.map_or(Dialect::Json, |entry| entry.dialect);
        let sent = request.fields("x-request-id").find(|id| is_usable(id));
        let id = sent.map_or_else(|| ids.id(), |id| String::from_utf8_lossy(id).into_owned());
        let reject = |code, message| Rejection { code, message, allow: None, dialect, id: id.clone() };

        // Each field takes four more bytes on the wire: `: ` and CRLF.
        let size = |(name, value): (&[u8], &[u8])| name.len() + value.len() + 4;
        let total = request.target.len() + request.headers.iter().map(size).sum::<usize>();
        if total > max_header {
            let message =
                format!("the request's head takes {total} bytes, but `limits.header` allows {max_header}");
            return Err(reject("header_too_large", message));
        }
        // Check the key first, so that callers without one learn nothing about paths.
        let caller = identify(request).and_then(|caller| match caller {
            Some(caller) if !caller.messages => Err(Denied::OnlyAdmin),
            caller => Ok(caller),
        });
        let caller = caller.map_err(|denied| reject(denied.code(), denied.to_string()))?;
        let Some(entry) = entry else {
            let shown: String = path.chars().take(100).collect();
            let hint = if let Some(near) = dialect::near_path(path) {
                format!("did you mean `{near}`?")
            } else if dialect::is_canonical(path) {
                dialect::describe_paths()
            } else {
                "a path must not contain empty, `.` or `..` segments or control characters, and must not percent-encode \
                 characters needlessly"
                    .to_owned()
            };
            return Err(reject("not_found", format!("there is nothing at `{shown}`: {hint}")));
        };
        // Reject what no attempt could forward.
        let (method, target) = (request.method.as_bytes(), request.target.as_bytes());
        if let Err(error) = http1::check_line(method, target) {
            return Err(reject("bad_framing", error.to_string()));
        }
        let announced = announced.map_err(|error| reject("bad_framing", error.to_string()))?;
        let origin =
            Origin::of(request, trusted).map_err(|message| reject("bad_framing", message.to_owned()))?;
        let (framed, length) = match announced.framing {
            Framing::Absent => (false, None),
            Framing::Length(length) => (true, Some(length)),
            Framing::Chunked => (true, None),
        };
        if request.offers_websocket() {
            let message = format!(
                "nothing at {path} speaks WebSocket: this gateway forwards HTTP messages only, so send them by HTTP"
            );
            return Err(reject("not_implemented", message));
        }
        let Some(requests) = entry.requests(&request.method) else {
            let allow = entry.methods().collect::<Vec<_>>().join(", ");
            let message = format!("{path} takes {allow}, not {}", request.method);
            return Err(Rejection { allow: Some(allow), ..reject("method_not_allowed", message) });
        };
        // Only an HTTP/1 head says whether there is a body.
        let has_body = if framed { length != Some(0) } else { !request.is_http1() };
        let json = match request.media_type() {
            MediaType::Absent | MediaType::Json => true,
            MediaType::Other => false,
        };
        let buffered = requests.body == Body::Json || (has_body && json);
        if buffered {
            if !json {
                let message = "a message is JSON: send `content-type: application/json`".to_owned();
                return Err(reject("unsupported_media_type", message));
            }
            if request.fields("content-encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
                let message =
                    "a compressed body cannot be routed by content: send it without `content-encoding`";
                return Err(reject("unsupported_media_type", message.to_owned()));
            }
        }
        let kind = requests.kind();
        let json = requests.body == Body::Json;
        let trace = Trace::of(request);
        Ok(Self {
            request: mem::take(request),
            origin,
            caller,
            dialect,
            kind,
            format: entry.path.format,
            id,
            buffered,
            length,
            framed,
            json,
            trace,
            purpose: None,
        })
    }

    /// The header fields as patterns see them, which are those that endpoints get: without hop-by-hop fields, fields that
    /// `Connection` lists, forwarding fields that are not trusted, and the key for Waypost alone.
    pub(super) fn headers(&self) -> SmallVec<[Header<'_>; 12]> {
        let headers = &self.request.headers;
        let listed = self.request.fields("connection").flat_map(|value| value.split(|byte| *byte == b','));
        let listed: SmallVec<[&[u8]; 4]> = listed.map(<[u8]>::trim_ascii).collect();
        let own_hop = |name: &[u8], value: &[u8]| {
            http1::is_hop_by_hop(name)
                || name == keys::OWN_FIELD.as_bytes()
                || listed.iter().any(|l| l.eq_ignore_ascii_case(name))
                || self.origin.disbelieves(name, value)
        };
        // Field values are opaque bytes (RFC 9110, section 5.5). Values that are not UTF-8 are decoded as Latin-1.
        let latin = |bytes: &[u8]| -> String { bytes.iter().copied().map(char::from).collect() };
        let text = headers.text();
        let seen = |bytes, at| match text.and_then(|text| text.get(at)) {
            Some(text) => Cow::Borrowed(text),
            None => std::str::from_utf8(bytes).map_or_else(|_| latin(bytes).into(), Cow::Borrowed),
        };
        let fields =
            headers.iter().zip(headers.parts()).filter_map(|((name, value), (name_at, value_at))| {
                // Servers pass names in lower case, which need no copy.
                let name = match seen(name, name_at) {
                    name if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                        name.to_ascii_lowercase().into()
                    }
                    name => name,
                };
                (!own_hop(name.as_bytes(), value)).then(|| (name, seen(value, value_at)))
            });
        fields.collect()
    }

    /// Whether the caller is told of each attempt.
    #[must_use]
    pub fn is_debug(&self) -> bool {
        self.caller.as_ref().is_some_and(|caller| caller.debug)
    }

    /// Whether the message is an internal call.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.purpose.is_some()
    }

    /// Whether the request, which is of no kind, may be sent again after it may have been executed.
    pub(super) fn is_repeatable(&self) -> bool {
        match &*self.request.method {
            "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" => true,
            "POST" => self.dialect.spec().model_paths.contains(&self.path()),
            _ => false,
        }
    }

    /// Whether the request's body is sent on while it comes.
    pub(super) fn streams(&self) -> bool {
        !self.buffered && if self.framed { self.length != Some(0) } else { !self.request.is_http1() }
    }

    pub(super) fn path(&self) -> &str {
        path_of(&self.request.target)
    }
}

/// A request target without its query.
pub(super) fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

enum MediaType {
    Absent,
    Json,
    Other,
}

impl Request {
    /// What it presents of its caller.
    pub(super) fn presented(&self) -> Presented<'_> {
        Presented {
            fields: &self.headers,
            certificate: self.certificate.as_deref(),
            address: self.client.as_deref(),
        }
    }

    /// The values of a field.
    pub(super) fn fields<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
        let named = move |(field, _): &(&[u8], &[u8])| field.eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().filter(named).map(|(_, value)| value)
    }

    /// Whether the request opens a WebSocket (RFC 6455, section 4.1). Any other upgrade is an offer that may be ignored, but
    /// a client that opens a WebSocket can do nothing with a response of HTTP.
    fn offers_websocket(&self) -> bool {
        let lists = |name: &'static str, wanted: &str| {
            self.fields(name)
                .flat_map(|value| value.split(|&byte| byte == b','))
                .any(|element| element.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
        };
        self.method == "GET"
            && self.version == "1.1"
            && lists("upgrade", "websocket")
            && lists("connection", "upgrade")
    }

    fn is_http1(&self) -> bool {
        self.version.starts_with('1')
    }

    /// Brings the fields into normal form, because what is decided on is what is forwarded. Returns what they announce.
    fn normalize(&mut self) -> Result<Announced, http1::Error> {
        self.headers = self.headers.normal()?;
        Announced::of(&self.headers, &self.version)
    }

    fn media_type(&self) -> MediaType {
        let mut values = self.fields("content-type");
        let Some(value) = values.next() else { return MediaType::Absent };
        if values.next().is_some() {
            return MediaType::Other;
        }
        let essence = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let of = |begin: &[u8]| essence.get(..begin.len()).is_some_and(|e| e.eq_ignore_ascii_case(begin));
        let suffix =
            essence.split_last_chunk::<5>().is_some_and(|(_, end)| end.eq_ignore_ascii_case(b"+json"));
        let is_json = essence.eq_ignore_ascii_case(b"application/json") || (of(b"application/") && suffix);
        if is_json { MediaType::Json } else { MediaType::Other }
    }
}
