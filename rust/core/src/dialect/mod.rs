//! Dialects: where in a message of each wire format the envelope's attributes are, and what they must be.

mod attribute;
mod path;

use std::fmt;

pub use attribute::{Attribute, Kind, OWN_HEADERS, Source, Type};
pub use path::{Body, Entry, LISTED, entry, is_canonical, near_path};

/// A wire format that carries an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The native envelope.
    Envelope,
    /// Any JSON. It carries no attributes: patterns see its `body`, headers and path.
    Json,
    /// The OpenAI HTTP API.
    OpenAi,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 3] = [Self::Envelope, Self::Json, Self::OpenAi];

    /// Its name in configurations and patterns.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Envelope => "envelope",
            Self::Json => "json",
            Self::OpenAi => "openai",
        }
    }

    /// The dialect of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name)
    }

    /// The path to which its messages are sent, where nobody says otherwise.
    #[must_use]
    pub fn default_path(self) -> &'static str {
        match self {
            Self::Envelope => "/v1/envelopes",
            Self::Json => "/",
            Self::OpenAi => "/v1/chat/completions",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
