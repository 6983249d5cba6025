//! Rules and routes: compiled patterns, matched against documents and messages.
//!
//! [`Matcher`] matches named patterns against plain JSON; [`RouteTable`] decides on messages of any dialect. Both rank
//! rules: the first that matches decides. The `index` module says how rules are found without looking at each.
//!
//! A message passes through here in one direction: bytes → [`json::scan`](crate::json::scan) (spans of the values at
//! paths that some rule or attribute names) → a view (those values by field, from the body, the headers and the
//! caller's identity) → rules → a rank.
//!
//! # What decides what it costs
//! - The document: it is read once. Of its values only those are touched whose field some rule is found by, a look-up or
//!   a search each; buffers are kept by the thread.
//!   Prefixes are looked up too, one by one of the lengths that some have, where a string of that length could end; and so are
//!   suffixes, and literals inside of wildcards from where one can begin. With a search in their order, and an automaton for the
//!   literals, the same document took a fifth longer (wildcards inside: 60 %) among 100,000 rules than among ten, all of it in
//!   the nearest cache.
//! - The rules that come near to matching: those whose guard holds. Their other predicates are evaluated one by one, and
//!   which array elements they hold in only where that can matter.
//! - Not the other rules. With many of them memory decides: a look-up that finds nothing reads a table that caches hold, and
//!   one that finds something one line of 64 bytes more, with the predicate and the rule in it if that is short. Searches
//!   that do not depend on each other wait together. On a virtual Zen 4, of whose third cache 4 to 8 megabytes are ours, an
//!   access that waits for another one takes 13 ns where that cache holds it and 130 to 170 ns where it does not, as long as
//!   reading half a kilobyte of the message. So what one look-up leads to is one line, with the address of what the host keeps
//!   of the rule ([`Matcher::with_handles`]), which what prefixes, literals and address blocks are looked up by has as well, so that
//!   both come at once; what stands beside the row of a sorted list that is being searched is fetched meanwhile;
//!   and a value to be equal to costs a document two lines that it does not share with others, the name included. What brought
//!   nothing: look-ups that begin while the document is still being read (they made the scanner 10 % slower), and comparing a
//!   row by vectors of AVX2.
//! - Rules that nothing which can be looked up tells apart are tried one by one: [`Cost`] names them.
//!
//! A rule of three fields takes about 170 bytes, its name's place included. [`Matcher::with`] changes single rules in layers over the others.

mod action;
#[cfg(test)]
mod cliffs;
mod cost;
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
pub use explain::Verdict;
pub use layer::Found;
pub use matcher::{Builder as MatcherBuilder, Matcher};
pub use message::asked::Asked;
pub(crate) use message::read::MAX_ID;
pub use message::read::{Envelope, Header, Message, MessageError};
pub use routes::{Decided, Decision, Explanation, NoRoute, RouteSpec, RouteTable};
pub(crate) use scope::parse;
