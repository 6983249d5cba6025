//! Finds the rules that may match a message without trying each of them.
//!
//! Equal predicates are numbered once, rules are programs over these numbers, and a tree leads from the predicates that hold
//! to the rules. The `tree` module explains how.

mod build;
mod consistency;
pub(crate) mod facts;
mod forward;
pub(crate) mod intern;
mod per_value;
pub(crate) mod predicates;
pub(crate) mod program;
mod solver;
pub(crate) mod tree;
