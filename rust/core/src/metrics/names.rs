//! Names of routes or clusters, each in a slot that it has claimed.
//!
//! A slot is free, or belongs for ever to the name whose key (63 bits of its hash) it holds. To claim a free slot, a process
//! stores the key by one compare-and-exchange, writes the name's bytes, and then publishes their length. No process waits for
//! another: one that finds the key but no length writes the same bytes itself, so nothing is lost if the first one dies in
//! between. Slots are claimed in order and never given up, so no name has two slots.
//!
//! Names come from the configuration. The probability that two of a thousand names have the same key is below one in ten
//! trillion. In that case, the second name is counted with the others.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::layout::{CLUSTERS, CLUSTERS_AT, MAX_NAME, NAME, ROUTES, ROUTES_AT};
use crate::hash::hash;

/// The key of a free slot.
const FREE: u64 = 0;
/// Added to a published length, so that 0 means unpublished.
const PUBLISHED: u64 = 1;

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

    /// The number that names without a slot share.
    pub(super) fn others(&self) -> u16 {
        self.count
    }

    /// The number for the absence of a name.
    pub(super) fn none(&self) -> u16 {
        self.count + 1
    }

    /// The slot of a name. A new name claims one.
    pub(super) fn slot(&self, name: &str) -> u16 {
        if name.len() > MAX_NAME {
            return self.others();
        }
        let wanted = key_of(name);
        for (slot, cells) in (0..).zip(self.cells.chunks_exact(NAME)) {
            let [key, length, bytes @ ..] = cells else { break };
            let found = match key.load(Relaxed) {
                FREE => key.compare_exchange(FREE, wanted, Relaxed, Relaxed).unwrap_or_else(|other| other),
                found => found,
            };
            if found == FREE || found == wanted {
                match length.load(Acquire).checked_sub(PUBLISHED) {
                    None => {
                        write(bytes, name);
                        length.store(PUBLISHED + name.len() as u64, Release);
                    }
                    Some(length) if read(bytes, length).as_deref() == Some(name) => {}
                    Some(_) => break,
                }
                return slot;
            }
        }
        self.others()
    }

    /// The name in a slot.
    pub(super) fn name(&self, slot: u16) -> Option<String> {
        let cells = self.cells.chunks_exact(NAME).nth(usize::from(slot))?;
        let [_, length, bytes @ ..] = cells else { return None };
        read(bytes, length.load(Acquire).checked_sub(PUBLISHED)?)
    }
}

/// The key that identifies a name; never [`FREE`].
fn key_of(name: &str) -> u64 {
    hash(name.as_bytes()) | 1
}

/// Reads a name of `length` bytes.
fn read(bytes: &[AtomicU64], length: u64) -> Option<String> {
    let mut out: Vec<u8> = bytes.iter().flat_map(|cell| cell.load(Relaxed).to_le_bytes()).collect();
    out.truncate(usize::try_from(length).ok()?);
    String::from_utf8(out).ok()
}

/// Writes a name's bytes, eight in a cell. Cells after its end are unchanged.
fn write(bytes: &[AtomicU64], name: &str) {
    for (cell, chunk) in bytes.iter().zip(name.as_bytes().chunks(8)) {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        cell.store(u64::from_le_bytes(word), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
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
    fn a_name_whose_key_another_one_has_is_among_the_others() {
        let cells = zeros();
        let names = Names::routes(&cells);
        assert_eq!(names.slot("a"), 0);
        // Pretend that "b" has the same key.
        names.cells[0].store(key_of("b"), Relaxed);
        assert_eq!(names.slot("b"), names.others());
        assert_eq!(names.name(0).as_deref(), Some("a"));
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
    fn what_a_writer_that_died_has_claimed_is_written_by_the_next() {
        let cells = zeros();
        let names = Names::routes(&cells);
        cells[ROUTES_AT].store(key_of("a"), Relaxed);
        assert_eq!((names.slot("b"), names.name(0)), (1, None));
        assert_eq!((names.slot("a"), names.name(0).as_deref()), (0, Some("a")));
    }

    #[test]
    fn threads_agree() {
        let cells = zeros();
        let together = Barrier::new(4);
        let slots = || -> Vec<u16> {
            let names = Names::routes(&cells);
            (0..300)
                .map(|n| {
                    together.wait();
                    names.slot(&format!("r{n}"))
                })
                .collect()
        };
        let all: Vec<_> = thread::scope(|scope| {
            let running: Vec<_> = (0..4).map(|_| scope.spawn(slots)).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for slots in &all {
            assert_eq!(slots, &all[0]);
        }
        for (n, slot) in all[0].iter().enumerate() {
            assert_eq!(Names::routes(&cells).name(*slot), Some(format!("r{n}")));
        }
    }
}
