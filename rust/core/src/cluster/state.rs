//! What is known of one cluster, beside the snapshots that configure it.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::admission::accounts::Accounts;
use super::admission::gate::Gate;
use super::admission::meter::Meter;
use super::choice::hedge::Histogram;
use super::choice::retry::Budget;
use super::health::standing::Health;
use super::members::Members;
use super::policy::Policy;
use super::rng::Rng;
use super::slots::{EndpointState, Key, Slots};
use super::time::Instant;

/// A cluster's state. Endpoints and their addresses have slots, which groups refer to.
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
    pub(super) slots: Slots,
    /// The slots of endpoints, by URL.
    urls: HashMap<Box<str>, Key, RandomState>,
    /// Each group there is, oldest first.
    groups: Vec<Joined>,
    /// Addresses have come or gone since the groups' members were made.
    pub(super) outdated: bool,
}

/// What a state knows of a group.
#[derive(Debug)]
struct Joined {
    generation: u64,
    policy: Arc<Policy>,
    /// Where the state of each endpoint is, and its weight.
    endpoints: Box<[(Key, u32)]>,
    members: Arc<Members>,
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
            slots: Slots::default(),
            urls: HashMap::with_hasher(RandomState::default()),
            groups: Vec::new(),
            outdated: false,
        }
    }

    /// A group comes: its endpoints are known or begin to be. `endpoints` are URLs, each once, and weights.
    pub(super) fn join(
        &mut self,
        endpoints: &[(&str, u32)],
        policy: &Arc<Policy>,
        generation: u64,
        now: Instant,
    ) -> Box<[Key]> {
        // Nothing to be careful of where nothing is warm.
        let warm = self.groups.is_empty();
        let keys = endpoints.iter().map(|(url, weight)| {
            let key = self.urls.get(*url).copied().unwrap_or_else(|| self.add(url, policy, warm, now));
            if let Some(endpoint) = self.slots.get_mut(key) {
                endpoint.groups += 1;
                endpoint.weight = *weight;
                endpoint.generation = generation;
            }
            key
        });
        let keys: Box<[Key]> = keys.collect();
        let endpoints: Box<[(Key, u32)]> =
            keys.iter().zip(endpoints).map(|(key, (_, weight))| (*key, *weight)).collect();
        let members = Arc::new(Members::of(&endpoints, &self.slots));
        self.groups.push(Joined { generation, policy: Arc::clone(policy), endpoints, members });
        self.adapt(now);
        keys
    }

    /// A group goes, and with it the endpoints that are in no other.
    pub(super) fn leave(&mut self, keys: &[Key], generation: u64, now: Instant) {
        for key in keys {
            let Some(endpoint) = self.slots.get_mut(*key) else { continue };
            endpoint.groups = endpoint.groups.saturating_sub(1);
            if endpoint.groups == 0 {
                self.remove(*key);
            }
        }
        let was_newest = self.newest() == Some(generation);
        self.groups.retain(|joined| joined.generation != generation);
        if was_newest {
            self.adapt(now);
        }
    }

    /// The generation of the newest group.
    pub(super) fn newest(&self) -> Option<u64> {
        self.groups.last().map(|joined| joined.generation)
    }

    /// The policy of the newest group.
    pub(super) fn policy(&self) -> Option<Arc<Policy>> {
        self.groups.last().map(|joined| Arc::clone(&joined.policy))
    }

    /// Where the messages of a group may go.
    ///
    /// If addresses have come or gone, that is made anew. It costs as much as there are endpoints, so it is done once for all
    /// names that were resolved meanwhile.
    pub(super) fn members(&mut self, generation: u64) -> Arc<Members> {
        if std::mem::take(&mut self.outdated) {
            for joined in &mut self.groups {
                joined.members = Arc::new(Members::of(&joined.endpoints, &self.slots));
            }
        }
        let found = self.groups.iter().rev().find(|joined| joined.generation == generation);
        found.map(|joined| Arc::clone(&joined.members)).unwrap_or_default()
    }

    pub(super) fn get(&self, key: Key) -> Option<&EndpointState> {
        self.slots.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut EndpointState> {
        self.slots.get_mut(key)
    }

    pub(super) fn endpoint_and_rng(&mut self, key: Key) -> Option<(&mut EndpointState, &mut Rng)> {
        Some((self.slots.get_mut(key)?, &mut self.rng))
    }

    fn add(&mut self, url: &str, policy: &Policy, warm: bool, now: Instant) -> Key {
        let health = Health::new(policy, warm, now, &mut self.rng);
        let key = self.slots.insert(EndpointState::new(url, None, health));
        self.urls.insert(url.into(), key);
        key
    }

    fn remove(&mut self, key: Key) {
        let Some(endpoint) = self.slots.remove(key) else { return };
        self.urls.remove(&endpoint.url);
        let name = endpoint.name.into_iter();
        for address in name.flat_map(|name| name.present.into_iter().chain(name.left)) {
            self.slots.remove(address);
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
        for endpoint in self.slots.iter_mut() {
            endpoint.health.adapt(&policy, now, &mut self.rng);
        }
    }
}
