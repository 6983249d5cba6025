//! How often an endpoint does well.

use super::latency::weight;
use crate::cluster::time::Instant;

/// The successes that are always counted in.
const PRIOR: f64 = 0.5;

/// A success rate over about the last ten seconds.
///
/// Older attempts count less, exponentially. Half a success is always counted in, so that a single failure of an endpoint
/// with little to do is no final judgement, and so that an endpoint that is left alone is tried again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SuccessRate {
    well: f64,
    badly: f64,
    at: Instant,
}

impl SuccessRate {
    /// Counts an attempt.
    pub(crate) fn count(&mut self, well: bool, now: Instant) {
        let kept = self.kept(now);
        self.well = self.well * kept + f64::from(u8::from(well));
        self.badly = self.badly * kept + f64::from(u8::from(!well));
        self.at = self.at.max(now);
    }

    /// The rate now, above 0 and at most 1.
    pub(crate) fn rate(&self, now: Instant) -> f64 {
        let kept = self.kept(now);
        (self.well * kept + PRIOR) / ((self.well + self.badly) * kept + PRIOR)
    }

    fn kept(&self, now: Instant) -> f64 {
        weight(now.since(self.at))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::default() + Duration::from_millis(ms)
    }

    #[test]
    fn is_that_of_the_last_attempts() {
        let mut success = SuccessRate::default();
        assert!((success.rate(at(0)) - 1.0).abs() < 1e-9);
        for n in 0..10_000 {
            success.count(n % 4 == 0, at(n * 10));
        }
        assert!((success.rate(at(100_000)) - 0.25).abs() < 0.01, "{}", success.rate(at(100_000)));
        for n in 10_000..12_000 {
            success.count(true, at(n * 10));
        }
        assert!(success.rate(at(120_000)) > 0.85, "{}", success.rate(at(120_000)));
    }

    #[test]
    fn what_is_left_alone_is_tried_again() {
        let mut success = SuccessRate::default();
        for _ in 0..100 {
            success.count(false, at(0));
        }
        assert!(success.rate(at(0)) < 0.01);
        assert!(success.rate(at(60_000)) > 0.6, "{}", success.rate(at(60_000)));
        assert!(success.rate(at(u64::MAX / 2_000_000)) > 0.999);
    }
}
