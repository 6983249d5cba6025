//! x86-64 with AVX2, carry-less multiplication and the bit manipulation instructions that come with them.

use std::arch::x86_64::{
    __m256i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8, _mm256_cmpeq_epi8,
    _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    _mm256_setr_epi8, _mm256_shuffle_epi8,
};

use super::BLOCK;
use super::masks::{Carry, Classes, Masks, fill as fill_with};

pub(super) fn detected() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("pclmulqdq")
}

#[target_feature(enable = "avx2,bmi1,bmi2,pclmulqdq")]
pub(super) fn fill(body: &[u8], from: usize, carry: &mut Carry, masks: &mut Masks) -> usize {
    fill_with(body, from, carry, masks, |block| classify(block), |mask| parity(mask))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn classify(block: &[u8; BLOCK]) -> Classes {
    // A shuffle looks the low four bits of each byte up, or gives 0 for a byte above 0x7F. The byte belongs
    // to a class if what it finds is the byte: no two of a class share their low four bits.
    const SPACE: [u8; 16] = [b' ', 0, 0, 0, 0, 0, 0, 0, 0, b'\t', b'\n', 0, 0, b'\r', 0, 0];
    // The brackets differ from the braces in one bit. So do 0x0C and 0x1A from the comma and the colon.
    const OPERATOR: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b':', b'{', b',', b'}', 0, 0];
    // And the `r`, which shares them with the `b`.
    const ESCAPE: [u8; 16] = [0, 0, b'b', 0, b't', 0, b'f', 0, 0, 0, 0, 0, 0, 0, b'n', b'/'];
    let space = table(SPACE);
    let operator = table(OPERATOR);
    let escape = table(ESCAPE);
    let half = |bytes: &[u8; 32]| {
        // SAFETY: 32 bytes can be read there, and an unaligned load asks for no more.
        let bytes = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
        let found = |table, bytes| _mm256_cmpeq_epi8(_mm256_shuffle_epi8(table, bytes), bytes);
        let is = |byte: u8| _mm256_cmpeq_epi8(bytes, splat(byte));
        [
            mask(is(b'"')),
            mask(is(b'\\')),
            mask(_mm256_cmpeq_epi8(_mm256_min_epu8(bytes, splat(0x1F)), bytes)),
            mask(found(space, bytes)),
            mask(_mm256_cmpeq_epi8(
                _mm256_shuffle_epi8(operator, bytes),
                _mm256_or_si256(bytes, splat(0x20)),
            )),
            mask(_mm256_or_si256(found(escape, bytes), is(b'r'))),
            mask(bytes),
        ]
    };
    let ([low, high], _) = block.as_chunks::<32>() else {
        return Classes { quote: 0, backslash: 0, control: 0, space: 0, operator: 0, escape: 0, wide: 0 };
    };
    let (low, high) = (half(low), half(high));
    let [quote, backslash, control, space, operator, escape, wide] =
        std::array::from_fn(|class| match (low.get(class), high.get(class)) {
            (Some(low), Some(high)) => u64::from(*low) | u64::from(*high) << 32,
            _ => 0,
        });
    Classes { quote, backslash, control, space, operator, escape, wide }
}

/// Multiplying by all ones without carries adds, for each bit, those up to it.
#[inline]
#[target_feature(enable = "pclmulqdq")]
pub(super) fn parity(mask: u64) -> u64 {
    let product = _mm_clmulepi64_si128::<0>(_mm_set_epi64x(0, mask.cast_signed()), _mm_set1_epi8(-1));
    _mm_cvtsi128_si64(product).cast_unsigned()
}

/// Sixteen bytes, twice.
#[inline]
#[target_feature(enable = "avx2")]
fn table(t: [u8; 16]) -> __m256i {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = t.map(u8::cast_signed);
    _mm256_setr_epi8(
        a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p,
    )
}

#[inline]
#[target_feature(enable = "avx2")]
fn splat(byte: u8) -> __m256i {
    _mm256_set1_epi8(byte.cast_signed())
}

/// The highest bit of each byte.
#[inline]
#[target_feature(enable = "avx2")]
fn mask(bytes: __m256i) -> u32 {
    _mm256_movemask_epi8(bytes).cast_unsigned()
}
