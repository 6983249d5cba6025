//! Buckets of the histograms of durations.

use std::time::Duration;

/// Upper bounds of the buckets: in seconds, as written, and in nanoseconds. One more bucket has no bound.
pub const BOUNDS: [(&str, u64); 18] = [
    ("0.0005", 500_000),
    ("0.001", 1_000_000),
    ("0.0025", 2_500_000),
    ("0.005", 5_000_000),
    ("0.01", 10_000_000),
    ("0.025", 25_000_000),
    ("0.05", 50_000_000),
    ("0.1", 100_000_000),
    ("0.25", 250_000_000),
    ("0.5", 500_000_000),
    ("1.0", 1_000_000_000),
    ("2.5", 2_500_000_000),
    ("5.0", 5_000_000_000),
    ("10.0", 10_000_000_000),
    ("30.0", 30_000_000_000),
    ("60.0", 60_000_000_000),
    ("120.0", 120_000_000_000),
    ("300.0", 300_000_000_000),
];

/// Number of buckets, including the last one.
pub(super) const BUCKETS: usize = BOUNDS.len() + 1;

/// The bucket of a duration: the first whose bound is at least the duration.
pub(super) fn bucket(nanos: u64) -> usize {
    BOUNDS.partition_point(|(_, bound)| *bound < nanos)
}

/// A duration in nanoseconds, at most 584 years.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_are_what_they_are_written_as() {
        for (written, nanos) in BOUNDS {
            let seconds: f64 = written.parse().unwrap();
            assert_eq!(Duration::from_secs_f64(seconds).as_nanos(), u128::from(nanos));
        }
        assert!(BOUNDS.is_sorted_by(|a, b| a.1 < b.1));
    }

    #[test]
    fn a_bound_is_within_its_bucket() {
        for (at, (_, bound)) in BOUNDS.into_iter().enumerate() {
            assert_eq!((bucket(bound), bucket(bound + 1)), (at, at + 1));
        }
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
    }

    proptest! {
        #[test]
        fn the_bucket_is_the_first_that_holds_it(nanos in 0..400_000_000_000_u64) {
            let first = BOUNDS.iter().position(|(_, bound)| nanos <= *bound).unwrap_or(BUCKETS - 1);
            prop_assert_eq!(bucket(nanos), first);
        }
    }
}
