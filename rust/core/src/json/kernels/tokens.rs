//! The list of tokens.

use super::masks::ROOM;
use crate::json::narrow;

/// How many tokens can be looked at from any one on.
pub(in crate::json) const AHEAD: usize = 8;

/// How many tokens there can be in the list: the body's end has room behind those of a block.
const CAPACITY: usize = EARLY + ROOM + 2 * AHEAD;

/// How many tokens [`Tokens::early`] can tell.
pub(in crate::json) const EARLY: usize = 4096;

/// Where tokens are listed, document after document.
#[derive(Debug, Default)]
pub(in crate::json) struct TokenBuffer(Option<Box<List>>);

/// Where tokens are, and their bytes.
#[derive(Debug)]
pub(super) struct List {
    pub(super) offsets: [u32; CAPACITY],
    pub(super) kinds: [u8; CAPACITY],
}

/// The tokens that have been listed last: where each is, and the byte that is there.
///
/// Behind the last token of a body, the offset at which that ends or is broken is repeated, with the byte 0,
/// which is at no token.
pub(in crate::json) struct Tokens<'p> {
    list: &'p mut List,
    /// How many tokens there are; what is behind is left over.
    end: usize,
}

impl TokenBuffer {
    /// No tokens yet.
    pub(in crate::json) fn clear(&mut self) -> Tokens<'_> {
        #[expect(clippy::large_stack_arrays)] // Once for a scan.
        let empty = || Box::new(List { offsets: [0; CAPACITY], kinds: [0; CAPACITY] });
        Tokens { list: self.0.get_or_insert_with(empty), end: 0 }
    }
}

impl Tokens<'_> {
    /// Leaves room for so many tokens; returns how many there are then.
    #[cfg(test)]
    pub(super) fn fill_up(&mut self, room: usize) -> usize {
        self.end = CAPACITY.saturating_sub(room);
        self.end
    }

    /// Where tokens can be written, and how many there are.
    pub(super) fn list_mut(&mut self) -> (&mut List, usize) {
        (self.list, self.end)
    }

    /// Forgets the tokens before `first`; returns where that is, if there is one.
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

    /// How many there are, with those that repeat the end.
    #[inline(always)]
    pub(in crate::json) fn len(&self) -> usize {
        self.end
    }

    /// Whether there is no room for those of another block.
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
        // Always in bounds, as the compiler can see.
        self.list.offsets.get(token as usize % EARLY).copied().unwrap_or_default()
    }

    /// The byte of a token.
    #[inline(always)]
    pub(in crate::json) fn kind(&self, token: u32) -> u8 {
        self.list.kinds.get(token as usize).copied().unwrap_or_default()
    }

    /// Sets one of the first [`EARLY`] offsets.
    #[inline(always)]
    pub(in crate::json) fn set(&mut self, token: u32, offset: u32) {
        if let Some(listed) = self.list.offsets.get_mut(token as usize % EARLY) {
            *listed = offset;
        }
    }

    /// Counts tokens that have been written behind those that there are.
    pub(super) fn add(&mut self, count: usize) {
        self.end += count;
    }

    /// Repeats the end of the body, or where it is broken.
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

    /// Whether there are not [`AHEAD`] tokens from `first` on.
    #[inline(always)]
    pub(in crate::json) fn lacks(&self, first: usize) -> bool {
        first + AHEAD > self.end
    }

    /// The tokens from `first` on.
    #[inline(always)]
    pub(in crate::json) fn ahead(&self, first: usize) -> Ahead<'_> {
        // There are never more tokens than places; the compiler cannot know.
        let first = first.min(CAPACITY - AHEAD);
        let kinds = self.list.kinds.get(first..).and_then(<[u8]>::first_chunk);
        let offsets = self.list.offsets.get(first..).and_then(<[u32]>::first_chunk);
        Ahead {
            kinds: kinds.map_or(0, |kinds| u64::from_le_bytes(*kinds)),
            offsets: offsets.unwrap_or(&[0; AHEAD]),
        }
    }
}

/// What is before a member, ready to be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::json) struct Before(u64);

impl Before {
    pub(in crate::json) const BRACE: Self = Self(u64::from_le_bytes(*b"\0\0{\"\":\"\""));
    pub(in crate::json) const COMMA: Self = Self(u64::from_le_bytes(*b"\0\0,\"\":\"\""));
}

/// Some tokens from one on.
#[derive(Clone, Copy)]
pub(in crate::json) struct Ahead<'t> {
    /// The bytes there, the first one being the lowest.
    kinds: u64,
    offsets: &'t [u32; AHEAD],
}

impl Ahead<'_> {
    /// The byte of the next token but `index`.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation)]
    pub(in crate::json) fn kind(&self, index: usize) -> u8 {
        (self.kinds >> (8 * index)) as u8
    }

    /// Whether the next tokens but `index` are the quotes of a string.
    #[inline(always)]
    pub(in crate::json) fn is_string(&self, index: usize) -> bool {
        self.kinds >> (8 * index) & 0xFFFF == u64::from_le_bytes(*b"\"\"\0\0\0\0\0\0")
    }

    /// Whether the next tokens are this, a key, a colon and a string.
    #[inline(always)]
    pub(in crate::json) fn is_string_member(&self, before: Before) -> bool {
        self.kinds << 16 == before.0
    }

    /// Whether the next tokens are this, a key and a colon.
    #[inline(always)]
    pub(in crate::json) fn is_member(&self, before: Before) -> bool {
        self.kinds << 16 & 0xFFFF_FFFF_FFFF == before.0 & 0xFFFF_FFFF_FFFF
    }

    /// The offset of the next token but `index`, which is less than [`AHEAD`].
    #[inline(always)]
    pub(in crate::json) fn at(&self, index: usize) -> u32 {
        self.offsets.get(index).copied().unwrap_or_default()
    }
}
