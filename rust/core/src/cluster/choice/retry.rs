//! Whether and where to try again.

use std::time::Duration;

use crate::cluster::failure::Failure;
use crate::cluster::lesson::Again;
use crate::cluster::policy;
use crate::cluster::rng::Rng;
use crate::cluster::time::Instant;
use crate::cluster::window::Window;

/// A failed attempt, and what its exchange can still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Independent facts.
pub struct Failed {
    /// What went wrong.
    pub failure: Failure,
    /// What the endpoint said of when to come back.
    pub retry_after: Option<Duration>,
    /// The message may be executed twice.
    pub idempotent: bool,
    /// A byte of the request may have reached the endpoint. Taken as false after [`Failure::Connect`].
    pub sent: bool,
    /// The request's bytes are all still there.
    pub replayable: bool,
    /// The client was given a byte of the response.
    pub delivered: bool,
    /// Attempts made in this cluster, this one included.
    pub attempts: u32,
    /// There is another cluster to go to.
    pub fallback: bool,
    /// When the exchange has to be over.
    pub deadline: Option<Instant>,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another attempt in the same cluster.
    Retry {
        /// After this pause.
        after: Duration,
        /// At an endpoint that was not tried. Else at the same one or any other that is fit.
        elsewhere: bool,
    },
    /// On to the next cluster, at once.
    NextCluster,
    /// Answer the client.
    GiveUp(Reason),
}

/// What to answer when an exchange fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No connection.
    Unreachable,
    /// The connection or the response broke.
    Protocol,
    /// The endpoint took too long.
    Timeout,
    /// The deadline has passed.
    Deadline,
    /// The endpoint's own response, as it came.
    Response,
}

impl Reason {
    /// The stable error code; `None` where the endpoint's own response is the answer.
    #[must_use]
    pub fn code(self) -> Option<&'static str> {
        match self {
            Self::Unreachable => Some("upstream_unreachable"),
            Self::Protocol => Some("upstream_protocol"),
            Self::Timeout => Some("upstream_timeout"),
            Self::Deadline => Some("deadline_exceeded"),
            Self::Response => None,
        }
    }

    fn of(failure: Failure) -> Self {
        match failure {
            Failure::Connect => Self::Unreachable,
            Failure::Stale | Failure::Reset | Failure::Protocol => Self::Protocol,
            Failure::Timeout | Failure::Unfit => Self::Timeout,
            Failure::Status(_) => Self::Response,
        }
    }
}

/// What to do after a failed attempt.
///
/// - Never again once the client has a byte of the response, or the deadline has passed.
/// - Never again once the request may have reached the endpoint, unless the message is idempotent and its bytes are
///   still there. So a connect error can always be made good.
/// - A status only if the policy names it, a timeout only if the policy says so, and what concerns the caller alone never
///   (`again`).
/// - A connection that had gone stale is replaced by a fresh one to the same endpoint, free of charge: the endpoint has
///   seen nothing of it. A fresh one cannot be stale, so this happens once for each attempt.
/// - Else within the policy's number of attempts and the budget, at an endpoint that was not tried. Where there is none,
///   at the next cluster. Where there is none either, at this cluster again, and not before `Retry-After`; but not after a
///   timeout: who took too long has more to do than it can, maybe with this very message.
/// - The pause is random from zero to `backoff`, doubled for each attempt after the first up to `backoff_max` ("full
///   jitter"). There is none on the way to an untried endpoint after a connect error or a failed check: no one is relieved by it.
/// - A pause that would end at the deadline or later is not begun.
/// - The next cluster does not cost budget: it gets the message for the first time.
///
/// `others`: there is a fit endpoint in this cluster that was not tried. Takes from `budget` where the answer is a retry
/// that costs.
pub fn next(
    policy: &policy::Retry,
    failed: &Failed,
    again: Again,
    others: bool,
    budget: &mut Budget,
    rng: &mut Rng,
    now: Instant,
) -> Next {
    let reason = Reason::of(failed.failure);
    if failed.delivered {
        return Next::GiveUp(reason);
    }
    if failed.deadline.is_some_and(|deadline| deadline <= now) {
        return Next::GiveUp(Reason::Deadline);
    }
    let untouched = failed.failure == Failure::Connect || !failed.sent;
    if !(untouched || failed.idempotent && failed.replayable) {
        return Next::GiveUp(reason);
    }
    let listed = matches!(failed.failure, Failure::Status(status) if policy.statuses.contains(&status));
    match again {
        Again::Afresh => return Next::Retry { after: Duration::ZERO, elsewhere: false },
        Again::Listed if listed => (),
        Again::AfterTimeout if policy.after_timeout => (),
        Again::Yes => (),
        Again::Never | Again::Listed | Again::AfterTimeout => return Next::GiveUp(reason),
    }
    let otherwise = if failed.fallback { Next::NextCluster } else { Next::GiveUp(reason) };
    let hopeless = matches!(failed.failure, Failure::Timeout | Failure::Unfit);
    let alone = !others && (failed.fallback || hopeless);
    if failed.attempts >= policy.attempts || alone {
        return otherwise;
    }
    let mut after = backoff(policy, failed.attempts, rng);
    if others && matches!(failed.failure, Failure::Connect | Failure::Unfit) {
        after = Duration::ZERO;
    } else if !others {
        after = after.max(failed.retry_after.unwrap_or_default());
    }
    if failed.deadline.is_some_and(|deadline| now + after >= deadline) || !budget.withdraw(policy, now) {
        return otherwise;
    }
    Next::Retry { after, elsewhere: others }
}

/// The pause after that many attempts.
fn backoff(policy: &policy::Retry, attempts: u32, rng: &mut Rng) -> Duration {
    let doublings = attempts.saturating_sub(1).min(20);
    rng.within(policy.backoff.saturating_mul(1 << doublings).min(policy.backoff_max))
}

/// How many retries a cluster may have: a share of its messages over a sliding window, and a few besides.
///
/// Without it, a cluster that fails because it is overloaded would be given several times the load by those who mean to
/// help. As Finagle's retry budget.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Messages, and retries.
    window: Window,
}

impl Budget {
    /// An account with nothing on it.
    #[must_use]
    pub fn new(policy: &policy::Retry) -> Self {
        Self { window: Window::new(policy.window) }
    }

    /// Another policy applies from now on.
    pub fn adapt(&mut self, policy: &policy::Retry) {
        self.window.adapt(policy.window);
    }

    /// A message has come.
    pub fn deposit(&mut self, now: Instant) {
        self.window.add(now, 1, 0);
    }

    /// Pays for a retry, if it can.
    pub fn withdraw(&mut self, policy: &policy::Retry, now: Instant) -> bool {
        let can_pay = self.remaining(policy, now) > 0;
        if can_pay {
            self.window.add(now, 0, 1);
        }
        can_pay
    }

    /// Retries that are left now.
    #[must_use]
    pub fn remaining(&self, policy: &policy::Retry, now: Instant) -> u64 {
        let (messages, retries) = self.window.peek(now);
        let share = messages.saturating_mul(u64::from(policy.budget_percent)) / 100;
        let minimum = policy.window.as_millis() * u128::from(policy.budget_minimum) / 1000;
        share.saturating_add(u64::try_from(minimum).unwrap_or(u64::MAX)).saturating_sub(retries)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::failure::Outcome;
    use crate::cluster::lesson::Lesson;
    use crate::cluster::rng::Rng;

    const SECOND: Duration = Duration::from_secs(1);

    fn now() -> Instant {
        Instant::default() + 100 * SECOND
    }

    fn failed(failure: Failure) -> Failed {
        Failed {
            failure,
            retry_after: None,
            idempotent: true,
            sent: true,
            replayable: true,
            delivered: false,
            attempts: 1,
            fallback: false,
            deadline: None,
        }
    }

    fn again(failed: &Failed) -> Again {
        Lesson::of(Outcome::Failure(failed.failure), false).again
    }

    fn decide(failed: &Failed) -> Next {
        decide_with(failed, true)
    }

    fn decide_alone(failed: &Failed) -> Next {
        decide_with(failed, false)
    }

    fn decide_with(failed: &Failed, others: bool) -> Next {
        let policy = policy::Retry::default();
        let policy = policy::Retry { after_timeout: true, ..policy };
        next(&policy, failed, again(failed), others, &mut Budget::new(&policy), &mut Rng::new(7), now())
    }

    fn retried(next: Next) -> Option<bool> {
        match next {
            Next::Retry { elsewhere, .. } => Some(elsewhere),
            _ => None,
        }
    }

    #[test]
    fn what_may_have_been_executed_is_not_sent_again() {
        use Failure::{Connect, Protocol, Reset, Status, Timeout};
        for failure in [Timeout, Reset, Protocol, Status(429), Status(503)] {
            let once = Failed { idempotent: false, ..failed(failure) };
            assert_eq!(decide(&once), Next::GiveUp(Reason::of(failure)), "{failure:?}");
            assert_eq!(decide(&Failed { fallback: true, ..once }), Next::GiveUp(Reason::of(failure)));
            assert_eq!(retried(decide(&Failed { sent: false, ..once })), Some(true));
            assert_eq!(retried(decide(&failed(failure))), Some(true));
            let gone = Failed { replayable: false, ..failed(failure) };
            assert_eq!(decide(&gone), Next::GiveUp(Reason::of(failure)));
        }
        let once = Failed { idempotent: false, replayable: false, ..failed(Connect) };
        assert_eq!(decide(&once), Next::Retry { after: Duration::ZERO, elsewhere: true });
    }

    #[test]
    fn a_client_that_has_a_byte_gets_no_second_answer() {
        for failure in [Failure::Connect, Failure::Stale, Failure::Reset, Failure::Status(503)] {
            let begun = Failed { delivered: true, fallback: true, ..failed(failure) };
            assert_eq!(decide(&begun), Next::GiveUp(Reason::of(failure)));
        }
    }

    #[test]
    fn the_deadline_ends_it() {
        let over = Failed { deadline: Some(now()), fallback: true, ..failed(Failure::Connect) };
        assert_eq!(decide(&over), Next::GiveUp(Reason::Deadline));
        let wait = Failed { retry_after: Some(2 * SECOND), ..failed(Failure::Status(429)) };
        assert_eq!(decide_alone(&wait), Next::Retry { after: 2 * SECOND, elsewhere: false });
        let late = Failed { deadline: Some(now() + 2 * SECOND), ..wait };
        assert_eq!(
            decide_alone(&late),
            Next::GiveUp(Reason::Response),
            "the pause would end at the deadline"
        );
        let fits = Failed { deadline: Some(now() + 3 * SECOND), ..wait };
        assert_eq!(decide_alone(&fits), Next::Retry { after: 2 * SECOND, elsewhere: false });
    }

    #[test]
    fn untried_endpoints_then_the_next_cluster_then_the_same() {
        let all = Failed { fallback: true, ..failed(Failure::Reset) };
        assert_eq!(retried(decide(&all)), Some(true));
        assert_eq!(decide(&Failed { attempts: 3, ..all }), Next::NextCluster);
        assert_eq!(decide_alone(&all), Next::NextCluster);
        let alone = failed(Failure::Reset);
        assert_eq!(retried(decide_alone(&alone)), Some(false));
        assert_eq!(decide_alone(&Failed { attempts: 3, ..alone }), Next::GiveUp(Reason::Protocol));
        assert_eq!(decide_alone(&failed(Failure::Timeout)), Next::GiveUp(Reason::Timeout));
    }

    #[test]
    fn other_statuses_are_answers() {
        assert_eq!(
            decide(&Failed { fallback: true, ..failed(Failure::Status(500)) }),
            Next::GiveUp(Reason::Response)
        );
    }

    #[test]
    fn a_stale_connection_costs_nothing() {
        let policy = policy::Retry { budget_percent: 0, budget_minimum: 0, ..policy::Retry::default() };
        let mut budget = Budget::new(&policy);
        let mut decide = |failed: &Failed| {
            next(&policy, failed, again(failed), true, &mut budget, &mut Rng::new(1), now())
        };
        let stale = Failed { attempts: 3, ..failed(Failure::Stale) };
        assert_eq!(decide(&stale), Next::Retry { after: Duration::ZERO, elsewhere: false });
        let once = Failed { idempotent: false, ..stale };
        assert_eq!(decide(&once), Next::GiveUp(Reason::Protocol));
        assert_eq!(
            decide(&failed(Failure::Reset)),
            Next::GiveUp(Reason::Protocol),
            "nothing left to pay with"
        );
        assert_eq!(decide(&Failed { fallback: true, ..failed(Failure::Reset) }), Next::NextCluster);
    }

    #[test]
    fn pauses_are_random_and_doubled() {
        let policy = policy::Retry { attempts: 16, ..policy::Retry::default() };
        let mut rng = Rng::new(1);
        for (attempts, longest) in [(1, 25), (2, 50), (5, 400), (6, 800), (7, 1000), (15, 1000)] {
            let longest = Duration::from_millis(longest);
            let pauses: Vec<Duration> = (0..200)
                .map(|_| {
                    let failed = Failed { attempts, ..failed(Failure::Reset) };
                    let mut budget = Budget::new(&policy);
                    match next(&policy, &failed, again(&failed), true, &mut budget, &mut rng, now()) {
                        Next::Retry { after, .. } => after,
                        other => panic!("{other:?}"),
                    }
                })
                .collect();
            assert!(pauses.iter().all(|pause| *pause < longest), "{attempts}");
            assert!(pauses.iter().any(|pause| *pause > longest / 10 * 9), "{attempts}");
            assert!(pauses.iter().any(|pause| *pause < longest / 10), "{attempts}");
        }
    }

    proptest! {
        #[test]
        fn retries_stay_within_share_and_minimum(
            steps in prop::collection::vec((0_u64..500, 0_u8..4), 1..400),
            percent in 0_u32..120, minimum in 0_u32..3,
        ) {
            let policy = policy::Retry {
                budget_percent: percent, budget_minimum: minimum, ..policy::Retry::default()
            };
            let mut budget = Budget::new(&policy);
            let (mut now, mut messages, mut retries) = (0, 0_u64, 0);
            for (step, retried) in steps {
                now += step;
                let at = Instant::default() + Duration::from_millis(now);
                budget.deposit(at);
                messages += 1;
                retries += (0..retried).filter(|_| budget.withdraw(&policy, at)).count() as u64;
                let windows = now / 10_000 + 1;
                prop_assert!(
                    retries <= messages * u64::from(percent) / 100 + u64::from(minimum) * 10 * windows + windows
                );
            }
        }
    }
}
