//! `Matcher`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use pyo3::exceptions::{PyKeyError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyDict, PyIterator, PyMapping, PyString, PyTuple};
use waypost_core::json::{self, DuplicateKeys, Options};
use waypost_core::pattern::{Pattern, Problem, Value};
use waypost_core::table::{self, Found, MatcherBuilder};

use crate::body::Body;
use crate::cost::Cost;
use crate::explanation::Explanation;
use crate::names::{self, Names};
use crate::{errors, memory, value};

/// From how many bytes on the interpreter is let go on while a document is matched: giving it up and taking it again
/// costs about as much as matching a tenth of that.
const LARGE: usize = 16 << 10;

/// How long rules are read before the interpreter is let go on: less than the 5 ms for which another thread, if it has
/// anything to do, keeps it then.
const HELD: Duration = Duration::from_millis(3);

/// One immutable state of a matcher.
struct Compiled {
    names: Names,
    matcher: table::Matcher,
}

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
    editing: Mutex<()>,
}

/// A pattern as it was read, and what is wrong with it so far.
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

fn parse(py: Python<'_>, name: &str, pattern: &Bound<'_, PyAny>) -> PyResult<Pattern> {
    compile(value::read(pattern, false)?).map_err(|problems| {
        let named: Vec<_> = problems.into_iter().map(|problem| (name.to_owned(), problem)).collect();
        errors::patterns(py, &named)
    })
}

impl Compiled {
    fn new(patterns: &Bound<'_, PyAny>, options: Options) -> PyResult<Self> {
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
                    "patterns is a mapping of rule name to pattern: a name is a str",
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
        Ok(Self::of(Names::new(py, names)?, matcher))
    }

    /// A matcher of names alone, which none shares yet.
    fn of(names: Names, matcher: table::Matcher) -> Self {
        let matcher = matcher.marked(|number| names.mark(number));
        Self { names, matcher }
    }

    fn name(&self, py: Python<'_>, number: usize) -> Option<Py<PyString>> {
        self.names.get(number).map(|name| name.clone_ref(py))
    }

    fn found(&self, py: Python<'_>, found: Option<Found>) -> Option<Py<PyString>> {
        let Found { number, mark } = found?;
        // SAFETY: a mark comes from the names of this matcher, see `of`, or from those that they are a copy of and share.
        #[allow(unsafe_code)] // Looking for the name by its number costs an access to memory more.
        let marked = unsafe { Names::marked(py, mark) };
        marked.or_else(|| self.name(py, number))
    }

    fn named(&self, py: Python<'_>, numbers: Vec<usize>) -> Vec<Py<PyString>> {
        numbers.into_iter().filter_map(|number| self.name(py, number)).collect()
    }

    /// Asks about a document, the interpreter going on meanwhile where that takes a while.
    fn ask<T: Send>(
        &self,
        body: &Bound<'_, PyAny>,
        ask: impl FnOnce(&table::Matcher, &[u8]) -> Result<T, json::Refused> + Send,
    ) -> PyResult<T> {
        let py = body.py();
        let body = Body::of(body)?;
        let (bytes, matcher) = (body.as_bytes(), &self.matcher);
        let found = if bytes.len() < LARGE { ask(matcher, bytes) } else { py.detach(|| ask(matcher, bytes)) };
        found.map_err(|refused| errors::json(py, &refused))
    }

    /// The number of a rule.
    fn find(&self, py: Python<'_>, name: &str) -> Option<usize> {
        self.names.find(py, name).filter(|number| self.matcher.has(*number))
    }

    fn number(&self, py: Python<'_>, name: &str) -> PyResult<usize> {
        self.find(py, name).ok_or_else(|| PyKeyError::new_err(format!("there is no rule {name:?}")))
    }
}

/// Compiles the patterns of the last names, the interpreter going on meanwhile; notes what is wrong with them.
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

impl Matcher {
    /// Asks the current state about a document.
    fn ask<T: Send>(
        &self,
        body: &Bound<'_, PyAny>,
        ask: impl FnOnce(&table::Matcher, &[u8]) -> Result<T, json::Refused> + Send,
    ) -> PyResult<(Guard<Arc<Compiled>>, T)> {
        let compiled = self.current.load();
        let found = compiled.ask(body, ask)?;
        Ok((compiled, found))
    }

    /// Asks the current state about several documents, the interpreter going on meanwhile.
    fn ask_many<T: Send>(
        &self,
        bodies: &Bound<'_, PyAny>,
        ask: impl Fn(&table::Matcher, &[u8]) -> Result<T, json::Refused> + Sync,
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
            Err((index, refused)) => Err(at(errors::json(py, &refused), index)),
        }
    }

    /// Makes a new state from the current one.
    fn edit(&self, py: Python<'_>, edit: impl FnOnce(&Compiled) -> PyResult<Compiled>) -> PyResult<()> {
        let _one_at_a_time = self.editing.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        let mut compiled = edit(&self.current.load())?;
        if compiled.matcher.is_overgrown() || compiled.names.is_overgrown() {
            let (matcher, numbers) = py.detach(|| compiled.matcher.flattened());
            compiled = Compiled::of(compiled.names.renumbered(py, &numbers)?, matcher);
        }
        self.current.store(Arc::new(compiled));
        Ok(())
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
        Ok(Self { options, current: ArcSwap::from_pointee(compiled), editing: Mutex::new(()) })
    }

    /// The name of the first rule, in declaration order, that matches; `None` where none does.
    ///
    /// Raises `EnvelopeError` where `body` is not valid JSON. A document that is no object has no fields.
    fn first(&self, py: Python<'_>, body: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyString>>> {
        let (compiled, found) = self.ask(body, table::Matcher::first_marked)?;
        Ok(compiled.found(py, found))
    }

    /// `first` of each document, all by the same rules.
    ///
    /// Mutable buffers are copied first. Raises as `first` does, for the first document that is not valid; a note on
    /// the exception says which one that is.
    fn first_many(&self, py: Python<'_>, bodies: &Bound<'_, PyAny>) -> PyResult<Vec<Option<Py<PyString>>>> {
        let (compiled, found) = self.ask_many(bodies, table::Matcher::first_marked)?;
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
            Ok((matcher.first_marked(body)?, matcher.explain_one(body, number)?))
        })?;
        let first = compiled.found(py, first).map(|name| name.extract(py)).transpose()?;
        let verdict = verdict.map(|verdict| (rule.to_owned(), verdict));
        Ok(Explanation::of(py, verdict, Vec::new(), None)?.taken_by(first))
    }

    /// Which rules make matching dear. Takes at most about as long as compiling them.
    fn cost(&self, py: Python<'_>) -> PyResult<Cost> {
        let compiled = self.current.load();
        let cost = py.detach(|| compiled.matcher.cost());
        Cost::of(py, &cost, |number| compiled.name(py, number))
    }

    /// Append a rule. Raises `PatternError`; `ValueError` where the name is taken.
    ///
    /// `add`, `update` and `remove` take time for the rules that were changed last, not for all. Once in some thousands
    /// of changes all are compiled anew.
    fn add(&self, py: Python<'_>, name: &str, pattern: &Bound<'_, PyAny>) -> PyResult<()> {
        let parsed = parse(py, name, pattern)?;
        self.edit(py, |current| {
            if current.find(py, name).is_some() {
                let message = format!("there is a rule {name:?} already: use update to change it");
                return Err(PyValueError::new_err(message));
            }
            let mut names = current.names.copy(py);
            let matcher = current.matcher.with(names.next(), Some(&parsed));
            names.push(py, name);
            Ok(Compiled { names, matcher })
        })
    }

    /// Give a rule another pattern; it keeps its position. Raises `PatternError`; `KeyError` where there is none.
    fn update(&self, py: Python<'_>, name: &str, pattern: &Bound<'_, PyAny>) -> PyResult<()> {
        let parsed = parse(py, name, pattern)?;
        self.edit(py, |current| {
            let matcher = current.matcher.with(current.number(py, name)?, Some(&parsed));
            Ok(Compiled { names: current.names.copy(py), matcher })
        })
    }

    /// Remove a rule. Raises `KeyError` where there is none.
    fn remove(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        self.edit(py, |current| {
            let matcher = current.matcher.with(current.number(py, name)?, None);
            Ok(Compiled { names: current.names.copy(py), matcher })
        })
    }

    /// Swap all rules at once. On `PatternError` the old rules stay.
    fn replace(&self, py: Python<'_>, patterns: &Bound<'_, PyAny>) -> PyResult<()> {
        let compiled = Compiled::new(patterns, self.options)?;
        self.edit(py, |_| Ok(compiled))
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
