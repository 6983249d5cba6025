//! The predicates of a set of rules, each numbered once together with the field it is for.
//!
//! Values to be equal to are by far the most common predicate, and a set may have hundreds of thousands of them. They
//! take a fixed entry, the bytes of the value, and a slot in one hash table that answers "which predicate asks for this
//! value at this field". The hash has a random seed: no document can be made to collide.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use smallvec::SmallVec;

use super::fields::FieldId;
use super::index::Below;
use super::narrow;
use super::slots::Slots;
use super::view;
use crate::json::Kind;
use crate::pattern::{Decimal, Predicate, Scalar, quote};

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
    /// What the index has below it at the top.
    below: Below,
}

/// Interned predicates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Predicates {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    values: Slots,
    others: Vec<Predicate>,
    other_ids: HashTable<PredicateId>,
    hasher: RandomState,
    /// By field, the length of the longest string that some predicate wants there; `None` where there is no equality.
    longest: Vec<Option<u32>>,
}

type Key = SmallVec<[u8; 32]>;

/// A search for a value that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    hash: u64,
    may_be: bool,
}

/// What it takes to evaluate a predicate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Test<'p> {
    Equality(FieldId, Value<'p>),
    Other(FieldId, &'p Predicate),
}

/// A value to be equal to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'p> {
    sort: Sort,
    bytes: &'p [u8],
}

impl Value<'_> {
    /// Whether a scalar is this value.
    #[inline]
    pub(crate) fn is(&self, seen: &view::Entry<'_>) -> bool {
        let mut key = Key::new();
        match (self.sort, seen.kind) {
            (Sort::String, Kind::String) => seen.text.as_bytes() == self.bytes,
            (Sort::Null, Kind::Null) | (Sort::False, Kind::False) | (Sort::True, Kind::True) => true,
            (Sort::Number, Kind::Number) => {
                canonical(seen, &mut key).is_some_and(|(_, bytes)| bytes == self.bytes)
            }
            _ => false,
        }
    }
}

impl Predicates {
    /// Has room for about as many predicates as so many rules have.
    pub(crate) fn reserve(&mut self, rules: usize) {
        self.entries.reserve(rules.saturating_mul(2));
        self.bytes.reserve(rules.saturating_mul(32));
        self.others.reserve(rules);
        self.values.reserve(rules);
    }

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
        self.intern_value(field, sort, value)
    }

    /// The number here of a predicate of another set, whose field has this number here.
    pub(crate) fn adopt(&mut self, other: &Self, id: PredicateId, field: FieldId) -> PredicateId {
        match other.get(id) {
            Some(Test::Equality(_, value)) => self.intern_value(field, value.sort, value.bytes),
            Some(Test::Other(_, predicate)) => self.intern_other(field, predicate),
            None => PredicateId::MAX,
        }
    }

    fn intern_value(&mut self, field: FieldId, sort: Sort, value: &[u8]) -> PredicateId {
        if let Some(found) = self.find(field, sort, value) {
            return found;
        }
        let id = self.next_id();
        let start = narrow(self.bytes.len());
        self.bytes.extend_from_slice(value);
        self.entries.push(Entry { field, start, length: narrow(value.len()), sort, below: Below::NOTHING });
        let hash = hash(&self.hasher, field, sort, value);
        self.values.insert(hash, id, |id| Self::rehash(&self.entries, &self.bytes, &self.hasher, id));
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
        let start = narrow(self.others.len());
        self.entries.push(Entry { field, start, length: 0, sort: Sort::Other, below: Below::NOTHING });
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
        self.values.find(hash, |id| self.is(id, field, sort, value))
    }

    #[inline]
    fn is(&self, id: PredicateId, field: FieldId, sort: Sort, value: &[u8]) -> bool {
        self.entries.get(id as usize).is_some_and(|entry| {
            entry.field == field && entry.sort == sort && slice(&self.bytes, entry) == value
        })
    }

    /// The predicate that asks for exactly this value at its field.
    #[inline]
    pub(crate) fn equal_to(&self, seen: &view::Entry<'_>) -> Option<PredicateId> {
        self.found(seen, &self.look_for(seen)?)
    }

    /// Begins to look for the predicate that asks for exactly this value at its field; [`Self::found`] ends it.
    #[inline]
    pub(crate) fn look_for(&self, seen: &view::Entry<'_>) -> Option<Look> {
        let longest = (*self.longest.get(seen.field as usize)?)?;
        let mut key = Key::new();
        let (sort, value) = canonical(seen, &mut key)?;
        if sort == Sort::String && value.len() > longest as usize {
            return None;
        }
        let hash = hash(&self.hasher, seen.field, sort, value);
        Some(Look { hash, may_be: self.values.may_have(hash) })
    }

    /// What was looked for.
    #[inline]
    pub(crate) fn found(&self, seen: &view::Entry<'_>, look: &Look) -> Option<PredicateId> {
        if !look.may_be {
            return None;
        }
        let mut key = Key::new();
        let (sort, value) = canonical(seen, &mut key)?;
        self.values.find(look.hash, |id| self.is(id, seen.field, sort, value))
    }

    /// A predicate, in the way in which it is evaluated.
    #[inline]
    pub(crate) fn get(&self, id: PredicateId) -> Option<Test<'_>> {
        let entry = self.entries.get(id as usize)?;
        Some(match entry.sort {
            Sort::Other => Test::Other(entry.field, self.others.get(entry.start as usize)?),
            sort => Test::Equality(entry.field, Value { sort, bytes: slice(&self.bytes, entry) }),
        })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
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

    /// What the index has below a predicate at the top.
    #[inline]
    pub(crate) fn below(&self, id: PredicateId) -> Below {
        self.entries.get(id as usize).map_or(Below::NOTHING, |entry| entry.below)
    }

    /// Sets what the index has below a predicate at the top.
    pub(crate) fn set_below(&mut self, id: PredicateId, below: Below) {
        if let Some(entry) = self.entries.get_mut(id as usize) {
            entry.below = below;
        }
    }

    /// How dear it is to find out whether a predicate holds by way of an index, and how likely it will: 0 to 4.
    pub(crate) fn price(&self, id: PredicateId) -> u8 {
        match self.other(id) {
            None => 0,
            Some(Predicate::EqualsIgnoreCase(_) | Predicate::Cidr(_)) => 1,
            Some(Predicate::Prefix(_) | Predicate::Suffix(_) | Predicate::Wildcard(_)) => 2,
            Some(Predicate::Numeric(_)) => 3,
            Some(_) => 4,
        }
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

#[inline]
fn hash(hasher: &RandomState, field: FieldId, sort: Sort, value: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(value);
    state.write_u32(field << 3 | sort as u32);
    state.finish()
}

/// A scalar as equalities know it; a number's text is written to `key`. `None` for an object or an array.
#[inline]
fn canonical<'s>(seen: &'s view::Entry<'_>, key: &'s mut Key) -> Option<(Sort, &'s [u8])> {
    Some(match seen.kind {
        Kind::Null => (Sort::Null, &[]),
        Kind::False => (Sort::False, &[]),
        Kind::True => (Sort::True, &[]),
        Kind::Number => {
            Decimal::parse(seen.text)?.key(key);
            (Sort::Number, key)
        }
        Kind::String | Kind::EscapedString => (Sort::String, seen.text.as_bytes()),
        Kind::Object | Kind::Array => return None,
    })
}
