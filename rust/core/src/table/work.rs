//! How much work a decision took, for tests: what must not grow is counted, not timed.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    static STEPS: Cell<usize> = const { Cell::new(0) };
}

/// Notes some steps of work; nothing, outside tests.
#[inline(always)]
#[allow(clippy::inline_always)]
pub(crate) fn step(count: usize) {
    #[cfg(test)]
    STEPS.set(STEPS.get() + count);
    let _ = count;
}

/// The steps that something took, and what came of it.
#[cfg(test)]
pub(crate) fn count<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = STEPS.get();
    let result = work();
    (STEPS.get() - before, result)
}
