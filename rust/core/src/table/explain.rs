//! Why a rule does or does not match, in words.

use std::fmt::{self, Write as _};

use super::fields::Fields;
use super::rule::{Expression, Test};
use super::rules::Rule;
use super::view::View;
use crate::pattern::{Predicate, format_keys, join};

/// Whether one rule matches one message, and why or why not.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The rule's name.
    pub rule: String,
    /// Whether it matches.
    pub matched: bool,
    /// The field whose predicates were the first to fail; `None` where the rule matches, or where no single field
    /// is to blame.
    pub path: Option<String>,
    /// What the pattern asks of that field.
    pub expected: Option<String>,
    /// What the message has there, as shortened JSON text; `None` where it has nothing.
    pub seen: Option<String>,
    /// One sentence for a person.
    pub reason: String,
}

impl Verdict {
    pub(crate) fn of(rule: &Rule, fields: &Fields, view: &View<'_>) -> Self {
        let verdict = Self {
            rule: rule.name.to_string(),
            matched: rule.expression.holds(view),
            path: None,
            expected: None,
            seen: None,
            reason: String::new(),
        };
        if verdict.matched {
            let mut held = Vec::new();
            satisfied(&rule.expression, fields, view, &mut held);
            let reason = if held.is_empty() { "it asks nothing".to_owned() } else { held.join(", ") };
            return Self { reason, ..verdict };
        }
        match first_failure(&rule.expression, view) {
            Some(Failure::Test(test)) => {
                let path = format_keys(fields.path(test.field));
                let expected = Alternatives(&test.predicates).to_string();
                let seen = view.shown(test.field);
                let reason = unsatisfied(&path, &expected, seen.as_deref());
                Self { path: Some(path), expected: Some(expected), seen, reason, ..verdict }
            }
            Some(Failure::Branches(tests)) => {
                let mut reason = format!("none of the {} alternatives in `$or` holds", tests.len());
                for (index, test) in tests.iter().take(4).enumerate() {
                    let path = format_keys(fields.path(test.field));
                    let expected = Alternatives(&test.predicates).to_string();
                    let seen = view.shown(test.field);
                    reason.push_str(if index == 0 { ": " } else { "; " });
                    reason.push_str(&unsatisfied(&path, &expected, seen.as_deref()));
                }
                let first = tests.first();
                Self {
                    path: first.map(|test| format_keys(fields.path(test.field))),
                    expected: first.map(|test| Alternatives(&test.predicates).to_string()),
                    seen: first.and_then(|test| view.shown(test.field)),
                    reason,
                    ..verdict
                }
            }
            // Every test holds somewhere, but not in one array element.
            None => {
                let mut paths: Vec<String> = Vec::new();
                for test in rule.expression.tests() {
                    let path = format_keys(fields.path(test.field));
                    if view.scalars(test.field).any(|(element, _)| element > 0) && !paths.contains(&path) {
                        paths.push(path);
                    }
                }
                let reason = format!("no single array element satisfies {} together", paths.join(" and "));
                Self { path: paths.into_iter().next(), reason, ..verdict }
            }
        }
    }
}

fn unsatisfied(path: &str, expected: &str, seen: Option<&str>) -> String {
    match seen {
        Some(seen) => format!("{path} is {seen}, wanted {expected}"),
        None => format!("{path} is missing, wanted {expected}"),
    }
}

enum Failure<'e> {
    Test(&'e Test),
    /// The first failure in each branch of an `$or`.
    Branches(Vec<&'e Test>),
}

/// The first test, in the order written, that holds nowhere in the message.
fn first_failure<'e>(expression: &'e Expression, view: &View<'_>) -> Option<Failure<'e>> {
    match expression {
        Expression::All(parts) => parts.iter().find_map(|part| first_failure(part, view)),
        Expression::Test(test) => (!test.holds_somewhere(view)).then_some(Failure::Test(test)),
        Expression::Any(branches) => {
            let failures: Option<Vec<Failure<'e>>> =
                branches.iter().map(|b| first_failure(b, view)).collect();
            let tests = failures?.into_iter().filter_map(|failure| match failure {
                Failure::Test(test) => Some(test),
                Failure::Branches(tests) => tests.into_iter().next(),
            });
            Some(Failure::Branches(tests.collect()))
        }
    }
}

/// `kind is "model"` for each test that holds; of an `$or`, for the first branch that does.
fn satisfied(expression: &Expression, fields: &Fields, view: &View<'_>, out: &mut Vec<String>) {
    match expression {
        Expression::All(parts) => parts.iter().for_each(|part| satisfied(part, fields, view, out)),
        Expression::Any(branches) => {
            if let Some(branch) = branches.iter().find(|branch| branch.holds(view)) {
                satisfied(branch, fields, view, out);
            }
        }
        Expression::Test(test) => {
            let path = format_keys(fields.path(test.field));
            let held =
                test.predicates.iter().find(|p| view.scalars(test.field).any(|(_, seen)| p.matches(seen)));
            let mut words = String::new();
            // Writing to a String cannot fail.
            let _ = match held {
                Some(Predicate::Equals(scalar)) => write!(words, "{path} is {scalar}"),
                Some(predicate) => {
                    let seen = view.shown(test.field).unwrap_or_default();
                    write!(words, "{path} {seen} is {predicate}")
                }
                None => write!(words, "{path} is missing"),
            };
            out.push(words);
        }
    }
}

/// Alternatives as `"a", "b" or prefix "c"`.
struct Alternatives<'p>(&'p [Predicate]);

impl fmt::Display for Alternatives<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, self.0)
    }
}
