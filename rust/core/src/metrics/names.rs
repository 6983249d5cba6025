//! Names of routes or clusters, each in the slot that it claimed.
//!
//! A slot is free, being written, or holds a name for ever. Who wants a free one makes it *being written* by one
//! compare-and-exchange, writes the bytes, and then publishes their length. Others wait for that, but not for long: a
//! process may die in between, and then its slot is lost. Should two processes have given one name two slots for such a
//! reason, both count, and are added up when they are shown.

use std::hint::spin_loop;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::layout::{CLUSTERS, CLUSTERS_AT, MAX_NAME, NAME, ROUTES, ROUTES_AT};

const FREE: u64 = 0;
const WRITING: u64 = 1;
/// Added to the length of a name that is there.
const THERE: u64 = 2;
/// How often a slot that is being written is looked at again.
const PATIENCE: usize = 10_000;

/// The slots of one kind of name.
pub(super) struct Names<'a> {
    cells: &'a [AtomicU64],
    count: u16,
}

impl<'a> Names<'a> {
    pub(super) fn routes(cells: &'a [AtomicU64]) -> Self {
        Self::at(cells, ROUTES_AT, ROUTES)
    }

    pub(super) fn clusters(cells: &'a [AtomicU64]) -> Self {
        Self::at(cells, CLUSTERS_AT, CLUSTERS)
    }

    fn at(cells: &'a [AtomicU64], at: usize, count: usize) -> Self {
        let cells = cells.get(at..at + count * NAME).unwrap_or_default();
        Self { cells, count: u16::try_from(count).unwrap_or(u16::MAX) }
    }

    /// The slot that names without one share.
    pub(super) fn others(&self) -> u16 {
        self.count
    }

    /// The slot of no name.
    pub(super) fn none(&self) -> u16 {
        self.count + 1
    }

    /// The slot of a name, claimed now if need be.
    pub(super) fn slot(&self, name: &str) -> u16 {
        if name.len() > MAX_NAME {
            return self.others();
        }
        for (slot, cells) in (0..).zip(self.cells.chunks_exact(NAME)) {
            let Some((state, bytes)) = cells.split_first() else { break };
            if settled(state) == FREE && state.compare_exchange(FREE, WRITING, Acquire, Relaxed).is_ok() {
                write(bytes, name);
                state.store(THERE + name.len() as u64, Release);
                return slot;
            }
            // Perhaps another has just taken it, and perhaps for this name.
            if holds(settled(state), bytes, name) {
                return slot;
            }
        }
        self.others()
    }

    /// The name in a slot.
    pub(super) fn name(&self, slot: u16) -> Option<String> {
        let cells = self.cells.chunks_exact(NAME).nth(usize::from(slot))?;
        let (state, bytes) = cells.split_first()?;
        let length = usize::try_from(state.load(Acquire).checked_sub(THERE)?).ok()?;
        let mut out = Vec::with_capacity(NAME * 8);
        for cell in bytes {
            out.extend_from_slice(&cell.load(Relaxed).to_le_bytes());
        }
        out.truncate(length);
        String::from_utf8(out).ok()
    }
}

/// The state of a slot, after it was written where that is under way.
fn settled(state: &AtomicU64) -> u64 {
    for _ in 0..PATIENCE {
        let now = state.load(Acquire);
        if now != WRITING {
            return now;
        }
        spin_loop();
    }
    WRITING
}

fn words(name: &str) -> impl Iterator<Item = u64> + '_ {
    name.as_bytes().chunks(8).map(|chunk| {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        u64::from_le_bytes(word)
    })
}

fn write(bytes: &[AtomicU64], name: &str) {
    for (cell, word) in bytes.iter().zip(words(name)) {
        cell.store(word, Relaxed);
    }
}

fn holds(state: u64, bytes: &[AtomicU64], name: &str) -> bool {
    state == THERE + name.len() as u64
        && bytes.iter().zip(words(name)).all(|(cell, word)| cell.load(Relaxed) == word)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::Ordering::Relaxed;
    use std::thread;

    use super::*;
    use crate::metrics::zeros;

    #[test]
    fn a_name_keeps_its_slot() {
        let cells = zeros();
        let names = Names::routes(&cells);
        let long = "x".repeat(MAX_NAME);
        let given: Vec<u16> =
            ["a", "b", "", "12345678", "123456789", &long].map(|name| names.slot(name)).into();
        assert_eq!(given, [0, 1, 2, 3, 4, 5]);
        assert_eq!(names.slot("b"), 1);
        assert_eq!(Names::routes(&cells).slot(&long), 5);
        assert_eq!(names.name(4).as_deref(), Some("123456789"));
        assert_eq!(names.name(5).as_deref(), Some(long.as_str()));
        assert_eq!((names.name(6), names.name(u16::MAX)), (None, None));
        assert_eq!(Names::clusters(&cells).slot("b"), 0);
        assert_eq!(names.slot(&"x".repeat(MAX_NAME + 1)), names.others());
    }

    #[test]
    fn what_finds_no_slot_is_among_the_others() {
        let cells = zeros();
        let names = Names::clusters(&cells);
        for n in 0..CLUSTERS {
            assert_eq!(usize::from(names.slot(&format!("c{n}"))), n);
        }
        assert_eq!(names.slot("one more"), names.others());
        assert_eq!(names.slot("c7"), 7);
        assert_eq!(names.name(names.others()), None);
        assert_ne!(names.none(), names.others());
    }

    #[test]
    fn a_slot_whose_writer_died_is_passed_over() {
        let cells = zeros();
        let names = Names::routes(&cells);
        cells[ROUTES_AT].store(WRITING, Relaxed);
        assert_eq!((names.slot("a"), names.slot("a"), names.name(0)), (1, 1, None));
    }

    #[test]
    fn threads_agree() {
        let cells = zeros();
        let slots = |start: usize| -> HashMap<String, u16> {
            let names = Names::routes(&cells);
            (0..300)
                .map(|n| format!("r{}", (start + n) % 300))
                .map(|name| (name.clone(), names.slot(&name)))
                .collect()
        };
        let all: Vec<_> = thread::scope(|scope| {
            let running: Vec<_> = (0..4).map(|n| scope.spawn(move || slots(n * 70))).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for other in &all {
            assert_eq!(other, &all[0]);
        }
        for (name, slot) in &all[0] {
            assert_eq!(Names::routes(&cells).name(*slot).as_ref(), Some(name));
        }
    }
}
