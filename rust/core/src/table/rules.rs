//! Named rules in the order in which they are tried.

use super::explain::Verdict;
use super::fields::Fields;
use super::rule::{Expression, MAX_WAYS, ways};
use super::view::View;
use crate::pattern::{Pattern, Problem};

/// A compiled rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: Box<str>,
    pub(crate) expression: Expression,
}

/// Rules, best first, and the fields that they test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) fields: Fields,
    rules: Vec<Rule>,
}

impl Rules {
    /// No rules yet; `fields` may hold some that the host needs in any case.
    pub(crate) fn new(fields: Fields) -> Self {
        Self { fields, rules: Vec::new() }
    }

    /// Appends a rule, which ranks after all others.
    pub(crate) fn push(&mut self, name: &str, pattern: &Pattern) {
        let expression = Expression::compile(pattern, &mut self.fields);
        self.rules.push(Rule { name: name.into(), expression });
    }

    pub(crate) fn len(&self) -> usize {
        self.rules.len()
    }

    /// Rank of the first rule that matches.
    pub(crate) fn first(&self, view: &View<'_>) -> Option<usize> {
        self.rules.iter().position(|rule| rule.expression.holds(view))
    }

    /// Ranks of all rules that match, ascending.
    pub(crate) fn matches(&self, view: &View<'_>) -> Vec<usize> {
        let ranked = self.rules.iter().enumerate();
        ranked.filter(|(_, rule)| rule.expression.holds(view)).map(|(rank, _)| rank).collect()
    }

    /// Every rule's verdict, in rank order.
    pub(crate) fn explain(&self, view: &View<'_>) -> Vec<Verdict> {
        self.rules.iter().map(|rule| Verdict::of(rule, &self.fields, view)).collect()
    }
}

/// What the parser of patterns cannot see: `$or`s that would take too long together.
pub(crate) fn check(pattern: &Pattern) -> Option<Problem> {
    (ways(&pattern.root) > MAX_WAYS).then(|| Problem {
        path: Vec::new(),
        message: format!(
            "its `$or`s share fields and multiply to more than {MAX_WAYS} combinations; split it into several rules"
        ),
    })
}
