//! `RouteTable`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyMapping, PyTuple};
use waypost_core::json::{DuplicateKeys, Options};
use waypost_core::pattern::{Problem, Step};
use waypost_core::table::{self, Mirror, Reply, RouteSpec};

use crate::errors;
use crate::explanation::{Decision, Explanation};
use crate::matcher::checked_depth;
use crate::message::Owned;
use crate::route_file::RouteFile;
use crate::{memory, value};

/// Routes compiled for deciding. `waypost.RouteTable` adds `load`, which reads a configuration file.
#[pyclass(frozen, subclass, module = "waypost._native")]
pub(crate) struct RouteTable {
    table: Arc<table::RouteTable>,
    /// Decisions by rank. Each is built for the first message of its route: most of very many routes have none for long.
    decisions: Vec<PyOnceLock<Py<Decision>>>,
}

impl Drop for RouteTable {
    fn drop(&mut self) {
        memory::free_aside(Arc::clone(&self.table), self.table.len());
    }
}

impl RouteTable {
    pub(crate) fn of(table: Arc<table::RouteTable>) -> Self {
        let decisions = table.decisions().iter().map(|_| PyOnceLock::new()).collect();
        Self { table, decisions }
    }

    pub(crate) fn decision(&self, py: Python<'_>, rank: usize) -> Option<Py<Decision>> {
        let build =
            || Decision::of(py, self.table.decision(rank).ok_or_else(|| PyIndexError::new_err(rank))?);
        let decision = self.decisions.get(rank)?.get_or_try_init(py, build);
        decision.ok().map(|decision| decision.clone_ref(py))
    }

    pub(crate) fn explanation(&self, py: Python<'_>, explained: table::Explanation) -> PyResult<Explanation> {
        let decision = explained.decision.and_then(|rank| self.decision(py, rank));
        let names = self.table.decisions().iter().map(|decision| decision.route.clone());
        Explanation::of(py, names.zip(explained.verdicts), explained.seen, decision)
    }
}

/// Reads routes: mappings, and large files with the mappings of those of their routes that are not plain.
///
/// Values of the wrong shape become problems. For `partial` see [`value::read`].
pub(crate) fn read_routes(
    routes: &Bound<'_, PyAny>,
    partial: bool,
    problems: &mut Vec<Problem>,
) -> PyResult<Vec<RouteSpec>> {
    let mut out = Vec::new();
    let mut names = HashSet::new();
    for route in routes.try_iter()? {
        let route = route?;
        let file = route.cast::<PyTuple>().ok().and_then(|pair| pair.extract().ok());
        if let Some((file, others)) = file {
            read_file(&file, &others, partial, &mut out, problems)?;
            continue;
        }
        let index = out.len();
        let spec = read_route(&route, index, partial, problems)?;
        if !spec.name.is_empty() && !names.insert(spec.name.clone()) {
            let path = vec![Step::Key("routes".into()), Step::Index(index), Step::Key("name".into())];
            problems.push(Problem { path, message: format!("duplicate route name `{}`", spec.name) });
        }
        out.push(spec);
    }
    Ok(out)
}

/// Reads the routes of a large file, whose names were checked. `others` has those that are not plain, by position.
fn read_file(
    file: &PyRef<'_, RouteFile>,
    others: &Bound<'_, PyDict>,
    partial: bool,
    out: &mut Vec<RouteSpec>,
    problems: &mut Vec<Problem>,
) -> PyResult<()> {
    let first = out.len();
    out.extend(file.specs(others.py()));
    for (at, route) in others.iter() {
        let index = first + at.extract::<usize>()?;
        let spec = read_route(&route, index, partial, problems)?;
        if let Some(slot) = out.get_mut(index) {
            *slot = spec;
        }
    }
    Ok(())
}

/// Reads one route.
fn read_route(
    route: &Bound<'_, PyAny>,
    index: usize,
    partial: bool,
    problems: &mut Vec<Problem>,
) -> PyResult<RouteSpec> {
    let at = |path: Vec<Step>| -> Vec<Step> {
        [Step::Key("routes".into()), Step::Index(index)].into_iter().chain(path).collect()
    };
    let mut problem = |path: Vec<Step>, message: &str| {
        problems.push(Problem { path: at(path), message: message.to_owned() });
    };
    let key = |name: &str| vec![Step::Key(name.to_owned())];
    let mut spec = RouteSpec::default();
    let Ok(route) = route.cast::<PyMapping>() else {
        problem(
            Vec::new(),
            "a route is a mapping with a name, and match, to, fallback, reply, mirror, precedence",
        );
        return Ok(spec);
    };
    for item in route.items()?.iter() {
        let (name, object): (String, Bound<'_, PyAny>) = item.extract()?;
        match name.as_str() {
            "name" => match object.extract::<String>() {
                Ok(name) => spec.name = name,
                Err(_) => problem(key("name"), "a route's name is a string"),
            },
            "match" => {
                let (pattern, found) = value::read(&object, partial)?;
                spec.pattern = pattern;
                for each in found {
                    problem(key("match").into_iter().chain(each.path).collect(), &each.message);
                }
            }
            "to" => match object.extract::<Option<String>>() {
                Ok(to) => spec.to = to,
                Err(_) => problem(key("to"), "`to` is the name of a cluster"),
            },
            "fallback" => match object.extract::<Vec<String>>() {
                Ok(fallback) => spec.fallback = fallback,
                Err(_) => problem(key("fallback"), "`fallback` is a list of cluster names"),
            },
            "precedence" => match object.extract::<i64>() {
                Ok(precedence) => spec.precedence = precedence,
                Err(_) => problem(key("precedence"), "`precedence` is a whole number"),
            },
            "reply" => match read_reply(&object) {
                Ok(reply) => spec.reply = reply,
                Err(_) => problem(key("reply"), "`reply` is a mapping with status, headers, body, error"),
            },
            "mirror" => match read_mirror(&object) {
                Ok(mirror) => spec.mirror = mirror,
                Err(_) => problem(key("mirror"), "`mirror` is a mapping with to, and share in per cent"),
            },
            other => {
                let message = format!(
                    "unknown key `{other}`; allowed: name, match, to, fallback, reply, mirror, precedence"
                );
                problem(key(other), &message);
            }
        }
    }
    if spec.name.is_empty() {
        problem(key("name"), "a route needs a name");
    }
    Ok(spec)
}

/// Reads a route's own answer, as `Config.to_native` returns it. Each key is optional.
fn read_reply(object: &Bound<'_, PyAny>) -> PyResult<Option<Arc<Reply>>> {
    if object.is_none() {
        return Ok(None);
    }
    let reply = object.cast::<PyMapping>()?;
    let given = |key: &str| reply.get_item(key).ok().filter(|value| !value.is_none());
    let fields = given("headers").map_or_else(|| Ok(Vec::new()), |fields| fields.extract())?;
    let body = given("body").map_or_else(|| Ok(Vec::new()), |body| body.extract::<Vec<u8>>())?;
    let status = given("status").map_or(Ok(200), |status| status.extract())?;
    let error = given("error").map(|error| error.extract()).transpose()?;
    Ok(Some(Arc::new(Reply { status, fields, body, error })))
}

fn read_mirror(object: &Bound<'_, PyAny>) -> PyResult<Option<Mirror>> {
    if object.is_none() {
        return Ok(None);
    }
    let mirror = object.cast::<PyMapping>()?;
    let share = mirror.get_item("share").ok().map_or(Ok(100), |share| share.extract())?;
    Ok(Some(Mirror { to: mirror.get_item("to")?.extract()?, share }))
}

/// Sorts problems by route, then by the order in which the route's keys are written.
fn sort_by_place(problems: &mut [Problem], routes: &Bound<'_, PyList>) {
    let mut keys: HashMap<usize, HashMap<String, usize>> = HashMap::new();
    let mut written = |index: usize, key: &str| {
        let read = || -> PyResult<HashMap<String, usize>> {
            let names: Vec<String> = routes.get_item(index)?.cast::<PyMapping>()?.keys()?.extract()?;
            Ok(names.into_iter().zip(0..).collect())
        };
        // Missing keys come last.
        let positions = keys.entry(index).or_insert_with(|| read().unwrap_or_default());
        positions.get(key).copied().unwrap_or(usize::MAX)
    };
    problems.sort_by_cached_key(|problem| match problem.path.as_slice() {
        [_, Step::Index(index), Step::Key(key), ..] => (*index, written(*index, key)),
        [_, Step::Index(index), ..] => (*index, 0),
        _ => (0, 0),
    });
}

#[pymethods]
impl RouteTable {
    #[new]
    #[pyo3(signature = (routes, *, depth = 128))]
    fn new(py: Python<'_>, routes: &Bound<'_, PyAny>, depth: i64) -> PyResult<Self> {
        let options = Options { depth: checked_depth(depth)?, duplicate_keys: DuplicateKeys::Error };
        let mut problems = Vec::new();
        // A list can be read again, to find the places of problems; an iterator cannot.
        let routes = PyList::new(py, routes.try_iter()?.collect::<PyResult<Vec<_>>>()?)?;
        let specs = read_routes(&routes, false, &mut problems)?;
        let table = py.detach(|| table::RouteTable::compile(&specs, options)).map_err(|found| {
            problems.extend(found.into_iter().map(|problem| Problem {
                path: [Step::Key("routes".into())].into_iter().chain(problem.path).collect(),
                message: problem.message,
            }));
        });
        match table {
            Ok(table) if problems.is_empty() => Ok(Self::of(Arc::new(table))),
            _ => {
                sort_by_place(&mut problems, &routes);
                Err(errors::config(py, &problems))
            }
        }
    }

    /// The decision of the first route that matches; `None` if no route does.
    #[pyo3(signature = (body, *, dialect = "envelope", headers = None, path = "", method = "POST", identity = None, client = None))]
    #[allow(clippy::too_many_arguments)] // One per attribute of a message.
    fn decide(
        &self,
        py: Python<'_>,
        body: Option<&Bound<'_, PyAny>>,
        dialect: &str,
        headers: Option<&Bound<'_, PyAny>>,
        path: &str,
        method: &str,
        identity: Option<&Bound<'_, PyMapping>>,
        client: Option<&str>,
    ) -> PyResult<Option<Py<Decision>>> {
        let owned = Owned::new(body, dialect, headers, path, method, identity, client)?;
        let decided = self.table.decide(&owned.message()).map_err(|error| errors::message(py, &error))?;
        Ok(decided.decision.ok().and_then(|rank| self.decision(py, rank)))
    }

    /// The decisions of all routes that match, in the order in which they are tried. Raises like `decide`.
    #[pyo3(signature = (body, *, dialect = "envelope", headers = None, path = "", method = "POST", identity = None, client = None))]
    #[allow(clippy::too_many_arguments)] // One per attribute of a message.
    fn matches(
        &self,
        py: Python<'_>,
        body: Option<&Bound<'_, PyAny>>,
        dialect: &str,
        headers: Option<&Bound<'_, PyAny>>,
        path: &str,
        method: &str,
        identity: Option<&Bound<'_, PyMapping>>,
        client: Option<&str>,
    ) -> PyResult<Vec<Py<Decision>>> {
        let owned = Owned::new(body, dialect, headers, path, method, identity, client)?;
        let ranks = self.table.matches(&owned.message()).map_err(|error| errors::message(py, &error))?;
        Ok(ranks.into_iter().filter_map(|rank| self.decision(py, rank)).collect())
    }

    /// Why each route does or does not match the message. Raises like `decide`.
    #[pyo3(signature = (body, *, dialect = "envelope", headers = None, path = "", method = "POST", identity = None, client = None))]
    #[allow(clippy::too_many_arguments)] // One per attribute of a message.
    fn explain(
        &self,
        py: Python<'_>,
        body: Option<&Bound<'_, PyAny>>,
        dialect: &str,
        headers: Option<&Bound<'_, PyAny>>,
        path: &str,
        method: &str,
        identity: Option<&Bound<'_, PyMapping>>,
        client: Option<&str>,
    ) -> PyResult<Explanation> {
        let owned = Owned::new(body, dialect, headers, path, method, identity, client)?;
        let explained = self.table.explain(&owned.message()).map_err(|error| errors::message(py, &error))?;
        self.explanation(py, explained)
    }

    fn __len__(&self) -> usize {
        self.table.len()
    }

    fn __repr__(&self) -> String {
        match self.table.len() {
            1 => "<RouteTable of 1 route>".to_owned(),
            count => format!("<RouteTable of {count} routes>"),
        }
    }
}

/// A required value of a dict. The configuration was checked before, so it is there.
pub(crate) fn item<'py>(dict: &Bound<'py, PyDict>, key: &str) -> PyResult<Bound<'py, PyAny>> {
    dict.get_item(key)?.ok_or_else(|| pyo3::exceptions::PyKeyError::new_err(key.to_owned()))
}
