//! Numbers by which the parts of a table name fields and predicates to each other.

use smallvec::SmallVec;

/// Number of a field: an index into [`Fields`](super::message::fields::Fields).
pub(crate) type FieldId = u32;

/// Number of a predicate: the position of its record, or [`OTHER`] and that among others.
pub(crate) type PredicateId = u32;

/// The bit in the number of any predicate but equality.
pub(crate) const OTHER: PredicateId = 1 << 31;

/// Predicates that hold for a message.
pub(crate) type Holding = SmallVec<[PredicateId; 16]>;

/// An index or a length as it is stored; 2³² − 1, where nothing is, for what does not fit.
pub(crate) fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
