//! Reads a message, checks it against its dialect, and gives patterns its values by field.

pub(crate) mod asked;
pub(crate) mod error;
pub(crate) mod fields;
pub(crate) mod layout;
pub(crate) mod read;
pub(crate) mod view;
pub(crate) mod workspace;
