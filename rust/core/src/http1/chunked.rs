//! The chunked transfer coding (RFC 9112, section 7.1).
//!
//! ```text
//! Size ──"0"… CRLF──▶ Trailers ──empty line──▶ (done)
//!   │ ▲
//!   │ └────────CRLF────────┐
//!   └─hex digits… CRLF──▶ Data
//! ```
//!
//! 1. A size has 1 to 16 hexadecimal digits, so that it fits 64 bits. Leading zeros count as digits.
//! 2. After the digits comes CRLF or an extension: optional whitespace, `;`, then bytes without control characters up to
//!    CRLF, at most [`MAX_EXTENSION`] bytes. Extensions are hop-by-hop and dropped (section 7.1.1).
//! 3. LF is allowed only after CR, and CR only before LF. Otherwise a lone LF could end the line for one parser and not for
//!    another, which hides a second message in an extension.
//! 4. CRLF follows the data of every chunk.
//! 5. The trailers follow the rules of `Section`. Spaces and tabs between a field's name and its colon are removed from those
//!    of a response (RFC 9112, section 5.1), and are an error in those of a request.

use std::borrow::Cow;
use std::mem;

use memchr::memchr;

use super::fields::Fields;
use super::head::{self, Complete, Section};
use super::incoming_body::check_trailer;
use super::{Error, ErrorKind};

/// The longest chunk extension, in bytes. The longest one in common use is a signature of about 80 bytes.
const MAX_EXTENSION: usize = 256;

/// The most digits of a chunk's size, enough for 64 bits.
const MAX_DIGITS: u8 = 16;

/// Encodes `data` as one chunk (RFC 9112, section 7.1). Empty data encodes the last chunk, which ends the body.
#[must_use]
pub fn encode_chunk(data: &[u8]) -> Vec<u8> {
    if data.is_empty() {
        return b"0\r\n\r\n".to_vec();
    }
    let overhead = usize::from(MAX_DIGITS) + 4;
    let mut out = Vec::with_capacity(data.len().saturating_add(overhead));
    push_chunk(&mut out, data);
    out
}

/// Appends a chunk that is not the last.
fn push_chunk(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole body in chunks, including trailers (RFC 9112, section 7.1).
pub fn append_chunked(out: &mut Vec<u8>, body: &[u8], trailers: &Fields) {
    if !body.is_empty() {
        push_chunk(out, body);
    }
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        for part in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Body bytes of one call: borrowed while they are one slice of the input, otherwise joined.
#[derive(Debug, Default)]
pub(super) struct Joined<'a>(pub(super) Cow<'a, [u8]>);

impl<'a> Joined<'a> {
    /// Appends `piece`. At most `ahead` more bytes can follow in this call.
    fn push(&mut self, piece: &'a [u8], ahead: usize) {
        if self.0.is_empty() {
            self.0 = Cow::Borrowed(piece);
            return;
        }
        if let Cow::Borrowed(first) = self.0 {
            let mut joined =
                Vec::with_capacity(first.len().saturating_add(piece.len()).saturating_add(ahead));
            joined.extend_from_slice(first);
            self.0 = Cow::Owned(joined);
        }
        self.0.to_mut().extend_from_slice(piece);
    }
}

#[derive(Debug)]
enum State {
    /// In the digits of a size.
    Size { digits: u8, size: u64 },
    /// In whitespace after the digits, which must lead to `;`.
    Padding { size: u64, length: usize },
    /// After `;`.
    Extension { size: u64, length: usize },
    /// After the CR that ends the line of a size.
    SizeLf { size: u64 },
    /// In the data of a chunk.
    Data { remaining: u64 },
    /// After the data of a chunk.
    DataCr,
    /// After the CR that follows the data.
    DataLf,
    /// After the last chunk.
    Trailers(Section),
}

const NEXT_SIZE: State = State::Size { digits: 0, size: 0 };

/// Decodes one chunked body.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    max_trailers: usize,
    /// Whether the body is that of a request.
    request: bool,
}

impl Decoder {
    /// Decodes the body of a response. `max_trailers` limits the trailer section, in bytes.
    pub(super) fn new(max_trailers: usize) -> Self {
        Self { state: NEXT_SIZE, max_trailers, request: false }
    }

    /// Decodes the body of a request, whose trailers are checked and dropped.
    pub(super) fn of_request(max_trailers: usize) -> Self {
        Self { request: true, ..Self::new(max_trailers) }
    }

    /// Whether the last chunk has been read, and the trailers have not ended.
    pub(super) fn in_trailers(&self) -> bool {
        matches!(self.state, State::Trailers(_))
    }

    /// Decodes `data` into `body`. Once it returns the trailers, the decoder must not be used.
    pub(super) fn decode<'a>(
        &mut self,
        mut data: &'a [u8],
        body: &mut Joined<'a>,
    ) -> Result<Complete<'a, Fields>, Error> {
        loop {
            match &mut self.state {
                State::Data { remaining } => {
                    let most = usize::try_from(*remaining).unwrap_or(usize::MAX).min(data.len());
                    let (piece, after) = data.split_at_checked(most).unwrap_or((data, &[]));
                    if !piece.is_empty() {
                        body.push(piece, after.len());
                    }
                    *remaining -= piece.len() as u64;
                    if *remaining > 0 {
                        return Ok(None);
                    }
                    self.state = State::DataCr;
                    data = after;
                }
                State::Trailers(section) => {
                    let taken = section.take(data).map_err(|kind| match kind {
                        ErrorKind::TrailersTooLarge if self.request => ErrorKind::RequestTrailersTooLarge,
                        kind => kind,
                    })?;
                    let Some((section, surplus)) = taken else { return Ok(None) };
                    return Ok(Some((trailers(&section, self.request)?, surplus)));
                }
                state => {
                    let Some((&byte, after)) = data.split_first() else {
                        return Ok(None);
                    };
                    let old = mem::replace(state, State::DataCr);
                    self.state = next(old, byte, self.max_trailers)?;
                    data = after;
                }
            }
        }
    }
}

/// The state after one byte outside the data.
fn next(state: State, byte: u8, max_trailers: usize) -> Result<State, ErrorKind> {
    match (state, byte) {
        (State::Size { digits: 1.., size }, b'\r') => Ok(State::SizeLf { size }),
        (State::Size { digits: 1.., size }, b';') => Ok(State::Extension { size, length: 0 }),
        (State::Size { digits: 1.., size }, b' ' | b'\t') => Ok(State::Padding { size, length: 0 }),
        (State::Size { digits, size }, _) => {
            let digit = char::from(byte).to_digit(16).ok_or(ErrorKind::ChunkSize)?;
            if digits == MAX_DIGITS {
                return Err(ErrorKind::ChunkTooLarge);
            }
            Ok(State::Size { digits: digits + 1, size: size << 4 | u64::from(digit) })
        }
        (
            State::Padding { length: MAX_EXTENSION.., .. } | State::Extension { length: MAX_EXTENSION.., .. },
            _,
        ) if byte != b'\r' => Err(ErrorKind::ChunkExtension),
        (State::Padding { size, length }, b';') => Ok(State::Extension { size, length: length + 1 }),
        (State::Padding { size, length }, b' ' | b'\t') => Ok(State::Padding { size, length: length + 1 }),
        (State::Padding { .. }, _) => Err(ErrorKind::ChunkSize),
        (State::Extension { size, .. }, b'\r') => Ok(State::SizeLf { size }),
        (State::Extension { .. }, b'\n') => Err(ErrorKind::BareLf),
        (State::Extension { size, length }, b'\t' | b' '..=b'~' | 0x80..) => {
            Ok(State::Extension { size, length: length + 1 })
        }
        (State::Extension { .. }, _) => Err(ErrorKind::ChunkExtension),
        (State::SizeLf { size: 0 }, b'\n') => Ok(State::Trailers(Section::trailers(max_trailers))),
        (State::SizeLf { size }, b'\n') => Ok(State::Data { remaining: size }),
        (State::SizeLf { .. }, _) => Err(ErrorKind::BareCr),
        (State::DataCr, b'\r') => Ok(State::DataLf),
        (State::DataLf, b'\n') => Ok(NEXT_SIZE),
        // `decode` handles Data and Trailers itself.
        (State::DataCr | State::DataLf | State::Data { .. } | State::Trailers(_), _) => {
            Err(ErrorKind::ChunkEnd)
        }
    }
}

/// Parses a trailer section, and keeps the fields that may be relayed: none of a request.
fn trailers(section: &[u8], request: bool) -> Result<Fields, Error> {
    if section == b"\r\n" {
        return Ok(Fields::default());
    }
    let mut fields = Fields::default();
    // `Section` has made sure that each line ends with CRLF, and that the last one is empty.
    let lines = section.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = memchr(b':', line).ok_or_else(|| Error::of_field(ErrorKind::FieldName, line))?;
        let (name, value) = line.split_at_checked(colon).unwrap_or((line, &[]));
        let name = if request { name } else { head::trim(name) };
        fields.push_checked(name, value.get(1..).unwrap_or_default())?;
    }
    if request {
        fields.iter().try_for_each(|(name, _)| check_trailer(name))?;
    }
    fields.retain(|name, _| !request && may_trail(name));
    Ok(fields)
}

/// Whether a field is allowed in a trailer section. Fields that frame, route, authenticate or describe the content are needed
/// before the content, and must not be merged into the head (RFC 9110, section 6.5.1).
fn may_trail(lower: &[u8]) -> bool {
    !(head::is_hop_by_hop(lower)
        || lower.starts_with(b"content-")
        || lower.starts_with(b"if-")
        || matches!(
            lower,
            b"age"
                | b"authorization"
                | b"cache-control"
                | b"cookie"
                | b"date"
                | b"expect"
                | b"expires"
                | b"host"
                | b"location"
                | b"max-forwards"
                | b"pragma"
                | b"range"
                | b"retry-after"
                | b"set-cookie"
                | b"trailer"
                | b"vary"
                | b"via"
                | b"www-authenticate"
        ))
}
