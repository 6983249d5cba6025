//! Data structures that find predicates by a value: strings by a prefix or a literal inside, numbers by ranges, addresses by
//! blocks. They know nothing of rules.

pub(crate) mod affix;
pub(crate) mod blocks;
pub(crate) mod by_length;
pub(crate) mod hash_order;
pub(crate) mod inner;
pub(crate) mod interval;
mod levels;
pub(crate) mod prefetch;
pub(crate) mod slots;
mod sorted;
