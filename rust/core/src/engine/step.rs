//! What a course has to say to its host.

use std::time::Duration;

use super::fault::Fault;
use super::snapshot::EndpointAt;
use crate::cluster::{Reason, Shed, Ticket};

#[cfg(doc)]
use super::course::Course;

/// What the host does next.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Make an attempt there. Report it by [`Course::responded`], [`Course::responded_retryable`] or [`Course::failed`], with the
    /// number that [`Course::made`] gives now.
    Attempt {
        /// The endpoint.
        at: EndpointAt,
        /// Over a new connection.
        fresh: bool,
    },
    /// Wait so long, then call [`Course::resume`].
    Pause(Duration),
    /// Wait for its turn. Call [`Course::admitted`] or [`Course::dropped`], or [`Course::expired`] once `patience` is over.
    Wait {
        /// Its place in the cluster's queue.
        ticket: Ticket,
        /// The longest that it waits.
        patience: Duration,
        /// Another exchange, which lost its place to this one: call [`Course::dropped`] of that one.
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
