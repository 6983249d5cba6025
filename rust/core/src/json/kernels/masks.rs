//! Arithmetic on masks, the same for every kernel: computes tokens from the classes of bytes.

mod quotes;

use self::quotes::list_quotes;
use super::tokens::Tokens;
use super::{BLOCK, Look};
use crate::json::error::{Error, ErrorKind};
use crate::json::escape;
use crate::json::narrow;

/// The most blocks read at a time, so that the next step finds them in the nearest cache.
const MOST: usize = 256;

/// Room for a block's tokens, and for the excess that is written after them.
pub(super) const ROOM: usize = BLOCK + 8;

/// Number of consecutive blocks in a string without an escape, after which the quick check for quiet blocks pays. With a lower
/// number, text with short lines would often fail that check.
const CALM: usize = 3;

const EVEN: u64 = 0x5555_5555_5555_5555;

/// The masks of a block that separate strings from the rest. The first byte is the lowest bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strings {
    pub(super) quote: u64,
    pub(super) backslash: u64,
    /// Not 0 if the block has a control character (below 0x20); does not say where.
    pub(super) control: u64,
}

/// The masks that matter outside strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Structure {
    /// Space, tab, line feed, carriage return.
    pub(super) space: u64,
    /// `{}[]:,`, and also 0x0C and 0x1A, which no valid document has outside strings. With the bit 0x20 set, these eight bytes
    /// become four.
    pub(super) operator: u64,
}

/// The masks that matter after a backslash before `u`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unicode {
    pub(super) u: u64,
    /// Hexadecimal digits.
    pub(super) hex: u64,
    /// Hexadecimal digits of at least 8.
    pub(super) high: u64,
    /// The digit `d`. Followed by a high digit, it begins half of a surrogate pair.
    pub(super) d: u64,
}

// Tables for kernels that look up the low four bits of bytes. A byte belongs to a class if the table has that byte at its
// index. No two bytes of a class share their low four bits, and index 0 does not contain 0.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) const SPACE: [u8; 16] = [b' ', 0, 0, 0, 0, 0, 0, 0, 0, b'\t', b'\n', 0, 0, b'\r', 0, 0];
/// For bytes with the bit 0x20 set; see [`Structure::operator`].
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) const OPERATOR: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b':', b'{', b',', b'}', 0, 0];
/// Without `r`, which shares its low four bits with `b`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) const ESCAPE: [u8; 16] = [1, 0, b'b', 0, b't', 0, b'f', 0, 0, 0, 0, 0, 0, 0, b'n', b'/'];

/// The functions of a kernel, for blocks loaded as `B`. Each is called only if needed.
pub(super) struct Classify<L, F, Q, S, T, E, U, C, P, W, M> {
    /// Loads a block.
    pub(super) load: L,
    /// Loads the incomplete last block, padded with spaces. Also writes it to the given block, if `list` needs that.
    pub(super) load_tail: F,
    /// Whether a block has no quote, backslash or control character.
    pub(super) quiet: Q,
    pub(super) strings: S,
    pub(super) structure: T,
    /// The bytes that are an escape after a backslash, except `u`, quotes and backslashes.
    pub(super) escapes: E,
    pub(super) unicode: U,
    /// The control characters, below 0x20.
    pub(super) controls: C,
    /// For each bit of a mask, the parity of all bits up to and including it.
    pub(super) parity: P,
    /// Writes the offset and the byte of each bit of a mask, and returns their number.
    pub(super) list: W,
    /// Writes only the offsets.
    pub(super) positions: M,
}

impl<L, F, Q, S, T, E, U, C, P, W, M> Classify<L, F, Q, S, T, E, U, C, P, W, M> {
    /// The bytes after backslashes that need a closer check, because they do not begin an escape that is wholly in the block.
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

/// Room for the tokens of a block.
pub(super) struct Room<'a> {
    pub(super) offsets: &'a mut [u32; ROOM],
    pub(super) kinds: &'a mut [u8; ROOM],
}

/// The state carried from block to block.
#[derive(Debug, Default)]
pub(super) struct Carry {
    /// All ones inside a string, else 0.
    string: u64,
    /// 1 if the next byte is escaped by a backslash.
    escaped: u64,
    /// 1 if the last byte belongs to a scalar, which may continue.
    scalar: u64,
    pub(super) backslashes: Backslashes,
    /// Number of control characters, inside strings and outside, if quotes are listed.
    pub(super) controls: usize,
    /// Offset after the last escape that was checked.
    behind: usize,
    /// The fault in a string, which ends the tokens.
    pub(super) fault: Option<Error>,
}

/// A range of offsets that contains all backslashes, except forgotten ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backslashes {
    first: usize,
    behind: usize,
}

impl Backslashes {
    /// Adds blocks at `at`, unless `any` is 0.
    #[inline(always)]
    fn note(&mut self, any: u64, at: usize, blocks: usize) {
        let has_any = any != 0;
        self.first = self.first.min(if has_any { at } else { usize::MAX });
        self.behind = if has_any { at + blocks * BLOCK } else { self.behind };
    }

    /// Forgets backslashes before `at`, about which there will be no more questions.
    pub(super) fn forget(&mut self, at: usize) {
        if self.behind <= at {
            self.first = usize::MAX;
        }
    }

    /// Whether there may be a backslash between two offsets.
    #[inline(always)]
    pub(super) fn between(&self, start: usize, end: usize) -> bool {
        end > self.first && start < self.behind
    }
}

/// Lists tokens or quotes of the blocks from `from` on, after those in `tokens`. Returns the numbers of blocks and of tokens.
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

/// Lists the tokens of the blocks from `from` on, after those in `tokens`, until there is no room for another block's, the body
/// ends, or a string has a fault. Returns the numbers of blocks and of tokens. The last block is padded with spaces.
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
    let (blocks, tail) = body.get(from..).unwrap_or_default().as_chunks::<BLOCK>();
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
        // The bits from each opening quote up to, but not including, its closing quote.
        let inside = (classify.parity)(quotes) ^ string;
        string = 0u64.wrapping_sub(inside >> 63);
        let Structure { space, operator } = (classify.structure)(bytes);
        let word = !(space | operator | quotes);
        let starts = word & !(word << 1 | scalar);
        scalar = word >> 63;
        let mut mask = ((operator | starts) & !inside) | quotes;
        // Check the content of strings. Most blocks have neither escapes nor control characters.
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

/// Skips blocks that are wholly inside a string or wholly outside, and need no closer check. Returns their number, and a value
/// that is not 0 if they have backslashes.
///
/// Because text has occasional escapes, the loop does not branch on whether a block has one.
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

/// Copies the end of a body into a block of spaces.
#[inline(always)]
pub(super) fn pad<'a>(tail: &[u8], block: &'a mut [u8; BLOCK]) -> &'a [u8; BLOCK] {
    if let Some(start) = block.get_mut(..tail.len()) {
        start.copy_from_slice(tail);
    }
    block
}

/// Writes the offset and the byte of each bit of a mask whose block is at `at`, and returns their number. It writes eight at a
/// time, because a branch after each would be unpredictable; later tokens overwrite the excess.
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

/// Like [`list`], but writes only the offsets.
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

/// The bytes that a backslash escapes, except backslashes. `escaped` says whether the first byte is escaped, and is set to
/// whether the byte after the block is.
///
/// Most backslashes are alone. In a run of them, every other one escapes. Adding the first bit of a run to the run carries into
/// the bit after it. The parities of the run's start and end tell whether its length is odd.
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

/// Each `u` that is followed by four hexadecimal digits in the block, which are not half of a surrogate pair.
#[inline(always)]
fn plain_unicode(Unicode { u, hex, high, d }: Unicode) -> u64 {
    u & (hex >> 1) & (hex >> 2) & (hex >> 3) & (hex >> 4) & !((d >> 1) & (high >> 2))
}

/// Checks the suspect bytes of the block at `at`: control characters, and bytes after backslashes that are not plain escapes.
/// If one is wrong, stores the fault and returns the bits of the bytes before it.
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
            // This is the second half of a surrogate pair, which is already checked.
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

/// For each bit, the parity of all bits up to and including it, computed by shifts.
#[inline(always)]
pub(super) fn parity(mut mask: u64) -> u64 {
    for distance in [1, 2, 4, 8, 16, 32] {
        mask ^= mask << distance;
    }
    mask
}
