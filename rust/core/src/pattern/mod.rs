//! The pattern language: the tests that a route or rule makes on a message.
//!
//! A pattern is a tree of fields. All fields must match; of the alternatives listed for one field, one must match.
//! `$or` takes whole sub-patterns as alternatives. The language is that of Amazon EventBridge and Event Ruler, plus exact
//! numbers, `regex`, and the differences that each [`Predicate`] names.
//!
//! ```
//! use waypost_core::pattern::{Pattern, Value};
//! let value = Value::Map(vec![("kind".into(), Value::List(vec![Value::String("model".into())]))]);
//! assert_eq!(Pattern::parse(&value).unwrap().fields().count(), 1);
//!
//! let wrong = Value::Map(vec![("kind".into(), Value::List(vec![]))]);
//! assert!(Pattern::parse(&wrong).unwrap_err()[0].to_string().starts_with("kind: an empty list"));
//! ```

mod decimal;
mod deserialize;
mod exclusions;
mod fold;
mod key;
mod parse;
mod predicate;
mod range;
mod re2;
mod regex;
mod value;
mod wildcard;
mod work;

use std::fmt;

pub use decimal::{Decimal, MAX_EXPONENT};
pub use exclusions::Exclusions;
pub use fold::Folded;
pub(crate) use fold::fold;
pub use key::{PatternKey, PredicateKey};
pub(crate) use parse::PREDICATES;
pub use predicate::{Exclusion, Predicate, Scalar, Seen};
pub(crate) use predicate::{parse_address, quote};
pub(crate) use range::Bound;
pub use range::Range;
pub use regex::Regex;
pub use value::{Step, Value};
pub use wildcard::Wildcard;
pub(crate) use wildcard::in_order;
pub use work::Work;

/// The most levels that the mappings of a pattern may be nested.
pub const MAX_NESTING: usize = 64;

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// All of these must hold. An empty pattern matches every document.
    pub root: Conjunction,
}

/// Nodes that must all hold.
pub type Conjunction = Vec<Node>;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Alternatives for one field.
    Field(Field),
    /// One of several sub-patterns.
    Or(Vec<Conjunction>),
}

/// One field and its alternatives, of which one must match.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Keys from the root of the document. A key with a dot in it is one key.
    pub path: Vec<Box<str>>,
    /// Alternatives, in the order written.
    pub tests: Vec<Predicate>,
    /// The field's place in the pattern, for error messages.
    pub at: Vec<Step>,
}

/// One thing that is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The place in the pattern.
    pub path: Vec<Step>,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Every problem in the pattern, in the order written.
    pub fn parse(value: &Value) -> Result<Self, Vec<Problem>> {
        let (pattern, problems) = parse::parse(value);
        if problems.is_empty() { Ok(pattern) } else { Err(problems) }
    }

    /// Parses as much as possible, so that the caller can look for further problems in it.
    pub(crate) fn parse_partly(value: &Value) -> (Self, Vec<Problem>) {
        parse::parse(value)
    }

    /// Whether the pattern tests the top-level field `name`.
    pub(crate) fn tests(&self, name: &str) -> bool {
        self.fields().any(|field| matches!(&*field.path, [only] if **only == *name))
    }

    /// All fields, those inside `$or` included, in the order written.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        let mut stack: Vec<&Node> = self.root.iter().rev().collect();
        std::iter::from_fn(move || {
            loop {
                match stack.pop()? {
                    Node::Field(field) => return Some(field),
                    Node::Or(branches) => stack.extend(branches.iter().rev().flat_map(|b| b.iter().rev())),
                }
            }
        })
    }
}

/// Joins keys with dots (`labels.region`); quotes a key that contains a dot, a bracket or a quote (`"a.b".c`).
pub(crate) fn format_keys<S: AsRef<str>>(keys: &[S]) -> String {
    let mut out = String::new();
    for key in keys {
        let key = key.as_ref();
        if !out.is_empty() {
            out.push('.');
        }
        if key.is_empty() || key.contains(['.', '[', '"']) {
            // Writing to a String cannot fail.
            let _ = quote(key, &mut out);
        } else {
            out.push_str(key);
        }
    }
    out
}

/// Writes `match.labels.region[0].prefix: what is wrong`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.path.iter().enumerate() {
            match step {
                Step::Key(key) if index > 0 => write!(f, ".{key}")?,
                Step::Key(key) => f.write_str(key)?,
                Step::Index(at) => write!(f, "[{at}]")?,
            }
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

#[cfg(test)]
pub(crate) mod tests;
