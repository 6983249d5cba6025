//! Rules over plain JSON documents.

use std::sync::Arc;

use super::cost::Cost;
use super::error::MatchError;
use super::explain::Verdict;
use super::ids::FieldId;
use super::layer::{Found, Layer};
use super::message::fields::Fields;
use super::message::view::View;
use super::message::workspace::Workspace;
use super::or_limit;
use super::rules;
use crate::json::{Options, PathTrie};
use crate::pattern::{Pattern, Problem, Value};

/// The most rules in the layer of the latest changes, which every change compiles anew.
const LATEST: usize = 64;

/// The most changes over the base layer, and the most fields that changes may have added (fields of removed rules count).
const CHANGES: usize = 4096;

/// Patterns, matched against JSON documents.
///
/// Matching takes time for the document and for the rules whose guard holds, not for the others. Rules have numbers, and
/// rules with lower numbers come first.
///
/// ```
/// use waypost_core::json::Options;
/// use waypost_core::pattern::{Pattern, Value};
/// use waypost_core::table::Matcher;
///
/// let tenant = |name: &str| Matcher::parse(&Value::Map(vec![("tenant".into(), Value::String(name.into()))])).unwrap();
/// let matcher = Matcher::new([&tenant("acme")], Options::default());
/// assert_eq!(matcher.first(br#"{"tenant": "acme"}"#), Ok(Some(0)));
/// assert_eq!(matcher.first(b"[1, 2]"), Ok(None));
/// assert!(matcher.first(b"{").is_err());
///
/// let changed = matcher.with(1, Some(&tenant("globex"))).with(0, None);
/// assert_eq!(changed.first(br#"{"tenant": "acme"}"#), Ok(None));
/// assert_eq!(changed.first(br#"{"tenant": "globex"}"#), Ok(Some(1)));
/// ```
///
/// # Changes
/// [`Matcher::with`] makes a matcher in which one rule differs. It takes time only for the most recent changes, because
/// both matchers share one large base layer. Up to two layers of changes lie over it, and a decision consults each. After
/// some thousands of changes, [`Matcher::flattened`] should merge the layers. It takes as long as compiling all rules, and
/// can run while further changes are made.
#[derive(Clone, Debug)]
pub struct Matcher {
    fields: Arc<Fields>,
    trie: Arc<PathTrie>,
    /// The base layer, older changes, the latest changes.
    layers: [Option<Layer>; 3],
    /// Number of fields in the base layer.
    first_fields: usize,
    options: Options,
}

/// Collects rules for a [`Matcher`].
#[derive(Debug, Default)]
pub struct Builder {
    fields: Fields,
    rules: rules::Builder,
}

impl Builder {
    /// Reserves room for `rules` rules, so that they take less memory.
    #[must_use]
    pub fn with_capacity(rules: usize) -> Self {
        let mut builder = Self::default();
        builder.rules.reserve(rules);
        builder
    }

    /// Appends a rule. Numbers count from 0.
    pub fn push(&mut self, pattern: &Pattern) {
        self.rules.push(pattern, &mut |path| self.fields.intern(path));
    }

    /// Compiles the rules.
    #[must_use]
    pub fn finish(self, options: Options) -> Matcher {
        Matcher::over(self.fields, Layer::new(self.rules.finish()), options)
    }
}

impl Matcher {
    /// Parses a pattern for use in a matcher.
    ///
    /// # Errors
    /// Every problem in the pattern.
    pub fn parse(value: &Value) -> Result<Pattern, Vec<Problem>> {
        let pattern = Pattern::parse(value)?;
        match or_limit::check(&pattern) {
            Some(problem) => Err(vec![problem]),
            None => Ok(pattern),
        }
    }

    /// Compiles rules, given in rank order. Their numbers are their positions.
    pub fn new<'p>(patterns: impl IntoIterator<Item = &'p Pattern>, options: Options) -> Self {
        let mut builder = Builder::default();
        for pattern in patterns {
            builder.push(pattern);
        }
        builder.finish(options)
    }

    fn over(fields: Fields, base: Layer, options: Options) -> Self {
        let mut trie = PathTrie::new();
        for (id, path) in fields.iter() {
            trie.insert(path, id);
        }
        let (first_fields, layers) = (fields.len(), [Some(base), None, None]);
        Self { fields: Arc::new(fields), trie: Arc::new(trie), layers, first_fields, options }
    }

    /// The first rule that matches, of all layers.
    #[inline]
    fn first_of(&self, view: &View<'_>) -> Option<Found> {
        let [base, over @ ..] = &self.layers;
        let mut found = base.as_ref().and_then(|layer| layer.first(view));
        for layer in over.iter().flatten() {
            let other = layer.first(view);
            if other.is_some_and(|other| found.is_none_or(|found| other.number < found.number)) {
                found = other;
            }
        }
        found
    }

    /// Whether a message can be decided on. Then its explanation may take any time.
    fn lift(&self, view: &View<'_>) -> bool {
        self.first_of(view);
        let decided = !view.work.is_exhausted();
        if decided {
            view.work.lift();
        }
        decided
    }

    fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().flatten()
    }

    /// Number of rules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layers().map(Layer::len).sum()
    }

    /// Whether the matcher has no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a rule has this number.
    #[must_use]
    pub fn has(&self, number: usize) -> bool {
        self.layers().any(|layer| layer.rank(number).is_some())
    }

    /// The numbers of all rules, ascending.
    #[must_use]
    pub fn numbers(&self) -> Vec<usize> {
        let mut numbers: Vec<usize> =
            self.layers().flat_map(|layer| layer.ranks().map(|rank| layer.number(rank))).collect();
        if self.layers().count() > 1 {
            numbers.sort_unstable();
        }
        numbers
    }

    /// A copy of this matcher in which the rule `number` has this pattern; `None` removes the rule.
    #[must_use]
    pub fn with(&self, number: usize, pattern: Option<&Pattern>) -> Self {
        let mut new = self.clone();
        for layer in new.layers.iter_mut().flatten() {
            if let Some(rank) = layer.rank(number) {
                *layer = layer.without(rank);
            }
        }
        if let Some(pattern) = pattern {
            new.learn(pattern);
            let mut builder = rules::Builder::default();
            builder.push(pattern, &mut |path| new.fields.find(path).unwrap_or(FieldId::MAX));
            let one = Layer::one(builder.finish(), number);
            let [_, older, latest] = &mut new.layers;
            let merged = merge(latest.take(), one);
            if merged.len() <= LATEST {
                *latest = Some(merged);
            } else {
                *older = Some(merge(older.take(), merged));
            }
        }
        new
    }

    /// Whether there are so many changes that [`Matcher::flattened`] is worth its time.
    #[must_use]
    pub fn is_overgrown(&self) -> bool {
        let [base, older, latest] = &self.layers;
        let over: usize =
            [older, latest].into_iter().flatten().map(|layer| layer.len() + layer.missing()).sum();
        let fields = self.fields.len() - self.first_fields;
        over + base.as_ref().map_or(0, Layer::missing) > CHANGES || fields > CHANGES
    }

    /// The same rules in one layer, renumbered in the same order, and the old number of each new one.
    #[must_use]
    pub fn flattened(&self) -> (Self, Vec<usize>) {
        let numbers = self.numbers();
        let layers: Vec<Layer> = self.layers().cloned().collect();
        // Fields that only removed rules tested are dropped.
        let mut fields = Fields::default();
        let base = Layer::merged(&layers, |field| fields.intern(self.fields.path(field))).renumbered();
        (Self::over(fields, base, self.options), numbers)
    }

    /// Adds the fields of a pattern that are not known yet.
    fn learn(&mut self, pattern: &Pattern) {
        if pattern.fields().all(|field| self.fields.find(&field.path).is_some()) {
            return;
        }
        let (fields, trie) = (Arc::make_mut(&mut self.fields), Arc::make_mut(&mut self.trie));
        for field in pattern.fields() {
            if fields.find(&field.path).is_none() {
                trie.insert(&field.path, fields.intern(&field.path));
            }
        }
    }

    /// Number of the first rule that matches `body`.
    ///
    /// # Errors
    /// `body` is not valid JSON, or takes too many steps.
    pub fn first(&self, body: &[u8]) -> Result<Option<usize>, MatchError> {
        Ok(self.first_with_handle(body)?.map(|found| found.number))
    }

    /// Like [`Self::first`], with the rule's handle.
    ///
    /// # Errors
    /// `body` is not valid JSON, or takes too many steps.
    pub fn first_with_handle(&self, body: &[u8]) -> Result<Option<Found>, MatchError> {
        self.with_view(body, |view| self.first_of(view))
    }

    /// Gives each rule of the base layer a handle, by number: the address of data that the caller reads once the rule is
    /// found.
    ///
    /// The look-up tables store the handle for every rule that one look-up finds. So the data can be prefetched while the
    /// rule is evaluated, and the caller need not look up the address. Rules of later changes have no handle. Existing copies
    /// of this matcher keep their handles.
    #[must_use]
    pub fn with_handles(mut self, handle: impl Fn(usize) -> usize) -> Self {
        if let [Some(base), ..] = &mut self.layers {
            base.set_handles(handle);
        }
        self
    }

    /// Numbers of all rules that match `body`, ascending.
    ///
    /// # Errors
    /// `body` is not valid JSON, or takes too many steps.
    pub fn matches(&self, body: &[u8]) -> Result<Vec<usize>, MatchError> {
        self.with_view(body, |view| {
            let mut found: Vec<usize> = self.layers().flat_map(|layer| layer.matches(view)).collect();
            found.sort_unstable();
            found
        })
    }

    /// Every rule's number and verdict on `body`, in ascending order of numbers.
    ///
    /// # Errors
    /// `body` is not valid JSON, or takes too many steps.
    pub fn explain(&self, body: &[u8]) -> Result<Vec<(usize, Verdict)>, MatchError> {
        self.with_view(body, |view| {
            let mut all: Vec<(usize, Verdict)> = Vec::with_capacity(self.len());
            if !self.lift(view) {
                return all;
            }
            for layer in self.layers() {
                let verdicts = layer.rules().explain(&self.fields, view, layer.ranks());
                all.extend(layer.ranks().map(|rank| layer.number(rank)).zip(verdicts));
            }
            all.sort_unstable_by_key(|(number, _)| *number);
            all
        })
    }

    /// One rule's verdict on `body`; `None` if no rule has this number. Takes time for a decision, and for that rule.
    ///
    /// # Errors
    /// `body` is not valid JSON, or takes too many steps.
    pub fn explain_one(&self, body: &[u8], number: usize) -> Result<Option<Verdict>, MatchError> {
        self.with_view(body, |view| {
            if !self.lift(view) {
                return None;
            }
            self.layers().find_map(|layer| {
                let rank = layer.rank(number)?;
                layer.rules().explain(&self.fields, view, [rank]).pop()
            })
        })
    }

    /// The rules that are tried one by one, and those with conditions that are compared with each value, by number.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let (mut linear, mut per_value) = (Vec::new(), Vec::new());
        for layer in self.layers() {
            let number = |rank| layer.has(rank).then(|| layer.number(rank));
            let rules = layer.rules();
            linear.extend(rules.linear(&self.fields).into_iter().filter_map(|group| group.map(number)));
            let compared = rules.per_value(&self.fields, &|_| true);
            per_value.extend(compared.into_iter().filter_map(|group| group.renumbered(number)));
        }
        Cost { rules: self.len(), linear, per_value }
    }

    // Not inlined, the result is stored in small parts and loaded in large ones, which stalls the processor.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_view<T>(&self, body: &[u8], decide: impl FnOnce(&View<'_>) -> T) -> Result<T, MatchError> {
        Workspace::lend(|workspace| {
            let (document, chains) = workspace.read(body, &self.trie, self.options)?;
            // Only objects have fields.
            let document = if document.is_object() { document } else { document.without_leaves() };
            let view = View::new(document, &[], chains, self.len());
            let decided = decide(&view);
            if view.work.is_exhausted() { Err(MatchError::TooCostly) } else { Ok(decided) }
        })
    }
}

fn merge(layer: Option<Layer>, new: Layer) -> Layer {
    match layer {
        None => new,
        Some(layer) => Layer::merged(&[layer, new], |field| field),
    }
}
