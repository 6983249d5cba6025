//! Small helpers for text: decimal digits, and the name that somebody probably meant.

pub(crate) mod digits;
pub(crate) mod near;
