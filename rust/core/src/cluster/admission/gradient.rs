//! How many messages at a time a cluster takes, found by looking at latency.
//!
//! After each window of `window` (and at least ten answers) with mean latency `L`:
//!
//! ```text
//! gradient = clamp(tolerance × ease / L, 0.5, 1)
//! limit    = 0.8 × limit + 0.2 × (limit × gradient + √limit)       within min and max
//! ```
//!
//! `ease` is the latency of endpoints at ease. While latency is below `tolerance × ease` the gradient is 1 and the limit
//! grows by a fifth of its root; where messages wait for each other the gradient falls with the reciprocal of latency. For
//! endpoints that do `C` messages at a time, it settles where `L ≈ tolerance × ease`, which is a little above
//! `tolerance × C`: everything is busy, and what waits is short. This is Netflix's gradient2 with another reference: its
//! long-term average follows a latency that it caused itself, and so lets the limit creep up for ever.
//!
//! How `ease` is learned: from each window in which less than half of the limit was used (a quarter of what is new), from
//! each that was faster, and, if less than half was not used for `remeasure`, on purpose: the limit is divided by three
//! until the mean of a window is known for messages that all began after no more than that were in flight; and again soon
//! as long as that finds something else. If it does not come about within ten windows (long streams), all stays as it was.
//! This costs about 2 % of what the endpoints can do. It needs a limit that means something: `initial` should not be more
//! than twice as many messages as there ever are.
//!
//! Besides, a window in which an endpoint refused for overload (429, 503) or took too long multiplies the limit by 0.9, and
//! one in which less than half of the limit was used does not raise it.

use std::time::Duration;

use crate::cluster::policy::Adaptive;
use crate::cluster::rng::Rng;
use crate::cluster::time::{Instant, float, nanos, whole_u32};

/// Answers that make a window.
const SAMPLES: u32 = 10;
const SMOOTHING: f64 = 0.2;
/// What the limit is divided by meanwhile: enough that what √limit adds does not fill the gap again.
const MEASURING: f64 = 3.0;
/// Windows that measuring may take.
const PATIENCE: u32 = 10;
/// Windows after which to measure again when the last time found something else than before: a third of a limit that is far
/// too high is still too high.
const SOON: u32 = 5;

/// An adaptive limit. See the module for how it is found.
#[derive(Clone, Debug)]
pub struct Gradient {
    limit: f64,
    /// Nanoseconds; 0 before anything is known.
    ease: f64,
    window: Collected,
    /// When to measure at ease on purpose.
    remeasure_at: Instant,
    measuring: Option<Measuring>,
}

/// What a window has seen.
#[derive(Clone, Copy, Debug)]
struct Collected {
    since: Instant,
    /// Nanoseconds.
    sum: f64,
    samples: u32,
    most_in_flight: u32,
    overloaded: u32,
}

/// The limit is a third of itself.
#[derive(Clone, Copy, Debug)]
struct Measuring {
    /// Gives up then.
    until: Instant,
    /// Since when no more than that third are in flight.
    settled: Option<Instant>,
}

impl Gradient {
    /// Begins at the policy's initial limit.
    #[must_use]
    pub fn new(policy: &Adaptive, now: Instant) -> Self {
        Self {
            limit: f64::from(policy.initial),
            ease: 0.0,
            window: Collected::new(now),
            remeasure_at: now + policy.remeasure,
            measuring: None,
        }
    }

    /// Messages that may be in flight now.
    #[must_use]
    pub fn limit(&self, policy: &Adaptive) -> u32 {
        let limit = if self.measuring.is_some() { self.limit / MEASURING } else { self.limit };
        whole_u32(limit).clamp(policy.min, policy.max)
    }

    /// The latency at ease, where known.
    #[must_use]
    pub fn ease(&self) -> Option<Duration> {
        (self.ease > 0.0).then(|| Duration::from_nanos(crate::cluster::time::whole(self.ease)))
    }

    /// An endpoint refused for overload, or took too long.
    pub fn overloaded(&mut self, policy: &Adaptive, now: Instant, rng: &mut Rng) {
        self.window.overloaded = self.window.overloaded.saturating_add(1);
        self.turn_if_full(policy, now, rng);
    }

    /// An attempt that was begun at `began` has its response's first byte. `in_flight`: messages in flight, it included.
    pub fn observe(
        &mut self,
        began: Instant,
        in_flight: u32,
        policy: &Adaptive,
        now: Instant,
        rng: &mut Rng,
    ) {
        if let Some(measuring) = self.measuring {
            if now >= measuring.until {
                self.resume(policy, now, rng);
                return;
            }
            let Some(settled) = measuring.settled else {
                if in_flight <= self.limit(policy) {
                    self.measuring = Some(Measuring { settled: Some(now), ..measuring });
                    self.window = Collected::new(now);
                }
                return;
            };
            if began < settled {
                return;
            }
        }
        self.window.add(now.since(began), in_flight);
        self.turn_if_full(policy, now, rng);
    }

    fn turn_if_full(&mut self, policy: &Adaptive, now: Instant, rng: &mut Rng) {
        let window = &self.window;
        let full = window.samples.saturating_add(window.overloaded) >= SAMPLES;
        if full && now.since(window.since) >= policy.window {
            self.turn(policy, now, rng);
        }
    }

    /// A window is full.
    fn turn(&mut self, policy: &Adaptive, now: Instant, rng: &mut Rng) {
        let window = std::mem::replace(&mut self.window, Collected::new(now));
        let (least, most) = (f64::from(policy.min), f64::from(policy.max));
        if window.samples == 0 {
            self.limit = (self.limit * 0.9).clamp(least, most);
            return;
        }
        let latency = (window.sum / f64::from(window.samples)).max(1.0);
        if self.measuring.is_some() {
            let changed = !(0.9..=1.1).contains(&(latency / self.ease));
            self.ease = latency;
            self.resume(policy, now, rng);
            if changed {
                self.remeasure_at = now + policy.window * SOON;
            }
            return;
        }
        let at_ease = f64::from(window.most_in_flight) * 2.0 < self.limit;
        if self.ease <= 0.0 || latency < self.ease {
            self.ease = latency;
        } else if at_ease {
            self.ease += (latency - self.ease) / 4.0;
        }
        let gradient = (policy.tolerance * self.ease / latency).clamp(0.5, 1.0);
        let wanted = self.limit * gradient + self.limit.sqrt();
        let mut limit = (1.0 - SMOOTHING) * self.limit + SMOOTHING * wanted;
        if window.overloaded > 0 {
            limit = self.limit.min(limit) * 0.9;
        } else if at_ease {
            limit = self.limit.min(limit);
        }
        self.limit = limit.clamp(least, most);
        if at_ease {
            self.remeasure_at = self.remeasure_at.max(now + policy.remeasure);
        } else if now >= self.remeasure_at {
            let until = now + policy.window * PATIENCE;
            self.measuring = Some(Measuring { until, settled: None });
        }
    }

    fn resume(&mut self, policy: &Adaptive, now: Instant, rng: &mut Rng) {
        self.measuring = None;
        self.window = Collected::new(now);
        // Several processes in front of the same endpoints should not measure at the same time.
        self.remeasure_at = now + rng.jittered(policy.remeasure, 50);
    }
}

impl Collected {
    fn new(since: Instant) -> Self {
        Self { since, sum: 0.0, samples: 0, most_in_flight: 0, overloaded: 0 }
    }

    fn add(&mut self, latency: Duration, in_flight: u32) {
        self.sum += float(nanos(latency));
        self.samples = self.samples.saturating_add(1);
        self.most_in_flight = self.most_in_flight.max(in_flight);
    }
}
