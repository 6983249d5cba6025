//! A snapshot of one configuration, and the calls that take a message through it.
//!
//! Three calls carry a message: [`Snapshot::accept`] (a request's head) → [`Snapshot::plan`] (its body) →
//! [`Snapshot::head`] (for each attempt). Between the last two, a [`Course`] decides which attempts to make, by the state of
//! the clusters that [`Snapshot::join`] brings into force. A server that reads HTTP/1 itself begins with
//! [`Snapshot::at_boundary`] and ends with [`Snapshot::relay`].

mod asked;
mod bound_clusters;
mod boundary;
mod call;
mod checks;
mod claims;
mod course;
mod course_time;
mod downstream_head;
mod ending;
mod fault;
mod foreign_origin;
mod id;
mod intake;
mod join;
mod move_on;
mod origin;
mod retry_after;
mod shadowed;
mod snapshot;
mod step;
mod terms;
#[cfg(test)]
mod tests;
mod trace;
mod trail;
mod upstream_head;
mod warnings;

pub use bound_clusters::BoundClusters;
pub use boundary::{Boundary, Peer, code_of};
pub use call::{OwnRequest, Purpose};
pub use course::Course;
pub use course_time::{Bound, whole_milliseconds};
pub use downstream_head::{Relay, Report, sent_on, upstream_id};
pub use ending::{Ending, Recorder};
pub use fault::Fault;
pub use foreign_origin::Guard;
pub use id::{Ids, header_safe};
pub use intake::{Intake, Rejection, Request};
pub use origin::Trusted;
pub use retry_after::retry_after;
pub use snapshot::{Config, EndpointAt, Limits, NoPlan, Plan, Snapshot};
pub use step::{Delivery, Step};
pub use terms::{CallerNames, ClusterTry, Terms};
pub use trail::TrailEntry;
