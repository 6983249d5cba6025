//! A validating JSON scanner (RFC 8259) that passes over a document once. It finds the values at given paths, and builds
//! no tree.
//!
//! # How it works
//! A [`Kernel`] turns 64 bytes at a time into masks, and the masks into tokens: operators, quotes, and the first bytes of
//! other scalars, all outside strings, each with its offset. The content of strings is checked on the masks. The grammar then
//! runs over the tokens, iteratively, with a stack of open containers. It reads the body only at keys, numbers and words.
//! UTF-8 is checked a few kilobytes at a time, unless they are ASCII. Up to 4,096 tokens are listed at once.
//!
//! A reused [`Scan`] learns the *forms* of documents (`forms`), because most documents differ from an earlier one only in
//! strings, numbers and words. It learns them separately for each of its last eight tries. In a document that begins like a
//! known form, only quotes are located at first. All text between the values, including whitespace, is compared with the form
//! as a whole, and the form says which values to record. Learning makes scanning faster and never changes a result: a document
//! of no known form, or with any fault, is read again from the beginning, by its tokens.
//!
//! Every byte is validated. A value is recorded only if a [`PathTrie`] has its path: as a [`Leaf`], the span of its text.
//! Paths look through arrays; [`Element`]s show which leaves come from the same element of an array.
//!
//! ```
//! use waypost_core::json::{Kind, Options, PathTrie, Scan, scan, unescape};
//!
//! let mut trie = PathTrie::new();
//! trie.insert(&["context", "type"], 7);
//! let body = br#"{"id": "1", "context": [{"type": "memory"}, {"type": "a \u0026 b", "rank": 1}]}"#;
//!
//! let mut found = Scan::default(); // Reuse it for further documents.
//! let text = scan(body, &trie, Options::default(), &mut found)?;
//!
//! let [memory, other] = found.leaves[..] else { panic!("two values") };
//! assert_eq!(&text[memory.span()], "memory");
//! assert_eq!((memory.field, memory.kind), (7, Kind::String));
//! assert_eq!(other.kind, Kind::EscapedString);
//! assert_eq!(unescape(&text[other.span()]), "a & b");
//! // Two elements of one array.
//! let [a, b] = [memory, other].map(|leaf| found.elements[leaf.element as usize]);
//! assert!(a.array == b.array && memory.element != other.element);
//! # Ok::<(), waypost_core::json::Error>(())
//! ```
//!
//! # Rules
//! A document follows RFC 8259 exactly: one value, with whitespace around it. Further rules:
//! - The whole body is UTF-8, without a byte order mark, and shorter than 4 GiB.
//! - A `\u` escape of half a surrogate pair is an error.
//! - Containers are nested at most [`Options::depth`] levels deep.
//! - Numbers have no limits: `1e999` is valid.
//! - Two equal keys in one object are an error, whether tracked or not. With [`DuplicateKeys::Last`], only the last copy
//!   counts. Keys are compared unescaped (`"a"` = `"\u0061"`).
//!
//! A document with several faults is always rejected for the same one.
//!
//! # Costs
//! Time is linear in the body, for every body. Long strings cost only mask arithmetic. For one megabyte, on a Zen 4 of 2023,
//! in microseconds:
//!
//! | kernel | plain text | an escape every 60 bytes | not ASCII (mostly the UTF-8 check) | one third `\u` escapes |
//! |---|---|---|---|---|
//! | `avx512` | 23 | 37 | 92 | 240 |
//! | `avx2` | 19 | 57 | 112 | 310 |
//!
//! - A member with a short value costs about 9 ns, a tracked one 12 ns, an object of two tracked ones 33 ns, an empty
//!   document 45 ns. In a document of a known form, a member costs 2 ns and an object of two 11 ns.
//! - A key costs a hash with a random seed. A bit of the hash rules out most keys that the trie does not have at this place.
//!   A tracked key is a duplicate if its trie node was already seen in the same object. For other keys, another bit rules out
//!   most duplicates. Only if that bit is taken are keys compared: the first keys of an object with each other, later ones by
//!   a table. In a document of a known form, keys need none of this, because they equal those of a document without duplicates.
//! - A document that begins like others but has no known form costs one extra pass for its quotes. It is compared only with
//!   forms that have the same number of quotes and are not longer, at most eight. Below a 60 % recent hit rate, at most one
//!   document in nine is compared at all.
//! - Escapes of surrogate pairs are checked one by one. Numbers of 32 bytes and more, or with exponents, are checked byte by
//!   byte. A rejected body is checked for UTF-8 once more.
//!
//! Memory, at most:
//! - one frame (56 bytes) for each open container;
//! - 20 bytes for each untracked key of the open objects, plus the unescaped text of keys with escapes, plus 16 bytes for
//!   each key of the widest object;
//! - 4 bytes for each key of the trie;
//! - one [`Leaf`] (20 bytes) for each tracked value and each of its fields;
//! - one [`Element`] (12 bytes) for each object or array in a tracked array;
//! - 21 KB of tokens, of which a document touches 5 bytes for each of its tokens;
//! - 256 KB of forms, all tries together.
//!
//! A reused [`Scan`] allocates nothing, except that it frees the memory of very large documents. A new [`Scan`] for each small
//! document can cost more than scanning.

#![allow(clippy::inline_always)] // The inner loop is spread over several files.

mod error;
mod escape;
mod form;
mod forms;
mod frame;
mod kernels;
mod keys;
mod learn;
mod number;
mod probe;
mod scalar;
mod scanner;
mod trie;

use std::ops::Range;

pub use error::{Error, ErrorKind, InvalidDocument};
pub use escape::unescape;
pub(crate) use escape::unescape_into;
use kernels::Available;
pub use kernels::Kernel;
pub use trie::PathTrie;

/// The default of [`Options::depth`].
pub const DEFAULT_DEPTH: usize = 128;
/// The highest value of [`Options::depth`].
pub const MAX_DEPTH: usize = 1024;

/// The most entries (or bytes of text) that a buffer keeps allocated for the next document.
const KEPT: usize = 1 << 14;

/// The treatment of two equal keys in one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicateKeys {
    /// Reject the document with [`ErrorKind::DuplicateKey`].
    Error,
    /// Use the last copy: nothing is recorded from earlier ones.
    Last,
}

/// Options of [`scan`] and [`validate`].
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The most levels of nested containers, at most [`MAX_DEPTH`]. 0 allows scalars only.
    pub depth: usize,
    /// The treatment of two equal keys in one object.
    pub duplicate_keys: DuplicateKeys,
}

impl Default for Options {
    fn default() -> Self {
        Self { depth: DEFAULT_DEPTH, duplicate_keys: DuplicateKeys::Error }
    }
}

/// The type of a recorded value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `false`
    False,
    /// `true`
    True,
    /// A number (RFC 8259, section 6).
    Number,
    /// A string without escapes: its span is its text.
    String,
    /// A string with at least one escape: [`unescape`] its span to get its text.
    EscapedString,
    /// An object.
    Object,
    /// An array.
    Array,
}

/// A value at a tracked path.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    /// The number passed to [`PathTrie::insert`].
    pub field: u32,
    /// Index in [`Scan::elements`] of the innermost element around the value. An object or array in an array is its own
    /// element.
    pub element: u32,
    /// Offset of the value's first byte; for a string, after the opening quote.
    pub start: u32,
    /// Offset after the value's last byte; for a string, of the closing quote.
    pub end: u32,
    /// The value's type.
    pub kind: Kind,
}

impl Leaf {
    /// The range of the value's text in the body.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The document, or an object or array that is an element of an array and whose path is tracked or leads to a tracked one.
#[derive(Clone, Copy, Debug)]
pub struct Element {
    /// Index in [`Scan::elements`] of the element that encloses the array.
    pub parent: u32,
    /// Number of the array, which its elements share and no other array has.
    pub array: u32,
    /// Index after that of the last element inside this one.
    pub end: u32,
}

/// The results of [`scan`], and its buffers.
#[derive(Debug, Default)]
pub struct Scan {
    /// The values at tracked paths, in the order in which they begin. A value with several fields appears once for each, in
    /// the order of insertion.
    pub leaves: Vec<Leaf>,
    /// The document (index 0, its own parent, in array 0) and the elements of arrays, in preorder. With
    /// [`DuplicateKeys::Last`], some may belong to a replaced value; they contain no leaf.
    pub elements: Vec<Element>,
    /// Whether any leaf may be a [`Kind::EscapedString`].
    pub has_escapes: bool,
    scratch: scanner::Scratch,
}

/// Validates `body`, and records the values at the paths of `trie` in `out`, replacing its previous content. Returns the body
/// as text.
///
/// # Errors
/// [`Error`] with the offset at which `body` is not valid, or not allowed by `options`. `out` is empty then.
pub fn scan<'b>(body: &'b [u8], trie: &PathTrie, options: Options, out: &mut Scan) -> Result<&'b str, Error> {
    run(Available::chosen(), body, trie, options, out)
}

/// Like [`scan`], with a given kernel; with [`Kernel::Scalar`] if the processor does not support it.
///
/// # Errors
/// Those of [`scan`], the same for every kernel.
pub fn scan_with<'b>(
    kernel: Kernel,
    body: &'b [u8],
    trie: &PathTrie,
    options: Options,
    out: &mut Scan,
) -> Result<&'b str, Error> {
    run(Available::or_scalar(kernel), body, trie, options, out)
}

fn run<'b>(
    kernel: Available,
    body: &'b [u8],
    trie: &PathTrie,
    options: Options,
    out: &mut Scan,
) -> Result<&'b str, Error> {
    reset(&mut out.leaves);
    reset(&mut out.elements);
    out.has_escapes = false;
    let found = (&mut out.leaves, &mut out.elements, &mut out.has_escapes);
    let result = scanner::run(body, kernel, trie, options, found, &mut out.scratch);
    if result.is_err() {
        out.leaves.clear();
        out.elements.clear();
    }
    result
}

/// Validates `body` like [`scan`], and records nothing.
///
/// # Errors
/// Those of [`scan`].
pub fn validate(body: &[u8], options: Options) -> Result<(), Error> {
    scan(body, &PathTrie::new(), options, &mut Scan::default()).map(|_| ())
}

/// Empties a buffer, and frees the memory that a very large document made it allocate.
pub(crate) fn reset<T>(buffer: &mut Vec<T>) {
    buffer.clear();
    if buffer.capacity() > KEPT {
        buffer.shrink_to(KEPT);
    }
}

/// Like [`reset`], for text.
pub(crate) fn reset_text(buffer: &mut String) {
    buffer.clear();
    if buffer.capacity() > KEPT {
        buffer.shrink_to(KEPT);
    }
}

/// An offset or index as stored. It fits, because the body's length fits into `u32`.
#[inline(always)]
#[expect(clippy::cast_possible_truncation)]
fn narrow(offset: usize) -> u32 {
    offset as u32
}
