//! What a course is made of: the clusters that a message may go to, and what the message asks for.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{Caller, Group, Instant};

/// A cluster that the message may go to.
#[derive(Clone, Debug)]
pub struct ClusterTry {
    /// Its position in the snapshot.
    pub position: usize,
    /// Its state and policy.
    pub group: Arc<Group>,
    /// The [`hash`](crate::hash::hash) of the field by which the cluster's endpoints are chosen.
    pub key: Option<u64>,
}

/// What a message asks for.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// When its exchange began.
    pub began: Instant,
    /// How long it may take, as the message says.
    pub deadline: Option<Duration>,
    /// Urgency, 0 to 9.
    pub priority: u8,
    /// It may be executed twice.
    pub idempotent: bool,
    /// Whose accounts it is charged to, where a cluster has rates.
    pub caller: Option<Box<CallerNames>>,
}

/// Who a message is from: see [`Caller`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // As there.
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
