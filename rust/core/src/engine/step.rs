//! What a course has to say to its host.

use std::time::Duration;

use super::fault::Fault;
use super::snapshot::EndpointAt;
use crate::cluster::{Reason, Shed, Ticket};

/// What the host does next.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Make an attempt there; [`Course::responded`](super::Course::responded), [`responded_retryable`](super::Course::responded_retryable) or [`failed`](super::Course::failed) follows,
    /// with the number that is now [`Course::made`](super::Course::made).
    Attempt {
        /// The endpoint.
        at: EndpointAt,
        /// Over a new connection.
        fresh: bool,
    },
    /// Wait so long, then [`Course::resume`](super::Course::resume).
    Pause(Duration),
    /// Wait for its turn: [`Course::admitted`](super::Course::admitted) or [`Course::dropped`](super::Course::dropped), or after that time [`Course::expired`](super::Course::expired).
    Wait {
        /// Its place in the cluster's queue.
        ticket: Ticket,
        /// The longest that it waits.
        patience: Duration,
        /// Another exchange, which lost its place to this one: [`Course::dropped`](super::Course::dropped) is for that one.
        displaced: Option<(Ticket, Shed)>,
    },
    /// What the endpoint said is the answer: the response that has just begun.
    Respond,
    /// What the last attempt failed with is the answer.
    GiveUp(Reason),
    /// The exchange has failed: this is the answer.
    Fail(Fault),
    /// Nothing: another attempt is under way, or its turn is, or all is over.
    Stay,
}

/// What an endpoint or its connection did to a request, when another attempt is in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// A byte of it may have reached the endpoint.
    pub sent: bool,
    /// Its bytes are all still there.
    pub replayable: bool,
    /// The client was given a byte of the response.
    pub delivered: bool,
}
