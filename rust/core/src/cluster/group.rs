//! A cluster as one snapshot knows it, and all that an exchange asks of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::admission::gate::{Entry, Permit, Turn};
use super::admission::meter::{Caller, Exceeded, Meter};
use super::admission::queue::{ORDINARY, Ticket};
use super::attempt::Attempt;
use super::choice::balance::{self, Tried};
use super::choice::retry::{self, Failed, Next};
use super::failure::Outcome;
use super::health::standing::Standing;
use super::lesson::Lesson;
use super::members::{Member, Members, Place};
use super::policy::{Balance, Concurrency, Policy};
use super::slots::Key;
use super::state::State;
use super::time::Instant;

/// A snapshot's view of a cluster: its endpoints by position, its policy, and the state that it shares with the groups of
/// other snapshots. Made by [`Registry::apply`](super::Registry::apply).
///
/// An exchange calls, in this order:
///
/// 1. [`spend`](Self::spend): does a rate allow the message?
/// 2. [`enter`](Self::enter): is there room? Else wait for [`turn`](Self::turn), or [`cancel`](Self::cancel).
/// 3. [`attempt`](Self::attempt): at which endpoint? [`hedge_after`](Self::hedge_after): when to
///    [`hedge`](Self::hedge)?
///    [`moved`](Self::moved), where the connection was made to another address of the endpoint.
/// 4. [`responded`](Self::responded) at the first byte, [`finish`](Self::finish) at the end of each attempt, with
///    [`rest`](Self::rest) where the endpoint sent a `Retry-After`.
/// 5. [`retry`](Self::retry) after a failure; then 3 again, or the next cluster, or the answer.
/// 6. [`leave`](Self::leave), and `turn` for those who wait.
///
/// Timeouts, rates, concurrency and queue are those of the newest snapshot; how an exchange retries, balances and judges
/// endpoints is up to its own. Endpoints that a newer snapshot does not have any more stay known as long as this group
/// lives, so that exchanges of its snapshot end as they began.
///
/// Each call locks the cluster's state for its duration; there is nothing that could wait inside.
#[derive(Debug)]
pub struct Group {
    name: Box<str>,
    pub(super) state: Arc<Mutex<State>>,
    pub(super) policy: Arc<Policy>,
    /// Where the state of each endpoint is, by position.
    pub(super) keys: Box<[Key]>,
    pub(super) generation: u64,
    /// When it was made: good enough for when it goes, as nobody says when that is.
    since: Instant,
}

/// Why there is no endpoint to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEndpoint {
    /// All that are fit were tried.
    Tried,
    /// None is fit, and there is another cluster to go to.
    Unfit,
    /// All that are left asked to be left alone.
    Resting {
        /// Until then, the first of them.
        until: Instant,
    },
}

impl Group {
    pub(super) fn join(
        name: &str,
        state: Arc<Mutex<State>>,
        endpoints: &[(&str, u32)],
        policy: Arc<Policy>,
        generation: u64,
        now: Instant,
    ) -> Self {
        let keys = lock(&state).join(endpoints, &policy, generation, now);
        Self { name: name.into(), state, policy, keys, generation, since: now }
    }

    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The policy of the group's own snapshot.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Takes a token for a message from every rate, or from none.
    ///
    /// # Errors
    /// A rate was reached.
    pub fn spend(&self, caller: &Caller<'_>, now: Instant) -> Result<(), Exceeded> {
        let mut state = self.lock();
        let spent = Meter::take_all(&state.meters, caller, now);
        state.totals.rate_limited += u64::from(spent.is_err());
        spent
    }

    /// A message comes: see [`Gate::enter`](super::Gate::enter). `priority` 0 to 9, `deadline` when its exchange has to be
    /// over.
    pub fn enter(&self, priority: u8, deadline: Option<Instant>, now: Instant) -> Entry {
        let mut state = self.lock();
        let policy = self.newest_policy(&state);
        state.totals.messages += 1;
        let entry = state.gate.enter(priority, deadline, &policy.concurrency, &policy.queue, now);
        if !matches!(entry, Entry::Shed(_)) {
            state.budget.deposit(now);
        }
        entry
    }

    /// Whose turn it is to go on: to be called after every [`leave`](Self::leave) and [`responded`](Self::responded),
    /// until it says nobody's. The one named may be of another snapshot of this cluster.
    #[must_use]
    pub fn turn(&self, now: Instant) -> Option<Turn> {
        let mut state = self.lock();
        let policy = self.newest_policy(&state);
        state.gate.turn(&policy.concurrency, &policy.queue, now)
    }

    /// A message does not want to wait any longer: its client has left, or its deadline has passed. False: it does not
    /// wait any more.
    #[allow(clippy::must_use_candidate)] // It changes the queue.
    pub fn cancel(&self, ticket: Ticket) -> bool {
        self.lock().gate.cancel(ticket)
    }

    /// A message has waited as long as it could. False: it does not wait any more.
    #[allow(clippy::must_use_candidate)] // It changes the queue.
    pub fn expire(&self, ticket: Ticket) -> bool {
        self.lock().gate.expire(ticket)
    }

    /// How long a message of ordinary priority that came now would wait, as far as one can tell.
    #[must_use]
    pub fn wait(&self) -> Duration {
        let state = self.lock();
        let policy = self.newest_policy(&state);
        state.gate.wait(ORDINARY, &policy.concurrency, &policy.queue)
    }

    /// A message is in flight no more.
    pub fn leave(&self, permit: Permit, now: Instant) {
        self.lock().gate.leave(permit, now);
    }

    /// Begins an attempt at an endpoint that is fit and not in `tried`, and puts it there. Where all that are fit were
    /// tried and there is no other cluster, the others have their turn.
    ///
    /// `key` is the [`hash`](crate::hash::hash) of the field that the policy's `hash` names, where the message has it.
    /// `fallback`: there is another cluster to go to, so that endpoints that are not fit need not be used (see
    /// [`panic_percent`](super::policy::Health::panic_percent)).
    ///
    /// # Errors
    /// There is none.
    pub fn attempt(
        &self,
        tried: &mut Tried,
        key: Option<u64>,
        fallback: bool,
        now: Instant,
    ) -> Result<Attempt, NoEndpoint> {
        let mut state = self.lock();
        let place = self.choose(&mut state, tried, key, fallback, now)?;
        self.begin(&mut state, place, tried, now).ok_or(NoEndpoint::Tried)
    }

    /// Begins an attempt where one found its connection stale. `None` where that place is no more.
    #[must_use]
    pub fn attempt_again(&self, place: impl Into<Place>, now: Instant) -> Option<Attempt> {
        self.begin(&mut self.lock(), place.into(), &mut Tried::new(), now)
    }

    /// When to begin a second attempt, counted from the first; `None`: not at all.
    #[must_use]
    pub fn hedge_after(&self, idempotent: bool) -> Option<Duration> {
        let policy = self.policy.hedge.as_ref().filter(|_| idempotent)?;
        self.lock().latencies.hedge_after(policy)
    }

    /// Begins a second attempt while the first goes on, as [`attempt`](Self::attempt) does; `None` where there is no other
    /// endpoint or no budget. The exchange takes the response that begins first, and finishes the other attempt with
    /// [`Outcome::Cancelled`].
    #[must_use]
    pub fn hedge(&self, tried: &mut Tried, key: Option<u64>, now: Instant) -> Option<Attempt> {
        let mut state = self.lock();
        if state.budget.remaining(&self.policy.retry, now) == 0 {
            return None;
        }
        // Never at one that is not fit: this is for speed.
        let place = self.choose(&mut state, tried, key, true, now).ok()?;
        state.budget.withdraw(&self.policy.retry, now);
        state.totals.hedges += 1;
        self.begin(&mut state, place, tried, now)
    }

    /// What an outcome teaches in this cluster.
    #[must_use]
    pub fn lesson(&self, outcome: Outcome) -> Lesson {
        Lesson::of(outcome, self.policy.passes_credential)
    }

    /// An endpoint said when to come back (`Retry-After`, RFC 9110, section 10.2.3): it gets nothing until
    /// then, within the policy's bound.
    pub fn rest(&self, place: impl Into<Place>, retry_after: Duration, now: Instant) {
        let Some(key) = self.key(place.into()) else { return };
        if let Some(endpoint) = self.lock().get_mut(key) {
            endpoint.health.rest(retry_after, &self.policy.health, now);
        }
    }

    /// What to do after a failed attempt: see [`retry::next`]. For a [`Next::Retry`] that is not elsewhere, `tried` has to
    /// be cleared; after [`Failure::Stale`](super::Failure::Stale) it goes to the same endpoint, by [`attempt_again`](Self::attempt_again).
    /// Where nobody is left but who asked to be left alone for longer than
    /// [`rest_max`](super::policy::Health::rest_max), no client is kept waiting for that.
    #[must_use]
    pub fn retry(&self, failed: &Failed, tried: &Tried, now: Instant) -> Next {
        let mut state = self.lock();
        let members = state.members(self.generation);
        let others = self.weigh(&mut state, &members, tried, failed.fallback, now).is_ok();
        let mut failed = *failed;
        if !others && failed.retry_after.is_some_and(|length| length > self.policy.health.rest_max) {
            failed.attempts = u32::MAX;
        }
        let again = self.lesson(Outcome::Failure(failed.failure)).again;
        let State { budget, rng, totals, .. } = &mut *state;
        let next = retry::next(&self.policy.retry, &failed, again, others, budget, rng, now);
        totals.retries += u64::from(matches!(next, Next::Retry { .. }));
        next
    }

    /// When the next active check is due; `None`: never. Only the newest snapshot's group checks.
    #[must_use]
    pub fn next_check(&self) -> Option<Instant> {
        let mut state = self.lock();
        let members = state.members(self.generation);
        self.checks(&state, &members).map(|(_, due)| due).min()
    }

    /// The endpoints, and the addresses of endpoints, that are to be asked now. The answers go to
    /// [`checked`](Self::checked).
    #[must_use]
    pub fn due_checks(&self, now: Instant) -> Vec<Place> {
        let mut state = self.lock();
        let members = state.members(self.generation);
        let due = self.checks(&state, &members).filter(|(_, due)| *due <= now);
        let due: Vec<Member> = due.map(|(member, _)| *member).collect();
        for member in &due {
            if let Some(endpoint) = state.get_mut(member.key) {
                endpoint.health.asked(&self.policy, now);
            }
        }
        due.iter().map(Member::place).collect()
    }

    /// An endpoint answered its active check well, or did not (in time). Returns whether the check fails from now on: what
    /// waits there may go elsewhere.
    #[allow(clippy::must_use_candidate)] // It takes note of the answer.
    pub fn checked(&self, place: impl Into<Place>, good: bool, now: Instant) -> bool {
        let Some(key) = self.key(place.into()) else { return false };
        self.lock().endpoint_and_rng(key).is_some_and(|(endpoint, rng)| {
            endpoint.health.answered(good, &self.policy, now, rng) == Some(false)
        })
    }

    fn checks<'a>(
        &self,
        state: &'a State,
        members: &'a Members,
    ) -> impl Iterator<Item = (&'a Member, Instant)> {
        let newest = state.newest() == Some(self.generation);
        let due = |member: &'a Member| Some((member, state.get(member.key)?.health.checker()?.due()));
        members.list.iter().filter(move |_| newest).filter_map(due)
    }

    fn key(&self, place: Place) -> Option<Key> {
        place.address.or_else(|| self.keys.get(place.endpoint).copied())
    }

    /// Begins an attempt, and puts its place in `tried`.
    pub(super) fn begin(
        &self,
        state: &mut State,
        place: Place,
        tried: &mut Tried,
        now: Instant,
    ) -> Option<Attempt> {
        let key = self.key(place)?;
        let endpoint = state.get_mut(key)?;
        tried.insert(key.number());
        endpoint.in_flight += 1;
        endpoint.counts.attempts += 1;
        endpoint.waiting.begin(now);
        let pass = endpoint.health.enter(&self.policy, now);
        Some(Attempt { place, key, pass, began: now, waits: true, silent_since: now, status: None })
    }

    fn choose(
        &self,
        state: &mut State,
        tried: &Tried,
        key: Option<u64>,
        fallback: bool,
        now: Instant,
    ) -> Result<Place, NoEndpoint> {
        let members = state.members(self.generation);
        self.weigh(state, &members, tried, fallback, now)?;
        let weights = std::mem::take(&mut state.weights);
        let member = |position: usize| members.list.get(position);
        let chosen = match (&self.policy.balance, key) {
            (Balance::Weighted, _) => balance::weighted(&weights, &mut state.rng),
            (Balance::RoundRobin, _) => balance::round_robin(&weights, |position, by| {
                let endpoint = member(position).and_then(|member| state.get_mut(member.key));
                endpoint.map_or(0, |endpoint| {
                    endpoint.credit = endpoint.credit.saturating_add(by);
                    endpoint.credit
                })
            }),
            (Balance::Hash(_), Some(key)) => balance::hashed(&weights, key, |position| {
                member(position).and_then(|member| state.get(member.key)).map_or(0, |found| found.hash)
            }),
            (Balance::LeastLoad, _) | (Balance::Hash(_), None) => {
                let mut rng = state.rng.clone();
                let load = |position: usize| {
                    let share = f64::from(weights.get(position).copied().unwrap_or(1).max(1)) / members.mean;
                    state.get(member(position)?.key).map(|endpoint| endpoint.load(share, now))
                };
                let chosen = balance::two_choices(&weights, members.unit, &mut rng, |one, other| {
                    match (load(one), load(other)) {
                        (Some(one), Some(other)) => one.is_less_than(&other),
                        (one, _) => one.is_some(),
                    }
                });
                state.rng = rng;
                chosen
            }
        };
        state.weights = weights;
        chosen.and_then(member).map(Member::place).ok_or(NoEndpoint::Tried)
    }

    /// Fills `state.weights`: what each member weighs in a choice now, 0 where it is out.
    fn weigh(
        &self,
        state: &mut State,
        members: &Members,
        tried: &Tried,
        fallback: bool,
        now: Instant,
    ) -> Result<(), NoEndpoint> {
        let mut weights = std::mem::take(&mut state.weights);
        weights.clear();
        let (mut fit, mut all, mut open) = (0_u64, 0_u64, 0_u32);
        let mut rested: Option<Instant> = None;
        for member in &members.list {
            let tried = tried.contains(member.key.number());
            let standing = state.get(member.key).map(|endpoint| endpoint.health.standing(&self.policy, now));
            all += member.part;
            let weight = match standing {
                Some(Standing::Fit { share }) => {
                    fit += member.part;
                    member.weighing(share)
                }
                Some(Standing::Resting { until, fit: otherwise }) => {
                    fit += u64::from(otherwise) * member.part;
                    if !tried {
                        rested = Some(rested.map_or(until, |first| first.min(until)));
                    }
                    0
                }
                Some(Standing::Unfit) | None => 0,
            };
            let weight = if tried { 0 } else { weight };
            open += u32::from(weight > 0);
            weights.push(weight);
        }
        let panic = u64::from(self.policy.health.panic_percent);
        // Where everyone fit has failed this very message, someone who may be is better than the same ones again.
        let exhausted = panic > 0 && open == 0 && !tried.is_empty();
        if !fallback && (fit * 100 < all * panic || exhausted) {
            for (member, weight) in members.list.iter().zip(&mut weights) {
                let standing =
                    state.get(member.key).map(|endpoint| endpoint.health.standing(&self.policy, now));
                if standing == Some(Standing::Unfit) && !tried.contains(member.key.number()) {
                    *weight = member.weighing(Standing::WHOLE);
                    open += 1;
                }
            }
        }
        state.weights = weights;
        match rested {
            _ if open > 0 => Ok(()),
            Some(until) => Err(NoEndpoint::Resting { until }),
            None if fit == 0 && tried.is_empty() => Err(NoEndpoint::Unfit),
            None => Err(NoEndpoint::Tried),
        }
    }

    fn newest_policy(&self, state: &State) -> Arc<Policy> {
        state.policy().unwrap_or_else(|| Arc::clone(&self.policy))
    }

    pub(super) fn concurrency(&self, state: &State) -> Concurrency {
        self.newest_policy(state).concurrency
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Endpoints that are in no other group are forgotten.
impl Drop for Group {
    fn drop(&mut self) {
        lock(&self.state).leave(&self.keys, self.generation, self.since);
    }
}

/// What a panic left behind is as good as what was there: counts, which the next message mends.
pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
