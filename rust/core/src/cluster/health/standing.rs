//! Whether an endpoint is fit for messages.

use std::time::Duration;

use super::breaker::{Breaker, Change, Pass, State};
use super::checker::Checker;
use crate::cluster::lesson::Verdict;
use crate::cluster::policy::{self, Policy};
use crate::cluster::rng::Rng;
use crate::cluster::time::{Instant, float, nanos, whole_u32};

/// The share with which a slow start begins, as Envoy's: a tenth.
const LEAST: u32 = 100;

/// What is known of an endpoint's health: its breaker, its active check, whether it asked to be left alone, and how long
/// it has been fit.
#[derive(Clone, Debug)]
pub struct Health {
    breaker: Breaker,
    checker: Option<Checker>,
    resting_until: Instant,
    /// Since when it is fit, where it was not before.
    warming_since: Option<Instant>,
}

/// What an endpoint is fit for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Messages.
    Fit {
        /// Its share, in thousandths of what its weight says: less than [`Standing::WHOLE`] in a slow start.
        share: u32,
    },
    /// None: its breaker is open, or its checks fail. All the same used where most are so.
    Unfit,
    /// None, by its own wish (`Retry-After`), whatever else is true of it.
    Resting {
        /// Until when.
        until: Instant,
        /// Whether it is fit otherwise.
        fit: bool,
    },
}

impl Standing {
    /// An endpoint's whole share, in the unit of smaller ones: a thousandth.
    pub const WHOLE: u32 = 1000;
}

impl Health {
    /// An endpoint nothing is known of, which counts as fit. `warm`: it need not start slowly, as when everything is new.
    #[must_use]
    pub fn new(policy: &Policy, warm: bool, now: Instant, rng: &mut Rng) -> Self {
        Self {
            breaker: Breaker::new(&policy.breaker),
            checker: policy.health.check.as_ref().map(|check| Checker::new(check, now, rng)),
            resting_until: Instant::default(),
            warming_since: (!warm).then_some(now),
        }
    }

    /// For an address of the endpoint that this is about: as warm as the endpoint if it is one of the `first` that are
    /// known, else cold.
    #[must_use]
    pub fn of_address(&self, first: bool, policy: &Policy, now: Instant, rng: &mut Rng) -> Self {
        let warming_since = if first { self.warming_since } else { Some(now) };
        Self { warming_since, ..Self::new(policy, true, now, rng) }
    }

    /// Another policy applies from now on. What is known stays; checks begin or end.
    pub fn adapt(&mut self, policy: &Policy, now: Instant, rng: &mut Rng) {
        self.breaker.adapt(&policy.breaker);
        match &policy.health.check {
            None => self.checker = None,
            Some(check) if self.checker.is_none() => self.checker = Some(Checker::new(check, now, rng)),
            Some(_) => (),
        }
    }

    /// What it is fit for now.
    #[must_use]
    pub fn standing(&self, policy: &Policy, now: Instant) -> Standing {
        let fit = self.checker.as_ref().and_then(Checker::fit).unwrap_or(true)
            && self.breaker.admits(&policy.breaker, now);
        if now < self.resting_until {
            Standing::Resting { until: self.resting_until, fit }
        } else if fit {
            Standing::Fit { share: self.share(&policy.health, now) }
        } else {
            Standing::Unfit
        }
    }

    /// Its breaker.
    #[must_use]
    pub fn breaker(&self) -> State {
        self.breaker.state()
    }

    /// Failures in a row.
    #[must_use]
    pub fn consecutive(&self) -> u32 {
        self.breaker.consecutive()
    }

    /// Its active check, where it has one.
    #[must_use]
    pub fn checker(&self) -> Option<&Checker> {
        self.checker.as_ref()
    }

    /// An attempt begins.
    pub fn enter(&mut self, policy: &Policy, now: Instant) -> Pass {
        self.breaker.enter(&policy.breaker, now)
    }

    /// The response of an attempt has begun, with a status of success. A trial has then proved what it should:
    /// a stream may take minutes to end.
    pub fn responded(&mut self, pass: &mut Pass, policy: &Policy, now: Instant, rng: &mut Rng) {
        if pass.is_trial() {
            self.settle(*pass, Some(true), policy, now, rng);
            *pass = self.breaker.rejoin();
        }
    }

    /// An attempt has ended.
    pub fn leave(&mut self, pass: Pass, verdict: Verdict, policy: &Policy, now: Instant, rng: &mut Rng) {
        let good = match verdict {
            Verdict::Well => Some(true),
            Verdict::Badly | Verdict::BadlyIfSilent => Some(false),
            Verdict::Nothing => None,
        };
        self.settle(pass, good, policy, now, rng);
    }

    /// The endpoint said when to come back.
    pub fn rest(&mut self, length: Duration, policy: &policy::Health, now: Instant) {
        self.resting_until = self.resting_until.max(now + length.min(policy.rest_max));
    }

    /// The question of the active check is sent.
    pub fn asked(&mut self, policy: &Policy, now: Instant) {
        if let (Some(checker), Some(check)) = (&mut self.checker, &policy.health.check) {
            checker.asked(check, now);
        }
    }

    /// The active check was answered, well or not. Says what the check says from now on, where that changed.
    #[allow(clippy::must_use_candidate)] // It takes note of the answer.
    pub fn answered(&mut self, good: bool, policy: &Policy, now: Instant, rng: &mut Rng) -> Option<bool> {
        let (Some(checker), Some(check)) = (&mut self.checker, &policy.health.check) else { return None };
        let known = checker.fit().is_some();
        let changed = checker.answered(good, check, now, rng);
        if changed == Some(true) && known {
            self.warming_since = Some(now);
        }
        changed
    }

    fn settle(&mut self, pass: Pass, good: Option<bool>, policy: &Policy, now: Instant, rng: &mut Rng) {
        if self.breaker.leave(pass, good, &policy.breaker, now, rng) == Some(Change::Closed) {
            self.warming_since = Some(now);
        }
    }

    fn share(&self, policy: &policy::Health, now: Instant) -> u32 {
        let Some(since) = self.warming_since else { return Standing::WHOLE };
        let passed = now.since(since);
        if passed >= policy.slow_start {
            return Standing::WHOLE;
        }
        let done = float(nanos(passed)) / float(nanos(policy.slow_start));
        whole_u32(done.powf(policy.aggression.recip()) * f64::from(Standing::WHOLE))
            .clamp(LEAST, Standing::WHOLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u32) -> Instant {
        Instant::default() + 100 * SECOND + seconds * SECOND
    }

    fn share(health: &Health, policy: &Policy, now: Instant) -> u32 {
        match health.standing(policy, now) {
            Standing::Fit { share } => share,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_new_endpoint_starts_slowly_and_a_first_one_does_not() {
        let policy = Policy::default();
        let new = Health::new(&policy, false, at(0), &mut Rng::new(1));
        assert_eq!([0, 1, 5, 9, 10].map(|s| share(&new, &policy, at(s))), [100, 100, 500, 900, 1000]);
        let first = Health::new(&policy, true, at(0), &mut Rng::new(1));
        assert_eq!(share(&first, &policy, at(0)), 1000);

        let fast = Policy {
            health: policy::Health { aggression: 2.0, ..policy.health.clone() },
            ..Policy::default()
        };
        assert_eq!(share(&new, &fast, at(5)), 707);
        let off = policy::Health { slow_start: Duration::ZERO, ..policy.health };
        assert_eq!(share(&new, &Policy { health: off, ..Policy::default() }, at(0)), 1000);
    }

    #[test]
    fn who_recovers_starts_slowly() {
        let policy = Policy {
            health: policy::Health { check: Some(policy::Check::default()), ..policy::Health::default() },
            ..Policy::default()
        };
        let mut rng = Rng::new(1);
        let mut health = Health::new(&policy, true, at(0), &mut rng);
        health.answered(true, &policy, at(1), &mut rng);
        assert_eq!(share(&health, &policy, at(1)), 1000, "the first answer tells nothing new");
        for _ in 0..3 {
            health.answered(false, &policy, at(2), &mut rng);
        }
        assert_eq!(health.standing(&policy, at(2)), Standing::Unfit);
        for _ in 0..2 {
            health.answered(true, &policy, at(20), &mut rng);
        }
        assert_eq!(share(&health, &policy, at(25)), 500);
        assert_eq!(share(&health, &policy, at(30)), 1000);

        for _ in 0..5 {
            let pass = health.enter(&policy, at(40));
            health.leave(pass, Verdict::Badly, &policy, at(40), &mut rng);
        }
        assert_eq!(health.standing(&policy, at(40)), Standing::Unfit);
        for _ in 0..3 {
            let mut trial = health.enter(&policy, at(50));
            assert!(trial.is_trial());
            health.responded(&mut trial, &policy, at(50), &mut rng);
            // What was counted when the response began is not counted twice.
            health.leave(trial, Verdict::Well, &policy, at(50), &mut rng);
        }
        assert_eq!(health.breaker(), State::Closed);
        assert_eq!(share(&health, &policy, at(55)), 500);
    }

    #[test]
    fn a_trial_needs_three_good_responses_not_one_counted_twice() {
        let policy = Policy::default();
        let mut rng = Rng::new(1);
        let mut health = Health::new(&policy, true, at(0), &mut rng);
        for _ in 0..5 {
            let pass = health.enter(&policy, at(0));
            health.leave(pass, Verdict::Badly, &policy, at(0), &mut rng);
        }
        for _ in 0..2 {
            let mut trial = health.enter(&policy, at(10));
            health.responded(&mut trial, &policy, at(10), &mut rng);
            health.leave(trial, Verdict::Well, &policy, at(10), &mut rng);
        }
        assert_eq!(health.breaker(), State::HalfOpen { in_flight: 0, good: 2 });
    }

    #[test]
    fn rests_as_long_as_it_says_within_bounds() {
        let policy = Policy::default();
        let mut health = Health::new(&policy, true, at(0), &mut Rng::new(1));
        health.rest(3 * SECOND, &policy.health, at(0));
        health.rest(SECOND, &policy.health, at(0));
        assert_eq!(health.standing(&policy, at(2)), Standing::Resting { until: at(3), fit: true });
        assert_eq!(share(&health, &policy, at(3)), 1000);
        health.rest(Duration::MAX, &policy.health, at(10));
        assert_eq!(health.standing(&policy, at(10)), Standing::Resting { until: at(40), fit: true });
    }
}
