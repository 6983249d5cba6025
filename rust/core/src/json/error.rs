//! What can be wrong with a document, and where.

use std::fmt;

use super::{MAX_DEPTH, Options};

/// Values as other languages write them, and what to do about them.
const FOREIGN: [(&str, &str); 7] = [
    ("NaN", "there is no such number, write null or leave it out"),
    ("Infinity", "there is no such number, write null or leave it out"),
    ("None", "write null"),
    ("undefined", "write null or leave it out"),
    ("True", "write true"),
    ("False", "write false"),
    ("'", "write strings in double quotes"),
];

/// How much of a key is shown, in characters.
const SHOWN: usize = 64;

/// Why a document was refused, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Offset of the offending byte in the body; the body's length where the body ends too early.
    pub offset: usize,
}

impl Error {
    /// The stable code of the error, see [`ErrorKind::code`].
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.kind, self.offset)
    }
}

impl std::error::Error for Error {}

/// Why a document is invalid, in words that fit it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDocument {
    /// What is wrong, and where.
    pub error: Error,
    /// What an object has twice, how many containers may be nested, or what to write for what other languages know.
    detail: Option<String>,
}

impl InvalidDocument {
    /// Of the document that was scanned.
    #[cold]
    pub(crate) fn new(error: Error, body: &[u8], options: Options) -> Self {
        let detail = match error.kind {
            ErrorKind::DuplicateKey => {
                let rest = body.get(error.offset + 1..).unwrap_or_default();
                let mut behind = memchr::memchr_iter(b'"', rest).filter(|at| {
                    let escapes = rest.iter().take(*at).rev().take_while(|byte| **byte == b'\\').count();
                    escapes % 2 == 0
                });
                let key = rest.get(..behind.next().unwrap_or_default()).unwrap_or_default();
                let key = String::from_utf8_lossy(key);
                let shown: String = key.chars().take(SHOWN).collect();
                let cut = if shown.len() < key.len() { "…" } else { "" };
                Some(format!("an object has the key \"{shown}{cut}\" twice: keep one copy of it"))
            }
            ErrorKind::TooDeep => {
                let depth = options.depth.min(MAX_DEPTH);
                Some(format!("more than {depth} objects and arrays are nested: flatten the document"))
            }
            ErrorKind::ExpectedValue => {
                let rest = body.get(error.offset..).unwrap_or_default();
                let known = FOREIGN.iter().find(|(word, _)| rest.starts_with(word.as_bytes()));
                known.map(|(word, instead)| format!("`{word}` is no JSON value: {instead}"))
            }
            _ => None,
        };
        Self { error, detail }
    }
}

impl fmt::Display for InvalidDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{detail} (at byte {})", self.error.offset),
            None => self.error.fmt(f),
        }
    }
}

impl std::error::Error for InvalidDocument {}

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The body is longer than `u32::MAX` bytes, so that spans could not hold its offsets.
    TooLarge,
    /// The body is not UTF-8 (RFC 3629); the offset is that of the first byte of the broken sequence.
    InvalidUtf8,
    /// The body starts with U+FEFF (RFC 8259 section 8.1).
    ByteOrderMark,
    /// The body ends inside a value, or holds none.
    UnexpectedEnd,
    /// No value starts here.
    ExpectedValue,
    /// A member of an object starts with something that is not a string.
    ExpectedKey,
    /// A key is not followed by `:`.
    ExpectedColon,
    /// A value in an array is followed neither by `,` nor by `]`.
    ExpectedCommaOrBracket,
    /// A value in an object is followed neither by `,` nor by `}`.
    ExpectedCommaOrBrace,
    /// A number breaks the grammar of RFC 8259 section 6.
    InvalidNumber,
    /// A byte below 0x20 stands in a string.
    ControlCharacter,
    /// An escape that RFC 8259 section 7 does not know; the offset is that of its backslash.
    InvalidEscape,
    /// A `\u` escape is half a surrogate pair; the offset is that of its backslash.
    LoneSurrogate,
    /// Something other than whitespace follows the value.
    TrailingData,
    /// An object has two equal keys; the offset is that of the second one's opening quote.
    DuplicateKey,
    /// More containers are nested than the options allow; the offset is that of the first bracket too many.
    TooDeep,
}

impl ErrorKind {
    /// The stable code: `invalid_json`, `invalid_utf8`, `duplicate_key` or `too_deep`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidUtf8 => "invalid_utf8",
            Self::DuplicateKey => "duplicate_key",
            Self::TooDeep => "too_deep",
            _ => "invalid_json",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "document of 4 GiB or more: send a smaller one",
            Self::InvalidUtf8 => "invalid UTF-8: encode the document as UTF-8",
            Self::ByteOrderMark => "byte order mark: send the document without it",
            Self::UnexpectedEnd => "document ends too early: send one complete JSON value",
            Self::ExpectedValue => "a JSON value is expected here",
            Self::ExpectedKey => "a key in double quotes is expected here",
            Self::ExpectedColon => "a ':' is expected after a key",
            Self::ExpectedCommaOrBracket => "a ',' or ']' is expected after a value in an array",
            Self::ExpectedCommaOrBrace => "a ',' or '}' is expected after a value in an object",
            Self::InvalidNumber => {
                "invalid number: JSON allows -?int[.digits][e[+-]digits], no leading zeros"
            }
            Self::ControlCharacter => "control character in a string: escape it",
            Self::InvalidEscape => {
                "invalid escape in a string: use one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX"
            }
            Self::LoneSurrogate => "half of a surrogate pair in a string: escape both halves, high one first",
            Self::TrailingData => "data after the JSON value: send one value only",
            Self::DuplicateKey => "duplicate key in an object: keep one copy of it",
            Self::TooDeep => "objects and arrays are nested too deeply: flatten the document",
        })
    }
}
