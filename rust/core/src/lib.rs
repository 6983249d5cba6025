//! Message matching, routing decisions and HTTP/1.1 framing as pure functions.
//!
//! Bytes and `now` go in, decisions and bytes come out. Nothing in this crate opens a socket, starts a thread
//! or looks at a clock, so everything in it can be tested, fuzzed and replayed.

pub mod auth;
pub mod cluster;
pub mod dialect;
pub mod engine;
pub mod hash;
pub mod http1;
pub mod json;
pub mod log;
pub mod metrics;
pub mod pattern;
pub mod route_file;
pub mod table;
mod text;
pub mod translate;
