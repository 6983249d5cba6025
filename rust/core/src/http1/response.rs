//! Reads a response (RFC 9112, sections 4 to 9).
//!
//! ```text
//!         ┌─1xx─┐
//!         ▼     │                    ┌─▶ Length(n) ──n bytes────────▶ Done
//!        Head ──┴──2xx to 5xx────────┼─▶ Chunked ──last chunk───────▶ Done
//!         │                          ├─▶ Close ──eof()──────────────▶ Done
//!         └──no body─────────────────┴──────────────────────────────▶ Done
//! ```
//!
//! 1. An error in any state leads to Failed, and every further call returns the same error.
//! 2. Up to [`MAX_INTERIM`] interim responses are checked like others and skipped. 101, and 2xx to CONNECT, are errors,
//!    because no request asks for an upgrade.
//! 3. Responses to HEAD, and 204 and 304, have no body, whatever their fields say. For all others (section 6.3), the body is
//!    framed by `Transfer-Encoding: chunked`, else by `Content-Length`, else by closing the connection.
//! 4. These are errors, for HEAD, 204 and 304 too: both fields together, `Content-Length` twice (even with equal values, or
//!    as a list), any transfer coding other than one `chunked`, and a transfer coding in HTTP/1.0. The RFC allows equal
//!    lengths; but then two parties wrote them, and no server needs that.
//! 5. The connection is reusable if the response ended without closing it, HTTP/1.1 did not say `close` (HTTP/1.0 said
//!    `keep-alive` and not `close`), no byte followed, and no 204 announced a body that might still follow.
//!    `Keep-Alive: timeout=N` bounds how long it may be idle before: the endpoint closes it after N seconds, which began before
//!    its response was here. So four fifths of that are the bound.
//! 6. Spaces and tabs between a field's name and its colon are removed, as a proxy has to (section 5.1), in trailers
//!    too. In a request they are an error.
//! 7. A 200 that is a stream of server-sent events is watched for its first event. Of a compressed stream, each byte counts
//!    as one.
//! 8. The space before an empty reason phrase is optional: it has no meaning, and hand-written servers omit it.

use std::borrow::Cow;
use std::mem::{self, MaybeUninit};
use std::time::Duration;

use super::chunked::{Decoder, Joined};
use super::fields::Fields;
use super::first_event::FirstEvent;
use super::head::{self, MAX_FIELDS, Options, Section, Slots};
use super::{Error, ErrorKind};

/// The most interim responses before the final one.
pub const MAX_INTERIM: u8 = 16;

/// Status and end-to-end header fields of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status, 200 to 599.
    pub status: u16,
    /// The header fields in wire order, without hop-by-hop fields: `connection` and the fields it lists, `keep-alive`,
    /// `proxy-connection`, `te`, `transfer-encoding`, `upgrade`, `http2-settings`, `proxy-authenticate`,
    /// `proxy-authentication-info` and `proxy-authorization` (RFC 9110, section 7.6.1). `content-length` is kept if it frames the body, or if it gives the
    /// length that a body would have (HEAD and 304); it is removed from a 204.
    pub headers: Fields,
}

impl ResponseHead {
    /// Whether the body is a stream, which may take any time and be silent for long: server-sent events, JSON lines, audio,
    /// video.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        const TYPES: [&str; 10] = [
            "text/event-stream",
            "application/x-ndjson",
            "application/ndjson",
            "application/jsonl",
            "application/jsonlines",
            "application/x-jsonlines",
            "application/json-seq",
            "application/stream+json",
            "application/vnd.amazon.eventstream",
            "multipart/x-mixed-replace",
        ];
        let begins = |essence: &[u8], with: &str| {
            essence.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with.as_bytes()))
        };
        self.media_type().is_some_and(|essence| {
            TYPES.iter().any(|of| essence.eq_ignore_ascii_case(of.as_bytes()))
                || begins(essence, "audio/")
                || begins(essence, "video/")
        })
    }

    /// Whether comments may be added to the body: it is a stream of server-sent events (HTML Living Standard, section 9.2),
    /// neither compressed nor of a known length.
    #[must_use]
    pub fn takes_comments(&self) -> bool {
        let fixed = |field: (&[u8], &[u8])| field.0 == b"content-length" || is_compression(field);
        self.has_events() && !self.headers.iter().any(fixed)
    }

    /// Whether the body is a stream of server-sent events.
    fn has_events(&self) -> bool {
        self.media_type().is_some_and(|essence| essence.eq_ignore_ascii_case(b"text/event-stream"))
    }

    fn media_type(&self) -> Option<&[u8]> {
        let (_, value) = self.headers.iter().find(|(name, _)| *name == b"content-type")?;
        value.split(|byte| *byte == b';').next().map(<[u8]>::trim_ascii)
    }
}

fn is_compression((name, value): (&[u8], &[u8])) -> bool {
    name == b"content-encoding" && !value.eq_ignore_ascii_case(b"identity")
}

/// The first event of a body.
#[derive(Clone, Copy, Debug)]
enum Events {
    /// The body needs none: it is no stream of events, or there is no body.
    Unneeded,
    /// The body is a stream of events, compressed, without a byte so far.
    Compressed,
    /// The body is a stream of events.
    Plain(FirstEvent),
}

impl Events {
    fn of(head: &ResponseHead, to_head: bool) -> Self {
        if to_head || head.status != 200 || !head.has_events() {
            Self::Unneeded
        } else if head.headers.iter().any(is_compression) {
            Self::Compressed
        } else {
            Self::Plain(FirstEvent::new())
        }
    }

    fn read(&mut self, body: &[u8]) {
        match self {
            Self::Compressed if !body.is_empty() => *self = Self::Unneeded,
            Self::Plain(first) => {
                first.read(body);
                if first.is_found() {
                    *self = Self::Unneeded;
                }
            }
            Self::Unneeded | Self::Compressed => (),
        }
    }

    fn are_missing(&self) -> bool {
        !matches!(self, Self::Unneeded)
    }
}

/// The end of a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseEnd {
    /// Whether the connection may carry another request (RFC 9112, section 9.3).
    pub reusable: bool,
    /// The trailer fields of a chunked body, without those that are not allowed there (RFC 9110, section 6.5.1) and those
    /// that the head's `Connection` lists.
    pub trailers: Fields,
    /// Whether the response is a 200 with a stream of server-sent events that had no event.
    pub empty: bool,
}

/// The result of one call of [`ResponseReader::feed`], in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The head, if this call completed it.
    pub head: Option<ResponseHead>,
    /// Body bytes; borrowed if they are one piece of the input.
    pub body: Cow<'a, [u8]>,
    /// The end, if this call reached it.
    pub end: Option<ResponseEnd>,
}

#[derive(Debug)]
enum State {
    Head(Section),
    Length(u64),
    Chunked(Decoder),
    Close,
    Done,
    Failed(Error),
}

/// Reads one response. It buffers at most `max_head` bytes of input, for a head or a trailer section that comes in pieces;
/// body bytes are never buffered.
#[derive(Debug)]
pub struct ResponseReader {
    state: State,
    max_head: usize,
    to_head: bool,
    to_connect: bool,
    interim: u8,
    persistent: bool,
    idle_limit: Option<Duration>,
    events: Events,
    /// The fields that the head's `Connection` lists, which are removed from the trailers.
    nominated: Vec<Vec<u8>>,
}

/// The framing of a response body.
enum Framing {
    Absent,
    Length(u64),
    Chunked,
    Close,
}

impl ResponseReader {
    /// Reads the response to a request with `method`. `max_head` limits each head and the trailers, in bytes.
    #[must_use]
    pub fn new(method: &str, max_head: usize) -> Self {
        Self {
            state: State::Head(Section::head(max_head)),
            max_head,
            to_head: method == "HEAD",
            to_connect: method == "CONNECT",
            interim: 0,
            persistent: false,
            idle_limit: None,
            events: Events::Unneeded,
            nominated: Vec::new(),
        }
    }

    /// How long the connection may be idle before it carries another request, if the response says so (`Keep-Alive`,
    /// RFC 2068, section 19.7.1.1).
    #[must_use]
    pub fn idle_limit(&self) -> Option<Duration> {
        self.idle_limit
    }

    /// Whether the response is a 200 with a stream of server-sent events that has had no event so far.
    #[must_use]
    pub fn lacks_event(&self) -> bool {
        self.events.are_missing()
    }

    /// Reads the bytes of one socket read. Empty `data` has no effect; report a closed connection with [`eof`](Self::eof).
    ///
    /// # Errors
    /// The response is malformed or ambiguous, or had already ended. Bytes that come with the end are not an error, but the
    /// connection is not reusable then.
    pub fn feed<'a>(&mut self, data: &'a [u8]) -> Result<Progress<'a>, Error> {
        let progress = self.advance(data);
        self.note(progress)
    }

    /// Reports that the endpoint closed the connection.
    ///
    /// # Errors
    /// The response was incomplete, or had already ended.
    pub fn eof(&mut self) -> Result<ResponseEnd, Error> {
        let end = match &self.state {
            State::Close => {
                self.state = State::Done;
                return Ok(ResponseEnd { empty: self.lacks_event(), ..ResponseEnd::default() });
            }
            State::Head(section) if section.is_empty() && self.interim == 0 => {
                Err(ErrorKind::ClosedBeforeResponse.into())
            }
            State::Head(_) => Err(ErrorKind::TruncatedHead.into()),
            State::Length(_) | State::Chunked(_) => Err(ErrorKind::TruncatedBody.into()),
            State::Done => Err(ErrorKind::AfterEnd.into()),
            State::Failed(error) => Err(error.clone()),
        };
        self.note(end)
    }

    /// Keeps an error for further calls, and drops buffered input.
    fn note<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            self.state = State::Failed(error.clone());
        }
        result
    }

    fn advance<'a>(&mut self, mut data: &'a [u8]) -> Result<Progress<'a>, Error> {
        let mut progress = Progress::default();
        let mut body = Joined::default();
        while !data.is_empty() {
            match &mut self.state {
                State::Head(section) => {
                    let Some((section, after)) = section.take(data)? else {
                        break;
                    };
                    data = after;
                    let Some((head, framing)) = self.head(&section)? else {
                        self.state = State::Head(Section::head(self.max_head));
                        continue;
                    };
                    progress.head = Some(head);
                    self.state = match framing {
                        Framing::Absent | Framing::Length(0) => {
                            progress.end = Some(self.end(data, Fields::default()));
                            State::Done
                        }
                        Framing::Length(length) => State::Length(length),
                        Framing::Chunked => State::Chunked(Decoder::new(self.max_head)),
                        Framing::Close => State::Close,
                    };
                }
                State::Length(remaining) => {
                    let most = usize::try_from(*remaining).unwrap_or(usize::MAX).min(data.len());
                    let (piece, surplus) = data.split_at_checked(most).unwrap_or((data, &[]));
                    body.0 = Cow::Borrowed(piece);
                    *remaining -= piece.len() as u64;
                    if *remaining == 0 {
                        progress.end = Some(self.end(surplus, Fields::default()));
                        self.state = State::Done;
                    }
                    break;
                }
                State::Chunked(decoder) => {
                    if let Some((trailers, surplus)) = decoder.decode(data, &mut body)? {
                        progress.end = Some(self.end(surplus, trailers));
                        self.state = State::Done;
                    }
                    break;
                }
                State::Close => {
                    body.0 = Cow::Borrowed(data);
                    break;
                }
                // `end` has already handled surplus bytes of the call that found the end.
                State::Done if progress.end.is_some() => break,
                State::Done => return Err(ErrorKind::AfterEnd.into()),
                State::Failed(error) => return Err(error.clone()),
            }
        }
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        self.events.read(&body.0);
        progress.body = body.0;
        if let Some(end) = &mut progress.end {
            end.empty = self.lacks_event();
        }
        Ok(progress)
    }

    fn end(&mut self, surplus: &[u8], mut trailers: Fields) -> ResponseEnd {
        let nominated = mem::take(&mut self.nominated);
        if !nominated.is_empty() {
            trailers.retain(|name, _| !nominated.iter().any(|option| option == name));
        }
        ResponseEnd { reusable: self.persistent && surplus.is_empty(), trailers, empty: false }
    }

    /// Parses a complete head; `None` if the response is interim.
    fn head(&mut self, section: &[u8]) -> Result<Option<(ResponseHead, Framing)>, Error> {
        let mut slots: Slots<'_> = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        let read = httparse::ParserConfig::default()
            .allow_spaces_after_header_name_in_responses(true)
            .parse_response_with_uninit_headers(&mut parsed, section, &mut slots)
            .map_err(head::error_kind)?;
        let (Some(version), Some(status)) = (parsed.version, parsed.code) else {
            return Err(ErrorKind::StatusLine.into());
        };
        if read != httparse::Status::Complete(section.len()) {
            return Err(ErrorKind::StatusLine.into());
        }
        if !(100..=599).contains(&status) {
            return Err(ErrorKind::Status.into());
        }
        if status == 101 || (self.to_connect && (200..300).contains(&status)) {
            return Err(ErrorKind::Upgrade.into());
        }
        let mut headers = head::fields(parsed.headers)?;

        let announced = announced(version, &headers)?;
        if status < 200 {
            if !matches!(announced, Framing::Close | Framing::Length(0)) {
                return Err(ErrorKind::InterimBody.into());
            }
            self.interim += 1;
            return if self.interim > MAX_INTERIM { Err(ErrorKind::TooManyInterim.into()) } else { Ok(None) };
        }

        let mut options = Options::default();
        for field in parsed.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("connection")) {
            options.add(field.value)?;
        }
        self.persistent = !options.contains(b"close") && (version == 1 || options.contains(b"keep-alive"));
        self.nominated = options.names();
        let no_content = status == 204;
        let mut written = true;
        headers.retain(|name, value| match name {
            b"content-length" => {
                written = value.len() == 1 || !value.starts_with(b"0");
                !no_content
            }
            b"keep-alive" => {
                self.idle_limit = self.idle_limit.or_else(|| idle_limit(value));
                false
            }
            name => {
                (name == b"trailer" || !head::is_hop_by_hop(name))
                    && !self.nominated.iter().any(|option| option == name)
            }
        });
        if let Framing::Length(length) = announced
            && !written
        {
            headers.set(b"content-length", length.to_string().as_bytes());
        }

        let framing = if self.to_head || status == 304 {
            Framing::Absent
        } else if no_content {
            self.persistent &= matches!(announced, Framing::Close | Framing::Length(0));
            Framing::Absent
        } else {
            announced
        };
        let head = ResponseHead { status, headers };
        self.events = Events::of(&head, self.to_head);
        Ok(Some((head, framing)))
    }
}

/// The framing that the fields announce; [`Framing::Close`] without framing fields (RFC 9112, section 6.3).
fn announced(version: u8, headers: &Fields) -> Result<Framing, ErrorKind> {
    let mut length = None;
    let mut chunked = false;
    for (name, value) in headers {
        match name {
            b"content-length" => {
                let number = content_length(value).ok_or(ErrorKind::ContentLength)?;
                if length.replace(number).is_some() {
                    return Err(ErrorKind::RepeatedContentLength);
                }
            }
            b"transfer-encoding" => {
                if version == 0 {
                    return Err(ErrorKind::OldTransferEncoding);
                }
                if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(ErrorKind::TransferEncoding);
                }
                chunked = true;
            }
            _ => {}
        }
    }
    match (length, chunked) {
        (Some(_), true) => Err(ErrorKind::BothLengths),
        (Some(length), false) => Ok(Framing::Length(length)),
        (None, true) => Ok(Framing::Chunked),
        (None, false) => Ok(Framing::Close),
    }
}

/// Parses `1*DIGIT` that fits 64 bits (RFC 9110, section 8.6), without sign, list or whitespace.
fn content_length(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The bound that a `Keep-Alive` field sets, as the parameter `timeout`, in seconds. Anything else says nothing.
fn idle_limit(value: &[u8]) -> Option<Duration> {
    let seconds = value.split(|byte| matches!(byte, b',' | b';')).find_map(|parameter| {
        let (name, number) = std::str::from_utf8(parameter).ok()?.split_once('=')?;
        let number = number.trim();
        let plain =
            !number.is_empty() && number.len() <= 9 && number.bytes().all(|byte| byte.is_ascii_digit());
        (plain && name.trim().eq_ignore_ascii_case("timeout")).then(|| number.parse().ok())?
    })?;
    Some(Duration::from_secs(seconds) * 4 / 5)
}
