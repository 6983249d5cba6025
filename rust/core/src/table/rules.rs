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

/// Rules in rank order, with the index that finds those that match.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    predicates: Predicates,
    program: Program,
    index: Index,
}

/// Collects rules, in rank order.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    predicates: Collected,
    program: Program,
}

impl Builder {
    /// Reserves room for `rules` rules.
    pub(crate) fn reserve(&mut self, rules: usize) {
        self.program.reserve(rules);
        self.predicates.reserve(rules);
    }

    /// Appends a rule. `field` maps a path to its field.
    pub(crate) fn push(&mut self, pattern: &Pattern, field: &mut impl FnMut(&[Box<str>]) -> FieldId) {
        self.program.push(pattern, field, &mut self.predicates);
    }

    /// Appends a rule of another set. `field` maps a field of that set to a field of this one.
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

    /// Sets each rule's handle, by rank.
    pub(crate) fn set_handles(&mut self, handle: impl Fn(usize) -> usize) {
        let Self { predicates, program, index } = self;
        predicates.set_handles(|below| below.alone().map_or(0, |at| handle(program.rule_at(at).rank)));
        index.set_handles(predicates);
    }

    /// Rank of the first matching rule for which `counts` holds, and its handle (0 if none is at hand).
    pub(crate) fn first(&self, view: &View<'_>, counts: impl Fn(usize) -> bool) -> Option<(usize, usize)> {
        self.index.first(&self.program, &mut Facts::new(view, &self.predicates), counts)
    }

    /// Ranks of all rules that match, ascending.
    pub(crate) fn matches(&self, view: &View<'_>) -> Vec<usize> {
        self.index.matches(&self.program, &mut Facts::new(view, &self.predicates))
    }

    /// The verdicts of the rules of these ranks.
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

    /// The rules with conditions that are compared with each value of a field; `may_have_many` says whether the field at a path
    /// can have many values.
    pub(crate) fn per_value(
        &self,
        fields: &Fields,
        may_have_many: &impl Fn(&[Box<str>]) -> bool,
    ) -> Vec<Linear> {
        self.index.per_value(&self.program, &self.predicates, fields, may_have_many)
    }
}
