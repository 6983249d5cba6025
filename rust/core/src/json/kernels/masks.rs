//! From the classes of bytes to tokens: arithmetic on masks, the same for every kernel.

use super::BLOCK;
use super::tokens::Tokens;
use crate::json::error::{Error, ErrorKind};
use crate::json::escape;
use crate::json::narrow;

/// How many blocks are looked at in one go: what is done with them next finds them in the nearest cache.
const MOST: usize = 256;

/// How many tokens there must be room for: a block's, and what is written too much.
pub(super) const ROOM: usize = BLOCK + 8;

/// After how many blocks within a string that have no escape another one is expected. After one of them, text
/// with short lines would often be taken for calm.
const CALM: usize = 3;

const EVEN: u64 = 0x5555_5555_5555_5555;

/// The masks of a block by which strings are told from what is outside; the first byte is the lowest bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strings {
    pub(super) quote: u64,
    pub(super) backslash: u64,
    /// Not 0 where there is a control character (below 0x20); not which one it is.
    pub(super) control: u64,
}

/// What matters outside strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Structure {
    /// Space, tab, line feed, carriage return.
    pub(super) space: u64,
    /// `{}[]:,`, and 0x0C and 0x1A, which no document has outside strings. All are found as four characters
    /// in one bit of which they may differ.
    pub(super) operator: u64,
}

/// What matters where there is a backslash before a `u`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unicode {
    pub(super) u: u64,
    /// Hexadecimal digits.
    pub(super) hex: u64,
    /// Those from 8 on.
    pub(super) high: u64,
    /// Those that are 13: behind it, a high one makes half of a surrogate pair.
    pub(super) d: u64,
}

/// A kernel: what it finds out about the bytes `B` of a block. Each is asked for only where it is needed.
pub(super) struct Classify<L, Q, S, T, E, U, C, P, W> {
    /// The bytes of a block.
    pub(super) load: L,
    /// Whether it has no quote, backslash or control character.
    pub(super) quiet: Q,
    pub(super) strings: S,
    pub(super) structure: T,
    /// What makes an escape behind a backslash, but `u`, and the quote and the backslash themselves.
    pub(super) escapes: E,
    pub(super) unicode: U,
    /// Below 0x20.
    pub(super) controls: C,
    /// For each bit of a mask, the parity of those up to and with it.
    pub(super) parity: P,
    /// Writes the offset and the byte of each bit of a mask that is at an offset; returns how many.
    pub(super) list: W,
}

/// Where the tokens of a block are listed.
pub(super) struct Room<'a> {
    pub(super) offsets: &'a mut [u32; ROOM],
    pub(super) kinds: &'a mut [u8; ROOM],
}

/// What a block needs to know of those before it.
#[derive(Debug, Default)]
pub(super) struct Carry {
    /// All ones inside a string.
    string: u64,
    /// 1 where the first byte is behind a backslash that escapes it.
    escaped: u64,
    /// 1 where the last byte belongs to a scalar that may go on.
    scalar: u64,
    /// The blocks between these offsets have all backslashes that are not forgotten.
    pub(super) backslashes: (usize, usize),
    /// Where the last escape that was looked at ends.
    behind: usize,
    /// What is wrong inside a string; no token comes behind it.
    pub(super) fault: Option<Error>,
}

impl Carry {
    /// Nobody asks any more for what is before `at`.
    pub(super) fn forget_backslashes(&mut self, at: usize) {
        let (first, behind) = &mut self.backslashes;
        if *behind <= at {
            *first = usize::MAX;
        }
    }
}

/// Writes the tokens of the blocks from `from` on behind those that `tokens` has, until there is no room for a
/// block's, the body ends or a string is broken. Returns how many blocks and how many tokens there were. The last
/// block is filled up with spaces.
#[inline(always)]
pub(super) fn fill<B, L, Q, S, T, E, U, C, P, W>(
    body: &[u8],
    from: usize,
    carry: &mut Carry,
    tokens: &mut Tokens,
    classify: &Classify<L, Q, S, T, E, U, C, P, W>,
) -> (usize, usize)
where
    B: Copy,
    L: Fn(&[u8; BLOCK]) -> B,
    Q: Fn(B) -> bool,
    S: Fn(B) -> Strings,
    T: Fn(B) -> Structure,
    E: Fn(B) -> u64,
    U: Fn(B) -> Unicode,
    C: Fn(B) -> u64,
    P: Fn(u64) -> u64,
    W: Fn(&[u8; BLOCK], B, u64, u32, Room<'_>) -> usize,
{
    let rest = body.get(from..).unwrap_or_default();
    let (blocks, tail) = rest.as_chunks::<BLOCK>();
    let mut padded = [b' '; BLOCK];
    let (mut string, mut escaped, mut scalar) = (carry.string, carry.escaped, carry.scalar);
    let (mut first, mut last) = carry.backslashes;
    let mut calm = 0;
    let (mut passed, mut written) = (0, tokens.len());
    while passed < MOST
        && let Some(offsets) = tokens.offsets.get_mut(written..).and_then(<[u32]>::first_chunk_mut::<ROOM>)
        && let Some(kinds) = tokens.kinds.get_mut(written..).and_then(<[u8]>::first_chunk_mut::<ROOM>)
    {
        let room = Room { offsets, kinds };
        let block = match blocks.get(passed) {
            Some(block) => block,
            None if passed == blocks.len() && !tail.is_empty() => {
                if let Some(start) = padded.get_mut(..tail.len()) {
                    start.copy_from_slice(tail);
                }
                &padded
            }
            None => break,
        };
        let at = from + passed * BLOCK;
        let bytes = (classify.load)(block);
        passed += 1;
        // Within a long string without escapes.
        if calm >= CALM {
            if (classify.quiet)(bytes) {
                continue;
            }
            calm = 0;
        }
        let Strings { quote, backslash, control } = (classify.strings)(bytes);
        let behind = behind_escapes(backslash, &mut escaped);
        first = first.min(if backslash == 0 { usize::MAX } else { at });
        last = if backslash == 0 { last } else { at + BLOCK };
        let quotes = quote & !behind;
        let mut inside = string;
        let mut suspects;
        let mut mask = 0;
        if string != 0 && quotes == 0 {
            // All of it is in a string, perhaps a long one with an escape here and there: no branch on those.
            scalar = 0;
            calm = if backslash | behind == 0 { calm + 1 } else { 0 };
            suspects = behind & !((classify.escapes)(bytes) | quote | backslash);
            if suspects | control == 0 {
                continue;
            }
        } else {
            // From each opening quote up to its closing one, which is not in it.
            inside ^= (classify.parity)(quotes);
            string = 0u64.wrapping_sub(inside >> 63);
            let Structure { space, operator } = (classify.structure)(bytes);
            let word = !(space | operator | quotes);
            let starts = word & !(word << 1 | scalar);
            scalar = word >> 63;
            mask = ((operator | starts) & !inside) | quotes;
            calm = 0;
            suspects = behind;
            if behind != 0 {
                suspects &= !((classify.escapes)(bytes) | quote | backslash);
            }
        }
        if control != 0 {
            suspects |= (classify.controls)(bytes);
        }
        suspects &= inside;
        if suspects & behind != 0 {
            suspects &= !plain_unicode((classify.unicode)(bytes));
        }
        if suspects != 0
            && let Some(good) = inspect(body, at, suspects, behind, carry)
        {
            written += (classify.list)(block, bytes, mask & good, narrow(at), room);
            break;
        }
        written += (classify.list)(block, bytes, mask, narrow(at), room);
    }
    (carry.string, carry.escaped, carry.scalar) = (string, escaped, scalar);
    carry.backslashes = (first, last);
    (passed, written - tokens.len())
}

/// Where the bits of each byte are that are set, the others being 0.
#[allow(clippy::indexing_slicing)]
static BITS: [[u8; 8]; 256] = {
    let mut bits = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut bit, mut count) = (0, 0);
        while bit < 8 {
            if byte >> bit & 1 == 1 {
                bits[byte][count] = bit;
                count += 1;
            }
            bit += 1;
        }
        byte += 1;
    }
    bits
};

/// Writes the offset and the byte of each bit of a mask that is at `at`; returns how many. Without a branch for
/// each, which would be taken by chance: what is written too much is overwritten. `compress` moves those of eight
/// bytes to the front that are at the places given.
#[inline(always)]
pub(super) fn list(
    block: &[u8; BLOCK],
    mask: u64,
    at: u32,
    room: Room<'_>,
    compress: impl Fn(&[u8; 8], &[u8; 8]) -> [u8; 8],
) -> usize {
    let mut count = 0;
    if mask != 0 {
        let eights = block.as_chunks::<8>().0;
        for ((byte, base), bytes) in mask.to_le_bytes().into_iter().zip((at..).step_by(8)).zip(eights) {
            // No more than 56 before the last byte; the compiler cannot know.
            let from = count & (BLOCK - 1);
            if let Some(offsets) = room.offsets.get_mut(from..from + 8).and_then(<[u32]>::first_chunk_mut::<8>)
                && let Some(kinds) = room.kinds.get_mut(from..from + 8).and_then(<[u8]>::first_chunk_mut::<8>)
                && let Some(bits) = BITS.get(byte as usize)
            {
                for (offset, &bit) in offsets.iter_mut().zip(bits) {
                    *offset = base + u32::from(bit);
                }
                *kinds = compress(bytes, bits);
            }
            count += byte.count_ones() as usize;
        }
    }
    count
}

/// The bytes at eight places of eight.
#[inline(always)]
pub(super) fn compress(bytes: &[u8; 8], places: &[u8; 8]) -> [u8; 8] {
    let word = u64::from_le_bytes(*bytes);
    #[expect(clippy::cast_possible_truncation)]
    places.map(|place| (word >> (8 * (place & 7))) as u8)
}

/// The bytes that an escaping backslash stands before, except backslashes. `escaped` is whether that is so
/// for the first one, and becomes whether it is for the one behind the last.
///
/// In a run of backslashes, every other one escapes. Adding its first bit to a run carries to the bit behind
/// it; whether the run's length is odd can be seen from the parities of where it starts and where it ends.
#[inline(always)]
fn behind_escapes(backslash: u64, escaped: &mut u64) -> u64 {
    let run = backslash & !*escaped;
    let starts = run & !(run << 1);
    let even = run.wrapping_add(starts & EVEN);
    let (odd, over) = run.overflowing_add(starts & !EVEN);
    let behind = (((even & !EVEN) | (odd & EVEN)) & !run) | *escaped;
    *escaped = u64::from(over);
    behind
}

/// The `u`s that are followed by four hexadecimal digits of the block, and stand for no half of a pair.
#[inline(always)]
fn plain_unicode(Unicode { u, hex, high, d }: Unicode) -> u64 {
    u & (hex >> 1) & (hex >> 2) & (hex >> 3) & (hex >> 4) & !((d >> 1) & (high >> 2))
}

/// Looks at the bytes of the block at `at` that may be wrong where they are: control characters, and what
/// makes no plain escape. Where one is, notes the fault and returns the bits of the bytes before it.
#[cold]
#[inline(never)]
fn inspect(body: &[u8], at: usize, mut suspects: u64, behind: u64, carry: &mut Carry) -> Option<u64> {
    while suspects != 0 {
        let bit = suspects & suspects.wrapping_neg();
        suspects ^= bit;
        let offset = at + bit.trailing_zeros() as usize;
        let result = if behind & bit == 0 {
            Err(Error { kind: ErrorKind::ControlCharacter, offset })
        } else if offset < carry.behind {
            // The second half of a pair.
            continue;
        } else {
            escape::check(body, offset.saturating_sub(1))
        };
        match result {
            Ok(end) => carry.behind = end,
            Err(fault) => {
                carry.fault = Some(fault);
                return Some(bit - 1);
            }
        }
    }
    None
}

/// The parity of all bits up to each one, by shifting.
#[inline(always)]
pub(super) fn parity(mut mask: u64) -> u64 {
    for distance in [1, 2, 4, 8, 16, 32] {
        mask ^= mask << distance;
    }
    mask
}
