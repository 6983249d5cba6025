//! Plain Rust. The other kernels are held against this one.

use std::cell::Cell;

use super::masks::{Carry, Classify, Strings, Structure, Unicode, fill as fill_with, parity};
use super::{BLOCK, Filled};

pub(super) fn fill(body: &[u8], from: usize, carry: &mut Carry, tokens: &mut [u32]) -> Filled {
    let any = Cell::new(0);
    let see = |block: &[u8; BLOCK]| any.set(block.iter().fold(any.get(), |any, byte| any | byte));
    let classify = Classify {
        quiet: |block: &[u8; BLOCK]| {
            see(block);
            quiet(block)
        },
        strings: |block: &[u8; BLOCK]| {
            see(block);
            strings(block)
        },
        structure,
        escapes,
        unicode,
        controls,
        parity,
    };
    let (blocks, tokens) = fill_with(body, from, carry, tokens, &classify);
    Filled { blocks, tokens, ascii: any.get() < 0x80 }
}

pub(super) fn quiet(block: &[u8; BLOCK]) -> bool {
    let stops = |byte: u8| u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte < 0x20);
    block.iter().fold(0, |any, &byte| any | stops(byte)) == 0
}

pub(super) fn strings(block: &[u8; BLOCK]) -> Strings {
    Strings {
        quote: mask(block, |byte| byte == b'"'),
        backslash: mask(block, |byte| byte == b'\\'),
        control: block.iter().fold(0, |any, &byte| any | u32::from(byte < 0x20)),
    }
}

pub(super) fn structure(block: &[u8; BLOCK]) -> Structure {
    Structure {
        space: mask(block, |byte| byte == b' ' || byte == b'\t' || byte == b'\n' || byte == b'\r'),
        // See `Structure::operator`.
        operator: mask(block, |byte| matches!(byte | 0x20, b',' | b':' | b'{' | b'}')),
    }
}

pub(super) fn escapes(block: &[u8; BLOCK]) -> u64 {
    mask(block, |byte| {
        byte == b'/' || byte == b'b' || byte == b'f' || byte == b'n' || byte == b'r' || byte == b't'
    })
}

pub(super) fn unicode(block: &[u8; BLOCK]) -> Unicode {
    Unicode {
        u: mask(block, |byte| byte == b'u'),
        hex: mask(block, |byte| byte.is_ascii_hexdigit()),
        high: mask(block, |byte| byte.is_ascii_hexdigit() && byte > b'7'),
        d: mask(block, |byte| byte | 0x20 == b'd'),
    }
}

pub(super) fn controls(block: &[u8; BLOCK]) -> u64 {
    mask(block, |byte| byte < 0x20)
}

#[inline]
fn mask(block: &[u8; BLOCK], is: impl Fn(u8) -> bool) -> u64 {
    // Eight bytes of 0 or 1 are gathered in the highest one by a multiplication.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let mut mask = 0;
    for (bytes, shift) in block.as_chunks::<8>().0.iter().zip((0..).step_by(8)) {
        let ones = u64::from_le_bytes(bytes.map(|byte| u8::from(is(byte))));
        mask |= (ones.wrapping_mul(GATHER) >> 56) << shift;
    }
    mask
}
