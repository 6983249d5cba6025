//! When to ask a second endpoint.

use std::time::Duration;

use crate::cluster::policy;
use crate::cluster::time::nanos;

/// Buckets for each doubling of the latency.
const STEPS: u64 = 8;
/// Latencies below 2¹³ ns (8 µs) fall into the first bucket, those above 2⁴¹ ns (37 min) into the last.
const LOWEST: u32 = 13;
const BUCKETS: usize = 28 * 8;
/// When so many samples are held, all counts are halved: what is older counts less.
const MOST: u32 = 4096;
/// After so many samples the percentile is computed anew.
const REFRESH: u32 = 64;

/// Latencies of a cluster, counted in buckets whose width is an eighth of a power of two, so that a percentile is at most
/// 12.5 % too high. 900 bytes, whatever it has seen; about the last four thousand samples count.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u32; BUCKETS]>,
    held: u32,
    fresh: u32,
    /// The percentile last computed, and what it is.
    known: Option<(u32, Duration)>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), held: 0, fresh: 0, known: None }
    }
}

impl Histogram {
    /// Nothing seen.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a sample.
    pub fn observe(&mut self, latency: Duration) {
        if let Some(count) = self.counts.get_mut(bucket(nanos(latency))) {
            *count += 1;
            self.held += 1;
            self.fresh += 1;
        }
        if self.fresh >= REFRESH {
            self.fresh = 0;
            self.known = None;
        }
        if self.held >= MOST {
            for count in self.counts.iter_mut() {
                *count /= 2;
            }
            self.held = self.counts.iter().sum();
        }
    }

    /// Samples held.
    #[must_use]
    pub fn samples(&self) -> u32 {
        self.held
    }

    /// The time within which this per cent of the samples are; `None` before the first. At most 64 samples behind.
    pub fn percentile(&mut self, percent: u32) -> Option<Duration> {
        if let Some((known, latency)) = self.known
            && known == percent
        {
            return Some(latency);
        }
        let latency = self.quantile(percent)?;
        self.known = Some((percent, latency));
        Some(latency)
    }

    /// As [`percentile`](Self::percentile), up to date.
    #[must_use]
    pub fn quantile(&self, percent: u32) -> Option<Duration> {
        if self.held == 0 {
            return None;
        }
        let rank = u64::from(self.held) * u64::from(percent.min(100));
        let mut seen = 0;
        for (at, count) in (0..).zip(self.counts.iter()) {
            seen += u64::from(*count);
            if *count > 0 && seen * 100 >= rank {
                return Some(Duration::from_nanos(end(at)));
            }
        }
        None
    }

    /// When to send a second attempt, counted from the first; `None`: not, as too little is known.
    pub fn hedge_after(&mut self, policy: &policy::Hedge) -> Option<Duration> {
        if self.held < policy.samples {
            return None;
        }
        Some(self.percentile(policy.percentile)?.max(policy.minimum))
    }
}

fn bucket(nanos: u64) -> usize {
    let Some(exponent) = nanos.checked_ilog2().and_then(|log| log.checked_sub(LOWEST)) else { return 0 };
    let step = (nanos >> (exponent + LOWEST - 3)) & (STEPS - 1);
    usize::try_from(u64::from(exponent) * STEPS + step).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// Where a bucket ends.
fn end(at: u64) -> u64 {
    let start = 1_u64 << (u64::from(LOWEST) + at / STEPS);
    start + (start / STEPS) * (at % STEPS + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn percentiles_are_an_eighth_off_at_most(
            samples in prop::collection::vec(10_000_u64..10_000_000_000_000, 1..500), percent in 1_u32..=100,
        ) {
            let samples: Vec<u64> = samples.into_iter().map(|n| n.min(1 << 41)).collect();
            let mut histogram = Histogram::new();
            for sample in &samples {
                histogram.observe(Duration::from_nanos(*sample));
            }
            let mut sorted = samples;
            sorted.sort_unstable();
            let exact = sorted[(sorted.len() * percent as usize).div_ceil(100) - 1];
            let found = u64::try_from(histogram.quantile(percent).unwrap().as_nanos()).unwrap();
            prop_assert!(found >= exact && found <= exact + exact / 8 + 1, "{found} for {exact}");
        }
    }

    #[test]
    fn knows_nothing_before_there_are_samples() {
        let policy = policy::Hedge::default();
        let mut histogram = Histogram::new();
        for _ in 0..99 {
            assert_eq!(histogram.hedge_after(&policy), None);
            histogram.observe(Duration::from_millis(40));
        }
        histogram.observe(Duration::from_millis(40));
        let after = histogram.hedge_after(&policy).unwrap();
        assert!(after >= Duration::from_millis(40) && after <= Duration::from_millis(45), "{after:?}");
        let later = policy::Hedge { minimum: Duration::from_secs(1), ..policy };
        assert_eq!(histogram.hedge_after(&later), Some(Duration::from_secs(1)));
    }

    #[test]
    fn follows_what_changes() {
        let mut histogram = Histogram::new();
        for _ in 0..100_000 {
            histogram.observe(Duration::from_secs(10));
        }
        assert!(histogram.samples() < MOST);
        for _ in 0..20_000 {
            histogram.observe(Duration::from_millis(10));
        }
        assert!(histogram.percentile(95).unwrap() < Duration::from_millis(12));
        for latency in [0, 1, u64::MAX] {
            histogram.observe(Duration::from_nanos(latency));
        }
    }
}
