//! What is counted, and how it is shown.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)] // Tests.

mod counts;

#[path = "../support/clusters.rs"]
mod clusters;
