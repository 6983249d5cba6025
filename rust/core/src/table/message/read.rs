//! Reads a message, checks it against its dialect, and opens it for patterns.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::error::MessageError;
use super::layout::{DialectLayout, attribute};
use super::view::{Entries, Entry, View};
use super::workspace::{Document, Workspace};
use crate::auth::{Identity, keys};
use crate::dialect::{Attribute, Dialect, Kind as MessageKind, OWN_HEADERS, Source, Type, own_headers};
use crate::json::{Kind, Options, PathTrie};
use crate::pattern::Seen;
use crate::table::ids::FieldId;
use crate::text::near::near;

/// The longest id, in characters.
pub(crate) const MAX_ID: usize = 128;

/// The longest deadline: a day, in milliseconds.
pub(crate) const MAX_DEADLINE_MS: u64 = 86_400_000;

/// The element of a value around which there is no array of objects.
const NO_ELEMENT: u32 = 0;

/// Header fields whose values explanations do not show.
const SECRETS: [&str; 6] =
    ["authorization", "x-api-key", "api-key", keys::OWN_FIELD, "cookie", "proxy-authorization"];

/// A header field: its name in lower case, and one value.
pub type Header<'a> = (Cow<'a, str>, Cow<'a, str>);

/// All parts of a message that a decision may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The wire format of `body`.
    pub dialect: Dialect,
    /// The kind, if the path determines it. Otherwise the body may have it.
    pub kind: Option<MessageKind>,
    /// HTTP method.
    pub method: &'a str,
    /// Path without query.
    pub path: &'a str,
    /// Header fields in wire order.
    pub headers: &'a [Header<'a>],
    /// The client's address.
    pub client: Option<&'a str>,
    /// The caller's identity.
    pub identity: Option<&'a Identity>,
    /// The JSON document; `None` if there is none, or if it is not to be read.
    pub body: Option<&'a [u8]>,
}

/// The attributes of a message that are used beyond matching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The id in the body.
    pub id: Option<String>,
    /// The kind.
    pub kind: Option<MessageKind>,
    /// The model.
    pub model: Option<String>,
    /// The tenant: that of the caller's identity, else that of the message.
    pub tenant: Option<String>,
    /// The task.
    pub task: Option<String>,
    /// Whether the message asks for a streamed reply.
    pub stream: bool,
    /// The urgency, 0 to 9.
    pub priority: Option<u8>,
    /// The deadline, in milliseconds.
    pub deadline_ms: Option<u64>,
}

impl Message<'_> {
    /// Whether the message came on a path that any route may serve.
    pub(crate) fn is_listed(&self) -> bool {
        self.kind.is_some() || self.dialect.lists(self.path)
    }
}

/// Reads a message, and calls `decide` with its envelope and its values. `rules` is the number of rules that it may be compared
/// with.
pub(crate) fn open<'a, T>(
    message: &Message<'a>,
    layout: &'a DialectLayout,
    options: Options,
    workspace: &'a mut Workspace,
    rules: usize,
    decide: impl FnOnce(Envelope, &View<'_>) -> T,
) -> Result<T, MessageError> {
    let mut envelope = Envelope { kind: message.kind, ..Envelope::default() };
    let mut entries = Entries::new();
    let (document, chains) = match message.body {
        Some(body) => workspace.read(body, &layout.trie, options).map_err(MessageError::Json)?,
        None => workspace.nothing(),
    };
    if message.body.is_some() {
        body_entries(message, &document, layout, &mut entries, &mut envelope)?;
    }
    header_entries(message, layout, &mut entries, &mut envelope).map_err(|fault| fault.with_id(&envelope))?;
    for (field, text) in [
        (layout.path, Some(message.path)),
        (layout.method, Some(message.method)),
        (layout.dialect, Some(message.dialect.name())),
        (layout.client, message.client),
    ] {
        entries.extend(field.zip(text).map(|(field, text)| Entry::text(field, text)));
    }
    if let Some(kind) = message.kind {
        entries.push(Entry::text(Attribute::Kind as FieldId, kind.name()));
    }
    if let Some(identity) = message.identity {
        identify(identity, message.dialect, layout, options, &mut entries)
            .map_err(|fault| fault.with_id(&envelope))?;
        envelope.tenant = identity.tenant.clone().or(envelope.tenant);
    }
    let view = View::new(document.without_leaves(), &entries, chains, rules);
    let decided = decide(envelope, &view);
    if view.work.is_exhausted() {
        let id = entries.iter().find(|entry| entry.field == Attribute::Id as FieldId);
        return Err(MessageError::TooCostly { id: id.map(|entry| entry.text.to_owned()) });
    }
    Ok(decided)
}

fn wrong(attribute: Attribute, name: &str, offset: Option<usize>) -> MessageError {
    MessageError::Envelope {
        field: name.to_owned(),
        offset,
        message: format!("`{name}` must be {}", attribute.type_of().describe()),
        id: None,
    }
}

/// What computed attributes depend on: for each part whether there is a value, and which, if it is a string outside of
/// arrays.
type Parts<'a> = SmallVec<[Option<Option<&'a str>>; 8]>;

/// Adds the entries of the body, and checks each attribute against its type.
fn body_entries<'a>(
    message: &Message<'a>,
    document: &Document<'a>,
    layout: &DialectLayout,
    entries: &mut Entries<'a>,
    envelope: &mut Envelope,
) -> Result<(), MessageError> {
    let spec = message.dialect.spec();
    if !document.is_object() {
        if !spec.object || !message.is_listed() {
            let whole = document.leaves.iter().filter(|leaf| layout.is_whole_body(leaf.field));
            entries.extend(whole.map(|leaf| document.entry(leaf)));
            return Ok(());
        }
        let what = spec.words.one;
        return Err(MessageError::Envelope {
            field: String::new(),
            offset: Some(0),
            message: format!("{what} is a JSON object, but this body is not"),
            id: None,
        });
    }
    let mut given = [false; Attribute::ALL.len()];
    let mut fault = None;
    let mut parts = Parts::new();
    parts.resize(layout.parts, None);
    for leaf in document.leaves {
        let entry = document.entry(leaf);
        let Some((attribute, inner)) = attribute(entry.field) else {
            match layout.part(entry.field) {
                None => entries.push(entry),
                Some(part) => {
                    // Of an array, the array itself comes first.
                    let is_text = entry.kind == Kind::String && entry.element == NO_ELEMENT;
                    if let Some(part) = parts.get_mut(part) {
                        part.get_or_insert(is_text.then_some(entry.text));
                    }
                }
            }
            continue;
        };
        let again = given.get(attribute as usize).copied().unwrap_or_default();
        if entry.kind == Kind::Null && !again && inner.is_none() && !spec.required.contains(&attribute) {
            continue;
        }
        // After a fault, only the id is still read, for the error.
        if (fault.is_none() || attribute == Attribute::Id)
            && !accepts(attribute, inner, &entry, again, envelope)
        {
            let quote = usize::from(entry.kind == Kind::String);
            let name = spec.name_of(attribute);
            let name = inner.map_or(name.clone(), |inner| format!("{name}.{inner}"));
            fault = fault.or_else(|| Some(wrong(attribute, &name, Some(leaf.span().start - quote))));
        }
        if inner.is_none()
            && let Some(given) = given.get_mut(attribute as usize)
        {
            *given = true;
        }
        if fault.is_none() {
            entries.push(entry);
        }
    }
    if let Some(fault) = fault {
        return Err(fault.with_id(envelope));
    }
    if !layout.computed.is_empty() {
        computed_entries(message, layout, &parts, entries, envelope)?;
    }
    let missing = |attribute: &&Attribute| !given.get(**attribute as usize).copied().unwrap_or_default();
    match spec.required.iter().find(missing) {
        None => Ok(()),
        Some(attribute) => Err(MessageError::Envelope {
            field: attribute.name().to_owned(),
            offset: None,
            message: format!(
                "`{}` is missing: every {} needs {}",
                attribute.name(),
                spec.words.noun,
                attribute.type_of().describe()
            ),
            id: envelope.id.clone(),
        }),
    }
}

/// The entries of computed attributes, from the strings at the places that they depend on.
#[inline(never)]
fn computed_entries<'a>(
    message: &Message<'a>,
    layout: &DialectLayout,
    parts: &Parts<'a>,
    entries: &mut Entries<'a>,
    envelope: &mut Envelope,
) -> Result<(), MessageError> {
    let parts: SmallVec<[Option<&'a str>; 8]> = parts.iter().map(|part| part.flatten()).collect();
    let mut parts = &parts[..];
    for &(attribute, computed) in &layout.computed {
        let (own, others) = parts.split_at_checked(computed.from.len()).unwrap_or((parts, &[]));
        parts = others;
        // What the path says is not asked of the body.
        if attribute == Attribute::Kind && message.kind.is_some() {
            continue;
        }
        let Some(text) = (computed.compute)(own) else { continue };
        let entry = Entry::text(attribute as FieldId, text);
        if !accepts(attribute, None, &entry, false, envelope) {
            return Err(wrong(attribute, computed.name, None).with_id(envelope));
        }
        entries.push(entry);
    }
    Ok(())
}

/// Checks a value against an attribute's type, and stores it in the envelope. `inner` is the field of a context reference.
/// `again` is true for the second and later values of an attribute, which come from an array.
fn accepts(
    attribute: Attribute,
    inner: Option<&str>,
    entry: &Entry<'_>,
    again: bool,
    envelope: &mut Envelope,
) -> bool {
    let seen = entry.seen();
    if inner.is_some() {
        return matches!(seen, Some(Seen::String(_) | Seen::Null));
    }
    match (attribute.type_of(), seen) {
        (Type::Any, _) => true,
        (Type::References, None) => again == (entry.kind == Kind::Object),
        _ if again => false,
        (Type::Id, Some(Seen::String(text))) => {
            envelope.id = Some(text.into_owned()).filter(|id| (1..=MAX_ID).contains(&id.chars().count()));
            envelope.id.is_some()
        }
        (Type::Kind, Some(Seen::String(text))) => {
            envelope.kind = MessageKind::parse(&text);
            envelope.kind.is_some()
        }
        (Type::String, Some(Seen::String(text))) => {
            match attribute {
                Attribute::Model => envelope.model = Some(text.into_owned()),
                Attribute::Tenant => envelope.tenant = Some(text.into_owned()),
                Attribute::Task => envelope.task = Some(text.into_owned()),
                _ => {}
            }
            true
        }
        (Type::Priority, Some(Seen::Number(number))) => {
            envelope.priority = number.to_u64().and_then(|n| u8::try_from(n).ok()).filter(|n| *n <= 9);
            envelope.priority.is_some()
        }
        (Type::Milliseconds, Some(Seen::Number(number))) => {
            envelope.deadline_ms = number.to_u64().filter(|n| (1..=MAX_DEADLINE_MS).contains(n));
            envelope.deadline_ms.is_some()
        }
        (Type::Object, None) => entry.kind == Kind::Object,
        (Type::Boolean, Some(Seen::Bool(value))) => {
            envelope.stream = value;
            true
        }
        _ => false,
    }
}

/// Adds the entries of header fields: those that patterns test, and those that carry attributes in the dialect.
fn header_entries<'a>(
    message: &Message<'a>,
    layout: &DialectLayout,
    entries: &mut Entries<'a>,
    envelope: &mut Envelope,
) -> Result<(), MessageError> {
    let mut given = [false; Attribute::ALL.len()];
    for (name, value) in message.headers {
        if let Some(field) = layout.headers.get(&**name) {
            let secret = SECRETS.contains(&&**name);
            entries.push(Entry { secret, ..Entry::text(*field, value) });
        }
        let Some(&(_, attribute)) = layout.carriers.iter().find(|(carrier, _)| carrier == name) else {
            if name.starts_with(OWN_HEADERS) && name != keys::OWN_FIELD {
                check_own(name, message.dialect)?;
            }
            continue;
        };
        if let Some(given) = given.get_mut(attribute as usize)
            && std::mem::replace(given, true)
        {
            return Err(MessageError::Envelope {
                field: name.to_string(),
                offset: None,
                message: format!("header `{name}` appears twice: send it once"),
                id: None,
            });
        }
        let mut entry = Entry::text(attribute as FieldId, value);
        if attribute.type_of() != Type::String {
            // Only numbers are carried in headers, in decimal digits.
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            if !digits {
                return Err(wrong(attribute, name, None));
            }
            entry.kind = Kind::Number;
        }
        if !accepts(attribute, None, &entry, false, envelope) {
            return Err(wrong(attribute, name, None));
        }
        entries.push(entry);
    }
    Ok(())
}

/// Rejects a header field that is named like those that carry attributes but carries none, so that a client's intention is
/// not silently ignored. A dialect without attributes allows any name.
fn check_own(name: &str, dialect: Dialect) -> Result<(), MessageError> {
    const LENGTH: usize = 80;
    let spec = dialect.spec();
    if spec.sources.is_empty() {
        return Ok(());
    }
    let carriers: Vec<&str> = spec.headers().map(|(carrier, _)| carrier).collect();
    let meant = own_headers().find(|(carrier, _)| *carrier == name).map(|(_, attribute)| attribute);
    let meant = meant.map(|attribute| (attribute, spec.source(attribute)));
    let shown: String = name.chars().take(LENGTH).collect();
    let message = match meant {
        // One Waypost sends its remaining deadline to the next in this header. The body's deadline counts.
        Some((Attribute::DeadlineMs, Source::Body(_) | Source::Computed(_))) => return Ok(()),
        Some((attribute, Source::Body(_) | Source::Computed(_))) => format!(
            "header `{shown}` has no effect on {}: set `{}` in the {}",
            spec.words.one,
            spec.name_of(attribute),
            spec.words.noun,
        ),
        _ if carriers.is_empty() => {
            let noun = spec.words.noun;
            format!("there is no header `{shown}`: set fields in the {noun} instead")
        }
        _ => {
            let hint = near(name, carriers.iter().copied());
            let hint = hint.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let dot = if hint.is_empty() { "." } else { "" };
            format!("there is no header `{shown}`{hint}{dot} Headers: {}", carriers.join(", "))
        }
    };
    Err(MessageError::Envelope { field: shown, offset: None, message, id: None })
}

/// Replaces the message's claims about its caller by the identity. They must not contradict it.
fn identify<'a>(
    identity: &'a Identity,
    dialect: Dialect,
    layout: &DialectLayout,
    options: Options,
    entries: &mut Entries<'a>,
) -> Result<(), MessageError> {
    let spec = dialect.spec();
    let conflict = |field: String| Err(MessageError::IdentityConflict { field, id: None });
    let may_differ = |attribute: Attribute| {
        spec.identity_replaces_body && !matches!(spec.source(attribute), Source::Header(_))
    };
    for (attribute, proved) in [(Attribute::Tenant, &identity.tenant), (Attribute::Agent, &identity.agent)] {
        let Some(proved) = proved else { continue };
        let field = attribute as FieldId;
        let same = |entry: &Entry<'_>| matches!(entry.seen(), Some(Seen::String(text)) if *text == **proved);
        if entries.iter().any(|entry| entry.field == field && !same(entry)) && !may_differ(attribute) {
            return conflict(spec.name_of(attribute));
        }
        entries.retain(|entry| entry.field != field);
        entries.push(Entry::text(field, proved.as_str()));
    }
    if identity.labels.is_empty() {
        return Ok(());
    }
    let labels = entries.iter().find(|entry| entry.field == Attribute::Labels as FieldId);
    if let Some(labels) = labels.filter(|_| !may_differ(Attribute::Labels)) {
        let mut trie = PathTrie::new();
        for (number, (name, _)) in (0..).zip(&identity.labels) {
            trie.insert(&[name], number);
        }
        let mut workspace = Workspace::default();
        let raw = labels.text.as_bytes();
        let (document, _) = workspace.read(raw, &trie, options).map_err(MessageError::Json)?;
        for entry in document.leaves.iter().map(|leaf| document.entry(leaf)) {
            let Some((name, proved)) = identity.labels.get(entry.field as usize) else { continue };
            if !matches!(entry.seen(), Some(Seen::String(text)) if *text == **proved) {
                return conflict(format!("{}.{name}", spec.name_of(Attribute::Labels)));
            }
        }
    }
    let tested = |(name, proved): &'a (String, String)| Some(Entry::text(layout.label(name)?, proved));
    let proved: Entries<'a> = identity.labels.iter().filter_map(tested).collect();
    // One pass, however many labels there are: the message may have many values.
    let mut fields: SmallVec<[FieldId; 8]> = proved.iter().map(|entry| entry.field).collect();
    fields.sort_unstable();
    entries.retain(|entry| fields.binary_search(&entry.field).is_err());
    entries.extend(proved);
    Ok(())
}
