//! The state of all clusters, which outlives snapshots.

use std::borrow::Borrow;
use std::sync::{Arc, Mutex, Weak};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::admission::accounts::Accounts;
use super::admission::gate::Share;
use super::group::{Group, lock};
use super::policy::Policy;
use super::report::board::Board;
use super::report::change::EndpointChange;
use super::report::view::ClusterView;
use super::rng::Rng;
use super::slots::Key;
use super::state::State;
use super::time::Instant;

/// State by cluster and endpoint: one for each process.
///
/// State lives as long as a group of any snapshot refers to it, and a snapshot lives as long as an exchange uses it. So a
/// reload keeps what is known of the clusters (by name) and endpoints (by URL and address) that stay, and what goes is forgotten with
/// the last exchange that used it. How much state there is follows from that: that of the endpoints of the snapshots in
/// use, and nothing that messages can make more of but the accounts of rates, which are bounded by their policy.
///
/// ```
/// use std::sync::Arc;
/// use waypost_core::cluster::{Instant, Outcome, Registry, Tried, policy::Policy};
/// let mut registry = Registry::new(7);
/// let now = Instant::from_nanos(0);
/// let endpoints = [("http://a", 1), ("http://b", 1)];
/// let [group] = &registry.apply([("models", &endpoints[..], Arc::new(Policy::default()))], now)[..] else { panic!() };
/// let attempt = group.attempt(&mut Tried::new(), None, false, now).unwrap();
/// group.finish(attempt, Outcome::Success, now);
/// assert_eq!(registry.view(now)[0].endpoints.iter().map(|e| e.counts.succeeded).sum::<u64>(), 1);
/// ```
#[derive(Debug)]
pub struct Registry {
    clusters: HashMap<Box<str>, Weak<Mutex<State>>, RandomState>,
    accounts: Arc<Accounts>,
    share: Share,
    board: Option<Board>,
    rng: Rng,
    generation: u64,
    hosts: HashMap<Box<str>, Host, RandomState>,
}

/// A name that endpoints have as their host.
#[derive(Debug, Default)]
struct Host {
    /// What it was resolved to.
    addresses: Vec<Box<str>>,
    /// No address that left is still known.
    settled: bool,
    endpoints: Vec<(Weak<Mutex<State>>, Key)>,
}

impl Host {
    fn tell(&mut self, now: Instant) {
        let addresses: Vec<&str> = self.addresses.iter().map(|address| &**address).collect();
        self.settled = true;
        for (state, key) in &self.endpoints {
            if let Some(state) = state.upgrade() {
                self.settled &= lock(&state).resolved(*key, &addresses, now);
            }
        }
    }
}

impl Registry {
    /// Without clusters. `seed` should be random, and not known to clients.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let accounts = Accounts::on_heap(rng.next_u64());
        Self::sharing(accounts, rng.next_u64())
    }

    /// Without clusters. The accounts of their rates are in `accounts`, which processes can share.
    #[must_use]
    pub fn sharing(accounts: Accounts, seed: u64) -> Self {
        let clusters = HashMap::with_hasher(RandomState::default());
        Self {
            clusters,
            accounts: Arc::new(accounts),
            share: Share::default(),
            board: None,
            rng: Rng::new(seed),
            generation: 0,
            hosts: HashMap::with_hasher(RandomState::default()),
        }
    }

    /// A snapshot comes into force: one group for each of its clusters, given by unique name, endpoints (unique URL and
    /// weight) and a policy without [`problems`](Policy::problems). The groups belong to the snapshot: what only older ones
    /// know goes when those are dropped.
    pub fn apply<'a>(
        &mut self,
        clusters: impl IntoIterator<Item = (&'a str, &'a [(&'a str, u32)], Arc<Policy>)>,
        now: Instant,
    ) -> Vec<Group> {
        self.generation += 1;
        let mut groups = Vec::new();
        for (name, endpoints, policy) in clusters {
            let state = self.clusters.get(name).and_then(Weak::upgrade).unwrap_or_else(|| {
                let accounts = Arc::clone(&self.accounts);
                let mut state = State::new(name, &policy, accounts, self.rng.next_u64(), now);
                state.gate.take_share(self.share);
                let state = Arc::new(Mutex::new(state));
                self.clusters.insert(name.into(), Arc::downgrade(&state));
                state
            });
            groups.push(Group::join(name, state, endpoints, policy, self.generation, now));
        }
        self.clusters.retain(|_, state| state.strong_count() > 0);
        groups
    }

    /// The endpoints of these groups whose host is a name that this process resolves: index of the group, position of the
    /// endpoint, host. What [`resolved`](Self::resolved) said of a host holds for them at once; hosts of no endpoint are
    /// forgotten.
    pub fn watch<'a>(
        &mut self,
        groups: &[impl Borrow<Group>],
        names: impl IntoIterator<Item = (usize, usize, &'a str)>,
        now: Instant,
    ) {
        let mut old = std::mem::take(&mut self.hosts);
        let mut by_group: Vec<HashMap<usize, &'a str, RandomState>> =
            groups.iter().map(|_| HashMap::with_hasher(RandomState::default())).collect();
        for (group, position, host) in names {
            let Some((watched, group)) = by_group.get_mut(group).zip(groups.get(group)) else { continue };
            watched.insert(position, host);
            let known = self.hosts.entry(host.into()).or_insert_with(|| {
                let addresses = old.remove(host).map(|known| known.addresses).unwrap_or_default();
                Host { addresses, ..Host::default() }
            });
            known.endpoints.extend(group.borrow().watcher(position));
        }
        for (group, watched) in groups.iter().zip(&by_group) {
            group.borrow().watch(|position| watched.get(&position).copied());
        }
        for known in self.hosts.values_mut() {
            known.tell(now);
        }
    }

    /// A host's name was resolved to these addresses; none: it cannot be resolved any more, and its endpoints go by name
    /// again. Each address of an endpoint is an endpoint of its own. `addresses.rs` says how they come and go.
    pub fn resolved(&mut self, host: &str, addresses: &[&str], now: Instant) {
        let Some(known) = self.hosts.get_mut(host) else { return };
        let same = known.addresses.iter().map(|address| &**address).eq(addresses.iter().copied());
        if !same {
            known.addresses = addresses.iter().copied().map(Into::into).collect();
        }
        if !same || !known.settled {
            known.tell(now);
        }
    }

    /// From now on this process is one of several: it takes its share of what is fixed, and makes choices of its own.
    pub fn become_worker(&mut self, share: Share, seed: u64) {
        self.share = share;
        self.rng = Rng::new(seed);
        for state in self.clusters.values().filter_map(Weak::upgrade) {
            let mut state = lock(&state);
            state.rng = Rng::new(self.rng.next_u64());
            state.gate.take_share(share);
        }
    }

    /// Everything that is known now, by cluster name; of several workers, with what the others have published.
    #[must_use]
    pub fn view(&self, now: Instant) -> Vec<ClusterView> {
        let mut views = self.own(true, now);
        if let Some(board) = &self.board {
            let worker = usize::try_from(self.share.worker).unwrap_or(usize::MAX);
            ClusterView::merge(&mut views, board.others(worker), board.gone());
        }
        views
    }

    /// Processes that are forked from now on tell each other on this board how their clusters are.
    pub fn show(&mut self, board: Board) {
        self.board = Some(board);
    }

    /// Tells the other workers, if there are any, how clusters are now: to be called about once a second. False: there
    /// are too many endpoints for that, and they hear nothing.
    #[must_use]
    pub fn publish(&self, now: Instant) -> bool {
        let worker = usize::try_from(self.share.worker).unwrap_or(usize::MAX);
        self.board.as_ref().is_none_or(|board| board.write(worker, &self.own(false, now)))
    }

    /// Endpoints that are left alone since this was asked last, or not any more, by cluster and URL. Of one that went and
    /// came back in between nothing is said.
    #[must_use]
    pub fn changes(&self, now: Instant) -> Vec<EndpointChange> {
        let states = self.clusters.iter().filter_map(|(name, state)| Some((name, state.upgrade()?)));
        let mut changes: Vec<EndpointChange> = states
            .flat_map(|(name, state)| EndpointChange::since_last(name, &mut lock(&state), now))
            .collect();
        changes
            .sort_unstable_by(|a, b| (&a.cluster, &a.url, &a.address).cmp(&(&b.cluster, &b.url, &b.address)));
        changes
    }

    /// A worker is gone. For the process that has forked the workers.
    pub fn forget_worker(&self, worker: usize) {
        if let Some(board) = &self.board {
            board.forget(worker);
        }
    }

    fn own(&self, accounts: bool, now: Instant) -> Vec<ClusterView> {
        let mut views: Vec<ClusterView> = (self.clusters.iter())
            .filter_map(|(name, state)| Some(ClusterView::of(name, &lock(&*state.upgrade()?), accounts, now)))
            .collect();
        views.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        views
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_uses_are_forgotten() {
        let mut registry = Registry::new(1);
        for n in 0..100 {
            let name = format!("c{n}");
            drop(
                registry.apply([(name.as_str(), &[("http://a", 1)][..], Arc::default())], Instant::default()),
            );
        }
        let _groups = registry.apply([], Instant::default());
        assert!(registry.clusters.is_empty());
    }
}
