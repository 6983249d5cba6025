//! From the classes of bytes to tokens: arithmetic on masks, the same for every kernel.

mod quotes;

use self::quotes::list_quotes;
use super::tokens::Tokens;
use super::{BLOCK, Look};
use crate::json::error::{Error, ErrorKind};
use crate::json::escape;
use crate::json::narrow;

/// How many blocks are looked at in one go: what is done with them next finds them in the nearest cache.
const MOST: usize = 256;

/// How many tokens there must be room for: a block's, and what is written too much.
pub(super) const ROOM: usize = BLOCK + 8;

/// After how many blocks within a string that have no escape it is worth asking whether one is quiet. After one, text with
/// short lines would often be taken for calm.
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

// For kernels that look the low four bits of bytes up: a byte belongs to a class if what it finds is the byte. No two of a
// class share their low four bits, and 0 does not find 0.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) const SPACE: [u8; 16] = [b' ', 0, 0, 0, 0, 0, 0, 0, 0, b'\t', b'\n', 0, 0, b'\r', 0, 0];
/// With the bit 0x20 set, see [`Structure::operator`].
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) const OPERATOR: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b':', b'{', b',', b'}', 0, 0];
/// Without `r`, which shares its low four bits with `b`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) const ESCAPE: [u8; 16] = [1, 0, b'b', 0, b't', 0, b'f', 0, 0, 0, 0, 0, 0, 0, b'n', b'/'];

/// A kernel: what it finds out about the bytes `B` of a block. Each is asked for only where it is needed.
pub(super) struct Classify<L, F, Q, S, T, E, U, C, P, W, M> {
    /// The bytes of a block.
    pub(super) load: L,
    /// The bytes of the last block, which is not whole, and spaces behind them; also in the block given where
    /// `list` wants that.
    pub(super) load_tail: F,
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
    /// Writes the offsets alone.
    pub(super) positions: M,
}

impl<L, F, Q, S, T, E, U, C, P, W, M> Classify<L, F, Q, S, T, E, U, C, P, W, M> {
    /// Of the bytes behind backslashes those that need a second look, as they begin no escape that is wholly in the block.
    #[inline(always)]
    fn suspects<B>(&self, bytes: B, strings: Strings, behind: u64) -> u64
    where
        B: Copy,
        E: Fn(B) -> u64,
        U: Fn(B) -> Unicode,
    {
        let suspects = behind & !((self.escapes)(bytes) | strings.quote | strings.backslash);
        if suspects == 0 { 0 } else { suspects & !plain_unicode((self.unicode)(bytes)) }
    }
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
    pub(super) backslashes: Backslashes,
    /// How many control characters there have been, inside strings and outside, where quotes are listed.
    pub(super) controls: usize,
    /// Where the last escape that was looked at ends.
    behind: usize,
    /// What is wrong inside a string; no token comes behind it.
    pub(super) fault: Option<Error>,
}

/// The blocks between two offsets, which have all backslashes that are not forgotten.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backslashes {
    first: usize,
    behind: usize,
}

impl Backslashes {
    /// Notes some blocks that are at an offset, unless `any` is 0.
    #[inline(always)]
    fn note(&mut self, any: u64, at: usize, blocks: usize) {
        let some = any != 0;
        self.first = self.first.min(if some { at } else { usize::MAX });
        self.behind = if some { at + blocks * BLOCK } else { self.behind };
    }

    /// Nobody asks any more for what is before `at`.
    pub(super) fn forget(&mut self, at: usize) {
        if self.behind <= at {
            self.first = usize::MAX;
        }
    }

    /// Whether there can be one between two offsets.
    #[inline(always)]
    pub(super) fn between(&self, start: usize, end: usize) -> bool {
        end > self.first && start < self.behind
    }
}

/// Writes what is to be listed of the blocks from `from` on behind what `tokens` has. Returns how many blocks and how much of
/// that there was.
#[inline(always)]
pub(super) fn fill<B, L, F, Q, S, T, E, U, C, P, W, M>(
    look: Look,
    body: &[u8],
    from: usize,
    carry: &mut Carry,
    tokens: &mut Tokens<'_>,
    classify: &Classify<L, F, Q, S, T, E, U, C, P, W, M>,
) -> (usize, usize)
where
    B: Copy,
    L: Fn(&[u8; BLOCK]) -> B,
    F: Fn(&[u8], &mut [u8; BLOCK]) -> B,
    Q: Fn(B) -> bool,
    S: Fn(B) -> Strings,
    T: Fn(B) -> Structure,
    E: Fn(B) -> u64,
    U: Fn(B) -> Unicode,
    C: Fn(B) -> u64,
    P: Fn(u64) -> u64,
    W: Fn(&[u8; BLOCK], B, u64, u32, &mut Room<'_>) -> usize,
    M: Fn(u64, u32, &mut [u32; ROOM]) -> usize,
{
    match look {
        Look::Tokens => list_tokens(body, from, carry, tokens, classify),
        Look::Quotes => list_quotes(body, from, carry, tokens, classify),
    }
}

/// Writes the tokens of the blocks from `from` on behind those that `tokens` has, until there is no room for a
/// block's, the body ends or a string is broken. Returns how many blocks and how many tokens there were. The last
/// block is filled up with spaces.
#[inline(always)]
fn list_tokens<B, L, F, Q, S, T, E, U, C, P, W, M>(
    body: &[u8],
    from: usize,
    carry: &mut Carry,
    tokens: &mut Tokens<'_>,
    classify: &Classify<L, F, Q, S, T, E, U, C, P, W, M>,
) -> (usize, usize)
where
    B: Copy,
    L: Fn(&[u8; BLOCK]) -> B,
    F: Fn(&[u8], &mut [u8; BLOCK]) -> B,
    Q: Fn(B) -> bool,
    S: Fn(B) -> Strings,
    T: Fn(B) -> Structure,
    E: Fn(B) -> u64,
    U: Fn(B) -> Unicode,
    C: Fn(B) -> u64,
    P: Fn(u64) -> u64,
    W: Fn(&[u8; BLOCK], B, u64, u32, &mut Room<'_>) -> usize,
{
    let rest = body.get(from..).unwrap_or_default();
    let (blocks, tail) = rest.as_chunks::<BLOCK>();
    let mut padded = [b' '; BLOCK];
    let (mut string, mut escaped, mut scalar) = (carry.string, carry.escaped, carry.scalar);
    let mut backslashes = carry.backslashes;
    let (list, listed) = tokens.list_mut();
    let (mut passed, mut written) = (0, listed);
    while passed < MOST
        && let Some(offsets) = list.offsets.get_mut(written..).and_then(<[u32]>::first_chunk_mut::<ROOM>)
        && let Some(kinds) = list.kinds.get_mut(written..).and_then(<[u8]>::first_chunk_mut::<ROOM>)
    {
        if string != 0 {
            let inside = blocks.get(passed..blocks.len().min(MOST)).unwrap_or_default();
            let (count, any) = pass_string(inside, &mut escaped, classify);
            if count > 0 {
                scalar = 0;
                backslashes.note(any, from + passed * BLOCK, count);
                passed += count;
            }
        }
        let (block, bytes) = match blocks.get(passed) {
            Some(block) => (block, (classify.load)(block)),
            None if passed == blocks.len() && !tail.is_empty() => {
                let bytes = (classify.load_tail)(tail, &mut padded);
                (&padded, bytes)
            }
            None => break,
        };
        let at = from + passed * BLOCK;
        passed += 1;
        let strings @ Strings { quote, backslash, control } = (classify.strings)(bytes);
        let behind = behind_escapes(backslash, &mut escaped);
        backslashes.note(backslash, at, 1);
        let quotes = quote & !behind;
        // From each opening quote up to its closing one, which is not in it.
        let inside = (classify.parity)(quotes) ^ string;
        string = 0u64.wrapping_sub(inside >> 63);
        let Structure { space, operator } = (classify.structure)(bytes);
        let word = !(space | operator | quotes);
        let starts = word & !(word << 1 | scalar);
        scalar = word >> 63;
        let mut mask = ((operator | starts) & !inside) | quotes;
        // What is wrong inside a string; nothing is in most blocks that have neither of these.
        let mut fault = false;
        if behind | control != 0 {
            let mut suspects = classify.suspects(bytes, strings, behind);
            if control != 0 {
                suspects |= (classify.controls)(bytes);
            }
            if suspects & inside != 0
                && let Some(good) = inspect(body, at, suspects & inside, behind, carry)
            {
                mask &= good;
                fault = true;
            }
        }
        written += (classify.list)(block, bytes, mask, narrow(at), &mut Room { offsets, kinds });
        if fault {
            break;
        }
    }
    (carry.string, carry.escaped, carry.scalar) = (string, escaped, scalar);
    carry.backslashes = backslashes;
    (passed, written - listed)
}

/// Passes blocks all of whose bytes are in one string, or outside all, and need no second look. Returns how many, and whether
/// there are any backslashes in them (then it is not 0).
///
/// Text has an escape here and there: there is no branch on whether a block has one.
#[inline(always)]
fn pass_string<B, L, F, Q, S, T, E, U, C, P, W, M>(
    blocks: &[[u8; BLOCK]],
    escaped: &mut u64,
    classify: &Classify<L, F, Q, S, T, E, U, C, P, W, M>,
) -> (usize, u64)
where
    B: Copy,
    L: Fn(&[u8; BLOCK]) -> B,
    Q: Fn(B) -> bool,
    S: Fn(B) -> Strings,
    E: Fn(B) -> u64,
    U: Fn(B) -> Unicode,
{
    let (mut calm, mut any) = (0, 0);
    let mut next_escaped = *escaped;
    let mut passed = 0;
    for block in blocks {
        let bytes = (classify.load)(block);
        if calm >= CALM {
            if (classify.quiet)(bytes) {
                passed += 1;
                continue;
            }
            calm = 0;
        }
        let strings @ Strings { quote, backslash, control } = (classify.strings)(bytes);
        let mut next = next_escaped;
        let behind = behind_escapes(backslash, &mut next);
        if (quote & !behind) | control != 0 {
            break;
        }
        if classify.suspects(bytes, strings, behind) != 0 {
            break;
        }
        next_escaped = next;
        any |= backslash;
        calm = if backslash | behind == 0 { calm + 1 } else { 0 };
        passed += 1;
    }
    *escaped = next_escaped;
    (passed, any)
}

/// What is left of a body, in a block of spaces.
#[inline(always)]
pub(super) fn pad<'a>(tail: &[u8], block: &'a mut [u8; BLOCK]) -> &'a [u8; BLOCK] {
    if let Some(start) = block.get_mut(..tail.len()) {
        start.copy_from_slice(tail);
    }
    block
}

/// Writes the offset and the byte of each bit of a mask that is at `at`; returns how many. Eight at a time, for
/// a branch after each would be taken by chance: what is written too much is overwritten.
#[inline(always)]
pub(super) fn list(block: &[u8; BLOCK], mut mask: u64, at: u32, room: &mut Room<'_>) -> usize {
    let count = mask.count_ones() as usize;
    let (offsets, kinds) = (room.offsets.as_chunks_mut::<8>().0, room.kinds.as_chunks_mut::<8>().0);
    for (offsets, kinds) in offsets.iter_mut().zip(kinds) {
        for (offset, kind) in offsets.iter_mut().zip(kinds) {
            let bit = mask.trailing_zeros();
            *offset = at.wrapping_add(bit);
            *kind = block.get(bit as usize % BLOCK).copied().unwrap_or_default();
            mask &= mask.wrapping_sub(1);
        }
        if mask == 0 {
            break;
        }
    }
    count
}

/// Writes the offset of each bit of a mask that is at `at`, as [`list`] does; returns how many.
#[inline(always)]
pub(super) fn positions(mut mask: u64, at: u32, offsets: &mut [u32; ROOM]) -> usize {
    let count = mask.count_ones() as usize;
    for offsets in offsets.as_chunks_mut::<8>().0 {
        for offset in offsets {
            *offset = at.wrapping_add(mask.trailing_zeros());
            mask &= mask.wrapping_sub(1);
        }
        if mask == 0 {
            break;
        }
    }
    count
}

/// The bytes that an escaping backslash stands before, except backslashes. `escaped` is whether that is so
/// for the first one, and becomes whether it is for the one behind the last.
///
/// Most backslashes stand alone. In a run of them, every other one escapes. Adding its first bit to a run carries to the bit behind
/// it; whether the run's length is odd can be seen from the parities of where it starts and where it ends.
#[inline(always)]
fn behind_escapes(backslash: u64, escaped: &mut u64) -> u64 {
    let behind = backslash << 1 | *escaped;
    if behind & backslash == 0 {
        *escaped = backslash >> 63;
        return behind;
    }
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
