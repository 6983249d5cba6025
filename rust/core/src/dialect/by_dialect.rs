//! Something for each dialect.

use super::Dialect;

/// A value for each dialect.
#[derive(Clone, Debug)]
pub struct ByDialect<T>([T; Dialect::ALL.len()]);

impl<T> ByDialect<T> {
    /// Makes each dialect's value.
    pub fn new(make: impl FnMut(Dialect) -> T) -> Self {
        Self(Dialect::ALL.map(make))
    }

    /// The value of a dialect.
    #[must_use]
    pub fn of(&self, dialect: Dialect) -> &T {
        let [first, ..] = &self.0;
        self.0.get(dialect as usize).unwrap_or(first)
    }
}
