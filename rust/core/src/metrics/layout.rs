//! Where each number stands in the array.

use super::buckets::BUCKETS;

/// How many routes are counted by name.
pub const ROUTES: usize = 1000;
/// How many clusters are counted by name.
pub const CLUSTERS: usize = 250;
/// How many combinations of route, cluster and class of status are counted apart.
pub const SERIES: usize = 4096;
/// How many error codes are counted by name.
pub const CODES: usize = 64;
/// How many workers have gauges.
pub const WORKERS: usize = 256;

/// What is counted once for the whole host.
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
    /// Reloads that changed nothing, as the configuration has problems.
    NotReloaded,
    /// Lines of the access log that were written.
    LinesWritten,
    /// Lines of the access log that were dropped.
    LinesDropped,
    /// Copies of messages that were answered well.
    MirrorsSucceeded,
    /// Copies of messages that failed, or were answered with an error.
    MirrorsFailed,
    /// Copies of messages that were not sent.
    MirrorsDropped,
    /// Internal calls on the way to an answer that were answered well.
    StepsSucceeded,
    /// Internal calls on the way to an answer that failed, or were answered with an error.
    StepsFailed,
}

/// What each worker says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// 1: it serves.
    Up,
    /// Messages that were decided and are not over.
    InFlight,
    /// Open connections from clients.
    ClientConnections,
    /// Open connections to endpoints that wait for a message.
    UpstreamIdle,
    /// Bytes of request bodies that are held.
    Buffered,
    /// 1: its last reload took effect, 2: it did not, 0: there was none.
    LastReload,
    /// When its configuration was loaded, in milliseconds since 1970.
    Loaded,
}

impl Gauge {
    /// All of them, in the order in which they stand.
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

/// A name: its key, its length, then its bytes.
pub(super) const NAME: usize = 2 + MAX_NAME / 8;
/// Bytes that a name may have; the configuration allows no longer ones.
pub(super) const MAX_NAME: usize = 128;

/// A histogram: the sum in nanoseconds, then the buckets.
pub(super) const HISTOGRAM: usize = 1 + BUCKETS;
/// A series: its combination, bytes in, bytes out, attempts, retries, then a histogram of durations.
pub(super) const ENTRY: usize = 5 + HISTOGRAM;
/// Series of what found no slot: one for each class of status.
pub(super) const OVERFLOW: usize = 6;

/// More than there are, so that others can be added without moving everything.
const TOTALS: usize = 32;
const GAUGES: usize = 16;

const ERRORS_AT: usize = TOTALS;
const GAUGES_AT: usize = ERRORS_AT + CODES;
pub(super) const ROUTES_AT: usize = GAUGES_AT + WORKERS * GAUGES;
pub(super) const CLUSTERS_AT: usize = ROUTES_AT + ROUTES * NAME;
/// By the slot of a cluster, those for others and for none included.
pub(super) const FIRST_BYTE_AT: usize = CLUSTERS_AT + CLUSTERS * NAME;
pub(super) const SERIES_AT: usize = FIRST_BYTE_AT + (CLUSTERS + 2) * HISTOGRAM;

/// How many numbers there are.
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
