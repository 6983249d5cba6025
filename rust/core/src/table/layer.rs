//! Immutable layers of rules, so that a few rules can be changed without compiling all.

use std::sync::Arc;

use super::ids::FieldId;
use super::message::view::View;
use super::rules::{Builder, Rules};

/// A rule that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The rule's number.
    pub number: usize,
    /// The rule's handle; 0 if none was at hand.
    pub handle: usize,
}

/// Rules with numbers. Some rules may be removed.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    rules: Arc<Rules>,
    /// Number of each rule by rank, ascending; `None` if numbers equal ranks.
    numbers: Option<Arc<[usize]>>,
    /// A bit for each removed rule, by rank. Ranks beyond the end are not removed.
    removed: Arc<[u64]>,
    /// Number of rules that are not removed.
    remaining: usize,
}

impl Layer {
    /// Rules whose numbers are their ranks.
    pub(crate) fn new(rules: Rules) -> Self {
        Self { remaining: rules.len(), rules: Arc::new(rules), numbers: None, removed: Arc::default() }
    }

    /// Merges the remaining rules of `layers`, in ascending order of numbers. `field` maps each field to its new number.
    pub(crate) fn merged(layers: &[Self], mut field: impl FnMut(FieldId) -> FieldId) -> Self {
        let numbered = |layer| Self::ranks(layer).map(move |rank| (layer.number(rank), layer, rank));
        let mut all: Vec<(usize, &Self, usize)> = layers.iter().flat_map(numbered).collect();
        all.sort_unstable_by_key(|(number, ..)| *number);
        let mut builder = Builder::default();
        for (_, layer, rank) in &all {
            builder.adopt(&layer.rules, *rank, &mut field);
        }
        let numbers = all.into_iter().map(|(number, ..)| number).collect();
        Self { numbers: Some(numbers), ..Self::new(builder.finish()) }
    }

    /// The same rules, numbered by rank. No rule may have been removed.
    pub(crate) fn renumbered(self) -> Self {
        Self { numbers: None, ..self }
    }

    /// A layer of one rule.
    pub(crate) fn one(rules: Rules, number: usize) -> Self {
        Self { numbers: Some(Arc::new([number])), ..Self::new(rules) }
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Number of remaining rules.
    pub(crate) fn len(&self) -> usize {
        self.remaining
    }

    /// Number of removed rules.
    pub(crate) fn missing(&self) -> usize {
        self.rules.len() - self.remaining
    }

    /// The ranks of the remaining rules, ascending.
    pub(crate) fn ranks(&self) -> impl Iterator<Item = usize> {
        (0..self.rules.len()).filter(|rank| self.has(*rank))
    }

    pub(crate) fn number(&self, rank: usize) -> usize {
        match &self.numbers {
            None => rank,
            Some(numbers) => numbers.get(rank).copied().unwrap_or(usize::MAX),
        }
    }

    /// The rank of a remaining rule.
    pub(crate) fn rank(&self, number: usize) -> Option<usize> {
        let rank = match &self.numbers {
            None => number,
            Some(numbers) => numbers.binary_search(&number).ok()?,
        };
        (rank < self.rules.len() && self.has(rank)).then_some(rank)
    }

    /// Whether the rule of this rank remains.
    pub(crate) fn has(&self, rank: usize) -> bool {
        self.removed.get(rank / 64).is_none_or(|word| word >> (rank % 64) & 1 == 0)
    }

    /// The same layer without a remaining rule.
    pub(crate) fn without(&self, rank: usize) -> Self {
        let mut removed = self.removed.to_vec();
        if removed.len() <= rank / 64 {
            removed.resize(rank / 64 + 1, 0);
        }
        if let Some(word) = removed.get_mut(rank / 64) {
            *word |= 1 << (rank % 64);
        }
        Self { removed: removed.into(), remaining: self.remaining - 1, ..self.clone() }
    }

    /// The first rule that matches.
    pub(crate) fn first(&self, view: &View<'_>) -> Option<Found> {
        let (rank, handle) = self.rules.first(view, |rank| self.has(rank))?;
        Some(Found { number: self.number(rank), handle })
    }

    /// Sets each rule's handle, by number. Does nothing if another matcher shares this layer.
    pub(crate) fn set_handles(&mut self, handle: impl Fn(usize) -> usize) {
        let numbers = self.numbers.clone();
        if let Some(rules) = Arc::get_mut(&mut self.rules) {
            rules.set_handles(|rank| match &numbers {
                None => handle(rank),
                Some(numbers) => numbers.get(rank).map_or(0, |number| handle(*number)),
            });
        }
    }

    /// Numbers of all rules that match `view`, ascending.
    pub(crate) fn matches(&self, view: &View<'_>) -> impl Iterator<Item = usize> {
        let ranks = self.rules.matches(view).into_iter();
        ranks.filter(|rank| self.has(*rank)).map(|rank| self.number(rank))
    }
}
