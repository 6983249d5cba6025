//! Writes the head of a response for the client.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::id::is_usable;
use super::intake::Intake;
use super::snapshot::{EndpointAt, Plan, Snapshot};
use crate::http1::{Fields, ResponseHead};
use crate::text::digits::Digits;

/// The header fields that Waypost adds to routed responses. An endpoint's fields of these names are dropped.
const OWN: [&[u8]; 6] = [
    b"x-request-id",
    b"x-waypost-route",
    b"x-waypost-attempts",
    b"x-waypost-cluster",
    UPSTREAM_ID,
    b"x-waypost-trace",
];

/// The field that tells the client the endpoint's own id of the request.
const UPSTREAM_ID: &[u8] = b"x-upstream-request-id";

/// The fields in which endpoints tell their own id of a request, the best first. Another Waypost passes on what its endpoint
/// said. `x-request-id` is that of OpenAI and of most servers, `request-id` that of Anthropic, the next two are those of
/// Azure, and the last one is that of AWS.
const IDS: [&[u8]; 6] = [
    UPSTREAM_ID,
    b"x-request-id",
    b"request-id",
    b"apim-request-id",
    b"x-ms-request-id",
    b"x-amzn-requestid",
];

/// The field by which a proxy such as nginx, which collects responses by default, is told to pass a stream on as it comes.
const BUFFERING: (&[u8], &[u8]) = (b"x-accel-buffering", b"no");

/// Fields by which an endpoint commands the server directly in front of it: nginx (all that begin with `x-accel-`), Apache and
/// lighttpd would send a file of their own. `alt-svc` (RFC 7838) names other ports of the endpoint's host, which the client
/// would look for at Waypost's.
fn is_for_neighbour(name: &[u8]) -> bool {
    (name.starts_with(b"x-accel-") && name != BUFFERING.0)
        || matches!(name, b"alt-svc" | b"x-sendfile" | b"x-lighttpd-send-file")
}

/// A response's head for an HTTP/1 client, and how to send the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// The head, including the empty line.
    pub head: Vec<u8>,
    /// Whether the body is sent in chunks (RFC 9112, section 7.1).
    pub chunked: bool,
    /// Whether a body is sent; not for HEAD, 204 and 304.
    pub body: bool,
    /// Whether the client may send another request.
    pub persistent: bool,
}

impl Intake {
    /// Whether the client may send another request on the connection. An HTTP/1.0 client may not.
    #[must_use]
    pub fn persistent(&self) -> bool {
        let closes = |value: &[u8]| {
            value.split(|&byte| byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
        };
        self.request.version == "1.1" && !self.request.fields("connection").any(closes)
    }

    /// Path and query as received.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.request.target
    }

    /// The request's header fields in wire order.
    #[must_use]
    pub fn fields(&self) -> &Fields {
        &self.request.headers
    }

    /// The HTTP version: `1.0`, `1.1`, `2` or `3`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.request.version
    }

    /// The method, in the case received.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.request.method
    }
}

/// What Waypost's own fields of a response tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report<'a> {
    /// The endpoint that answered, or was tried last. Without one, the decision's cluster is named.
    pub at: Option<EndpointAt>,
    /// Number of attempts.
    pub attempts: u32,
    /// The endpoint's own [id](upstream_id) of the request.
    pub upstream_id: Option<&'a [u8]>,
    /// The [trace](Snapshot::trace), for a caller who is told of it.
    pub trace: Option<&'a str>,
}

impl Snapshot {
    /// The fields of every routed response: the message's id, its route, and what the report tells.
    #[must_use]
    pub fn own_fields(&self, plan: &Plan, report: &Report<'_>) -> Fields {
        let mut out = Fields::default();
        self.each_own(plan, report, |name, value| out.push(name, value));
        out
    }

    fn each_own(&self, plan: &Plan, report: &Report<'_>, mut field: impl FnMut(&[u8], &[u8])) {
        let attempts = Digits::new(report.attempts.into());
        let cluster = self.cluster_of(plan, report.at).map(|(_, cluster)| printable(&cluster.name));
        let (id, route) = (plan.request_id(), printable(self.route_of(plan)));
        let values = [
            Some(id.as_bytes()),
            Some(route.as_bytes()),
            Some(attempts.as_bytes()),
            cluster.as_deref().map(str::as_bytes),
            report.upstream_id,
            report.trace.map(str::as_bytes),
        ];
        for (name, value) in OWN.into_iter().zip(values) {
            if let Some(value) = value {
                field(name, value);
            }
        }
    }

    /// The head of an endpoint's response for an HTTP/1 client. `begin` is the status line and the header lines that the server
    /// adds to every response. A `date` is the first of these lines, and left out if the endpoint sent one (RFC 9110, section
    /// 6.6.1). `close` closes the connection after this response.
    #[must_use]
    pub fn relay(
        &self,
        intake: &Intake,
        plan: &Plan,
        report: &Report<'_>,
        response: &ResponseHead,
        begin: [&[u8]; 2],
        close: bool,
    ) -> Relay {
        let body = intake.request.method != "HEAD" && !matches!(response.status, 204 | 304);
        let persistent = !close && intake.persistent();
        let mut chunked = body && intake.request.version == "1.1";
        let mut head = Vec::with_capacity(1024);
        let [line, fields] = begin;
        head.extend_from_slice(line);
        let dated = response.headers.iter().any(|(name, _)| name == b"date");
        head.extend_from_slice(if dated { without_date(fields) } else { fields });
        for (name, value) in sent_on(response) {
            if name == b"content-length" {
                chunked = false;
                // In a 304 it gives the length that a body would have; some servers take it for an announcement of one.
                if response.status == 304 {
                    continue;
                }
            }
            write_field(&mut head, name, value);
        }
        self.each_own(plan, report, |name, value| write_field(&mut head, name, value));
        if !persistent {
            head.extend_from_slice(b"connection: close\r\n");
        }
        if chunked {
            head.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        head.extend_from_slice(b"\r\n");
        Relay { head, chunked, body, persistent }
    }
}

/// The fields of an endpoint's response that are sent on: all but those that Waypost sets itself, and those that are for the
/// endpoint's own neighbour. The fields of a stream
/// ask proxies not to collect it.
pub fn sent_on(response: &ResponseHead) -> impl Iterator<Item = (&[u8], &[u8])> {
    let streams = response.is_stream();
    let own = move |name: &[u8]| {
        matches!(name.first(), Some(b'x' | b'a'))
            && (OWN.contains(&name) || (streams && name == BUFFERING.0) || is_for_neighbour(name))
    };
    response.headers.iter().filter(move |(name, _)| !own(name)).chain(streams.then_some(BUFFERING))
}

/// The endpoint's own id of a request, for questions to whoever runs the endpoint: 1 to 128 visible ASCII characters. An
/// endpoint that only repeats the message's id has none.
#[must_use]
pub fn upstream_id<'a>(response: &'a ResponseHead, plan: &Plan) -> Option<&'a [u8]> {
    let mut best: Option<(usize, &[u8])> = None;
    for (name, value) in &response.headers {
        if !name.ends_with(b"id") {
            continue;
        }
        let Some(rank) = IDS.iter().position(|field| *field == name) else { continue };
        let better = best.is_none_or(|(other, _)| rank < other);
        if better && is_usable(value) && value != plan.request_id().as_bytes() {
            best = Some((rank, value));
        }
    }
    best.map(|(_, id)| id)
}

/// Header lines without a `date` at their beginning.
fn without_date(lines: &[u8]) -> &[u8] {
    if !lines.starts_with(b"date: ") {
        return lines;
    }
    let end = lines.iter().position(|&byte| byte == b'\n').map_or(lines.len(), |at| at + 1);
    lines.get(end..).unwrap_or_default()
}

fn write_field(head: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

/// Encodes a name of the configuration for a header field: characters beyond ASCII are escaped as in Python.
pub(super) fn printable(name: &str) -> Cow<'_, str> {
    let plain = |byte: u8| (b' '..=b'~').contains(&byte);
    if name.bytes().all(plain) {
        return name.into();
    }
    let mut out = String::with_capacity(name.len() * 2);
    for char in name.chars() {
        // Writing to a String cannot fail.
        let _ = match u32::from(char) {
            0..=0x1f | 0x7f => Ok(()),
            0x20..=0x7e => write!(out, "{char}"),
            code @ 0x80..=0xff => write!(out, "\\x{code:02x}"),
            code @ 0x100..=0xffff => write!(out, "\\u{code:04x}"),
            code => write!(out, "\\U{code:08x}"),
        };
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_left_out() {
        let date = b"date: Mon, 30 Nov 2026 03:04:44 GMT\r\n";
        assert_eq!(without_date(date), b"");
        assert_eq!(without_date(&[&date[..], b"server: a\r\n"].concat()), b"server: a\r\n");
        assert_eq!(without_date(b"server: a\r\n"), b"server: a\r\n");
    }

    #[test]
    fn names() {
        assert_eq!(printable("a b"), "a b");
        assert_eq!(printable("é☃\u{1f600}\r\nx\u{7f}"), "\\xe9\\u2603\\U0001f600x");
    }
}
