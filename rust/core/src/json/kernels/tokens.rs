//! The list of tokens.

use super::masks::ROOM;
use crate::json::narrow;

/// How many tokens can be looked at from any one on.
pub(super) const AHEAD: usize = 8;

/// How many tokens there can be in the list.
const PLACES: usize = 1024 + ROOM + 2 * AHEAD;

/// The tokens that have been listed last: where each is, and the byte that is there.
///
/// Behind the last token of a body, the offset at which that ends or is broken is repeated, with the byte 0,
/// which is at no token.
#[derive(Debug, Default)]
pub(in crate::json) struct Tokens {
    /// There is none before the first document.
    list: Option<Box<List>>,
    /// How many tokens there are; what is behind is left over.
    end: usize,
}

/// The places of tokens.
#[derive(Debug)]
pub(super) struct List {
    pub(super) offsets: [u32; PLACES],
    pub(super) kinds: [u8; PLACES],
}

impl Tokens {
    /// No tokens, and places for them.
    pub(in crate::json) fn reset(&mut self) -> &mut Self {
        self.list.get_or_insert_with(|| Box::new(List { offsets: [0; PLACES], kinds: [0; PLACES] }));
        self.end = 0;
        self
    }

    /// Leaves room for so many tokens; returns how many there are then.
    #[cfg(test)]
    pub(super) fn fill_up(&mut self, room: usize) -> usize {
        self.end = PLACES.saturating_sub(room);
        self.end
    }

    /// Where tokens can be written, and how many there are.
    pub(super) fn places(&mut self) -> Option<(&mut List, usize)> {
        self.list.as_deref_mut().map(|list| (list, self.end))
    }

    /// Forgets the tokens before `first`; returns where that is, if there is one.
    pub(super) fn keep(&mut self, first: usize) -> Option<u32> {
        let list = self.list.as_deref_mut()?;
        let kept = first.min(self.end)..self.end;
        self.end = kept.len();
        list.offsets.copy_within(kept.clone(), 0);
        list.kinds.copy_within(kept, 0);
        list.offsets.get(..self.end)?.first().copied()
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
        let Some(list) = self.list.as_deref_mut() else { return };
        if let Some(offsets) = list.offsets.get_mut(self.end..).and_then(<[u32]>::first_chunk_mut::<AHEAD>)
            && let Some(kinds) = list.kinds.get_mut(self.end..).and_then(<[u8]>::first_chunk_mut::<AHEAD>)
        {
            *offsets = [narrow(at); AHEAD];
            *kinds = [0; AHEAD];
        }
        self.end += AHEAD;
    }

    /// The tokens from `first` on, if there are [`AHEAD`].
    #[inline(always)]
    pub(in crate::json) fn ahead(&self, first: usize) -> Option<Ahead<'_>> {
        if first + AHEAD > self.end {
            return None;
        }
        let list = self.list.as_deref()?;
        // There are never more tokens than places; the compiler cannot know.
        let first = first.min(PLACES - AHEAD);
        let kinds = list.kinds.get(first..first + AHEAD)?.first_chunk()?;
        let offsets = list.offsets.get(first..first + AHEAD)?.first_chunk()?;
        Some(Ahead { kinds: u64::from_le_bytes(*kinds), offsets, passed: 0 })
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

impl Ahead<'_> {
    /// The byte of the next token but `index`.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation)]
    pub(in crate::json) fn kind(&self, index: usize) -> u8 {
        (self.kinds >> (8 * index)) as u8
    }

    /// Whether the next tokens are the quotes of a string.
    #[inline(always)]
    pub(in crate::json) fn is_string(&self) -> bool {
        self.kinds & 0xFFFF == u64::from_le_bytes(*b"\"\"\0\0\0\0\0\0")
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
