//! A snapshot of one configuration, and the three calls that carry a message through it:
//! [`Snapshot::accept`] (a request's head) → [`Snapshot::plan`] (its body) → [`Snapshot::head`] (for each attempt).

mod id;
mod intake;
mod join;
mod origin;
mod reach;
mod snapshot;
mod upstream_head;

pub use id::{Ids, header_safe};
pub use intake::{Intake, Refusal, Request};
pub use origin::Trusted;
pub use snapshot::{Config, EndpointAt, Limits, NoPlan, Plan, Snapshot};
