//! The value that a message has at a field, by which an endpoint is chosen or an account is found.

use std::borrow::Cow;
use std::cell::Cell;

use super::intake::Intake;
use crate::dialect::{Attribute, ByDialect, Computed, Dialect, Source};
use crate::json::{self, Kind, Leaf, Options, PathTrie, Scan};
use crate::table::Envelope;

thread_local! {
    static IDLE: Cell<Option<Box<Scan>>> = const { Cell::new(None) };
}

/// A field as patterns name it, `labels.session` or `headers.x-session`: where each dialect has it.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    source: FieldSource,
    bodies: ByDialect<Option<InBody>>,
}

/// Where a dialect has a field in the body.
#[derive(Clone, Debug)]
struct InBody {
    trie: PathTrie,
    /// What the trie's values, by their numbers, say together.
    computed: Option<&'static Computed>,
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
    /// `None` where patterns have no such field.
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
        let within = |dialect: Dialect| {
            let mut trie = PathTrie::new();
            let mut path: Vec<&str> = Vec::new();
            if let FieldSource::Attribute(attribute, _) = &source {
                match dialect.spec().source(*attribute) {
                    Source::Body(keys) => path.extend(keys),
                    Source::Computed(computed) => {
                        (0..).zip(computed.from).for_each(|(number, path)| trie.insert(path, number));
                        return Some(InBody { trie, computed: Some(computed) });
                    }
                    Source::Header(_) | Source::Absent => return None,
                }
            }
            path.extend(rest?);
            trie.insert(&path, 0);
            Some(InBody { trie, computed: None })
        };
        let bodies = ByDialect::new(within);
        Some(Self { source, bodies })
    }

    /// The first value there, where it is a string, a number or a Boolean.
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
                proved.map(Cow::Borrowed).or_else(|| match intake.dialect.spec().source(*attribute) {
                    Source::Header(name) => header(name),
                    Source::Body(_) | Source::Computed(_) => self.in_body(intake.dialect, body?, options),
                    Source::Absent => None,
                })
            }
        }
    }

    fn in_body<'m>(&self, dialect: Dialect, body: &'m [u8], options: Options) -> Option<Cow<'m, str>> {
        let InBody { trie, computed } = self.bodies.of(dialect).as_ref()?;
        let mut scan = IDLE.take().unwrap_or_default();
        let found = json::scan(body, trie, options, &mut scan).ok().and_then(|text| {
            let value = |leaf: &Leaf| {
                let value = text.get(leaf.span())?;
                match leaf.kind {
                    Kind::EscapedString => Some(json::unescape(value)),
                    Kind::Null | Kind::Object | Kind::Array => None,
                    _ => Some(value.into()),
                }
            };
            let Some(computed) = computed else { return value(scan.leaves.first()?) };
            let part = |number: u32| {
                let leaf = scan.leaves.iter().find(|leaf| leaf.field == number)?;
                let is_text = leaf.element == 0 && matches!(leaf.kind, Kind::String | Kind::EscapedString);
                value(leaf).filter(|_| is_text)
            };
            let parts: Vec<Option<Cow<'_, str>>> =
                (0..).zip(computed.from).map(|(number, _)| part(number)).collect();
            let parts: Vec<Option<&str>> = parts.iter().map(Option::as_deref).collect();
            (computed.compute)(&parts).map(|text| Cow::Owned(text.to_owned()))
        });
        IDLE.set(Some(scan));
        found
    }
}
