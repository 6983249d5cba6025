//! What is known of clusters, and what follows from it for a message.

#![allow(clippy::cast_precision_loss, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)] // Tests.

mod addresses;
mod group;
mod outcomes;
mod reload;
mod simulation;

#[path = "../support/clusters.rs"]
mod clusters;
#[path = "../support/courses.rs"]
mod courses;
#[path = "../support/simulator.rs"]
mod simulator;
