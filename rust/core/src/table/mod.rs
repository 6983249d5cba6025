//! Rules and routes: compiled patterns, matched against documents and messages.
//!
//! [`Matcher`] matches named patterns against plain JSON; [`RouteTable`] decides on messages of any dialect. Both rank
//! rules: the first that matches decides. The `index` module says how rules are found without looking at each.
//!
//! A message passes through here in one direction: bytes → [`json::scan`](crate::json::scan) (spans of the values at
//! paths that some rule or attribute names) → a view (those values by field, from the body, the headers and the
//! caller's identity) → rules → a rank.

mod affix;
mod build;
#[cfg(test)]
mod cliffs;
mod consistency;
mod cost;
mod explain;
mod facts;
mod fields;
mod forward;
mod index;
mod inner;
mod interval;
mod layer;
mod lens;
mod matcher;
mod message;
mod predicates;
mod program;
mod routes;
mod rules;
mod scope;
mod slots;
mod view;
mod ways;
mod work;
mod workspace;

pub use cost::{Cost, Dear};
pub use explain::Verdict;
pub use matcher::{Builder as MatcherBuilder, Matcher};
pub(crate) use message::MAX_ID;
pub use message::{Envelope, Header, Identity, Message, MessageError};
pub(crate) use routes::tests;
pub use routes::{Decided, Decision, Explanation, NoRoute, RouteSpec, RouteTable};
pub(crate) use scope::parse;
