//! Regular expressions: RE2's syntax, compiled to an automaton that is built while it reads.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use regex_automata::hybrid::dfa::{self, Cache, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::pool::Pool;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Hir, Look};

use super::{Work, re2};

/// The most memory for one compiled regular expression, in bytes.
const SIZE: usize = 1 << 20;

/// The memory for what one regular expression has learnt from texts, in bytes for each thread; a large expression may need
/// more.
const LEARNT: usize = 96 << 10;

/// A regular expression, anchored at both ends.
#[derive(Clone)]
pub struct Regex {
    pub(crate) source: Box<str>,
    automaton: Arc<Automaton>,
    /// Every matching text starts with one of these; empty if unknown.
    pub(crate) starts: Literals,
    /// Every matching text ends with one of these; empty if unknown.
    pub(crate) ends: Literals,
}

/// Alternatives, one of which every matching text starts (or ends) with.
type Literals = Box<[Box<[u8]>]>;

/// The states of the automaton are found when a text leads to them, so that no expression needs exponential memory.
struct Automaton {
    dfa: DFA,
    caches: Pool<Cache, Box<dyn Fn() -> Cache + Send + Sync + UnwindSafe + RefUnwindSafe>>,
    /// The steps for finding a transition that is not known yet.
    steps: usize,
}

impl Regex {
    /// Compiles a regular expression that matches whole texts. The anchors are added to the syntax tree, not to the text, so
    /// that `a|b` keeps its meaning.
    pub(super) fn compile(source: &str) -> Result<Self, String> {
        let inner = re2::parse(source)?;
        let (starts, ends) = (literals(ExtractKind::Prefix, &inner), literals(ExtractKind::Suffix, &inner));
        let anchored = Hir::concat(vec![Hir::look(Look::Start), inner, Hir::look(Look::End)]);
        // Whatever fails from here on fails for its size.
        let automaton = Automaton::build(&anchored)
            .ok_or_else(|| format!("it would compile to more than {SIZE} bytes; use smaller repetitions"))?;
        Ok(Self { source: source.into(), automaton: Arc::new(automaton), starts, ends })
    }

    /// Whether the whole text matches. Takes time linear in the text, for every expression, as long as there is work left.
    pub(crate) fn matches(&self, text: &str, work: &Work) -> bool {
        let Automaton { dfa, caches, steps } = &*self.automaton;
        let mut cache = caches.get();
        let input = Input::new(text).anchored(Anchored::Yes);
        let Ok(mut state) = dfa.start_state_forward(&mut cache, &input) else { return false };
        for &byte in text.as_bytes() {
            if !state.is_tagged() {
                let next = dfa.next_state_untagged(&cache, state, byte);
                if !next.is_tagged() {
                    state = next;
                    continue;
                }
                if next.is_unknown() && !work.take(*steps) {
                    return false;
                }
            }
            match dfa.next_state(&mut cache, state, byte) {
                Ok(next) if !next.is_dead() => state = next,
                _ => return false,
            }
        }
        dfa.next_eoi_state(&mut cache, state).is_ok_and(|state| state.is_match())
    }
}

impl Automaton {
    /// `None` if the expression is too large.
    fn build(hir: &Hir) -> Option<Self> {
        let config = thompson::Config::new().nfa_size_limit(Some(SIZE)).which_captures(WhichCaptures::None);
        let nfa = thompson::Compiler::new().configure(config).build_from_hir(hir).ok()?;
        let steps = 8 + nfa.states().len() / 4;
        let config = dfa::Config::new().cache_capacity(LEARNT).skip_cache_capacity_check(true);
        let dfa = dfa::Builder::new().configure(config).build_from_nfa(nfa).ok()?;
        let own = dfa.clone();
        Some(Self { dfa, caches: Pool::new(Box::new(move || own.create_cache())), steps })
    }
}

/// The literals that matching texts start (or end) with; empty if there are too many, or if any text may match.
fn literals(kind: ExtractKind, hir: &Hir) -> Literals {
    let mut extractor = Extractor::new();
    extractor.kind(kind).limit_total(16);
    let found = extractor.extract(hir);
    let usable = found.min_literal_len().is_some_and(|length| length > 0);
    let literals = found.literals().filter(|_| usable).unwrap_or_default();
    literals.iter().map(|literal| literal.as_bytes().into()).collect()
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regex({:?})", self.source)
    }
}

impl Eq for Regex {}

impl Hash for Regex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}
