//! What each of several processes says of its clusters, where the others can read it.
//!
//! A board is memory that processes share, a slot for each worker and one for those that are gone. A
//! slot holds how many numbers follow, a checksum of these, and the numbers. Only its worker writes it; who reads while
//! that happens sees a wrong checksum and looks again. A worker that has more to say than fits says nothing, and knows that.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::accounts::Memory;
use super::mix;
use super::report;
use super::view::ClusterView;

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
    pub(super) fn write(&self, worker: usize, views: &[ClusterView]) -> bool {
        worker >= self.workers() || self.put(worker, &report::write(views))
    }

    /// What the other workers said last.
    pub(super) fn others(&self, worker: usize) -> Vec<Vec<ClusterView>> {
        (0..self.workers()).filter(|other| *other != worker).filter_map(|other| self.read(other)).collect()
    }

    /// What workers that are gone had counted.
    pub(super) fn gone(&self) -> Vec<ClusterView> {
        self.read(self.workers()).unwrap_or_default()
    }

    /// A worker is gone: what it had counted remains. For one process only, which is no worker.
    pub(super) fn forget(&self, worker: usize) {
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
        self.put(self.workers(), &report::write(&gone));
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

    fn read(&self, at: usize) -> Option<Vec<ClusterView>> {
        let (length, sum, cells) = self.slot(at)?;
        for _ in 0..LOOKS {
            let length = usize::try_from(length.load(Acquire)).ok()?;
            let numbers: Vec<u64> = cells.iter().take(length).map(|cell| cell.load(Acquire)).collect();
            if length > 0 && checksum(&numbers) == sum.load(Relaxed) {
                return report::read(&numbers);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::super::policy::Policy;
    use super::super::{Accounts, Group, Instant, Outcome, Registry, Share, Tried};
    use super::*;

    struct Same(Arc<[AtomicU64]>);

    impl AsRef<[AtomicU64]> for Same {
        fn as_ref(&self) -> &[AtomicU64] {
            &self.0
        }
    }

    fn boards(workers: usize) -> impl Fn() -> Board {
        let memory: Arc<[AtomicU64]> = (0..Board::SLOT * (workers + 1)).map(|_| AtomicU64::new(0)).collect();
        move || Board::new(Box::new(Same(Arc::clone(&memory))))
    }

    fn worker(board: Board, worker: u32) -> (Registry, Group) {
        let mut registry = Registry::sharing(Accounts::on_heap(1), 1);
        registry.show(board);
        registry.become_worker(Share { worker, workers: 2 }, 1);
        let policy = Arc::new(Policy::default());
        let group =
            registry.apply([("models", &[("http://a", 1)][..], policy)], Instant::default()).remove(0);
        (registry, group)
    }

    fn succeed(group: &Group) {
        let now = Instant::default();
        let permit = match group.enter(5, None, now) {
            super::super::Entry::Admitted(permit) => permit,
            other => panic!("{other:?}"),
        };
        let attempt = group.attempt(&mut Tried::new(), None, false, now).unwrap();
        group.finish(attempt, Outcome::Success, now);
        group.leave(permit, now);
    }

    #[test]
    fn a_worker_speaks_for_all_and_what_was_counted_remains() {
        let now = Instant::default();
        let board = boards(2);
        let (mut supervisor, (first, one), (second, two)) =
            (Registry::new(1), worker(board(), 0), worker(board(), 1));
        supervisor.show(board());
        let seen = |registry: &Registry| {
            let view = registry.view(now).remove(0);
            let endpoint = &view.endpoints[0];
            (view.totals.messages, view.in_flight, endpoint.counts.succeeded, endpoint.conditions.len())
        };
        (0..3).for_each(|_| succeed(&one));
        (0..4).for_each(|_| succeed(&two));
        let held = two.enter(5, None, now);
        assert_eq!(seen(&first), (3, 0, 3, 1), "the other has said nothing yet");
        assert!(first.publish(now));
        assert!(second.publish(now));
        assert_eq!(seen(&first), (8, 1, 7, 2));
        assert_eq!(seen(&second), (8, 1, 7, 2));
        drop((held, two, second));
        supervisor.forget_worker(1);
        assert_eq!(seen(&first), (8, 0, 7, 1));
        let (second, two) = worker(board(), 1);
        succeed(&two);
        assert!(second.publish(now));
        assert_eq!(seen(&first), (9, 0, 8, 2));
        supervisor.forget_worker(1);
        supervisor.forget_worker(1);
        assert_eq!(seen(&first), (9, 0, 8, 1));
    }

    #[test]
    fn a_worker_with_too_much_to_say_knows_it() {
        let now = Instant::default();
        let board = boards(2);
        let ((mut first, _one), (second, _two)) = (worker(board(), 0), worker(board(), 1));
        assert!(first.publish(now));
        assert_eq!(second.view(now)[0].endpoints.len(), 1);
        let urls: Vec<String> =
            (0..100_000).map(|n| format!("http://host-{n}.test:8000/openai/v1")).collect();
        let endpoints: Vec<(&str, u32)> = urls.iter().map(|url| (&**url, 1)).collect();
        let many = first.apply([("many", &endpoints[..], Arc::default())], now);
        assert!(!first.publish(now));
        let seen = second.view(now);
        assert_eq!((seen.len(), &*seen[0].name), (1, "models"));
        drop(many);
        let _few = first.apply([("few", &endpoints[..40_000], Arc::default())], now);
        assert!(first.publish(now));
        assert_eq!(second.view(now).len(), 2);
    }

    #[test]
    fn nobody_reads_half_of_what_is_said() {
        let board = boards(1);
        let (writer, reader) = (board(), board());
        let of = |name: String| {
            let mut registry = Registry::new(1);
            let endpoints: Vec<(String, u32)> = (0..20).map(|n| (format!("http://{name}/{n}"), 1)).collect();
            let endpoints: Vec<(&str, u32)> =
                endpoints.iter().map(|(url, weight)| (&**url, *weight)).collect();
            let _groups = registry.apply([(&*name, &endpoints[..], Arc::default())], Instant::default());
            registry.view(Instant::default())
        };
        let said: Vec<_> = (0..4).map(|n| of("x".repeat(n * 5))).collect();
        let done = AtomicBool::new(false);
        let read = std::thread::scope(|scope| {
            scope.spawn(|| {
                for at in 0..3000 {
                    writer.write(0, &said[at % said.len()]);
                }
                done.store(true, Relaxed);
            });
            let mut read = 0;
            while !done.load(Relaxed) {
                if let Some(views) = reader.read(0) {
                    assert!(said.contains(&views));
                    read += 1;
                }
            }
            read
        });
        assert!(read > 0);
    }
}
