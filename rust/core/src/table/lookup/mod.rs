//! Look-up tables that find predicates by a value: strings by prefixes or literals inside, numbers by ranges, addresses by
//! blocks. They do not know about rules.

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
