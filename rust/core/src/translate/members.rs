//! The members of one JSON object, taken one by one, so that what nobody has taken is known at the end.

use std::fmt;

use serde_json::{Map, Number, Value};

use super::Losses;

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The path from the document's root, such as `messages[0].content`; empty for the document.
    pub at: String,
    /// What is wrong there, to be read after the path.
    pub message: String,
}

impl Fault {
    pub(super) fn new(at: &str, message: &str) -> Self {
        Self { at: at.to_owned(), message: message.to_owned() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            write!(f, "the body {}", self.message)
        } else {
            write!(f, "`{}` {}", self.at, self.message)
        }
    }
}

/// The members of an object that are still to be taken.
#[derive(Debug)]
pub(super) struct Members {
    at: String,
    left: Map<String, Value>,
}

impl Members {
    /// Those of an object at a path.
    pub(super) fn of(value: Value, at: &str) -> Result<Self, Fault> {
        match value {
            Value::Object(left) => Ok(Self { at: at.to_owned(), left }),
            _ => Err(Fault::new(at, "must be an object")),
        }
    }

    /// The path of the object.
    pub(super) fn at(&self) -> &str {
        &self.at
    }

    /// The path of a member.
    pub(super) fn path(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }

    /// Takes a member. `null` is the same as its absence.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.left.shift_remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn string(&mut self, name: &str) -> Result<Option<String>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Fault::new(&self.path(name), "must be a string")),
        }
    }

    pub(super) fn required_string(&mut self, name: &str) -> Result<String, Fault> {
        self.string(name)?.ok_or_else(|| Fault::new(&self.path(name), "is missing: it must be a string"))
    }

    pub(super) fn boolean(&mut self, name: &str) -> Result<Option<bool>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(_) => Err(Fault::new(&self.path(name), "must be true or false")),
        }
    }

    /// A whole number of at least 0.
    pub(super) fn count(&mut self, name: &str) -> Result<Option<u64>, Fault> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let found = value.as_u64().map(Some);
        found.ok_or_else(|| Fault::new(&self.path(name), "must be a whole number that is not negative"))
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<Number>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(_) => Err(Fault::new(&self.path(name), "must be a number")),
        }
    }

    /// The elements of a list, each with its path; none where there is no list.
    pub(super) fn list(&mut self, name: &str) -> Result<Vec<(String, Value)>, Fault> {
        let at = self.path(name);
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(list) => elements(list, &at),
        }
    }

    pub(super) fn object(&mut self, name: &str) -> Result<Option<Self>, Fault> {
        let at = self.path(name);
        self.take(name).map(|value| Self::of(value, &at)).transpose()
    }

    /// What is left, for formats that know more of it.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.left.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }

    /// Nobody carries what is left.
    pub(super) fn lose(self, losses: &mut Losses) {
        for (name, value) in &self.left {
            if !value.is_null() {
                losses.lose(&self.path(name));
            }
        }
    }
}

/// The elements of a list, each with its path.
pub(super) fn elements(value: Value, at: &str) -> Result<Vec<(String, Value)>, Fault> {
    match value {
        Value::Array(list) => {
            Ok(list.into_iter().enumerate().map(|(index, each)| (format!("{at}[{index}]"), each)).collect())
        }
        _ => Err(Fault::new(at, "must be a list")),
    }
}
