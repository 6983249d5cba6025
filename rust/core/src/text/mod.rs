//! Text helpers: decimal digits, and suggestions for misspelt names.

pub(crate) mod digits;
pub(crate) mod near;
