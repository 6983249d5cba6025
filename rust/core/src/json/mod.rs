//! One-pass validating JSON scanner (RFC 8259): says whether a document is valid and where the values at a
//! few paths are, and builds no tree.
//!
//! # How it works
//! [`scan`] passes over the body once. A [`Kernel`] turns 64 bytes at a time into masks and those into tokens:
//! operators, quotes, and the first bytes of other scalars, all outside strings, each with its offset. What is
//! inside strings is checked on the masks. The grammar runs over the tokens, iteratively, with a stack of open
//! containers, and looks at the body only where keys, numbers and words are. UTF-8 is checked some kilobytes at a time, where
//! they are not ASCII anyway. Up to 4,096 tokens are listed at once.
//!
//! A [`Scan`] that is used again learns, for each of the last eight tries by itself: most documents differ from one before in
//! nothing but strings, numbers and words (`forms`). In one that begins like such a one only quotes are looked for at first; what is around its values is
//! compared as a whole, whitespace too, and what is recorded is where the form says. What it has learned makes it faster and
//! changes no result: whatever is of no known form, or wrong in any way, is read from the beginning, by its tokens.
//!
//! Every byte is validated, but a value leaves a trace only where a [`PathTrie`] has its path: a [`Leaf`], the
//! span of its text. Arrays are transparent for paths, and [`Element`]s tell which leaves come from the same
//! element of an array.
//!
//! ```
//! use waypost_core::json::{Kind, Options, PathTrie, Scan, scan, unescape};
//!
//! let mut trie = PathTrie::new();
//! trie.insert(&["context", "type"], 7);
//! let body = br#"{"id": "1", "context": [{"type": "memory"}, {"type": "a \u0026 b", "rank": 1}]}"#;
//!
//! let mut found = Scan::default(); // to be used again
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
//! Exactly RFC 8259, one value with whitespace around it, and beyond its grammar:
//! - the body is UTF-8 to its last byte, without a byte order mark, and shorter than 4 GiB;
//! - `\u` escapes of half a surrogate pair are an error;
//! - at most [`Options::depth`] containers are nested;
//! - numbers have no range: `1e999` is valid;
//! - two equal keys in one object, tracked or not, compared by what they stand for (`"a"` = `"\u0061"`), are
//!   an error, or with [`DuplicateKeys::Last`] the last copy alone counts.
//!
//! A document with several faults is refused for one of them, always the same.
//!
//! # Costs
//! Time is linear in the body, for every body. Long strings cost masks alone. For a megabyte, on a Zen 4 of 2023,
//! in microseconds:
//!
//! | kernel | plain text | an escape every 60 bytes | not ASCII (most of it for UTF-8) | a third is `\u` escapes |
//! |---|---|---|---|---|
//! | `avx512` | 23 | 37 | 92 | 240 |
//! | `avx2` | 19 | 57 | 112 | 310 |
//!
//! A member with a short value costs about 9 ns, one that is tracked 12 ns, an object of two of these 33 ns, an
//! empty document 45 ns; in a document of a known form a member costs 2 ns, an object of two 11 ns. A key costs a hash
//! with a random seed, and a bit that tells most from those which the trie
//! has there. A key that is tracked is a duplicate if its node was seen in the same object; of the others, another
//! bit tells most from those of the same object. Only where that is taken are keys compared: with each other in an
//! object's first keys, through a table in the others. A document of a known form needs none of this: its keys are those
//! of one that had no duplicates. A document that begins like others but is of no known form costs a look at its quotes more.
//! It is compared only with forms of as many quotes that it is long enough for, at most eight, and where less than three of
//! five were of one lately, at most one of nine is tried. Halves of surrogate pairs in escapes are checked one by one,
//! and numbers of 32 bytes and more, or with exponents, byte by byte. A body that is refused is passed over once
//! more, for whether it is UTF-8.
//!
//! Memory, at most:
//! - one frame (56 bytes) for each open container;
//! - 20 bytes for each key of the objects that are open, unless it is tracked, and the unescaped text of those that
//!   have escapes; 16 bytes more for each key of the widest object;
//! - 4 bytes for each key of the trie;
//! - one [`Leaf`] (20 bytes) for each tracked value and each of its fields;
//! - one [`Element`] (12 bytes) for each object or array in a tracked array;
//! - 21 KB of tokens, of which a document touches 5 bytes for each that it has;
//! - 256 KB of forms, those of all tries together.
//!
//! A [`Scan`] that has been used is refilled without allocating, except that it gives memory of outsized
//! documents back. To use a new one for each small document can cost more than the scan.

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

/// How many containers may be nested unless told otherwise.
pub const DEFAULT_DEPTH: usize = 128;
/// The highest value of [`Options::depth`].
pub const MAX_DEPTH: usize = 1024;

/// How many entries (or bytes of text) of a buffer are kept for the next document.
const KEPT: usize = 1 << 14;

/// What to do about two equal keys in one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicateKeys {
    /// Refuse the document with [`ErrorKind::DuplicateKey`].
    Error,
    /// The last copy counts: nothing that is recorded comes from an earlier one.
    Last,
}

/// What [`scan`] and [`validate`] accept.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many containers may be nested; above [`MAX_DEPTH`] it counts as that. 0 allows scalars only.
    pub depth: usize,
    /// What to do about two equal keys in one object.
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
    /// A number, by the grammar of RFC 8259 section 6.
    Number,
    /// A string without escapes: its span is what it stands for.
    String,
    /// A string with at least one escape: [`unescape`] its span.
    EscapedString,
    /// An object.
    Object,
    /// An array.
    Array,
}

/// A value at a tracked path.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    /// The number that was given to [`PathTrie::insert`].
    pub field: u32,
    /// Index in [`Scan::elements`] of the innermost element around the value; of the value itself if it is an
    /// object or array in an array.
    pub element: u32,
    /// Offset of the value's first byte; of a string, behind the opening quote.
    pub start: u32,
    /// Offset behind the value's last byte; of a string, of the closing quote.
    pub end: u32,
    /// The value's type.
    pub kind: Kind,
}

impl Leaf {
    /// Where the value's text is in the body.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// An object or array that is an element of an array, at a path that is tracked or leads to one; or the
/// document.
#[derive(Clone, Copy, Debug)]
pub struct Element {
    /// Index in [`Scan::elements`] of the element that encloses the array.
    pub parent: u32,
    /// Which array: siblings share it, no two arrays do.
    pub array: u32,
    /// One past the index of the last element inside this one.
    pub end: u32,
}

/// What [`scan`] found, and the buffers that it needs.
#[derive(Debug, Default)]
pub struct Scan {
    /// The values at tracked paths, in the order in which they begin; a value's fields in the order of
    /// insertion.
    pub leaves: Vec<Leaf>,
    /// The document (0, which is its own parent in array 0) and the elements of arrays, in preorder. With
    /// [`DuplicateKeys::Last`] some may belong to a value that was replaced: no leaf is in those.
    pub elements: Vec<Element>,
    /// Whether some leaf may be an [`Kind::EscapedString`]; if not, none is.
    pub has_escapes: bool,
    scratch: scanner::Scratch,
}

/// Validates `body` and records the values at the paths of `trie` in `out`, whose former content is dropped.
/// After an error `out` is empty. Returns the body as the text that it is.
///
/// # Errors
/// [`Error`] with the offset in `body` at which it is not valid, or not acceptable under `options`.
pub fn scan<'b>(body: &'b [u8], trie: &PathTrie, options: Options, out: &mut Scan) -> Result<&'b str, Error> {
    run(Available::chosen(), body, trie, options, out)
}

/// [`scan`] by a kernel of one's choice; by [`Kernel::Scalar`] where the processor does not have that.
///
/// # Errors
/// As [`scan`], whichever the kernel.
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

/// Validates `body` as [`scan`] does, and records nothing.
///
/// # Errors
/// As [`scan`].
pub fn validate(body: &[u8], options: Options) -> Result<(), Error> {
    scan(body, &PathTrie::new(), options, &mut Scan::default()).map(|_| ())
}

/// Empties a buffer, and gives back what an outsized document made it grow to.
pub(crate) fn reset<T>(buffer: &mut Vec<T>) {
    buffer.clear();
    if buffer.capacity() > KEPT {
        buffer.shrink_to(KEPT);
    }
}

/// [`reset`], of text.
pub(crate) fn reset_text(buffer: &mut String) {
    buffer.clear();
    if buffer.capacity() > KEPT {
        buffer.shrink_to(KEPT);
    }
}

/// An offset or index as it is stored. The body's length fits in `u32`, so everything counted in it does.
#[inline(always)]
#[expect(clippy::cast_possible_truncation)]
fn narrow(offset: usize) -> u32 {
    offset as u32
}
