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
use super::members::Members;
use super::policy::Policy;
use super::rng::Rng;
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

/// Numbered places for what is known of endpoints and addresses, so that an attempt finds its own without a name.
#[derive(Debug, Default)]
pub(super) struct Slots {
    all: Vec<Slot>,
    free: Vec<u32>,
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

/// What is known of an endpoint, or of one address of an endpoint whose host is a name.
#[derive(Debug)]
pub(super) struct EndpointState {
    pub(super) url: Box<str>,
    /// The address that this is about; `None`: the endpoint as a whole.
    pub(super) address: Option<Box<str>>,
    /// Of the URL, and of the address.
    pub(super) hash: u64,
    /// The name of an endpoint's host, where its addresses are to be endpoints of their own.
    pub(super) name: Option<Name>,
    /// Since when an address is in no answer any more.
    pub(super) left: Option<Instant>,
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

/// Where the state of an endpoint or an address is: a slot, and the turn in which it is this one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    slot: u32,
    turn: u32,
}

impl Key {
    /// By what a place is known among those that were tried.
    pub(super) fn number(self) -> usize {
        usize::try_from(self.slot).unwrap_or(usize::MAX)
    }
}

/// The name of an endpoint's host.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) host: Box<str>,
    /// The addresses of the last answer. While there are any, they take the messages, and the endpoint itself does not.
    pub(super) present: Vec<Key>,
    /// Addresses that are in no answer any more, longest first.
    pub(super) left: Vec<Key>,
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
    /// Nothing is known but this.
    pub(super) fn new(url: &str, address: Option<&str>, health: Health) -> Self {
        let hash = crate::hash::hash;
        Self {
            url: url.into(),
            address: address.map(Into::into),
            hash: address.map_or_else(|| hash(url.as_bytes()), |own| hash(format!("{url} {own}").as_bytes())),
            name: None,
            left: None,
            weight: 0,
            generation: 0,
            groups: 0,
            in_flight: 0,
            latency: Latency::default(),
            success: SuccessRate::default(),
            waiting: Waiting::default(),
            answered: None,
            health,
            credit: 0,
            counts: Counts::default(),
            known_out: false,
        }
    }

    /// Its load, counted against `share`, its weight relative to the mean of all.
    pub(super) fn load(&self, share: f64, now: Instant) -> Load {
        Load::new(&self.latency, &self.success, &self.waiting, self.in_flight, share, now)
    }

    /// The addresses that take the endpoint's messages.
    pub(super) fn addresses(&self) -> &[Key] {
        self.name.as_ref().map_or(&[], |name| &name.present)
    }
}

impl Slots {
    pub(super) fn get(&self, key: Key) -> Option<&EndpointState> {
        let slot = self.all.get(usize::try_from(key.slot).ok()?)?;
        if slot.turn == key.turn { slot.endpoint.as_ref() } else { None }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut EndpointState> {
        let slot = self.all.get_mut(usize::try_from(key.slot).ok()?)?;
        if slot.turn == key.turn { slot.endpoint.as_mut() } else { None }
    }

    /// Those of endpoints, without addresses.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = (Key, &EndpointState)> {
        self.all.iter().zip(0..).filter_map(|(each, slot)| {
            let endpoint = each.endpoint.as_ref().filter(|endpoint| endpoint.address.is_none())?;
            Some((Key { slot, turn: each.turn }, endpoint))
        })
    }

    /// All that are in use.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut EndpointState> {
        self.all.iter_mut().filter_map(|slot| slot.endpoint.as_mut())
    }

    pub(super) fn insert(&mut self, endpoint: EndpointState) -> Key {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.all.push(Slot { turn: 0, endpoint: None });
            u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX)
        });
        let found = usize::try_from(slot).ok().and_then(|slot| self.all.get_mut(slot));
        let turn = found.map_or(0, |slot| {
            slot.endpoint = Some(endpoint);
            slot.turn
        });
        Key { slot, turn }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<EndpointState> {
        let slot = self.all.get_mut(usize::try_from(key.slot).ok()?)?;
        if slot.turn != key.turn {
            return None;
        }
        slot.turn = slot.turn.wrapping_add(1);
        let endpoint = slot.endpoint.take();
        if endpoint.is_some() {
            self.free.push(key.slot);
        }
        endpoint
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
            slots: Slots::default(),
            urls: HashMap::with_hasher(RandomState::default()),
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
    pub(super) fn members(&self, generation: u64) -> Arc<Members> {
        let found = self.groups.iter().rev().find(|joined| joined.generation == generation);
        found.map(|joined| Arc::clone(&joined.members)).unwrap_or_default()
    }

    /// Addresses have come or gone: where messages may go is another matter now.
    pub(super) fn muster(&mut self) {
        for joined in &mut self.groups {
            joined.members = Arc::new(Members::of(&joined.endpoints, &self.slots));
        }
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
