//! What messages did, counted in one flat array of atomic numbers that the host supplies.
//!
//! The array is the heap of one process, or memory that several share: then each counts into the same numbers, and any of
//! them can tell of all. Nothing in it refers to a place in memory. It holds, in this order:
//!
//! 1. totals ([`Total`]), each one number,
//! 2. errors by code, in the order of the codes that the host gives,
//! 3. gauges ([`Gauge`]) by worker: what a worker that died has said of itself goes with [`Metrics::forget_worker`],
//! 4. the names of routes and clusters that have had messages, each in the slot that it claimed,
//! 5. the time to the first byte by cluster,
//! 6. series by route, cluster and class of status, each in the slot that its combination claimed.
//!
//! Slots are claimed with the first message and never given up, so that what was counted survives reloads. There are
//! [`ROUTES`], [`CLUSTERS`] and [`SERIES`] of them; what finds none is counted under [`OTHERS`]. Nothing that a client
//! sends becomes a label.
//!
//! A message costs about a dozen relaxed additions. Two numbers that were read one after the other need not be of the
//! same moment, but each only grows, and a histogram's count is the sum of its buckets.

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

/// The label of routes and clusters beyond those that have a slot. No name can be this.
pub const OTHERS: &str = "(others)";
/// The label of messages that no route took, or that reached no cluster.
pub const NONE: &str = "(none)";

/// Memory for the numbers: at least [`CELLS`] of them, all zero at first.
pub type Memory = Box<dyn AsRef<[AtomicU64]> + Send + Sync>;

/// All that is counted.
pub struct Metrics {
    memory: Memory,
    codes: Vec<String>,
}

/// For the routes and clusters of one snapshot, by their positions: which slots are theirs. Filled as they are asked for.
#[derive(Debug)]
pub struct Slots {
    routes: Box<[AtomicU16]>,
    clusters: Box<[AtomicU16]>,
}

impl Slots {
    /// Nothing known yet.
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
    /// On the memory that the host supplies; `None` where it is too small. Whoever shares it gives the same `codes`, in the
    /// same order: the first [`CODES`] of them are counted by name.
    #[must_use]
    pub fn new(memory: Memory, codes: Vec<String>) -> Option<Self> {
        (memory.as_ref().as_ref().len() >= CELLS).then_some(Self { memory, codes })
    }

    /// On memory of its own.
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

    /// Counts a message that is over. `route` and `cluster` are positions in the snapshot that `slots` belongs to, and
    /// their names.
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

    /// Counts an error that was answered, or that ended a response. A code that is not known counts nowhere.
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

    /// A total.
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

    /// Adds to a worker's gauge, or takes from it.
    pub fn change(&self, worker: usize, gauge: Gauge, by: i64) {
        if let Some(cell) = layout::gauge(worker, gauge).and_then(|at| self.cell(at)) {
            cell.fetch_add(by.cast_unsigned(), Relaxed);
        }
    }

    /// What a worker said of itself last is true no more: it died, or another takes its place.
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

/// The slot of a name, by its position where that was asked for before.
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
