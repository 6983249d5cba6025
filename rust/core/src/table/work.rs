//! Counts the work of a decision, so that tests need not time it.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    static STEPS: Cell<usize> = const { Cell::new(0) };
}

/// Counts steps of work. Outside tests it does nothing.
#[inline(always)]
#[allow(clippy::inline_always)]
pub(crate) fn step(count: usize) {
    #[cfg(test)]
    STEPS.set(STEPS.get() + count);
    let _ = count;
}

/// Runs `work`; returns its steps and its result.
#[cfg(test)]
pub(crate) fn count<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = STEPS.get();
    let result = work();
    (STEPS.get() - before, result)
}
