//! HTTP/1.1 framing: what is read and written, and what is not.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)] // Tests.

mod events;
mod properties;
mod request;
mod response;
