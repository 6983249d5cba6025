//! How long an endpoint takes, as far as one knows.

use std::time::Duration;

use crate::cluster::time::{Instant, float, nanos, whole};

/// Peak-sensitive, exponentially weighted moving average of latency ("peak EWMA").
///
/// A sample above the estimate replaces it at once; one below moves it by the share `1 - e^(-t / DECAY)`, where `t` is
/// the time since the last sample. Without samples the estimate falls towards zero, so that an endpoint that is left
/// alone is tried again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    /// Nanoseconds.
    estimate: f64,
    at: Instant,
    known: bool,
}

impl Latency {
    /// How fast what was seen loses weight: after this time without samples an estimate has fallen to 1/e (37 %).
    ///
    /// Ten seconds, as Finagle's and Linkerd's balancers use: an endpoint that was slow is tried again after seconds, not
    /// minutes, and one slow response in a thousand does not take it out.
    pub const DECAY: Duration = Duration::from_secs(10);

    /// Takes a sample: from when a request was sent until its response began.
    pub fn observe(&mut self, sample: Duration, now: Instant) {
        let sample = float(nanos(sample));
        if sample >= self.estimate {
            self.estimate = sample;
        } else {
            let kept = weight(now.since(self.at));
            self.estimate = self.estimate * kept + sample * (1.0 - kept);
        }
        self.at = self.at.max(now);
        self.known = true;
    }

    /// Takes note of a failure, which is no sample. But the endpoint was not left alone, so what is known of it does not fade.
    pub fn failed(&mut self, now: Instant) {
        self.at = self.at.max(now);
    }

    /// Takes note of an attempt that was given up after `waited`: it would have taken at least that long. An endpoint that
    /// has not answered yet still has not.
    pub fn at_least(&mut self, waited: Duration, now: Instant) {
        let waited = float(nanos(waited));
        if waited > self.decayed(now) {
            self.estimate = waited;
            self.at = self.at.max(now);
        }
    }

    /// What it is now; `None` before the first sample.
    #[must_use]
    pub fn estimate(&self, now: Instant) -> Option<Duration> {
        self.known.then(|| self.bound(now))
    }

    /// What it is at least, as far as one knows: as [`estimate`](Self::estimate), also before the first sample.
    #[must_use]
    pub fn bound(&self, now: Instant) -> Duration {
        Duration::from_nanos(whole(self.decayed(now)))
    }

    fn decayed(&self, now: Instant) -> f64 {
        self.estimate * weight(now.since(self.at))
    }
}

/// What a sample of that long ago still weighs.
pub(super) fn weight(passed: Duration) -> f64 {
    if passed.is_zero() { 1.0 } else { (-passed.as_secs_f64() / Latency::DECAY.as_secs_f64()).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn rises_at_once_and_falls_with_time() {
        let mut latency = Latency::default();
        assert_eq!(latency.estimate(at(0)), None);
        latency.observe(10 * MS, at(1));
        latency.observe(90 * MS, at(1));
        assert_eq!(latency.estimate(at(1)), Some(90 * MS));
        latency.observe(10 * MS, at(1));
        assert_eq!(latency.estimate(at(1)), Some(90 * MS), "no time passed, no weight");
        latency.observe(10 * MS, at(11));
        let expected = 90.0 / std::f64::consts::E + 10.0 * (1.0 - 1.0 / std::f64::consts::E);
        let estimate = latency.estimate(at(11)).unwrap().as_secs_f64() * 1e3;
        assert!((estimate - expected).abs() < 1e-3, "{estimate}");
        assert!(latency.estimate(at(41)).unwrap() < 3 * MS, "left alone, it is forgotten");
    }

    #[test]
    fn a_failure_is_no_sample() {
        let mut latency = Latency::default();
        latency.failed(at(1));
        assert_eq!(latency.estimate(at(1)), None);
        latency.observe(50 * MS, at(1));
        for second in 2..100 {
            latency.failed(at(second));
        }
        assert_eq!(latency.estimate(at(99)), Some(50 * MS), "neither better nor forgotten");
        assert!(latency.estimate(at(140)).unwrap() < MS, "left alone, it is");
    }

    #[test]
    fn giving_up_early_tells_nothing_and_late_something() {
        let mut latency = Latency::default();
        latency.at_least(Duration::ZERO, at(1));
        assert_eq!(latency.estimate(at(1)), None);
        latency.at_least(80 * MS, at(1));
        assert_eq!(latency.estimate(at(1)), None);
        assert_eq!(latency.bound(at(1)), 80 * MS);
        let mut quick = Latency::default();
        quick.observe(50 * MS, at(1));
        quick.at_least(20 * MS, at(1));
        assert_eq!(quick.estimate(at(1)), Some(50 * MS));
        quick.at_least(60 * MS, at(1));
        assert_eq!(quick.estimate(at(1)), Some(60 * MS));
    }
}
