//! The names of a matcher's rules.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::ptr::NonNull;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Names by number, and the other way round. Copies share what was there in the beginning.
///
/// A name may be found that is no rule's any more, never one that was not.
pub(crate) struct Names {
    base: Arc<Base>,
    added: Vec<Py<PyString>>,
    numbers: HashMap<String, usize>,
}

#[derive(Default)]
struct Base {
    list: Vec<Py<PyString>>,
    /// Numbers, by the hash of the name.
    table: HashTable<u32>,
    hasher: RandomState,
}

impl Names {
    /// Numbered from 0.
    pub(crate) fn new(py: Python<'_>, mut list: Vec<Py<PyString>>) -> PyResult<Self> {
        list.shrink_to_fit();
        let mut base = Base { table: HashTable::with_capacity(list.len()), list, ..Base::default() };
        for (name, number) in base.list.iter().zip(0..) {
            let hash = base.hasher.hash_one(name.bind(py).to_str()?);
            // There is room: nothing has to be hashed again.
            base.table.insert_unique(hash, number, |_| hash);
        }
        Ok(Self { base: Arc::new(base), added: Vec::new(), numbers: HashMap::new() })
    }

    pub(crate) fn get(&self, number: usize) -> Option<&Py<PyString>> {
        let Self { base, added, .. } = self;
        base.list.get(number).or_else(|| added.get(number.checked_sub(base.list.len())?))
    }

    /// The mark of a name of the beginning, for [`Self::marked`]: its address.
    pub(crate) fn mark(&self, number: usize) -> usize {
        self.base.list.get(number).map_or(0, |name| name.as_ptr().expose_provenance())
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
        self.base.list.len() + self.added.len()
    }

    /// The number that a name was last given.
    pub(crate) fn find(&self, py: Python<'_>, name: &str) -> Option<usize> {
        let base = &self.base;
        let same = |number: &u32| {
            let other = base.list.get(*number as usize).map(|other| other.bind(py).to_str());
            matches!(other, Some(Ok(other)) if other == name)
        };
        let in_base = || base.table.find(base.hasher.hash_one(name), same).map(|number| *number as usize);
        self.numbers.get(name).copied().or_else(in_base)
    }

    pub(crate) fn copy(&self, py: Python<'_>) -> Self {
        let added = self.added.iter().map(|name| name.clone_ref(py)).collect();
        Self { base: Arc::clone(&self.base), added, numbers: self.numbers.clone() }
    }

    /// Gives a name the next number.
    pub(crate) fn push(&mut self, py: Python<'_>, name: &str) {
        self.numbers.insert(name.to_owned(), self.next());
        self.added.push(PyString::intern(py, name).unbind());
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
