//! How much work a decision took, for tests: what must not grow is counted, not timed.

#[cfg(test)]
mod counted {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    /// Notes some steps of work.
    pub(crate) fn step(count: usize) {
        STEPS.set(STEPS.get() + count);
    }

    /// The steps that something took.
    pub(crate) fn of<T>(work: impl FnOnce() -> T) -> (usize, T) {
        let before = STEPS.get();
        let result = work();
        (STEPS.get() - before, result)
    }
}

#[cfg(test)]
pub(crate) use counted::{of, step};

/// Nothing, outside tests.
#[cfg(not(test))]
#[inline(always)]
#[allow(clippy::inline_always)]
pub(crate) fn step(_count: usize) {}
