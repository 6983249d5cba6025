//! The predicates of a set of rules. Each pair of field and predicate has one number.
//!
//! Equalities are by far the most common predicates; a set may have hundreds of thousands of them. A [`Record`] holds
//! everything about one equality in one cache line of 64 bytes: the value, its child in the index and, if that is one short
//! rule, the rule itself. This matters if there are more rules than the caches hold: then each further dependent memory access
//! costs as much as reading some hundred bytes of the message.
//!
//! Records are ordered by a hash of field and value. The hash has a random seed, so that no document can cause collisions.

use std::borrow::Cow;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::intern::{Others, hash};
use super::tree::Below;
use crate::json::Kind;
use crate::pattern::{Decimal, Predicate, Seen, Work, in_order, quote};
use crate::table::ids::{FieldId, OTHER, PredicateId, narrow};
use crate::table::lookup::hash_order::{HashOrder, Search};
use crate::table::lookup::prefetch::{prefetch, prefetch_handle};
use crate::table::message::view;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    Null,
    False,
    True,
    Number,
    String,
}

impl ValueKind {
    /// The upper bits of [`Record::what`].
    const fn bits(self) -> u8 {
        (self as u8) << 5
    }
}

/// The longest value that a record holds, in bytes.
const SHORT: usize = 15;
/// The stored length of a longer value.
const LONG: u8 = 31;
/// The longest rule that a record holds, in numbers of its code.
const RULE: usize = 8;

/// An equality, and its child in the index.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Record {
    /// The value; for a longer one, its start in `long` and its length.
    value: [u8; SHORT],
    /// The value's kind in the upper three bits; its length, or [`LONG`], in the lower five.
    what: u8,
    field: FieldId,
    leads_to: Leads,
}

/// The child of the index's root by one predicate.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))]
struct Leads {
    below: Below,
    /// A copy of the child's code if it is a short rule (see [`Program`](super::program::Program)); else zeros.
    rule: [u32; RULE],
    /// The child's handle if it is a rule; else 0.
    handle: usize,
}

const _: () = assert!(size_of::<Record>() == 64);

/// Any predicate except an equality.
#[derive(Clone, Debug)]
pub(super) struct Other {
    pub(super) field: FieldId,
    pub(super) predicate: Predicate,
}

const _: () = assert!(size_of::<Other>() == 40);

/// The child of the index's root by any predicate except an equality. It is stored apart from the predicate, because a
/// predicate that a look-up found is mostly not read.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Lead {
    leads_to: Leads,
    field: FieldId,
    tail: WildcardTail,
}

const _: () = assert!(size_of::<Lead>() == 64);

/// The part of a short wildcard from its first star on. It decides, without reading the wildcard itself, whether a text matches
/// that is known to begin with the literal before that star.
#[derive(Clone, Copy, Debug, Default)]
struct WildcardTail {
    /// Length of `bytes` in use; 0 if the predicate is not a short wildcard.
    length: u8,
    /// Length of the literal before the first star.
    head: u8,
    bytes: [u8; 14],
}

impl WildcardTail {
    fn of(predicate: &Predicate) -> Self {
        let mut out = Self::default();
        if let Predicate::Wildcard(wildcard) = predicate
            && let Some(tail) = wildcard.plain_tail()
            && let Some(bytes) = out.bytes.get_mut(..tail.len())
            && let (Ok(length), Ok(head)) = (u8::try_from(tail.len()), u8::try_from(wildcard.head().len()))
        {
            bytes.copy_from_slice(tail.as_bytes());
            (out.length, out.head) = (length, head);
        }
        out
    }

    /// Whether a text that begins with the wildcard's head matches; `None` if the predicate is not a short wildcard.
    #[inline]
    fn matches(&self, text: &[u8]) -> Option<bool> {
        let tail = self.bytes.get(..usize::from(self.length)).filter(|tail| !tail.is_empty())?;
        Some(in_order(tail.split(|byte| *byte == b'*'), text.get(usize::from(self.head)..)?))
    }
}

/// Interned predicates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Predicates {
    records: Vec<Record>,
    /// Values that are too long for their records, concatenated.
    long: Vec<u8>,
    /// Finds records by hash.
    order: HashOrder,
    others: Others,
    /// The children of `others`, in the same order.
    leads: Vec<Lead>,
    hasher: RandomState,
    /// Length of the longest string among the equalities of each field; `None` for a field without equalities.
    longest: Vec<Option<u32>>,
    /// The order in which the records' values were first used.
    ages: Vec<u32>,
}

pub(super) type Key = SmallVec<[u8; 32]>;

/// A predicate for evaluation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Test<'p> {
    Equality(FieldId, Value<'p>),
    Other(FieldId, &'p Predicate),
}

/// The value of an equality.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'p> {
    pub(super) kind: ValueKind,
    pub(super) bytes: &'p [u8],
}

impl Value<'_> {
    /// Whether a scalar is this value.
    #[inline]
    pub(crate) fn is(&self, seen: &view::Entry<'_>) -> bool {
        let mut key = Key::new();
        match (self.kind, seen.kind) {
            (ValueKind::String, Kind::String) => seen.text.as_bytes() == self.bytes,
            (ValueKind::Null, Kind::Null)
            | (ValueKind::False, Kind::False)
            | (ValueKind::True, Kind::True) => true,
            (ValueKind::Number, Kind::Number) => {
                canonical(seen, &mut key).is_some_and(|(_, bytes)| bytes == self.bytes)
            }
            _ => false,
        }
    }
}

impl Leads {
    const NOWHERE: Self = Self { below: Below::NOTHING, rule: [0; RULE], handle: 0 };

    fn to(below: Below, code: &[u32]) -> Self {
        let mut rule = [0; RULE];
        if code.len() <= RULE {
            rule.iter_mut().zip(code).for_each(|(to, from)| *to = *from);
        }
        Self { below, rule, handle: 0 }
    }
}

impl Other {
    pub(super) fn new(field: FieldId, predicate: Predicate) -> Self {
        Self { field, predicate }
    }
}

impl Record {
    /// Makes the record of a value. A long value is appended to `long`.
    pub(super) fn new(field: FieldId, kind: ValueKind, value: &[u8], long: &mut Vec<u8>) -> Self {
        let mut held = [0; SHORT];
        let length = match u8::try_from(value.len()) {
            Ok(length) if value.len() <= SHORT => {
                held.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
                length
            }
            _ => {
                let location =
                    [narrow(long.len()), narrow(value.len())].into_iter().flat_map(u32::to_le_bytes);
                held.iter_mut().zip(location).for_each(|(to, from)| *to = from);
                long.extend_from_slice(value);
                LONG
            }
        };
        Self { value: held, what: kind.bits() | length, field, leads_to: Leads::NOWHERE }
    }

    fn kind(&self) -> ValueKind {
        const KINDS: [ValueKind; 5] =
            [ValueKind::Null, ValueKind::False, ValueKind::True, ValueKind::Number, ValueKind::String];
        KINDS.get(usize::from(self.what >> 5)).copied().unwrap_or(ValueKind::Null)
    }

    #[inline]
    fn value<'p>(&'p self, long: &'p [u8]) -> &'p [u8] {
        if let Some(value) = self.value.get(..usize::from(self.what & 31)) {
            return value;
        }
        let [start, length] = [0, 4].map(|at| {
            let bytes = self.value.get(at..).and_then(<[u8]>::first_chunk);
            bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
        });
        long.get(start..start + length).unwrap_or_default()
    }

    /// The hash by which records are ordered.
    pub(super) fn hash(&self, hasher: &RandomState, long: &[u8]) -> u64 {
        hash(hasher, self.field, self.kind(), self.value(long))
    }

    #[inline]
    pub(super) fn is(&self, field: FieldId, kind: ValueKind, value: &[u8], long: &[u8]) -> bool {
        self.field == field && self.what & !31 == kind.bits() && self.value(long) == value
    }
}

impl Predicates {
    pub(super) fn new(
        records: Vec<Record>,
        ages: Vec<u32>,
        long: Vec<u8>,
        order: HashOrder,
        others: Others,
        hasher: RandomState,
    ) -> Self {
        let mut longest: Vec<Option<u32>> = Vec::new();
        for record in &records {
            let index = record.field as usize;
            if longest.len() <= index {
                longest.resize(index + 1, None);
            }
            if let Some(longest) = longest.get_mut(index) {
                let length =
                    if record.kind() == ValueKind::String { narrow(record.value(&long).len()) } else { 0 };
                *longest = Some(longest.unwrap_or_default().max(length));
            }
        }
        Self { records, long, order, others, leads: Vec::new(), hasher, longest, ages }
    }

    /// The number of a predicate that is not an equality. A new predicate gets a new number.
    pub(crate) fn intern_other(&mut self, field: FieldId, predicate: &Predicate) -> PredicateId {
        self.others.intern(field, predicate)
    }

    /// The equality that this value satisfies.
    #[inline]
    pub(crate) fn equal_to(&self, seen: &view::Entry<'_>) -> Option<PredicateId> {
        self.end(seen, self.begin(seen)?)
    }

    /// Begins to look up the equality that this value satisfies; [`Self::end`] completes the look-up. `None` if there is no
    /// such equality.
    #[allow(clippy::inline_always)] // In the loop of one caller, a call would be a tenth of the time.
    #[inline(always)]
    pub(crate) fn begin(&self, seen: &view::Entry<'_>) -> Option<Search> {
        let longest = (*self.longest.get(seen.field as usize)?)?;
        let mut key = Key::new();
        let (kind, value) = canonical(seen, &mut key)?;
        if kind == ValueKind::String && value.len() > longest as usize {
            return None;
        }
        let search = self.order.search(hash(&self.hasher, seen.field, kind, value))?;
        if let Some(record) = self.records.get(search.likely()) {
            prefetch(record);
        }
        Some(search)
    }

    /// Completes the look-up of this value.
    #[inline]
    pub(crate) fn end(&self, seen: &view::Entry<'_>, search: Search) -> Option<PredicateId> {
        let mut key = Key::new();
        let (kind, value) = canonical(seen, &mut key)?;
        let found = self.order.find(search, |position| {
            let record = self.records.get(position as usize);
            record.is_some_and(|record| record.is(seen.field, kind, value, &self.long))
        })?;
        self.prefetch(found);
        Some(found)
    }

    /// Prefetches the data that the handle of a predicate's rule points to.
    #[inline]
    pub(crate) fn prefetch(&self, id: PredicateId) {
        prefetch_handle(self.handle(id));
    }

    /// A predicate for evaluation.
    #[inline]
    pub(crate) fn get(&self, id: PredicateId) -> Option<Test<'_>> {
        if id & OTHER != 0 {
            return self.other_at(id).map(|other| Test::Other(other.field, &other.predicate));
        }
        let record = self.records.get(id as usize)?;
        Some(Test::Equality(record.field, Value { kind: record.kind(), bytes: record.value(&self.long) }))
    }

    #[inline]
    fn other_at(&self, id: PredicateId) -> Option<&Other> {
        // For an equality the index is out of range.
        self.others.list.get((id ^ OTHER) as usize)
    }

    /// Number of predicates.
    pub(crate) fn len(&self) -> usize {
        self.records.len() + self.others.list.len()
    }

    /// The numbers of all predicates.
    pub(crate) fn ids(&self) -> impl Iterator<Item = PredicateId> {
        let others = (OTHER..).take(self.others.list.len());
        (0..).take(self.records.len()).chain(others)
    }

    /// The position of a predicate in a list of all, equalities first.
    pub(crate) fn position(&self, id: PredicateId) -> usize {
        if self.is_equality(id) { id as usize } else { self.records.len() + (id ^ OTHER) as usize }
    }

    /// The field of a predicate.
    #[inline]
    pub(crate) fn field(&self, id: PredicateId) -> FieldId {
        match (self.records.get(id as usize), self.leads.get((id ^ OTHER) as usize)) {
            (Some(record), _) => record.field,
            (None, Some(lead)) => lead.field,
            (None, None) => self.other_at(id).map_or(FieldId::MAX, |other| other.field),
        }
    }

    /// Whether a predicate is an equality.
    #[inline]
    #[expect(clippy::unused_self)] // The numbering is private to this type.
    pub(crate) fn is_equality(&self, id: PredicateId) -> bool {
        id & OTHER == 0
    }

    /// A predicate; `None` if it is an equality.
    pub(crate) fn other(&self, id: PredicateId) -> Option<&Predicate> {
        self.other_at(id).map(|other| &other.predicate)
    }

    /// Whether a predicate holds for a string that is known to begin with the predicate's literal. It must not be an equality.
    #[inline]
    pub(crate) fn goes_on(&self, id: PredicateId, text: &str, work: &Work) -> bool {
        let by_tail =
            self.leads.get((id ^ OTHER) as usize).and_then(|lead| lead.tail.matches(text.as_bytes()));
        by_tail.unwrap_or_else(|| {
            let seen = Seen::String(Cow::Borrowed(text));
            self.other(id).is_some_and(|predicate| predicate.matches_within(&seen, work))
        })
    }

    /// The handle of the single rule below a predicate of the root; 0 if there are others, or if none is at hand.
    #[inline]
    pub(crate) fn handle(&self, id: PredicateId) -> usize {
        self.leads_to(id).map_or(0, |leads_to| leads_to.handle)
    }

    /// Sets handles, by child.
    pub(crate) fn set_handles(&mut self, handle: impl Fn(Below) -> usize) {
        let records = self.records.iter_mut().map(|record| &mut record.leads_to);
        for leads_to in records.chain(self.leads.iter_mut().map(|lead| &mut lead.leads_to)) {
            leads_to.handle = handle(leads_to.below);
        }
    }

    /// The child of the index's root by a predicate.
    #[inline]
    pub(crate) fn below(&self, id: PredicateId) -> Below {
        self.leads_to(id).map_or(Below::NOTHING, |leads_to| leads_to.below)
    }

    #[inline]
    fn leads_to(&self, id: PredicateId) -> Option<&Leads> {
        match self.records.get(id as usize) {
            Some(record) => Some(&record.leads_to),
            None => self.leads.get((id ^ OTHER) as usize).map(|lead| &lead.leads_to),
        }
    }

    /// Sets the child of the index's root by a predicate. `code` is that of the rule, if the child is a rule.
    pub(crate) fn set_below(&mut self, id: PredicateId, below: Below, code: &[u32]) {
        if let Some(record) = self.records.get_mut(id as usize) {
            record.leads_to = Leads::to(below, code);
            return;
        }
        if self.leads.len() < self.others.list.len() {
            let missing = self.others.list.get(self.leads.len()..).unwrap_or_default();
            self.leads.reserve_exact(missing.len());
            let lead = |other: &Other| Lead {
                leads_to: Leads::NOWHERE,
                field: other.field,
                tail: WildcardTail::of(&other.predicate),
            };
            self.leads.extend(missing.iter().map(lead));
        }
        if let Some(lead) = self.leads.get_mut((id ^ OTHER) as usize) {
            lead.leads_to = Leads::to(below, code);
        }
    }

    /// The code of the single, short rule below a predicate of the root; otherwise empty or zeros.
    #[inline]
    pub(crate) fn rule(&self, id: PredicateId) -> &[u32] {
        self.leads_to(id).map_or(&[], |leads_to| &leads_to.rule)
    }

    /// A rank for predicates as guards, 0 to 4: lower ones are cheaper to look up, and less likely to hold.
    pub(crate) fn price(&self, id: PredicateId) -> u8 {
        match self.other(id) {
            None => 0,
            Some(Predicate::EqualsIgnoreCase(_) | Predicate::Cidr(_)) => 1,
            Some(Predicate::Prefix(_) | Predicate::Suffix(_) | Predicate::Wildcard(_)) => 2,
            Some(Predicate::Numeric(_)) => 3,
            Some(_) => 4,
        }
    }

    /// The predicates of a test in the order in which they were first used: equalities, then others.
    pub(crate) fn by_age(&self, test: &[PredicateId]) -> Vec<PredicateId> {
        let mut test = test.to_vec();
        test.sort_unstable_by_key(|id| self.ages.get(*id as usize).copied().unwrap_or(*id));
        test
    }

    /// A predicate in words.
    pub(crate) fn describe(&self, id: PredicateId) -> String {
        let Some(Test::Equality(_, Value { kind, bytes })) = self.get(id) else {
            return self.other(id).map_or_else(String::new, ToString::to_string);
        };
        match kind {
            ValueKind::Null => "null".to_owned(),
            ValueKind::False => "false".to_owned(),
            ValueKind::True => "true".to_owned(),
            ValueKind::Number => {
                Decimal::from_key(bytes).map_or_else(String::new, |number| number.to_string())
            }
            ValueKind::String => {
                let mut out = String::new();
                // Writing to a String cannot fail.
                let _ = quote(std::str::from_utf8(bytes).unwrap_or_default(), &mut out);
                out
            }
        }
    }

    /// Frees memory that only compiling needs.
    pub(crate) fn finish(&mut self) {
        self.others.finish();
        self.long.shrink_to_fit();
    }
}

/// A scalar's kind and canonical bytes. Those of a number are written to `key`. `None` for an object or an array.
#[inline]
fn canonical<'s>(seen: &'s view::Entry<'_>, key: &'s mut Key) -> Option<(ValueKind, &'s [u8])> {
    Some(match seen.kind {
        Kind::Null => (ValueKind::Null, &[]),
        Kind::False => (ValueKind::False, &[]),
        Kind::True => (ValueKind::True, &[]),
        Kind::Number => {
            Decimal::parse(seen.text)?.key(key);
            (ValueKind::Number, key)
        }
        Kind::String | Kind::EscapedString => (ValueKind::String, seen.text.as_bytes()),
        Kind::Object | Kind::Array => return None,
    })
}
