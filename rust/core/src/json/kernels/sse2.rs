//! The kernel for any x86-64 processor.

use std::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    _mm_setzero_si128, _mm_sub_epi8,
};
use std::cell::Cell;

use super::masks::{
    Carry, Classify, Room, Strings, Structure, Unicode, fill as fill_with, list, pad, parity, positions,
};
use super::tokens::Tokens;
use super::{BLOCK, Filled, Look};

#[inline(never)] // Otherwise several kernels would be inlined into one function.
#[target_feature(enable = "sse2")]
pub(super) fn fill(
    look: Look,
    body: &[u8],
    from: usize,
    carry: &mut Carry,
    tokens: &mut Tokens<'_>,
) -> Filled {
    let any = Cell::new(_mm_setzero_si128());
    let see = |block: &[u8; BLOCK]| {
        let bytes = load(block);
        let [a, b, c, d] = bytes;
        any.set(or(any.get(), or(or(a, b), or(c, d))));
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
    Filled { blocks, tokens, ascii: _mm_movemask_epi8(any.get()) == 0 }
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn quiet(bytes: [__m128i; 4]) -> bool {
    let [a, b, c, d] = bytes.map(|bytes| or(or(is(bytes, b'"'), is(bytes, b'\\')), below(bytes)));
    _mm_movemask_epi8(or(or(a, b), or(c, d))) == 0
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn strings(bytes: [__m128i; 4]) -> Strings {
    let [a, b, c, d] = bytes;
    let least = _mm_min_epu8(_mm_min_epu8(a, b), _mm_min_epu8(c, d));
    Strings {
        quote: mask(bytes.map(|bytes| is(bytes, b'"'))),
        backslash: mask(bytes.map(|bytes| is(bytes, b'\\'))),
        control: u64::from(_mm_movemask_epi8(below(least)).cast_unsigned()),
    }
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn structure(bytes: [__m128i; 4]) -> Structure {
    Structure {
        space: mask(bytes.map(|b| or(or(is(b, b' '), is(b, b'\t')), or(is(b, b'\n'), is(b, b'\r'))))),
        operator: mask(bytes.map(|b| {
            // See `Structure::operator`.
            let b = or(b, _mm_set1_epi8(0x20));
            or(or(is(b, b','), is(b, b':')), or(is(b, b'{'), is(b, b'}')))
        })),
    }
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn escapes(bytes: [__m128i; 4]) -> u64 {
    mask(bytes.map(|b| {
        or(or(or(is(b, b'/'), is(b, b'b')), or(is(b, b'f'), is(b, b'n'))), or(is(b, b'r'), is(b, b't')))
    }))
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn unicode(bytes: [__m128i; 4]) -> Unicode {
    let lower = bytes.map(|b| or(b, _mm_set1_epi8(0x20)));
    let letters = mask(lower.map(|b| between(b, b'a', b'f')));
    Unicode {
        u: mask(bytes.map(|b| is(b, b'u'))),
        hex: letters | mask(bytes.map(|b| between(b, b'0', b'9'))),
        high: letters | mask(bytes.map(|b| between(b, b'8', b'9'))),
        d: mask(lower.map(|b| is(b, b'd'))),
    }
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn controls(bytes: [__m128i; 4]) -> u64 {
    mask(bytes.map(|bytes| below(bytes)))
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn load(block: &[u8; BLOCK]) -> [__m128i; 4] {
    let at = block.as_ptr();
    // SAFETY: each load reads 16 of the 64 bytes, and needs no alignment.
    unsafe { [0, 16, 32, 48].map(|offset| _mm_loadu_si128(at.add(offset).cast())) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn is(bytes: __m128i, byte: u8) -> __m128i {
    _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte.cast_signed()))
}

#[inline]
#[target_feature(enable = "sse2")]
fn between(bytes: __m128i, first: u8, last: u8) -> __m128i {
    let moved = _mm_sub_epi8(bytes, _mm_set1_epi8(first.cast_signed()));
    let most = _mm_set1_epi8((last - first).cast_signed());
    _mm_cmpeq_epi8(_mm_min_epu8(moved, most), moved)
}

/// Marks the control characters.
#[inline]
#[target_feature(enable = "sse2")]
fn below(bytes: __m128i) -> __m128i {
    _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes)
}

#[inline]
#[target_feature(enable = "sse2")]
fn or(a: __m128i, b: __m128i) -> __m128i {
    _mm_or_si128(a, b)
}

/// Gathers the highest bit of each byte.
#[inline]
#[target_feature(enable = "sse2")]
fn mask(bytes: [__m128i; 4]) -> u64 {
    let [a, b, c, d] = bytes.map(|bytes| u64::from(_mm_movemask_epi8(bytes).cast_unsigned()));
    a | b << 16 | c << 32 | d << 48
}
