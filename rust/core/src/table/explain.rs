//! Explanations: why a rule does or does not match, in words.

use std::fmt::Write as _;

use super::ids::PredicateId;
use super::index::facts::Facts;
use super::index::program::{Node, Nodes, Rule};
use super::index::tree::matches;
use super::message::fields::Fields;
use super::message::view::Entry;
use crate::pattern::format_keys;

/// Whether one rule matches one message, and why or why not.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Whether the rule matches.
    pub matched: bool,
    /// The first field that failed; `None` if the rule matches, or if no single field is to blame.
    pub path: Option<String>,
    /// The alternatives that the pattern allows for that field, in words.
    pub expected: Option<String>,
    /// The message's value of that field as shortened JSON text; `None` if the message has none.
    pub seen: Option<String>,
    /// The reason in one sentence.
    pub reason: String,
}

/// Puts tests into words.
#[derive(Clone, Copy)]
struct Words<'w, 'v, 'a> {
    fields: &'w Fields,
    facts: &'w Facts<'v, 'a>,
}

enum Failure<'p> {
    Test(&'p [PredicateId]),
    /// The first failure in each branch of an `$or`.
    Branches(Vec<&'p [PredicateId]>),
}

impl Verdict {
    pub(crate) fn of(rule: Rule<'_>, fields: &Fields, facts: &Facts<'_, '_>) -> Self {
        let words = Words { fields, facts };
        let matched = matches(&rule, facts);
        let nothing = Self { matched, path: None, expected: None, seen: None, reason: String::new() };
        if matched {
            let mut held = Vec::new();
            rule.nodes.for_each(|node| words.satisfied(node, &mut held));
            let reason = if held.is_empty() { "the pattern is empty".to_owned() } else { held.join(", ") };
            return Self { reason, ..nothing };
        }
        let blame = |test: &[PredicateId], reason: String| Self {
            path: Some(words.path(test)),
            expected: Some(words.expected(test)),
            seen: words.seen(test),
            reason,
            ..nothing.clone()
        };
        match words.first_failure(rule.nodes.clone()) {
            Some(Failure::Test(test)) => blame(test, words.unsatisfied(test)),
            Some(Failure::Branches(tests)) => {
                let shown: Vec<String> = tests.iter().take(4).map(|test| words.unsatisfied(test)).collect();
                let more = if tests.len() > 4 { "; …" } else { "" };
                let reason = format!(
                    "none of the {} alternatives in `$or` holds: {}{more}",
                    tests.len(),
                    shown.join("; ")
                );
                tests.first().map_or(nothing.clone(), |test| blame(test, reason))
            }
            // Every test holds in some array element, but not all in the same one.
            None => {
                let mut paths: Vec<String> = Vec::new();
                words.inside_arrays(rule.nodes, &mut paths);
                let reason = format!("no single array element satisfies {} together", paths.join(" and "));
                Self { path: paths.into_iter().next(), reason, ..nothing }
            }
        }
    }
}

impl Words<'_, '_, '_> {
    fn field(self, test: &[PredicateId]) -> u32 {
        test.first().map_or(u32::MAX, |id| self.facts.predicates.field(*id))
    }

    fn path(self, test: &[PredicateId]) -> String {
        format_keys(self.fields.path(self.field(test)))
    }

    fn seen(self, test: &[PredicateId]) -> Option<String> {
        self.facts.view.shown(self.field(test))
    }

    /// The alternatives of a test, as `"a", "b" or prefix "c"`; at most eight, then the number of further ones.
    fn expected(self, test: &[PredicateId]) -> String {
        const SHOWN: usize = 8;
        let mut out = String::new();
        for (index, id) in self.facts.predicates.by_age(test).iter().take(SHOWN).enumerate() {
            out.push_str(match index {
                0 => "",
                _ if index + 1 == test.len() => " or ",
                _ => ", ",
            });
            out.push_str(&self.facts.predicates.describe(*id));
        }
        if test.len() > SHOWN {
            // Writing to a String cannot fail.
            let _ = write!(out, " or {} more", test.len() - SHOWN);
        }
        out
    }

    fn unsatisfied(self, test: &[PredicateId]) -> String {
        let (path, expected) = (self.path(test), self.expected(test));
        match self.seen(test) {
            Some(seen) => format!("{path} is {seen}, wanted {expected}"),
            None => format!("{path} is missing, wanted {expected}"),
        }
    }

    /// The first test, in the order written, that fails everywhere in the message.
    fn first_failure(self, mut nodes: Nodes<'_>) -> Option<Failure<'_>> {
        nodes.find_map(|node| self.failure(node))
    }

    fn failure<'p>(self, node: Node<'p>) -> Option<Failure<'p>> {
        match node {
            Node::All(nodes) => self.first_failure(nodes),
            Node::Test(test) => (!node.holds(self.facts)).then_some(Failure::Test(test)),
            Node::Any(branches) => {
                let failures: Option<Vec<Failure<'p>>> =
                    branches.map(|branch| self.failure(branch)).collect();
                let tests = failures?.into_iter().filter_map(|failure| match failure {
                    Failure::Test(test) => Some(test),
                    Failure::Branches(tests) => tests.into_iter().next(),
                });
                Some(Failure::Branches(tests.collect()))
            }
        }
    }

    /// Adds `kind is "model"` for each test that holds; for an `$or`, only those of its first branch that holds.
    fn satisfied(self, node: Node<'_>, out: &mut Vec<String>) {
        match node {
            Node::All(nodes) => nodes.for_each(|node| self.satisfied(node, out)),
            Node::Any(mut branches) => {
                if let Some(branch) = branches.find(|branch| branch.holds(self.facts)) {
                    self.satisfied(branch, out);
                }
            }
            Node::Test(test) => {
                let path = self.path(test);
                let held = self.facts.predicates.by_age(test).into_iter().find(|id| self.facts.holds(*id));
                out.push(match (held, self.seen(test)) {
                    (Some(id), Some(_)) if self.facts.predicates.is_equality(id) => {
                        format!("{path} is {}", self.facts.predicates.describe(id))
                    }
                    (Some(id), Some(seen)) => {
                        format!("{path} {seen} is {}", self.facts.predicates.describe(id))
                    }
                    _ => format!("{path} is missing"),
                });
            }
        }
    }

    /// Adds the paths of tested fields whose values are inside array elements.
    fn inside_arrays(self, nodes: Nodes<'_>, out: &mut Vec<String>) {
        for node in nodes {
            match node {
                Node::All(inside) | Node::Any(inside) => self.inside_arrays(inside, out),
                Node::Test(test) => {
                    let path = self.path(test);
                    let is_inside = |entry: &Entry<'_>| entry.is_scalar() && entry.element > 0;
                    if self.facts.view.any(self.field(test), is_inside) && !out.contains(&path) {
                        out.push(path);
                    }
                }
            }
        }
    }
}
