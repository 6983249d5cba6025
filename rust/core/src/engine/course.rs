//! The course an exchange takes: which endpoint it tries when, and what it ends with.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::fault::Fault;
use super::snapshot::EndpointAt;
use super::step::{Step, Traces};
use crate::cluster::{
    Attempt, Caller, Entry, Failed, Failure, Group, Instant, Next, NoEndpoint, Outcome, Permit, Reason,
    Refusal, Ticket, Tried, Turn, policy::Per,
};

/// One exchange on its way through the clusters of its decision: the one of `to`, then each `fallback`.
///
/// The host does what a [`Step`] says, tells how that went by the call that the step names, and gets the next one. It ends
/// with [`end`](Self::end), whatever has happened: nothing is held after that, and what comes later changes nothing.
///
/// - A message is counted against the rates of a cluster, then it enters it or waits for its turn. An account of its
///   caller's that is overdrawn is the answer. A cluster that is full, or over a rate of its own, or none of whose
///   endpoints is fit, is passed over where there is another one to go to.
/// - Within a cluster, [`retry::next`](crate::cluster::choice::retry::next) says whether and where there is another attempt.
/// - A status that a cluster retries is no answer as long as another attempt can be made; the host keeps the response, and
///   delivers it if nobody does better.
/// - The first response of several attempts counts. The others are given up.
#[derive(Debug)]
pub struct Course {
    legs: SmallVec<[Leg; 2]>,
    /// The leg that it is on.
    at: usize,
    terms: Terms,
    place: Place,
    tried: Tried,
    /// Attempts made on this leg, but for those that found their connection stale.
    attempts: u32,
    under_way: SmallVec<[UnderWay; 2]>,
    /// Attempts made.
    made: u32,
    then: Then,
    over: bool,
    /// How long it has waited in queues.
    waited: Duration,
}

/// Whoever rests for no longer than this is waited for.
const MOMENT: Duration = Duration::from_millis(100);

/// A cluster that the message may go to.
#[derive(Clone, Debug)]
pub struct Leg {
    /// Its position in the snapshot.
    pub cluster: usize,
    /// Its state and policy.
    pub group: Arc<Group>,
    /// The [`hash`](crate::hash::hash) of the field by which the cluster's endpoints are chosen.
    pub key: Option<u64>,
}

/// What a message asks for.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// When its exchange began.
    pub began: Instant,
    /// How long it may take, as the message says.
    pub deadline: Option<Duration>,
    /// Urgency, 0 to 9.
    pub priority: u8,
    /// It may be executed twice.
    pub idempotent: bool,
    /// Whose accounts it is charged to, where a cluster has rates.
    pub caller: Option<Box<Names>>,
}

/// Who a message is from: see [`Caller`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // As there.
pub struct Names {
    pub tenant: Option<String>,
    pub agent: Option<String>,
    pub key: Option<String>,
}

#[derive(Debug)]
enum Place {
    None,
    /// `hasty`: it is the exchange's deadline that bounds how long it waits.
    Queued {
        ticket: Ticket,
        hasty: bool,
        since: Instant,
    },
    In(Permit),
}

#[derive(Debug)]
struct UnderWay {
    number: u32,
    attempt: Attempt,
}

/// What follows a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Attempt,
    NextCluster,
}

impl Course {
    /// An exchange that has not begun. `legs` in the order in which they are to be tried.
    #[must_use]
    pub fn new(legs: impl IntoIterator<Item = Leg>, terms: Terms) -> Self {
        Self {
            legs: legs.into_iter().collect(),
            at: 0,
            terms,
            place: Place::None,
            tried: Tried::new(),
            attempts: 0,
            under_way: SmallVec::new(),
            made: 0,
            then: Then::Attempt,
            over: false,
            waited: Duration::ZERO,
        }
    }

    /// It is charged to the accounts of these wherever there are rates.
    pub fn charge(&mut self, names: Names) {
        self.terms.caller = Some(Box::new(names));
    }

    /// Attempts made so far: also the number of the last one.
    #[must_use]
    pub fn made(&self) -> u32 {
        self.made
    }

    /// How long it has waited in queues.
    #[must_use]
    pub fn waited(&self, now: Instant) -> Duration {
        match self.place {
            Place::Queued { since, .. } => self.waited + now.since(since),
            Place::None | Place::In(_) => self.waited,
        }
    }

    /// The cluster that it is in, or waits for.
    #[must_use]
    pub fn group(&self) -> Option<&Arc<Group>> {
        self.leg().map(|leg| &leg.group)
    }

    /// The first step.
    pub fn begin(&mut self, now: Instant) -> Step {
        self.enter(now)
    }

    /// A pause is over.
    pub fn resume(&mut self, now: Instant) -> Step {
        match std::mem::replace(&mut self.then, Then::Attempt) {
            _ if self.over || !self.under_way.is_empty() => Step::Stay,
            Then::NextCluster => self.next_leg(now),
            Then::Attempt if self.deadline().is_none_or(|deadline| now < deadline) => self.attempt(now),
            Then::Attempt => self.out_of_time(),
        }
    }

    /// Its turn has come, on the leg that it waits on.
    pub fn admitted(&mut self, permit: Permit, now: Instant) -> Step {
        if let Place::Queued { since, .. } = self.place {
            self.waited += now.since(since);
            self.place = Place::In(permit);
            return self.attempt(now);
        }
        if let Some(leg) = self.leg() {
            leg.group.leave(permit, now);
        }
        Step::Stay
    }

    /// It lost its place in the queue: to a more urgent message (`displaced`), or its time ran out.
    pub fn dropped(&mut self, displaced: Option<Refusal>, now: Instant) -> Step {
        let (&Place::Queued { hasty, since, .. }, Some(leg)) = (&self.place, self.leg().cloned()) else {
            return Step::Stay;
        };
        self.waited += now.since(since);
        self.place = Place::None;
        let fault = match displaced {
            Some(refusal) => Fault::refused(leg.group.name(), refusal),
            None if hasty => return self.out_of_time(),
            None => Fault::waited(leg.group.name(), leg.group.policy().queue.wait, leg.group.wait()),
        };
        self.pass_over(fault, now)
    }

    /// The longest that it waits in the queue is over.
    pub fn expired(&mut self, now: Instant) -> Step {
        let (Place::Queued { ticket, .. }, Some(leg)) = (&self.place, self.leg()) else { return Step::Stay };
        // Whoever has called it out of the queue will say so.
        if leg.group.expire(*ticket) { self.dropped(None, now) } else { Step::Stay }
    }

    /// The response of an attempt has begun, with a status that is none to try again after; others are given up.
    pub fn responded(&mut self, number: u32, now: Instant) {
        let Some(leg) = self.leg() else { return };
        let group = Arc::clone(&leg.group);
        if let [only] = &mut self.under_way[..] {
            if only.number == number {
                group.responded(&mut only.attempt, now);
            }
            return;
        }
        let (won, lost): (SmallVec<[UnderWay; 2]>, SmallVec<[UnderWay; 2]>) =
            self.under_way.drain(..).partition(|each| each.number == number);
        self.under_way = won;
        for each in &mut self.under_way {
            group.responded(&mut each.attempt, now);
        }
        for each in lost {
            group.finish(each.attempt, Outcome::Cancelled, now);
        }
    }

    /// Whether a response with this status is to be told by [`refused`](Self::refused), and else by
    /// [`responded`](Self::responded).
    #[must_use]
    pub fn refuses(&self, status: u16) -> bool {
        status >= 400
            && (Failure::of_status(status).is_some()
                || self.leg().is_some_and(|leg| leg.group.policy().retry.statuses.contains(&status)))
    }

    /// The response of an attempt has begun, with a status that [`refuses`](Self::refuses). Says [`Step::Respond`], or
    /// [`Step::Pause`] for an attempt elsewhere.
    pub fn refused(
        &mut self,
        number: u32,
        status: u16,
        retry_after: Option<Duration>,
        traces: Traces,
        now: Instant,
    ) -> Step {
        let Some((leg, attempt)) = self.take(number) else { return Step::Respond };
        let position = attempt.position();
        let failure = Failure::of_status(status);
        leg.group.finish(attempt, failure.map_or(Outcome::Success, Outcome::Failure), now);
        if let (Some(_), Some(length)) = (failure, retry_after) {
            leg.group.rest(position, length, now);
        }
        if !self.under_way.is_empty() {
            return Step::Stay;
        }
        match self.next(&leg, Failure::Status(status), retry_after, traces, now) {
            Next::Retry { after, elsewhere } => {
                if !elsewhere {
                    self.tried.clear();
                }
                Step::Pause(after)
            }
            Next::NextCluster => {
                self.then = Then::NextCluster;
                Step::Pause(Duration::ZERO)
            }
            Next::GiveUp(_) => Step::Respond,
        }
    }

    /// An attempt has failed, with anything but a status.
    pub fn failed(&mut self, number: u32, failure: Failure, traces: Traces, now: Instant) -> Step {
        let Some((leg, attempt)) = self.take(number) else { return Step::GiveUp(Reason::Response) };
        let position = attempt.position();
        leg.group.finish(attempt, Outcome::Failure(failure), now);
        if !self.under_way.is_empty() {
            return Step::Stay;
        }
        if failure == Failure::Stale {
            self.attempts = self.attempts.saturating_sub(1);
        }
        match self.next(&leg, failure, None, traces, now) {
            Next::Retry { .. } if failure == Failure::Stale => {
                let again = leg.group.attempt_again(position, now);
                again.map_or(Step::GiveUp(Reason::Protocol), |attempt| self.go(&leg, attempt, true))
            }
            Next::Retry { after, elsewhere } => {
                if !elsewhere {
                    self.tried.clear();
                }
                if after.is_zero() { self.attempt(now) } else { Step::Pause(after) }
            }
            Next::NextCluster => self.next_leg(now),
            Next::GiveUp(Reason::Deadline) => self.out_of_time(),
            Next::GiveUp(reason) => Step::GiveUp(reason),
        }
    }

    /// The response of an attempt is whole.
    pub fn succeeded(&mut self, number: u32, now: Instant) {
        if let Some((leg, attempt)) = self.take(number) {
            leg.group.finish(attempt, Outcome::Success, now);
        }
    }

    /// All of a request that came from the client bit by bit was sent.
    pub fn request_sent(&mut self, number: u32, now: Instant) {
        if let Some(each) = self.under_way.iter_mut().find(|each| each.number == number) {
            each.attempt.request_sent(now);
        }
    }

    /// When to [`hedge`](Self::hedge) the attempt that has just begun, if its request can be sent again.
    #[must_use]
    pub fn hedge_after(&self) -> Option<Duration> {
        self.leg()?.group.hedge_after(self.terms.idempotent)
    }

    /// A second attempt at another endpoint beside the one under way, where that is worth it.
    pub fn hedge(&mut self, now: Instant) -> Option<EndpointAt> {
        if self.over || self.under_way.len() != 1 {
            return None;
        }
        let leg = self.leg()?.clone();
        let attempt = leg.group.hedge(&mut self.tried, leg.key, now)?;
        match self.go(&leg, attempt, false) {
            Step::Attempt { at, .. } => Some(at),
            _ => None,
        }
    }

    /// It is over: attempts under way are finished with `outcome`, and its place is free. Others may have their
    /// [`turn`](Self::turn) now.
    pub fn end(&mut self, outcome: Outcome, now: Instant) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        if let Some(leg) = self.leg() {
            let group = Arc::clone(&leg.group);
            for each in self.under_way.drain(..) {
                group.finish(each.attempt, outcome, now);
            }
        }
        self.leave(now);
    }

    /// Whose turn it is in one of its clusters, and in which; to be called until it says nobody's.
    #[must_use]
    pub fn turn(&self, now: Instant) -> Option<(Turn, &Arc<Group>)> {
        self.legs.iter().find_map(|leg| Some((leg.group.turn(now)?, &leg.group)))
    }

    fn leg(&self) -> Option<&Leg> {
        self.legs.get(self.at)
    }

    fn has_fallback(&self) -> bool {
        self.at + 1 < self.legs.len()
    }

    /// When the exchange has to be over: as the message and the cluster say.
    fn deadline(&self) -> Option<Instant> {
        let total = self.leg().map(|leg| leg.group.policy().timeout.total);
        let least = self.terms.deadline.into_iter().chain(total).min();
        least.map(|length| self.terms.began + length)
    }

    fn out_of_time(&self) -> Step {
        let total = self.leg().map(|leg| (leg.group.name(), leg.group.policy().timeout.total));
        Step::Refuse(match (self.terms.deadline, total) {
            (Some(deadline), Some((_, total))) if deadline <= total => Fault::deadline(deadline),
            (_, Some((name, total))) => Fault::total(name, total),
            (deadline, None) => Fault::deadline(deadline.unwrap_or_default()),
        })
    }

    /// Into the cluster of this leg, or past it.
    fn enter(&mut self, now: Instant) -> Step {
        let Some(leg) = self.leg() else { return Step::Stay };
        let group = Arc::clone(&leg.group);
        let deadline = self.deadline();
        if self.over {
            return Step::Stay;
        }
        if deadline.is_some_and(|deadline| deadline <= now) {
            return self.out_of_time();
        }
        if let Some(names) = &self.terms.caller
            && let Err(exceeded) = group.spend(&names.caller(), now)
        {
            let fault = Fault::rate(group.name(), &exceeded);
            // What a caller may have, it may have nowhere else either.
            return if exceeded.rate.per == Per::Cluster {
                self.pass_over(fault, now)
            } else {
                Step::Refuse(fault)
            };
        }
        match group.enter(self.terms.priority, deadline, now) {
            Entry::Admitted(permit) => {
                self.place = Place::In(permit);
                self.attempt(now)
            }
            Entry::Waits { ticket, displaced } => {
                let left = deadline.map_or(Duration::MAX, |deadline| deadline.since(now));
                let patience = left.min(group.policy().queue.wait);
                self.place = Place::Queued { ticket, hasty: patience == left, since: now };
                Step::Wait { ticket, patience, displaced }
            }
            Entry::Refused(refusal) => self.pass_over(Fault::refused(group.name(), refusal), now),
        }
    }

    /// There is nothing to be had on this leg: on to the next, or else the answer is `fault`.
    fn pass_over(&mut self, fault: Fault, now: Instant) -> Step {
        if self.has_fallback() { self.next_leg(now) } else { Step::Refuse(fault) }
    }

    /// Off this leg, and on to the next.
    fn next_leg(&mut self, now: Instant) -> Step {
        self.leave(now);
        self.at += 1;
        self.tried.clear();
        self.attempts = 0;
        self.enter(now)
    }

    fn leave(&mut self, now: Instant) {
        let place = std::mem::replace(&mut self.place, Place::None);
        let Some(leg) = self.leg().cloned() else { return };
        match place {
            Place::None => (),
            Place::Queued { ticket, since, .. } => {
                leg.group.cancel(ticket);
                self.waited += now.since(since);
            }
            Place::In(permit) => leg.group.leave(permit, now),
        }
    }

    fn attempt(&mut self, now: Instant) -> Step {
        let Some(leg) = self.leg().cloned() else { return Step::Stay };
        let fallback = self.has_fallback();
        match leg.group.attempt(&mut self.tried, leg.key, fallback, now) {
            Ok(attempt) => self.go(&leg, attempt, false),
            // Clocks and timers are no more exact than this.
            Err(NoEndpoint::Resting { until }) if until.since(now) <= MOMENT => Step::Pause(until.since(now)),
            Err(NoEndpoint::Resting { until }) => {
                self.pass_over(Fault::resting(leg.group.name(), until.since(now)), now)
            }
            Err(NoEndpoint::Unfit | NoEndpoint::Tried) => self.pass_over(Fault::unfit(leg.group.name()), now),
        }
    }

    fn go(&mut self, leg: &Leg, attempt: Attempt, fresh: bool) -> Step {
        self.made += 1;
        self.attempts += 1;
        let at = EndpointAt { cluster: leg.cluster, endpoint: attempt.position() };
        self.under_way.push(UnderWay { number: self.made, attempt });
        Step::Attempt { at, fresh }
    }

    fn take(&mut self, number: u32) -> Option<(Leg, Attempt)> {
        let leg = self.leg()?.clone();
        let position = self.under_way.iter().position(|each| each.number == number)?;
        Some((leg, self.under_way.remove(position).attempt))
    }

    fn next(
        &mut self,
        leg: &Leg,
        failure: Failure,
        retry_after: Option<Duration>,
        traces: Traces,
        now: Instant,
    ) -> Next {
        let Traces { sent, replayable, delivered } = traces;
        let failed = Failed {
            failure,
            retry_after,
            idempotent: self.terms.idempotent,
            sent,
            replayable,
            delivered,
            attempts: self.attempts,
            fallback: self.has_fallback(),
            deadline: self.deadline(),
        };
        leg.group.retry(&failed, &self.tried, now)
    }
}

impl Names {
    fn caller(&self) -> Caller<'_> {
        Caller { tenant: self.tenant.as_deref(), agent: self.agent.as_deref(), key: self.key.as_deref() }
    }
}
