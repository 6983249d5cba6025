//! Rules and routes over messages: which match, in which order, and why.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)] // Tests.

mod asked;
mod consistency;
mod identity;
mod index;
mod layers;
mod messages;
mod routes;

#[path = "../support/documents.rs"]
mod documents;
#[path = "../support/sample_messages.rs"]
mod sample_messages;
