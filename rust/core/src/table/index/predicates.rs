//! The predicates of a set of rules, each numbered once together with the field it is for.
//!
//! Values to be equal to are by far the most common predicate, and a set may have hundreds of thousands of them. All that
//! a message which has such a value needs to know of it is one [`Record`], a line of the processor's cache: the value, what
//! is below it in the index and, where that is one rule that is short, the rule. With more rules than caches hold, each
//! other place in memory that has to be looked at, after what was found in the last one, costs as much as reading some
//! hundred bytes of the message.
//!
//! Records are ordered by a hash of what they are found by, which has a random seed: no document can be made to collide.

use std::borrow::Cow;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::intern::{Others, hash};
use super::tree::Below;
use crate::json::Kind;
use crate::pattern::{Decimal, Predicate, Seen, in_order, quote};
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

/// How long the values are that are in their records.
const SHORT: usize = 15;
/// As its length, that a value is longer.
const LONG: u8 = 31;
/// How many numbers of a rule there is room for in a record.
const RULE: usize = 8;

/// A value to be equal to, and what that leads to.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Record {
    /// The value; of a longer one, where it begins among those, and its length.
    value: [u8; SHORT],
    /// Its length, or [`LONG`], and in the upper three bits its kind.
    what: u8,
    field: FieldId,
    leads_to: Leads,
}

/// What the index has below a predicate at the top.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))]
struct Leads {
    below: Below,
    /// If that is a short rule, a copy of it, see [`Program`](super::program::Program); else zeros.
    rule: [u32; RULE],
    /// If that is a rule, its handle; else 0.
    handle: usize,
}

const _: () = assert!(size_of::<Record>() == 64);

/// Any predicate but equality.
#[derive(Clone, Debug)]
pub(super) struct Other {
    pub(super) field: FieldId,
    pub(super) predicate: Predicate,
}

const _: () = assert!(size_of::<Other>() == 40);

/// What the index has below any predicate but equality: apart from that, at which nobody looks who was told that it holds.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Lead {
    leads_to: Leads,
    field: FieldId,
    tail: WildcardTail,
}

const _: () = assert!(size_of::<Lead>() == 64);

/// A short wildcard, but for the literal before its first star: of texts that are known to begin with that, this says which
/// match, without a look at the wildcard itself.
#[derive(Clone, Copy, Debug, Default)]
struct WildcardTail {
    /// 0: it is none.
    length: u8,
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

    /// Whether a text matches, which begins as it should; `None` where that is not said here.
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
    /// The values that are not in their records.
    long: Vec<u8>,
    /// Where each record is.
    order: HashOrder,
    others: Others,
    /// By number among the others.
    leads: Vec<Lead>,
    hasher: RandomState,
    /// By field, the length of the longest string that some predicate wants there; `None` where there is no equality.
    longest: Vec<Option<u32>>,
    /// By record, how many values were asked for before.
    ages: Vec<u32>,
}

pub(super) type Key = SmallVec<[u8; 32]>;

/// What it takes to evaluate a predicate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Test<'p> {
    Equality(FieldId, Value<'p>),
    Other(FieldId, &'p Predicate),
}

/// A value to be equal to.
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
    /// Of a value at a field; a long one is appended to those.
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

    /// Under the seed by which records are ordered.
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

    /// The number of any predicate but equality at a field, a new one if it has none yet.
    pub(crate) fn intern_other(&mut self, field: FieldId, predicate: &Predicate) -> PredicateId {
        self.others.intern(field, predicate)
    }

    /// The predicate that asks for exactly this value at its field.
    #[inline]
    pub(crate) fn equal_to(&self, seen: &view::Entry<'_>) -> Option<PredicateId> {
        self.end(seen, self.begin(seen)?)
    }

    /// Begins to look for the predicate that asks for exactly this value at its field, which [`Self::end`] goes on with.
    /// `None` where there is no such predicate.
    #[allow(clippy::inline_always)] // Of its two callers one is a loop, in which a call is a tenth of it.
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

    /// Ends a search for this value.
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

    /// Asks for the memory that is needed if a predicate holds: what its rule's handle points to.
    #[inline]
    pub(crate) fn prefetch(&self, id: PredicateId) {
        prefetch_handle(self.handle(id));
    }

    /// A predicate, in the way in which it is evaluated.
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
        // That of an equality is too small.
        self.others.list.get((id ^ OTHER) as usize)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.records.len() + self.others.list.len()
    }

    /// The numbers of all.
    pub(crate) fn ids(&self) -> impl Iterator<Item = PredicateId> {
        let others = (OTHER..).take(self.others.list.len());
        (0..).take(self.records.len()).chain(others)
    }

    /// The position of a predicate in a list of all, the others being behind the equalities.
    pub(crate) fn position(&self, id: PredicateId) -> usize {
        if self.is_equality(id) { id as usize } else { self.records.len() + (id ^ OTHER) as usize }
    }

    /// The field that a predicate is for.
    #[inline]
    pub(crate) fn field(&self, id: PredicateId) -> FieldId {
        match (self.records.get(id as usize), self.leads.get((id ^ OTHER) as usize)) {
            (Some(record), _) => record.field,
            (None, Some(lead)) => lead.field,
            (None, None) => self.other_at(id).map_or(FieldId::MAX, |other| other.field),
        }
    }

    /// Whether a predicate asks for one value.
    #[inline]
    #[expect(clippy::unused_self)] // Nobody else knows how they are numbered.
    pub(crate) fn is_equality(&self, id: PredicateId) -> bool {
        id & OTHER == 0
    }

    /// A predicate that asks for something else than one value.
    pub(crate) fn other(&self, id: PredicateId) -> Option<&Predicate> {
        self.other_at(id).map(|other| &other.predicate)
    }

    /// Whether a predicate that asks for something else than one value holds for a string, which is known to begin with what
    /// it wants at the beginning.
    #[inline]
    pub(crate) fn goes_on(&self, id: PredicateId, text: &str) -> bool {
        let said = self.leads.get((id ^ OTHER) as usize).and_then(|lead| lead.tail.matches(text.as_bytes()));
        said.unwrap_or_else(|| {
            let seen = Seen::String(Cow::Borrowed(text));
            self.other(id).is_some_and(|predicate| predicate.matches(&seen))
        })
    }

    /// The handle of the rule that is all there is below a predicate at the top, if it is at hand; or 0.
    #[inline]
    pub(crate) fn handle(&self, id: PredicateId) -> usize {
        self.leads_to(id).map_or(0, |leads_to| leads_to.handle)
    }

    /// Sets handles, by what is below.
    pub(crate) fn set_handles(&mut self, handle: impl Fn(Below) -> usize) {
        let records = self.records.iter_mut().map(|record| &mut record.leads_to);
        for leads_to in records.chain(self.leads.iter_mut().map(|lead| &mut lead.leads_to)) {
            leads_to.handle = handle(leads_to.below);
        }
    }

    /// What the index has below a predicate at the top.
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

    /// Sets what the index has below a predicate at the top: if one rule, its `code`.
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

    /// The rule that is below a predicate at the top, if it is at hand; or zeros.
    #[inline]
    pub(crate) fn rule(&self, id: PredicateId) -> &[u32] {
        self.leads_to(id).map_or(&[], |leads_to| &leads_to.rule)
    }

    /// How much it costs to find out whether a predicate holds by way of an index, and how likely it will: 0 to 4.
    pub(crate) fn price(&self, id: PredicateId) -> u8 {
        match self.other(id) {
            None => 0,
            Some(Predicate::EqualsIgnoreCase(_) | Predicate::Cidr(_)) => 1,
            Some(Predicate::Prefix(_) | Predicate::Suffix(_) | Predicate::Wildcard(_)) => 2,
            Some(Predicate::Numeric(_)) => 3,
            Some(_) => 4,
        }
    }

    /// Some predicates in the order in which they were asked for first: equalities, then others.
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

    /// Gives back what only compiling needed.
    pub(crate) fn finish(&mut self) {
        self.others.finish();
        self.long.shrink_to_fit();
    }
}

/// A scalar as equalities know it; a number's text is written to `key`. `None` for an object or an array.
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
