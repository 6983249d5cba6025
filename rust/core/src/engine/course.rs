//! The course an exchange takes: which endpoint it tries when, and what it ends with.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::fault::Fault;
use super::snapshot::EndpointAt;
use super::step::{Delivery, Step};
use super::terms::{CallerNames, ClusterTry, Terms};
use crate::cluster::{
    Attempt, Entry, Failed, Failure, Group, Instant, Next, NoEndpoint, Outcome, Permit, Reason, Shed, Ticket,
    Tried, Turn, policy::Per,
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
    clusters: SmallVec<[ClusterTry; 2]>,
    /// The cluster that it is in, or waits for.
    at: usize,
    pub(super) terms: Terms,
    admission: Admission,
    tried: Tried,
    /// Attempts made in this cluster, but for those that found their connection stale.
    attempts: u32,
    under_way: SmallVec<[UnderWay; 2]>,
    /// Attempts made.
    made: u32,
    after_pause: AfterPause,
    over: bool,
    /// How long it has waited in queues.
    waited: Duration,
}

/// Whoever rests for no longer than this is waited for.
const MOMENT: Duration = Duration::from_millis(100);

#[derive(Debug)]
enum Admission {
    Outside,
    /// `by_deadline`: the exchange's deadline bounds how long it waits.
    Queued {
        ticket: Ticket,
        by_deadline: bool,
        since: Instant,
    },
    Admitted(Permit),
}

#[derive(Debug)]
struct UnderWay {
    number: u32,
    attempt: Attempt,
}

/// What follows a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterPause {
    Attempt,
    NextCluster,
}

impl Course {
    /// An exchange that has not begun. `clusters` in the order in which they are to be tried.
    #[must_use]
    pub fn new(clusters: impl IntoIterator<Item = ClusterTry>, terms: Terms) -> Self {
        Self {
            clusters: clusters.into_iter().collect(),
            at: 0,
            terms,
            admission: Admission::Outside,
            tried: Tried::new(),
            attempts: 0,
            under_way: SmallVec::new(),
            made: 0,
            after_pause: AfterPause::Attempt,
            over: false,
            waited: Duration::ZERO,
        }
    }

    /// It is charged to the accounts of these wherever there are rates.
    pub fn charge(&mut self, names: CallerNames) {
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
        match self.admission {
            Admission::Queued { since, .. } => self.waited + now.since(since),
            Admission::Outside | Admission::Admitted(_) => self.waited,
        }
    }

    /// The cluster that it is in, or waits for.
    #[must_use]
    pub fn group(&self) -> Option<&Arc<Group>> {
        self.cluster().map(|cluster| &cluster.group)
    }

    /// The first step.
    pub fn begin(&mut self, now: Instant) -> Step {
        self.enter(now)
    }

    /// A pause is over.
    pub fn resume(&mut self, now: Instant) -> Step {
        match std::mem::replace(&mut self.after_pause, AfterPause::Attempt) {
            _ if self.over || !self.under_way.is_empty() => Step::Stay,
            AfterPause::NextCluster => self.next_cluster(now),
            AfterPause::Attempt if self.deadline().is_none_or(|deadline| now < deadline) => self.attempt(now),
            AfterPause::Attempt => Step::Fail(self.out_of_time()),
        }
    }

    /// Its turn has come, in the cluster that it waits for.
    pub fn admitted(&mut self, permit: Permit, now: Instant) -> Step {
        if let Admission::Queued { since, .. } = self.admission {
            self.waited += now.since(since);
            self.admission = Admission::Admitted(permit);
            return self.attempt(now);
        }
        if let Some(cluster) = self.cluster() {
            cluster.group.leave(permit, now);
        }
        Step::Stay
    }

    /// It lost its place in the queue: to a more urgent message (`displaced`), or its time ran out.
    pub fn dropped(&mut self, displaced: Option<Shed>, now: Instant) -> Step {
        let (&Admission::Queued { by_deadline, since, .. }, Some(cluster)) =
            (&self.admission, self.cluster().cloned())
        else {
            return Step::Stay;
        };
        self.waited += now.since(since);
        self.admission = Admission::Outside;
        let fault = match displaced {
            Some(shed) => Fault::shed(cluster.group.name(), shed),
            None if by_deadline => return Step::Fail(self.out_of_time()),
            None => {
                Fault::waited(cluster.group.name(), cluster.group.policy().queue.wait, cluster.group.wait())
            }
        };
        self.pass_over(fault, now)
    }

    /// The longest that it waits in the queue is over.
    pub fn expired(&mut self, now: Instant) -> Step {
        let (Admission::Queued { ticket, .. }, Some(cluster)) = (&self.admission, self.cluster()) else {
            return Step::Stay;
        };
        // Whoever has called it out of the queue will say so.
        if cluster.group.expire(*ticket) { self.dropped(None, now) } else { Step::Stay }
    }

    /// The response of an attempt has begun, with a status that is none to try again after; others are given up.
    pub fn responded(&mut self, number: u32, now: Instant) {
        let Some(cluster) = self.cluster() else { return };
        let group = Arc::clone(&cluster.group);
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

    /// Whether another attempt may be made after a response with this status, or the endpoint has failed with it. Report such a
    /// response by [`responded_retryable`](Self::responded_retryable), any other by [`responded`](Self::responded).
    #[must_use]
    pub fn is_retryable(&self, status: u16) -> bool {
        status >= 400
            && (Failure::of_status(status).is_some()
                || self
                    .cluster()
                    .is_some_and(|cluster| cluster.group.policy().retry.statuses.contains(&status)))
    }

    /// The response of an attempt has begun, with a status that [is retryable](Self::is_retryable). Says [`Step::Respond`], or
    /// [`Step::Pause`] for an attempt elsewhere.
    pub fn responded_retryable(
        &mut self,
        number: u32,
        status: u16,
        retry_after: Option<Duration>,
        delivery: Delivery,
        now: Instant,
    ) -> Step {
        let Some((cluster, attempt)) = self.take(number) else { return Step::Respond };
        let position = attempt.position();
        let failure = Failure::of_status(status);
        cluster.group.finish(attempt, failure.map_or(Outcome::Success, Outcome::Failure), now);
        if let (Some(_), Some(length)) = (failure, retry_after) {
            cluster.group.rest(position, length, now);
        }
        if !self.under_way.is_empty() {
            return Step::Stay;
        }
        match self.next(&cluster, Failure::Status(status), retry_after, delivery, now) {
            Next::Retry { after, elsewhere } => {
                if !elsewhere {
                    self.tried.clear();
                }
                Step::Pause(after)
            }
            Next::NextCluster => {
                self.after_pause = AfterPause::NextCluster;
                Step::Pause(Duration::ZERO)
            }
            Next::GiveUp(_) => Step::Respond,
        }
    }

    /// An attempt has failed, with anything but a status.
    pub fn failed(&mut self, number: u32, failure: Failure, delivery: Delivery, now: Instant) -> Step {
        let Some((cluster, attempt)) = self.take(number) else { return Step::GiveUp(Reason::Response) };
        let position = attempt.position();
        cluster.group.finish(attempt, Outcome::Failure(failure), now);
        if !self.under_way.is_empty() {
            return Step::Stay;
        }
        if failure == Failure::Stale {
            self.attempts = self.attempts.saturating_sub(1);
        }
        match self.next(&cluster, failure, None, delivery, now) {
            Next::Retry { .. } if failure == Failure::Stale => {
                let again = cluster.group.attempt_again(position, now);
                again.map_or(Step::GiveUp(Reason::Protocol), |attempt| self.go(&cluster, attempt, true))
            }
            Next::Retry { after, elsewhere } => {
                if !elsewhere {
                    self.tried.clear();
                }
                if after.is_zero() { self.attempt(now) } else { Step::Pause(after) }
            }
            Next::NextCluster => self.next_cluster(now),
            Next::GiveUp(Reason::Deadline) => Step::Fail(self.out_of_time()),
            Next::GiveUp(reason) => Step::GiveUp(reason),
        }
    }

    /// The response of an attempt is whole.
    pub fn succeeded(&mut self, number: u32, now: Instant) {
        if let Some((cluster, attempt)) = self.take(number) {
            cluster.group.finish(attempt, Outcome::Success, now);
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
        self.cluster()?.group.hedge_after(self.terms.idempotent)
    }

    /// A second attempt at another endpoint beside the one under way, where that is worth it.
    pub fn hedge(&mut self, now: Instant) -> Option<EndpointAt> {
        if self.over || self.under_way.len() != 1 {
            return None;
        }
        let cluster = self.cluster()?.clone();
        let attempt = cluster.group.hedge(&mut self.tried, cluster.key, now)?;
        match self.go(&cluster, attempt, false) {
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
        if let Some(cluster) = self.cluster() {
            let group = Arc::clone(&cluster.group);
            for each in self.under_way.drain(..) {
                group.finish(each.attempt, outcome, now);
            }
        }
        self.leave(now);
    }

    /// Whose turn it is in one of its clusters, and in which; to be called until it says nobody's.
    #[must_use]
    pub fn turn(&self, now: Instant) -> Option<(Turn, &Arc<Group>)> {
        self.clusters.iter().find_map(|cluster| Some((cluster.group.turn(now)?, &cluster.group)))
    }

    pub(super) fn cluster(&self) -> Option<&ClusterTry> {
        self.clusters.get(self.at)
    }

    fn has_fallback(&self) -> bool {
        self.at + 1 < self.clusters.len()
    }

    /// Into the current cluster, or past it.
    fn enter(&mut self, now: Instant) -> Step {
        let Some(cluster) = self.cluster() else { return Step::Stay };
        let group = Arc::clone(&cluster.group);
        let deadline = self.deadline();
        if self.over {
            return Step::Stay;
        }
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Step::Fail(self.out_of_time());
        }
        if let Some(names) = &self.terms.caller
            && let Err(exceeded) = group.spend(&names.caller(), now)
        {
            let fault = Fault::rate(group.name(), &exceeded);
            // What a caller may have, it may have nowhere else either.
            return if exceeded.rate.per == Per::Cluster {
                self.pass_over(fault, now)
            } else {
                Step::Fail(fault)
            };
        }
        match group.enter(self.terms.priority, deadline, now) {
            Entry::Admitted(permit) => {
                self.admission = Admission::Admitted(permit);
                self.attempt(now)
            }
            Entry::Waits { ticket, displaced } => {
                let remaining = deadline.map_or(Duration::MAX, |deadline| deadline.since(now));
                let patience = remaining.min(group.policy().queue.wait);
                self.admission = Admission::Queued { ticket, by_deadline: patience == remaining, since: now };
                Step::Wait { ticket, patience, displaced }
            }
            Entry::Shed(shed) => self.pass_over(Fault::shed(group.name(), shed), now),
        }
    }

    /// There is nothing to be had in this cluster: on to the next, or else the answer is `fault`.
    fn pass_over(&mut self, fault: Fault, now: Instant) -> Step {
        if self.has_fallback() { self.next_cluster(now) } else { Step::Fail(fault) }
    }

    /// Out of this cluster, and on to the next.
    fn next_cluster(&mut self, now: Instant) -> Step {
        self.leave(now);
        self.at += 1;
        self.tried.clear();
        self.attempts = 0;
        self.enter(now)
    }

    fn leave(&mut self, now: Instant) {
        let admission = std::mem::replace(&mut self.admission, Admission::Outside);
        let Some(cluster) = self.cluster().cloned() else { return };
        match admission {
            Admission::Outside => (),
            Admission::Queued { ticket, since, .. } => {
                cluster.group.cancel(ticket);
                self.waited += now.since(since);
            }
            Admission::Admitted(permit) => cluster.group.leave(permit, now),
        }
    }

    fn attempt(&mut self, now: Instant) -> Step {
        let Some(cluster) = self.cluster().cloned() else { return Step::Stay };
        let fallback = self.has_fallback();
        match cluster.group.attempt(&mut self.tried, cluster.key, fallback, now) {
            Ok(attempt) => self.go(&cluster, attempt, false),
            // Clocks and timers are no more exact than this.
            Err(NoEndpoint::Resting { until }) if until.since(now) <= MOMENT => Step::Pause(until.since(now)),
            Err(NoEndpoint::Resting { until }) => {
                self.pass_over(Fault::resting(cluster.group.name(), until.since(now)), now)
            }
            Err(NoEndpoint::Unfit | NoEndpoint::Tried) => {
                self.pass_over(Fault::unfit(cluster.group.name()), now)
            }
        }
    }

    fn go(&mut self, cluster: &ClusterTry, attempt: Attempt, fresh: bool) -> Step {
        self.made += 1;
        self.attempts += 1;
        let at = EndpointAt { cluster: cluster.position, endpoint: attempt.position() };
        self.under_way.push(UnderWay { number: self.made, attempt });
        Step::Attempt { at, fresh }
    }

    fn take(&mut self, number: u32) -> Option<(ClusterTry, Attempt)> {
        let cluster = self.cluster()?.clone();
        let position = self.under_way.iter().position(|each| each.number == number)?;
        Some((cluster, self.under_way.remove(position).attempt))
    }

    fn next(
        &mut self,
        cluster: &ClusterTry,
        failure: Failure,
        retry_after: Option<Duration>,
        delivery: Delivery,
        now: Instant,
    ) -> Next {
        let Delivery { sent, replayable, delivered } = delivery;
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
        cluster.group.retry(&failed, &self.tried, now)
    }
}
