//! The attempts that an endpoint has not answered yet.

use std::time::Duration;

use crate::cluster::time::Instant;

/// How many attempts wait for a response, and how long they have waited together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waiting {
    count: u32,
    /// The moments since which they wait, in nanoseconds, added up.
    since: u128,
}

impl Waiting {
    /// An attempt begins to wait.
    pub(crate) fn begin(&mut self, since: Instant) {
        self.count += 1;
        self.since += u128::from(since.nanos());
    }

    /// An attempt that waits since then waits no longer.
    pub(crate) fn end(&mut self, since: Instant) {
        self.count = self.count.saturating_sub(1);
        self.since = self.since.saturating_sub(u128::from(since.nanos()));
    }

    /// How many wait.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// How long all of them have waited, added up.
    pub(crate) fn time(&self, now: Instant) -> Duration {
        let sum = (u128::from(now.nanos()) * u128::from(self.count)).saturating_sub(self.since);
        Duration::from_nanos(u64::try_from(sum).unwrap_or(u64::MAX))
    }
}
