//! What is known of clusters, for people, metrics and other processes.

pub(crate) mod board;
pub(crate) mod change;
mod encoding;
pub(crate) mod view;
