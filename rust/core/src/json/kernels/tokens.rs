//! The list of tokens.

use super::masks::ROOM;
use crate::json::narrow;

/// How many tokens can be looked at from any one on.
pub(super) const AHEAD: usize = 8;

/// How many tokens are listed at a time.
const MOST: usize = 1024;

/// The tokens that have been listed last: where each is, and the byte that is there.
///
/// Behind the last token of a body, the offset at which that ends or is broken is repeated, with the byte 0,
/// which is at no token.
#[derive(Debug, Default)]
pub(in crate::json) struct Tokens {
    pub(super) offsets: Vec<u32>,
    pub(super) kinds: Vec<u8>,
    /// How many of them there are; what is behind is left over.
    end: usize,
}

impl Tokens {
    /// No tokens, and room for so many.
    #[cfg(test)]
    pub(super) fn with_room(room: usize) -> Self {
        Self { offsets: vec![0; room], kinds: vec![0; room], end: 0 }
    }

    /// No tokens, and room for those of a body of `length` bytes.
    pub(super) fn reset(&mut self, length: usize) {
        let room = length.min(MOST) + ROOM + 2 * AHEAD;
        if self.offsets.len() < room {
            self.offsets.resize(room, 0);
            self.kinds.resize(room, 0);
        }
        self.end = 0;
    }

    /// The bytes and the offsets of the tokens.
    #[inline(always)]
    pub(in crate::json) fn listed(&self) -> (&[u8], &[u32]) {
        (self.kinds.get(..self.end).unwrap_or_default(), self.offsets.get(..self.end).unwrap_or_default())
    }

    /// Forgets the tokens before `first`; returns where that is, if there is one.
    pub(super) fn keep(&mut self, first: usize) -> Option<u32> {
        let kept = first.min(self.end)..self.end;
        self.end = kept.len();
        self.offsets.copy_within(kept.clone(), 0);
        self.kinds.copy_within(kept, 0);
        self.offsets.get(..self.end)?.first().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.end
    }

    /// Counts tokens that have been written behind those that there are.
    pub(super) fn add(&mut self, count: usize) {
        self.end += count;
    }

    /// Repeats the end of the body, or where it is broken.
    pub(super) fn stop(&mut self, at: usize) {
        for token in self.offsets.iter_mut().skip(self.end).take(AHEAD) {
            *token = narrow(at);
        }
        for kind in self.kinds.iter_mut().skip(self.end).take(AHEAD) {
            *kind = 0;
        }
        self.end += AHEAD;
    }
}

/// Some tokens from one on.
#[derive(Clone, Copy)]
pub(in crate::json) struct Ahead<'t> {
    /// The bytes there, the first one being the lowest.
    kinds: u64,
    offsets: &'t [u32; AHEAD],
    /// How many of the offsets are of tokens before those of `kinds`.
    passed: usize,
}

impl<'t> Ahead<'t> {
    /// The tokens from `first` on, if there are [`AHEAD`].
    #[inline(always)]
    pub(in crate::json) fn new((kinds, offsets): (&[u8], &'t [u32]), first: usize) -> Option<Self> {
        let kinds = kinds.get(first..first + AHEAD)?.first_chunk()?;
        let offsets = offsets.get(first..first + AHEAD)?.first_chunk()?;
        Some(Self { kinds: u64::from_le_bytes(*kinds), offsets, passed: 0 })
    }

    /// The byte of the next token but `index`.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation)]
    pub(in crate::json) fn kind(&self, index: usize) -> u8 {
        (self.kinds >> (8 * index)) as u8
    }

    /// Whether the next tokens but one are a key and a colon.
    #[inline(always)]
    pub(in crate::json) fn is_member(&self) -> bool {
        const KEY: u64 = u64::from_le_bytes(*b"\0\"\":\0\0\0\0");
        self.kinds & 0xFFFF_FF00 == KEY
    }

    /// The offset of the next token but `index`.
    #[inline(always)]
    pub(in crate::json) fn at(&self, index: usize) -> u32 {
        // Never behind the last one; the compiler cannot know.
        self.offsets.get((self.passed + index) % AHEAD).copied().unwrap_or_default()
    }

    /// Passes some tokens.
    #[inline(always)]
    pub(in crate::json) fn skip(&mut self, count: usize) {
        self.kinds >>= 8 * count;
        self.passed += count;
    }

    /// How many tokens have been passed.
    #[inline(always)]
    pub(in crate::json) fn passed(&self) -> usize {
        self.passed
    }
}
