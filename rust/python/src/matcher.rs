//! `Matcher`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyDict, PyIterator, PyString, PyTuple};
use waypost_core::json::{self, DuplicateKeys, Options};
use waypost_core::table;

use crate::body::Body;
use crate::compiled::{Change, Compiled, parse};
use crate::cost::Cost;
use crate::errors;
use crate::explanation::Explanation;
use crate::renewal::{Progress, Renewal};

/// Named patterns, matched against JSON documents.
///
/// A replacement never disturbs a match under way: each call works on one immutable snapshot. Names that are returned
/// are interned: of one rule it is always the same object.
///
/// Matching takes time linear in the document, and for the rules that come near to matching it; not for the others,
/// however many there are (`cost` tells of rules for which that cannot be so). Documents above 16 KiB, and lists of
/// documents, are matched with the interpreter's lock released.
///
/// Compile `patterns`: rule name to pattern.
///
/// `duplicate_keys`: a document in which one object has a key twice is an error, or its last copy counts.
/// `depth`: how many containers may be nested in a document, 1 to 1024.
///
/// Raises `PatternError`, naming each rule with a fault and the path within its pattern.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Matcher {
    options: Options,
    current: ArcSwap<Compiled>,
    /// Held while a new state is made from the current one, so that no change is lost.
    renewal: Mutex<Option<Renewal>>,
}

impl Matcher {
    /// Asks the current state about a document.
    fn ask<T: Send>(
        &self,
        body: &Bound<'_, PyAny>,
        ask: impl FnOnce(&table::Matcher, &[u8]) -> Result<T, json::InvalidDocument> + Send,
    ) -> PyResult<(Guard<Arc<Compiled>>, T)> {
        let compiled = self.current.load();
        let found = compiled.ask(body, ask)?;
        Ok((compiled, found))
    }

    /// Asks the current state about several documents, the interpreter going on meanwhile.
    fn ask_many<T: Send>(
        &self,
        bodies: &Bound<'_, PyAny>,
        ask: impl Fn(&table::Matcher, &[u8]) -> Result<T, json::InvalidDocument> + Sync,
    ) -> PyResult<(Guard<Arc<Compiled>>, Vec<T>)> {
        let py = bodies.py();
        let at = |error: PyErr, index: usize| {
            // The error is raised all the same if this fails.
            let _ = error.value(py).call_method1("add_note", (format!("in document {index} of the list"),));
            error
        };
        // One document is an iterable as well, of what are no documents.
        if Body::is_one(bodies) {
            let kind = bodies.get_type().qualname()?;
            return Err(PyTypeError::new_err(format!("a list of documents, not {kind}: write [document]")));
        }
        let objects: Vec<Bound<'_, PyAny>> = bodies.try_iter()?.collect::<PyResult<_>>()?;
        let bodies: Vec<Body<'_>> = (0..)
            .zip(&objects)
            .map(|(index, object)| Body::of(object).map_err(|error| at(error, index)))
            .collect::<PyResult<_>>()?;
        let bytes: Vec<&[u8]> = bodies.iter().map(Body::as_bytes).collect();
        let compiled = self.current.load();
        let matcher = &compiled.matcher;
        let found = py.detach(|| {
            (0..).zip(bytes).map(|(index, body)| ask(matcher, body).map_err(|error| (index, error))).collect()
        });
        match found {
            Ok(found) => Ok((compiled, found)),
            Err((index, invalid)) => Err(at(errors::json(py, &invalid), index)),
        }
    }

    /// Makes a new state from the current one.
    fn edit(&self, py: Python<'_>, change: Change) -> PyResult<()> {
        let mut renewal = self.editing(py);
        let mut compiled = self.current.load().changed(py, &change)?;
        if let Some(under_way) = renewal.take() {
            match under_way.go_on(py, change)? {
                Progress::Done(renewed) => compiled = renewed,
                Progress::More(under_way) => *renewal = Some(under_way),
            }
        }
        let compiled = Arc::new(compiled);
        if renewal.is_none() && compiled.is_overgrown() {
            *renewal = Some(Renewal::of(&compiled));
        }
        self.current.store(compiled);
        Ok(())
    }

    /// Waits for the right to make a new state.
    fn editing(&self, py: Python<'_>) -> MutexGuard<'_, Option<Renewal>> {
        self.renewal.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Matcher {
    #[new]
    #[pyo3(signature = (patterns = None, *, duplicate_keys = "error", depth = 128))]
    fn new(
        py: Python<'_>,
        patterns: Option<&Bound<'_, PyAny>>,
        duplicate_keys: &str,
        depth: i64,
    ) -> PyResult<Self> {
        let duplicate_keys = match duplicate_keys {
            "error" => DuplicateKeys::Error,
            "last" => DuplicateKeys::Last,
            other => {
                return Err(PyValueError::new_err(format!(
                    "duplicate_keys is \"error\" or \"last\", not {other:?}"
                )));
            }
        };
        let options = Options { depth: checked_depth(depth)?, duplicate_keys };
        let compiled = match patterns {
            Some(patterns) => Compiled::new(patterns, options)?,
            None => Compiled::new(&PyDict::new(py), options)?,
        };
        Ok(Self { options, current: ArcSwap::from_pointee(compiled), renewal: Mutex::default() })
    }

    /// The name of the first rule, in declaration order, that matches; `None` where none does.
    ///
    /// Raises `EnvelopeError` where `body` is not valid JSON. A document that is no object has no fields.
    fn first(&self, py: Python<'_>, body: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyString>>> {
        let (compiled, found) = self.ask(body, table::Matcher::first_with_handle)?;
        Ok(compiled.found(py, found))
    }

    /// `first` of each document, all by the same rules.
    ///
    /// Mutable buffers are copied first. Raises as `first` does, for the first document that is not valid; a note on
    /// the exception says which one that is.
    fn first_many(&self, py: Python<'_>, bodies: &Bound<'_, PyAny>) -> PyResult<Vec<Option<Py<PyString>>>> {
        let (compiled, found) = self.ask_many(bodies, table::Matcher::first_with_handle)?;
        Ok(found.into_iter().map(|found| compiled.found(py, found)).collect())
    }

    /// The names of all rules that match, in declaration order. Raises as `first` does.
    fn matches(&self, py: Python<'_>, body: &Bound<'_, PyAny>) -> PyResult<Vec<Py<PyString>>> {
        let (compiled, numbers) = self.ask(body, table::Matcher::matches)?;
        Ok(compiled.named(py, numbers))
    }

    /// `matches` of each document, all by the same rules. Raises as `first_many` does.
    fn matches_many(&self, py: Python<'_>, bodies: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<Py<PyString>>>> {
        let (compiled, found) = self.ask_many(bodies, table::Matcher::matches)?;
        Ok(found.into_iter().map(|numbers| compiled.named(py, numbers)).collect())
    }

    /// Why each rule does or does not match, or only that one: without `rule` it takes time for each.
    ///
    /// Raises as `first` does; `KeyError` where there is no such rule.
    #[pyo3(signature = (body, *, rule = None))]
    fn explain(&self, py: Python<'_>, body: &Bound<'_, PyAny>, rule: Option<&str>) -> PyResult<Explanation> {
        let Some(rule) = rule else {
            let (compiled, verdicts) = self.ask(body, table::Matcher::explain)?;
            let named = verdicts.into_iter().filter_map(|(number, verdict)| {
                Some(compiled.names.get(number)?.extract(py).map(|name| (name, verdict)))
            });
            let verdicts = named.collect::<PyResult<Vec<(String, table::Verdict)>>>()?;
            return Explanation::of(py, verdicts, Vec::new(), None);
        };
        let compiled = self.current.load();
        let number = compiled.number(py, rule)?;
        let (first, verdict) = compiled.ask(body, |matcher, body| {
            Ok((matcher.first_with_handle(body)?, matcher.explain_one(body, number)?))
        })?;
        let first = compiled.found(py, first).map(|name| name.extract(py)).transpose()?;
        let verdict = verdict.map(|verdict| (rule.to_owned(), verdict));
        Ok(Explanation::of(py, verdict, Vec::new(), None)?.taken_by(first))
    }

    /// The rules that messages are tried against one by one. Takes at most about as long as compiling them.
    fn cost(&self, py: Python<'_>) -> PyResult<Cost> {
        let compiled = self.current.load();
        let cost = py.detach(|| compiled.matcher.cost());
        Cost::of(py, &cost, |number| compiled.name(py, number))
    }

    /// Append a rule. Raises `PatternError`; `ValueError` where the name is taken.
    ///
    /// `add`, `update` and `remove` take time for the rules that were changed last, not for all. Once in some thousands
    /// of changes a thread compiles all rules anew beside them.
    fn add(&self, py: Python<'_>, name: String, pattern: &Bound<'_, PyAny>) -> PyResult<()> {
        let pattern = parse(py, &name, pattern)?;
        self.edit(py, Change::Add(name, pattern))
    }

    /// Give a rule another pattern; it keeps its position. Raises `PatternError`; `KeyError` where there is none.
    fn update(&self, py: Python<'_>, name: String, pattern: &Bound<'_, PyAny>) -> PyResult<()> {
        let pattern = parse(py, &name, pattern)?;
        self.edit(py, Change::Update(name, pattern))
    }

    /// Remove a rule. Raises `KeyError` where there is none.
    fn remove(&self, py: Python<'_>, name: String) -> PyResult<()> {
        self.edit(py, Change::Remove(name))
    }

    /// Swap all rules at once. On `PatternError` the old rules stay.
    fn replace(&self, py: Python<'_>, patterns: &Bound<'_, PyAny>) -> PyResult<()> {
        let compiled = Arc::new(Compiled::new(patterns, self.options)?);
        let mut renewal = self.editing(py);
        *renewal = None;
        self.current.store(compiled);
        Ok(())
    }

    fn __len__(&self) -> usize {
        self.current.load().matcher.len()
    }

    fn __contains__(&self, py: Python<'_>, name: &Bound<'_, PyAny>) -> bool {
        let found = |name: &Bound<'_, PyString>| self.current.load().find(py, name.to_str().ok()?);
        name.cast::<PyString>().is_ok_and(|name| found(name).is_some())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let compiled = self.current.load();
        PyTuple::new(py, compiled.named(py, compiled.matcher.numbers()))?.try_iter()
    }

    fn __repr__(&self) -> String {
        match self.__len__() {
            1 => "<Matcher of 1 rule>".to_owned(),
            count => format!("<Matcher of {count} rules>"),
        }
    }
}

/// A depth that the scanner takes.
pub(crate) fn checked_depth(depth: i64) -> PyResult<usize> {
    if let Ok(depth) = usize::try_from(depth)
        && (1..=json::MAX_DEPTH).contains(&depth)
    {
        return Ok(depth);
    }
    Err(PyValueError::new_err(format!("depth is 1 to {}, not {depth}", json::MAX_DEPTH)))
}

// Signatures show their defaults, so they are written as literals.
const _: () = assert!(json::DEFAULT_DEPTH == 128);
