//! Finds the value of a message's field, for hash balancing and for rates.

use std::borrow::Cow;
use std::cell::Cell;

use super::intake::Intake;
use crate::dialect::{Attribute, Dialect, Source};
use crate::json::{self, Kind, Options, PathTrie, Scan};
use crate::table::Envelope;

thread_local! {
    static IDLE: Cell<Option<Box<Scan>>> = const { Cell::new(None) };
}

/// A field, named as in patterns (`labels.session`, `headers.x-session`), with its place in each dialect.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    source: FieldSource,
    bodies: Vec<(Dialect, PathTrie)>,
}

#[derive(Clone, Debug)]
enum FieldSource {
    Header(Box<str>),
    Path,
    Method,
    Client,
    Dialect,
    Body,
    Attribute(Attribute, Option<Box<str>>),
}

impl Field {
    /// Parses a field's name; `None` if patterns have no such field.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let parts: Vec<&str> = name.split('.').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        let (source, rest) = match &parts[..] {
            ["headers", name] => (FieldSource::Header(name.to_ascii_lowercase().into()), None),
            ["path"] => (FieldSource::Path, None),
            ["method"] => (FieldSource::Method, None),
            ["dialect"] => (FieldSource::Dialect, None),
            ["client", "address"] => (FieldSource::Client, None),
            ["body", rest @ ..] if !rest.is_empty() => (FieldSource::Body, Some(rest)),
            [first, rest @ ..] => {
                let attribute = Attribute::parse(first)?;
                let label = rest.first().filter(|_| attribute == Attribute::Labels && rest.len() == 1);
                (FieldSource::Attribute(attribute, label.map(|label| (*label).into())), Some(rest))
            }
            [] => return None,
        };
        let within = |dialect| {
            let mut path: Vec<&str> = Vec::new();
            if let FieldSource::Attribute(attribute, _) = &source {
                let Source::Body(key) = attribute.source(dialect) else { return None };
                path.push(key);
            }
            path.extend(rest?);
            let mut trie = PathTrie::new();
            trie.insert(&path, 0);
            Some((dialect, trie))
        };
        let bodies = Dialect::ALL.into_iter().filter_map(within).collect();
        Some(Self { source, bodies })
    }

    /// The field's first value, if it is a string, a number or a Boolean.
    pub(crate) fn value<'m>(
        &self,
        intake: &'m Intake,
        envelope: &'m Envelope,
        body: Option<&'m [u8]>,
        options: Options,
    ) -> Option<Cow<'m, str>> {
        let header = |name: &str| {
            let found = intake.headers().into_iter().find(|(field, _)| field == name);
            found.map(|(_, value)| Cow::Owned(value.into_owned()))
        };
        let identity = intake.caller.as_ref().map(|caller| &caller.identity);
        match &self.source {
            FieldSource::Header(name) => header(name),
            FieldSource::Path => Some(intake.path().into()),
            FieldSource::Method => Some(intake.method().into()),
            FieldSource::Client => intake.origin.client.as_deref().map(Cow::Borrowed),
            FieldSource::Dialect => Some(intake.dialect.name().into()),
            FieldSource::Body => self.in_body(intake.dialect, body?, options),
            FieldSource::Attribute(attribute, label) => {
                let proved = match (attribute, label) {
                    (Attribute::Tenant, _) => envelope.tenant.as_deref(),
                    (Attribute::Agent, _) => identity.and_then(|identity| identity.agent.as_deref()),
                    (Attribute::Labels, Some(label)) => identity.and_then(|identity| {
                        let found = identity.labels.iter().find(|(name, _)| **name == **label);
                        found.map(|(_, value)| value.as_str())
                    }),
                    (Attribute::Kind, _) => envelope.kind.map(crate::dialect::Kind::name),
                    _ => None,
                };
                proved.map(Cow::Borrowed).or_else(|| match attribute.source(intake.dialect) {
                    Source::Header(name) => header(name),
                    Source::Body(_) => self.in_body(intake.dialect, body?, options),
                    Source::Absent => None,
                })
            }
        }
    }

    fn in_body<'m>(&self, dialect: Dialect, body: &'m [u8], options: Options) -> Option<Cow<'m, str>> {
        let (_, trie) = self.bodies.iter().find(|(of, _)| *of == dialect)?;
        let mut scan = IDLE.take().unwrap_or_default();
        let found = json::scan(body, trie, options, &mut scan).ok().and_then(|text| {
            let leaf = scan.leaves.first()?;
            let value = text.get(leaf.span())?;
            match leaf.kind {
                Kind::EscapedString => Some(json::unescape(value)),
                Kind::Null | Kind::Object | Kind::Array => None,
                _ => Some(value.into()),
            }
        });
        IDLE.set(Some(scan));
        found
    }
}
