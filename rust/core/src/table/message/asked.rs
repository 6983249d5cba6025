//! Values of a message that a table is asked for beside its routes.

use super::view::View;
use crate::json::Kind;
use crate::table::ids::FieldId;

/// The values at the fields that [`RouteTable::compile_asking`](crate::table::RouteTable::compile_asking) was given.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    view: &'a View<'a>,
    fields: &'a [FieldId],
}

impl<'a> Asked<'a> {
    pub(crate) fn new(view: &'a View<'a>, fields: &'a [FieldId]) -> Self {
        Self { view, fields }
    }

    /// The first value at the field of this position, where that is a string (what it stands for), a number or a Boolean
    /// (their JSON text).
    #[must_use]
    pub fn value(&self, position: usize) -> Option<&'a str> {
        let field = *self.fields.get(position)?;
        let mut first = None;
        self.view.any(field, |entry| {
            first = Some(*entry);
            true
        });
        first.filter(|entry| entry.is_scalar() && entry.kind != Kind::Null).map(|entry| entry.text)
    }
}
