//! x86-64 as it always is.

use std::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
};

use super::BLOCK;
use super::masks::{Carry, Classes, Masks, fill as fill_with, parity};

#[target_feature(enable = "sse2")]
pub(super) fn fill(body: &[u8], from: usize, carry: &mut Carry, masks: &mut Masks) -> usize {
    fill_with(body, from, carry, masks, |block| classify(block), parity)
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn classify(block: &[u8; BLOCK]) -> Classes {
    let (quarters, _) = block.as_chunks::<16>();
    let mut classes = Classes { quote: 0, backslash: 0, control: 0, space: 0, operator: 0, escape: 0, wide: 0 };
    for (quarter, shift) in quarters.iter().zip((0..).step_by(16)) {
        // SAFETY: 16 bytes can be read there, and an unaligned load asks for no more.
        let bytes = unsafe { _mm_loadu_si128(quarter.as_ptr().cast()) };
        let is = |byte: u8| equal(bytes, splat(byte));
        let any = |a, b| _mm_or_si128(a, b);
        // The brackets differ from the braces in one bit.
        let braces = _mm_or_si128(bytes, splat(0x20));
        let braces = any(equal(braces, splat(b'{')), equal(braces, splat(b'}')));
        classes.quote |= mask(is(b'"')) << shift;
        classes.backslash |= mask(is(b'\\')) << shift;
        classes.control |= mask(equal(_mm_min_epu8(bytes, splat(0x1F)), bytes)) << shift;
        classes.space |= mask(any(any(is(b' '), is(b'\t')), any(is(b'\n'), is(b'\r')))) << shift;
        classes.operator |= mask(any(any(is(b','), is(b':')), braces)) << shift;
        classes.escape |=
            mask(any(any(any(is(b'/'), is(b'b')), any(is(b'f'), is(b'n'))), any(is(b'r'), is(b't')))) << shift;
        classes.wide |= mask(bytes) << shift;
    }
    classes
}

#[inline]
#[target_feature(enable = "sse2")]
fn splat(byte: u8) -> __m128i {
    _mm_set1_epi8(byte.cast_signed())
}

#[inline]
#[target_feature(enable = "sse2")]
fn equal(a: __m128i, b: __m128i) -> __m128i {
    _mm_cmpeq_epi8(a, b)
}

/// The highest bit of each byte.
#[inline]
#[target_feature(enable = "sse2")]
fn mask(bytes: __m128i) -> u64 {
    u64::from(_mm_movemask_epi8(bytes).cast_unsigned())
}
