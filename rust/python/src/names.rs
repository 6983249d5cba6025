//! The names of a matcher's rules.

use std::hash::BuildHasher;
use std::ptr::NonNull;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// The most names in `added`, which each copy copies.
const ADDED: usize = 4096;

/// Maps numbers to names and names to numbers. Copies share the base list.
///
/// Names of removed rules stay and are still found.
pub(crate) struct Names {
    base: Arc<List>,
    added: List,
}

/// Names, numbered from 0.
#[derive(Default)]
pub(crate) struct List {
    names: Vec<Py<PyString>>,
    /// Numbers by the hash of the name.
    table: HashTable<u32>,
    hasher: RandomState,
}

impl List {
    /// Reserves room for `names` names, so that none has to be rehashed.
    pub(crate) fn with_capacity(names: usize) -> Self {
        let (names, table) = (Vec::with_capacity(names), HashTable::with_capacity(names));
        Self { names, table, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Appends a name that is not in the list.
    pub(crate) fn append(&mut self, py: Python<'_>, name: Py<PyString>) -> PyResult<()> {
        let new = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let hash = self.hasher.hash_one(name.bind(py).to_str()?);
        let Self { names, table, hasher } = self;
        names.push(name);
        table.insert_unique(hash, new, |number| hash_of(py, names, hasher, *number));
        Ok(())
    }

    fn find(&self, py: Python<'_>, name: &str) -> Option<usize> {
        let found = self.table.find(self.hasher.hash_one(name), |number| is(py, &self.names, *number, name));
        found.map(|number| *number as usize)
    }

    /// Appends a name. From now on it is found instead of an earlier equal one.
    fn push(&mut self, py: Python<'_>, name: &str) {
        let new = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let hash = self.hasher.hash_one(name);
        let Self { names, table, hasher } = self;
        names.push(PyString::intern(py, name).unbind());
        match table.find_mut(hash, |number| is(py, names, *number, name)) {
            Some(number) => *number = new,
            None => {
                table.insert_unique(hash, new, |number| hash_of(py, names, hasher, *number));
            }
        }
    }

    fn copy(&self, py: Python<'_>) -> Self {
        let names = self.names.iter().map(|name| name.clone_ref(py)).collect();
        Self { names, table: self.table.clone(), hasher: self.hasher.clone() }
    }
}

impl Names {
    /// Makes names with this base list.
    pub(crate) fn of(list: List) -> Self {
        Self { base: Arc::new(list), added: List::default() }
    }

    pub(crate) fn get(&self, number: usize) -> Option<&Py<PyString>> {
        let Self { base, added } = self;
        base.names.get(number).or_else(|| added.names.get(number.checked_sub(base.names.len())?))
    }

    /// The handle of a name of the base list for [`Self::by_handle`], its address; 0 for other names.
    pub(crate) fn handle(&self, number: usize) -> usize {
        self.base.names.get(number).map_or(0, |name| name.as_ptr().expose_provenance())
    }

    /// The name of a handle; `None` for 0.
    ///
    /// # Safety
    /// The handle must be 0, or come from names that still exist or of which a copy exists.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn by_handle(py: Python<'_>, handle: usize) -> Option<Py<PyString>> {
        let name = NonNull::new(std::ptr::with_exposed_provenance_mut(handle))?;
        // SAFETY: the handle is the address of a name, and every name is a str.
        Some(unsafe { Bound::from_borrowed_ptr(py, name.as_ptr()).cast_into_unchecked() }.unbind())
    }

    /// The number that the next name will have.
    pub(crate) fn next(&self) -> usize {
        self.base.names.len() + self.added.names.len()
    }

    /// The latest number of a name.
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

    /// Whether so many names were added, including those of removed rules, that all should be renumbered.
    pub(crate) fn is_overgrown(&self) -> bool {
        self.added.names.len() > ADDED
    }
}

fn text<'n>(py: Python<'_>, names: &'n [Py<PyString>], number: u32) -> Option<&'n str> {
    names.get(number as usize)?.to_str(py).ok()
}

fn is(py: Python<'_>, names: &[Py<PyString>], number: u32, name: &str) -> bool {
    text(py, names, number) == Some(name)
}

fn hash_of(py: Python<'_>, names: &[Py<PyString>], hasher: &RandomState, number: u32) -> u64 {
    text(py, names, number).map_or(0, |name| hasher.hash_one(name))
}

/// Interns a name, so that equal names are the same object everywhere.
pub(crate) fn intern(name: &Bound<'_, PyString>, sys_intern: &Bound<'_, PyAny>) -> PyResult<Py<PyString>> {
    // Python does not intern instances of subclasses of str.
    match sys_intern.call1((name,)) {
        Ok(interned) => Ok(interned.cast_into::<PyString>()?.unbind()),
        Err(_) => Ok(PyString::intern(name.py(), name.to_str()?).unbind()),
    }
}
