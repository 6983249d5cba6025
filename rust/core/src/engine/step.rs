//! The steps of a course: instructions to the host.

use std::time::Duration;

use super::fault::Fault;
use super::snapshot::EndpointAt;
use crate::cluster::{Reason, Shed, Ticket};

#[cfg(doc)]
use super::course::Course;

/// The next step, which the host carries out.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Make an attempt at this endpoint. Report its result by [`Course::responded`], [`Course::responded_retryable`] or
    /// [`Course::failed`], with the number that [`Course::made`] returns now.
    Attempt {
        /// The endpoint.
        at: EndpointAt,
        /// Whether the attempt needs a new connection.
        fresh: bool,
    },
    /// Wait for this time, then call [`Course::resume`].
    Pause(Duration),
    /// Wait for a turn, then call [`Course::admitted`] or [`Course::dropped`]. Call [`Course::expired`] after `patience`.
    Wait {
        /// The ticket in the cluster's queue.
        ticket: Ticket,
        /// The longest wait.
        patience: Duration,
        /// The ticket of another exchange that lost its place to this one: call [`Course::dropped`] of that exchange.
        displaced: Option<(Ticket, Shed)>,
    },
    /// Answer with the response that has just begun.
    Respond,
    /// Answer with the failure of the last attempt.
    GiveUp(Reason),
    /// Answer with this fault.
    Fail(Fault),
    /// Do nothing: another attempt is under way, the exchange waits, or it is over.
    Stay,
}

/// How far a request and its response have got, which decides whether another attempt may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Whether the endpoint may have received a byte of the request.
    pub sent: bool,
    /// Whether all bytes of the request are still at hand.
    pub replayable: bool,
    /// Whether the client has received a byte of the response.
    pub delivered: bool,
}
