//! A snapshot of one configuration, and the three calls that carry a message through it:
//! [`Snapshot::accept`] (a request's head) → [`Snapshot::plan`] (its body) → [`Snapshot::head`] (for each attempt).
//! A server that reads HTTP/1 itself begins with [`Snapshot::offer`] and ends with [`Snapshot::relay`].

mod downstream_head;
mod ending;
mod id;
mod intake;
mod join;
mod offer;
mod origin;
mod reach;
mod snapshot;
mod trace;
mod upstream_head;

pub use downstream_head::{Relay, is_own};
pub use ending::{Ending, Recorder};
pub use id::{Ids, header_safe};
pub use intake::{Intake, Refusal, Request};
pub use offer::{Offer, Peer};
pub use origin::Trusted;
pub use snapshot::{Config, EndpointAt, Limits, NoPlan, Plan, Snapshot};
