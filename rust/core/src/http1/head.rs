//! What heads and trailers have in common: finding their end, the rules for field lines, hop-by-hop fields.
//!
//! `httparse` splits a complete section into fields. It is more lenient than RFC 9112 asks a proxy to be, so
//! [`Section`] has refused the following before `httparse` sees a byte: line ends other than CRLF, empty lines
//! before the start line, folded lines, anything over the limits. [`name`] and [`value`] then check every field.

use std::borrow::Cow;
use std::mem::{self, MaybeUninit};

use memchr::{memchr, memchr2};
use smallvec::SmallVec;

use super::fields::Fields;
use super::{Error, ErrorKind};

/// How many fields a head, or a trailer section, may have. Common servers allow 100.
pub const MAX_FIELDS: usize = 128;

/// How many options the `Connection` fields of one head may list: each is looked up for every field.
pub const MAX_OPTIONS: usize = 32;

/// Room for the fields that `httparse` finds.
pub(super) type Slots<'a> = [MaybeUninit<httparse::Header<'a>>; MAX_FIELDS];

/// What became complete, and the input that follows it; `None` where more input is needed.
pub(super) type Complete<'a, T> = Option<(T, &'a [u8])>;

/// Collects a head or a trailer section, up to and with its empty line.
///
/// Every byte is looked at once, however the input is split:
/// 1. A response's head begins with `HTTP/`, from its first byte on.
/// 2. LF stands only behind CR, and CR only before LF.
/// 3. No line after the start line begins with a space or a tab.
/// 4. The first empty line ends the section.
/// 5. Over `limit` bytes or [`MAX_FIELDS`] fields it is refused; at most `limit` bytes are held.
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

    /// A head whose first bytes are not known.
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

    /// Whether no byte has been taken.
    pub(super) fn is_empty(&self) -> bool {
        self.seen == 0
    }

    /// Take `data`. The section is borrowed where `data` has all of it; once it is complete, `self` is spent.
    pub(super) fn take<'a>(&mut self, data: &'a [u8]) -> Result<Complete<'a, Cow<'a, [u8]>>, ErrorKind> {
        let room = self.limit.saturating_sub(self.seen);
        let within = data.get(..room).unwrap_or(data);
        if let Some(length) = self.scan(within)? {
            let (last, rest) = data.split_at_checked(length).unwrap_or((data, &[]));
            if self.held.is_empty() {
                return Ok(Some((Cow::Borrowed(last), rest)));
            }
            self.held.extend_from_slice(last);
            return Ok(Some((Cow::Owned(mem::take(&mut self.held)), rest)));
        }
        if self.seen >= self.limit {
            return Err(self.too_large);
        }
        self.held.extend_from_slice(data);
        Ok(None)
    }

    /// Look at further bytes; how many of them belong to the section, where they complete it.
    fn scan(&mut self, data: &[u8]) -> Result<Option<usize>, ErrorKind> {
        let expected = self.start.get(self.seen..).unwrap_or(&[]);
        if expected.iter().zip(data).any(|(expected, byte)| expected != byte) {
            return Err(ErrorKind::NotHttp);
        }
        self.seen = self.seen.saturating_add(data.len());
        let mut rest = data;
        while let Some((&first, tail)) = rest.split_first() {
            if self.after_cr {
                if first != b'\n' {
                    return Err(ErrorKind::BareCr);
                }
                rest = tail;
                self.after_cr = false;
                if self.line_empty {
                    return Ok(Some(data.len() - rest.len()));
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
            let Some(at) = memchr2(b'\r', b'\n', rest) else {
                self.line_empty = false;
                break;
            };
            self.line_empty &= at == 0;
            let (_, line_end) = rest.split_at_checked(at).unwrap_or((&[], &[]));
            let Some((b'\r', after)) = line_end.split_first() else {
                return Err(ErrorKind::BareLf);
            };
            self.after_cr = true;
            rest = after;
        }
        Ok(None)
    }
}

/// By byte, what a token may have (RFC 9110, section 5.6.2), in lower case; 0 for what it may not have.
#[allow(clippy::cast_possible_truncation, clippy::indexing_slicing)] // A constant: it would not compile.
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

/// By byte, what `uri-host [":" port]` may have (RFC 3986, section 3.2.2).
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

/// Whether these are the characters of a host, maybe with a port.
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

/// Whether these are letters in lower case, digits and hyphens.
pub(super) const fn is_lower_name(mut bytes: &[u8]) -> bool {
    let some = !bytes.is_empty();
    while let [b'a'..=b'z' | b'0'..=b'9' | b'-', rest @ ..] = bytes {
        bytes = rest;
    }
    some && bytes.is_empty()
}

/// Whether a field's name is one (RFC 9110, section 5.1).
pub(super) fn check_name(bytes: &[u8]) -> Result<(), Error> {
    if is_token(bytes) { Ok(()) } else { Err(Error::of_field(ErrorKind::FieldName, bytes)) }
}

/// Append a field's name in lower case.
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

/// A field's value without surrounding whitespace (RFC 9110, section 5.5).
pub(super) fn value<'a>(name: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], Error> {
    // All bytes, whatever is found: that is done for many at once.
    let unfit = |found, &byte| found | u8::from(byte < b' ' && byte != b'\t') | u8::from(byte == 0x7f);
    if bytes.iter().fold(0, unfit) != 0 {
        return Err(Error::of_field(ErrorKind::FieldValue, name));
    }
    Ok(trim(bytes))
}

/// `bytes` without spaces and tabs at either end (OWS, RFC 9110, section 5.6.3).
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// `httparse`'s fields, checked and in normal form.
pub(super) fn fields(parsed: &[httparse::Header<'_>]) -> Result<Fields, Error> {
    let bytes = parsed.iter().map(|field| field.name.len() + field.value.len()).sum();
    let mut out = Fields::with_capacity(parsed.len(), bytes);
    for field in parsed {
        out.push_checked(field.name.as_bytes(), field.value)?;
    }
    Ok(out)
}

/// The error for what `httparse` refused.
pub(super) fn error_kind(error: httparse::Error) -> ErrorKind {
    match error {
        httparse::Error::HeaderName => ErrorKind::FieldName,
        httparse::Error::HeaderValue => ErrorKind::FieldValue,
        httparse::Error::TooManyHeaders => ErrorKind::TooManyFields,
        httparse::Error::Version => ErrorKind::Version,
        httparse::Error::Status | httparse::Error::NewLine | httparse::Error::Token => ErrorKind::StatusLine,
    }
}

/// Whether a field is for the next hop only, whatever `Connection` says.
///
/// RFC 9110, section 7.6.1, names the first six. The `proxy-` fields of section 11.7 speak between a client and
/// its next proxy: passed on, they would ask the client for a credential that is not meant for it, or show an
/// endpoint one that is not meant for the endpoint. `trailer` is not among them: section 6.6.2 makes it
/// end-to-end, and trailers are relayed.
pub(crate) const fn is_hop_by_hop(lower: &[u8]) -> bool {
    matches!(
        lower,
        b"connection"
            | b"keep-alive"
            | b"proxy-connection"
            | b"te"
            | b"transfer-encoding"
            | b"upgrade"
            | b"proxy-authenticate"
            | b"proxy-authentication-info"
            | b"proxy-authorization"
    )
}

/// A lower-case name as an endpoint that speaks CGI or WSGI sees it: there `x_api_key` is `x-api-key`.
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
    /// Add the options of one `Connection` field. Empty list elements do not count (RFC 9110, section 5.6.1).
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
