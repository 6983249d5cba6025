//! What is known, for people and metrics.

use std::time::Duration;

use crate::cluster::admission::gate::ShedCounts;
use crate::cluster::admission::queue::ORDINARY;
use crate::cluster::health::breaker::State as Breaker;
use crate::cluster::health::checker::Checker;
use crate::cluster::health::standing::Standing;
use crate::cluster::policy::{Policy, Rate};
use crate::cluster::slots::{Counts, EndpointState};
use crate::cluster::state::{State, Totals};
use crate::cluster::time::Instant;

/// A cluster at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterView {
    /// Its name.
    pub name: String,
    /// What it has done so far.
    pub totals: Totals,
    /// Messages in flight.
    pub in_flight: u32,
    /// How many may be; `None`: any number.
    pub limit: Option<u32>,
    /// Messages that wait, by priority, 0 to 9.
    pub waiting: [u32; 10],
    /// How long one of [ordinary](ORDINARY) priority would wait if it came now.
    pub wait: Duration,
    /// Messages shed so far, by why.
    pub shed: ShedCounts,
    /// Retries that the budget has left.
    pub retries_left: u64,
    /// Time to the first byte, of about the last 4000 attempts: 50th, 95th and 99th percentile.
    pub latency: Option<[Duration; 3]>,
    /// Its rates, and of how many accounts are kept.
    pub rates: Vec<(Rate, usize)>,
    /// Its endpoints, in ascending order of URL and address.
    pub endpoints: Vec<EndpointView>,
}

/// An endpoint, or one address of an endpoint, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointView {
    /// Its URL.
    pub url: String,
    /// The address of its host that this is about, where each is an endpoint of its own.
    pub address: Option<String>,
    /// The endpoint's weight as configured, which its addresses share; `None` where the newest snapshot does not have it any more.
    pub weight: Option<u32>,
    /// How it is.
    pub condition: Condition,
    /// How each worker finds it, where there are several; then `condition` is the worst of these.
    pub conditions: Vec<Condition>,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// What its active check says; `None`: nothing.
    pub check: Option<bool>,
    /// Attempts in flight.
    pub in_flight: u32,
    /// The moving average that it is balanced by.
    pub latency: Option<Duration>,
    /// What it has done so far.
    pub counts: Counts,
}

/// How an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Fit for its whole share.
    Fit,
    /// Fit for so many thousandths of its share.
    Starting(u32),
    /// Its breaker lets trials pass.
    HalfOpen,
    /// Its breaker is open until then.
    Open(Instant),
    /// Its active check fails.
    CheckFails,
    /// It asked to be left alone until then.
    Resting(Instant),
    /// Its name does not have this address any more, and what is in flight there ends.
    Draining,
}

impl Condition {
    /// A word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fit => "fit",
            Self::Starting(_) => "starting",
            Self::HalfOpen => "half_open",
            Self::Open(_) => "open",
            Self::CheckFails => "check_fails",
            Self::Resting(_) => "resting",
            Self::Draining => "draining",
        }
    }
}

impl Condition {
    pub(in crate::cluster) fn of(endpoint: &EndpointState, policy: &Policy, now: Instant) -> Self {
        if endpoint.left.is_some() {
            return Self::Draining;
        }
        let health = &endpoint.health;
        match (health.standing(policy, now), health.breaker()) {
            (Standing::Resting { until, .. }, _) => Self::Resting(until),
            _ if health.checker().and_then(Checker::fit) == Some(false) => Self::CheckFails,
            (_, Breaker::Open { until }) if now < until => Self::Open(until),
            (_, Breaker::HalfOpen { .. } | Breaker::Open { .. }) => Self::HalfOpen,
            (Standing::Fit { share }, Breaker::Closed) if share < Standing::WHOLE => Self::Starting(share),
            (_, Breaker::Closed) => Self::Fit,
        }
    }

    /// Whether the endpoint is left alone; `None`: that is being tried out, or is its own wish.
    pub(crate) fn is_out(self) -> Option<bool> {
        match self {
            Self::Fit | Self::Starting(_) => Some(false),
            Self::Open(_) | Self::CheckFails => Some(true),
            Self::HalfOpen | Self::Resting(_) | Self::Draining => None,
        }
    }

    fn badness(self) -> u8 {
        match self {
            Self::Fit => 0,
            Self::Starting(_) => 1,
            Self::Draining => 2,
            Self::HalfOpen => 3,
            Self::Resting(_) => 4,
            Self::CheckFails => 5,
            Self::Open(_) => 6,
        }
    }
}

impl ClusterView {
    /// `accounts`: count those of its rates, which takes a while.
    pub(in crate::cluster) fn of(name: &str, state: &State, accounts: bool, now: Instant) -> Self {
        let policy = state.policy().unwrap_or_default();
        let newest = state.newest();
        let mut endpoints = Vec::new();
        for (_, endpoint) in state.slots.endpoints() {
            let weight = (newest == Some(endpoint.generation)).then_some(endpoint.weight);
            let shown = |state: &EndpointState| EndpointView::of(state, weight, &policy, now);
            if endpoint.addresses().is_empty() {
                endpoints.push(shown(endpoint));
            }
            endpoints.extend(state.addresses(endpoint).map(shown));
        }
        endpoints.sort_unstable_by(|a, b| a.whose().cmp(&b.whose()));
        let quantile = |percent| state.latencies.quantile(percent);
        Self {
            name: name.to_owned(),
            totals: state.totals,
            in_flight: state.gate.in_flight(),
            limit: state.gate.limit(&policy.concurrency),
            waiting: state.gate.waiting(),
            wait: state.gate.wait(ORDINARY, &policy.concurrency, &policy.queue),
            shed: state.gate.shed(),
            retries_left: state.budget.remaining(&policy.retry, now),
            latency: quantile(50).zip(quantile(95)).zip(quantile(99)).map(|((a, b), c)| [a, b, c]),
            rates: (state.meters.iter())
                .map(|meter| (*meter.rate(), if accounts { meter.accounts() } else { 0 }))
                .collect(),
            endpoints,
        }
    }
}

/// Of several processes that serve the same clusters.
impl ClusterView {
    /// Makes the views of one process those of all: counts are added up, of latencies and waits the longest is told, of
    /// conditions the worst. Workers that are `gone` count no more than what they have counted.
    pub(crate) fn merge(own: &mut Vec<Self>, others: Vec<Vec<Self>>, gone: Vec<Self>) {
        for endpoint in own.iter_mut().flat_map(|view| &mut view.endpoints) {
            endpoint.conditions = vec![endpoint.condition];
        }
        for mut view in others.into_iter().flatten() {
            for endpoint in &mut view.endpoints {
                endpoint.conditions = vec![endpoint.condition];
            }
            match own.iter_mut().find(|known| known.name == view.name) {
                Some(known) => known.add(view),
                None => own.push(view),
            }
        }
        for view in gone {
            if let Some(known) = own.iter_mut().find(|known| known.name == view.name) {
                known.add_counts(view, false);
            }
        }
        own.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    }

    fn add(&mut self, other: Self) {
        self.in_flight += other.in_flight;
        self.limit = self.limit.zip(other.limit).map(|(a, b)| a.saturating_add(b));
        for (count, more) in self.waiting.iter_mut().zip(other.waiting) {
            *count += more;
        }
        self.wait = self.wait.max(other.wait);
        self.retries_left = self.retries_left.saturating_add(other.retries_left);
        self.latency = match (self.latency, other.latency) {
            (Some(own), Some(theirs)) => {
                let mut longest = own;
                longest.iter_mut().zip(theirs).for_each(|(own, theirs)| *own = theirs.max(*own));
                Some(longest)
            }
            (some, None) | (None, some) => some,
        };
        for theirs in &other.endpoints {
            if let Some(own) = self.same(theirs) {
                own.add(theirs);
            }
        }
        self.add_counts(other, true);
    }

    /// Adds what only ever grows; of endpoints that are not known, where `all` is said.
    pub(crate) fn add_counts(&mut self, other: Self, all: bool) {
        let (totals, more) = (&mut self.totals, other.totals);
        totals.messages += more.messages;
        totals.retries += more.retries;
        totals.hedges += more.hedges;
        totals.rate_limited += more.rate_limited;
        let (shed, more) = (&mut self.shed, other.shed);
        shed.queue_full += more.queue_full;
        shed.deadline_too_short += more.deadline_too_short;
        shed.displaced += more.displaced;
        shed.expired += more.expired;
        let mut unknown = Vec::new();
        for theirs in other.endpoints {
            match self.same(&theirs) {
                Some(own) => own.counts += theirs.counts,
                None if all => unknown.push(theirs),
                None => (),
            }
        }
        if !unknown.is_empty() {
            self.endpoints.append(&mut unknown);
            self.endpoints.sort_by(|a, b| a.whose().cmp(&b.whose()));
        }
    }

    /// The endpoint that another one is about, too.
    fn same(&mut self, other: &EndpointView) -> Option<&mut EndpointView> {
        let at = self.endpoints.binary_search_by(|own| own.whose().cmp(&other.whose())).ok()?;
        self.endpoints.get_mut(at)
    }
}

impl EndpointView {
    fn add(&mut self, other: &Self) {
        self.weight = self.weight.or(other.weight);
        self.condition =
            std::cmp::max_by_key(self.condition, other.condition, |condition| condition.badness());
        self.conditions.push(other.condition);
        self.consecutive_failures = self.consecutive_failures.max(other.consecutive_failures);
        self.check = match (self.check, other.check) {
            (Some(a), Some(b)) => Some(a && b),
            (some, None) | (None, some) => some,
        };
        self.in_flight += other.in_flight;
        self.latency = self.latency.max(other.latency);
    }

    /// What tells it from all others of its cluster.
    fn whose(&self) -> (&str, Option<&str>) {
        (&self.url, self.address.as_deref())
    }

    fn of(endpoint: &EndpointState, weight: Option<u32>, policy: &Policy, now: Instant) -> Self {
        let health = &endpoint.health;
        Self {
            url: endpoint.url.to_string(),
            address: endpoint.address.as_deref().map(str::to_owned),
            weight,
            condition: Condition::of(endpoint, policy, now),
            conditions: Vec::new(),
            consecutive_failures: health.consecutive(),
            check: health.checker().and_then(Checker::fit),
            in_flight: endpoint.in_flight,
            latency: endpoint.latency.estimate(now),
            counts: endpoint.counts,
        }
    }
}
