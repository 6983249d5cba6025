//! Clusters: named endpoints that speak one dialect, and what is known of them.
//!
//! [`Cluster`], [`Endpoint`] and [`policy`] are configuration, part of a snapshot. The other modules hold state and decide by it:
//!
//! - `health`: whether an endpoint is fit ([`Health`]);
//! - `admission`: how many messages a cluster takes at a time ([`Gate`]) and over time ([`Meter`]);
//! - [`choice`]: which endpoint to try, whether to hedge, whether to try again;
//! - [`Lesson`]: what the outcome of an attempt teaches;
//! - `report`: what is known, for people, metrics and other processes ([`ClusterView`]).
//!
//! A [`Registry`] holds the state beside the snapshots, by cluster name, URL and address; an exchange asks a [`Group`].
//!
//! No module looks at a clock or at a source of randomness: callers pass `now` and a seed.

mod addresses;
mod admission;
mod attempt;
pub mod choice;
mod endpoint;
mod failure;
mod group;
mod health;
mod learning;
mod lesson;
mod load;
mod members;
pub mod policy;
mod registry;
mod report;
mod rng;
mod slots;
mod state;
#[cfg(test)]
mod tests;
mod time;
mod window;

pub use admission::accounts::{Accounts, Memory};
pub use admission::bucket::{Quota, Word};
pub use admission::gate::{Entry, Gate, Permit, Share, Shed, ShedCounts, Turn};
pub use admission::gradient::Gradient;
pub use admission::meter::{Caller, Exceeded, Meter};
pub use admission::queue::{Aging, Departed, ORDINARY, Queue, Ticket};
pub use attempt::Attempt;
pub use choice::balance::Tried;
pub use choice::hedge::Histogram;
pub use choice::retry::{Failed, Next, Reason};
pub use endpoint::Endpoint;
pub use failure::{Failure, Outcome};
pub use group::{Group, NoEndpoint};
pub use health::breaker::{Breaker, Change, Pass, State as BreakerState};
pub use health::checker::Checker;
pub use health::latency::Latency;
pub use health::standing::{Health, Standing};
pub use lesson::{Again, Lesson, Sample, Verdict};
pub use members::Place;
pub use registry::Registry;
pub use report::board::Board;
pub use report::change::EndpointChange;
pub use report::view::{ClusterView, Condition, EndpointView};
pub use rng::Rng;
pub use slots::{Counts, Key as AddressKey};
pub use state::Totals;
pub use time::Instant;
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
