//! The addresses of endpoints whose host is a name: each takes messages as an endpoint of its own.
//!
//! - Until the name is resolved, the endpoint itself takes them; it does so again if its addresses are forgotten.
//! - The first addresses of an endpoint are as warm as the endpoint is. One that comes later starts slowly, as a new
//!   endpoint does.
//! - An address that is in no answer any more gets nothing from that moment on. What is known of it is kept for
//!   [`KEPT`] and while anything is in flight, for resolvers that return another part of many addresses each time.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::attempt::Attempt;
use super::choice::balance::Tried;
use super::failure::{Failure, Outcome};
use super::group::Group;
use super::health::standing::Standing;
use super::lesson::Verdict;
use super::members::{Member, Place};
use super::policy::Policy;
use super::slots::{EndpointState, Key, Name};
use super::state::State;
use super::time::Instant;

/// The most addresses of an endpoint that take messages, and the most that are kept after they have left.
pub(super) const ADDRESSES: usize = 64;

/// How long an address that left is known at least.
pub(super) const KEPT: Duration = Duration::from_secs(30);

impl State {
    /// The addresses of an endpoint's host, a name, are endpoints of their own from now on; or not, without a host.
    pub(super) fn watch(&mut self, key: Key, host: Option<&str>) {
        let Some(endpoint) = self.slots.get_mut(key) else { return };
        if endpoint.name.as_ref().map(|name| &*name.host) == host {
            return;
        }
        let name = |host: &str| Name { host: host.into(), present: Vec::new(), left: Vec::new() };
        let old = std::mem::replace(&mut endpoint.name, host.map(name));
        for address in old.into_iter().flat_map(|name| name.present.into_iter().chain(name.left)) {
            self.slots.remove(address);
            self.outdated = true;
        }
    }

    /// The name of an endpoint's host was resolved to these addresses. Returns whether no other is still known.
    pub(super) fn resolved(&mut self, endpoint: Key, addresses: &[&str], now: Instant) -> bool {
        let policy = self.policy().unwrap_or_default();
        self.resolve(endpoint, addresses, &policy, now)
    }

    /// The address of an endpoint that takes messages, by its text.
    pub(super) fn address(&self, endpoint: Key, text: &str) -> Option<Key> {
        let present = self.slots.get(endpoint)?.addresses();
        present.iter().copied().find(|key| self.text(*key) == Some(text))
    }

    /// All addresses of an endpoint that take messages, or still have some.
    pub(super) fn addresses<'a>(
        &'a self,
        endpoint: &'a EndpointState,
    ) -> impl Iterator<Item = &'a EndpointState> {
        let name = endpoint.name.as_ref();
        let keys = name.into_iter().flat_map(|name| name.present.iter().chain(&name.left));
        keys.filter_map(|key| self.slots.get(*key))
            .filter(|state| state.left.is_none() || state.in_flight > 0)
    }

    fn text(&self, key: Key) -> Option<&str> {
        self.slots.get(key)?.address.as_deref()
    }

    fn resolve(&mut self, key: Key, addresses: &[&str], policy: &Policy, now: Instant) -> bool {
        let Some(name) = self.slots.get_mut(key).and_then(|endpoint| endpoint.name.as_mut()) else {
            return true;
        };
        let (mut known, mut left) = (std::mem::take(&mut name.present), std::mem::take(&mut name.left));
        let first = known.is_empty() && left.is_empty();
        let before = known.clone();
        let mut present = Vec::with_capacity(addresses.len().min(ADDRESSES));
        for text in addresses.iter().take(ADDRESSES) {
            let among = |keys: &mut Vec<Key>| {
                let at = keys.iter().position(|key| self.text(*key) == Some(text))?;
                Some(keys.remove(at))
            };
            let found = among(&mut known).or_else(|| among(&mut left));
            let address = found.or_else(|| self.add_address(key, text, first, policy, now));
            if let Some(state) = address.and_then(|address| self.slots.get_mut(address)) {
                state.left = None;
            }
            present.extend(address);
        }
        for gone in known {
            if let Some(state) = self.slots.get_mut(gone) {
                state.left = Some(now);
                left.push(gone);
            }
        }
        let surplus = left.len().saturating_sub(ADDRESSES);
        let mut nth = 0;
        left.retain(|address| {
            nth += 1;
            let stays = self.slots.get(*address).is_some_and(|state| {
                let since = state.left.unwrap_or_default();
                nth > surplus && (state.in_flight > 0 || now.since(since) < KEPT)
            });
            if !stays {
                self.slots.remove(*address);
            }
            stays
        });
        let settled = left.is_empty();
        self.outdated |= present != before;
        if let Some(name) = self.slots.get_mut(key).and_then(|endpoint| endpoint.name.as_mut()) {
            name.present = present;
            name.left = left;
        }
        settled
    }

    fn add_address(
        &mut self,
        endpoint: Key,
        address: &str,
        first: bool,
        policy: &Policy,
        now: Instant,
    ) -> Option<Key> {
        let (whole, rng) = self.endpoint_and_rng(endpoint)?;
        let state =
            EndpointState::new(&whole.url, Some(address), whole.health.of_address(first, policy, now, rng));
        Some(self.slots.insert(state))
    }
}

impl Group {
    /// The endpoints at these positions have these names as hosts, whose addresses are endpoints of their own; all others
    /// have none.
    pub(super) fn watch<'a>(&self, host: impl Fn(usize) -> Option<&'a str>) {
        let mut state = self.lock();
        for (position, key) in self.keys.iter().enumerate() {
            state.watch(*key, host(position));
        }
    }

    /// Where the state of an endpoint is.
    pub(super) fn watcher(&self, position: usize) -> Option<(Weak<Mutex<State>>, Key)> {
        Some((Arc::downgrade(&self.state), *self.keys.get(position)?))
    }

    /// The text of an address, as long as it is known.
    #[must_use]
    pub fn address(&self, address: Key) -> Option<String> {
        self.lock().get(address)?.address.as_deref().map(str::to_owned)
    }

    /// Where a connection may be made if none can be made to the place of an attempt: the other addresses of the
    /// endpoint that are fit and were not tried.
    #[must_use]
    pub fn alternatives(&self, place: Place, tried: &Tried, now: Instant) -> Vec<Place> {
        let mut state = self.lock();
        let members = state.members(self.generation);
        let other = |member: &&Member| {
            member.endpoint == place.endpoint
                && !tried.contains(member.key.number())
                && place.address != Some(member.key)
        };
        let fit = |member: &&Member| {
            let standing = state.get(member.key).map(|endpoint| endpoint.health.standing(&self.policy, now));
            matches!(standing, Some(Standing::Fit { .. }))
        };
        let mut found: Vec<Place> = match place.address {
            None => Vec::new(),
            Some(_) => members.list.iter().filter(other).filter(fit).map(Member::place).collect(),
        };
        let first = state.rng.below(found.len().max(1) as u64);
        found.rotate_left(usize::try_from(first).unwrap_or(0));
        found
    }

    /// The connection of an attempt was made to this address of its endpoint, and not to `refused`; or to none, and the
    /// attempt stays where it is, to be finished. All are put in `tried`.
    pub fn moved(
        &self,
        attempt: Attempt,
        made: Option<&str>,
        refused: &[&str],
        tried: &mut Tried,
        now: Instant,
    ) -> Attempt {
        let Some(whole) = self.keys.get(attempt.place.endpoint).copied() else { return attempt };
        let place = |key| Place { endpoint: attempt.place.endpoint, address: Some(key) };
        let mut others = Vec::new();
        let to = {
            let mut state = self.lock();
            for text in refused {
                if let Some(key) = state.address(whole, text).filter(|key| *key != attempt.key) {
                    others.extend(self.begin(&mut state, place(key), tried, now));
                }
            }
            let to = made.and_then(|text| state.address(whole, text)).filter(|key| *key != attempt.key);
            let mut to = to.and_then(|key| self.begin(&mut state, place(key), tried, now));
            if let Some(to) = to.as_mut().filter(|_| !attempt.waits)
                && let Some(endpoint) = state.get_mut(to.key)
            {
                to.stop_waiting(endpoint);
            }
            to
        };
        for other in others {
            self.finish(other, Outcome::Failure(Failure::Connect), now);
        }
        let Some(to) = to else { return attempt };
        if attempt.key == whole {
            self.withdraw(attempt, now);
        } else {
            self.finish(attempt, Outcome::Failure(Failure::Connect), now);
        }
        to
    }

    /// Undoes the beginning of an attempt.
    fn withdraw(&self, mut attempt: Attempt, now: Instant) {
        let mut state = self.lock();
        if let Some((endpoint, rng)) = state.endpoint_and_rng(attempt.key) {
            attempt.stop_waiting(endpoint);
            endpoint.in_flight = endpoint.in_flight.saturating_sub(1);
            endpoint.counts.attempts = endpoint.counts.attempts.saturating_sub(1);
            endpoint.health.leave(attempt.pass, Verdict::Nothing, &self.policy, now, rng);
        }
    }
}
