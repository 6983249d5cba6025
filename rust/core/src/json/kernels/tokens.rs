//! The list of tokens.

use super::masks::ROOM;
use crate::json::narrow;

/// Number of tokens that [`Ahead`] shows.
pub(in crate::json) const AHEAD: usize = 8;

/// The most tokens in the list. The repeated end of the body has room after those of a block.
const CAPACITY: usize = EARLY + ROOM + 2 * AHEAD;

/// Number of tokens that [`Tokens::early`] can access.
pub(in crate::json) const EARLY: usize = 4096;

/// The memory for tokens, which is reused from document to document.
#[derive(Debug, Default)]
pub(in crate::json) struct TokenBuffer(Option<Box<List>>);

/// The offsets of tokens, and the bytes at these offsets.
#[derive(Debug)]
pub(super) struct List {
    pub(super) offsets: [u32; CAPACITY],
    pub(super) kinds: [u8; CAPACITY],
}

/// The tokens that were listed last: the offset and the byte of each.
///
/// After the last token of a body, the offset of its end or of a fault is repeated, with the byte 0, which no token has.
pub(in crate::json) struct Tokens<'p> {
    list: &'p mut List,
    /// Number of tokens; later entries of the list are stale.
    end: usize,
}

impl TokenBuffer {
    /// An empty list of tokens.
    pub(in crate::json) fn clear(&mut self) -> Tokens<'_> {
        #[expect(clippy::large_stack_arrays)] // It is allocated only once for each `Scan`.
        let empty = || Box::new(List { offsets: [0; CAPACITY], kinds: [0; CAPACITY] });
        Tokens { list: self.0.get_or_insert_with(empty), end: 0 }
    }
}

impl Tokens<'_> {
    /// Leaves room for `room` tokens, and returns the number of tokens.
    #[cfg(test)]
    pub(super) fn fill_up(&mut self, room: usize) -> usize {
        self.end = CAPACITY.saturating_sub(room);
        self.end
    }

    /// The list, and the number of its tokens.
    pub(super) fn list_mut(&mut self) -> (&mut List, usize) {
        (self.list, self.end)
    }

    /// Drops the tokens before `first`, and returns the offset of `first`, if there is such a token.
    pub(super) fn keep(&mut self, first: usize) -> Option<u32> {
        let kept = first.min(self.end)..self.end;
        self.end = kept.len();
        if kept.is_empty() {
            return None;
        }
        self.list.offsets.copy_within(kept.clone(), 0);
        self.list.kinds.copy_within(kept, 0);
        self.list.offsets.first().copied()
    }

    /// Number of tokens, including the repeated end.
    #[inline(always)]
    pub(in crate::json) fn len(&self) -> usize {
        self.end
    }

    /// Whether there is no room for the tokens of another block.
    pub(super) fn is_full(&self) -> bool {
        self.end + ROOM > CAPACITY
    }

    /// The offset of a token.
    #[inline(always)]
    pub(in crate::json) fn at(&self, token: u32) -> u32 {
        self.list.offsets.get(token as usize).copied().unwrap_or_default()
    }

    /// The offset of one of the first [`EARLY`] tokens.
    #[inline(always)]
    pub(in crate::json) fn early(&self, token: u32) -> u32 {
        // The compiler sees that this is always in bounds.
        self.list.offsets.get(token as usize % EARLY).copied().unwrap_or_default()
    }

    /// The byte of a token.
    #[inline(always)]
    pub(in crate::json) fn kind(&self, token: u32) -> u8 {
        self.list.kinds.get(token as usize).copied().unwrap_or_default()
    }

    /// Sets the offset of one of the first [`EARLY`] tokens.
    #[inline(always)]
    pub(in crate::json) fn set(&mut self, token: u32, offset: u32) {
        if let Some(listed) = self.list.offsets.get_mut(token as usize % EARLY) {
            *listed = offset;
        }
    }

    /// Counts tokens that were written to the list.
    pub(super) fn add(&mut self, count: usize) {
        self.end += count;
    }

    /// Appends the repeated end: the offset of the body's end or of a fault.
    pub(super) fn stop(&mut self, at: usize) {
        let List { offsets, kinds } = &mut *self.list;
        if let Some(offsets) = offsets.get_mut(self.end..).and_then(<[u32]>::first_chunk_mut::<AHEAD>)
            && let Some(kinds) = kinds.get_mut(self.end..).and_then(<[u8]>::first_chunk_mut::<AHEAD>)
        {
            *offsets = [narrow(at); AHEAD];
            *kinds = [0; AHEAD];
        }
        self.end += AHEAD;
    }

    /// Whether there are fewer than [`AHEAD`] tokens from `first` on.
    #[inline(always)]
    pub(in crate::json) fn lacks(&self, first: usize) -> bool {
        first + AHEAD > self.end
    }

    /// The tokens from `first` on.
    #[inline(always)]
    pub(in crate::json) fn ahead(&self, first: usize) -> Ahead<'_> {
        // `first` never exceeds this; the compiler cannot know that.
        let first = first.min(CAPACITY - AHEAD);
        let kinds = self.list.kinds.get(first..).and_then(<[u8]>::first_chunk);
        let offsets = self.list.offsets.get(first..).and_then(<[u32]>::first_chunk);
        Ahead {
            kinds: kinds.map_or(0, |kinds| u64::from_le_bytes(*kinds)),
            offsets: offsets.unwrap_or(&[0; AHEAD]),
        }
    }
}

/// The token before a member, with the tokens of a string member after it, for comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::json) struct Before(u64);

impl Before {
    pub(in crate::json) const BRACE: Self = Self(u64::from_le_bytes(*b"\0\0{\"\":\"\""));
    pub(in crate::json) const COMMA: Self = Self(u64::from_le_bytes(*b"\0\0,\"\":\"\""));
}

/// The next [`AHEAD`] tokens.
#[derive(Clone, Copy)]
pub(in crate::json) struct Ahead<'t> {
    /// The bytes of the tokens; the first one is the lowest.
    kinds: u64,
    offsets: &'t [u32; AHEAD],
}

impl Ahead<'_> {
    /// The byte of token `index`.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation)]
    pub(in crate::json) fn kind(&self, index: usize) -> u8 {
        (self.kinds >> (8 * index)) as u8
    }

    /// Whether tokens `index` and `index + 1` are the quotes of a string.
    #[inline(always)]
    pub(in crate::json) fn is_string(&self, index: usize) -> bool {
        self.kinds >> (8 * index) & 0xFFFF == u64::from_le_bytes(*b"\"\"\0\0\0\0\0\0")
    }

    /// Whether the tokens are `before`, a key, a colon and a string.
    #[inline(always)]
    pub(in crate::json) fn is_string_member(&self, before: Before) -> bool {
        self.kinds << 16 == before.0
    }

    /// Whether the tokens are `before`, a key and a colon.
    #[inline(always)]
    pub(in crate::json) fn is_member(&self, before: Before) -> bool {
        self.kinds << 16 & 0xFFFF_FFFF_FFFF == before.0 & 0xFFFF_FFFF_FFFF
    }

    /// The offset of token `index`, which must be less than [`AHEAD`].
    #[inline(always)]
    pub(in crate::json) fn at(&self, index: usize) -> u32 {
        self.offsets.get(index).copied().unwrap_or_default()
    }
}
