//! A pattern as its author wrote it, before it is parsed.

/// A JSON-like tree. Numbers keep their text, so that a pattern loses no precision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number in JSON's grammar, or in that of a decimal literal (`1E+3`).
    Number(String),
    /// A string.
    String(String),
    /// A list.
    List(Vec<Value>),
    /// A mapping, in the order written. The reader ensures that keys are unique.
    Map(Vec<(String, Value)>),
    /// A value that the host could not read and has reported. Parsing reports no problem in it.
    Unknown,
}

impl Value {
    /// The name of this kind of value in error messages.
    #[must_use]
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
            Self::Unknown => "something unknown",
        }
    }

    /// What a mapping has at a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

/// One step of the path from the root of a pattern to a place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A key of a mapping.
    Key(String),
    /// A position in a list, from 0.
    Index(usize),
}
