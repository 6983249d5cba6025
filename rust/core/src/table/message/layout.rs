//! The places of a route table's fields in messages of one dialect.

use hashbrown::HashMap;

use super::fields::Fields;
use crate::dialect::{Attribute, Computed, Dialect, Source};
use crate::json::PathTrie;
use crate::table::ids::{FieldId, narrow};

/// Fields of a context reference. Every table tracks them, because their types are checked.
const REFERENCE: [&str; 2] = ["type", "ref"];

/// The place of every field in one dialect.
#[derive(Clone, Debug)]
pub(crate) struct DialectLayout {
    /// Paths in the body.
    pub(crate) trie: PathTrie,
    /// Header fields that patterns test.
    pub(crate) headers: HashMap<Box<str>, FieldId>,
    pub(crate) path: Option<FieldId>,
    pub(crate) method: Option<FieldId>,
    pub(crate) dialect: Option<FieldId>,
    pub(crate) client: Option<FieldId>,
    /// Header fields that carry attributes in this dialect.
    pub(crate) carriers: Vec<(&'static str, Attribute)>,
    /// Attributes that are computed. Each has its parts behind those of the ones before it.
    pub(crate) computed: Vec<(Attribute, &'static Computed)>,
    /// How many parts they have.
    pub(crate) parts: usize,
    /// The field of the first part, behind all fields of patterns.
    first_part: FieldId,
    labels: HashMap<Box<str>, FieldId>,
    whole_body: Option<FieldId>,
}

/// The fields of every route table: the attributes, numbered as such, then the fields of a context reference.
pub(crate) fn base_fields() -> Fields {
    let mut fields = Fields::default();
    for attribute in Attribute::ALL {
        fields.intern(&[attribute.name().into()]);
    }
    for name in REFERENCE {
        fields.intern(&[Attribute::Context.name().into(), name.into()]);
    }
    fields
}

impl DialectLayout {
    /// `content`: whether some pattern tests `content` itself, not only fields inside it.
    pub(crate) fn new(dialect: Dialect, fields: &Fields, content: bool) -> Self {
        let mut layout = Self {
            trie: PathTrie::new(),
            headers: HashMap::new(),
            path: None,
            method: None,
            dialect: None,
            client: None,
            carriers: Vec::new(),
            computed: Vec::new(),
            parts: 0,
            first_part: FieldId::MAX,
            labels: HashMap::new(),
            whole_body: None,
        };
        let spec = dialect.spec();
        layout.carriers.extend(spec.headers());
        for (attribute, source) in spec.sources {
            if let Source::Computed(computed) = source {
                layout.compute(*attribute, computed, fields);
            }
        }
        for (id, path) in fields.iter() {
            // `content` may be large, and has no type to check: track it only if a pattern tests it.
            if id == Attribute::Content as FieldId && !content {
                continue;
            }
            let Some((first, inner)) = path.split_first() else { continue };
            match (&**first, inner) {
                ("body", inner) => {
                    layout.trie.insert(inner, id);
                    if inner.is_empty() {
                        layout.whole_body = Some(id);
                    }
                }
                ("headers", [name]) => {
                    layout.headers.insert(name.clone(), id);
                }
                ("path", []) => layout.path = Some(id),
                ("method", []) => layout.method = Some(id),
                ("dialect", []) => layout.dialect = Some(id),
                ("client", [_address]) => layout.client = Some(id),
                (name, inner) => {
                    if name == Attribute::Labels.name()
                        && let [label] = inner
                    {
                        layout.labels.insert(label.clone(), id);
                    }
                    let Some(Source::Body(path)) = Attribute::parse(name).map(|a| spec.source(a)) else {
                        continue;
                    };
                    let at: Vec<&str> = path.iter().copied().chain(inner.iter().map(|key| &**key)).collect();
                    layout.trie.insert(&at, id);
                }
            }
        }
        layout
    }

    /// Reads the parts of a computed attribute.
    fn compute(&mut self, attribute: Attribute, computed: &'static Computed, fields: &Fields) {
        self.first_part = narrow(fields.len());
        for path in computed.from {
            self.trie.insert(path, narrow(fields.len() + self.parts));
            self.parts += 1;
        }
        self.computed.push((attribute, computed));
    }

    /// Which part of a computed attribute a field is.
    pub(crate) fn part(&self, field: FieldId) -> Option<usize> {
        field.checked_sub(self.first_part).map(|part| part as usize)
    }

    /// The field of a label, if a pattern tests it.
    pub(crate) fn label(&self, name: &str) -> Option<FieldId> {
        self.labels.get(name).copied()
    }

    /// Whether a field is the whole document.
    pub(crate) fn is_whole_body(&self, field: FieldId) -> bool {
        self.whole_body == Some(field)
    }
}

/// The attribute of a field, and for a field of a context reference its name.
pub(crate) fn attribute(field: FieldId) -> Option<(Attribute, Option<&'static str>)> {
    let index = field as usize;
    match Attribute::ALL.get(index) {
        Some(attribute) => Some((*attribute, None)),
        None => Some((Attribute::Context, Some(*REFERENCE.get(index - Attribute::ALL.len())?))),
    }
}
