//! The kernel in plain Rust. The other kernels are tested against it.

use std::cell::Cell;

use super::masks::{
    Carry, Classify, Room, Strings, Structure, Unicode, fill as fill_with, list, pad, parity, positions,
};
use super::tokens::Tokens;
use super::{BLOCK, Filled, Look};

#[inline(never)] // Otherwise several kernels would be inlined into one function.
pub(super) fn fill(
    look: Look,
    body: &[u8],
    from: usize,
    carry: &mut Carry,
    tokens: &mut Tokens<'_>,
) -> Filled {
    let any = Cell::new(0);
    let see = |block: &[u8; BLOCK]| {
        any.set(block.iter().fold(any.get(), |any, byte| any | byte));
        *block
    };
    let classify = Classify {
        load: |block: &[u8; BLOCK]| see(block),
        load_tail: |tail: &[u8], block: &mut [u8; BLOCK]| see(pad(tail, block)),
        quiet,
        strings,
        structure,
        escapes,
        unicode,
        controls,
        parity,
        list: |block: &[u8; BLOCK], _, mask, at, room: &mut Room<'_>| list(block, mask, at, room),
        positions,
    };
    let (blocks, tokens) = fill_with(look, body, from, carry, tokens, &classify);
    Filled { blocks, tokens, ascii: any.get() < 0x80 }
}

#[cfg(test)]
pub(super) fn load(block: &[u8; BLOCK]) -> [u8; BLOCK] {
    *block
}

pub(super) fn quiet(block: [u8; BLOCK]) -> bool {
    block.iter().fold(0, |any, &byte| any | is(byte, b'"') | is(byte, b'\\') | below(byte, 0x20)) == 0
}

pub(super) fn strings(block: [u8; BLOCK]) -> Strings {
    Strings {
        quote: mask(&block, |byte| is(byte, b'"')),
        backslash: mask(&block, |byte| is(byte, b'\\')),
        control: u64::from(block.iter().fold(0, |any, &byte| any | below(byte, 0x20))),
    }
}

pub(super) fn structure(block: [u8; BLOCK]) -> Structure {
    Structure {
        space: mask(&block, |byte| is(byte, b' ') | is(byte, b'\t') | is(byte, b'\n') | is(byte, b'\r')),
        operator: mask(&block, |byte| {
            // See `Structure::operator`.
            let byte = byte | 0x20;
            is(byte, b',') | is(byte, b':') | is(byte, b'{') | is(byte, b'}')
        }),
    }
}

pub(super) fn escapes(block: [u8; BLOCK]) -> u64 {
    mask(&block, |byte| {
        let letters = is(byte, b'b') | is(byte, b'f') | is(byte, b'n') | is(byte, b'r') | is(byte, b't');
        is(byte, b'/') | letters
    })
}

pub(super) fn unicode(block: [u8; BLOCK]) -> Unicode {
    let letter = |byte: u8| below((byte | 0x20).wrapping_sub(b'a'), 6);
    Unicode {
        u: mask(&block, |byte| is(byte, b'u')),
        hex: mask(&block, |byte| below(byte.wrapping_sub(b'0'), 10) | letter(byte)),
        high: mask(&block, |byte| below(byte.wrapping_sub(b'8'), 2) | letter(byte)),
        d: mask(&block, |byte| is(byte | 0x20, b'd')),
    }
}

pub(super) fn controls(block: [u8; BLOCK]) -> u64 {
    mask(&block, |byte| below(byte, 0x20))
}

// These functions use numbers instead of booleans, and no branches, so that compilers vectorise the loops over them.

fn is(byte: u8, this: u8) -> u8 {
    u8::from(byte == this)
}

fn below(byte: u8, limit: u8) -> u8 {
    u8::from(byte < limit)
}

/// The mask of the bytes for which `is` returns 1.
#[inline]
fn mask(block: &[u8; BLOCK], is: impl Fn(u8) -> u8) -> u64 {
    // A multiplication gathers eight bytes of 0 or 1 in the highest byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let mut ones = [0; BLOCK];
    for (one, &byte) in ones.iter_mut().zip(block) {
        *one = is(byte);
    }
    let mut mask = 0;
    for (bytes, shift) in ones.as_chunks::<8>().0.iter().zip((0..).step_by(8)) {
        mask |= (u64::from_le_bytes(*bytes).wrapping_mul(GATHER) >> 56) << shift;
    }
    mask
}
