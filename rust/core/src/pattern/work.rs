//! The budget of work that one message may cause.

use std::cell::Cell;

/// The steps that matching one message may still take.
///
/// A step takes some nanoseconds: one comparison of a predicate with a short value, or some hundred bytes of a long one.
/// Whoever multiplies a size that the author of rules chooses by one that a sender chooses takes steps, and stops without
/// a result once there are none left.
#[derive(Debug)]
pub struct Work {
    /// 0 once it is exhausted.
    left: Cell<u64>,
}

impl Work {
    /// A budget of `steps`.
    #[must_use]
    pub fn of(steps: u64) -> Self {
        Self { left: Cell::new(steps.max(1)) }
    }

    /// A budget that is never exhausted.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::of(u64::MAX)
    }

    /// Takes `steps`; false if the budget is exhausted.
    #[inline]
    pub fn take(&self, steps: usize) -> bool {
        self.left.set(self.left.get().saturating_sub(steps as u64));
        !self.is_exhausted()
    }

    /// Takes the steps that reading a text of `length` bytes costs beyond the first hundreds.
    #[inline]
    pub fn read(&self, length: usize) -> bool {
        self.take(length / 256)
    }

    /// Whether more steps were asked for than there were.
    #[inline]
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.left.get() == 0
    }

    /// Makes the budget unlimited from now on.
    pub fn lift(&self) {
        self.left.set(u64::MAX);
    }
}
