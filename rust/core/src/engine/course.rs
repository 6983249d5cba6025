//! The course of an exchange: which endpoints it tries, when, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::fault::Fault;
use super::snapshot::EndpointAt;
use super::step::{Delivery, Step};
use super::terms::{CallerNames, ClusterTry, Terms};
use super::trail::{Trail, UnderWay};
use crate::cluster::{
    Again, Attempt, Entry, Failed, Failure, Group, Instant, Next, NoEndpoint, Outcome, Permit, Reason, Shed,
    Ticket, Tried, Turn, policy::Per,
};

/// The state machine of one exchange, which leads through the clusters of its decision: `to`, then each `fallback`.
///
/// The host carries out a [`Step`], reports the result by the call that the step names, and gets the next step. It always
/// finishes with [`end`](Self::end): after that, the course holds nothing, and further calls change nothing.
///
/// - A message is charged to the rates of a cluster; then it enters the cluster, or waits for its turn. If an account of its
///   caller is overdrawn, that error is the answer. A cluster that is full, over a rate of its own, or without a fit endpoint
///   is passed over if another cluster follows.
/// - Within a cluster, [`retry::next`](crate::cluster::choice::retry::next) decides whether and where to make another attempt.
/// - A status that the cluster retries is not an answer while another attempt can be made. The host keeps the response, and
///   delivers it if no later attempt does better.
/// - Of several attempts, the first response counts, and the others are cancelled.
#[derive(Debug)]
pub struct Course {
    clusters: SmallVec<[ClusterTry; 2]>,
    /// Index of the cluster that the exchange is in, or waits for.
    at: usize,
    pub(super) terms: Terms,
    admission: Admission,
    pub(super) tried: Tried,
    /// Number of attempts made in this cluster, without those over a stale connection.
    attempts: u32,
    pub(super) under_way: SmallVec<[UnderWay; 2]>,
    /// Number of all attempts made.
    made: u32,
    after_pause: AfterPause,
    over: bool,
    /// Time spent in queues.
    waited: Duration,
    /// What the exchange has tried.
    pub(super) trail: Trail,
}

/// The longest rest of an endpoint for which the exchange pauses.
const MOMENT: Duration = Duration::from_millis(100);

#[derive(Debug)]
enum Admission {
    Outside,
    /// `by_deadline`: the wait is limited by the exchange's deadline, not by the queue.
    Queued {
        ticket: Ticket,
        by_deadline: bool,
        since: Instant,
    },
    Admitted(Permit),
}

/// The action after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterPause {
    Attempt,
    NextCluster,
}

impl Course {
    /// The course of an exchange that has not begun. `clusters` are in the order in which they are tried.
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
            trail: Trail::default(),
        }
    }

    /// Charges the exchange to the accounts of this caller, in every cluster with rates.
    pub fn charge(&mut self, names: CallerNames) {
        self.terms.caller = Some(Box::new(names));
    }

    /// Number of attempts made so far, which is also the number of the last one.
    #[must_use]
    pub fn made(&self) -> u32 {
        self.made
    }

    /// The time that the exchange has spent in queues.
    #[must_use]
    pub fn waited(&self, now: Instant) -> Duration {
        match self.admission {
            Admission::Queued { since, .. } => self.waited + now.since(since),
            Admission::Outside | Admission::Admitted(_) => self.waited,
        }
    }

    /// The cluster that the exchange is in, or waits for.
    #[must_use]
    pub fn group(&self) -> Option<&Arc<Group>> {
        self.cluster().map(|cluster| &cluster.group)
    }

    /// Begins the exchange.
    pub fn begin(&mut self, now: Instant) -> Step {
        self.enter(now)
    }

    /// Continues after a pause.
    pub fn resume(&mut self, now: Instant) -> Step {
        match std::mem::replace(&mut self.after_pause, AfterPause::Attempt) {
            _ if self.over || !self.under_way.is_empty() => Step::Stay,
            AfterPause::NextCluster => self.next_cluster(now),
            AfterPause::Attempt if self.deadline().is_none_or(|deadline| now < deadline) => self.attempt(now),
            AfterPause::Attempt => Step::Fail(self.out_of_time()),
        }
    }

    /// Continues after the exchange's turn has come in the cluster that it waits for.
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

    /// Continues after the exchange has lost its place in the queue: to a more urgent message (`displaced`), or because its
    /// time ran out.
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

    /// Continues after the longest wait in the queue.
    pub fn expired(&mut self, now: Instant) -> Step {
        let (Admission::Queued { ticket, .. }, Some(cluster)) = (&self.admission, self.cluster()) else {
            return Step::Stay;
        };
        // If the ticket has already left the queue, its turn is on the way.
        if cluster.group.expire(*ticket) { self.dropped(None, now) } else { Step::Stay }
    }

    /// Reports the head of a response that is not [retryable](Self::is_retryable). Other attempts are cancelled.
    pub fn responded(&mut self, number: u32, status: u16, now: Instant) {
        let Some(cluster) = self.cluster() else { return };
        let group = Arc::clone(&cluster.group);
        if let [only] = &mut self.under_way[..] {
            if only.number == number {
                group.responded(&mut only.attempt, status, now);
            }
            return;
        }
        let (won, lost): (SmallVec<[UnderWay; 2]>, SmallVec<[UnderWay; 2]>) =
            self.under_way.drain(..).partition(|each| each.number == number);
        self.under_way = won;
        for each in &mut self.under_way {
            group.responded(&mut each.attempt, status, now);
        }
        for each in lost {
            self.trail.add(&group, &each, None, now);
            group.finish(each.attempt, Outcome::Cancelled, now);
        }
    }

    /// Whether a response with this status may lead to another attempt, or keeps its endpoint out for the time of its
    /// `Retry-After`. Report such a response by [`responded_retryable`](Self::responded_retryable), any other by
    /// [`responded`](Self::responded).
    #[must_use]
    pub fn is_retryable(&self, status: u16) -> bool {
        status >= 400
            && self.cluster().is_some_and(|cluster| {
                let lesson = cluster.group.lesson(Outcome::of_status(status));
                let listed = || cluster.group.policy().retry.statuses.contains(&status);
                lesson.rest || (lesson.again == Again::Listed && listed())
            })
    }

    /// Reports the head of a response that is [retryable](Self::is_retryable). Returns [`Step::Respond`], or [`Step::Pause`]
    /// before another attempt, or [`Step::Stay`] while another one is under way.
    pub fn responded_retryable(
        &mut self,
        number: u32,
        status: u16,
        retry_after: Option<Duration>,
        delivery: Delivery,
        now: Instant,
    ) -> Step {
        self.note_status(number, status, now);
        let Some((cluster, each)) = self.take(number) else { return Step::Respond };
        self.trail.add(&cluster.group, &each, None, now);
        let attempt = each.attempt;
        let place = attempt.place();
        let outcome = Outcome::of_status(status);
        cluster.group.finish(attempt, outcome, now);
        if let Some(length) = retry_after.filter(|_| cluster.group.lesson(outcome).rest) {
            cluster.group.rest(place, length, now);
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

    /// Reports the failure of an attempt, other than by a status.
    pub fn failed(&mut self, number: u32, failure: Failure, delivery: Delivery, now: Instant) -> Step {
        let Some((cluster, each)) = self.take(number) else {
            self.trail.fail(number, failure);
            return Step::GiveUp(Reason::Response);
        };
        self.trail.add(&cluster.group, &each, Some(failure), now);
        let attempt = each.attempt;
        let place = attempt.place();
        cluster.group.finish(attempt, Outcome::Failure(failure), now);
        if !self.under_way.is_empty() {
            return Step::Stay;
        }
        if failure == Failure::Stale {
            self.attempts = self.attempts.saturating_sub(1);
        }
        match self.next(&cluster, failure, None, delivery, now) {
            Next::Retry { .. } if failure == Failure::Stale => {
                let again = cluster.group.attempt_again(place, now);
                again.map_or(Step::GiveUp(Reason::Protocol), |attempt| self.go(&cluster, attempt, true, now))
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

    /// Reports that the active check of the endpoint fails at which an attempt waits for a response. If the message may go
    /// elsewhere, the attempt ends and another one follows; else the answer is [`Step::Stay`], and the attempt goes on.
    pub fn leave_unfit(&mut self, number: u32, delivery: Delivery, now: Instant) -> Step {
        let waits = |each: &UnderWay| each.number == number && !each.attempt.has_responded();
        let (true, Some(cluster)) =
            (self.under_way.len() == 1 && self.under_way.iter().all(waits), self.cluster().cloned())
        else {
            return Step::Stay;
        };
        let next = self.next(&cluster, Failure::Unfit, None, delivery, now);
        if matches!(next, Next::GiveUp(_)) {
            return Step::Stay;
        }
        if let Some((_, each)) = self.take(number) {
            self.trail.add(&cluster.group, &each, Some(Failure::Unfit), now);
            cluster.group.finish(each.attempt, Outcome::Failure(Failure::Unfit), now);
        }
        match next {
            Next::Retry { .. } => self.attempt(now),
            _ => self.next_cluster(now),
        }
    }

    /// Reports that the response of an attempt is complete.
    pub fn succeeded(&mut self, number: u32, now: Instant) {
        if let Some((cluster, each)) = self.take(number) {
            if self.trail.is_kept() {
                self.trail.add(&cluster.group, &each, None, now);
            }
            cluster.group.finish(each.attempt, Outcome::Success, now);
        }
    }

    /// Reports that a streamed request has been sent completely.
    pub fn request_sent(&mut self, number: u32, now: Instant) {
        let Some(cluster) = self.clusters.get(self.at) else { return };
        if let Some(each) = self.under_way.iter_mut().find(|each| each.number == number) {
            cluster.group.request_sent(&mut each.attempt, now);
        }
    }

    /// The time after which to [`hedge`](Self::hedge) the attempt that has just begun, if its request can be sent again.
    #[must_use]
    pub fn hedge_after(&self) -> Option<Duration> {
        self.cluster()?.group.hedge_after(self.terms.idempotent)
    }

    /// Begins a second attempt at another endpoint beside the one under way, if that is worthwhile.
    pub fn hedge(&mut self, now: Instant) -> Option<EndpointAt> {
        if self.over || self.under_way.len() != 1 {
            return None;
        }
        let cluster = self.cluster()?.clone();
        let attempt = cluster.group.hedge(&mut self.tried, cluster.key, now)?;
        match self.go(&cluster, attempt, false, now) {
            Step::Attempt { at, .. } => Some(at),
            _ => None,
        }
    }

    /// Ends the exchange: finishes attempts under way with `outcome`, and leaves the cluster. Others may have their
    /// [`turn`](Self::turn) now.
    pub fn end(&mut self, outcome: Outcome, now: Instant) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        if let Some(cluster) = self.cluster() {
            let group = Arc::clone(&cluster.group);
            for each in std::mem::take(&mut self.under_way) {
                if self.trail.is_kept() || each.head.is_none() {
                    self.trail.add(&group, &each, None, now);
                }
                group.finish(each.attempt, outcome, now);
            }
        }
        self.leave(now);
    }

    /// The next turn in one of the exchange's clusters, and that cluster. Call it until it returns `None`.
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

    /// Enters the current cluster, or passes it over.
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
            // A caller over its rate must not use another cluster instead. Only a cluster's own rate leads to the next one.
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

    /// Goes to the next cluster; without one, `fault` is the answer.
    fn pass_over(&mut self, fault: Fault, now: Instant) -> Step {
        if self.clusters.len() > 1
            && let Some(cluster) = self.cluster()
        {
            self.trail.pass_over(cluster.position, fault.code);
        }
        if self.has_fallback() { self.next_cluster(now) } else { Step::Fail(fault) }
    }

    /// Leaves this cluster and enters the next.
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
            Ok(attempt) => self.go(&cluster, attempt, false, now),
            // Such a short rest is within the precision of clocks and timers.
            Err(NoEndpoint::Resting { until }) if until.since(now) <= MOMENT => Step::Pause(until.since(now)),
            Err(NoEndpoint::Resting { until }) => {
                self.pass_over(Fault::resting(cluster.group.name(), until.since(now)), now)
            }
            Err(NoEndpoint::Unfit | NoEndpoint::Tried) => {
                self.pass_over(Fault::unfit(cluster.group.name()), now)
            }
        }
    }

    fn go(&mut self, cluster: &ClusterTry, mut attempt: Attempt, fresh: bool, now: Instant) -> Step {
        if self.terms.streamed {
            cluster.group.request_streams(&mut attempt);
        }
        self.made += 1;
        self.attempts += 1;
        let at = EndpointAt::new(cluster.position, attempt.place());
        self.under_way.push(UnderWay::new(self.made, at, attempt, now));
        Step::Attempt { at, fresh }
    }

    pub(super) fn take(&mut self, number: u32) -> Option<(ClusterTry, UnderWay)> {
        let cluster = self.cluster()?.clone();
        let position = self.under_way.iter().position(|each| each.number == number)?;
        Some((cluster, self.under_way.remove(position)))
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
