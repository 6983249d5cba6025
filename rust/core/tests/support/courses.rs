//! Clusters, and an exchange on its course through them.

#![allow(dead_code)] // Each test uses some of it.

use std::sync::Arc;
use std::time::Duration;

use waypost_core::cluster::policy::{Breaker, Health, Policy, Retry};
use waypost_core::cluster::{ClusterView, Failure, Group, Instant, Outcome, Registry};
use waypost_core::engine::{ClusterTry, Course, Delivery, EndpointAt, Step, Terms};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const SENT: Delivery = Delivery { sent: true, replayable: true, delivered: false };

pub(crate) fn at(ms: u32) -> Instant {
    Instant::default() + 1000 * SECOND + ms * MS
}

/// A policy under which nothing happens but what a test asks for.
pub(crate) fn calm() -> Policy {
    Policy {
        retry: Retry {
            backoff: Duration::ZERO,
            backoff_max: Duration::ZERO,
            after_timeout: true,
            ..Retry::default()
        },
        breaker: Breaker { consecutive: 0, failure_percent: 0, ..Breaker::default() },
        health: Health { slow_start: Duration::ZERO, ..Health::default() },
        ..Policy::default()
    }
}

/// Clusters `c0`, `c1`, …, each with so many endpoints.
pub(crate) struct Site {
    pub(crate) registry: Registry,
    pub(crate) groups: Vec<Arc<Group>>,
}

impl Site {
    pub(crate) fn new(clusters: &[(usize, Policy)]) -> Self {
        let mut registry = Registry::new(7);
        let groups = Self::apply(&mut registry, clusters);
        Self { registry, groups }
    }

    pub(crate) fn apply(registry: &mut Registry, clusters: &[(usize, Policy)]) -> Vec<Arc<Group>> {
        let names: Vec<String> = (0..clusters.len()).map(|n| format!("c{n}")).collect();
        let urls: Vec<Vec<String>> =
            clusters.iter().map(|(count, _)| (0..*count).map(|n| format!("http://e{n}")).collect()).collect();
        let endpoints: Vec<Vec<(&str, u32)>> =
            urls.iter().map(|urls| urls.iter().map(|url| (url.as_str(), 1)).collect()).collect();
        let each = names.iter().zip(&endpoints).zip(clusters).map(|((name, endpoints), (_, policy))| {
            assert_eq!(policy.problems(), []);
            (name.as_str(), endpoints.as_slice(), Arc::new(policy.clone()))
        });
        registry.apply(each, at(0)).into_iter().map(Arc::new).collect()
    }

    /// An idempotent message that begins at `now`.
    pub(crate) fn message(&self, now: Instant) -> Course {
        self.exchange(Terms { began: now, priority: 5, idempotent: true, ..Terms::default() })
    }

    pub(crate) fn exchange(&self, terms: Terms) -> Course {
        let one = |(cluster, group): (usize, &Arc<Group>)| ClusterTry {
            position: cluster,
            group: Arc::clone(group),
            key: None,
        };
        Course::new(self.groups.iter().enumerate().map(one), terms)
    }

    pub(crate) fn view(&self, now: Instant) -> Vec<ClusterView> {
        self.registry.view(now)
    }

    /// Nothing is counted that has ended.
    pub(crate) fn idle(&self, now: Instant) -> bool {
        self.view(now).iter().all(|cluster| {
            cluster.in_flight == 0
                && cluster.waiting == [0; 10]
                && cluster.endpoints.iter().all(|endpoint| endpoint.in_flight == 0)
        })
    }
}

/// Where the attempt goes that a step asks for.
pub(crate) fn attempt(step: &Step) -> EndpointAt {
    match step {
        Step::Attempt { at, .. } => *at,
        other => panic!("{other:?}"),
    }
}

/// The code of the answer that a step is.
pub(crate) fn code(step: &Step) -> &'static str {
    match step {
        Step::Fail(fault) => fault.code,
        other => panic!("{other:?}"),
    }
}

/// The attempt under way is answered whole, and the exchange over.
pub(crate) fn answer(course: &mut Course, now: Instant) {
    let number = course.made();
    course.responded(number, 200, now);
    course.succeeded(number, now);
    course.end(Outcome::Cancelled, now);
}

pub(crate) fn fail(course: &mut Course, failure: Failure, now: Instant) -> Step {
    course.failed(course.made(), failure, SENT, now)
}
