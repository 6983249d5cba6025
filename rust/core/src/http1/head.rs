//! Common parts of heads and trailers: finding their end, the rules for field lines, hop-by-hop fields.
//!
//! `httparse` splits a complete section into fields. It is more lenient than RFC 9112 requires of a proxy, so [`Section`]
//! first rejects line ends other than CRLF, empty lines before the start line, folded lines, and sections over the limits.
//! Afterwards, [`name`] and [`value`] check every field.

use std::borrow::Cow;
use std::mem::{self, MaybeUninit};

use memchr::{memchr, memchr2};
use smallvec::SmallVec;

use super::fields::Fields;
use super::{Error, ErrorKind};

/// The most fields of a head or a trailer section. Common servers allow 100.
pub const MAX_FIELDS: usize = 128;

/// The most options in the `Connection` fields of one head. Each field is compared with all of them.
pub const MAX_OPTIONS: usize = 32;

/// Room for the fields that `httparse` finds.
pub(super) type Slots<'a> = [MaybeUninit<httparse::Header<'a>>; MAX_FIELDS];

/// A complete item and the input that follows it; `None` if more input is needed.
pub(super) type Complete<'a, T> = Option<(T, &'a [u8])>;

/// Collects a head or a trailer section, including its empty line.
///
/// Every byte is examined once, however the input is split. The rules:
/// 1. A response's head begins with `HTTP/`.
/// 2. LF comes only after CR, and CR only before LF.
/// 3. No line after the start line begins with a space or a tab.
/// 4. The first empty line ends the section.
/// 5. A section has at most `limit` bytes and [`MAX_FIELDS`] fields. At most `limit` bytes are buffered.
#[derive(Debug)]
pub(super) struct Section {
    held: Vec<u8>,
    start: &'static [u8],
    start_line: bool,
    limit: usize,
    too_large: ErrorKind,
    seen: usize,
    lines: usize,
    line_empty: bool,
    after_cr: bool,
}

impl Section {
    pub(super) fn head(limit: usize) -> Self {
        Self::new(b"HTTP/", limit, ErrorKind::HeadTooLarge)
    }

    /// A request's head, whose first bytes may be anything.
    pub(super) fn request(limit: usize) -> Self {
        Self { start_line: true, ..Self::new(b"", limit, ErrorKind::RequestTooLarge) }
    }

    pub(super) fn trailers(limit: usize) -> Self {
        Self::new(b"", limit, ErrorKind::TrailersTooLarge)
    }

    fn new(start: &'static [u8], limit: usize, too_large: ErrorKind) -> Self {
        let held = Vec::new();
        let start_line = !start.is_empty();
        Self {
            held,
            start,
            start_line,
            limit,
            too_large,
            seen: 0,
            lines: 0,
            line_empty: true,
            after_cr: false,
        }
    }

    /// Whether no byte has been read.
    pub(super) fn is_empty(&self) -> bool {
        self.seen == 0
    }

    /// Reads `data`. The section is borrowed if `data` contains all of it. Once it is complete, `self` must not be used.
    pub(super) fn take<'a>(&mut self, data: &'a [u8]) -> Result<Complete<'a, Cow<'a, [u8]>>, ErrorKind> {
        let room = self.limit.saturating_sub(self.seen);
        let within = data.get(..room).unwrap_or(data);
        if let Some(length) = self.scan(within)? {
            let (last, surplus) = data.split_at_checked(length).unwrap_or((data, &[]));
            if self.held.is_empty() {
                return Ok(Some((Cow::Borrowed(last), surplus)));
            }
            self.held.extend_from_slice(last);
            return Ok(Some((Cow::Owned(mem::take(&mut self.held)), surplus)));
        }
        if self.seen >= self.limit {
            return Err(self.too_large);
        }
        self.held.extend_from_slice(data);
        Ok(None)
    }

    /// Examines further bytes. If they complete the section, returns how many of them belong to it.
    fn scan(&mut self, data: &[u8]) -> Result<Option<usize>, ErrorKind> {
        let expected = self.start.get(self.seen..).unwrap_or(&[]);
        if expected.iter().zip(data).any(|(expected, byte)| expected != byte) {
            return Err(ErrorKind::NotHttp);
        }
        self.seen = self.seen.saturating_add(data.len());
        let mut unread = data;
        while let Some((&first, tail)) = unread.split_first() {
            if self.after_cr {
                if first != b'\n' {
                    return Err(ErrorKind::BareCr);
                }
                unread = tail;
                self.after_cr = false;
                if self.line_empty {
                    return Ok(Some(data.len() - unread.len()));
                }
                self.line_empty = true;
                self.lines += 1;
                if self.lines > usize::from(self.start_line) + MAX_FIELDS {
                    return Err(ErrorKind::TooManyFields);
                }
                continue;
            }
            if self.line_empty && matches!(first, b' ' | b'\t') {
                return Err(ErrorKind::ObsFold);
            }
            let Some(at) = memchr2(b'\r', b'\n', unread) else {
                self.line_empty = false;
                break;
            };
            self.line_empty &= at == 0;
            let (_, line_end) = unread.split_at_checked(at).unwrap_or((&[], &[]));
            let Some((b'\r', after)) = line_end.split_first() else {
                return Err(ErrorKind::BareLf);
            };
            self.after_cr = true;
            unread = after;
        }
        Ok(None)
    }
}

/// Maps each byte that a token may contain (RFC 9110, section 5.6.2) to lower case, and other bytes to 0.
#[allow(clippy::cast_possible_truncation, clippy::indexing_slicing)] // It is evaluated by the compiler only.
const TOKEN: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        let char = byte as u8;
        if char.is_ascii_alphanumeric()
            || matches!(char, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
        {
            table[byte] = char.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// Whether `uri-host [":" port]` may contain each byte (RFC 3986, section 3.2.2).
#[allow(clippy::cast_possible_truncation, clippy::indexing_slicing)] // As above.
const HOST: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let char = byte as u8;
        table[byte] = char.is_ascii_alphanumeric()
            || matches!(char, b'!' | b'$'..=b'.' | b':' | b';' | b'=' | b'[' | b']' | b'_' | b'~');
        byte += 1;
    }
    table
};

/// Whether all bytes may occur in a host with an optional port.
pub(crate) fn is_host(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| HOST.get(usize::from(byte)).copied().unwrap_or(false))
}

fn token_byte(byte: u8) -> u8 {
    TOKEN.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Whether these bytes are a token (RFC 9110, section 5.6.2).
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| token_byte(byte) != 0)
}

/// Whether the bytes are lower-case letters, digits and hyphens, and not empty.
pub(super) const fn is_lower_name(mut bytes: &[u8]) -> bool {
    let has_bytes = !bytes.is_empty();
    while let [b'a'..=b'z' | b'0'..=b'9' | b'-', after @ ..] = bytes {
        bytes = after;
    }
    has_bytes && bytes.is_empty()
}

/// Checks a field's name, and appends it in lower case.
pub(super) fn name(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let begin = out.len();
    let mut unfit = bytes.is_empty();
    out.extend(bytes.iter().map(|&byte| {
        let lower = token_byte(byte);
        unfit |= lower == 0;
        lower
    }));
    if unfit {
        out.truncate(begin);
        return Err(Error::of_field(ErrorKind::FieldName, bytes));
    }
    Ok(())
}

/// Checks a field's value, and removes surrounding whitespace (RFC 9110, section 5.5).
pub(super) fn value<'a>(name: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], Error> {
    // Without an early exit, the compiler vectorises the loop.
    let unfit = |found, &byte| found | u8::from(byte < b' ' && byte != b'\t') | u8::from(byte == 0x7f);
    if bytes.iter().fold(0, unfit) != 0 {
        return Err(Error::of_field(ErrorKind::FieldValue, name));
    }
    Ok(trim(bytes))
}

/// Removes spaces and tabs at both ends (OWS, RFC 9110, section 5.6.3).
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', inner @ ..] | [inner @ .., b' ' | b'\t'] = bytes {
        bytes = inner;
    }
    bytes
}

/// Checks the fields that `httparse` found, and brings them into normal form.
pub(super) fn fields(parsed: &[httparse::Header<'_>]) -> Result<Fields, Error> {
    let bytes = parsed.iter().map(|field| field.name.len() + field.value.len()).sum();
    let mut out = Fields::with_capacity(parsed.len(), bytes);
    for field in parsed {
        out.push_checked(field.name.as_bytes(), field.value)?;
    }
    Ok(out)
}

/// Converts an error of `httparse`.
pub(super) fn error_kind(error: httparse::Error) -> ErrorKind {
    match error {
        httparse::Error::HeaderName => ErrorKind::FieldName,
        httparse::Error::HeaderValue => ErrorKind::FieldValue,
        httparse::Error::TooManyHeaders => ErrorKind::TooManyFields,
        httparse::Error::Version => ErrorKind::Version,
        httparse::Error::Status | httparse::Error::NewLine | httparse::Error::Token => ErrorKind::StatusLine,
    }
}

/// Whether a field is hop-by-hop, regardless of `Connection`.
///
/// RFC 9110, section 7.6.1, names the first six. The `proxy-` fields of section 11.7 are between a client and its next proxy.
/// Forwarded, they would ask the client for a credential that it does not owe, or show an endpoint one that is not meant for
/// it. `http2-settings` belongs to an offer that is not taken (RFC 7540, section 3.2.1), and `trailer` to trailers that are
/// not sent on. The trailers of a response are, so its `trailer` is kept.
pub(crate) const fn is_hop_by_hop(lower: &[u8]) -> bool {
    matches!(
        lower,
        b"connection"
            | b"keep-alive"
            | b"proxy-connection"
            | b"te"
            | b"transfer-encoding"
            | b"upgrade"
            | b"http2-settings"
            | b"trailer"
            | b"proxy-authenticate"
            | b"proxy-authentication-info"
            | b"proxy-authorization"
    )
}

/// A lower-case name as an endpoint that uses CGI or WSGI sees it: `x_api_key` equals `x-api-key` there.
pub(super) fn folded(lower: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'_', lower).is_none() {
        return Cow::Borrowed(lower);
    }
    Cow::Owned(lower.iter().map(|&byte| if byte == b'_' { b'-' } else { byte }).collect())
}

/// The options of a message's `Connection` fields (RFC 9110, section 7.6.1).
#[derive(Debug, Default)]
pub(super) struct Options<'a>(SmallVec<[&'a [u8]; 4]>);

impl<'a> Options<'a> {
    /// Adds the options of one `Connection` field. Empty list elements are ignored (RFC 9110, section 5.6.1).
    pub(super) fn add(&mut self, value: &'a [u8]) -> Result<(), Error> {
        for option in value.split(|&byte| byte == b',').map(trim).filter(|option| !option.is_empty()) {
            if self.0.len() == MAX_OPTIONS || !is_token(option) {
                return Err(ErrorKind::ConnectionOption.into());
            }
            self.0.push(option);
        }
        Ok(())
    }

    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.0.iter().any(|option| option.eq_ignore_ascii_case(name))
    }

    /// The options that may be field names, in lower case.
    pub(super) fn names(&self) -> Vec<Vec<u8>> {
        let plain = |option: &&&[u8]| {
            !option.eq_ignore_ascii_case(b"close") && !option.eq_ignore_ascii_case(b"keep-alive")
        };
        self.0.iter().filter(plain).map(|option| option.to_ascii_lowercase()).collect()
    }
}
