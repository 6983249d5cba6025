//! What a dialect is made of. One file of this directory holds one dialect's [`DialectSpec`]: static data, which routing
//! tables are compiled from.

use super::{Attribute, Dialect, Kind};
use crate::translate::Format;

/// Everything that the core knows of a dialect.
#[derive(Debug)]
pub struct DialectSpec {
    /// Its name in configurations and patterns.
    pub name: &'static str,
    /// Its words in error messages.
    pub words: Words,
    /// The path to which its messages go, where nothing else says one.
    pub default_path: &'static str,
    /// Its paths. Without any, no listener takes its messages.
    pub paths: &'static [PathSpec],
    /// Paths among those of no kind where a POST calls a model: it changes nothing, so it may be sent twice.
    pub model_paths: &'static [&'static str],
    /// Where its messages carry attributes, in the order of the attributes. Others are absent.
    pub sources: &'static [(Attribute, Source)],
    /// Attributes without which a body is no message.
    pub required: &'static [Attribute],
    /// Whether a body must be a JSON object. At paths that are not listed it may be anything.
    pub object: bool,
    /// Whether an identity replaces what a body says of its caller. Otherwise a contradiction is an error, as a header's
    /// always is.
    pub identity_replaces_body: bool,
    /// Whether clusters can speak it.
    pub clusters: bool,
    /// Where an endpoint that speaks it gets its requests.
    pub target: Target,
    /// The dialects of clusters to which its messages can be translated.
    pub translations: &'static [Translation],
    /// Header fields that mean nothing in other dialects.
    pub fields: &'static [&'static str],
    /// Header fields that translated requests need.
    pub fixed: &'static [(&'static str, &'static str)],
}

/// How error messages call a dialect's messages.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// One of them, with its article: `an envelope`.
    pub one: &'static str,
    /// One of them, without: `envelope`.
    pub noun: &'static str,
    /// Several of them, told from those of other dialects: `OpenAI requests`.
    pub many: &'static str,
}

/// Keys from the root of a body to a value.
pub type BodyPath = &'static [&'static str];

/// Where a dialect carries an attribute.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// At this path of the body.
    Body(BodyPath),
    /// In this request header (lower case).
    Header(&'static str),
    /// In what several values of the body say together.
    Computed(&'static Computed),
    /// Nowhere.
    Absent,
}

/// An attribute, always a string, that the body does not say at one place.
#[derive(Clone, Copy, Debug)]
pub struct Computed {
    /// How error messages call it.
    pub name: &'static str,
    /// The paths that it depends on.
    pub from: &'static [BodyPath],
    /// Its value, `None` for absence. The argument has an element for each path: the string there, or `None` where there
    /// is none, or another type, or where an array is on the way.
    pub compute: for<'a> fn(&[Option<&'a str>]) -> Option<&'a str>,
}

/// A path, or all paths below one.
#[derive(Debug, PartialEq, Eq)]
pub struct PathSpec {
    /// Which paths.
    pub at: At,
    /// Whether any route may take the requests there; otherwise only routes that test `path`.
    pub listed: bool,
    /// How a model is called there, if that can be translated.
    pub format: Option<Format>,
    /// What is taken there, by method. The methods of two elements differ.
    pub requests: &'static [Requests],
}

/// Which paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// This one.
    Exactly(&'static str),
    /// Canonical ones that begin like this, which ends in a slash, and have more.
    Below(&'static str),
}

/// Requests that are read in one way.
#[derive(Debug, PartialEq, Eq)]
pub struct Requests {
    /// Their methods.
    pub methods: &'static [&'static str],
    /// What they ask for.
    pub kinds: Kinds,
    /// How a body is read.
    pub body: Body,
}

/// What tells the kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// The path: it is always this one.
    Path(Kind),
    /// The body: it is one of these.
    Body(&'static [Option<Kind>]),
    /// Nothing: it is of no kind.
    Nothing,
}

/// How a request body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// It must be JSON, is read whole and validated.
    Json,
    /// JSON is read whole and validated, anything else streams past.
    Any,
}

/// Where an endpoint that speaks a dialect gets its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// At its URL's path; at the dialect's default path, where the URL has none.
    Url,
    /// At the request's own target, of which the URL's path, if any, replaces the leading `/v1`.
    Request,
}

/// Messages that can be translated.
#[derive(Clone, Copy, Debug)]
pub struct Translation {
    /// To this dialect.
    pub to: Dialect,
    /// Those of these kinds.
    pub kinds: &'static [Kind],
}

impl Requests {
    /// What the path says that they ask for.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        match self.kinds {
            Kinds::Path(kind) => Some(kind),
            Kinds::Body(_) | Kinds::Nothing => None,
        }
    }
}

impl DialectSpec {
    /// Where its messages carry an attribute.
    #[must_use]
    pub fn source(&self, attribute: Attribute) -> Source {
        let found = self.sources.iter().find(|(of, _)| *of == attribute);
        found.map_or(Source::Absent, |(_, source)| *source)
    }

    /// The header fields that carry attributes.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, Attribute)> {
        self.sources.iter().filter_map(|(attribute, source)| match source {
            Source::Header(name) => Some((*name, *attribute)),
            Source::Body(_) | Source::Computed(_) | Source::Absent => None,
        })
    }

    /// How error messages call an attribute: as the dialect does.
    #[must_use]
    pub fn name_of(&self, attribute: Attribute) -> String {
        match self.source(attribute) {
            Source::Body(path) => path.join("."),
            Source::Header(name) => name.to_owned(),
            Source::Computed(computed) => computed.name.to_owned(),
            Source::Absent => attribute.name().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{OWN_HEADERS, Type, entry};

    /// What every spec keeps to. The compiler cannot hold it.
    #[test]
    fn specs_are_sound() {
        for dialect in Dialect::ALL {
            let spec = dialect.spec();
            let name = spec.name;
            assert_eq!(Dialect::parse(name), Some(dialect), "a name is one dialect's");
            assert!(spec.sources.is_sorted_by_key(|(attribute, _)| *attribute as usize), "{name}");
            for (attribute, source) in spec.sources {
                match source {
                    Source::Body(path) => assert!(!path.is_empty(), "{name}"),
                    Source::Header(header) => assert!(header.starts_with(OWN_HEADERS), "{name}: {header}"),
                    Source::Computed(computed) => {
                        let text = matches!(attribute.type_of(), Type::Id | Type::Kind | Type::String);
                        assert!(text && !computed.from.is_empty(), "{name}: {attribute:?} is a string");
                    }
                    Source::Absent => panic!("{name} lists {attribute:?}, which is absent"),
                }
            }
            for attribute in spec.required {
                assert!(matches!(spec.source(*attribute), Source::Body(_)), "{name}: {attribute:?}");
            }
            let of_body = matches!(spec.source(Attribute::Kind), Source::Body(_) | Source::Computed(_));
            for path in spec.paths {
                if let At::Below(begin) = path.at {
                    assert!(begin.starts_with('/') && begin.ends_with('/'), "{name}: {begin}");
                }
                let methods: Vec<_> = path.requests.iter().flat_map(|requests| requests.methods).collect();
                assert!(methods.iter().enumerate().all(|(at, method)| !methods[..at].contains(method)));
                assert!(
                    !path.requests.iter().any(|r| matches!(r.kinds, Kinds::Body(_))) || of_body,
                    "{name}"
                );
            }
            if !spec.paths.is_empty() {
                assert!(entry(spec.default_path).is_some_and(|found| found.dialect == dialect), "{name}");
            }
            for (at, translation) in spec.translations.iter().enumerate() {
                assert!(translation.to != dialect && translation.to.spec().clusters, "{name}");
                assert!(!spec.translations[..at].iter().any(|other| other.to == translation.to), "{name}");
                assert!(!translation.kinds.is_empty(), "{name}");
            }
        }
    }
}
