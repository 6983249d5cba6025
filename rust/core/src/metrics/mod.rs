//! Metrics of messages, counted in one flat array of atomic numbers that the host supplies.
//!
//! The array is on the heap of one process, or in memory that several processes share. Then all of them count into the same
//! numbers, and each can report for all. The array contains no pointers. Its parts, in this order:
//!
//! 1. Totals ([`Total`]).
//! 2. Errors by code, in the order of the codes that the host supplies.
//! 3. Gauges ([`Gauge`]) by worker. [`Metrics::forget_worker`] clears those of a worker that has died.
//! 4. The names of routes and clusters that have had messages, each in a slot that it has claimed.
//! 5. The time to the first byte by cluster.
//! 6. Series by route, cluster and class of status, each in a slot that its combination has claimed.
//!
//! The first message claims a slot, and a slot is never given up, so that counts survive reloads. There are [`ROUTES`],
//! [`CLUSTERS`] and [`SERIES`] slots; names and combinations without a slot are counted as [`OTHERS`]. Labels never come from
//! clients.
//!
//! A message costs about a dozen relaxed additions. Two numbers may be read at slightly different moments. But each number
//! only grows, and a histogram's count is the sum of its buckets.

mod buckets;
mod clusters;
mod exposition;
mod layout;
mod names;
mod render;
mod series;

use std::fmt;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};

pub use buckets::BOUNDS;
pub use exposition::Format;
pub use layout::{CELLS, CLUSTERS, CODES, Gauge, ROUTES, SERIES, Total, WORKERS};
use names::Names;
pub use series::Message;
use series::Series;

/// The label of routes and clusters without a slot. It is not a valid name of either.
pub const OTHERS: &str = "(others)";
/// The label of messages without a route or a cluster.
pub const NONE: &str = "(none)";

/// Memory for at least [`CELLS`] numbers, initially zero.
pub type Memory = Box<dyn AsRef<[AtomicU64]> + Send + Sync>;

/// The metrics of a process, or of all processes that share the memory.
pub struct Metrics {
    memory: Memory,
    codes: Vec<String>,
}

/// A cache of the slots of one snapshot's routes and clusters, by their positions.
#[derive(Debug)]
pub struct Slots {
    routes: Box<[AtomicU16]>,
    clusters: Box<[AtomicU16]>,
}

impl Slots {
    /// Makes an empty cache for these numbers of routes and clusters.
    #[must_use]
    pub fn new(routes: usize, clusters: usize) -> Self {
        let unknown = |count| (0..count).map(|_| AtomicU16::new(0)).collect();
        Self { routes: unknown(routes), clusters: unknown(clusters) }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("codes", &self.codes).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Uses memory that the host supplies; `None` if it is too small. All processes that share the memory must pass the same
    /// `codes` in the same order. The first [`CODES`] of them are counted.
    #[must_use]
    pub fn new(memory: Memory, codes: Vec<String>) -> Option<Self> {
        (memory.as_ref().as_ref().len() >= CELLS).then_some(Self { memory, codes })
    }

    /// Allocates memory of its own.
    #[must_use]
    pub fn on_heap(codes: Vec<String>) -> Self {
        Self { memory: Box::new(zeros()), codes }
    }

    fn cells(&self) -> &[AtomicU64] {
        (*self.memory).as_ref()
    }

    fn cell(&self, at: usize) -> Option<&AtomicU64> {
        self.cells().get(at)
    }

    /// Counts a finished message. `route` and `cluster` are positions in the snapshot of `slots`, and names.
    pub fn message(
        &self,
        slots: &Slots,
        route: Option<(usize, &str)>,
        cluster: Option<(usize, &str)>,
        message: &Message,
    ) {
        let cells = self.cells();
        let route = slot(&Names::routes(cells), &slots.routes, route);
        let cluster = slot(&Names::clusters(cells), &slots.clusters, cluster);
        Series::of(cells, route, cluster, message.status).add(message);
        if let Some(first_byte) = message.first_byte {
            series::first_byte(cells, cluster, first_byte);
        }
    }

    /// Counts an error that was answered, or that ended a response. Unknown codes are not counted.
    pub fn error(&self, code: &str) {
        if let Some(at) = self.codes.iter().position(|known| known == code)
            && let Some(cell) = layout::error(at).and_then(|at| self.cell(at))
        {
            cell.fetch_add(1, Relaxed);
        }
    }

    /// Adds to a total.
    pub fn add(&self, total: Total, count: u64) {
        if let Some(cell) = self.cell(layout::total(total)) {
            cell.fetch_add(count, Relaxed);
        }
    }

    /// The value of a total.
    #[must_use]
    pub fn total(&self, total: Total) -> u64 {
        self.cell(layout::total(total)).map_or(0, |cell| cell.load(Relaxed))
    }

    /// Sets a worker's gauge. Workers beyond [`WORKERS`] have none.
    pub fn set(&self, worker: usize, gauge: Gauge, value: u64) {
        if let Some(cell) = layout::gauge(worker, gauge).and_then(|at| self.cell(at)) {
            cell.store(value, Relaxed);
        }
    }

    /// Adds `by` to a worker's gauge.
    pub fn change(&self, worker: usize, gauge: Gauge, by: i64) {
        if let Some(cell) = layout::gauge(worker, gauge).and_then(|at| self.cell(at)) {
            cell.fetch_add(by.cast_unsigned(), Relaxed);
        }
    }

    /// Clears the gauges of a worker that has died, or is replaced.
    pub fn forget_worker(&self, worker: usize) {
        for gauge in Gauge::ALL {
            self.set(worker, gauge, 0);
        }
    }
}

/// [`CELLS`] zeros.
fn zeros() -> Box<[AtomicU64]> {
    (0..CELLS).map(|_| AtomicU64::new(0)).collect()
}

/// The slot of a name. `known` caches slots by position, as slot + 1; 0 means unknown.
fn slot(names: &Names<'_>, known: &[AtomicU16], whose: Option<(usize, &str)>) -> u16 {
    let Some((position, name)) = whose else { return names.none() };
    let Some(known) = known.get(position) else { return names.slot(name) };
    match known.load(Relaxed) {
        0 => {
            let slot = names.slot(name);
            known.store(slot + 1, Relaxed);
            slot
        }
        known => known - 1,
    }
}
