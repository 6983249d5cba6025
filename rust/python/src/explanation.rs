//! `Decision`, `Reply`, `Verdict` and `Explanation`.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use waypost_core::table;

use crate::http1::list;

/// What a route does with a message.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Decision {
    /// The route's name.
    #[pyo3(get)]
    route: String,
    /// The cluster for the message; `None` if the route names none.
    #[pyo3(get)]
    cluster: Option<String>,
    /// Clusters to try, in order, when `cluster` fails.
    #[pyo3(get)]
    fallback: Py<PyTuple>,
    action: table::Action,
    mirror: Option<table::Mirror>,
}

impl Decision {
    pub(crate) fn of(py: Python<'_>, decision: &table::Decision) -> PyResult<Py<Self>> {
        let fallback = PyTuple::new(py, &decision.fallback)?.unbind();
        Py::new(
            py,
            Self {
                route: decision.route.clone(),
                cluster: decision.cluster.clone(),
                fallback,
                action: decision.action.clone(),
                mirror: decision.mirror.clone(),
            },
        )
    }
}

/// A route's own answer.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Reply {
    inner: Arc<table::Reply>,
}

#[pymethods]
impl Reply {
    #[getter]
    fn status(&self) -> u16 {
        self.inner.status
    }

    /// Header fields in wire order, names in lower case.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        list(py, self.inner.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.body)
    }

    /// An error code to answer with, in the shape of the client's dialect; `None` for an ordinary reply.
    #[getter]
    fn error(&self) -> Option<&str> {
        self.inner.error.as_deref()
    }
}

#[pymethods]
impl Decision {
    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(other) = other.cast::<Self>() else { return Ok(false) };
        let other = other.get();
        Ok(self.route == other.route
            && self.cluster == other.cluster
            && self.action == other.action
            && self.mirror == other.mirror
            && self.fallback.bind(py).eq(&other.fallback)?)
    }

    /// What the route does: `forward` its messages to clusters, or `reply` itself.
    #[getter]
    fn action(&self) -> &'static str {
        self.action.name()
    }

    /// The route's own answer; `None` unless `action` is `reply`.
    #[getter]
    fn reply(&self) -> Option<Reply> {
        match &self.action {
            table::Action::Reply(reply) => Some(Reply { inner: Arc::clone(reply) }),
            table::Action::Forward => None,
        }
    }

    /// The cluster that gets copies of messages, and the share that is copied, in per cent; or `None`.
    #[getter]
    fn mirror(&self) -> Option<(&str, u8)> {
        self.mirror.as_ref().map(|mirror| (mirror.to.as_str(), mirror.share))
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        (&self.route, &self.cluster, &self.fallback).into_pyobject(py)?.hash()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let cluster = self.cluster.as_ref().map_or_else(|| "None".to_owned(), |name| format!("{name:?}"));
        let fallback = self.fallback.bind(py).repr()?;
        Ok(format!("Decision(route={:?}, cluster={cluster}, fallback={fallback})", self.route))
    }
}

/// Whether one route or rule matches one message, and why.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Verdict {
    /// Name of the route or rule.
    #[pyo3(get)]
    route: String,
    inner: table::Verdict,
}

#[pymethods]
impl Verdict {
    #[getter]
    fn matched(&self) -> bool {
        self.inner.matched
    }

    /// The first field that failed, such as `labels.region`.
    #[getter]
    fn path(&self) -> Option<&str> {
        self.inner.path.as_deref()
    }

    /// The values that the pattern allows for that field, in words.
    #[getter]
    fn expected(&self) -> Option<&str> {
        self.inner.expected.as_deref()
    }

    /// The message's value of that field as shortened JSON text; `None` if the message has none.
    #[getter]
    fn seen(&self) -> Option<&str> {
        self.inner.seen.as_deref()
    }

    /// The reason in one sentence.
    #[getter]
    fn reason(&self) -> &str {
        &self.inner.reason
    }

    fn __repr__(&self) -> String {
        let matched = if self.inner.matched { "True" } else { "False" };
        format!("Verdict(route={:?}, matched={matched}, reason={:?})", self.route, self.inner.reason)
    }
}

/// Every route's verdict on one message, in the order in which routes are tried.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Explanation {
    /// The first route or rule that matches; `None` if none does.
    #[pyo3(get)]
    route: Option<String>,
    /// The decision of that route; always `None` for a `Matcher`, which has no routes.
    #[pyo3(get)]
    decision: Option<Py<Decision>>,
    fields: Py<PyDict>,
    verdicts: Vec<Py<Verdict>>,
}

impl Explanation {
    /// Sets the deciding route, for an explanation that lacks some routes' verdicts.
    pub(crate) fn taken_by(self, route: Option<String>) -> Self {
        Self { route, ..self }
    }

    pub(crate) fn of(
        py: Python<'_>,
        verdicts: impl IntoIterator<Item = (String, table::Verdict)>,
        seen: Vec<(&'static str, String)>,
        decision: Option<Py<Decision>>,
    ) -> PyResult<Self> {
        let fields = PyDict::new(py);
        for (name, value) in seen {
            fields.set_item(name, value)?;
        }
        let verdicts: Vec<(String, table::Verdict)> = verdicts.into_iter().collect();
        Ok(Self {
            route: verdicts.iter().find(|(_, verdict)| verdict.matched).map(|(route, _)| route.clone()),
            decision,
            fields: fields.unbind(),
            verdicts: verdicts
                .into_iter()
                .map(|(route, inner)| Py::new(py, Verdict { route, inner }))
                .collect::<PyResult<_>>()?,
        })
    }
}

#[pymethods]
impl Explanation {
    /// The message's envelope fields, each as shortened JSON text; empty for a `Matcher`.
    #[getter]
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.fields.bind(py).copy()
    }

    #[getter]
    fn verdicts(&self, py: Python<'_>) -> Vec<Py<Verdict>> {
        self.verdicts.iter().map(|verdict| verdict.clone_ref(py)).collect()
    }

    fn __repr__(&self) -> String {
        format!(
            "Explanation(route={:?}, {} verdicts)",
            self.route.as_deref().unwrap_or("-"),
            self.verdicts.len()
        )
    }
}
