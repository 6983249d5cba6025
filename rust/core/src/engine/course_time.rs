//! Deadlines: the only place that determines how long an exchange may take, and which limit ends it.

use std::time::Duration;

use super::course::Course;
use super::fault::Fault;
use crate::cluster::Instant;

/// What bounds an exchange: a length from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The message's own deadline.
    Deadline(Duration),
    /// The cluster's `timeout.total`, or its `timeout.stream_total` for a stream.
    Total(Duration),
}

impl Bound {
    /// From the exchange's beginning.
    #[must_use]
    pub fn length(self) -> Duration {
        match self {
            Self::Deadline(length) | Self::Total(length) => length,
        }
    }
}

impl Course {
    /// The limit that ends the exchange first; `None` if nothing limits it. `stream`: its response has begun, and is a stream.
    #[must_use]
    pub fn bound(&self, stream: bool) -> Option<Bound> {
        let timeout = self.cluster().map(|cluster| cluster.group.policy().timeout);
        let total =
            timeout.and_then(|timeout| if stream { timeout.stream_total } else { Some(timeout.total) });
        match (self.terms.deadline, total) {
            (Some(deadline), Some(total)) if deadline > total => Some(Bound::Total(total)),
            (Some(deadline), _) => Some(Bound::Deadline(deadline)),
            (None, total) => total.map(Bound::Total),
        }
    }

    /// The time that the exchange may still take within a limit.
    #[must_use]
    pub fn time_left(&self, bound: Bound, now: Instant) -> Duration {
        (self.terms.began + bound.length()).since(now)
    }

    /// The time that the exchange may still take, by the message's deadline alone; `None` without one.
    #[must_use]
    pub fn message_time_left(&self, now: Instant) -> Option<Duration> {
        self.terms.deadline.map(|length| self.time_left(Bound::Deadline(length), now))
    }

    /// When the exchange must end, before its response begins.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.bound(false).map(|bound| self.terms.began + bound.length())
    }

    /// The time is over.
    pub(super) fn out_of_time(&self) -> Fault {
        match (self.bound(false), self.cluster()) {
            (Some(Bound::Total(total)), Some(cluster)) => Fault::total(cluster.group.name(), total),
            (bound, _) => Fault::deadline(bound.map(Bound::length).unwrap_or_default()),
        }
    }
}

/// A time that is left, in whole milliseconds: at least one, as a deadline of none would be no deadline.
#[must_use]
pub fn whole_milliseconds(left: Duration) -> u64 {
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1)
}
