//! The input of a course: the clusters that a message may go to, and the message's terms.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{Caller, Group, Instant};

/// A cluster that the message may go to.
#[derive(Clone, Debug)]
pub struct ClusterTry {
    /// The cluster's position in the snapshot.
    pub position: usize,
    /// The cluster's state and policy.
    pub group: Arc<Group>,
    /// The [`hash`](crate::hash::hash) of the message's field for hash balancing.
    pub key: Option<u64>,
}

/// The terms of a message.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// When the exchange began.
    pub began: Instant,
    /// The longest time that the exchange may take, by the message's deadline.
    pub deadline: Option<Duration>,
    /// Urgency, 0 to 9.
    pub priority: u8,
    /// Whether the message may be executed twice.
    pub idempotent: bool,
    /// Whether the request's body comes from the client while it is sent on.
    pub streamed: bool,
    /// The caller whose accounts are charged, if a cluster has rates.
    pub caller: Option<Box<CallerNames>>,
}

/// The caller of a message; see [`Caller`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are those of `Caller`.
pub struct CallerNames {
    pub tenant: Option<String>,
    pub agent: Option<String>,
    pub key: Option<String>,
    pub internal: bool,
}

impl CallerNames {
    pub(super) fn caller(&self) -> Caller<'_> {
        Caller {
            tenant: self.tenant.as_deref(),
            agent: self.agent.as_deref(),
            key: self.key.as_deref(),
            internal: self.internal,
        }
    }
}
