//! Clusters: named endpoints that speak one dialect, and what is known of them.
//!
//! [`Cluster`] and [`Endpoint`] are configuration, part of a snapshot. Everything else here is state and what is decided
//! by it: which endpoint to try ([`balance`]), whether it is fit ([`Health`]), whether to try again ([`retry`]), how many
//! messages at a time ([`Gate`]) and over time ([`Meter`]). A [`Registry`] holds the state, by cluster name and URL, beside
//! the snapshots; a [`Group`] is what an exchange asks.
//!
//! None of it looks at a clock or at a source of randomness: `now` is passed in, and a seed.

mod accounts;
pub mod balance;
mod board;
mod breaker;
mod bucket;
mod change;
mod checker;
mod endpoint;
mod failure;
mod gate;
mod gradient;
mod group;
mod health;
mod hedge;
mod latency;
mod meter;
pub mod policy;
mod queue;
mod registry;
pub mod rendezvous;
mod report;
pub mod retry;
mod rng;
mod state;
mod time;
mod view;
mod window;

pub use accounts::{Accounts, Memory};
pub use balance::Tried;
pub use board::Board;
pub use breaker::{Breaker, Change, Pass, State as BreakerState};
pub use bucket::{Quota, Word};
pub use change::EndpointChange;
pub use checker::Checker;
pub use endpoint::Endpoint;
pub use failure::{Failure, Outcome};
pub use gate::{Entry, Gate, Permit, Refusal, Refusals, Share, Turn};
pub use gradient::Gradient;
pub use group::{Attempt, Group, NoEndpoint, ORDINARY};
pub use health::{Health, Standing};
pub use hedge::Histogram;
pub use latency::Latency;
pub use meter::{Caller, Exceeded, Meter};
pub use queue::{Left, Queue, Ticket};
pub use registry::Registry;
pub use retry::{Failed, Next, Reason};
pub use rng::Rng;
pub(crate) use rng::mix;
pub use state::{Counts, Totals};
pub use time::Instant;
pub use view::{ClusterView, Condition, EndpointView};
pub use window::Window;

use crate::dialect::Dialect;

/// A cluster as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// The dialect of its endpoints.
    pub speaks: Dialect,
    /// Its endpoints, at least one.
    pub endpoints: Vec<Endpoint>,
    /// What its endpoints get to see of credentials.
    pub credential: Credential,
    /// The model for envelopes that name none.
    pub model: Option<String>,
    /// How it is used.
    pub policy: policy::Policy,
}

/// What an endpoint gets in the place of the client's credential.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Credential {
    /// None.
    #[default]
    None,
    /// The client's own.
    Pass,
    /// This header field.
    Header {
        /// Field name.
        name: String,
        /// Field value.
        value: String,
    },
}

/// Never shows the value.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Pass => f.write_str("Pass"),
            Self::Header { name, .. } => write!(f, "Header({name})"),
        }
    }
}
