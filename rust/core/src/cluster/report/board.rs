//! What each of several processes says of its clusters, where the others can read it.
//!
//! A board is memory that processes share, a slot for each worker and one for those that are gone. A
//! slot holds how many numbers follow, a checksum of these, and the numbers. Only its worker writes it; who reads while
//! that happens sees a wrong checksum and looks again. A worker that has more to say than fits says nothing, and knows that.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::encoding;
use super::view::ClusterView;
use crate::cluster::admission::accounts::Memory;
use crate::hash::mix;

const HEAD: usize = 2;
/// How often a slot is looked at that changes all the time, or whose worker died while it wrote.
const LOOKS: u32 = 100;

/// The slots of all workers.
pub struct Board {
    memory: Memory,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").finish_non_exhaustive()
    }
}

impl Board {
    /// Numbers of a slot: 8 MiB, of which only what is used takes memory. An endpoint takes about 160 bytes.
    pub const SLOT: usize = 1 << 20;

    /// On memory that the host supplies, all zero at first: a slot for each worker and another one.
    #[must_use]
    pub fn new(memory: Memory) -> Self {
        Self { memory }
    }

    /// Workers that have a slot.
    fn workers(&self) -> usize {
        ((*self.memory).as_ref().len() / Self::SLOT).saturating_sub(1)
    }

    /// A worker says how its clusters are. False: that is more than fits, and it says nothing.
    pub(crate) fn write(&self, worker: usize, views: &[ClusterView]) -> bool {
        worker >= self.workers() || self.put(worker, &encoding::write(views))
    }

    /// What the other workers said last.
    pub(crate) fn others(&self, worker: usize) -> Vec<Vec<ClusterView>> {
        (0..self.workers()).filter(|other| *other != worker).filter_map(|other| self.read(other)).collect()
    }

    /// What workers that are gone had counted.
    pub(crate) fn gone(&self) -> Vec<ClusterView> {
        self.read(self.workers()).unwrap_or_default()
    }

    /// A worker is gone: what it had counted remains. For one process only, which is no worker.
    pub(crate) fn forget(&self, worker: usize) {
        if worker >= self.workers() {
            return;
        }
        let last = self.read(worker).unwrap_or_default();
        self.put(worker, &[]);
        if last.is_empty() {
            return;
        }
        let mut gone = self.gone();
        for view in last {
            match gone.iter_mut().find(|known| known.name == view.name) {
                Some(known) => known.add_counts(view, true),
                None => gone.push(view),
            }
        }
        self.put(self.workers(), &encoding::write(&gone));
    }

    fn slot(&self, at: usize) -> Option<(&AtomicU64, &AtomicU64, &[AtomicU64])> {
        match (*self.memory).as_ref().get(at * Self::SLOT..(at + 1) * Self::SLOT)? {
            [length, sum, rest @ ..] => Some((length, sum, rest)),
            _ => None,
        }
    }

    fn put(&self, at: usize, numbers: &[u64]) -> bool {
        let Some((length, sum, cells)) = self.slot(at) else { return false };
        let fits = numbers.len() + HEAD <= Self::SLOT;
        let numbers = if fits { numbers } else { &[] };
        length.store(0, Release);
        sum.store(checksum(numbers), Release);
        for (cell, number) in cells.iter().zip(numbers) {
            cell.store(*number, Release);
        }
        length.store(numbers.len() as u64, Release);
        fits
    }

    pub(crate) fn read(&self, at: usize) -> Option<Vec<ClusterView>> {
        let (length, sum, cells) = self.slot(at)?;
        for _ in 0..LOOKS {
            let length = usize::try_from(length.load(Acquire)).ok()?;
            let numbers: Vec<u64> = cells.iter().take(length).map(|cell| cell.load(Acquire)).collect();
            if length > 0 && checksum(&numbers) == sum.load(Relaxed) {
                return encoding::read(&numbers);
            }
            if length == 0 && sum.load(Relaxed) == checksum(&[]) {
                return None;
            }
            std::thread::yield_now();
        }
        None
    }
}

/// 0 for no numbers, as in memory that nobody has written.
fn checksum(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0, |sum, number| mix(sum ^ number))
}
