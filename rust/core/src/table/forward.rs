//! From a message's values to the guards that hold for them.

use std::net::IpAddr;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::affix::Affixes;
use super::facts::{Facts, Found};
use super::fields::FieldId;
use super::interval::Intervals;
use super::predicates::{PredicateId, Predicates};
use super::view::Entry;
use super::work;
use crate::pattern::{Predicate, Seen, fold, parse_address};

/// For each field that has guards, how to find those that hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forward {
    fields: Vec<Option<Box<Guards>>>,
}

/// The guards of one field.
#[derive(Clone, Debug, Default)]
struct Guards {
    /// Whether there are equalities among them: one look-up finds the one that holds.
    equalities: bool,
    /// Whether there is nothing else.
    only_equalities: bool,
    /// Holds for every scalar.
    present: Option<PredicateId>,
    numeric: Intervals,
    /// Prefixes, and wildcards by what they start with.
    prefixes: Affixes,
    /// Suffixes, and wildcards that start with a star by what they end with.
    suffixes: Affixes,
    /// By case folding.
    ignoring_case: HashMap<Box<str>, PredicateId>,
    /// In bytes, the longest of them.
    longest_folded: usize,
    /// By prefix length and the address's leading bits; IPv4 and IPv6 apart.
    blocks: HashMap<(bool, u8, u128), PredicateId>,
    /// The prefix lengths that occur: (is IPv6, length).
    lengths: SmallVec<[(bool, u8); 4]>,
    /// Whatever has to be tried one by one.
    rest: Vec<PredicateId>,
}

impl Forward {
    pub(crate) fn build(guards: &[PredicateId], predicates: &Predicates) -> Self {
        let mut forward = Self::default();
        let mut prefixes: HashMap<FieldId, Vec<(Vec<u8>, PredicateId)>> = HashMap::new();
        let mut suffixes: HashMap<FieldId, Vec<(Vec<u8>, PredicateId)>> = HashMap::new();
        let mut ranges: HashMap<FieldId, Vec<PredicateId>> = HashMap::new();
        for &id in guards {
            let field = predicates.field(id);
            let Some(guards) = forward.guards(field) else { continue };
            let Some(predicate) = predicates.other(id) else {
                guards.equalities = true;
                continue;
            };
            let reversed = |text: &str| text.bytes().rev().collect();
            match predicate {
                Predicate::Exists(true) => guards.present = Some(id),
                Predicate::Prefix(text) if !text.is_empty() => {
                    prefixes.entry(field).or_default().push((text.as_bytes().to_vec(), id));
                }
                Predicate::Suffix(text) if !text.is_empty() => {
                    suffixes.entry(field).or_default().push((reversed(text), id));
                }
                Predicate::Wildcard(wildcard) if !wildcard.head().is_empty() => {
                    prefixes.entry(field).or_default().push((wildcard.head().as_bytes().to_vec(), id));
                }
                Predicate::Wildcard(wildcard) if !wildcard.tail().is_empty() => {
                    suffixes.entry(field).or_default().push((reversed(wildcard.tail()), id));
                }
                Predicate::Numeric(_) => ranges.entry(field).or_default().push(id),
                Predicate::EqualsIgnoreCase(folded) => {
                    let folded = folded.folded();
                    guards.longest_folded = guards.longest_folded.max(folded.len());
                    // Two spellings of one string are two predicates: the second is tried by itself.
                    if guards.ignoring_case.contains_key(folded) {
                        guards.rest.push(id);
                    } else {
                        guards.ignoring_case.insert(folded.into(), id);
                    }
                }
                Predicate::Cidr(block) => {
                    let (v6, bits) = leading_bits(block.addr(), block.prefix_len());
                    if guards.blocks.contains_key(&(v6, block.prefix_len(), bits)) {
                        guards.rest.push(id);
                        continue;
                    }
                    guards.blocks.insert((v6, block.prefix_len(), bits), id);
                    if !guards.lengths.contains(&(v6, block.prefix_len())) {
                        guards.lengths.push((v6, block.prefix_len()));
                    }
                }
                _ => guards.rest.push(id),
            }
        }
        for (guards, field) in forward.fields.iter_mut().zip(0..) {
            let Some(guards) = guards else { continue };
            guards.prefixes = Affixes::build(prefixes.remove(&field).unwrap_or_default());
            guards.suffixes = Affixes::build(suffixes.remove(&field).unwrap_or_default());
            let ranges = ranges.remove(&field).unwrap_or_default();
            guards.numeric =
                Intervals::build(ranges.into_iter().filter_map(|id| match predicates.other(id) {
                    Some(Predicate::Numeric(range)) => Some((range, id)),
                    _ => None,
                }));
            guards.only_equalities = guards.numeric.is_empty()
                && guards.prefixes.is_empty()
                && guards.suffixes.is_empty()
                && guards.ignoring_case.is_empty()
                && guards.blocks.is_empty()
                && guards.rest.is_empty();
        }
        forward
    }

    fn guards(&mut self, field: FieldId) -> Option<&mut Guards> {
        let index = field as usize;
        if index >= self.fields.len() {
            self.fields.resize_with(index + 1, || None);
        }
        self.fields.get_mut(index).map(|guards| &mut **guards.get_or_insert_default())
    }

    /// By field, the guards that are tried one by one.
    pub(crate) fn tried(&self) -> impl Iterator<Item = (FieldId, &[PredicateId])> {
        (0..).zip(&self.fields).filter_map(|(field, guards)| Some((field, guards.as_ref()?.rest.as_slice())))
    }

    /// The guards that hold, ascending, none twice.
    pub(crate) fn find(&self, facts: &Facts<'_, '_>) -> Found {
        let mut found = Found::new();
        for entry in facts.view.all() {
            if let Some(Some(guards)) = self.fields.get(entry.field as usize) {
                guards.find(entry, facts.predicates, &mut found);
            }
        }
        if found.len() > 1 {
            found.sort_unstable();
            found.dedup();
        }
        found
    }
}

impl Guards {
    fn find(&self, entry: &Entry<'_>, predicates: &Predicates, out: &mut Found) {
        if !entry.is_scalar() {
            return;
        }
        work::step(1 + self.rest.len());
        out.extend(self.present);
        if self.equalities {
            out.extend(predicates.equal_to(entry));
        }
        if self.only_equalities {
            return;
        }
        let Some(seen) = entry.seen() else { return };
        let holds = |id: PredicateId| predicates.other(id).is_some_and(|predicate| predicate.matches(&seen));
        out.extend(self.rest.iter().copied().filter(|id| holds(*id)));
        match &seen {
            Seen::Number(number) => self.numeric.find(number, out),
            Seen::String(text) => {
                let bytes = text.as_bytes();
                // Wildcards are found by a part of them only.
                self.prefixes.prefixes(bytes, |id| {
                    if holds(id) {
                        out.push(id);
                    }
                });
                self.suffixes.suffixes(bytes, |id| {
                    if holds(id) {
                        out.push(id);
                    }
                });
                // A folding can be a third of the length of what it stands for, or the other way round.
                if !self.ignoring_case.is_empty() && text.len() <= 3 * self.longest_folded {
                    let folded: String = text.chars().map(fold).collect();
                    out.extend(self.ignoring_case.get(folded.as_str()).copied());
                }
                if !self.lengths.is_empty()
                    && let Some(address) = parse_address(text)
                {
                    for &(v6, length) in &self.lengths {
                        if v6 == address.is_ipv6() {
                            let (_, bits) = leading_bits(address, length);
                            out.extend(self.blocks.get(&(v6, length, bits)).copied());
                        }
                    }
                }
            }
            Seen::Null | Seen::Bool(_) => {}
        }
    }
}

/// The first `length` bits of an address, and whether it is IPv6.
fn leading_bits(address: IpAddr, length: u8) -> (bool, u128) {
    match address {
        IpAddr::V4(address) => (
            false,
            u128::from(address.to_bits().checked_shr(32 - u32::from(length.min(32))).unwrap_or_default()),
        ),
        IpAddr::V6(address) => {
            (true, address.to_bits().checked_shr(128 - u32::from(length.min(128))).unwrap_or_default())
        }
    }
}
