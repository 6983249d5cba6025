//! Numbers of fields and predicates, used by all parts of a table.

use smallvec::SmallVec;

/// Number of a field: its index in [`Fields`](super::message::fields::Fields).
pub(crate) type FieldId = u32;

/// Number of a predicate. For an equality, its position among the equalities; for any other predicate, [`OTHER`] plus its
/// position among the others.
pub(crate) type PredicateId = u32;

/// The bit that marks all predicates except equalities.
pub(crate) const OTHER: PredicateId = 1 << 31;

/// Predicates that hold for a message.
pub(crate) type Holding = SmallVec<[PredicateId; 16]>;

/// An index or a length as stored. A value that does not fit becomes 2³² − 1, a position that is never used.
pub(crate) fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
