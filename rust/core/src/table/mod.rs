//! Rules and routes: compiled patterns, matched against documents and messages.
//!
//! [`Matcher`] matches named patterns against plain JSON; [`RouteTable`] decides on messages of any dialect. Both try rules
//! in the order of their ranks, and the first that matches decides. The `index` module explains how rules are found without
//! trying each of them.
//!
//! Data flows in one direction: the bytes of a message → [`json::scan`](crate::json::scan), which yields the spans of the
//! values at paths that some rule or attribute names → a view, which holds these values by field, from the body, the headers
//! and the caller's identity → rules → a rank.
//!
//! # What matching costs
//! - **Reading the document.** The document is read once, into buffers that the thread reuses. Only values of fields by which
//!   rules are found are examined further, with one look-up or search each. Prefixes are looked up by length: one look-up for
//!   each length that some prefix has and at which a prefix of this string could end. Suffixes, and the literals inside
//!   wildcards, are looked up likewise. The alternatives were slower: with a binary search for affixes and an automaton for
//!   literals, the same document took 20 % longer among 100,000 rules than among ten (with literals inside wildcards 60 %),
//!   even with everything in the nearest cache.
//! - **Evaluating candidates.** Only rules whose guard holds are evaluated, one predicate at a time. Array elements are
//!   compared only where they can matter.
//! - **Nothing for other rules.** Among many rules, memory access dominates. A look-up without a result reads only a table
//!   that stays in the caches. A look-up with a result reads one more cache line of 64 bytes, which holds the predicate and,
//!   if it is short, the rule. Independent searches wait for memory together. On a virtual Zen 4 with 4 to 8 MB of third-level
//!   cache to itself, a dependent access takes 13 ns within that cache and 130 to 170 ns beyond it; the latter is as long as
//!   reading half a kilobyte of the message takes. So the layout avoids dependent accesses:
//!   - The result of a look-up is one line, which includes the address of the host's data about the rule
//!     ([`Matcher::with_handles`]). The tables for prefixes, literals and address blocks hold that address as well, so that
//!     both are fetched at once.
//!   - While a row of a sorted list is searched, the neighbouring data is prefetched.
//!   - An equality costs a document two cache lines that no other rule uses, the rule's name included.
//!
//!   Two attempts gained nothing: starting look-ups while the document is still being read (the scanner became 10 % slower),
//!   and comparing a row with AVX2 vectors.
//! - **Linear rules.** Rules that no look-up can tell apart are tried one by one; [`Cost`] names them.
//!
//! A rule of three fields takes about 170 bytes, including the entry for its name. [`Matcher::with`] changes single rules in
//! layers over the others.

mod action;
#[cfg(test)]
mod cliffs;
mod cost;
mod error;
mod explain;
mod ids;
mod index;
mod layer;
mod lookup;
mod matcher;
mod message;
mod or_limit;
mod routes;
mod rules;
mod scope;
mod work;

pub use action::{Action, Mirror, Reply};
pub use cost::{Cost, Linear};
pub use error::MatchError;
pub use explain::Verdict;
pub(crate) use ids::narrow;
pub use layer::Found;
pub use matcher::{Builder as MatcherBuilder, Matcher};
pub use message::asked::Asked;
pub use message::error::MessageError;
pub(crate) use message::read::MAX_ID;
pub use message::read::{Envelope, Header, Message};
pub use routes::{Decided, Decision, Explanation, NoRoute, RouteSpec, RouteTable};
pub(crate) use scope::parse;
