//! The tokens of a body, some blocks at a time, and the check of its UTF-8 on the way.

use super::masks::Carry;
use super::tokens::Tokens;
use super::{Available, BLOCK, Look};
use crate::json::error::{Error, ErrorKind};

/// What has been looked at of a body.
pub(in crate::json) struct Window<'b> {
    body: &'b [u8],
    kernel: Available,
    /// How far that is.
    end: usize,
    /// How much of it is known to be UTF-8.
    valid: usize,
    carry: Carry,
    /// Where the tokens end, once that is known: the body ends here or is broken.
    stop: usize,
}

impl<'b> Window<'b> {
    /// Before the first byte of `body`.
    pub(in crate::json) fn new(body: &'b [u8], kernel: Available) -> Self {
        Self { body, kernel, end: 0, valid: 0, carry: Carry::default(), stop: usize::MAX }
    }

    /// Forgets the tokens before `first`, and lists those that follow, as many as there is room for; there are
    /// enough to look ahead then. At the end of the body, or where it is broken, [`Tokens::stop`] is behind the last one.
    #[cold]
    #[inline(never)]
    pub(in crate::json) fn refill(&mut self, tokens: &mut Tokens<'_>, first: usize) {
        let next = tokens.keep(first);
        self.carry.backslashes.forget(next.map_or(self.end, |at| at as usize));
        self.list(Look::Tokens, tokens);
        if self.goes_on() {
            return;
        }
        self.stop = self.carry.fault.map_or(self.body.len(), |fault| fault.offset);
        tokens.stop(self.stop);
    }

    /// Lists the quotes that open or close strings instead of tokens, from the first byte on. Whether those are all, and nothing is
    /// wrong that can be known without the other tokens.
    #[inline]
    pub(in crate::json) fn list_quotes(&mut self, tokens: &mut Tokens<'_>) -> bool {
        self.carry.backslashes.forget(0);
        self.list(Look::Quotes, tokens);
        !self.goes_on() && self.carry.fault.is_none()
    }

    /// How many control characters there are, where quotes were listed.
    pub(in crate::json) fn controls(&self) -> usize {
        self.carry.controls
    }

    /// Lists what follows, as long as there is room.
    fn list(&mut self, look: Look, tokens: &mut Tokens<'_>) {
        while self.goes_on() && !tokens.is_full() {
            let new = self.kernel.fill(look, self.body, self.end, &mut self.carry, tokens);
            let start = self.end;
            self.end = self.body.len().min(start + new.blocks * BLOCK);
            if self.check(start, new.ascii) {
                tokens.add(new.tokens);
            }
        }
    }

    /// Whether there can be more tokens than have been listed.
    fn goes_on(&self) -> bool {
        self.end < self.body.len() && self.carry.fault.is_none()
    }

    /// Whether all tokens of the body have been listed, and nothing is wrong that can be known from those.
    pub(in crate::json) fn is_whole(&self) -> bool {
        self.stop == self.body.len() && self.carry.fault.is_none()
    }

    /// Whether there can be a backslash between two offsets that have been listed.
    #[inline(always)]
    pub(in crate::json) fn may_have_escapes(&self, start: usize, end: usize) -> bool {
        self.carry.backslashes.between(start, end)
    }

    /// Where the tokens end; beyond every offset until that is known.
    #[inline(always)]
    pub(in crate::json) fn stop(&self) -> usize {
        self.stop
    }

    /// What is wrong where the tokens end: nothing but that the body ends there, unless it is broken.
    pub(in crate::json) fn fault(&self) -> Error {
        self.carry.fault.unwrap_or(Error { kind: ErrorKind::UnexpectedEnd, offset: self.body.len() })
    }

    /// The body as text, once all of it has been found to be that.
    pub(in crate::json) fn text(&self) -> Option<&'b str> {
        if self.valid < self.body.len() {
            return None;
        }
        // SAFETY: `check` has seen every byte up to `valid` either in a piece that is UTF-8 by itself, or in
        // blocks of ASCII alone, which are that too. Text put together from text is text.
        Some(unsafe { std::str::from_utf8_unchecked(self.body) })
    }

    /// Checks the UTF-8 of the blocks from `start` on, up to the last whole character.
    fn check(&mut self, start: usize, ascii: bool) -> bool {
        if ascii && self.valid == start {
            self.valid = self.end;
            return true;
        }
        let continues = |at: usize| self.body.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
        // A character has at most three bytes behind its first one.
        let cut = (0..4).map(|back| self.end.saturating_sub(back)).find(|&at| !continues(at));
        let cut = cut.unwrap_or(self.end);
        let piece = self.body.get(self.valid..cut).unwrap_or_default();
        if simdutf8::basic::from_utf8(piece).is_err() {
            self.carry.fault = Some(not_text(self.body));
            return false;
        }
        self.valid = cut;
        true
    }
}

/// What is wrong with a body that is not UTF-8.
#[cold]
fn not_text(body: &[u8]) -> Error {
    let offset = simdutf8::compat::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len);
    Error { kind: ErrorKind::InvalidUtf8, offset }
}
