//! Where, in messages of one dialect, the fields are that a route table's patterns test.

use hashbrown::HashMap;

use super::fields::Fields;
use crate::dialect::{Attribute, Computed, Dialect, Source};
use crate::json::PathTrie;
use crate::table::ids::{FieldId, narrow};

/// Fields of a context reference, which every table tracks: their types are checked.
const REFERENCE: [&str; 2] = ["type", "ref"];

/// Where one dialect has every field.
#[derive(Clone, Debug)]
pub(crate) struct DialectLayout {
    /// Paths in the body.
    pub(crate) trie: PathTrie,
    /// Header fields that patterns name.
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

/// The fields that every route table has: the attributes by their numbers, then those of a context reference.
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
    /// `content`: whether some pattern tests the content itself, not only what is in it.
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
            // Nothing is asked of the content but what patterns ask, and it may be large.
            if id == Attribute::Content as FieldId && !content {
                continue;
            }
            let Some((first, rest)) = path.split_first() else { continue };
            match (&**first, rest) {
                ("body", rest) => {
                    layout.trie.insert(rest, id);
                    if rest.is_empty() {
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
                (name, rest) => {
                    if name == Attribute::Labels.name()
                        && let [label] = rest
                    {
                        layout.labels.insert(label.clone(), id);
                    }
                    let Some(Source::Body(path)) = Attribute::parse(name).map(|a| spec.source(a)) else {
                        continue;
                    };
                    let at: Vec<&str> = path.iter().copied().chain(rest.iter().map(|key| &**key)).collect();
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

    /// The field of a label, where a pattern names it.
    pub(crate) fn label(&self, name: &str) -> Option<FieldId> {
        self.labels.get(name).copied()
    }

    /// Whether a field is the document as such.
    pub(crate) fn is_whole_body(&self, field: FieldId) -> bool {
        self.whole_body == Some(field)
    }
}

/// The attribute that a field is, and for a field of a context reference that field's name.
pub(crate) fn attribute(field: FieldId) -> Option<(Attribute, Option<&'static str>)> {
    let index = field as usize;
    match Attribute::ALL.get(index) {
        Some(attribute) => Some((*attribute, None)),
        None => Some((Attribute::Context, Some(*REFERENCE.get(index - Attribute::ALL.len())?))),
    }
}
