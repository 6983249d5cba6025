//! Compiling regular expressions.

use regex_automata::meta::{self, Regex};
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Hir, Look};

use super::predicate::Pattern;

/// The most memory for each automaton of one regular expression, in bytes.
const REGEX_SIZE: usize = 1 << 20;

/// Compiles a regular expression that matches whole texts. The anchors are added to the syntax tree, not to the text, so
/// that `a|b` and `(?x)a # b` keep their meaning.
pub(super) fn compile(source: &str) -> Result<Pattern, String> {
    let one_line = |error: &dyn std::fmt::Display| {
        let text = error.to_string();
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        last.trim().trim_start_matches("error: ").to_owned()
    };
    let inner = regex_syntax::ParserBuilder::new()
        .nest_limit(64)
        .build()
        .parse(source)
        .map_err(|error| one_line(&error))?;
    let (starts, ends) = (literals(ExtractKind::Prefix, &inner), literals(ExtractKind::Suffix, &inner));
    let anchored = Hir::concat(vec![Hir::look(Look::Start), inner, Hir::look(Look::End)]);
    meta::Builder::new()
        .configure(
            Regex::config()
                .nfa_size_limit(Some(REGEX_SIZE))
                .hybrid_cache_capacity(REGEX_SIZE)
                .onepass_size_limit(Some(REGEX_SIZE)),
        )
        .build_from_hir(&anchored)
        .map(|regex| Pattern { source: source.into(), regex, starts, ends })
        .map_err(|error| match error.size_limit() {
            Some(limit) => format!("it would compile to more than {limit} bytes; use smaller repetitions"),
            None => one_line(&error),
        })
}

/// Alternatives, one of which every matching text starts (or ends) with.
type Literals = Box<[Box<[u8]>]>;

/// The literals that matching texts start (or end) with; empty if there are too many, or if any text may match.
fn literals(kind: ExtractKind, hir: &Hir) -> Literals {
    let mut extractor = Extractor::new();
    extractor.kind(kind).limit_total(16);
    let found = extractor.extract(hir);
    let usable = found.min_literal_len().is_some_and(|length| length > 0);
    let literals = found.literals().filter(|_| usable).unwrap_or_default();
    literals.iter().map(|literal| literal.as_bytes().into()).collect()
}
