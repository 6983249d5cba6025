//! A message's way through a snapshot: its head, the decision, attempts and their end.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)] // Tests.

mod bound_clusters;
mod course;
mod course_properties;
mod ending;
mod identities;
mod keys;
mod snapshot;
mod trail;
mod upstream_head;
mod warnings;

#[path = "../support/courses.rs"]
mod courses;
#[path = "../support/sample_messages.rs"]
mod sample_messages;
