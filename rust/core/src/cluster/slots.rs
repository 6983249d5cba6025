//! What is known of endpoints and of their addresses, in numbered places.

use super::health::latency::Latency;
use super::health::standing::Health;
use super::health::success::SuccessRate;
use super::health::waiting::Waiting;
use super::load::Load;
use super::time::Instant;

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
    pub(super) groups: u32,
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
