//! Dialects: where in a message of each wire format the envelope's attributes are, and what they must be; and the paths to
//! which such messages are sent. Each dialect is a [`DialectSpec`] in a file of its own.

mod anthropic;
mod attribute;
mod by_dialect;
mod envelope;
mod json;
mod openai;
mod path;
#[cfg(test)]
pub(crate) mod sample;
mod spec;

use std::fmt;

use crate::translate::Format;

pub use attribute::{Attribute, Kind, OWN_HEADERS, Type};
pub use by_dialect::ByDialect;
pub use path::{Entry, describe_paths, entry, is_canonical, near_path};
pub use spec::{
    At, Body, BodyPath, Computed, DialectSpec, Kinds, PathSpec, Requests, Source, Target, Translation, Words,
};

/// Makes [`Dialect`] of a list of names with the modules that hold their specs.
macro_rules! dialects {
    ($($(#[doc = $doc:literal])* $(#[cfg($cfg:meta)])? $name:ident => $module:ident,)*) => {
        /// A wire format that carries an envelope.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Dialect {
            $($(#[doc = $doc])* $(#[cfg($cfg)])? $name,)*
        }

        impl Dialect {
            /// Every dialect. Each stands at the position that is its number.
            pub const ALL: [Self; COUNT] = [$($(#[cfg($cfg)])? Self::$name,)*];

            /// What is known of it.
            #[must_use]
            pub fn spec(self) -> &'static DialectSpec {
                match self {
                    $($(#[cfg($cfg)])? Self::$name => &$module::SPEC,)*
                }
            }
        }

        const COUNT: usize = [$($(#[cfg($cfg)])? Dialect::$name,)*].len();
    };
}

dialects! {
    /// The native envelope.
    Envelope => envelope,
    /// Any JSON.
    Json => json,
    /// The OpenAI HTTP API.
    OpenAi => openai,
    /// Anthropic's HTTP API.
    Anthropic => anthropic,
    /// What tests prove the rest with.
    #[cfg(test)]
    Sample => sample,
}

impl Dialect {
    /// Its name in configurations and patterns.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// The dialect of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name)
    }

    /// The path to which its messages are sent, where nothing else says one.
    #[must_use]
    pub fn default_path(self) -> &'static str {
        self.spec().default_path
    }

    /// Whether any route may take a message of no kind at a path; otherwise only routes that test `path`.
    #[must_use]
    pub fn lists(self, path: &str) -> bool {
        self.spec().paths.iter().all(|path| path.listed)
            || entry(path).is_some_and(|entry| entry.dialect == self && entry.path.listed)
    }

    /// Whether a message of a kind and a format can be sent to a cluster that speaks `speaks`: in its own dialect byte for
    /// byte, else translated. Of a dialect whose paths have formats, only messages of a format can be translated.
    #[must_use]
    pub fn joins(self, kind: Option<Kind>, format: Option<Format>, speaks: Self) -> bool {
        let spec = self.spec();
        let translates =
            |found: &Translation| found.to == speaks && kind.is_some_and(|kind| found.kinds.contains(&kind));
        let can = format.is_some() || spec.paths.iter().all(|path| path.format.is_none());
        self == speaks || (can && spec.translations.iter().any(translates))
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The header fields that carry an attribute in some dialect.
pub fn own_headers() -> impl Iterator<Item = (&'static str, Attribute)> {
    let all = || Dialect::ALL.into_iter().flat_map(|dialect| dialect.spec().headers());
    all()
        .enumerate()
        .filter(move |(at, (name, _))| !all().take(*at).any(|(before, _)| before == *name))
        .map(|(_, found)| found)
}
