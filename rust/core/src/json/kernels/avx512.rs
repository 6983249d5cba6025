//! x86-64 with AVX-512 for bytes (F, BW, VL, VBMI, VBMI2), as processors have it since Ice Lake and Zen 4.
//!
//! A block is one vector, comparisons give masks, and tokens are listed by compressing.

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
    // SAFETY: 64 bytes can be read there, and an unaligned load asks for no more.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

/// Some bytes, fewer than a block, and spaces behind them.
#[inline]
#[target_feature(enable = "avx512bw,bmi2")]
fn load_tail(tail: &[u8]) -> __m512i {
    let some = !(u64::MAX << (tail.len() % BLOCK));
    // SAFETY: no more bytes are read than there are, and none faults behind them.
    unsafe { _mm512_mask_loadu_epi8(_mm512_set1_epi8(0x20), some, tail.as_ptr().cast()) }
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

// A permutation looks the low six bits of each byte up. The byte belongs to a class if what it finds is the
// byte: no two of a class share their low six bits. For 0 it must not find 0.
const SPACE: [u8; 64] = table(b" \t\n\r");
/// See `Structure::operator`: with the bit 0x20 set.
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

/// Each byte is its own index.
const INDICES: [u8; BLOCK] = {
    let mut indices = [0; BLOCK];
    let mut index = 0u8;
    let mut rest: &mut [u8] = &mut indices;
    while let Some((first, others)) = rest.split_first_mut() {
        *first = index;
        index += 1;
        rest = others;
    }
    indices
};

/// Lists the bytes of a mask: what is stored too much is overwritten.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
pub(super) fn list(bytes: __m512i, mask: u64, at: u32, room: &mut Room<'_>) -> usize {
    let count = mask.count_ones() as usize;
    let kinds = _mm512_maskz_compress_epi8(mask, bytes);
    let indices = _mm512_maskz_compress_epi8(mask, load(&INDICES));
    store(indices, count, at, room.offsets);
    // Most blocks have few: what is stored across lines of the cache takes time, whether it is needed or not.
    if count <= 16 {
        if let Some(to) = room.kinds.first_chunk_mut::<16>() {
            // SAFETY: 16 bytes can be written there, and an unaligned store asks for no more.
            unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_castsi512_si128(kinds)) };
        }
    } else if let Some(to) = room.kinds.first_chunk_mut::<BLOCK>() {
        // SAFETY: 64 bytes can be written there, and an unaligned store asks for no more.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), kinds) };
    }
    count
}

/// Lists the indices of a mask, as [`list`] does.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
fn positions(mask: u64, at: u32, offsets: &mut [u32; ROOM]) -> usize {
    let count = mask.count_ones() as usize;
    store(_mm512_maskz_compress_epi8(mask, load(&INDICES)), count, at, offsets);
    count
}

/// Stores so many indices in the block at `at` as offsets, sixteen at a time.
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
    // SAFETY: 64 bytes can be written there, and an unaligned store asks for no more.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), offsets) };
}

/// Each byte of a class at its low six bits, and elsewhere a byte that has other ones.
const fn table(mut class: &[u8]) -> [u8; 64] {
    let mut table = [0; 64];
    // What finds this has the low six bits 0.
    if let Some(first) = table.first_mut() {
        *first = 1;
    }
    while let Some((&byte, rest)) = class.split_first() {
        if let Some((_, from)) = table.split_at_mut_checked((byte & 63) as usize)
            && let Some(entry) = from.first_mut()
        {
            *entry = byte;
        }
        class = rest;
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
