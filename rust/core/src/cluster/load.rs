//! Which of two endpoints has less load.

use std::time::Duration;

use crate::cluster::health::latency::Latency;
use crate::cluster::health::success::SuccessRate;
use crate::cluster::health::waiting::Waiting;
use crate::cluster::time::{Instant, float, nanos};

/// The load of an endpoint, to compare with that of another.
///
/// The load is the time that one more message would take: the average latency, once for each attempt in flight and once
/// for the message itself. Attempts in flight that have waited longer than that count with the time that they have waited,
/// so that an endpoint that has stopped draws no messages by the average of better times. The attempts in flight are
/// divided by the endpoint's share, its weight relative to the mean of all.
///
/// The load is divided by the square of the success rate: a message that fails takes its time twice. A caller's bad
/// messages reach all endpoints alike and change nothing here, because [`is_less_than`](Self::is_less_than) compares two endpoints.
///
/// Of an endpoint that has not answered well yet, the latency is not known. If it has only failed, it counts as slow as the
/// endpoint that it is compared with. If it is new, its first message is free, and until that is answered it has more load
/// than any other: a new endpoint proves itself with one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Nanoseconds; `None`: it has only failed.
    latency: Option<f64>,
    in_flight: f64,
    /// Of those in flight, the ones that wait for a response.
    waiting: f64,
    /// The time that those have waited, in nanoseconds.
    waited: f64,
    success: f64,
}

/// Success rates that differ by less than this factor count as equal: that much is chance.
const CHANCE: f64 = 0.9;

/// The latency of a new endpoint whose first message is under way, in nanoseconds.
const UNKNOWN: f64 = 1e24;

impl Load {
    /// The load of an endpoint.
    pub(crate) fn new(
        latency: &Latency,
        success: &SuccessRate,
        waiting: &Waiting,
        in_flight: u32,
        share: f64,
        now: Instant,
    ) -> Self {
        let success = success.rate(now);
        let waited: Duration = waiting.time(now);
        Self {
            latency: match latency.estimate(now) {
                Some(known) => Some(float(nanos(known))),
                None if success < CHANCE => None,
                None if in_flight > 0 => Some(UNKNOWN),
                None => Some(float(nanos(latency.bound(now)))),
            },
            in_flight: f64::from(in_flight) / share,
            waiting: f64::from(waiting.count()) / share,
            waited: float(nanos(waited)) / share,
            success,
        }
    }

    /// Whether this load is less than another.
    pub(crate) fn is_less_than(&self, other: &Self) -> bool {
        let own = self.latency.or(other.latency).unwrap_or(1.0);
        let others = other.latency.unwrap_or(own);
        let (lower, higher) = (self.success.min(other.success), self.success.max(other.success));
        let (own_success, others_success) =
            if lower > higher * CHANCE { (1.0, 1.0) } else { (self.success, other.success) };
        self.time(own) * others_success.powi(2) < other.time(others) * own_success.powi(2)
    }

    /// The time that one more message would take.
    fn time(&self, latency: f64) -> f64 {
        let answered = (self.in_flight - self.waiting).max(0.0);
        latency * (answered + 1.0) + (latency * self.waiting).max(self.waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[derive(Default)]
    struct Endpoint {
        latency: Latency,
        success: SuccessRate,
        waiting: Waiting,
        in_flight: u32,
    }

    impl Endpoint {
        fn answered(latency: Duration) -> Self {
            let mut new = Self::default();
            new.latency.observe(latency, at(1));
            new.success.count(true, at(1));
            new
        }

        fn busy(mut self, count: u32) -> Self {
            for _ in 0..count {
                self.in_flight += 1;
                self.waiting.begin(at(1));
            }
            self
        }

        fn failed(mut self, count: u32) -> Self {
            (0..count).for_each(|_| self.success.count(false, at(1)));
            self
        }

        fn load(&self, now: Instant) -> Load {
            Load::new(&self.latency, &self.success, &self.waiting, self.in_flight, 1.0, now)
        }

        fn beats(&self, other: &Self) -> bool {
            self.beats_at(other, at(1))
        }

        fn beats_at(&self, other: &Self, now: Instant) -> bool {
            assert!(
                !(self.load(now).is_less_than(&other.load(now))
                    && other.load(now).is_less_than(&self.load(now)))
            );
            self.load(now).is_less_than(&other.load(now))
        }
    }

    #[test]
    fn is_latency_times_messages() {
        let quick = Endpoint::answered(10 * MS);
        assert!(quick.beats(&Endpoint::answered(11 * MS)));
        assert!(Endpoint::answered(10 * MS).busy(1).beats(&Endpoint::answered(21 * MS)));
        assert!(!Endpoint::answered(10 * MS).busy(1).beats(&Endpoint::answered(19 * MS)));
    }

    #[test]
    fn who_has_not_answered_gets_one_message() {
        let slow = Endpoint::answered(Duration::from_secs(30));
        assert!(Endpoint::default().beats(&slow));
        assert!(Endpoint::answered(Duration::from_secs(30)).busy(1000).beats(&Endpoint::default().busy(1)));
        assert!(Endpoint::default().busy(1).beats(&Endpoint::default().busy(2)));
        let mut tried = Endpoint::default();
        tried.latency.at_least(80 * MS, at(1));
        assert!(Endpoint::answered(50 * MS).beats(&tried), "it is not as new as it was");
    }

    #[test]
    fn failing_fast_is_not_being_fast() {
        for slow in [5 * MS, Duration::from_secs(60)] {
            let good = || Endpoint::answered(slow);
            assert!(good().beats(&Endpoint::default().failed(1)), "it never answered well");
            assert!(good().busy(2).beats(&Endpoint::default().failed(1)));
            assert!(good().beats(&good().failed(2)), "it did once");
            assert!(
                !good().beats(&Endpoint::default().failed(1))
                    || !Endpoint::default().failed(1).beats(&good())
            );
        }
        assert!(!Endpoint::default().failed(3).beats(&Endpoint::default().failed(3)));
        assert!(Endpoint::default().failed(2).beats(&Endpoint::default().failed(9)));
    }

    #[test]
    fn what_all_fail_alike_changes_nothing() {
        let mut one = Endpoint::answered(10 * MS);
        let mut other = Endpoint::answered(11 * MS);
        for n in 0..100 {
            one.success.count(n % 2 == 0, at(1));
            other.success.count(n % 2 == 0 || n == 51, at(1));
        }
        assert!(one.beats(&other));
    }

    #[test]
    fn who_waits_counts_with_its_age() {
        let (stopped, busy) = (Endpoint::answered(10 * MS).busy(2), Endpoint::answered(10 * MS).busy(3));
        assert!(stopped.beats(&busy), "they have just begun");
        let mut later = Endpoint::answered(10 * MS);
        (0..20).for_each(|_| later.waiting.begin(at(2)));
        later.in_flight = 20;
        assert!(later.beats_at(&stopped, at(2)));
    }
}
