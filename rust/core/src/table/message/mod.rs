//! One message as patterns see it: read, checked against its dialect, and its values numbered by field.

pub(crate) mod asked;
pub(crate) mod fields;
pub(crate) mod layout;
pub(crate) mod read;
pub(crate) mod view;
pub(crate) mod workspace;
