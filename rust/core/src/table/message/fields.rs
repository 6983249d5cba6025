//! The fields that a set of patterns tests, numbered.

use crate::table::ids::FieldId;

use hashbrown::HashMap;

/// The paths that patterns test, each with a number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    ids: HashMap<Box<[Box<str>]>, FieldId>,
    paths: Vec<Box<[Box<str>]>>,
}

impl Fields {
    /// The number of a path. A new path gets a new number.
    pub(crate) fn intern(&mut self, path: &[Box<str>]) -> FieldId {
        if let Some(&id) = self.ids.get(path) {
            return id;
        }
        let id = FieldId::try_from(self.paths.len()).unwrap_or(FieldId::MAX);
        self.ids.insert(path.into(), id);
        self.paths.push(path.into());
        id
    }

    /// The number of a path; `None` if the path is new.
    pub(crate) fn find(&self, path: &[Box<str>]) -> Option<FieldId> {
        self.ids.get(path).copied()
    }

    /// Number of fields.
    pub(crate) fn len(&self) -> usize {
        self.paths.len()
    }

    /// The path of a field.
    pub(crate) fn path(&self, id: FieldId) -> &[Box<str>] {
        self.paths.get(id as usize).map_or(&[], |path| path)
    }

    /// All fields with their paths.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (FieldId, &[Box<str>])> {
        (0..).zip(self.paths.iter().map(|path| &**path))
    }
}
