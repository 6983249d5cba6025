//! One state of a `Matcher`.

use std::time::{Duration, Instant};

use pyo3::exceptions::{PyKeyError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyMapping, PyString};
use waypost_core::json::Options;
use waypost_core::pattern::{Pattern, Problem, Value};
use waypost_core::table::{self, Found, MatcherBuilder};

use crate::body::Body;
use crate::names::{self, List, Names};
use crate::{errors, memory, value};

/// The least size in bytes of a document that is matched with the interpreter's lock released. Releasing and taking the
/// lock costs about as much as matching a tenth of that.
const LARGE: usize = 16 << 10;

/// How long rules are read before the interpreter's lock is released. It is less than the 5 ms for which another thread
/// then keeps the lock.
const HELD: Duration = Duration::from_millis(3);

/// One immutable state of a matcher.
pub(crate) struct Compiled {
    pub(crate) names: Names,
    pub(crate) matcher: table::Matcher,
}

/// A change of one rule.
pub(crate) enum Change {
    /// Appends a rule.
    Add(String, Pattern),
    /// Changes a rule's pattern.
    Update(String, Pattern),
    Remove(String),
}

/// A pattern as read, with the problems found so far.
type Read = (Value, Vec<Problem>);

fn compile((value, mut problems): Read) -> Result<Pattern, Vec<Problem>> {
    match table::Matcher::parse(&value) {
        Ok(pattern) if problems.is_empty() => Ok(pattern),
        Ok(_) => Err(problems),
        Err(found) => {
            problems.extend(found);
            Err(problems)
        }
    }
}

pub(crate) fn parse(py: Python<'_>, name: &str, pattern: &Bound<'_, PyAny>) -> PyResult<Pattern> {
    compile(value::read(pattern, false)?).map_err(|problems| {
        let named: Vec<_> = problems.into_iter().map(|problem| (name.to_owned(), problem)).collect();
        errors::patterns(py, &named)
    })
}

impl Compiled {
    pub(crate) fn new(patterns: &Bound<'_, PyAny>, options: Options) -> PyResult<Self> {
        let py = patterns.py();
        let Ok(patterns) = patterns.cast::<PyMapping>() else {
            let kind = patterns.get_type().qualname()?;
            return Err(PyTypeError::new_err(format!(
                "patterns is a mapping of rule name to pattern, not {kind}"
            )));
        };
        let sys_intern = py.import("sys")?.getattr("intern")?;
        let keys = patterns.keys()?;
        let mut names = Vec::with_capacity(keys.len());
        let mut builder = MatcherBuilder::with_capacity(keys.len());
        let mut batch: Vec<Read> = Vec::new();
        let mut problems: Vec<(String, Problem)> = Vec::new();
        let mut began = Instant::now();
        for key in keys.iter() {
            let pattern = patterns.get_item(&key)?;
            let Ok(name) = key.cast_into::<PyString>() else {
                return Err(PyTypeError::new_err(
                    "patterns is a mapping of rule name to pattern: a rule name is a str",
                ));
            };
            batch.push(value::read(&pattern, false)?);
            names.push(names::intern(&name, &sys_intern)?);
            if began.elapsed() > HELD {
                push_all(py, &names, &mut batch, &mut builder, &mut problems);
                began = Instant::now();
            }
        }
        push_all(py, &names, &mut batch, &mut builder, &mut problems);
        if !problems.is_empty() {
            return Err(errors::patterns(py, &problems));
        }
        let matcher = py.detach(|| {
            let matcher = builder.finish(options);
            memory::give_back(names.len());
            matcher
        });
        let mut list = List::with_capacity(names.len());
        names.into_iter().try_for_each(|name| list.append(py, name))?;
        Ok(Self::of(Names::of(list), matcher))
    }

    /// Combines names with a matcher that nothing else shares yet.
    pub(crate) fn of(names: Names, matcher: table::Matcher) -> Self {
        let matcher = matcher.with_handles(|number| names.handle(number));
        Self { names, matcher }
    }

    /// A state in which one rule differs. Takes time for the most recent changes, not for all rules.
    ///
    /// Raises `ValueError` if a new rule's name is taken, `KeyError` if a changed rule does not exist.
    pub(crate) fn changed(&self, py: Python<'_>, change: &Change) -> PyResult<Self> {
        let mut names = self.names.copy(py);
        let matcher = match change {
            Change::Add(name, pattern) => {
                if self.find(py, name).is_some() {
                    let message = format!("rule {name:?} already exists: use update to change it");
                    return Err(PyValueError::new_err(message));
                }
                let matcher = self.matcher.with(names.next(), Some(pattern));
                names.push(py, name);
                matcher
            }
            Change::Update(name, pattern) => self.matcher.with(self.number(py, name)?, Some(pattern)),
            Change::Remove(name) => self.matcher.with(self.number(py, name)?, None),
        };
        Ok(Self { names, matcher })
    }

    /// Whether there are so many changes that all rules should be recompiled.
    pub(crate) fn is_overgrown(&self) -> bool {
        self.matcher.is_overgrown() || self.names.is_overgrown()
    }

    pub(crate) fn name(&self, py: Python<'_>, number: usize) -> Option<Py<PyString>> {
        self.names.get(number).map(|name| name.clone_ref(py))
    }

    pub(crate) fn found(&self, py: Python<'_>, found: Option<Found>) -> Option<Py<PyString>> {
        let Found { number, handle } = found?;
        // SAFETY: the handle comes from the names of this matcher (see `of`), or from names whose base list they share.
        #[allow(unsafe_code)] // Looking up the name by its number would cost one more memory access.
        let found = unsafe { Names::by_handle(py, handle) };
        found.or_else(|| self.name(py, number))
    }

    pub(crate) fn named(&self, py: Python<'_>, numbers: Vec<usize>) -> Vec<Py<PyString>> {
        numbers.into_iter().filter_map(|number| self.name(py, number)).collect()
    }

    /// Matches a document; releases the interpreter's lock for a large one.
    pub(crate) fn ask<T: Send>(
        &self,
        body: &Bound<'_, PyAny>,
        ask: impl FnOnce(&table::Matcher, &[u8]) -> Result<T, table::MatchError> + Send,
    ) -> PyResult<T> {
        let py = body.py();
        let body = Body::of(body)?;
        let (bytes, matcher) = (body.as_bytes(), &self.matcher);
        let found = if bytes.len() < LARGE { ask(matcher, bytes) } else { py.detach(|| ask(matcher, bytes)) };
        found.map_err(|invalid| errors::unmatched(py, &invalid))
    }

    /// The number of the rule with this name.
    pub(crate) fn find(&self, py: Python<'_>, name: &str) -> Option<usize> {
        self.names.find(py, name).filter(|number| self.matcher.has(*number))
    }

    pub(crate) fn number(&self, py: Python<'_>, name: &str) -> PyResult<usize> {
        self.find(py, name).ok_or_else(|| PyKeyError::new_err(format!("there is no rule {name:?}")))
    }
}

/// Compiles a batch, the patterns of the last names, with the interpreter's lock released. Adds their problems.
fn push_all(
    py: Python<'_>,
    names: &[Py<PyString>],
    batch: &mut Vec<Read>,
    builder: &mut MatcherBuilder,
    problems: &mut Vec<(String, Problem)>,
) {
    let first = names.len() - batch.len();
    let found: Vec<(usize, Problem)> = py.detach(|| {
        let mut found = Vec::new();
        for (read, at) in batch.drain(..).zip(first..) {
            match compile(read) {
                Ok(pattern) => builder.push(&pattern),
                Err(problems) => found.extend(problems.into_iter().map(|problem| (at, problem))),
            }
        }
        found
    });
    let name = |at: usize| names.get(at).map(|name| name.bind(py).to_string()).unwrap_or_default();
    problems.extend(found.into_iter().map(|(at, problem)| (name(at), problem)));
}
