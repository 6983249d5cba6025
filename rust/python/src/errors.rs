//! Converts errors of the core to the exceptions of `waypost.errors`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};
use waypost_core::engine::{Fault, NoPlan, Rejection};
use waypost_core::pattern::{Problem, Step};
use waypost_core::table::{MatchError, MessageError, NoRoute};
use waypost_core::{http1, json};

type Class = PyOnceLock<Py<PyType>>;

fn raise<'py>(
    py: Python<'py>,
    class: &'static Class,
    name: &str,
    args: impl FnOnce(&Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>>,
) -> PyErr {
    match class.import(py, "waypost.errors", name).and_then(args) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}

/// Makes `WaypostError(code, message)`.
pub(crate) fn waypost(py: Python<'_>, code: &str, message: &str) -> PyErr {
    static CLASS: Class = PyOnceLock::new();
    raise(py, &CLASS, "WaypostError", |class| class.call1((code, message)))
}

/// Makes `EnvelopeError(code, message, offset, field)`.
pub(crate) fn envelope(
    py: Python<'_>,
    code: &str,
    message: &str,
    offset: Option<usize>,
    field: Option<&str>,
) -> PyErr {
    static CLASS: Class = PyOnceLock::new();
    raise(py, &CLASS, "EnvelopeError", |class| class.call1((code, message, offset, field)))
}

/// Makes `UpstreamError(code, message)`.
fn upstream_error(py: Python<'_>, code: &str, message: &str) -> PyErr {
    static CLASS: Class = PyOnceLock::new();
    raise(py, &CLASS, "UpstreamError", |class| class.call1((code, message)))
}

/// Makes `UpstreamError("upstream_protocol", message)`.
pub(crate) fn upstream(py: Python<'_>, error: &http1::Error) -> PyErr {
    upstream_protocol(py, &error.to_string())
}

/// The same, of a message.
pub(crate) fn upstream_protocol(py: Python<'_>, message: &str) -> PyErr {
    upstream_error(py, "upstream_protocol", message)
}

/// Makes `UpstreamError("upstream_error", …)` with the endpoint's own `code`, `type` and `message` in `upstream`.
pub(crate) fn reported(py: Python<'_>, code: Option<&str>, kind: Option<&str>, message: &str) -> PyErr {
    let error = upstream_error(py, "upstream_error", &format!("the stream ended with an error: {message}"));
    let told = || {
        let upstream = PyDict::new(py);
        upstream.set_item("status", py.None())?;
        upstream.set_item("code", code)?;
        upstream.set_item("type", kind)?;
        upstream.set_item("message", message)?;
        error.value(py).setattr("upstream", upstream)
    };
    match told() {
        Ok(()) => error,
        Err(other) => other,
    }
}

fn json(py: Python<'_>, invalid: &json::InvalidDocument) -> PyErr {
    envelope(py, invalid.error.code(), &invalid.to_string(), Some(invalid.error.offset), None)
}

pub(crate) fn unmatched(py: Python<'_>, error: &MatchError) -> PyErr {
    match error {
        MatchError::Json(invalid) => json(py, invalid),
        MatchError::TooCostly => envelope(py, error.code(), &error.to_string(), None, None),
    }
}

pub(crate) fn message(py: Python<'_>, error: &MessageError) -> PyErr {
    match error {
        MessageError::TooCostly { id } => {
            with(py, unmatched(py, &MatchError::TooCostly), [("message_id", id.as_deref())])
        }
        MessageError::Json(invalid) => json(py, invalid),
        MessageError::Envelope { field, offset, message, id } => {
            let error = envelope(py, error.code(), message, *offset, (!field.is_empty()).then_some(field));
            with(py, error, [("message_id", id.as_deref())])
        }
        MessageError::IdentityConflict { id, .. } => {
            with(py, waypost(py, error.code(), &error.to_string()), [("message_id", id.as_deref())])
        }
    }
}

fn no_route(py: Python<'_>, none: &NoRoute) -> PyErr {
    waypost(py, "no_route", &none.to_string())
}

pub(crate) fn no_plan(py: Python<'_>, none: &NoPlan) -> PyErr {
    match none {
        NoPlan::Message(error) => message(py, error),
        NoPlan::Route { id, none } => with(py, no_route(py, none), [("message_id", Some(id))]),
        NoPlan::Unjoinable { id, message } => {
            with(py, waypost(py, "no_route", message), [("message_id", Some(id))])
        }
    }
}

/// Makes a `WaypostError` with the attribute `retry_after`, in seconds.
pub(crate) fn fault(py: Python<'_>, fault: &Fault) -> PyResult<Py<PyAny>> {
    let error = waypost(py, fault.code, &fault.message);
    let value = error.value(py);
    value.setattr("retry_after", fault.retry_after.map(|length| length.as_secs_f64()))?;
    Ok(value.clone().into_any().unbind())
}

/// Makes a `WaypostError` with the dialect to answer in, the allowed methods and the message's id.
pub(crate) fn rejection(py: Python<'_>, rejection: &Rejection) -> PyErr {
    let error = waypost(py, rejection.code, &rejection.message);
    let known = [
        ("dialect", Some(rejection.dialect.name())),
        ("allow", rejection.allow.as_deref()),
        ("message_id", Some(&rejection.id)),
    ];
    with(py, error, known)
}

/// Sets attributes of an error.
fn with<const N: usize>(py: Python<'_>, error: PyErr, attributes: [(&str, Option<&str>); N]) -> PyErr {
    let value = error.value(py);
    let failed = attributes.into_iter().find_map(|(name, known)| value.setattr(name, known).err());
    failed.unwrap_or(error)
}

/// Converts the steps of a path to a tuple of str and int.
pub(crate) fn path<'py>(py: Python<'py>, steps: &[Step]) -> PyResult<Bound<'py, PyTuple>> {
    let steps = steps.iter().map(|step| match step {
        Step::Key(key) => Ok(key.into_pyobject(py)?.into_any()),
        Step::Index(index) => Ok(index.into_pyobject(py)?.into_any()),
    });
    PyTuple::new(py, steps.collect::<PyResult<Vec<_>>>()?)
}

/// The most problems of patterns that one error lists.
const NAMED: usize = 100;

/// Makes `PatternError(message, rule, path, problems)` from problems and their rules. `rule` and `path` are those of the
/// first problem; the message lists the first [`NAMED`] problems and the number of further ones.
pub(crate) fn patterns(py: Python<'_>, problems: &[(String, Problem)]) -> PyErr {
    static CLASS: Class = PyOnceLock::new();
    let named = problems.iter().take(NAMED);
    let mut lines: Vec<String> = named.map(|(rule, problem)| format!("rule {rule:?}: {problem}")).collect();
    if problems.len() > NAMED {
        lines.push(format!("and {} more problems", problems.len() - NAMED));
    }
    let (rule, first) =
        problems.first().map_or(("", &[][..]), |(rule, problem)| (rule.as_str(), &*problem.path));
    raise(py, &CLASS, "PatternError", |class| {
        let found = list(py, problems.iter().map(|(rule, problem)| (Some(rule), problem)))?;
        class.call1((lines.join("\n"), rule, path(py, first)?, found))
    })
}

/// Makes `ConfigError(problems)`.
pub(crate) fn config(py: Python<'_>, problems: &[Problem]) -> PyErr {
    static CLASS: Class = PyOnceLock::new();
    raise(py, &CLASS, "ConfigError", |class| {
        class.call1((list(py, problems.iter().map(|problem| (None, problem)))?,))
    })
}

/// Converts problems to a list of `Problem`. The name of a rule, if there is one, begins the path.
fn list<'py, 'a>(
    py: Python<'py>,
    problems: impl Iterator<Item = (Option<&'a String>, &'a Problem)>,
) -> PyResult<Bound<'py, PyList>> {
    static CLASS: Class = PyOnceLock::new();
    let class = CLASS.import(py, "waypost.errors", "Problem")?;
    let list = PyList::empty(py);
    for (rule, found) in problems {
        let steps: Vec<Step> =
            rule.map(|name| Step::Key(name.clone())).into_iter().chain(found.path.iter().cloned()).collect();
        list.append(class.call1((path(py, &steps)?, &found.message))?)?;
    }
    Ok(list)
}
