//! When to leave an endpoint alone because of how attempts at it end.
//!
//! - *Closed*: everything may pass. It opens after so many failures in a row, or when too large a share of the attempts
//!   in a sliding window failed.
//! - *Open*: nothing passes, for a time that doubles each time it opens again without having been closed for at least
//!   the longest open time.
//! - *Half open*: a few trials pass. When all of them ended well it closes; the first that does not opens it again.
//!
//! What began before it last opened or closed is no news, and is not counted when it ends.

use crate::cluster::policy;
use crate::cluster::rng::Rng;
use crate::cluster::time::Instant;
use crate::cluster::window::Window;

/// An endpoint's breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    state: State,
    /// How often it has opened or closed.
    epoch: u32,
    consecutive: u32,
    /// Attempts, and how many of them failed.
    window: Window,
    /// How often it opened without a long quiet time between.
    reopened: u32,
    closed_at: Instant,
}

/// What a breaker lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything.
    Closed,
    /// Nothing, until then; then trials.
    Open {
        /// When the first trial may pass.
        until: Instant,
    },
    /// Trials.
    HalfOpen {
        /// Trials that have not ended.
        in_flight: u32,
        /// Trials that ended well.
        good: u32,
    },
}

/// Leave to make an attempt. Goes back to the breaker that gave it when the attempt has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    epoch: u32,
    trial: bool,
}

impl Pass {
    /// Whether the attempt is a trial of an endpoint that was left alone.
    #[must_use]
    pub fn is_trial(self) -> bool {
        self.trial
    }
}

/// What an attempt's end did to the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It opened.
    Opened,
    /// It closed.
    Closed,
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new(policy: &policy::Breaker) -> Self {
        Self {
            state: State::Closed,
            epoch: 0,
            consecutive: 0,
            window: Window::new(policy.window),
            reopened: 0,
            closed_at: Instant::default(),
        }
    }

    /// Another policy applies from now on.
    pub fn adapt(&mut self, policy: &policy::Breaker) {
        self.window.adapt(policy.window);
    }

    /// What it lets pass.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Failures in a row.
    #[must_use]
    pub fn consecutive(&self) -> u32 {
        self.consecutive
    }

    /// Whether an attempt may be made now.
    #[must_use]
    pub fn admits(&self, policy: &policy::Breaker, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { until } => now >= until,
            State::HalfOpen { in_flight, good } => in_flight + good < policy.trials,
        }
    }

    /// An attempt begins; also one that it does not admit, which then changes nothing.
    pub fn enter(&mut self, policy: &policy::Breaker, now: Instant) -> Pass {
        let admits = self.admits(policy, now);
        if let State::Open { .. } = self.state
            && admits
        {
            self.state = State::HalfOpen { in_flight: 0, good: 0 };
        }
        let trial = match &mut self.state {
            State::HalfOpen { in_flight, .. } if admits => {
                *in_flight += 1;
                true
            }
            _ => false,
        };
        Pass { epoch: self.epoch, trial }
    }

    /// A pass for what remains of an attempt whose trial is over.
    pub(crate) fn rejoin(&self) -> Pass {
        Pass { epoch: self.epoch, trial: false }
    }

    /// An attempt has ended: well, badly, or (`None`) so that nothing can be said.
    pub fn leave(
        &mut self,
        pass: Pass,
        good: Option<bool>,
        policy: &policy::Breaker,
        now: Instant,
        rng: &mut Rng,
    ) -> Option<Change> {
        if pass.epoch != self.epoch {
            return None;
        }
        match &mut self.state {
            State::Closed => {
                let good = good?;
                self.window.add(now, 1, u64::from(!good));
                self.consecutive = if good { 0 } else { self.consecutive.saturating_add(1) };
                if !good && self.is_too_much(policy, now) {
                    return Some(self.open(policy, now, rng));
                }
                None
            }
            State::HalfOpen { in_flight, good: passed } if pass.trial => {
                *in_flight = in_flight.saturating_sub(1);
                match good {
                    None => None,
                    Some(true) => {
                        *passed += 1;
                        (*passed >= policy.trials).then(|| self.close(now))
                    }
                    Some(false) => {
                        self.consecutive = self.consecutive.saturating_add(1);
                        Some(self.open(policy, now, rng))
                    }
                }
            }
            State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    fn is_too_much(&mut self, policy: &policy::Breaker, now: Instant) -> bool {
        if policy.consecutive > 0 && self.consecutive >= policy.consecutive {
            return true;
        }
        let (attempts, failures) = self.window.sums(now);
        policy.failure_percent > 0
            && attempts >= u64::from(policy.minimum)
            && failures * 100 >= attempts * u64::from(policy.failure_percent)
    }

    fn open(&mut self, policy: &policy::Breaker, now: Instant, rng: &mut Rng) -> Change {
        if matches!(self.state, State::Closed) && now.since(self.closed_at) > policy.open_max {
            self.reopened = 0;
        }
        let length = policy.open.saturating_mul(1 << self.reopened.min(20)).min(policy.open_max);
        self.reopened = self.reopened.saturating_add(1);
        self.state = State::Open { until: now + rng.jittered(length, policy.jitter_percent) };
        self.epoch = self.epoch.wrapping_add(1);
        Change::Opened
    }

    fn close(&mut self, now: Instant) -> Change {
        self.state = State::Closed;
        self.epoch = self.epoch.wrapping_add(1);
        self.consecutive = 0;
        self.window.clear();
        self.closed_at = now;
        Change::Closed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Bench {
        breaker: Breaker,
        policy: policy::Breaker,
        now: Instant,
        rng: Rng,
    }

    impl Bench {
        fn new(policy: policy::Breaker) -> Self {
            let now = Instant::default() + 1000 * SECOND;
            Self { breaker: Breaker::new(&policy), policy, now, rng: Rng::new(5) }
        }

        fn enter(&mut self) -> Pass {
            self.breaker.enter(&self.policy, self.now)
        }

        fn leave(&mut self, pass: Pass, good: Option<bool>) -> Option<Change> {
            self.breaker.leave(pass, good, &self.policy, self.now, &mut self.rng)
        }

        fn attempt(&mut self, good: bool) -> Option<Change> {
            let pass = self.enter();
            self.leave(pass, Some(good))
        }

        fn admits(&self) -> bool {
            self.breaker.admits(&self.policy, self.now)
        }

        /// How long it stays open.
        fn wait(&mut self) -> Duration {
            let State::Open { until } = self.breaker.state() else { panic!("{:?}", self.breaker) };
            let length = until.since(self.now);
            self.now = until;
            length
        }
    }

    fn policy() -> policy::Breaker {
        policy::Breaker { jitter_percent: 0, ..policy::Breaker::default() }
    }

    #[test]
    fn opens_after_failures_in_a_row() {
        let mut bench = Bench::new(policy());
        for _ in 0..20 {
            assert_eq!(bench.attempt(false), None);
            assert_eq!(bench.attempt(false), None);
            assert_eq!(bench.attempt(true), None, "no row");
            assert_eq!(bench.attempt(true), None);
            assert_eq!(bench.attempt(true), None);
        }
        for _ in 0..4 {
            assert_eq!(bench.attempt(false), None);
        }
        assert_eq!(bench.attempt(false), Some(Change::Opened));
        assert!(!bench.admits());
        bench.now = bench.now + 5 * SECOND;
        assert!(bench.admits());
    }

    #[test]
    fn opens_when_half_fail() {
        let mut bench = Bench::new(policy::Breaker { consecutive: 0, ..policy() });
        for n in 1..10 {
            assert_eq!(bench.attempt(n % 2 == 0), None, "too few to tell");
            assert_eq!(bench.attempt(true), None, "too few to tell");
        }
        for _ in 0..7 {
            assert_eq!(bench.attempt(false), None);
        }
        // 13 of 26.
        assert_eq!(bench.attempt(false), Some(Change::Opened));
    }

    #[test]
    fn the_window_forgets() {
        let mut bench = Bench::new(policy::Breaker { consecutive: 0, ..policy() });
        for _ in 0..19 {
            assert_eq!(bench.attempt(false), None);
        }
        bench.now = bench.now + 10 * SECOND;
        for _ in 0..19 {
            assert_eq!(bench.attempt(false), None);
        }
        assert_eq!(bench.attempt(false), Some(Change::Opened));
    }

    #[test]
    fn trials_are_few_and_all_must_succeed() {
        let mut bench = Bench::new(policy());
        while bench.attempt(false).is_none() {}
        bench.wait();
        let trials = [bench.enter(), bench.enter(), bench.enter()];
        assert!(trials.iter().all(|pass| pass.is_trial()));
        assert!(!bench.admits());
        let forced = bench.enter();
        assert!(!forced.is_trial());
        assert_eq!(bench.leave(forced, Some(false)), None, "changes nothing");
        assert_eq!(bench.leave(trials[0], None), None);
        assert!(bench.admits(), "one that was given up leaves room for another");
        let again = bench.enter();
        assert_eq!(bench.leave(trials[1], Some(true)), None);
        assert_eq!(bench.leave(trials[2], Some(true)), None);
        assert!(!bench.admits(), "two that were good and one under way are enough");
        assert_eq!(bench.leave(again, Some(true)), Some(Change::Closed));
        assert_eq!(bench.breaker.state(), State::Closed);
        for _ in 0..4 {
            assert_eq!(bench.attempt(false), None, "it begins anew");
        }
        assert_eq!(bench.attempt(false), Some(Change::Opened));
    }

    #[test]
    fn stays_open_twice_as_long_each_time_up_to_the_most() {
        let mut bench = Bench::new(policy());
        while bench.attempt(false).is_none() {}
        let mut lengths = vec![bench.wait()];
        for _ in 0..5 {
            assert_eq!(bench.attempt(false), Some(Change::Opened), "the first bad trial");
            lengths.push(bench.wait());
        }
        assert_eq!(lengths, [5, 10, 20, 40, 60, 60].map(|n| n * SECOND));
        for _ in 0..2 {
            assert_eq!(bench.attempt(true), None);
        }
        assert_eq!(bench.attempt(true), Some(Change::Closed));
        bench.now = bench.now + 59 * SECOND;
        while bench.attempt(false).is_none() {}
        assert_eq!(bench.wait(), 60 * SECOND, "soon again");
        while bench.attempt(true).is_none() {}
        bench.now = bench.now + 61 * SECOND;
        while bench.attempt(false).is_none() {}
        assert_eq!(bench.wait(), 5 * SECOND, "after a good while");
    }

    #[test]
    fn what_opened_it_is_forgotten_when_it_closes() {
        let short = policy::Breaker { consecutive: 0, open: SECOND, ..policy() };
        let mut bench = Bench::new(short);
        while bench.attempt(false).is_none() {}
        bench.wait();
        while bench.attempt(true).is_none() {}
        assert_eq!([false, true, false].map(|good| bench.attempt(good)), [None; 3]);
    }

    #[test]
    fn open_times_are_jittered() {
        let lengths: Vec<Duration> = (0..50)
            .map(|seed| {
                let mut bench = Bench::new(policy::Breaker::default());
                bench.rng = Rng::new(seed);
                while bench.attempt(false).is_none() {}
                bench.wait()
            })
            .collect();
        assert!(lengths.iter().all(|length| (5 * SECOND..6 * SECOND).contains(length)), "{lengths:?}");
        assert!(lengths.iter().max().unwrap().saturating_sub(*lengths.iter().min().unwrap()) > SECOND / 2);
    }

    #[test]
    fn what_began_earlier_is_no_news() {
        let mut bench = Bench::new(policy());
        let old = [bench.enter(), bench.enter(), bench.enter(), bench.enter(), bench.enter()];
        while bench.attempt(false).is_none() {}
        bench.wait();
        let trial = bench.enter();
        assert_eq!(bench.leave(old[0], Some(false)), None, "not a trial");
        assert_eq!(bench.leave(trial, Some(true)), None);
        for _ in 0..2 {
            bench.attempt(true);
        }
        assert_eq!(bench.breaker.state(), State::Closed);
        for pass in old {
            assert_eq!(bench.leave(pass, Some(false)), None);
        }
        assert_eq!(bench.breaker.consecutive(), 0);
    }
}
