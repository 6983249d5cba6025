//! Errors that Waypost answers itself when no endpoint can take a message.

use std::time::Duration;

use crate::cluster::policy::Per;
use crate::cluster::{Exceeded, Shed};

/// An error that Waypost answers itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The error code, which is stable.
    pub code: &'static str,
    /// What is wrong, where, and what to do.
    pub message: String,
    /// The time after which the client may try again.
    pub retry_after: Option<Duration>,
}

impl Fault {
    pub(super) fn nowhere(route: &str) -> Self {
        let message = format!("route {route} names no cluster");
        Self { code: "no_route", message, retry_after: None }
    }

    pub(super) fn rate(cluster: &str, exceeded: &Exceeded) -> Self {
        let whose = match exceeded.rate.per {
            Per::Cluster => "",
            Per::Tenant => " from one tenant",
            Per::Agent => " from one agent",
            Per::Key => " with one API key",
        };
        let message = format!(
            "cluster {cluster}: more than {} messages{whose} in {}",
            exceeded.rate.messages,
            spoken(exceeded.rate.every)
        );
        Self { code: "rate_limited", message, retry_after: Some(exceeded.retry_after) }
    }

    pub(super) fn shed(cluster: &str, shed: Shed) -> Self {
        let message = if shed.code == "queue_full" {
            format!("cluster {cluster} has reached its concurrency limit, and its queue is full")
        } else {
            format!("cluster {cluster}: the expected wait exceeds this message's deadline or `queue.wait`")
        };
        Self { code: shed.code, message, retry_after: Some(shed.retry_after) }
    }

    /// The message waited for `patience` in vain. Another one would have to wait for `wait`.
    pub(super) fn waited(cluster: &str, patience: Duration, wait: Duration) -> Self {
        let message =
            format!("cluster {cluster}: this message's turn did not come within {}", spoken(patience));
        Self { code: "deadline_too_short", message, retry_after: Some(wait.max(Duration::from_secs(1))) }
    }

    pub(super) fn resting(cluster: &str, remaining: Duration) -> Self {
        let message = format!("cluster {cluster}: all endpoints asked for a pause (Retry-After)");
        Self { code: "overloaded", message, retry_after: Some(remaining) }
    }

    pub(super) fn unfit(cluster: &str) -> Self {
        let message = format!("cluster {cluster}: none of its endpoints is fit for messages");
        Self { code: "upstream_unreachable", message, retry_after: None }
    }

    pub(super) fn deadline(length: Duration) -> Self {
        let message = format!("the message's deadline of {} ms passed without a reply", length.as_millis());
        Self { code: "deadline_exceeded", message, retry_after: None }
    }

    pub(super) fn total(cluster: &str, length: Duration) -> Self {
        let message = format!("cluster {cluster}: no complete response within {}", spoken(length));
        Self { code: "upstream_timeout", message, retry_after: None }
    }
}

/// Formats a time, such as `1.5 s`.
fn spoken(length: Duration) -> String {
    format!("{} s", length.as_secs_f64())
}
