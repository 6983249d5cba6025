//! Sums over the last while.

use std::time::Duration;

use super::time::{Instant, nanos};

/// Parts that a window is divided into: it forgets a tenth at a time.
const PARTS: usize = 10;

/// Two counts over a sliding window of time.
///
/// The window is a ring of ten parts. What is older than the window is forgotten part by part, so sums cover between
/// nine and ten tenths of its length. Each call costs the parts that ended since the one before, at most ten.
///
/// ```
/// use std::time::Duration;
/// use waypost_core::cluster::{Instant, Window};
/// let mut window = Window::new(Duration::from_secs(10));
/// window.add(Instant::from_nanos(0), 1, 2);
/// assert_eq!(window.sums(Instant::from_nanos(9_000_000_000)), (1, 2));
/// assert_eq!(window.sums(Instant::from_nanos(10_000_000_000)), (0, 0));
/// ```
#[derive(Clone, Debug)]
pub struct Window {
    /// Nanoseconds.
    part: u64,
    /// Number of the newest part since the beginning of time.
    newest: u64,
    ring: [(u64, u64); PARTS],
    sums: (u64, u64),
}

impl Window {
    /// An empty window. Lengths below ten nanoseconds count as that.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        let part = (nanos(length) / PARTS as u64).max(1);
        Self { part, newest: 0, ring: [(0, 0); PARTS], sums: (0, 0) }
    }

    /// Another length applies from now on; if it differs, the window begins empty.
    pub fn adapt(&mut self, length: Duration) {
        let other = Self::new(length);
        if other.part != self.part {
            *self = other;
        }
    }

    /// Adds to both counts.
    pub fn add(&mut self, now: Instant, first: u64, second: u64) {
        self.advance(now);
        if let Some(part) = self.ring.get_mut(at(self.newest)) {
            *part = (part.0 + first, part.1 + second);
            self.sums = (self.sums.0 + first, self.sums.1 + second);
        }
    }

    /// Both counts.
    pub fn sums(&mut self, now: Instant) -> (u64, u64) {
        self.advance(now);
        self.sums
    }

    /// Both counts, for who may only look.
    #[must_use]
    pub fn peek(&self, now: Instant) -> (u64, u64) {
        self.clone().sums(now)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.ring = [(0, 0); PARTS];
        self.sums = (0, 0);
    }

    fn advance(&mut self, now: Instant) {
        let newest = now.nanos() / self.part;
        if newest <= self.newest {
            return;
        }
        if newest - self.newest >= PARTS as u64 {
            self.clear();
        } else {
            for number in self.newest + 1..=newest {
                if let Some(part) = self.ring.get_mut(at(number)) {
                    self.sums = (self.sums.0 - part.0, self.sums.1 - part.1);
                    *part = (0, 0);
                }
            }
        }
        self.newest = newest;
    }
}

fn at(number: u64) -> usize {
    usize::try_from(number % PARTS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_are_those_of_the_last_ten_parts(
            steps in prop::collection::vec((0_u64..4000, 0_u64..5, 0_u64..5), 1..100)
        ) {
            let mut window = Window::new(Duration::from_micros(1));
            let mut all = Vec::new();
            let mut now = 0;
            for (step, first, second) in steps {
                now += step / 3;
                window.add(Instant::from_nanos(now), first, second);
                all.push((now / 100, first, second));
                let kept = all.iter().filter(|(part, ..)| part + 10 > now / 100);
                let expected = kept.fold((0, 0), |sum, (_, a, b)| (sum.0 + a, sum.1 + b));
                prop_assert_eq!(window.sums(Instant::from_nanos(now)), expected);
            }
        }
    }

    #[test]
    fn time_that_goes_back_counts_as_now() {
        let mut window = Window::new(Duration::from_micros(1));
        window.add(Instant::from_nanos(5000), 1, 0);
        window.add(Instant::from_nanos(10), 1, 0);
        assert_eq!(window.sums(Instant::from_nanos(5900)), (2, 0));
        assert_eq!(window.sums(Instant::from_nanos(6000)), (0, 0));
    }
}
