//! The kernel for x86-64 with AVX2, carry-less multiplication, and the bit manipulation instructions that come with them.

use std::arch::x86_64::{
    __m256i, _mm_clmulepi64_si128, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8,
    _mm_shuffle_epi8, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8,
    _mm256_or_si256, _mm256_set1_epi8, _mm256_setr_epi64x, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_sub_epi8,
};
use std::cell::Cell;

use super::masks::{
    Carry, Classify, ESCAPE, OPERATOR, Room, SPACE, Strings, Structure, Unicode, fill as fill_with, pad,
    positions,
};
use super::tokens::Tokens;
use super::{BLOCK, Filled, Look};

pub(super) fn detected() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("pclmulqdq")
}

#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,pclmulqdq")]
pub(super) fn fill(
    look: Look,
    body: &[u8],
    from: usize,
    carry: &mut Carry,
    tokens: &mut Tokens<'_>,
) -> Filled {
    let any = Cell::new(_mm256_setzero_si256());
    let see = |block: &[u8; BLOCK]| {
        let bytes = load(block);
        let [low, high] = bytes;
        any.set(or(any.get(), or(low, high)));
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
        parity: |mask| parity(mask),
        list: |block: &[u8; BLOCK], _, mask, at, room: &mut Room<'_>| list(block, mask, at, room),
        positions,
    };
    let (blocks, tokens) = fill_with(look, body, from, carry, tokens, &classify);
    Filled { blocks, tokens, ascii: _mm256_movemask_epi8(any.get()) == 0 }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn quiet(bytes: [__m256i; 2]) -> bool {
    let [first, second] = bytes;
    let [low, high] = bytes.map(|bytes| or(is(bytes, b'"'), is(bytes, b'\\')));
    _mm256_movemask_epi8(or(or(low, high), below(_mm256_min_epu8(first, second)))) == 0
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn strings(bytes: [__m256i; 2]) -> Strings {
    let [low, high] = bytes;
    Strings {
        quote: mask(bytes.map(|bytes| is(bytes, b'"'))),
        backslash: mask(bytes.map(|bytes| is(bytes, b'\\'))),
        control: u64::from(_mm256_movemask_epi8(below(_mm256_min_epu8(low, high))).cast_unsigned()),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn structure(bytes: [__m256i; 2]) -> Structure {
    Structure {
        // A shuffle returns 0 for a byte above 0x7F.
        space: mask(bytes.map(|bytes| equal(_mm256_shuffle_epi8(table(SPACE), bytes), bytes))),
        operator: mask(bytes.map(|bytes| {
            // See `Structure::operator`.
            equal(_mm256_shuffle_epi8(table(OPERATOR), bytes), or(bytes, _mm256_set1_epi8(0x20)))
        })),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn escapes(bytes: [__m256i; 2]) -> u64 {
    let found = |bytes| equal(_mm256_shuffle_epi8(table(ESCAPE), bytes), bytes);
    mask(bytes.map(|bytes| or(found(bytes), is(bytes, b'r'))))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn unicode(bytes: [__m256i; 2]) -> Unicode {
    let lower = bytes.map(|b| or(b, _mm256_set1_epi8(0x20)));
    let letters = mask(lower.map(|b| between(b, b'a', b'f')));
    Unicode {
        u: mask(bytes.map(|b| is(b, b'u'))),
        hex: letters | mask(bytes.map(|b| between(b, b'0', b'9'))),
        high: letters | mask(bytes.map(|b| between(b, b'8', b'9'))),
        d: mask(lower.map(|b| is(b, b'd'))),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn controls(bytes: [__m256i; 2]) -> u64 {
    mask(bytes.map(|bytes| below(bytes)))
}

/// For each bit, the parity of all bits up to and including it, computed by a carry-less multiplication by all ones.
#[inline]
#[target_feature(enable = "pclmulqdq")]
pub(super) fn parity(mask: u64) -> u64 {
    let product = _mm_clmulepi64_si128::<0>(_mm_set_epi64x(0, mask.cast_signed()), _mm_set1_epi8(-1));
    _mm_cvtsi128_si64(product).cast_unsigned()
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load(block: &[u8; BLOCK]) -> [__m256i; 2] {
    let at = block.as_ptr();
    // SAFETY: each load reads 32 of the 64 bytes, and needs no alignment.
    unsafe { [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(32).cast())] }
}

/// For each byte, the positions of its set bits; unused entries are 0.
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

/// Lists the bits of a mask without a branch for each, which would be unpredictable. Later tokens overwrite the excess.
#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn list(block: &[u8; BLOCK], mask: u64, at: u32, room: &mut Room<'_>) -> usize {
    let mut count = 0;
    let eights = block.as_chunks::<8>().0;
    for ((byte, base), bytes) in mask.to_le_bytes().into_iter().zip((at..).step_by(8)).zip(eights) {
        // There are at most 56 tokens before the last byte; the compiler cannot know that.
        let from = count % BLOCK;
        if let Some(offsets) = room.offsets.get_mut(from..from + 8).and_then(<[u32]>::first_chunk_mut::<8>)
            && let Some(kinds) = room.kinds.get_mut(from..from + 8).and_then(<[u8]>::first_chunk_mut::<8>)
            && let Some(bits) = BITS.get(byte as usize)
        {
            for (offset, &bit) in offsets.iter_mut().zip(bits) {
                *offset = base + u32::from(bit);
            }
            let [bytes, bits] = [bytes, bits].map(|eight| _mm_cvtsi64_si128(i64::from_le_bytes(*eight)));
            *kinds = _mm_cvtsi128_si64(_mm_shuffle_epi8(bytes, bits)).to_le_bytes();
        }
        count += byte.count_ones() as usize;
    }
    count
}

/// Repeats sixteen bytes in both halves of a vector.
#[inline]
#[target_feature(enable = "avx2")]
#[expect(clippy::cast_possible_truncation)] // The number is split into halves.
fn table(bytes: [u8; 16]) -> __m256i {
    let bytes = u128::from_le_bytes(bytes).cast_signed();
    let (low, high) = (bytes as i64, (bytes >> 64) as i64);
    _mm256_setr_epi64x(low, high, low, high)
}

#[inline]
#[target_feature(enable = "avx2")]
fn is(bytes: __m256i, byte: u8) -> __m256i {
    equal(bytes, _mm256_set1_epi8(byte.cast_signed()))
}

#[inline]
#[target_feature(enable = "avx2")]
fn between(bytes: __m256i, first: u8, last: u8) -> __m256i {
    let moved = _mm256_sub_epi8(bytes, _mm256_set1_epi8(first.cast_signed()));
    let most = _mm256_set1_epi8((last - first).cast_signed());
    equal(_mm256_min_epu8(moved, most), moved)
}

/// Marks the control characters.
#[inline]
#[target_feature(enable = "avx2")]
fn below(bytes: __m256i) -> __m256i {
    equal(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1F)), bytes)
}

#[inline]
#[target_feature(enable = "avx2")]
fn equal(a: __m256i, b: __m256i) -> __m256i {
    _mm256_cmpeq_epi8(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn or(a: __m256i, b: __m256i) -> __m256i {
    _mm256_or_si256(a, b)
}

/// Gathers the highest bit of each byte.
#[inline]
#[target_feature(enable = "avx2")]
fn mask(bytes: [__m256i; 2]) -> u64 {
    let [low, high] = bytes.map(|bytes| u64::from(_mm256_movemask_epi8(bytes).cast_unsigned()));
    low | high << 32
}
