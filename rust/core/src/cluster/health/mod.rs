//! Whether an endpoint is fit for messages, and how long it takes: what attempts and active checks say of it.

pub(crate) mod breaker;
pub(crate) mod checker;
pub(crate) mod latency;
pub(crate) mod standing;
pub(crate) mod success;
pub(crate) mod waiting;
