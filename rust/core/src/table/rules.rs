//! Rules in the order in which they are tried.

use super::cost::Linear;
use super::explain::Verdict;
use super::ids::FieldId;
use super::index::facts::Facts;
use super::index::intern::Collected;
use super::index::predicates::Predicates;
use super::index::program::Program;
use super::index::tree::Index;
use super::message::fields::Fields;
use super::message::view::View;
use crate::pattern::Pattern;

/// Rules, best first, and what finds those that match.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    predicates: Predicates,
    program: Program,
    index: Index,
}

/// Rules that are being collected, in rank order.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    predicates: Collected,
    program: Program,
}

impl Builder {
    /// Has room for so many rules.
    pub(crate) fn reserve(&mut self, rules: usize) {
        self.program.reserve(rules);
        self.predicates.reserve(rules);
    }

    /// Appends a rule. `field` gives the number of a path.
    pub(crate) fn push(&mut self, pattern: &Pattern, field: &mut impl FnMut(&[Box<str>]) -> FieldId) {
        self.program.push(pattern, field, &mut self.predicates);
    }

    /// Appends a rule of another set. `field` gives the number here of a field there.
    pub(crate) fn adopt(&mut self, rules: &Rules, rank: usize, field: &mut impl FnMut(FieldId) -> FieldId) {
        self.program.adopt(rules.program.rule(rank), &rules.predicates, field, &mut self.predicates);
    }

    /// Builds the index.
    pub(crate) fn finish(self) -> Rules {
        let Self { predicates, mut program } = self;
        let (mut predicates, ids) = predicates.finish();
        program.renumber(&ids);
        let index = Index::build(&program, &mut predicates);
        predicates.finish();
        program.finish();
        Rules { predicates, program, index }
    }
}

impl Rules {
    pub(crate) fn len(&self) -> usize {
        self.program.len()
    }

    /// Gives each rule its handle, by rank.
    pub(crate) fn set_handles(&mut self, handle: impl Fn(usize) -> usize) {
        let Self { predicates, program, index } = self;
        predicates.set_handles(|below| below.alone().map_or(0, |at| handle(program.rule_at(at).rank)));
        index.set_handles(predicates);
    }

    /// Rank of the first rule that matches, of those that count, and its handle if that is at hand, or 0.
    pub(crate) fn first(&self, view: &View<'_>, counts: impl Fn(usize) -> bool) -> Option<(usize, usize)> {
        self.index.first(&self.program, &mut Facts::new(view, &self.predicates), counts)
    }

    /// Ranks of all rules that match, ascending.
    pub(crate) fn matches(&self, view: &View<'_>) -> Vec<usize> {
        self.index.matches(&self.program, &mut Facts::new(view, &self.predicates))
    }

    /// Verdicts on these rules.
    pub(crate) fn explain(
        &self,
        fields: &Fields,
        view: &View<'_>,
        ranks: impl IntoIterator<Item = usize>,
    ) -> Vec<Verdict> {
        let facts = Facts::new(view, &self.predicates);
        ranks.into_iter().map(|rank| Verdict::of(self.program.rule(rank), fields, &facts)).collect()
    }

    /// The rules that are tried one by one.
    pub(crate) fn linear(&self, fields: &Fields) -> Vec<Linear> {
        self.index.linear(&self.program, &self.predicates, fields)
    }
}
