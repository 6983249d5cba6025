//! Named rules in the order in which they are tried.

use super::explain::Verdict;
use super::facts::Facts;
use super::fields::Fields;
use super::index::Index;
use super::predicates::Predicates;
use super::program::Program;
use super::view::View;
use crate::pattern::Pattern;

/// Rules, best first, and what finds those that match.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) fields: Fields,
    predicates: Predicates,
    program: Program,
    index: Index,
}

impl Rules {
    /// Compiles patterns, given in rank order. `fields` may hold some that the host needs in any case.
    pub(crate) fn compile<'p>(mut fields: Fields, patterns: impl IntoIterator<Item = &'p Pattern>) -> Self {
        let mut predicates = Predicates::default();
        let mut program = Program::default();
        for pattern in patterns {
            program.push(pattern, &mut fields, &mut predicates);
        }
        let index = Index::build(&program, &mut predicates);
        predicates.finish();
        program.finish();
        Self { fields, predicates, program, index }
    }

    pub(crate) fn len(&self) -> usize {
        self.program.len()
    }

    /// Rank of the first rule that matches.
    pub(crate) fn first(&self, view: &View<'_>) -> Option<usize> {
        self.index.first(&self.program, &Facts::new(view, &self.predicates))
    }

    /// Ranks of all rules that match, ascending.
    pub(crate) fn matches(&self, view: &View<'_>) -> Vec<usize> {
        self.index.matches(&self.program, &Facts::new(view, &self.predicates))
    }

    /// Every rule's verdict, in rank order.
    pub(crate) fn explain(&self, view: &View<'_>) -> Vec<Verdict> {
        let facts = Facts::new(view, &self.predicates);
        (0..self.len()).map(|rank| Verdict::of(self.program.rule(rank), &self.fields, &facts)).collect()
    }
}
