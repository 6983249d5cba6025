//! The kernel for any aarch64 processor, with vectors of 16 bytes.

use std::arch::aarch64::{
    uint8x16_t, vandq_u8, vceqq_u8, vcltq_u8, vdupq_n_u8, vdupq_n_u64, vgetq_lane_u64, vld1q_u8, vmaxvq_u8,
    vminq_u8, vminvq_u8, vorrq_u8, vpaddq_u8, vqtbl1q_u8, vreinterpretq_u8_u64, vreinterpretq_u64_u8,
    vsubq_u8,
};
use std::cell::Cell;

use super::masks::{
    Carry, Classify, ESCAPE, OPERATOR, Room, SPACE, Strings, Structure, Unicode, fill as fill_with, list,
    pad, parity, positions,
};
use super::tokens::Tokens;
use super::{BLOCK, Filled, Look};

#[inline(never)] // Otherwise several kernels would be inlined into one function.
#[target_feature(enable = "neon")]
pub(super) fn fill(
    look: Look,
    body: &[u8],
    from: usize,
    carry: &mut Carry,
    tokens: &mut Tokens<'_>,
) -> Filled {
    let any = Cell::new(vdupq_n_u8(0));
    let see = |block: &[u8; BLOCK]| {
        let bytes = load(block);
        let [a, b, c, d] = bytes;
        any.set(vorrq_u8(any.get(), vorrq_u8(vorrq_u8(a, b), vorrq_u8(c, d))));
        bytes
    };
    let classify = Classify {
        load: |block: &[u8; BLOCK]| see(block),
        load_tail: |tail: &[u8], block: &mut [u8; BLOCK]| see(pad(tail, block)),
        quiet: |bytes| quiet(bytes),
        strings: |bytes| strings(bytes),
        structure: |bytes| structure(bytes),
        escapes: |bytes| escapes(bytes),
        unicode: |bytes| unicode(bytes),
        controls: |bytes| controls(bytes),
        parity,
        list: |block: &[u8; BLOCK], _, mask, at, room: &mut Room<'_>| list(block, mask, at, room),
        positions,
    };
    let (blocks, tokens) = fill_with(look, body, from, carry, tokens, &classify);
    Filled { blocks, tokens, ascii: vmaxvq_u8(any.get()) < 0x80 }
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn quiet(bytes: [uint8x16_t; 4]) -> bool {
    let [a, b, c, d] = bytes.map(|bytes| vorrq_u8(is(bytes, b'"'), is(bytes, b'\\')));
    vmaxvq_u8(vorrq_u8(vorrq_u8(a, b), vorrq_u8(c, d))) == 0 && least(bytes) >= 0x20
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn strings(bytes: [uint8x16_t; 4]) -> Strings {
    Strings {
        quote: mask(bytes.map(|bytes| is(bytes, b'"'))),
        backslash: mask(bytes.map(|bytes| is(bytes, b'\\'))),
        control: u64::from(least(bytes) < 0x20),
    }
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn structure(bytes: [uint8x16_t; 4]) -> Structure {
    let (space, operator) = (table(&SPACE), table(&OPERATOR));
    Structure {
        space: mask(bytes.map(|bytes| vceqq_u8(find(space, bytes), bytes))),
        operator: mask(bytes.map(|bytes| {
            // See `Structure::operator`.
            vceqq_u8(find(operator, bytes), vorrq_u8(bytes, vdupq_n_u8(0x20)))
        })),
    }
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn escapes(bytes: [uint8x16_t; 4]) -> u64 {
    let escape = table(&ESCAPE);
    mask(bytes.map(|bytes| vorrq_u8(vceqq_u8(find(escape, bytes), bytes), is(bytes, b'r'))))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn unicode(bytes: [uint8x16_t; 4]) -> Unicode {
    let lower = bytes.map(|bytes| vorrq_u8(bytes, vdupq_n_u8(0x20)));
    let letters = mask(lower.map(|bytes| between(bytes, b'a', b'f')));
    Unicode {
        u: mask(bytes.map(|bytes| is(bytes, b'u'))),
        hex: letters | mask(bytes.map(|bytes| between(bytes, b'0', b'9'))),
        high: letters | mask(bytes.map(|bytes| between(bytes, b'8', b'9'))),
        d: mask(lower.map(|bytes| is(bytes, b'd'))),
    }
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn controls(bytes: [uint8x16_t; 4]) -> u64 {
    mask(bytes.map(|bytes| vcltq_u8(bytes, vdupq_n_u8(0x20))))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load(block: &[u8; BLOCK]) -> [uint8x16_t; 4] {
    let at = block.as_ptr();
    // SAFETY: each load reads 16 of the 64 bytes, and needs no alignment.
    unsafe { [0, 16, 32, 48].map(|offset| vld1q_u8(at.add(offset))) }
}

#[inline]
#[target_feature(enable = "neon")]
fn table(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the load reads the 16 bytes.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

/// Looks up the low four bits of each byte.
#[inline]
#[target_feature(enable = "neon")]
fn find(table: uint8x16_t, bytes: uint8x16_t) -> uint8x16_t {
    vqtbl1q_u8(table, vandq_u8(bytes, vdupq_n_u8(0x0F)))
}

#[inline]
#[target_feature(enable = "neon")]
fn is(bytes: uint8x16_t, byte: u8) -> uint8x16_t {
    vceqq_u8(bytes, vdupq_n_u8(byte))
}

#[inline]
#[target_feature(enable = "neon")]
fn between(bytes: uint8x16_t, first: u8, last: u8) -> uint8x16_t {
    vcltq_u8(vsubq_u8(bytes, vdupq_n_u8(first)), vdupq_n_u8(last - first + 1))
}

#[inline]
#[target_feature(enable = "neon")]
fn least(bytes: [uint8x16_t; 4]) -> u8 {
    let [a, b, c, d] = bytes;
    vminvq_u8(vminq_u8(vminq_u8(a, b), vminq_u8(c, d)))
}

/// Gathers a bit for each byte. Each byte must be all ones or 0.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn mask(bytes: [uint8x16_t; 4]) -> u64 {
    // Each byte keeps the bit of its position among eight; three pairwise additions gather these bits.
    let bits = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
    let [a, b, c, d] = bytes.map(|bytes| vandq_u8(bytes, bits));
    let quarters = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
    vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(quarters, quarters)))
}
