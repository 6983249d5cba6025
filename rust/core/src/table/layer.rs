//! A few rules changed among many: layers of rules over each other, each of them immutable.

use std::sync::Arc;

use super::ids::FieldId;
use super::message::view::View;
use super::rules::{Builder, Rules};

/// A rule that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub number: usize,
    /// Its handle, if that was at hand; or 0.
    pub handle: usize,
}

/// Rules with numbers, of which some may have been taken out.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    rules: Arc<Rules>,
    /// By rank, ascending; `None` where ranks are numbers.
    numbers: Option<Arc<[usize]>>,
    /// By rank, a bit for each rule that was taken out.
    out: Arc<[u64]>,
    /// How many rules are left.
    remaining: usize,
}

impl Layer {
    /// Rules whose ranks are their numbers.
    pub(crate) fn new(rules: Rules) -> Self {
        Self { remaining: rules.len(), rules: Arc::new(rules), numbers: None, out: Arc::default() }
    }

    /// The rules that are left in some layers, their numbers ascending. `field` gives each field's new number.
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

    /// The same rules, their ranks being their numbers. All that were there must be left.
    pub(crate) fn renumbered(self) -> Self {
        Self { numbers: None, ..self }
    }

    /// One rule.
    pub(crate) fn one(rules: Rules, number: usize) -> Self {
        Self { numbers: Some(Arc::new([number])), ..Self::new(rules) }
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How many rules are left.
    pub(crate) fn len(&self) -> usize {
        self.remaining
    }

    /// How many were taken out.
    pub(crate) fn missing(&self) -> usize {
        self.rules.len() - self.remaining
    }

    /// The ranks of the rules that are left, ascending.
    pub(crate) fn ranks(&self) -> impl Iterator<Item = usize> {
        (0..self.rules.len()).filter(|rank| self.has(*rank))
    }

    pub(crate) fn number(&self, rank: usize) -> usize {
        match &self.numbers {
            None => rank,
            Some(numbers) => numbers.get(rank).copied().unwrap_or(usize::MAX),
        }
    }

    /// The rank of a rule that is left.
    pub(crate) fn rank(&self, number: usize) -> Option<usize> {
        let rank = match &self.numbers {
            None => number,
            Some(numbers) => numbers.binary_search(&number).ok()?,
        };
        (rank < self.rules.len() && self.has(rank)).then_some(rank)
    }

    /// Whether a rule is left.
    pub(crate) fn has(&self, rank: usize) -> bool {
        self.out.get(rank / 64).is_none_or(|word| word >> (rank % 64) & 1 == 0)
    }

    /// Without a rule that is left.
    pub(crate) fn without(&self, rank: usize) -> Self {
        let mut out = self.out.to_vec();
        if out.len() <= rank / 64 {
            out.resize(rank / 64 + 1, 0);
        }
        if let Some(word) = out.get_mut(rank / 64) {
            *word |= 1 << (rank % 64);
        }
        Self { out: out.into(), remaining: self.remaining - 1, ..self.clone() }
    }

    /// The first rule that matches.
    pub(crate) fn first(&self, view: &View<'_>) -> Option<Found> {
        let (rank, handle) = self.rules.first(view, |rank| self.has(rank))?;
        Some(Found { number: self.number(rank), handle })
    }

    /// Gives each rule its handle, by number; nothing, where others have this layer as well.
    pub(crate) fn set_handles(&mut self, handle: impl Fn(usize) -> usize) {
        let numbers = self.numbers.clone();
        if let Some(rules) = Arc::get_mut(&mut self.rules) {
            rules.set_handles(|rank| match &numbers {
                None => handle(rank),
                Some(numbers) => numbers.get(rank).map_or(0, |number| handle(*number)),
            });
        }
    }

    /// Numbers of all rules that match, ascending.
    pub(crate) fn matches(&self, view: &View<'_>) -> impl Iterator<Item = usize> {
        let ranks = self.rules.matches(view).into_iter();
        ranks.filter(|rank| self.has(*rank)).map(|rank| self.number(rank))
    }
}
