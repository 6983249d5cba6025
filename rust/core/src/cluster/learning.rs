//! What a group takes note of while attempts go on and when they end.

use super::attempt::Attempt;
use super::failure::{Failure, Outcome};
use super::group::Group;
use super::lesson::{Sample, Verdict};
use super::state::State;
use super::time::Instant;

impl Group {
    /// The body of an attempt's request comes from the client bit by bit. The time that this takes is not the endpoint's:
    /// [`request_sent`](Self::request_sent) follows.
    pub fn request_streams(&self, attempt: &mut Attempt) {
        if let Some(endpoint) = self.lock().get_mut(attempt.key) {
            attempt.stop_waiting(endpoint);
        }
    }

    /// The whole request of an attempt was sent at `now`.
    pub fn request_sent(&self, attempt: &mut Attempt, now: Instant) {
        if let Some(endpoint) = self.lock().get_mut(attempt.key) {
            attempt.stop_waiting(endpoint);
            (attempt.began, attempt.silent_since) = (now, now);
            attempt.waits = true;
            endpoint.waiting.begin(now);
        }
    }

    /// The response of an attempt has begun, with this status. [`finish`](Self::finish) has to follow at its end; for one
    /// whose body does not matter, `finish` is enough.
    pub fn responded(&self, attempt: &mut Attempt, status: u16, now: Instant) {
        if attempt.status.replace(status).is_some() {
            return;
        }
        attempt.silent_since = now;
        let took = now.since(attempt.began);
        let sample = self.lesson(Outcome::of_status(status)).latency == Sample::Time;
        let mut state = self.lock();
        if let Some((endpoint, rng)) = state.endpoint_and_rng(attempt.key) {
            attempt.stop_waiting(endpoint);
            if sample {
                endpoint.answered = Some(now);
                endpoint.latency.observe(took, now);
                endpoint.health.responded(&mut attempt.pass, &self.policy, now, rng);
            }
        }
        if sample {
            state.latencies.observe(took);
            let concurrency = self.concurrency(&state);
            let State { gate, rng, .. } = &mut *state;
            gate.observe(attempt.began, &concurrency, now, rng);
        }
    }

    /// An attempt has ended. What that teaches is the [`Lesson`]'s to say; a success is one only if the status was.
    pub fn finish(&self, mut attempt: Attempt, outcome: Outcome, now: Instant) {
        let took = now.since(attempt.began);
        let outcome = match (outcome, attempt.status) {
            (Outcome::Success, Some(status)) => Outcome::of_status(status),
            (outcome, _) => outcome,
        };
        let mut lesson = self.lesson(outcome);
        let mut state = self.lock();
        if let Some((endpoint, rng)) = state.endpoint_and_rng(attempt.key) {
            attempt.stop_waiting(endpoint);
            endpoint.in_flight = endpoint.in_flight.saturating_sub(1);
            if lesson.breaker == Verdict::BadlyIfSilent
                && endpoint.answered.is_some_and(|answered| answered > attempt.silent_since)
            {
                lesson.breaker = Verdict::Nothing;
                lesson.overload = false;
            }
            endpoint.health.leave(attempt.pass, lesson.breaker, &self.policy, now, rng);
            match lesson.balance {
                Verdict::Well => endpoint.success.count(true, now),
                Verdict::Badly | Verdict::BadlyIfSilent => {
                    endpoint.success.count(false, now);
                    endpoint.latency.failed(now);
                }
                Verdict::Nothing => (),
            }
            if lesson.latency == Sample::Bound && attempt.status.is_none() {
                endpoint.latency.at_least(took, now);
            }
            let counts = &mut endpoint.counts;
            *match outcome {
                Outcome::Success | Outcome::Failure(Failure::Status(400..=428 | 430..=499)) => {
                    &mut counts.succeeded
                }
                Outcome::Cancelled => &mut counts.cancelled,
                Outcome::Failure(Failure::Connect) => &mut counts.unreachable,
                Outcome::Failure(Failure::Timeout | Failure::Unfit) => &mut counts.timed_out,
                Outcome::Failure(Failure::Stale | Failure::Reset | Failure::Protocol) => &mut counts.broken,
                Outcome::Failure(Failure::Status(_)) => &mut counts.error_status,
            } += 1;
        }
        if let (Outcome::Cancelled, None, Some(policy)) = (outcome, attempt.status, &self.policy.hedge) {
            // Who lost to a second attempt was slow. Left out, hedging would make latencies look ever better than they
            // are; one whose client left early says nothing.
            if state.latencies.percentile(policy.percentile).is_some_and(|usual| took > usual) {
                state.latencies.observe(took);
            }
        }
        if lesson.overload {
            let concurrency = self.concurrency(&state);
            let State { gate, rng, .. } = &mut *state;
            gate.overloaded(&concurrency, now, rng);
        }
    }
}
