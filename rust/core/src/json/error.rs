//! Errors of documents, with their offsets.

use std::fmt;

use super::{MAX_DEPTH, Options};

/// Values in the syntax of other languages, and what to write instead.
const FOREIGN: [(&str, &str); 7] = [
    ("NaN", "write null or leave it out"),
    ("Infinity", "write null or leave it out"),
    ("None", "write null"),
    ("undefined", "write null or leave it out"),
    ("True", "write true"),
    ("False", "write false"),
    ("'", "write strings in double quotes"),
];

/// The most characters of a key that a message shows.
const SHOWN: usize = 64;

/// Why a document was rejected, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Offset of the offending byte in the body; the body's length if the body ends too early.
    pub offset: usize,
}

impl Error {
    /// The error code, which is stable; see [`ErrorKind::code`].
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

/// Why a document is invalid, with details of that document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDocument {
    /// The error.
    pub error: Error,
    /// A message with details: the repeated key, the allowed nesting, or what to write for a value of another language.
    detail: Option<String>,
}

impl InvalidDocument {
    /// Adds the details of the scanned document.
    #[cold]
    pub(crate) fn new(error: Error, body: &[u8], options: Options) -> Self {
        let detail = match error.kind {
            ErrorKind::DuplicateKey => {
                let from_key = body.get(error.offset + 1..).unwrap_or_default();
                let mut closing_quotes = memchr::memchr_iter(b'"', from_key).filter(|at| {
                    let escapes = from_key.iter().take(*at).rev().take_while(|byte| **byte == b'\\').count();
                    escapes % 2 == 0
                });
                let key = from_key.get(..closing_quotes.next().unwrap_or_default()).unwrap_or_default();
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
                let value = body.get(error.offset..).unwrap_or_default();
                let known = FOREIGN.iter().find(|(word, _)| value.starts_with(word.as_bytes()));
                known.map(|(word, instead)| format!("`{word}` is not a JSON value: {instead}"))
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

/// The kinds of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The body is longer than `u32::MAX` bytes, which spans cannot represent.
    TooLarge,
    /// The body is not UTF-8 (RFC 3629). The offset is that of the first byte of the invalid sequence.
    InvalidUtf8,
    /// The body starts with U+FEFF (RFC 8259, section 8.1).
    ByteOrderMark,
    /// The body ends inside a value, or has none.
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
    /// A number violates the grammar of RFC 8259, section 6.
    InvalidNumber,
    /// A string contains a byte below 0x20.
    ControlCharacter,
    /// RFC 8259, section 7, does not define this escape. The offset is that of its backslash.
    InvalidEscape,
    /// A `\u` escape is half a surrogate pair. The offset is that of its backslash.
    LoneSurrogate,
    /// Something other than whitespace follows the value.
    TrailingData,
    /// An object has two equal keys. The offset is that of the second one's opening quote.
    DuplicateKey,
    /// More containers are nested than the options allow. The offset is that of the first bracket too many.
    TooDeep,
}

impl ErrorKind {
    /// The error code, which is stable: `invalid_json`, `invalid_utf8`, `duplicate_key` or `too_deep`.
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
            Self::TooLarge => "the document has 4 GiB or more: send a smaller one",
            Self::InvalidUtf8 => "invalid UTF-8: encode the document as UTF-8",
            Self::ByteOrderMark => "byte order mark: send the document without it",
            Self::UnexpectedEnd => "the document ends too early: send one complete JSON value",
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
