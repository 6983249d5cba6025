//! Plain Rust. The other kernels are held against this one.

use super::BLOCK;
use super::masks::{Carry, Classes, Masks, fill as fill_with, parity};

pub(super) fn fill(body: &[u8], from: usize, carry: &mut Carry, masks: &mut Masks) -> usize {
    fill_with(body, from, carry, masks, classify, parity)
}

#[inline]
pub(super) fn classify(block: &[u8; BLOCK]) -> Classes {
    Classes {
        quote: mask(block, |byte| byte == b'"'),
        backslash: mask(block, |byte| byte == b'\\'),
        control: mask(block, |byte| byte < 0x20),
        space: mask(block, |byte| byte == b' ' || byte == b'\t' || byte == b'\n' || byte == b'\r'),
        operator: mask(block, |byte| {
            // The brackets differ from the braces in one bit.
            byte == b',' || byte == b':' || byte | 0x20 == b'{' || byte | 0x20 == b'}'
        }),
        escape: mask(block, |byte| {
            byte == b'/' || byte == b'b' || byte == b'f' || byte == b'n' || byte == b'r' || byte == b't'
        }),
        wide: mask(block, |byte| byte >= 0x80),
    }
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
