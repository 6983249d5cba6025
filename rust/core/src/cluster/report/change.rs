//! Endpoints that come and go, for whoever is to be told.

use super::view::Condition;
use crate::cluster::state::State;
use crate::cluster::time::Instant;

/// An endpoint is left alone now, or not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointChange {
    /// The cluster's name.
    pub cluster: String,
    /// The endpoint's URL.
    pub url: String,
    /// The address that this is about, where each is an endpoint of its own.
    pub address: Option<String>,
    /// How it is now.
    pub condition: Condition,
    /// It is left alone.
    pub out: bool,
    /// Failures in a row.
    pub consecutive_failures: u32,
}

impl EndpointChange {
    /// Those in a cluster since this was asked last.
    pub(in crate::cluster) fn since_last(name: &str, state: &mut State, now: Instant) -> Vec<Self> {
        let policy = state.policy().unwrap_or_default();
        let mut changes = Vec::new();
        for endpoint in state.slots.iter_mut() {
            let condition = if endpoint.addresses().is_empty() {
                Condition::of(endpoint, &policy, now)
            } else {
                Condition::Fit // Its addresses speak for it.
            };
            let out = condition.is_out().unwrap_or(endpoint.known_out);
            if std::mem::replace(&mut endpoint.known_out, out) != out {
                changes.push(Self {
                    cluster: name.to_owned(),
                    url: endpoint.url.to_string(),
                    address: endpoint.address.as_deref().map(str::to_owned),
                    condition,
                    out,
                    consecutive_failures: endpoint.health.consecutive(),
                });
            }
        }
        changes
    }
}
