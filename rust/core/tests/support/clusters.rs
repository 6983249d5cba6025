//! What tests of one cluster share.

#![allow(dead_code)] // Each of them uses some of it.

use std::sync::Arc;
use std::time::Duration;

use waypost_core::cluster::policy::Policy;
use waypost_core::cluster::{
    Attempt, ClusterView, Condition, Failure, Group, Instant, Outcome, Registry, Tried,
};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn at(ms: u32) -> Instant {
    Instant::default() + 1000 * SECOND + ms * MS
}

pub(crate) fn join(
    registry: &mut Registry,
    endpoints: &[(&str, u32)],
    policy: &Policy,
    now: Instant,
) -> Group {
    assert_eq!(policy.problems(), []);
    registry.apply([("c", endpoints, Arc::new(policy.clone()))], now).remove(0)
}

pub(crate) const THREE: [(&str, u32); 3] = [("http://a", 1), ("http://b", 1), ("http://c", 1)];

pub(crate) fn view(registry: &Registry, now: Instant) -> ClusterView {
    registry.view(now).remove(0)
}

pub(crate) fn conditions(registry: &Registry, now: Instant) -> Vec<Condition> {
    view(registry, now).endpoints.iter().map(|endpoint| endpoint.condition).collect()
}

/// An attempt anywhere.
pub(crate) fn attempt(group: &Group, now: Instant) -> Attempt {
    group.attempt(&mut Tried::new(), None, false, now).unwrap()
}

/// An attempt at that endpoint.
pub(crate) fn attempt_at(group: &Group, position: usize, now: Instant) -> Attempt {
    group.attempt_again(position, now).unwrap()
}

/// Opens the breaker of an endpoint.
pub(crate) fn break_down(group: &Group, position: usize, now: Instant) {
    for _ in 0..5 {
        let attempt = attempt_at(group, position, now);
        group.finish(attempt, Outcome::Failure(Failure::Connect), now);
    }
}

/// Positions that 200 attempts go to.
pub(crate) fn used(group: &Group, fallback: bool, now: Instant) -> Vec<usize> {
    let mut used = Vec::new();
    for _ in 0..200 {
        let attempt = group.attempt(&mut Tried::new(), None, fallback, now).unwrap();
        used.push(attempt.position());
        group.finish(attempt, Outcome::Cancelled, now);
    }
    used.sort_unstable();
    used.dedup();
    used
}
