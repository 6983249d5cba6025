//! The envelope's attributes.

/// An attribute of the envelope. Its number is also its field's number in every route table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // The names say it; the README's table explains them.
pub enum Attribute {
    Id,
    Kind,
    Agent,
    Model,
    Tenant,
    Task,
    Tool,
    Content,
    Context,
    Priority,
    DeadlineMs,
    Labels,
    Topic,
    Stream,
}

/// What the names of header fields begin with that tell Waypost something.
pub const OWN_HEADERS: &str = "x-waypost-";

/// What an attribute's value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A string of 1 to 128 characters.
    Id,
    /// The name of a [`Kind`].
    Kind,
    /// Any string.
    String,
    /// Any JSON.
    Any,
    /// A list of objects, whose `type` and `ref` are strings where they are given.
    References,
    /// A whole number from 0 to 9.
    Priority,
    /// A whole number of milliseconds, from 1 to a day.
    Milliseconds,
    /// An object.
    Object,
    /// A boolean.
    Boolean,
}

impl Attribute {
    /// Every attribute, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::Id,
        Self::Kind,
        Self::Agent,
        Self::Model,
        Self::Tenant,
        Self::Task,
        Self::Tool,
        Self::Content,
        Self::Context,
        Self::Priority,
        Self::DeadlineMs,
        Self::Labels,
        Self::Topic,
        Self::Stream,
    ];

    /// Its name in the envelope and in patterns.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Kind => "kind",
            Self::Agent => "agent",
            Self::Model => "model",
            Self::Tenant => "tenant",
            Self::Task => "task",
            Self::Tool => "tool",
            Self::Content => "content",
            Self::Context => "context",
            Self::Priority => "priority",
            Self::DeadlineMs => "deadline_ms",
            Self::Labels => "labels",
            Self::Topic => "topic",
            Self::Stream => "stream",
        }
    }

    /// The attribute of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|attribute| attribute.name() == name)
    }

    /// What its value must be.
    #[must_use]
    pub fn type_of(self) -> Type {
        match self {
            Self::Id => Type::Id,
            Self::Kind => Type::Kind,
            Self::Agent | Self::Model | Self::Tenant | Self::Task | Self::Tool | Self::Topic => Type::String,
            Self::Content => Type::Any,
            Self::Context => Type::References,
            Self::Priority => Type::Priority,
            Self::DeadlineMs => Type::Milliseconds,
            Self::Labels => Type::Object,
            Self::Stream => Type::Boolean,
        }
    }
}

impl Type {
    /// What is allowed, for messages.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Id => "a string of 1 to 128 characters",
            Self::Kind => "one of \"query\", \"context\", \"model\", \"tool\", \"event\"",
            Self::String => "a string",
            Self::Any => "any JSON",
            Self::References => "a list of objects whose `type` and `ref` are strings",
            Self::Priority => "a whole number from 0 to 9",
            Self::Milliseconds => "a whole number of milliseconds, from 1 to 86400000 (a day)",
            Self::Object => "an object",
            Self::Boolean => "true or false",
        }
    }
}

/// What a message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names say it.
pub enum Kind {
    Query,
    Context,
    Model,
    Tool,
    Event,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Query, Self::Context, Self::Model, Self::Tool, Self::Event];

    /// Its name in envelopes and patterns.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Context => "context",
            Self::Model => "model",
            Self::Tool => "tool",
            Self::Event => "event",
        }
    }

    /// The kind of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether a message of this kind may be sent again after it may have been executed.
    #[must_use]
    pub fn idempotent(self) -> bool {
        matches!(self, Self::Query | Self::Context | Self::Model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positions() {
        for (index, attribute) in Attribute::ALL.into_iter().enumerate() {
            assert_eq!(attribute as usize, index);
            assert_eq!(Attribute::parse(attribute.name()), Some(attribute));
        }
    }
}
