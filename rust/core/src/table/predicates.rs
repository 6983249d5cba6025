//! The predicates of a set of rules, each numbered once together with the field it is for.
//!
//! Values to be equal to are by far the most common predicate, and a set may have hundreds of thousands of them. They
//! take a fixed entry, the bytes of the value, and a slot in one hash table that answers "which predicate asks for this
//! value at this field". The hash has a random seed: no document can be made to collide.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use smallvec::SmallVec;

use super::fields::FieldId;
use super::view::View;
use crate::pattern::{Decimal, Predicate, Scalar, Seen, quote};

/// Number of a predicate: an index into [`Predicates`].
pub(crate) type PredicateId = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Null,
    False,
    True,
    Number,
    String,
    /// Anything but equality.
    Other,
}

#[derive(Clone, Debug)]
struct Entry {
    field: FieldId,
    /// Where the value is in `bytes`; of other predicates, the position in `others`.
    start: u32,
    length: u32,
    sort: Sort,
}

/// Interned predicates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Predicates {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    values: HashTable<(u32, PredicateId)>,
    others: Vec<Predicate>,
    other_ids: HashTable<PredicateId>,
    hasher: RandomState,
    /// By field, the length of the longest string that some predicate wants there; `None` where there is no equality.
    longest: Vec<Option<u32>>,
}

type Key = SmallVec<[u8; 32]>;

impl Predicates {
    /// The number of a predicate at a field, a new one if it has none yet.
    pub(crate) fn intern(&mut self, field: FieldId, predicate: &Predicate) -> PredicateId {
        let Predicate::Equals(scalar) = predicate else { return self.intern_other(field, predicate) };
        let mut key = Key::new();
        let (sort, value): (Sort, &[u8]) = match scalar {
            Scalar::Null => (Sort::Null, &[]),
            Scalar::Bool(false) => (Sort::False, &[]),
            Scalar::Bool(true) => (Sort::True, &[]),
            Scalar::Number(number, _) => {
                number.key(&mut key);
                (Sort::Number, &key)
            }
            Scalar::String(text) => (Sort::String, text.as_bytes()),
        };
        if let Some(found) = self.find(field, sort, value) {
            return found;
        }
        let id = self.next_id();
        let start = narrow(self.bytes.len());
        self.bytes.extend_from_slice(value);
        self.entries.push(Entry { field, start, length: narrow(value.len()), sort });
        let hash = hash(&self.hasher, field, sort, value);
        let tag = tag(hash);
        self.values.insert_unique(hash, (tag, id), |(_, id)| {
            Self::rehash(&self.entries, &self.bytes, &self.hasher, *id)
        });
        let index = field as usize;
        if self.longest.len() <= index {
            self.longest.resize(index + 1, None);
        }
        if let Some(longest) = self.longest.get_mut(index) {
            let length = if sort == Sort::String { narrow(value.len()) } else { 0 };
            *longest = Some(longest.unwrap_or_default().max(length));
        }
        id
    }

    fn intern_other(&mut self, field: FieldId, predicate: &Predicate) -> PredicateId {
        let (entries, others) = (&self.entries, &self.others);
        let of = |id: PredicateId| {
            let entry = entries.get(id as usize)?;
            Some((entry.field, others.get(entry.start as usize)?))
        };
        let hash = self.hasher.hash_one((field, predicate));
        if let Some(found) = self.other_ids.find(hash, |id| of(*id) == Some((field, predicate))) {
            return *found;
        }
        let id = narrow(entries.len());
        self.other_ids.insert_unique(hash, id, |id| of(*id).map_or(0, |key| self.hasher.hash_one(key)));
        self.entries.push(Entry { field, start: narrow(self.others.len()), length: 0, sort: Sort::Other });
        self.others.push(predicate.clone());
        id
    }

    fn next_id(&self) -> PredicateId {
        narrow(self.entries.len())
    }

    fn rehash(entries: &[Entry], bytes: &[u8], hasher: &RandomState, id: PredicateId) -> u64 {
        entries.get(id as usize).map_or(0, |entry| hash(hasher, entry.field, entry.sort, slice(bytes, entry)))
    }

    fn find(&self, field: FieldId, sort: Sort, value: &[u8]) -> Option<PredicateId> {
        let hash = hash(&self.hasher, field, sort, value);
        let wanted = tag(hash);
        let same = |&(tag, id): &(u32, PredicateId)| {
            tag == wanted
                && self.entries.get(id as usize).is_some_and(|entry| {
                    entry.field == field && entry.sort == sort && slice(&self.bytes, entry) == value
                })
        };
        self.values.find(hash, same).map(|(_, id)| *id)
    }

    /// The predicate that asks for exactly this value at this field.
    fn equal_to(&self, field: FieldId, seen: &Seen<'_>) -> Option<PredicateId> {
        let longest = (*self.longest.get(field as usize)?)?;
        match seen {
            Seen::Null => self.find(field, Sort::Null, &[]),
            Seen::Bool(false) => self.find(field, Sort::False, &[]),
            Seen::Bool(true) => self.find(field, Sort::True, &[]),
            Seen::Number(number) => {
                let mut key = Key::new();
                number.key(&mut key);
                self.find(field, Sort::Number, &key)
            }
            Seen::String(text) if text.len() <= longest as usize => {
                self.find(field, Sort::String, text.as_bytes())
            }
            Seen::String(_) => None,
        }
    }

    /// The field that a predicate is for.
    pub(crate) fn field(&self, id: PredicateId) -> FieldId {
        self.entries.get(id as usize).map_or(FieldId::MAX, |entry| entry.field)
    }

    /// Whether a predicate asks for one value.
    pub(crate) fn is_equality(&self, id: PredicateId) -> bool {
        self.entries.get(id as usize).is_some_and(|entry| entry.sort != Sort::Other)
    }

    /// A predicate that asks for something else than one value.
    pub(crate) fn other(&self, id: PredicateId) -> Option<&Predicate> {
        let entry = self.entries.get(id as usize).filter(|entry| entry.sort == Sort::Other)?;
        self.others.get(entry.start as usize)
    }

    /// A predicate in words.
    pub(crate) fn describe(&self, id: PredicateId) -> String {
        let Some(entry) = self.entries.get(id as usize) else { return String::new() };
        let value = slice(&self.bytes, entry);
        match entry.sort {
            Sort::Null => "null".to_owned(),
            Sort::False => "false".to_owned(),
            Sort::True => "true".to_owned(),
            Sort::Number => Decimal::from_key(value).map_or_else(String::new, |number| number.to_string()),
            Sort::String => {
                let mut out = String::new();
                // Writing to a String cannot fail.
                let _ = quote(std::str::from_utf8(value).unwrap_or_default(), &mut out);
                out
            }
            Sort::Other => self.other(id).map_or_else(String::new, ToString::to_string),
        }
    }

    /// Gives back what only compiling needed.
    pub(crate) fn finish(&mut self) {
        self.other_ids = HashTable::new();
        self.entries.shrink_to_fit();
        self.bytes.shrink_to_fit();
        self.others.shrink_to_fit();
    }
}

fn slice<'b>(bytes: &'b [u8], entry: &Entry) -> &'b [u8] {
    let start = entry.start as usize;
    bytes.get(start..start + entry.length as usize).unwrap_or_default()
}

fn hash(hasher: &RandomState, field: FieldId, sort: Sort, value: &[u8]) -> u64 {
    hasher.hash_one((field, sort as u8, value))
}

/// Bits of a hash that the table does not use to find the slot: most unequal values are told apart without reading them.
fn tag(hash: u64) -> u32 {
    u32::try_from((hash >> 24) & u64::from(u32::MAX)).unwrap_or_default()
}

fn narrow(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Which predicates hold for one message: equalities are looked up once, the others are evaluated when asked for.
#[derive(Debug)]
pub(crate) struct Facts<'v, 'a> {
    pub(crate) view: &'v View<'a>,
    pub(crate) predicates: &'v Predicates,
    /// Equalities that hold, ascending, none twice.
    equal: SmallVec<[PredicateId; 32]>,
}

impl<'v, 'a> Facts<'v, 'a> {
    pub(crate) fn new(view: &'v View<'a>, predicates: &'v Predicates) -> Self {
        let mut equal: SmallVec<[PredicateId; 32]> =
            view.all_scalars().filter_map(|(field, seen)| predicates.equal_to(field, &seen)).collect();
        equal.sort_unstable();
        equal.dedup();
        Self { view, predicates, equal }
    }

    /// The equalities that hold.
    pub(crate) fn equalities(&self) -> &[PredicateId] {
        &self.equal
    }

    /// Whether any scalar at its field satisfies a predicate, or its absence does.
    pub(crate) fn holds(&self, id: PredicateId) -> bool {
        match self.predicates.other(id) {
            None => self.equal.binary_search(&id).is_ok(),
            Some(predicate) => {
                let mut scalars = self.view.scalars(self.predicates.field(id));
                if predicate.wants_absence() {
                    return scalars.next().is_none();
                }
                scalars.any(|(_, seen)| predicate.matches(&seen))
            }
        }
    }

    /// Whether one of the predicates of a test holds: equalities come first there, ascending.
    pub(crate) fn any_holds(&self, test: &[PredicateId]) -> bool {
        const FEW: usize = 8;
        if test.len() <= FEW {
            return test.iter().any(|id| self.holds(*id));
        }
        let (equalities, others) = test.split_at(test.partition_point(|id| self.predicates.is_equality(*id)));
        self.equal.iter().any(|id| equalities.binary_search(id).is_ok())
            || others.iter().any(|id| self.holds(*id))
    }

    /// Whether one scalar satisfies one of the predicates of a test.
    pub(crate) fn any_accepts(&self, test: &[PredicateId], field: FieldId, seen: &Seen<'_>) -> bool {
        let (equalities, others) = test.split_at(test.partition_point(|id| self.predicates.is_equality(*id)));
        let equal = (!equalities.is_empty()).then(|| self.predicates.equal_to(field, seen)).flatten();
        equal.is_some_and(|id| equalities.binary_search(&id).is_ok())
            || others
                .iter()
                .filter_map(|id| self.predicates.other(*id))
                .any(|predicate| predicate.matches(seen))
    }
}
