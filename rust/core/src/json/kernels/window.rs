//! Lists the tokens of a body, some blocks at a time, and checks that the blocks are UTF-8.

use super::masks::Carry;
use super::tokens::Tokens;
use super::{Available, BLOCK, Look};
use crate::json::error::{Error, ErrorKind};

/// The part of a body that has been read.
pub(in crate::json) struct Window<'b> {
    body: &'b [u8],
    kernel: Available,
    /// The end of that part.
    end: usize,
    /// The end of the part that is known to be UTF-8.
    valid: usize,
    carry: Carry,
    /// The end of the tokens, once known: the end of the body, or a fault.
    stop: usize,
}

impl<'b> Window<'b> {
    /// Starts before the first byte of `body`.
    pub(in crate::json) fn new(body: &'b [u8], kernel: Available) -> Self {
        Self { body, kernel, end: 0, valid: 0, carry: Carry::default(), stop: usize::MAX }
    }

    /// Drops the tokens before `first`, and lists as many further ones as there is room for, so that there are enough to look
    /// ahead. At the end of the body or at a fault, [`Tokens::stop`] follows the last token.
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

    /// Lists only the quotes that open or close strings, from the first byte on. Returns whether all fit and no fault was
    /// found. Some faults can only be found with all tokens.
    #[inline]
    pub(in crate::json) fn list_quotes(&mut self, tokens: &mut Tokens<'_>) -> bool {
        self.carry.backslashes.forget(0);
        self.list(Look::Quotes, tokens);
        !self.goes_on() && self.carry.fault.is_none()
    }

    /// Number of control characters, if quotes were listed.
    pub(in crate::json) fn controls(&self) -> usize {
        self.carry.controls
    }

    /// Lists further tokens or quotes while there is room.
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

    /// Whether there may be tokens that are not listed yet.
    fn goes_on(&self) -> bool {
        self.end < self.body.len() && self.carry.fault.is_none()
    }

    /// Whether all tokens of the body are listed, without a fault.
    pub(in crate::json) fn is_whole(&self) -> bool {
        self.stop == self.body.len() && self.carry.fault.is_none()
    }

    /// Whether there may be a backslash between two offsets that have been read.
    #[inline(always)]
    pub(in crate::json) fn may_have_escapes(&self, start: usize, end: usize) -> bool {
        self.carry.backslashes.between(start, end)
    }

    /// The end of the tokens; `usize::MAX` until it is known.
    #[inline(always)]
    pub(in crate::json) fn stop(&self) -> usize {
        self.stop
    }

    /// The error at the end of the tokens: a fault, or the early end of the body.
    pub(in crate::json) fn fault(&self) -> Error {
        self.carry.fault.unwrap_or(Error { kind: ErrorKind::UnexpectedEnd, offset: self.body.len() })
    }

    /// The body as text, once all of it is known to be UTF-8.
    pub(in crate::json) fn text(&self) -> Option<&'b str> {
        if self.valid < self.body.len() {
            return None;
        }
        // SAFETY: `check` has found every byte up to `valid` in a piece that is valid UTF-8 by itself, or in ASCII blocks,
        // which are valid too. Valid pieces of UTF-8 are valid together.
        Some(unsafe { std::str::from_utf8_unchecked(self.body) })
    }

    /// Checks that the blocks from `start` on are UTF-8, up to the last complete character.
    fn check(&mut self, start: usize, ascii: bool) -> bool {
        if ascii && self.valid == start {
            self.valid = self.end;
            return true;
        }
        let continues = |at: usize| self.body.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
        // A character has at most three bytes after its first one.
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

/// The error of a body that is not UTF-8.
#[cold]
fn not_text(body: &[u8]) -> Error {
    let offset = simdutf8::compat::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len);
    Error { kind: ErrorKind::InvalidUtf8, offset }
}
