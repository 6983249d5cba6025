//! The tokens of a body, a few blocks at a time, and the check of its UTF-8 on the way.

use super::masks::{BLOCKS, Carry, Masks};
use super::{BLOCK, Kernel};
use crate::json::error::{Error, ErrorKind};

/// The part of a body whose tokens are known.
pub(in crate::json) struct Window<'b> {
    body: &'b [u8],
    kernel: Kernel,
    masks: Masks,
    /// Where the first block is in the body.
    start: usize,
    /// How many blocks there are.
    blocks: usize,
    /// The body is UTF-8 up to here.
    valid: usize,
    carry: Carry,
}

/// Where in a window the next token is; apart from it so that it stays in registers.
#[derive(Clone, Copy, Debug)]
pub(in crate::json) struct Cursor {
    /// The tokens of the block that are still to come.
    mask: u64,
    /// Where the block is in the body.
    base: usize,
    /// The block behind it.
    next: usize,
}

impl<'b> Window<'b> {
    /// Before the first byte of `body`; the kernel is one of [`Kernel::available`].
    pub(in crate::json) fn new(body: &'b [u8], kernel: Kernel) -> (Self, Cursor) {
        // `Kernel` can be named by anybody.
        let kernel = if kernel.detected() { kernel } else { Kernel::Scalar };
        let carry = Carry::default();
        let mut window = Self { body, kernel, masks: [0; BLOCKS], start: 0, blocks: 0, valid: 0, carry };
        window.fill();
        (window, Cursor { mask: 0, base: 0, next: 0 })
    }

    /// The offset of the next token; from the last one on, the offset at which the body ends or is broken.
    /// No token starts at such an offset: the byte there is none that a value may hold outside strings.
    #[inline(always)]
    pub(in crate::json) fn next(&mut self, cursor: &mut Cursor) -> usize {
        if cursor.mask == 0 {
            *cursor = self.advance(*cursor);
        }
        let at = cursor.base + cursor.mask.trailing_zeros() as usize;
        cursor.mask &= cursor.mask.wrapping_sub(1);
        at
    }

    /// To the next block with tokens.
    #[cold]
    #[inline(never)]
    fn advance(&mut self, cursor: Cursor) -> Cursor {
        let mut next = cursor.next;
        loop {
            let masks = self.masks.get(..self.blocks).unwrap_or_default();
            for &mask in masks.get(next..).unwrap_or_default() {
                next += 1;
                if mask != 0 {
                    return Cursor { mask, base: self.start + (next - 1) * BLOCK, next };
                }
            }
            if self.carry.fault.is_some() || self.end() >= self.body.len() {
                return Cursor { mask: 1, base: self.stop().offset, next };
            }
            self.start += self.blocks * BLOCK;
            self.fill();
            next = 0;
        }
    }

    /// What is wrong where the tokens end: nothing but that the body ends there, unless a string is broken.
    pub(in crate::json) fn stop(&self) -> Error {
        self.carry.fault.unwrap_or(Error { kind: ErrorKind::UnexpectedEnd, offset: self.body.len() })
    }

    /// The body as text, once all of it has been found to be that.
    pub(in crate::json) fn text(&self) -> Option<&'b str> {
        if self.valid < self.body.len() {
            return None;
        }
        // SAFETY: `check` has seen every byte up to `valid` either in a piece that is UTF-8 by itself, or in
        // a window of ASCII alone, which is that too. Text put together from text is text.
        Some(unsafe { std::str::from_utf8_unchecked(self.body) })
    }

    fn end(&self) -> usize {
        self.start + self.blocks * BLOCK
    }

    fn fill(&mut self) {
        let (blocks, ascii) = self.kernel.fill(self.body, self.start, &mut self.carry, &mut self.masks);
        self.blocks = blocks;
        self.check(ascii);
    }

    /// Checks the UTF-8 of the window that was filled last, to the last whole character.
    fn check(&mut self, ascii: bool) {
        let end = self.end().min(self.body.len());
        if ascii && self.valid == self.start {
            self.valid = end;
            return;
        }
        let continues = |at: usize| self.body.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
        // A character has at most three bytes behind its first one.
        let cut = (0..4).find(|back| !continues(end - back)).map_or(end, |back| end - back);
        let piece = self.body.get(self.valid..cut).unwrap_or_default();
        if simdutf8::basic::from_utf8(piece).is_ok() {
            self.valid = cut;
        } else if self.carry.fault.is_none() {
            self.broken()
        }
    }

    /// Ends the tokens where the text is broken.
    #[cold]
    fn broken(&mut self) {
        if let Err(error) = simdutf8::compat::from_utf8(self.body) {
            let fault = Error { kind: ErrorKind::InvalidUtf8, offset: error.valid_up_to() };
            self.carry.fault = Some(fault);
            self.blocks = 0;
        }
    }
}
