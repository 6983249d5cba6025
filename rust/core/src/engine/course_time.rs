//! Deadlines: the only place that determines how long an exchange may take.

use std::time::Duration;

use super::course::Course;
use crate::cluster::Instant;

impl Course {
    /// The time that the exchange may still take, by the message's deadline and the cluster's total timeout; `None` if nothing
    /// limits it.
    #[must_use]
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.since(now))
    }

    /// The time that the exchange may still take once its response is a stream; `None` if nothing limits it.
    #[must_use]
    pub fn stream_time_left(&self, now: Instant) -> Option<Duration> {
        let total = self.cluster().and_then(|found| found.group.policy().timeout.stream_total);
        let least = self.terms.deadline.into_iter().chain(total).min();
        least.map(|length| (self.terms.began + length).since(now))
    }

    /// The time that the exchange may still take, by the message's deadline alone; `None` without one.
    #[must_use]
    pub fn message_time_left(&self, now: Instant) -> Option<Duration> {
        self.terms.deadline.map(|length| (self.terms.began + length).since(now))
    }

    /// When the exchange must end, by the message's deadline and the cluster's total timeout.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let total = self.cluster().map(|cluster| cluster.group.policy().timeout.total);
        let least = self.terms.deadline.into_iter().chain(total).min();
        least.map(|length| self.terms.began + length)
    }
}
