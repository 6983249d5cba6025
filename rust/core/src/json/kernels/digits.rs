//! Finds bytes that are not digits. This kernel is not chosen at run time, because its calls are too short to be worth it.

/// Number of bytes examined.
pub(in crate::json) const SPAN: usize = 32;

/// A mask of the bytes that are not decimal digits. The first byte is the lowest bit.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(in crate::json) fn others(bytes: &[u8; SPAN]) -> u32 {
    // SAFETY: every x86-64 processor has SSE2.
    unsafe { sse2(bytes) }
}

/// A mask of the bytes that are not decimal digits. The first byte is the lowest bit.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(in crate::json) fn others(bytes: &[u8; SPAN]) -> u32 {
    // SAFETY: every aarch64 processor with a standard library has NEON.
    unsafe { neon(bytes) }
}

/// A mask of the bytes that are not decimal digits. The first byte is the lowest bit.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline(always)]
pub(in crate::json) fn others(bytes: &[u8; SPAN]) -> u32 {
    portable(bytes)
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn sse2(bytes: &[u8; SPAN]) -> u32 {
    use std::arch::x86_64::{
        _mm_add_epi8, _mm_cmpgt_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8,
    };
    let at = bytes.as_ptr();
    // SAFETY: each load reads 16 of the 32 bytes, and needs no alignment.
    let halves = unsafe { [_mm_loadu_si128(at.cast()), _mm_loadu_si128(at.add(16).cast())] };
    let [low, high] = halves.map(|bytes| {
        // Map the digits to the ten lowest signed numbers.
        let moved = _mm_add_epi8(bytes, _mm_set1_epi8(i8::MIN.wrapping_sub_unsigned(b'0')));
        let others = _mm_cmpgt_epi8(moved, _mm_set1_epi8(i8::MIN + 9));
        _mm_movemask_epi8(others).cast_unsigned()
    });
    low | high << 16
}

#[cfg(target_arch = "aarch64")]
#[inline]
#[target_feature(enable = "neon")]
#[expect(clippy::cast_possible_truncation)] // The upper half is 0.
fn neon(bytes: &[u8; SPAN]) -> u32 {
    use std::arch::aarch64::{vcgtq_u8, vdupq_n_u8, vld1q_u8, vsubq_u8};
    let at = bytes.as_ptr();
    // SAFETY: each load reads 16 of the 32 bytes, and needs no alignment.
    let halves = unsafe { [vld1q_u8(at), vld1q_u8(at.add(16))] };
    let [low, high] = halves.map(|bytes| vcgtq_u8(vsubq_u8(bytes, vdupq_n_u8(b'0')), vdupq_n_u8(9)));
    let none = vdupq_n_u8(0);
    super::neon::mask([low, high, none, none]) as u32
}

#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn portable(bytes: &[u8; SPAN]) -> u32 {
    let bits = bytes.iter().rev().map(|byte| u32::from(!byte.is_ascii_digit()));
    bits.fold(0, |mask, bit| mask << 1 | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_ten_characters() {
        for byte in 0..=u8::MAX {
            for at in 0..SPAN {
                for filler in [b'0', b'9', b'/', b':', 0x80, 0xFF] {
                    let mut bytes = [filler; SPAN];
                    bytes[at] = byte;
                    let expected = (0..SPAN)
                        .filter(|&at| !bytes[at].is_ascii_digit())
                        .fold(0, |mask, at| mask | 1 << at);
                    assert_eq!((others(&bytes), portable(&bytes)), (expected, expected));
                }
            }
        }
    }
}
