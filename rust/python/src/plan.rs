//! `Intake` and `Plan`: one message between its head and its attempts.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use waypost_core::dialect::Kind;
use waypost_core::engine;
use waypost_core::http1::BodyLength;

use crate::endpoint::Endpoint;
use crate::errors;
use crate::explanation::{Decision, Explanation};
use crate::snapshot::{IDS, Shared};

/// What can be said of a request from its head: how to read its body.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Intake {
    shared: Arc<Shared>,
    intake: Arc<engine::Intake>,
}

impl Intake {
    pub(crate) fn new(shared: Arc<Shared>, intake: engine::Intake) -> Self {
        Self { shared, intake: Arc::new(intake) }
    }
}

#[pymethods]
impl Intake {
    /// `x-request-id` where it is usable (1 to 128 visible ASCII characters), else a new one.
    #[getter]
    fn id(&self) -> &str {
        &self.intake.id
    }

    #[getter]
    fn dialect(&self) -> &'static str {
        self.intake.dialect.name()
    }

    /// Bytes of the body, where the head says it.
    #[getter]
    fn length(&self) -> Option<u64> {
        self.intake.length
    }

    /// True: read the whole body, up to `limits.body`, and give it to `plan`.
    #[getter]
    fn buffered(&self) -> bool {
        self.intake.buffered
    }

    /// Decide.
    #[pyo3(signature = (body))]
    fn plan(&self, py: Python<'_>, body: Option<&[u8]>) -> PyResult<Plan> {
        let snapshot = &self.shared.snapshot;
        let plan = snapshot.plan(&self.intake, body, &IDS).map_err(|none| errors::no_plan(py, &none))?;
        let endpoints = plan.endpoints.iter().filter_map(|at| self.shared.endpoint(py, *at));
        Ok(Plan {
            endpoints: PyTuple::new(py, endpoints.collect::<Vec<_>>())?.unbind(),
            shared: Arc::clone(&self.shared),
            intake: Arc::clone(&self.intake),
            inner: plan,
        })
    }

    #[pyo3(signature = (body))]
    fn explain(&self, py: Python<'_>, body: Option<&[u8]>) -> PyResult<Explanation> {
        let snapshot = &self.shared.snapshot;
        let explained = snapshot.explain(&self.intake, body).map_err(|error| errors::message(py, &error))?;
        self.shared.table.get().explanation(py, explained)
    }
}

/// One message's way: the decision, and for each attempt the bytes to send.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Plan {
    shared: Arc<Shared>,
    intake: Arc<engine::Intake>,
    inner: engine::Plan,
    /// Whom to try, in order: the endpoints of `decision.cluster`, then those of each `fallback`.
    #[pyo3(get)]
    endpoints: Py<PyTuple>,
}

#[pymethods]
impl Plan {
    #[getter]
    fn decision(&self, py: Python<'_>) -> Option<Py<Decision>> {
        self.shared.table.get().decision(py, self.inner.rank)
    }

    #[getter]
    fn id(&self) -> &str {
        &self.inner.id
    }

    /// `id` in a form that a header can carry.
    #[getter]
    fn request_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.inner.request_id.as_bytes())
    }

    #[getter]
    fn dialect(&self) -> &'static str {
        self.intake.dialect.name()
    }

    #[getter]
    fn kind(&self) -> Option<&'static str> {
        self.inner.envelope.kind.map(Kind::name)
    }

    /// The message asks for a streamed reply.
    #[getter]
    fn stream(&self) -> bool {
        self.inner.envelope.stream
    }

    #[getter]
    fn deadline_ms(&self) -> Option<u64> {
        self.inner.envelope.deadline_ms
    }

    /// May be sent again after it may have reached an endpoint.
    #[getter]
    fn idempotent(&self) -> bool {
        self.inner.idempotent
    }

    /// Whether the message must be translated for this endpoint: its dialect is not the cluster's.
    fn translated(&self, endpoint: &Endpoint) -> bool {
        self.shared.snapshot.translates(&self.intake, endpoint.at)
    }

    /// The request head for one attempt, through the empty line (RFC 9112, section 3).
    #[pyo3(signature = (endpoint, body_length, *, remaining_ms = None))]
    fn head<'py>(
        &self,
        py: Python<'py>,
        endpoint: &Endpoint,
        body_length: Option<u64>,
        remaining_ms: Option<u64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let body = body_length.map_or(BodyLength::Chunked, BodyLength::Known);
        let head = self.shared.snapshot.head(&self.intake, &self.inner, endpoint.at, body, remaining_ms);
        // What cannot be written came from the client: its configuration was checked.
        let head = head.map_err(|error| errors::waypost(py, "bad_framing", &error.to_string()))?;
        let head = head.ok_or_else(|| PyValueError::new_err("the endpoint belongs to another snapshot"))?;
        Ok(PyBytes::new(py, &head))
    }
}
