//! Collects the predicates of rules. Each pair of field and predicate gets one number.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::predicates::{Key, Other, Predicates, Record, Test, ValueKind};
use crate::pattern::{Predicate, Scalar};
use crate::table::ids::{FieldId, OTHER, PredicateId, narrow};
use crate::table::lookup::hash_order::HashOrder;
use crate::table::lookup::slots::Slots;

/// Collects predicates. Their numbers are preliminary.
#[derive(Clone, Debug, Default)]
pub(crate) struct Collected {
    records: Vec<Record>,
    /// Values that are too long for their records, concatenated.
    long: Vec<u8>,
    /// Positions in `records`, by hash.
    slots: Slots,
    others: Others,
    hasher: RandomState,
}

/// All predicates except equalities.
#[derive(Clone, Debug, Default)]
pub(crate) struct Others {
    pub(super) list: Vec<Other>,
    ids: HashTable<PredicateId>,
    hasher: RandomState,
}

impl Others {
    /// The number of a predicate of a field. A new predicate gets a new number.
    pub(super) fn intern(&mut self, field: FieldId, predicate: &Predicate) -> PredicateId {
        let list = &self.list;
        let of =
            |id: PredicateId| list.get((id & !OTHER) as usize).map(|other| (other.field, &other.predicate));
        let hash = self.hasher.hash_one((field, predicate));
        if let Some(found) = self.ids.find(hash, |id| of(*id) == Some((field, predicate))) {
            return *found;
        }
        let id = narrow(list.len()) | OTHER;
        self.ids.insert_unique(hash, id, |id| of(*id).map_or(0, |key| self.hasher.hash_one(key)));
        self.list.push(Other::new(field, predicate.clone()));
        id
    }

    /// Frees memory that only interning needs.
    pub(super) fn finish(&mut self) {
        self.ids = HashTable::new();
        self.list.shrink_to_fit();
    }
}

impl Collected {
    /// Reserves room for the predicates of about `rules` rules.
    pub(crate) fn reserve(&mut self, rules: usize) {
        self.records.reserve(rules.saturating_mul(2));
        self.others.list.reserve(rules / 4);
        self.slots.reserve(rules);
    }

    /// The number of a predicate of a field. A new predicate gets a new number.
    pub(crate) fn intern(&mut self, field: FieldId, predicate: &Predicate) -> PredicateId {
        let Predicate::Equals(scalar) = predicate else { return self.others.intern(field, predicate) };
        let mut key = Key::new();
        let (kind, value): (ValueKind, &[u8]) = match scalar {
            Scalar::Null => (ValueKind::Null, &[]),
            Scalar::Bool(false) => (ValueKind::False, &[]),
            Scalar::Bool(true) => (ValueKind::True, &[]),
            Scalar::Number(number) => {
                number.0.key(&mut key);
                (ValueKind::Number, &key)
            }
            Scalar::String(text) => (ValueKind::String, text.as_bytes()),
        };
        self.intern_value(field, kind, value)
    }

    /// Takes over a predicate of a finished set; `field` is its field in this set.
    pub(crate) fn adopt(&mut self, from: &Predicates, id: PredicateId, field: FieldId) -> PredicateId {
        match from.get(id) {
            Some(Test::Equality(_, value)) => self.intern_value(field, value.kind, value.bytes),
            Some(Test::Other(_, predicate)) => self.others.intern(field, predicate),
            None => PredicateId::MAX,
        }
    }

    fn intern_value(&mut self, field: FieldId, kind: ValueKind, value: &[u8]) -> PredicateId {
        let Self { records, long, slots, hasher, .. } = self;
        let new = hash(hasher, field, kind, value);
        let is = |id: u32| records.get(id as usize).is_some_and(|record| record.is(field, kind, value, long));
        if let Some(found) = slots.find(new, is) {
            return found;
        }
        let id = narrow(records.len());
        records.push(Record::new(field, kind, value, long));
        slots.insert(new, id, |id| records.get(id as usize).map_or(0, |record| record.hash(hasher, long)));
        id
    }

    /// Orders the predicates for look-ups. Also returns the final number of each equality, by its preliminary number; other
    /// predicates keep theirs.
    pub(crate) fn finish(self) -> (Predicates, Vec<PredicateId>) {
        let Self { mut records, long, slots, others, hasher } = self;
        drop(slots);
        let hashes: Vec<u64> = records.iter().map(|record| record.hash(&hasher, &long)).collect();
        let (order, ages) = HashOrder::build(&hashes);
        drop(hashes);
        let mut ids = vec![0; ages.len()];
        for (number, id) in ages.iter().zip(0..) {
            if let Some(new) = ids.get_mut(*number as usize) {
                *new = id;
            }
        }
        // Permute the records in place, because there may be many.
        let mut pending = ids.clone();
        for at in 0..pending.len() {
            while let Some(&to) = pending.get(at)
                && to as usize != at
            {
                pending.swap(at, to as usize);
                records.swap(at, to as usize);
            }
        }
        (Predicates::new(records, ages, long, order, others, hasher), ids)
    }
}

#[inline]
pub(super) fn hash(hasher: &RandomState, field: FieldId, kind: ValueKind, value: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(value);
    state.write_u32(field << 3 | kind as u32);
    state.finish()
}
