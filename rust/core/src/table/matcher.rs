//! Rules over plain JSON documents.

use std::sync::Arc;

use super::cost::Cost;
use super::explain::Verdict;
use super::ids::FieldId;
use super::layer::{Found, Layer};
use super::message::fields::Fields;
use super::message::view::View;
use super::message::workspace::Workspace;
use super::or_limit;
use super::rules;
use crate::json::{self, Options, PathTrie};
use crate::pattern::{Pattern, Problem, Value};

/// Of how many rules the layer of the latest changes may be: it is compiled anew for each.
const LATEST: usize = 64;

/// How many changes may lie over the rules of the beginning; and how many fields may have come with them, be their rules still
/// there or not.
const CHANGES: usize = 4096;

/// Patterns, matched against JSON documents.
///
/// Matching takes time for the document and for the rules that come near to matching it, not for the others. Rules are
/// known by their numbers, and a lower number goes first.
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
/// [`Matcher::with`] makes a matcher in which one rule differs, and takes time for the few that were changed last, not
/// for all: most rules are in one large layer that both matchers share. Over it lie up to two layers of changes, and a
/// decision asks each layer. After some thousands of changes they should be made one again, by
/// [`Matcher::flattened`], which takes as long as compiling all rules, and can be done beside further changes.
#[derive(Clone, Debug)]
pub struct Matcher {
    fields: Arc<Fields>,
    trie: Arc<PathTrie>,
    /// The rules of the beginning, older changes, the latest changes.
    layers: [Option<Layer>; 3],
    /// How many fields there were in the beginning.
    first_fields: usize,
    options: Options,
}

/// Rules that are being collected for a [`Matcher`].
#[derive(Debug, Default)]
pub struct Builder {
    fields: Fields,
    rules: rules::Builder,
}

impl Builder {
    /// Without rules, but with room for so many: they take less memory then.
    #[must_use]
    pub fn with_capacity(rules: usize) -> Self {
        let mut builder = Self::default();
        builder.rules.reserve(rules);
        builder
    }

    /// Appends a rule. Its number is how many there were before.
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
    /// Every problem in it.
    pub fn parse(value: &Value) -> Result<Pattern, Vec<Problem>> {
        let pattern = Pattern::parse(value)?;
        match or_limit::check(&pattern) {
            Some(problem) => Err(vec![problem]),
            None => Ok(pattern),
        }
    }

    /// Compiles rules, given in rank order: their numbers are their positions.
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

    fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().flatten()
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layers().map(Layer::len).sum()
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is a rule of this number.
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

    /// This matcher, but that the rule of this number has another pattern, or is new, or with `None` is not there.
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

    /// Whether so much was changed that [`Matcher::flattened`] is worth its time.
    #[must_use]
    pub fn is_overgrown(&self) -> bool {
        let [base, older, latest] = &self.layers;
        let over: usize =
            [older, latest].into_iter().flatten().map(|layer| layer.len() + layer.missing()).sum();
        let fields = self.fields.len() - self.first_fields;
        over + base.as_ref().map_or(0, Layer::missing) > CHANGES || fields > CHANGES
    }

    /// The same rules in one layer, numbered anew in the same order; and by new number the old one.
    #[must_use]
    pub fn flattened(&self) -> (Self, Vec<usize>) {
        let numbers = self.numbers();
        let layers: Vec<Layer> = self.layers().cloned().collect();
        // Fields that only former rules had are forgotten.
        let mut fields = Fields::default();
        let base = Layer::merged(&layers, |field| fields.intern(self.fields.path(field))).renumbered();
        (Self::over(fields, base, self.options), numbers)
    }

    /// Makes sure that all fields of a pattern are known.
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
    /// Where `body` is not valid JSON.
    pub fn first(&self, body: &[u8]) -> Result<Option<usize>, json::InvalidDocument> {
        Ok(self.first_with_handle(body)?.map(|found| found.number))
    }

    /// [`Self::first`], and the rule's handle where that is at hand.
    ///
    /// # Errors
    /// Where `body` is not valid JSON.
    pub fn first_with_handle(&self, body: &[u8]) -> Result<Option<Found>, json::InvalidDocument> {
        self.with_view(body, |view| {
            let [base, over @ ..] = &self.layers;
            let mut found = base.as_ref().and_then(|layer| layer.first(view));
            for layer in over.iter().flatten() {
                let other = layer.first(view);
                if other.is_some_and(|other| found.is_none_or(|found| other.number < found.number)) {
                    found = other;
                }
            }
            found
        })
    }

    /// Gives each rule a handle, by its number: the address of what one will look at once the rule was found. It is kept
    /// where rules are looked for, for all those that are found in one step; so that what is there can come from memory
    /// while the rule is being tried, and nobody has to look for the address. Rules of later changes have none, and a copy
    /// of this matcher that was made before keeps what it had.
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
    /// Where `body` is not valid JSON.
    pub fn matches(&self, body: &[u8]) -> Result<Vec<usize>, json::InvalidDocument> {
        self.with_view(body, |view| {
            let mut found: Vec<usize> = self.layers().flat_map(|layer| layer.matches(view)).collect();
            found.sort_unstable();
            found
        })
    }

    /// Every rule's number and verdict on `body`, ascending.
    ///
    /// # Errors
    /// Where `body` is not valid JSON.
    pub fn explain(&self, body: &[u8]) -> Result<Vec<(usize, Verdict)>, json::InvalidDocument> {
        self.with_view(body, |view| {
            let mut all: Vec<(usize, Verdict)> = Vec::with_capacity(self.len());
            for layer in self.layers() {
                let verdicts = layer.rules().explain(&self.fields, view, layer.ranks());
                all.extend(layer.ranks().map(|rank| layer.number(rank)).zip(verdicts));
            }
            all.sort_unstable_by_key(|(number, _)| *number);
            all
        })
    }

    /// One rule's verdict on `body`; `None` where there is no such rule. Takes time for that rule alone.
    ///
    /// # Errors
    /// Where `body` is not valid JSON.
    pub fn explain_one(&self, body: &[u8], number: usize) -> Result<Option<Verdict>, json::InvalidDocument> {
        self.with_view(body, |view| {
            self.layers().find_map(|layer| {
                let rank = layer.rank(number)?;
                layer.rules().explain(&self.fields, view, [rank]).pop()
            })
        })
    }

    /// The rules that are tried one by one, by their numbers.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let mut linear = Vec::new();
        for layer in self.layers() {
            linear.extend(
                layer
                    .rules()
                    .linear(&self.fields)
                    .into_iter()
                    .filter_map(|linear| linear.map(|rank| layer.has(rank).then(|| layer.number(rank)))),
            );
        }
        Cost { rules: self.len(), linear }
    }

    #[allow(clippy::inline_always)] // A result that is moved through memory in small parts waits to be read in large ones.
    #[inline(always)]
    fn with_view<T>(
        &self,
        body: &[u8],
        decide: impl FnOnce(&View<'_>) -> T,
    ) -> Result<T, json::InvalidDocument> {
        Workspace::lend(|workspace| {
            let (document, chains) = workspace.read(body, &self.trie, self.options)?;
            // A document that is no object has no fields.
            let document = if document.is_object() { document } else { document.without_leaves() };
            Ok(decide(&View::new(document, &[], chains)))
        })
    }
}

fn merge(layer: Option<Layer>, new: Layer) -> Layer {
    match layer {
        None => new,
        Some(layer) => Layer::merged(&[layer, new], |field| field),
    }
}
