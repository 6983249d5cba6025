//! `Intake` and `Plan`: one message between its head and its attempts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use waypost_core::cluster::Outcome;
use waypost_core::dialect::Kind;
use waypost_core::engine::{self, Course, Traces};
use waypost_core::http1::{self, BodyLength};

use crate::course::{self, Exchange, Turn};
use crate::endpoint::Endpoint;
use crate::errors;
use crate::explanation::{Decision, Explanation};
use crate::http1::{ResponseHead, ResponseReader, list};
use crate::snapshot::Shared;

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

    #[getter]
    fn method(&self) -> &str {
        self.intake.method()
    }

    /// Path and query, not decoded.
    #[getter]
    fn target(&self) -> &str {
        self.intake.target()
    }

    #[getter]
    fn http_version(&self) -> &str {
        self.intake.version()
    }

    /// The client may send another request on its connection (RFC 9112, section 9.3); with HTTP/1.0 it may not.
    #[getter]
    fn persistent(&self) -> bool {
        self.intake.persistent()
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

    /// Decide; the plan keeps `body`.
    #[pyo3(signature = (body))]
    fn plan(&self, py: Python<'_>, body: Option<Bound<'_, PyBytes>>) -> PyResult<Plan> {
        let bytes = body.as_ref().map(PyBytesMethods::as_bytes);
        let plan = self.shared.snapshot.plan(&self.intake, bytes);
        let plan = plan.map_err(|none| errors::no_plan(py, &none))?;
        let held = body.map(|body| Held { length: body.as_bytes().len(), start: 0, bytes: body.unbind() });
        Ok(Plan::new(Arc::clone(&self.shared), Arc::clone(&self.intake), plan, held))
    }

    /// Why each route does or does not take the message: by what `plan` decides by.
    #[pyo3(signature = (body))]
    fn explain(&self, py: Python<'_>, body: Option<&[u8]>) -> PyResult<Explanation> {
        let snapshot = &self.shared.snapshot;
        let explained = snapshot.explain(&self.intake, body).map_err(|error| errors::message(py, &error))?;
        self.shared.table.get().explanation(py, explained)
    }
}

/// A request body: a part of what a socket read gave.
pub(crate) struct Held {
    pub(crate) bytes: Py<PyBytes>,
    pub(crate) start: usize,
    pub(crate) length: usize,
}

impl Held {
    fn of<'a>(&'a self, py: Python<'a>) -> &'a [u8] {
        self.bytes.as_bytes(py).get(self.start..self.start + self.length).unwrap_or_default()
    }
}

impl Plan {
    pub(crate) fn new(
        shared: Arc<Shared>,
        intake: Arc<engine::Intake>,
        inner: engine::Plan,
        body: Option<Held>,
    ) -> Self {
        Self { shared, intake, inner, body: Mutex::new(body), exchange: Exchange::default() }
    }

    /// What happens to its exchange.
    pub(crate) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    fn body(&self) -> MutexGuard<'_, Option<Held>> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_head(
        &self,
        py: Python<'_>,
        endpoint: &Endpoint,
        body: BodyLength,
        remaining_ms: Option<u64>,
    ) -> PyResult<Vec<u8>> {
        let head = self.shared.snapshot.head(&self.intake, &self.inner, endpoint.at, body, remaining_ms);
        // What cannot be written came from the client: its configuration was checked.
        let head = head.map_err(|error| errors::waypost(py, "bad_framing", &error.to_string()))?;
        head.ok_or_else(|| PyValueError::new_err("the endpoint belongs to another snapshot"))
    }

    /// The fields of a response as they are sent on: the endpoint's without those that Waypost sets itself, then these.
    pub(crate) fn relayed<'py>(
        &self,
        py: Python<'py>,
        response: &http1::ResponseHead,
        endpoint: &Endpoint,
        attempts: u32,
    ) -> PyResult<Bound<'py, PyList>> {
        let own = self.shared.snapshot.own_fields(&self.inner, Some(endpoint.at), attempts);
        let kept = response.headers.iter().filter(|(name, _)| !engine::is_own(name));
        list(py, kept.chain(&own))
    }

    pub(crate) fn relay(
        &self,
        response: &http1::ResponseHead,
        endpoint: &Endpoint,
        attempts: u32,
        begin: &[u8],
        close: bool,
    ) -> engine::Relay {
        let snapshot = &self.shared.snapshot;
        snapshot.relay(&self.intake, &self.inner, endpoint.at, attempts, response, begin, close)
    }
}

/// One message's way: the decision, and for each attempt the bytes to send.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Plan {
    shared: Arc<Shared>,
    intake: Arc<engine::Intake>,
    inner: engine::Plan,
    /// Never contended, as the other lock: a plan belongs to one exchange.
    body: Mutex<Option<Held>>,
    exchange: Exchange,
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

    /// No endpoint needs the message translated.
    #[getter]
    fn forwards(&self) -> bool {
        self.shared.snapshot.forwards(&self.intake, &self.inner)
    }

    /// The fields that every routed response carries: `endpoint` answered, or was tried last.
    #[pyo3(signature = (endpoint, attempts))]
    fn own_fields<'py>(
        &self,
        py: Python<'py>,
        endpoint: Option<&Endpoint>,
        attempts: u32,
    ) -> PyResult<Bound<'py, PyList>> {
        let at = endpoint.map(|endpoint| endpoint.at);
        list(py, self.shared.snapshot.own_fields(&self.inner, at, attempts).iter())
    }

    /// Whether the message must be translated for this endpoint: its dialect is not the cluster's.
    fn translated(&self, endpoint: &Endpoint) -> bool {
        self.shared.snapshot.translates(&self.intake, endpoint.at.cluster)
    }

    /// Begin the exchange: the endpoint for its first attempt, or what else there is to do.
    fn begin<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let body = self.body();
        let bytes = body.as_ref().map(|held| held.of(py));
        self.exchange.begin(py, &self.shared, &self.intake, &self.inner, bytes)
    }

    /// A `pause` is over.
    fn resume<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.exchange.next(py, &self.shared, Course::resume)
    }

    /// The time of a `wait` is over.
    fn expired<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.exchange.next(py, &self.shared, Course::expired)
    }

    /// A `wait` is over: this is what came of it.
    fn called<'py>(&self, py: Python<'py>, turn: &Turn) -> PyResult<Bound<'py, PyAny>> {
        self.exchange.next(py, &self.shared, |course, now| turn.give(course, now))
    }

    /// Who waits no longer for the clusters of this message: to be asked when room may have come about.
    fn turns(&self) -> Vec<Turn> {
        self.exchange.turns()
    }

    /// The reader of the response to an attempt.
    fn reader(slf: &Bound<'_, Self>, number: u32) -> ResponseReader {
        ResponseReader::of(slf.clone().unbind(), slf.get().intake.method(), number)
    }

    /// A response has begun that is `ResponseHead.refused`.
    fn refused<'py>(
        &self,
        py: Python<'py>,
        number: u32,
        head: &ResponseHead,
        replayable: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (status, wait) = (head.inner().status, engine::retry_after(head.inner()));
        let traces = Traces { sent: true, replayable, delivered: false };
        self.exchange.next(py, &self.shared, |course, now| course.refused(number, status, wait, traces, now))
    }

    /// An attempt has failed.
    fn failed<'py>(
        &self,
        py: Python<'py>,
        number: u32,
        failure: &str,
        sent: bool,
        replayable: bool,
        delivered: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let failure = course::failure(failure)?;
        let traces = Traces { sent, replayable, delivered };
        self.exchange.next(py, &self.shared, |course, now| course.failed(number, failure, traces, now))
    }

    /// All of a request that was sent bit by bit was sent.
    fn request_sent(&self, number: u32) {
        self.exchange.change(|course, now| course.request_sent(number, now));
    }

    /// Seconds from the beginning of the only attempt until a second one is worth it; `None`: never.
    fn hedge_after(&self) -> Option<f64> {
        self.exchange.change(|course, _| course.hedge_after())?.map(|length| length.as_secs_f64())
    }

    /// The endpoint for a second attempt beside the one under way, or `None`. The one that answers first counts.
    fn hedge(&self, py: Python<'_>) -> Option<Py<Endpoint>> {
        let at = self.exchange.change(Course::hedge)??;
        self.shared.endpoint(py, at)
    }

    /// The exchange is over: nothing of it is counted any more.
    #[pyo3(signature = (whole = false))]
    fn end(&self, whole: bool) {
        let outcome = if whole { Outcome::Success } else { Outcome::Cancelled };
        self.exchange.change(|course, now| course.end(outcome, now));
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
        Ok(PyBytes::new(py, &self.write_head(py, endpoint, body, remaining_ms)?))
    }

    #[getter]
    fn intake(&self) -> Intake {
        Intake { shared: Arc::clone(&self.shared), intake: Arc::clone(&self.intake) }
    }

    #[getter]
    fn method(&self) -> &str {
        self.intake.method()
    }

    /// Its length in bytes.
    #[getter]
    fn body_length(&self) -> usize {
        self.body().as_ref().map_or(0, |held| held.length)
    }

    /// The whole request body, as long as it is kept.
    #[getter(body)]
    fn whole_body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        match self.body().as_ref() {
            Some(held) if held.length == held.bytes.as_bytes(py).len() => held.bytes.bind(py).clone(),
            Some(held) => PyBytes::new(py, held.of(py)),
            None => PyBytes::new(py, b""),
        }
    }

    /// Keep the body of a message that was planned without.
    fn attach(&self, body: Bound<'_, PyBytes>) {
        *self.body() = Some(Held { start: 0, length: body.as_bytes().len(), bytes: body.unbind() });
    }

    /// Let go of the body: no other attempt will be made.
    fn forget(&self) {
        *self.body() = None;
    }

    /// The whole request for one attempt: `head`, and the body that is kept.
    #[pyo3(signature = (endpoint, remaining_ms = None))]
    fn request<'py>(
        &self,
        py: Python<'py>,
        endpoint: &Endpoint,
        remaining_ms: Option<u64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let kept = self.body();
        let body = kept.as_ref().map_or(&[][..], |held| held.of(py));
        let head = self.write_head(py, endpoint, BodyLength::Known(body.len() as u64), remaining_ms)?;
        joined(py, &head, body)
    }
}

/// Both, one behind the other.
pub(crate) fn joined<'py>(py: Python<'py>, head: &[u8], body: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, head.len() + body.len(), |out| {
        if let Some((first, rest)) = out.split_at_mut_checked(head.len()) {
            first.copy_from_slice(head);
            rest.copy_from_slice(body);
        }
        Ok(())
    })
}
