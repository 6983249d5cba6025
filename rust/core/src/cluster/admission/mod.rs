//! Whether a cluster takes a message now: rates, the concurrency limit, and the queue in front of it.

pub(crate) mod accounts;
pub(crate) mod bucket;
pub(crate) mod gate;
pub(crate) mod gradient;
pub(crate) mod meter;
pub(crate) mod queue;
