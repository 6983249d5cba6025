//! What is known of one cluster, beside the snapshots that configure it.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::admission::accounts::Accounts;
use super::admission::gate::Gate;
use super::admission::meter::Meter;
use super::choice::hedge::Histogram;
use super::choice::retry::Budget;
use super::health::latency::Latency;
use super::health::standing::Health;
use super::health::success::SuccessRate;
use super::health::waiting::Waiting;
use super::load::Load;
use super::policy::Policy;
use super::rng::Rng;
use super::time::Instant;

/// A cluster's state. Endpoints have slots, which groups refer to.
#[derive(Debug)]
pub(super) struct State {
    pub(super) rng: Rng,
    pub(super) budget: Budget,
    pub(super) gate: Gate,
    name: Box<str>,
    accounts: Arc<Accounts>,
    pub(super) meters: Vec<Meter>,
    pub(super) latencies: Histogram,
    pub(super) totals: Totals,
    /// Weights of the choice under way, so that none allocates.
    pub(super) weights: Vec<u32>,
    endpoints: Vec<Slot>,
    free: Vec<u32>,
    slots: HashMap<Box<str>, u32, RandomState>,
    /// Generation and policy of each group there is, oldest first.
    groups: Vec<(u64, Arc<Policy>)>,
}

#[derive(Debug)]
struct Slot {
    /// How often it was used before.
    turn: u32,
    endpoint: Option<EndpointState>,
}

/// What a cluster has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages that came.
    pub messages: u64,
    /// Further attempts, made because one had failed.
    pub retries: u64,
    /// Further attempts, made because one was slow.
    pub hedges: u64,
    /// Messages refused by a rate.
    pub rate_limited: u64,
}

/// What an endpoint has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts begun.
    pub attempts: u64,
    /// Attempts that ended well.
    pub succeeded: u64,
    /// Attempts that found no connection.
    pub unreachable: u64,
    /// Attempts that took too long.
    pub timed_out: u64,
    /// Attempts whose connection or response broke, stale connections included.
    pub broken: u64,
    /// Attempts answered with 429 or 5xx.
    pub error_status: u64,
    /// Attempts given up for no fault of the endpoint.
    pub cancelled: u64,
}

/// What is known of an endpoint.
#[derive(Debug)]
pub(super) struct EndpointState {
    pub(super) url: Box<str>,
    pub(super) url_hash: u64,
    /// As configured last.
    pub(super) weight: u32,
    /// The generation that configured it last.
    pub(super) generation: u64,
    /// Groups that it is in.
    groups: u32,
    pub(super) in_flight: u32,
    pub(super) latency: Latency,
    pub(super) success: SuccessRate,
    pub(super) waiting: Waiting,
    /// When it last answered well.
    pub(super) answered: Option<Instant>,
    pub(super) health: Health,
    /// Of round robin.
    pub(super) credit: i64,
    pub(super) counts: Counts,
    /// It was left alone when changes were last asked for.
    pub(super) known_out: bool,
}

/// Where an endpoint's state is: a slot, and the turn in which it is this endpoint's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    slot: u32,
    turn: u32,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.attempts += more.attempts;
        self.succeeded += more.succeeded;
        self.unreachable += more.unreachable;
        self.timed_out += more.timed_out;
        self.broken += more.broken;
        self.error_status += more.error_status;
        self.cancelled += more.cancelled;
    }
}

impl EndpointState {
    /// Its load, counted against `share`, its weight relative to the mean of all.
    pub(super) fn load(&self, share: f64, now: Instant) -> Load {
        Load::new(&self.latency, &self.success, &self.waiting, self.in_flight, share, now)
    }
}

impl State {
    pub(super) fn new(name: &str, policy: &Policy, accounts: Arc<Accounts>, seed: u64, now: Instant) -> Self {
        Self {
            name: name.into(),
            accounts,
            rng: Rng::new(seed),
            budget: Budget::new(&policy.retry),
            gate: Gate::new(&policy.concurrency, now),
            meters: Vec::new(),
            latencies: Histogram::new(),
            totals: Totals::default(),
            weights: Vec::new(),
            endpoints: Vec::new(),
            free: Vec::new(),
            slots: HashMap::with_hasher(RandomState::default()),
            groups: Vec::new(),
        }
    }

    /// A group comes: its endpoints are known or begin to be. `endpoints` are URLs, each once, and weights.
    pub(super) fn join(
        &mut self,
        endpoints: &[(&str, u32)],
        policy: &Arc<Policy>,
        generation: u64,
        now: Instant,
    ) -> Vec<Key> {
        // Nothing to be careful of where nothing is warm.
        let warm = self.groups.is_empty();
        self.groups.push((generation, Arc::clone(policy)));
        let keys = endpoints.iter().map(|(url, weight)| {
            let key = self.find(url).unwrap_or_else(|| self.add(url, policy, warm, now));
            if let Some(endpoint) = self.get_mut(key) {
                endpoint.groups += 1;
                endpoint.weight = *weight;
                endpoint.generation = generation;
            }
            key
        });
        let keys = keys.collect();
        self.adapt(now);
        keys
    }

    /// A group goes, and with it the endpoints that are in no other.
    pub(super) fn leave(&mut self, keys: &[Key], generation: u64, now: Instant) {
        for key in keys {
            let Some(endpoint) = self.get_mut(*key) else { continue };
            endpoint.groups = endpoint.groups.saturating_sub(1);
            if endpoint.groups == 0 {
                self.remove(*key);
            }
        }
        let was_newest = self.newest() == Some(generation);
        self.groups.retain(|(other, _)| *other != generation);
        if was_newest {
            self.adapt(now);
        }
    }

    /// The generation of the newest group.
    pub(super) fn newest(&self) -> Option<u64> {
        self.groups.last().map(|(generation, _)| *generation)
    }

    /// The policy of the newest group.
    pub(super) fn policy(&self) -> Option<Arc<Policy>> {
        self.groups.last().map(|(_, policy)| Arc::clone(policy))
    }

    pub(super) fn get(&self, key: Key) -> Option<&EndpointState> {
        let slot = self.endpoints.get(usize::try_from(key.slot).ok()?)?;
        if slot.turn == key.turn { slot.endpoint.as_ref() } else { None }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut EndpointState> {
        self.endpoint_and_rng(key).map(|(endpoint, _)| endpoint)
    }

    pub(super) fn endpoint_and_rng(&mut self, key: Key) -> Option<(&mut EndpointState, &mut Rng)> {
        let slot = self.endpoints.get_mut(usize::try_from(key.slot).ok()?)?;
        let endpoint = if slot.turn == key.turn { slot.endpoint.as_mut() } else { None };
        Some((endpoint?, &mut self.rng))
    }

    /// All endpoints there are.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &EndpointState> {
        self.endpoints.iter().filter_map(|slot| slot.endpoint.as_ref())
    }

    pub(super) fn endpoints_mut(&mut self) -> impl Iterator<Item = &mut EndpointState> {
        self.endpoints.iter_mut().filter_map(|slot| slot.endpoint.as_mut())
    }

    fn find(&self, url: &str) -> Option<Key> {
        let slot = *self.slots.get(url)?;
        let turn = self.endpoints.get(usize::try_from(slot).ok()?)?.turn;
        Some(Key { slot, turn })
    }

    fn add(&mut self, url: &str, policy: &Policy, warm: bool, now: Instant) -> Key {
        let endpoint = EndpointState {
            url: url.into(),
            url_hash: crate::hash::hash(url.as_bytes()),
            weight: 0,
            generation: 0,
            groups: 0,
            in_flight: 0,
            latency: Latency::default(),
            success: SuccessRate::default(),
            waiting: Waiting::default(),
            answered: None,
            health: Health::new(policy, warm, now, &mut self.rng),
            credit: 0,
            counts: Counts::default(),
            known_out: false,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.endpoints.push(Slot { turn: 0, endpoint: None });
            u32::try_from(self.endpoints.len() - 1).unwrap_or(u32::MAX)
        });
        self.slots.insert(url.into(), slot);
        let found = usize::try_from(slot).ok().and_then(|slot| self.endpoints.get_mut(slot));
        let turn = found.map_or(0, |slot| {
            slot.endpoint = Some(endpoint);
            slot.turn
        });
        Key { slot, turn }
    }

    fn remove(&mut self, key: Key) {
        let Some(slot) = usize::try_from(key.slot).ok().and_then(|slot| self.endpoints.get_mut(slot)) else {
            return;
        };
        slot.turn = slot.turn.wrapping_add(1);
        if let Some(endpoint) = slot.endpoint.take() {
            self.slots.remove(&endpoint.url);
            self.free.push(key.slot);
        }
    }

    /// The newest policy applies to what groups share. What is known stays wherever it still means something: a rate's
    /// accounts as long as the rate is the same.
    fn adapt(&mut self, now: Instant) {
        let Some(policy) = self.policy() else { return };
        self.budget.adapt(&policy.retry);
        self.gate.adapt(&policy.concurrency, now);
        self.meters.clear();
        for rate in &policy.rate {
            let nth = self.meters.iter().filter(|meter| meter.rate() == rate).count();
            self.meters.push(Meter::new(*rate, &self.name, nth, &self.accounts));
        }
        for endpoint in self.endpoints.iter_mut().filter_map(|slot| slot.endpoint.as_mut()) {
            endpoint.health.adapt(&policy, now, &mut self.rng);
        }
    }
}
