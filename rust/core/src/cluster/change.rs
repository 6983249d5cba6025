//! Endpoints that come and go, for whoever is to be told.

use super::state::State;
use super::time::Instant;
use super::view::Condition;

/// An endpoint is left alone now, or not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointChange {
    /// The cluster's name.
    pub cluster: String,
    /// The endpoint's URL.
    pub url: String,
    /// How it is now.
    pub condition: Condition,
    /// It is left alone.
    pub out: bool,
    /// Failures in a row.
    pub consecutive_failures: u32,
}

impl EndpointChange {
    /// Those in a cluster since this was asked last.
    pub(super) fn since_last(name: &str, state: &mut State, now: Instant) -> Vec<Self> {
        let policy = state.policy().unwrap_or_default();
        let mut changes = Vec::new();
        for endpoint in state.endpoints_mut() {
            let condition = Condition::of(&endpoint.health, &policy, now);
            let out = condition.is_out().unwrap_or(endpoint.known_out);
            if std::mem::replace(&mut endpoint.known_out, out) != out {
                changes.push(Self {
                    cluster: name.to_owned(),
                    url: endpoint.url.to_string(),
                    condition,
                    out,
                    consecutive_failures: endpoint.health.consecutive(),
                });
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::policy::{self, Policy};
    use super::super::{Failure, Group, Outcome, Registry, Tried};
    use super::*;

    fn end(group: &Group, outcome: Outcome, now: Instant) {
        let attempt = group.attempt(&mut Tried::new(), None, false, now).unwrap();
        group.finish(attempt, outcome, now);
    }

    #[test]
    fn each_change_is_told_once() {
        let mut registry = Registry::new(1);
        let breaker = policy::Breaker { consecutive: 3, ..policy::Breaker::default() };
        let policy = Arc::new(Policy { breaker, ..Policy::default() });
        let mut now = Instant::default();
        let endpoints = [("http://a", 1)];
        let group = registry.apply([("models", &endpoints[..], policy)], now).remove(0);
        assert_eq!(registry.changes(now), []);
        for told in [0, 0, 1] {
            end(&group, Outcome::Failure(Failure::Connect), now);
            assert_eq!(registry.changes(now).len(), told);
        }
        assert_eq!(registry.changes(now), []);
        let view = registry.view(now).remove(0).endpoints.remove(0);
        now = now + Duration::from_secs(3600);
        assert_eq!(registry.changes(now), [], "it is being tried out");
        for _ in 0..20 {
            end(&group, Outcome::Success, now);
        }
        let [back] = &registry.changes(now)[..] else { panic!("it is back") };
        assert_eq!((&*back.cluster, &*back.url, back.out), ("models", "http://a", false));
        assert_eq!((view.condition.is_out(), back.condition.is_out()), (Some(true), Some(false)));
        assert_eq!((view.consecutive_failures, back.consecutive_failures), (3, 0));
    }
}
