//! One try at one endpoint of a cluster.

use super::health::breaker::Pass;
use super::members::Place;
use super::slots::{EndpointState, Key};
use super::time::Instant;

/// An attempt under way. Ends with [`Group::finish`](super::Group::finish), of the group that it came from.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an attempt has to be finished"]
pub struct Attempt {
    pub(super) place: Place,
    pub(super) key: Key,
    pub(super) pass: Pass,
    pub(super) began: Instant,
    /// Whether it waits for a response.
    pub(super) waits: bool,
    /// When the request was sent, or its response began.
    pub(super) silent_since: Instant,
    /// The status of the response, once that has begun.
    pub(super) status: Option<u16>,
}

impl Attempt {
    /// Its time is not the endpoint's from now on.
    pub(super) fn stop_waiting(&mut self, endpoint: &mut EndpointState) {
        if std::mem::take(&mut self.waits) {
            endpoint.waiting.end(self.began);
        }
    }

    /// Where it goes.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// The endpoint's position in its cluster.
    #[must_use]
    pub fn position(&self) -> usize {
        self.place.endpoint
    }

    /// Whether its response has begun.
    #[must_use]
    pub fn has_responded(&self) -> bool {
        self.status.is_some()
    }
}
