//! Rules over plain JSON documents.

use super::explain::Verdict;
use super::fields::Fields;
use super::rules::Rules;
use super::view::{Entries, View};
use super::ways::check;
use super::workspace::Workspace;
use crate::json::{self, Options, PathTrie};
use crate::pattern::{Pattern, Problem, Value};

/// Named patterns, matched against JSON documents.
///
/// Matching takes time for the document and for the rules that come near to matching it, not for the others.
///
/// ```
/// use waypost_core::json::Options;
/// use waypost_core::pattern::{Pattern, Value};
/// use waypost_core::table::Matcher;
///
/// let acme = Value::Map(vec![("tenant".into(), Value::String("acme".into()))]);
/// let matcher = Matcher::new([&Matcher::parse(&acme).unwrap()], Options::default());
/// assert_eq!(matcher.first(br#"{"tenant": "acme"}"#), Ok(Some(0)));
/// assert_eq!(matcher.first(b"[1, 2]"), Ok(None));
/// assert!(matcher.first(b"{").is_err());
/// ```
#[derive(Clone, Debug)]
pub struct Matcher {
    rules: Rules,
    trie: PathTrie,
    options: Options,
}

impl Matcher {
    /// Parses a pattern for use in a matcher.
    ///
    /// # Errors
    /// Every problem in it.
    pub fn parse(value: &Value) -> Result<Pattern, Vec<Problem>> {
        let pattern = Pattern::parse(value)?;
        match check(&pattern) {
            Some(problem) => Err(vec![problem]),
            None => Ok(pattern),
        }
    }

    /// Compiles rules, given in rank order.
    pub fn new<'p>(patterns: impl IntoIterator<Item = &'p Pattern>, options: Options) -> Self {
        let rules = Rules::compile(Fields::default(), patterns);
        let mut trie = PathTrie::new();
        for (id, path) in rules.fields.iter() {
            trie.insert(path, id);
        }
        Self { rules, trie, options }
    }

    /// Rank of the first rule that matches `body`.
    ///
    /// # Errors
    /// Where `body` is not valid JSON.
    pub fn first(&self, body: &[u8]) -> Result<Option<usize>, json::Error> {
        self.with_view(body, |view| self.rules.first(view))
    }

    /// Ranks of all rules that match `body`, ascending.
    ///
    /// # Errors
    /// Where `body` is not valid JSON.
    pub fn matches(&self, body: &[u8]) -> Result<Vec<usize>, json::Error> {
        self.with_view(body, |view| self.rules.matches(view))
    }

    /// Every rule's verdict on `body`, in rank order.
    ///
    /// # Errors
    /// Where `body` is not valid JSON.
    pub fn explain(&self, body: &[u8]) -> Result<Vec<Verdict>, json::Error> {
        self.with_view(body, |view| self.rules.explain(view))
    }

    fn with_view<T>(&self, body: &[u8], decide: impl FnOnce(&View<'_>) -> T) -> Result<T, json::Error> {
        Workspace::lend(|workspace| {
            let (document, chains) = workspace.read(body, &self.trie, self.options)?;
            let mut entries = Entries::new();
            if document.is_object() {
                document.entries().for_each(|(_, entry)| entries.push(entry));
            }
            Ok(decide(&View::new(&entries, chains, document.elements)))
        })
    }
}
