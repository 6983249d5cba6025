//! Asking an endpoint how it is.

use crate::cluster::policy;
use crate::cluster::rng::Rng;
use crate::cluster::time::Instant;

/// An endpoint's active health check: when to ask next, and what the answers so far mean.
///
/// Before the first answer nothing is known, and the endpoint counts as fit. The first answer decides at once; after
/// that it takes so many in a row to change.
#[derive(Clone, Debug)]
pub struct Checker {
    fit: Option<bool>,
    /// Answers in a row that contradict `fit`.
    against: u32,
    due: Instant,
}

impl Checker {
    /// A checker whose first question is due within the jitter of an interval.
    #[must_use]
    pub fn new(policy: &policy::Check, now: Instant, rng: &mut Rng) -> Self {
        let jitter = policy.interval / 100 * policy.jitter_percent;
        Self { fit: None, against: 0, due: now + rng.within(jitter) }
    }

    /// When to ask next.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// What the answers say; `None` before the first.
    #[must_use]
    pub fn fit(&self) -> Option<bool> {
        self.fit
    }

    /// The question is sent. If nobody ever says how it ended, it is due again when an answer would have been late and
    /// an interval has passed.
    pub fn asked(&mut self, policy: &policy::Check, now: Instant) {
        self.due = now + policy.timeout + policy.interval;
    }

    /// The answer came, or did not come in time (`good` is false). Says what the endpoint is from now on, where that
    /// changed.
    pub fn answered(
        &mut self,
        good: bool,
        policy: &policy::Check,
        now: Instant,
        rng: &mut Rng,
    ) -> Option<bool> {
        self.due = now + rng.jittered(policy.interval, policy.jitter_percent);
        let changed = match self.fit {
            None => true,
            Some(fit) if fit == good => {
                self.against = 0;
                false
            }
            Some(_) => {
                self.against += 1;
                self.against >= if good { policy.healthy } else { policy.unhealthy }
            }
        };
        if changed {
            self.fit = Some(good);
            self.against = 0;
        }
        changed.then_some(good)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_takes_some_in_a_row_to_change() {
        let policy = policy::Check::default();
        let mut rng = Rng::new(1);
        let mut checker = Checker::new(&policy, Instant::default(), &mut rng);
        let mut answer = |good| checker.answered(good, &policy, Instant::default(), &mut rng);
        assert_eq!(answer(true), Some(true), "the first decides");
        assert_eq!([false, false, true, false, false].map(&mut answer), [None; 5], "no three in a row");
        assert_eq!(answer(false), Some(false));
        assert_eq!([true, false, true].map(&mut answer), [None; 3], "no two in a row");
        assert_eq!(answer(true), Some(true));

        let mut checker = Checker::new(&policy, Instant::default(), &mut rng);
        assert_eq!(checker.fit(), None);
        assert_eq!(checker.answered(false, &policy, Instant::default(), &mut rng), Some(false));
    }

    #[test]
    fn questions_are_spread() {
        let policy = policy::Check::default();
        let second = Duration::from_secs(1);
        let now = Instant::default() + 100 * second;
        let mut dues = Vec::new();
        for seed in 0..50 {
            let mut rng = Rng::new(seed);
            let mut checker = Checker::new(&policy, now, &mut rng);
            assert!(checker.due().since(now) < second && checker.due() >= now);
            checker.asked(&policy, now);
            assert_eq!(checker.due(), now + 7 * second, "not again while it is asked");
            checker.answered(true, &policy, now + second, &mut rng);
            dues.push(checker.due().since(now + second));
        }
        assert!(dues.iter().all(|due| (5 * second..6 * second).contains(due)), "{dues:?}");
        assert!(dues.iter().max().unwrap().saturating_sub(*dues.iter().min().unwrap()) > second / 2);
    }
}
