//! The one place that says how long an exchange may take.

use std::time::Duration;

use super::course::Course;
use crate::cluster::Instant;

impl Course {
    /// How long the exchange may still take, as the message and the cluster say; `None`: as long as it likes.
    #[must_use]
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.since(now))
    }

    /// The same once its response has begun and is a stream.
    #[must_use]
    pub fn stream_time_left(&self, now: Instant) -> Option<Duration> {
        let total = self.cluster().and_then(|found| found.group.policy().timeout.stream_total);
        let least = self.terms.deadline.into_iter().chain(total).min();
        least.map(|length| (self.terms.began + length).since(now))
    }

    /// How long the exchange may still take, as the message alone says.
    #[must_use]
    pub fn message_time_left(&self, now: Instant) -> Option<Duration> {
        self.terms.deadline.map(|length| (self.terms.began + length).since(now))
    }

    /// When the exchange has to be over: as the message and the cluster say.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let total = self.cluster().map(|cluster| cluster.group.policy().timeout.total);
        let least = self.terms.deadline.into_iter().chain(total).min();
        least.map(|length| self.terms.began + length)
    }
}
