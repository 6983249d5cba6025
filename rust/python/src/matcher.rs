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
/// Changes never disturb a match under way: each call works on one immutable state of the rules. Returned names are
/// interned, so the same rule always gives the same object.
///
/// Matching takes time linear in the document, plus time for the rules that come close to matching it. Other rules cost
/// nothing, however many there are; `cost` names the exceptions. Documents larger than 16 KiB, and lists of documents,
/// are matched with the interpreter's lock (GIL) released.
///
/// Compile `patterns`, a mapping of rule name to pattern.
///
/// `duplicate_keys` says what happens to a document in which an object has the same key twice: `"error"` rejects
/// it, `"last"` uses the last value. `depth` is the most levels that a document may be nested, 1 to 1024.
///
/// Raises `PatternError`, which names each invalid rule and the path within its pattern.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Matcher {
    options: Options,
    current: ArcSwap<Compiled>,
    /// Locked while a new state is made from the current one, so that no change is lost.
    renewal: Mutex<Option<Renewal>>,
}

impl Matcher {
    /// Matches a document by the current state.
    fn ask<T: Send>(
        &self,
        body: &Bound<'_, PyAny>,
        ask: impl FnOnce(&table::Matcher, &[u8]) -> Result<T, table::MatchError> + Send,
    ) -> PyResult<(Guard<Arc<Compiled>>, T)> {
        let compiled = self.current.load();
        let found = compiled.ask(body, ask)?;
        Ok((compiled, found))
    }

    /// Matches several documents by the current state, with the interpreter's lock released.
    fn ask_many<T: Send>(
        &self,
        bodies: &Bound<'_, PyAny>,
        ask: impl Fn(&table::Matcher, &[u8]) -> Result<T, table::MatchError> + Sync,
    ) -> PyResult<(Guard<Arc<Compiled>>, Vec<T>)> {
        let py = bodies.py();
        let at = |error: PyErr, index: usize| {
            // The error is raised even if this fails.
            let _ = error.value(py).call_method1("add_note", (format!("in document {index} of the list"),));
            error
        };
        // A single document is iterable too, but its items are not documents.
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
            Err((index, invalid)) => Err(at(errors::unmatched(py, &invalid), index)),
        }
    }

    /// Applies a change to the current state.
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

    /// Locks the right to make a new state.
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
                    "duplicate_keys must be \"error\" or \"last\", not {other:?}"
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

    /// The name of the first rule, in declaration order, that matches; `None` if no rule does.
    ///
    /// A document that is not an object has no fields. Raises `EnvelopeError` if `body` is not valid JSON, or, with the
    /// code `too_costly`, if matching it takes too many steps.
    fn first(&self, py: Python<'_>, body: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyString>>> {
        let (compiled, found) = self.ask(body, table::Matcher::first_with_handle)?;
        Ok(compiled.found(py, found))
    }

    /// The result of `first` for each document, all by the same rules.
    ///
    /// Mutable buffers are copied first. Raises like `first` for the first invalid document; a note on the exception
    /// gives that document's index.
    fn first_many(&self, py: Python<'_>, bodies: &Bound<'_, PyAny>) -> PyResult<Vec<Option<Py<PyString>>>> {
        let (compiled, found) = self.ask_many(bodies, table::Matcher::first_with_handle)?;
        Ok(found.into_iter().map(|found| compiled.found(py, found)).collect())
    }

    /// The names of all rules that match, in declaration order. Raises like `first`.
    fn matches(&self, py: Python<'_>, body: &Bound<'_, PyAny>) -> PyResult<Vec<Py<PyString>>> {
        let (compiled, numbers) = self.ask(body, table::Matcher::matches)?;
        Ok(compiled.named(py, numbers))
    }

    /// The result of `matches` for each document, all by the same rules. Raises like `first_many`.
    fn matches_many(&self, py: Python<'_>, bodies: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<Py<PyString>>>> {
        let (compiled, found) = self.ask_many(bodies, table::Matcher::matches)?;
        Ok(found.into_iter().map(|numbers| compiled.named(py, numbers)).collect())
    }

    /// Why each rule, or only `rule`, does or does not match.
    ///
    /// Without `rule`, this takes time for every rule. Raises like `first`; `KeyError` if there is no such rule.
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

    /// The rules that are tried one by one. This takes at most about as long as compiling the rules.
    fn cost(&self, py: Python<'_>) -> PyResult<Cost> {
        let compiled = self.current.load();
        let cost = py.detach(|| compiled.matcher.cost());
        Cost::of(py, &cost, |number| compiled.name(py, number))
    }

    /// Append a rule. Raises `PatternError`; `ValueError` if the name is taken.
    ///
    /// `add`, `update` and `remove` take time for the most recent changes only, not for all rules. After every few
    /// thousand changes, a background thread recompiles all rules.
    fn add(&self, py: Python<'_>, name: String, pattern: &Bound<'_, PyAny>) -> PyResult<()> {
        let pattern = parse(py, &name, pattern)?;
        self.edit(py, Change::Add(name, pattern))
    }

    /// Change a rule's pattern; the rule keeps its position.
    ///
    /// Raises `PatternError`; `KeyError` if there is no such rule.
    fn update(&self, py: Python<'_>, name: String, pattern: &Bound<'_, PyAny>) -> PyResult<()> {
        let pattern = parse(py, &name, pattern)?;
        self.edit(py, Change::Update(name, pattern))
    }

    /// Remove a rule. Raises `KeyError` if there is no such rule.
    fn remove(&self, py: Python<'_>, name: String) -> PyResult<()> {
        self.edit(py, Change::Remove(name))
    }

    /// Replace all rules at once. If it raises `PatternError`, the old rules stay.
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

/// Checks that the scanner supports a depth.
pub(crate) fn checked_depth(depth: i64) -> PyResult<usize> {
    if let Ok(depth) = usize::try_from(depth)
        && (1..=json::MAX_DEPTH).contains(&depth)
    {
        return Ok(depth);
    }
    Err(PyValueError::new_err(format!("depth must be from 1 to {}, not {depth}", json::MAX_DEPTH)))
}

// Defaults are literals in signatures, so that `help()` shows them.
const _: () = assert!(json::DEFAULT_DEPTH == 128);
