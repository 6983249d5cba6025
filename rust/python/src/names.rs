//! The names of a matcher's rules.

use std::hash::BuildHasher;
use std::ptr::NonNull;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// How many names may be added to those of the beginning: each copy has them once more.
const ADDED: usize = 4096;

/// Names by number, and the other way round. Copies share what was there in the beginning.
///
/// A name may be found that is no rule's any more, never one that was not.
pub(crate) struct Names {
    base: Arc<List>,
    added: List,
}

/// Names, numbered from 0.
#[derive(Default)]
struct List {
    names: Vec<Py<PyString>>,
    /// Numbers, by the hash of the name.
    table: HashTable<u32>,
    hasher: RandomState,
}

impl List {
    fn is(&self, py: Python<'_>, number: u32, name: &str) -> bool {
        let other = self.names.get(number as usize).map(|other| other.bind(py).to_str());
        matches!(other, Some(Ok(other)) if other == name)
    }

    fn hash(&self, py: Python<'_>, number: u32) -> u64 {
        let name = self.names.get(number as usize).map(|name| name.bind(py).to_str());
        name.map_or(0, |name| self.hasher.hash_one(name.unwrap_or_default()))
    }

    fn find(&self, py: Python<'_>, name: &str) -> Option<usize> {
        let found = self.table.find(self.hasher.hash_one(name), |number| self.is(py, *number, name));
        found.map(|number| *number as usize)
    }

    /// Appends a name, which is found from now on, and not one before that is the same.
    fn push(&mut self, py: Python<'_>, name: &str) {
        let new = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(PyString::intern(py, name).unbind());
        let mut table = std::mem::take(&mut self.table);
        let hash = self.hasher.hash_one(name);
        match table.find_mut(hash, |number| self.is(py, *number, name)) {
            Some(number) => *number = new,
            None => {
                table.insert_unique(hash, new, |number| self.hash(py, *number));
            }
        }
        self.table = table;
    }

    fn copy(&self, py: Python<'_>) -> Self {
        let names = self.names.iter().map(|name| name.clone_ref(py)).collect();
        Self { names, table: self.table.clone(), hasher: self.hasher.clone() }
    }
}

impl Names {
    /// Numbered from 0.
    pub(crate) fn new(py: Python<'_>, mut names: Vec<Py<PyString>>) -> PyResult<Self> {
        names.shrink_to_fit();
        let mut base = List { table: HashTable::with_capacity(names.len()), names, ..List::default() };
        for (name, number) in base.names.iter().zip(0..) {
            let hash = base.hasher.hash_one(name.bind(py).to_str()?);
            // There is room: nothing has to be hashed again.
            base.table.insert_unique(hash, number, |_| hash);
        }
        Ok(Self { base: Arc::new(base), added: List::default() })
    }

    pub(crate) fn get(&self, number: usize) -> Option<&Py<PyString>> {
        let Self { base, added } = self;
        base.names.get(number).or_else(|| added.names.get(number.checked_sub(base.names.len())?))
    }

    /// The mark of a name of the beginning, for [`Self::marked`]: its address.
    pub(crate) fn mark(&self, number: usize) -> usize {
        self.base.names.get(number).map_or(0, |name| name.as_ptr().expose_provenance())
    }

    /// The name of a mark; `None` of 0.
    ///
    /// # Safety
    /// The mark is 0, or the names that gave it, or a copy of them, are still there.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn marked(py: Python<'_>, mark: usize) -> Option<Py<PyString>> {
        let name = NonNull::new(std::ptr::with_exposed_provenance_mut(mark))?;
        // SAFETY: it is the address of one of the names, each of which is a str.
        Some(unsafe { Bound::from_borrowed_ptr(py, name.as_ptr()).cast_into_unchecked() }.unbind())
    }

    /// The number that the next name will have.
    pub(crate) fn next(&self) -> usize {
        self.base.names.len() + self.added.names.len()
    }

    /// The number that a name was last given.
    pub(crate) fn find(&self, py: Python<'_>, name: &str) -> Option<usize> {
        let added = self.added.find(py, name).map(|number| self.base.names.len() + number);
        added.or_else(|| self.base.find(py, name))
    }

    pub(crate) fn copy(&self, py: Python<'_>) -> Self {
        Self { base: Arc::clone(&self.base), added: self.added.copy(py) }
    }

    /// Gives a name the next number.
    pub(crate) fn push(&mut self, py: Python<'_>, name: &str) {
        self.added.push(py, name);
    }

    /// Whether so many were added, be they rules' still or not, that [`Self::renumbered`] is worth its time.
    pub(crate) fn is_overgrown(&self) -> bool {
        self.added.names.len() > ADDED
    }

    /// Only these, numbered from 0.
    pub(crate) fn renumbered(&self, py: Python<'_>, numbers: &[usize]) -> PyResult<Self> {
        let names = numbers.iter().filter_map(|number| self.get(*number));
        Self::new(py, names.map(|name| name.clone_ref(py)).collect())
    }
}

/// Interned, so that equal names are one object everywhere.
pub(crate) fn intern(name: &Bound<'_, PyString>, sys_intern: &Bound<'_, PyAny>) -> PyResult<Py<PyString>> {
    // Of a subclass of str there is no interned object.
    match sys_intern.call1((name,)) {
        Ok(interned) => Ok(interned.cast_into::<PyString>()?.unbind()),
        Err(_) => Ok(PyString::intern(name.py(), name.to_str()?).unbind()),
    }
}
