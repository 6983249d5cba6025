//! Finds the rules that may match a message, without a look at each: predicates numbered once, rules as programs over these
//! numbers, and the tree that leads from the predicates that hold to the rules. The `tree` module says how.

mod build;
mod consistency;
pub(crate) mod facts;
mod forward;
pub(crate) mod intern;
pub(crate) mod predicates;
pub(crate) mod program;
pub(crate) mod tree;
