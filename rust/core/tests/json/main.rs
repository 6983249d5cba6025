//! The scanner: what it accepts and records, and what that costs.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)] // Tests.

mod cost;
mod forms;
mod grammar;
mod kernels;
mod oracle;
mod spans;
