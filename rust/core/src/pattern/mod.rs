//! The pattern language: what a route or rule asks of a message.
//!
//! A pattern is a tree of fields. Fields are joined by AND, the alternatives listed for one field by OR, and
//! `$or` joins whole sub-patterns. The language is that of Amazon EventBridge and Event Ruler, with exact numbers,
//! `regex`, and the differences that the [`Predicate`]s name.
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
mod fold;
mod parse;
mod predicate;
mod range;
mod regex;
mod value;
mod wildcard;

use std::fmt;

pub use decimal::{Decimal, MAX_EXPONENT};
pub use fold::Folded;
pub(crate) use fold::fold;
pub use predicate::{Exclusion, Pattern as RegexPattern, Predicate, Scalar, Seen};
pub(crate) use predicate::{parse_address, quote};
pub(crate) use range::Bound;
pub use range::Range;
pub use value::{Step, Value};
pub use wildcard::Wildcard;
pub(crate) use wildcard::in_order;

/// How deep the mappings of a pattern may be nested.
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

/// One field and the predicates of which one must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Keys from the root of the document. A key with a dot in it is one key.
    pub path: Vec<Box<str>>,
    /// Alternatives, in the order written.
    pub tests: Vec<Predicate>,
    /// Where in the pattern this stands, for messages.
    pub at: Vec<Step>,
}

/// One thing wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the pattern.
    pub path: Vec<Step>,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Every problem in it, in the order in which they stand.
    pub fn parse(value: &Value) -> Result<Self, Vec<Problem>> {
        let (pattern, problems) = parse::parse(value);
        if problems.is_empty() { Ok(pattern) } else { Err(problems) }
    }

    /// Parses what can be parsed, for a host that has further problems to find in it.
    pub(crate) fn parse_partly(value: &Value) -> (Self, Vec<Problem>) {
        parse::parse(value)
    }

    /// Whether it tests a field at the top.
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

/// `labels.region`, `"a.b".c`: keys that hold a dot or a bracket are quoted.
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

/// `match.labels.region[0].prefix: what is wrong`.
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
