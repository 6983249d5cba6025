//! Finds the guards that hold for a message's values.

use hashbrown::HashMap;
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::facts::Facts;
use super::predicates::Predicates;
use crate::json::Kind;
use crate::pattern::{Predicate, Seen, Wildcard, Work, fold, parse_address};
use crate::table::cost::MANY;
use crate::table::ids::{FieldId, Holding, PredicateId};
use crate::table::lookup::affix::Affixes;
use crate::table::lookup::blocks::Blocks;
use crate::table::lookup::hash_order::Search;
use crate::table::lookup::inner::Inner;
use crate::table::lookup::interval::Intervals;
use crate::table::message::view::Entry;
use crate::table::work;

/// For each field with guards, the tables that find those that hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forward {
    fields: Vec<Option<Box<Guards>>>,
    /// The kinds of guards of each field.
    asked: Vec<Asked>,
}

/// The kinds of guards of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Asked {
    #[default]
    Nothing,
    /// Only equalities: one look-up finds the one that holds.
    Equalities,
    /// Any guards except equalities.
    Others,
    Both,
}

/// The guards of one field.
#[derive(Clone, Debug, Default)]
struct Guards {
    /// Whether there are equalities, which are found by [`Predicates`].
    equalities: bool,
    /// Whether there are no guards except equalities and `present`.
    only_equalities: bool,
    /// Whether only guards in `prefixes` (and equalities) can hold for a string.
    only_prefixes: bool,
    /// The guard that holds for every scalar.
    present: Option<PredicateId>,
    numeric: Intervals,
    /// Prefixes; wildcards and regular expressions, by the literals that they start with.
    prefixes: Affixes,
    /// Suffixes; wildcards and regular expressions, by the literals that they end with.
    suffixes: Affixes,
    /// Case-insensitive prefixes, folded.
    folded_prefixes: Affixes,
    /// Case-insensitive suffixes, folded.
    folded_suffixes: Affixes,
    /// Wildcards that start and end with a star, by a literal between.
    inner: Inner,
    /// Case-insensitive equalities, by case folding.
    ignoring_case: HashMap<SmolStr, PredicateId>,
    /// Length of the longest string in `ignoring_case`, in bytes.
    longest_folded: usize,
    blocks: Blocks,
    /// Guards that are tried one by one.
    one_by_one: Vec<PredicateId>,
    /// Guards that share their literal with many others, so that finding it means evaluating all of them.
    crowded: Vec<PredicateId>,
}

/// A literal, the predicate that it finds, and whether finding it suffices for the predicate to hold.
type Part = (Vec<u8>, PredicateId, bool);

/// The literals by which the guards of one field are found.
#[derive(Default)]
struct Parts<'p> {
    prefixes: Vec<Part>,
    /// Suffixes, reversed.
    suffixes: Vec<Part>,
    folded_prefixes: Vec<Part>,
    /// Folded suffixes, reversed.
    folded_suffixes: Vec<Part>,
    wildcards: Vec<(&'p Wildcard, PredicateId)>,
    inner: Vec<(&'p [u8], PredicateId)>,
}

impl<'p> Parts<'p> {
    /// Chooses a literal for each wildcard: the one that the fewest other wildcards have.
    fn sort_wildcards(&mut self) {
        let mut wanted: HashMap<(Anchor, &[u8]), usize> = HashMap::new();
        for literal in self.wildcards.iter().flat_map(|(wildcard, _)| literals(wildcard)) {
            *wanted.entry(literal).or_default() += 1;
        }
        for (wildcard, id) in std::mem::take(&mut self.wildcards) {
            let literal: Option<(Anchor, &'p [u8])> = literals(wildcard).min_by_key(|literal| {
                (wanted.get(literal).copied(), literal.0, std::cmp::Reverse(literal.1.len()))
            });
            let enough = wildcard.is_affix();
            match literal {
                Some((Anchor::Start, text)) => self.prefixes.push((text.to_vec(), id, enough)),
                Some((Anchor::End, text)) => self.suffixes.push((reversed(text), id, enough)),
                Some((Anchor::Inside, text)) => self.inner.push((text, id)),
                // The wildcard `*` matches every string.
                None => self.inner.push((&[], id)),
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Anchor {
    Start,
    End,
    Inside,
}

/// The literals that every matching text has, with their places.
fn literals(wildcard: &Wildcard) -> impl Iterator<Item = (Anchor, &[u8])> {
    let inside = wildcard.inside().map(|piece| (Anchor::Inside, piece));
    let ends = [(Anchor::Start, wildcard.head()), (Anchor::End, wildcard.tail())];
    ends.into_iter()
        .chain(inside)
        .filter(|(_, text)| !text.is_empty())
        .map(|(anchor, text)| (anchor, text.as_bytes()))
}

fn reversed(text: &[u8]) -> Vec<u8> {
    text.iter().rev().copied().collect()
}

/// Predicates whose literal finds many others too, so that all of them are evaluated.
fn crowded(parts: &[&Vec<Part>], inner: &[(&[u8], PredicateId)]) -> Vec<PredicateId> {
    let mut found = Vec::new();
    let mut add = |mut same: Vec<(&[u8], PredicateId)>| {
        same.sort_unstable();
        let groups = same.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() >= MANY);
        found.extend(groups.flatten().map(|(_, id)| *id));
    };
    for part in parts {
        add(part.iter().filter(|(.., enough)| !enough).map(|(text, id, _)| (text.as_slice(), *id)).collect());
    }
    add(inner.to_vec());
    found
}

/// The most literals inside wildcards that are searched for one by one.
const FEW: usize = 8;

impl Forward {
    pub(crate) fn build(guards: &[PredicateId], predicates: &Predicates) -> Self {
        let mut forward = Self::default();
        let mut parts: HashMap<FieldId, Parts<'_>> = HashMap::new();
        let mut ranges: HashMap<FieldId, Vec<PredicateId>> = HashMap::new();
        for &id in guards {
            let field = predicates.field(id);
            let Some(guards) = forward.guards(field) else { continue };
            let Some(predicate) = predicates.other(id) else {
                guards.equalities = true;
                continue;
            };
            let parts = parts.entry(field).or_default();
            match predicate {
                Predicate::Exists(true) => guards.present = Some(id),
                Predicate::Prefix(text) if !text.is_empty() => {
                    parts.prefixes.push((text.as_bytes().to_vec(), id, true));
                }
                Predicate::Suffix(text) if !text.is_empty() => {
                    parts.suffixes.push((reversed(text.as_bytes()), id, true));
                }
                Predicate::PrefixIgnoreCase(text) if !text.folded().is_empty() => {
                    parts.folded_prefixes.push((text.folded().as_bytes().to_vec(), id, true));
                }
                Predicate::SuffixIgnoreCase(text) if !text.folded().is_empty() => {
                    parts.folded_suffixes.push((reversed(text.folded().as_bytes()), id, true));
                }
                Predicate::Wildcard(wildcard) => parts.wildcards.push((wildcard, id)),
                Predicate::Regex(regex) if !regex.starts.is_empty() => {
                    parts.prefixes.extend(regex.starts.iter().map(|start| (start.to_vec(), id, false)));
                }
                Predicate::Regex(regex) if !regex.ends.is_empty() => {
                    parts.suffixes.extend(regex.ends.iter().map(|end| (reversed(end), id, false)));
                }
                Predicate::Numeric(_) => ranges.entry(field).or_default().push(id),
                Predicate::EqualsIgnoreCase(folded) => {
                    let folded = folded.folded();
                    guards.longest_folded = guards.longest_folded.max(folded.len());
                    // Two spellings of one string are two predicates. Only the first fits into the table.
                    if guards.ignoring_case.contains_key(&folded) {
                        guards.one_by_one.push(id);
                    } else {
                        guards.ignoring_case.insert(folded, id);
                    }
                }
                Predicate::Cidr(block) => {
                    if !guards.blocks.insert(*block, id) {
                        guards.one_by_one.push(id);
                    }
                }
                _ => guards.one_by_one.push(id),
            }
        }
        for (guards, field) in forward.fields.iter_mut().zip(0..) {
            let Some(guards) = guards else { continue };
            let mut parts = parts.remove(&field).unwrap_or_default();
            parts.sort_wildcards();
            let Parts { prefixes, suffixes, folded_prefixes, folded_suffixes, inner, .. } = parts;
            guards.crowded = crowded(&[&prefixes, &suffixes], &inner);
            guards.prefixes = Affixes::build(prefixes);
            guards.suffixes = Affixes::build(suffixes);
            guards.folded_prefixes = Affixes::build(folded_prefixes);
            guards.folded_suffixes = Affixes::build(folded_suffixes);
            let ids: Vec<PredicateId> = inner.iter().map(|(_, id)| *id).collect();
            // A few literals are found faster one by one.
            match Inner::build(inner).filter(|_| ids.len() > FEW) {
                Some(inner) => guards.inner = inner,
                None => guards.one_by_one.extend(ids),
            }
            let ranges = ranges.remove(&field).unwrap_or_default();
            guards.numeric =
                Intervals::build(ranges.into_iter().filter_map(|id| match predicates.other(id) {
                    Some(Predicate::Numeric(range)) => Some((range, id)),
                    _ => None,
                }));
            let for_strings = !guards.suffixes.is_empty()
                || !guards.folded_prefixes.is_empty()
                || !guards.folded_suffixes.is_empty()
                || !guards.inner.is_empty()
                || !guards.ignoring_case.is_empty()
                || !guards.blocks.is_empty()
                || !guards.one_by_one.is_empty();
            guards.only_equalities = guards.numeric.is_empty() && guards.prefixes.is_empty() && !for_strings;
            guards.only_prefixes = guards.present.is_none() && !for_strings;
        }
        let asked = |guards: &Option<Box<Guards>>| {
            let Some(guards) = guards else { return Asked::Nothing };
            match (guards.equalities, !guards.only_equalities || guards.present.is_some()) {
                (false, false) => Asked::Nothing,
                (true, false) => Asked::Equalities,
                (false, true) => Asked::Others,
                (true, true) => Asked::Both,
            }
        };
        forward.asked = forward.fields.iter().map(asked).collect();
        forward
    }

    fn guards(&mut self, field: FieldId) -> Option<&mut Guards> {
        let index = field as usize;
        if index >= self.fields.len() {
            self.fields.resize_with(index + 1, || None);
        }
        self.fields.get_mut(index).map(|guards| &mut **guards.get_or_insert_default())
    }

    /// Sets handles, by predicate.
    pub(crate) fn set_handles(&mut self, predicates: &Predicates) {
        let handle = |id| predicates.handle(id);
        for guards in self.fields.iter_mut().flatten() {
            let Guards { prefixes, suffixes, folded_prefixes, folded_suffixes, inner, blocks, .. } =
                &mut **guards;
            for affixes in [prefixes, suffixes, folded_prefixes, folded_suffixes] {
                affixes.set_handles(handle);
            }
            inner.set_handles(handle);
            blocks.set_handles(handle);
        }
    }

    /// Guards that each cost time, by field: those that are tried one by one for a string, and ranges if many of them overlap.
    pub(crate) fn tried(&self) -> impl Iterator<Item = (FieldId, &'static str, Vec<PredicateId>)> {
        let fields = (0..).zip(&self.fields).filter_map(|(field, guards)| Some((field, guards.as_deref()?)));
        fields.flat_map(|(field, guards)| {
            let overlapping =
                if guards.numeric.depth() < MANY { Vec::new() } else { guards.numeric.ids().collect() };
            let tried = guards.one_by_one.iter().chain(&guards.crowded).copied().collect();
            [(field, "a string", tried), (field, "a number", overlapping)]
        })
    }

    /// Finds the guards that hold, and adds them to `facts.known`.
    pub(crate) fn find(&self, facts: &mut Facts<'_, '_>) {
        let is_wide = facts.is_wide();
        let Facts { view, predicates, known, known_in, .. } = facts;
        let has_elements = view.elements.len() > 1;
        // Of a wide message, the points of numbers, by field.
        let mut points: Vec<(FieldId, u32)> = Vec::new();
        // Begin all look-ups before ending any, so that their memory accesses overlap.
        let mut searches: SmallVec<[(Entry<'_>, Search); 4]> = SmallVec::new();
        let asked = |field| self.asked.get(field as usize).copied().unwrap_or_default();
        view.visit(
            |field| asked(field) != Asked::Nothing,
            |entry| {
                let asked = asked(entry.field);
                if asked != Asked::Others
                    && let Some(search) = predicates.begin(&entry)
                {
                    searches.push((entry, search));
                }
                if asked != Asked::Equalities
                    && let Some(Some(guards)) = self.fields.get(entry.field as usize)
                {
                    let before = known.len();
                    if is_wide && entry.kind == Kind::Number {
                        let ranges = Some(&guards.numeric).filter(|ranges| !ranges.is_empty());
                        let point = ranges.and_then(|ranges| ranges.point_of(entry.text));
                        points.extend(point.map(|point| (entry.field, point)));
                        guards.find_beside_ranges(&entry, predicates, known, &view.work);
                    } else {
                        guards.find(&entry, predicates, known, &view.work);
                    }
                    for id in known.iter().skip(before) {
                        predicates.prefetch(*id);
                        if has_elements {
                            known_in.push((*id, entry.element));
                        }
                    }
                }
            },
        );
        for (entry, search) in &searches {
            let Some(id) = predicates.end(entry, *search) else { continue };
            known.push(id);
            if has_elements {
                known_in.push((id, entry.element));
            }
        }
        points.sort_unstable();
        points.dedup();
        for same in points.chunk_by(|one, next| one.0 == next.0) {
            let guards = same.first().and_then(|(field, _)| self.fields.get(*field as usize)?.as_ref());
            let points: Vec<u32> = same.iter().map(|(_, point)| *point).collect();
            if let Some(guards) = guards {
                guards.numeric.around(&points, known);
            }
        }
        if known.len() > 1 {
            known.sort_unstable();
            known.dedup();
            known_in.sort_unstable();
        }
    }
}

impl Guards {
    #[inline]
    fn find(&self, entry: &Entry<'_>, predicates: &Predicates, out: &mut Holding, work: &Work) {
        if self.only_prefixes && entry.kind == Kind::String {
            work::step(1);
            self.begins(entry.text, predicates, out, work);
        } else if entry.is_scalar() {
            if entry.kind == Kind::Number && !self.numeric.is_empty() {
                self.numeric.find(entry.text, out);
            }
            self.find_beside_ranges(entry, predicates, out, work);
        }
    }

    /// Finds guards by the beginning of a text.
    #[inline]
    fn begins(&self, text: &str, predicates: &Predicates, out: &mut Holding, work: &Work) {
        self.prefixes.prefixes(text.as_bytes(), |id, enough| {
            candidate(id, enough, predicates, out, || work.take(1) && predicates.goes_on(id, text, work));
        });
    }

    /// Finds all guards except ranges.
    #[inline(never)]
    fn find_beside_ranges(&self, entry: &Entry<'_>, predicates: &Predicates, out: &mut Holding, work: &Work) {
        work::step(1 + self.one_by_one.len());
        if let Some(present) = self.present {
            out.push(present);
        }
        if self.only_equalities {
            return;
        }
        // Only guards that are tried one by one need a number itself.
        if entry.kind == Kind::Number && self.one_by_one.is_empty() {
            return;
        }
        let Some(seen) = entry.seen() else { return };
        let holds = |id: PredicateId| {
            work.take(1)
                && predicates.other(id).is_some_and(|predicate| predicate.matches_within(&seen, work))
        };
        for id in &self.one_by_one {
            if holds(*id) {
                out.push(*id);
            }
        }
        match &seen {
            Seen::String(text) => {
                self.begins(text, predicates, out, work);
                let bytes = text.as_bytes();
                let mut found = |id, enough| candidate(id, enough, predicates, out, || holds(id));
                self.suffixes.suffixes(bytes, &mut found);
                self.inner.find(bytes, |id| found(id, false));
                if let Some(longest) = self.folded_prefixes.longest() {
                    let start: String = text.chars().take(longest).map(fold).collect();
                    self.folded_prefixes.prefixes(start.as_bytes(), &mut found);
                }
                if let Some(longest) = self.folded_suffixes.longest() {
                    let end: Vec<char> = text.chars().rev().take(longest).map(fold).collect();
                    let end: String = end.into_iter().rev().collect();
                    self.folded_suffixes.suffixes(end.as_bytes(), &mut found);
                }
                // Folding can change a text's length in bytes by up to a factor of three.
                if !self.ignoring_case.is_empty() && text.len() <= 3 * self.longest_folded {
                    let folded: String = text.chars().map(fold).collect();
                    out.extend(self.ignoring_case.get(folded.as_str()).copied());
                }
                if !self.blocks.is_empty()
                    && let Some(address) = parse_address(text)
                {
                    self.blocks.find(address, |id| out.push(id));
                }
            }
            Seen::Null | Seen::Bool(_) | Seen::Number(_) => {}
        }
    }
}

/// Adds a guard whose literal was found in a text. Unless the literal is `enough`, as it is not for most wildcards and regular
/// expressions, the guard is evaluated first.
#[inline]
fn candidate(
    id: PredicateId,
    enough: bool,
    predicates: &Predicates,
    out: &mut Holding,
    holds: impl FnOnce() -> bool,
) {
    work::step(1);
    if !enough {
        predicates.prefetch(id);
    }
    if enough || holds() {
        out.push(id);
    }
}
