//! `Intake`: a message whose head was accepted, before it is decided.

use std::sync::Arc;
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use waypost_core::engine;

use crate::account::Held;
use crate::errors;
use crate::explanation::Explanation;
use crate::plan::Plan;
use crate::snapshot::Shared;

/// A request whose head was accepted, before it is decided. It tells how to read the body.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Intake {
    shared: Arc<Shared>,
    inner: Arc<engine::Intake>,
    /// When the request's head was complete.
    pub(crate) since: Instant,
}

impl Intake {
    pub(crate) fn new(shared: Arc<Shared>, intake: engine::Intake) -> Self {
        Self { shared, inner: Arc::new(intake), since: Instant::now() }
    }

    pub(crate) fn of(shared: Arc<Shared>, inner: Arc<engine::Intake>, since: Instant) -> Self {
        Self { shared, inner, since }
    }

    pub(crate) fn inner(&self) -> &engine::Intake {
        &self.inner
    }
}

#[pymethods]
impl Intake {
    /// The request's `x-request-id` if it has 1 to 128 visible ASCII characters, otherwise a new id.
    #[getter]
    fn id(&self) -> &str {
        &self.inner.id
    }

    #[getter]
    fn dialect(&self) -> &'static str {
        self.inner.dialect.name()
    }

    #[getter]
    fn method(&self) -> &str {
        self.inner.method()
    }

    /// Path and query, not decoded.
    #[getter]
    fn target(&self) -> &str {
        self.inner.target()
    }

    /// The request's header fields in wire order.
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let fields = self.inner.fields();
        PyList::new(py, fields.iter().map(|(name, value)| (PyBytes::new(py, name), PyBytes::new(py, value))))
    }

    #[getter]
    fn http_version(&self) -> &str {
        self.inner.version()
    }

    /// Whether the client may send another request on the connection (RFC 9112, section 9.3).
    #[getter]
    fn persistent(&self) -> bool {
        self.inner.persistent()
    }

    /// Length of the body in bytes; `None` if the head does not say it.
    #[getter]
    fn length(&self) -> Option<u64> {
        self.inner.length
    }

    /// Whether the decision needs the body.
    #[getter]
    fn buffered(&self) -> bool {
        self.inner.buffered
    }

    /// Decide the message. The plan keeps `body`.
    #[pyo3(signature = (body))]
    fn plan(&self, py: Python<'_>, body: Option<Bound<'_, PyBytes>>) -> PyResult<Plan> {
        let bytes = body.as_ref().map(PyBytesMethods::as_bytes);
        let plan = self.shared.snapshot.plan(&self.inner, bytes);
        let plan = plan.map_err(|none| errors::no_plan(py, &none))?;
        let held = body.map(|body| Held { length: body.as_bytes().len(), start: 0, bytes: body.unbind() });
        Ok(Plan::new(Arc::clone(&self.shared), Arc::clone(&self.inner), self.since, plan, held))
    }

    /// Why each route does or does not match, judged as `plan` would. Raises like `RouteTable.decide`.
    #[pyo3(signature = (body))]
    fn explain(&self, py: Python<'_>, body: Option<&[u8]>) -> PyResult<Explanation> {
        let snapshot = &self.shared.snapshot;
        let explained = snapshot.explain(&self.inner, body).map_err(|error| errors::message(py, &error))?;
        self.shared.table.get().explanation(py, explained)
    }
}
