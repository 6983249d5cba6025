//! `Matcher`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyIterator, PyMapping, PyString, PyTuple};
use waypost_core::json::{self, DuplicateKeys, Options};
use waypost_core::pattern::Pattern;
use waypost_core::table;

use crate::body::Body;
use crate::explanation::Explanation;
use crate::{errors, value};

/// One immutable state of a matcher.
struct Compiled {
    names: Vec<Py<PyString>>,
    patterns: Vec<Arc<Pattern>>,
    positions: HashMap<String, usize>,
    matcher: table::Matcher,
}

#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Matcher {
    options: Options,
    /// Held only to read or to replace the pointer, never while anything is compiled or matched.
    current: RwLock<Arc<Compiled>>,
    /// Held while a new state is made from the current one, so that no change is lost.
    editing: Mutex<()>,
}

type Rules = Vec<(String, Arc<Pattern>)>;

fn parse(py: Python<'_>, name: &str, pattern: &Bound<'_, PyAny>) -> PyResult<Arc<Pattern>> {
    let (value, mut problems) = value::read(pattern, false)?;
    let parsed = table::Matcher::parse(&value).map_err(|found| problems.extend(found));
    match parsed {
        Ok(parsed) if problems.is_empty() => Ok(Arc::new(parsed)),
        _ => Err(errors::pattern(py, name, &problems)),
    }
}

fn parse_all(patterns: &Bound<'_, PyMapping>) -> PyResult<Rules> {
    let items = patterns.items()?;
    let mut rules = Vec::with_capacity(items.len());
    for item in items.iter() {
        let (name, pattern): (String, Bound<'_, PyAny>) = item.extract()?;
        let parsed = parse(patterns.py(), &name, &pattern)?;
        rules.push((name, parsed));
    }
    Ok(rules)
}

impl Compiled {
    fn new(py: Python<'_>, rules: Rules, options: Options) -> Self {
        let names = rules.iter().map(|(name, _)| PyString::intern(py, name).unbind()).collect();
        let (positions, patterns, matcher) = py.detach(|| {
            let matcher = table::Matcher::new(rules.iter().map(|(_, pattern)| &**pattern), options);
            let patterns = rules.iter().map(|(_, pattern)| Arc::clone(pattern)).collect();
            let positions = rules.into_iter().map(|(name, _)| name).zip(0..).collect();
            (positions, patterns, matcher)
        });
        Self { names, patterns, positions, matcher }
    }

    fn rules(&self, py: Python<'_>) -> PyResult<Rules> {
        let names = self.names.iter().map(|name| name.extract::<String>(py));
        names.zip(&self.patterns).map(|(name, pattern)| Ok((name?, Arc::clone(pattern)))).collect()
    }
}

impl Matcher {
    fn current(&self) -> Arc<Compiled> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a new state from the current one.
    fn edit(&self, py: Python<'_>, edit: impl FnOnce(&Compiled) -> PyResult<Rules>) -> PyResult<()> {
        let _one_at_a_time = self.editing.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        let rules = edit(&self.current())?;
        let compiled = Arc::new(Compiled::new(py, rules, self.options));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = compiled;
        Ok(())
    }

    fn position(compiled: &Compiled, name: &str) -> PyResult<usize> {
        compiled.positions.get(name).copied().ok_or_else(|| PyKeyError::new_err(name.to_owned()))
    }
}

#[pymethods]
impl Matcher {
    #[new]
    #[pyo3(signature = (patterns = None, *, duplicate_keys = "error", depth = 128))]
    fn new(
        py: Python<'_>,
        patterns: Option<&Bound<'_, PyMapping>>,
        duplicate_keys: &str,
        depth: usize,
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
        let rules = patterns.map(parse_all).transpose()?.unwrap_or_default();
        let compiled = Arc::new(Compiled::new(py, rules, options));
        Ok(Self { options, current: RwLock::new(compiled), editing: Mutex::new(()) })
    }

    fn first(&self, py: Python<'_>, body: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyString>>> {
        let (body, compiled) = (Body::of(body)?, self.current());
        let rank = compiled.matcher.first(body.as_bytes()).map_err(|error| errors::json(py, error))?;
        Ok(rank.and_then(|rank| compiled.names.get(rank)).map(|name| name.clone_ref(py)))
    }

    fn matches(&self, py: Python<'_>, body: &Bound<'_, PyAny>) -> PyResult<Vec<Py<PyString>>> {
        let (body, compiled) = (Body::of(body)?, self.current());
        let ranks = compiled.matcher.matches(body.as_bytes()).map_err(|error| errors::json(py, error))?;
        Ok(ranks
            .into_iter()
            .filter_map(|rank| compiled.names.get(rank))
            .map(|name| name.clone_ref(py))
            .collect())
    }

    fn explain(&self, py: Python<'_>, body: &Bound<'_, PyAny>) -> PyResult<Explanation> {
        let (body, compiled) = (Body::of(body)?, self.current());
        let verdicts = compiled.matcher.explain(body.as_bytes()).map_err(|error| errors::json(py, error))?;
        let names = compiled.names.iter().map(|name| name.extract(py)).collect::<PyResult<Vec<String>>>()?;
        Explanation::of(py, names.into_iter().zip(verdicts), Vec::new(), None)
    }

    fn add(&self, py: Python<'_>, name: String, pattern: &Bound<'_, PyAny>) -> PyResult<()> {
        let parsed = parse(py, &name, pattern)?;
        self.edit(py, |current| {
            if current.positions.contains_key(&name) {
                let message = format!("there is a rule {name:?} already: use update to change it");
                return Err(PyValueError::new_err(message));
            }
            let mut rules = current.rules(py)?;
            rules.push((name, parsed));
            Ok(rules)
        })
    }

    fn update(&self, py: Python<'_>, name: &str, pattern: &Bound<'_, PyAny>) -> PyResult<()> {
        let parsed = parse(py, name, pattern)?;
        self.edit(py, |current| {
            let position = Self::position(current, name)?;
            let mut rules = current.rules(py)?;
            if let Some((_, pattern)) = rules.get_mut(position) {
                *pattern = parsed;
            }
            Ok(rules)
        })
    }

    fn remove(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        self.edit(py, |current| {
            let position = Self::position(current, name)?;
            let mut rules = current.rules(py)?;
            rules.remove(position);
            Ok(rules)
        })
    }

    fn replace(&self, py: Python<'_>, patterns: &Bound<'_, PyMapping>) -> PyResult<()> {
        let rules = parse_all(patterns)?;
        self.edit(py, |_| Ok(rules))
    }

    fn __len__(&self) -> usize {
        self.current().names.len()
    }

    fn __contains__(&self, name: &Bound<'_, PyAny>) -> bool {
        name.extract::<String>().is_ok_and(|name| self.current().positions.contains_key(&name))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyTuple::new(py, &self.current().names)?.try_iter()
    }

    fn __repr__(&self) -> String {
        format!("<Matcher of {} rules>", self.__len__())
    }
}

/// A depth that the scanner takes.
pub(crate) fn checked_depth(depth: usize) -> PyResult<usize> {
    if (1..=json::MAX_DEPTH).contains(&depth) {
        return Ok(depth);
    }
    Err(PyValueError::new_err(format!("depth is 1 to {}, not {depth}", json::MAX_DEPTH)))
}

// Signatures show their defaults, so they are written as literals.
const _: () = assert!(json::DEFAULT_DEPTH == 128);
