//! The kernel for x86-64 with AVX-512 for bytes (F, BW, VL, VBMI, VBMI2), as in Ice Lake, Zen 4 and later processors.
//!
//! A block is one vector, comparisons return masks, and compression lists tokens.

use std::arch::x86_64::{
    __m128i, __m512i, _mm_storeu_si128, _mm512_add_epi32, _mm512_castsi512_si128, _mm512_cmpeq_epi8_mask,
    _mm512_cmplt_epu8_mask, _mm512_cvtepu8_epi32, _mm512_extracti32x4_epi32, _mm512_loadu_si512,
    _mm512_mask_loadu_epi8, _mm512_maskz_compress_epi8, _mm512_movepi8_mask, _mm512_or_si512,
    _mm512_permutexvar_epi8, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512,
};
use std::cell::Cell;

use super::avx2::parity;
use super::masks::{Carry, Classify, ROOM, Room, Strings, Structure, Unicode, fill as fill_with};
use super::tokens::Tokens;
use super::{BLOCK, Filled, Look};

pub(super) fn detected() -> bool {
    super::avx2::detected()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vbmi2")
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,avx2,bmi1,bmi2,popcnt,pclmulqdq")]
pub(super) fn fill(
    look: Look,
    body: &[u8],
    from: usize,
    carry: &mut Carry,
    tokens: &mut Tokens<'_>,
) -> Filled {
    let any = Cell::new(_mm512_setzero_si512());
    let see = |bytes| {
        any.set(_mm512_or_si512(any.get(), bytes));
        bytes
    };
    let classify = Classify {
        load: |block: &[u8; BLOCK]| see(load(block)),
        load_tail: |tail: &[u8], _: &mut [u8; BLOCK]| see(load_tail(tail)),
        quiet: |bytes| quiet(bytes),
        strings: |bytes| strings(bytes),
        structure: |bytes| structure(bytes),
        escapes: |bytes| escapes(bytes),
        unicode: |bytes| unicode(bytes),
        controls: |bytes| controls(bytes),
        parity: |mask| parity(mask),
        list: |_: &[u8; BLOCK], bytes, mask, at, room: &mut Room<'_>| list(bytes, mask, at, room),
        positions: |mask, at, offsets: &mut [u32; ROOM]| positions(mask, at, offsets),
    };
    let (blocks, tokens) = fill_with(look, body, from, carry, tokens, &classify);
    Filled { blocks, tokens, ascii: _mm512_movepi8_mask(any.get()) == 0 }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(block: &[u8; BLOCK]) -> __m512i {
    // SAFETY: the load reads the 64 bytes, and needs no alignment.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

/// Loads fewer bytes than a block, padded with spaces.
#[inline]
#[target_feature(enable = "avx512bw,bmi2")]
fn load_tail(tail: &[u8]) -> __m512i {
    let in_tail = !(u64::MAX << (tail.len() % BLOCK));
    // SAFETY: the load reads only the bytes in the mask. Masked-off bytes cannot fault.
    unsafe { _mm512_mask_loadu_epi8(_mm512_set1_epi8(0x20), in_tail, tail.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512bw")]
pub(super) fn quiet(bytes: __m512i) -> bool {
    is(bytes, b'"') | is(bytes, b'\\') | controls(bytes) == 0
}

#[inline]
#[target_feature(enable = "avx512bw")]
pub(super) fn strings(bytes: __m512i) -> Strings {
    Strings { quote: is(bytes, b'"'), backslash: is(bytes, b'\\'), control: controls(bytes) }
}

// A permutation looks up the low six bits of each byte. The byte belongs to a class if the table has that byte at its index.
// No two bytes of a class share their low six bits, and index 0 does not contain 0.
const SPACE: [u8; 64] = table(b" \t\n\r");
/// For bytes with the bit 0x20 set; see `Structure::operator`.
const OPERATOR: [u8; 64] = table(b":,{}");
const ESCAPE: [u8; 64] = table(b"bfnrt/");
const HEX: [u8; 64] = table(b"0123456789ABCDEFabcdef");
const HIGH: [u8; 64] = table(b"89ABCDEFabcdef");

#[inline]
#[target_feature(enable = "avx512vbmi,avx512bw")]
pub(super) fn structure(bytes: __m512i) -> Structure {
    let lower = _mm512_or_si512(bytes, _mm512_set1_epi8(0x20));
    let operators = _mm512_permutexvar_epi8(lower, load(&OPERATOR));
    Structure { space: is_in(bytes, &SPACE), operator: _mm512_cmpeq_epi8_mask(operators, lower) }
}

#[inline]
#[target_feature(enable = "avx512vbmi,avx512bw")]
pub(super) fn escapes(bytes: __m512i) -> u64 {
    is_in(bytes, &ESCAPE)
}

#[inline]
#[target_feature(enable = "avx512vbmi,avx512bw")]
pub(super) fn unicode(bytes: __m512i) -> Unicode {
    let lower = _mm512_or_si512(bytes, _mm512_set1_epi8(0x20));
    Unicode { u: is(bytes, b'u'), hex: is_in(bytes, &HEX), high: is_in(bytes, &HIGH), d: is(lower, b'd') }
}

#[inline]
#[target_feature(enable = "avx512bw")]
pub(super) fn controls(bytes: __m512i) -> u64 {
    _mm512_cmplt_epu8_mask(bytes, _mm512_set1_epi8(0x20))
}

/// The numbers from 0 to 63.
const INDICES: [u8; BLOCK] = {
    let mut indices = [0; BLOCK];
    let mut index = 0u8;
    let mut unset: &mut [u8] = &mut indices;
    while let Some((first, others)) = unset.split_first_mut() {
        *first = index;
        index += 1;
        unset = others;
    }
    indices
};

/// Lists the bits of a mask. Later tokens overwrite the excess.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
pub(super) fn list(bytes: __m512i, mask: u64, at: u32, room: &mut Room<'_>) -> usize {
    let count = mask.count_ones() as usize;
    let kinds = _mm512_maskz_compress_epi8(mask, bytes);
    let indices = _mm512_maskz_compress_epi8(mask, load(&INDICES));
    store(indices, count, at, room.offsets);
    // Most blocks have few tokens, and a store across cache lines is slow, so store no more than needed.
    if count <= 16 {
        if let Some(to) = room.kinds.first_chunk_mut::<16>() {
            // SAFETY: the store writes 16 bytes, for which there is room, and needs no alignment.
            unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_castsi512_si128(kinds)) };
        }
    } else if let Some(to) = room.kinds.first_chunk_mut::<BLOCK>() {
        // SAFETY: the store writes 64 bytes, for which there is room, and needs no alignment.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), kinds) };
    }
    count
}

/// Like [`list`], but writes only the offsets.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
fn positions(mask: u64, at: u32, offsets: &mut [u32; ROOM]) -> usize {
    let count = mask.count_ones() as usize;
    store(_mm512_maskz_compress_epi8(mask, load(&INDICES)), count, at, offsets);
    count
}

/// Stores `count` indices in the block at `at` as offsets, sixteen at a time.
#[inline]
#[target_feature(enable = "avx512f")]
fn store(indices: __m512i, count: usize, at: u32, offsets: &mut [u32; ROOM]) {
    let (chunks, _) = offsets.as_chunks_mut::<16>();
    let [a, b, c, d, ..] = chunks else { return };
    widen(_mm512_castsi512_si128(indices), at, a);
    if count > 16 {
        widen(_mm512_extracti32x4_epi32::<1>(indices), at, b);
        if count > 32 {
            widen(_mm512_extracti32x4_epi32::<2>(indices), at, c);
            widen(_mm512_extracti32x4_epi32::<3>(indices), at, d);
        }
    }
}

/// Stores sixteen indices in the block at `at` as offsets.
#[inline]
#[target_feature(enable = "avx512f")]
fn widen(indices: __m128i, at: u32, to: &mut [u32; 16]) {
    let offsets = _mm512_add_epi32(_mm512_cvtepu8_epi32(indices), _mm512_set1_epi32(at.cast_signed()));
    // SAFETY: the store writes 64 bytes, for which there is room, and needs no alignment.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), offsets) };
}

/// A table with each byte of a class at the index of its low six bits. Other entries never equal a byte that looks them up.
const fn table(mut class: &[u8]) -> [u8; 64] {
    let mut table = [0; 64];
    // Only bytes whose low six bits are 0 look this up, and 1 is not one of them.
    if let Some(first) = table.first_mut() {
        *first = 1;
    }
    while let Some((&byte, others)) = class.split_first() {
        if let Some((_, from)) = table.split_at_mut_checked((byte & 63) as usize)
            && let Some(entry) = from.first_mut()
        {
            *entry = byte;
        }
        class = others;
    }
    table
}

#[inline]
#[target_feature(enable = "avx512vbmi,avx512bw")]
fn is_in(bytes: __m512i, table: &[u8; 64]) -> u64 {
    _mm512_cmpeq_epi8_mask(_mm512_permutexvar_epi8(bytes, load(table)), bytes)
}

#[inline]
#[target_feature(enable = "avx512bw")]
fn is(bytes: __m512i, byte: u8) -> u64 {
    _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte.cast_signed()))
}
