//! The layout of the array: the position of each number.

use super::buckets::BUCKETS;

/// The most routes that are counted by name.
pub const ROUTES: usize = 1000;
/// The most clusters that are counted by name.
pub const CLUSTERS: usize = 250;
/// The most combinations of route, cluster and class of status that are counted separately.
pub const SERIES: usize = 4096;
/// The most error codes that are counted.
pub const CODES: usize = 64;
/// The most workers with gauges.
pub const WORKERS: usize = 256;

/// The numbers that all workers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// When counting began, in milliseconds since 1970.
    Began,
    /// Clients that left before they had their whole response.
    ClientsGone,
    /// Responses that stopped short.
    Aborted,
    /// Connections from clients.
    ClientConnections,
    /// Connections made to endpoints.
    UpstreamConnections,
    /// Reloads that took effect.
    Reloaded,
    /// Reloads that changed nothing, because the configuration has problems.
    NotReloaded,
    /// Lines of the access log that were written.
    LinesWritten,
    /// Lines of the access log that were dropped.
    LinesDropped,
    /// Mirrors that were answered without an error.
    MirrorsSucceeded,
    /// Mirrors that failed, or were answered with an error.
    MirrorsFailed,
    /// Mirrors that were not sent.
    MirrorsDropped,
    /// Internal calls for an answer that were answered without an error.
    StepsSucceeded,
    /// Internal calls for an answer that failed, or were answered with an error.
    StepsFailed,
}

/// The gauges of each worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// 1 if the worker serves.
    Up,
    /// Messages that were decided and have not ended.
    InFlight,
    /// Open connections from clients.
    ClientConnections,
    /// Idle connections to endpoints.
    UpstreamIdle,
    /// Bytes of buffered request bodies.
    Buffered,
    /// 1 if the last reload took effect, 2 if it did not, 0 before the first reload.
    LastReload,
    /// When the configuration was loaded, in milliseconds since 1970.
    Loaded,
}

impl Gauge {
    /// All gauges, in the order of the layout.
    pub const ALL: [Self; 7] = [
        Self::Up,
        Self::InFlight,
        Self::ClientConnections,
        Self::UpstreamIdle,
        Self::Buffered,
        Self::LastReload,
        Self::Loaded,
    ];
}

/// Size of a name: key, length, bytes.
pub(super) const NAME: usize = 2 + MAX_NAME / 8;
/// The longest name, in bytes; the configuration allows no longer ones.
pub(super) const MAX_NAME: usize = 128;

/// Size of a histogram: the sum in nanoseconds, then the buckets.
pub(super) const HISTOGRAM: usize = 1 + BUCKETS;
/// Size of a series: combination, bytes in, bytes out, attempts, retries, then a histogram of durations.
pub(super) const ENTRY: usize = 5 + HISTOGRAM;
/// Number of overflow series for combinations without a slot: one for each class of status.
pub(super) const OVERFLOW: usize = 6;

/// Room for more totals and gauges than there are, so that new ones do not move the rest.
const TOTALS: usize = 32;
const GAUGES: usize = 16;

const ERRORS_AT: usize = TOTALS;
const GAUGES_AT: usize = ERRORS_AT + CODES;
pub(super) const ROUTES_AT: usize = GAUGES_AT + WORKERS * GAUGES;
pub(super) const CLUSTERS_AT: usize = ROUTES_AT + ROUTES * NAME;
/// Histograms by the slot of a cluster, including those for other clusters and for none.
pub(super) const FIRST_BYTE_AT: usize = CLUSTERS_AT + CLUSTERS * NAME;
pub(super) const SERIES_AT: usize = FIRST_BYTE_AT + (CLUSTERS + 2) * HISTOGRAM;

/// Length of the array, in numbers.
pub const CELLS: usize = SERIES_AT + (SERIES + OVERFLOW) * ENTRY;

pub(super) const fn total(total: Total) -> usize {
    total as usize
}

pub(super) fn error(code: usize) -> Option<usize> {
    (code < CODES).then_some(ERRORS_AT + code)
}

pub(super) fn gauge(worker: usize, gauge: Gauge) -> Option<usize> {
    (worker < WORKERS).then_some(GAUGES_AT + worker * GAUGES + gauge as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overlaps() {
        assert!(total(Total::StepsFailed) < TOTALS);
        assert!(Gauge::ALL.len() <= GAUGES);
        assert_eq!(error(CODES - 1), Some(GAUGES_AT - 1));
        assert_eq!(error(CODES), None);
        assert_eq!(gauge(WORKERS, Gauge::Up), None);
        assert!(gauge(WORKERS - 1, Gauge::Loaded).is_some_and(|at| at < ROUTES_AT));
        for (at, gauge) in Gauge::ALL.into_iter().enumerate() {
            assert_eq!(gauge as usize, at);
        }
    }
}
