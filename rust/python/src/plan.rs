//! `Intake` and `Plan`: one message between its head and its attempts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};
use waypost_core::dialect::Kind;
use waypost_core::engine::{self, Ending, EndpointAt};
use waypost_core::http1::BodyLength;
use waypost_core::log::Why;

use crate::endpoint::Endpoint;
use crate::errors;
use crate::explanation::{Decision, Explanation};
use crate::http1::{ResponseHead, list};
use crate::recorder::now;
use crate::snapshot::{IDS, Shared};

/// What can be said of a request from its head: how to read its body.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Intake {
    shared: Arc<Shared>,
    inner: Arc<engine::Intake>,
    /// When the request's head was there.
    pub(crate) since: Instant,
}

impl Intake {
    pub(crate) fn new(shared: Arc<Shared>, intake: engine::Intake) -> Self {
        Self { shared, inner: Arc::new(intake), since: Instant::now() }
    }

    pub(crate) fn inner(&self) -> &engine::Intake {
        &self.inner
    }
}

#[pymethods]
impl Intake {
    /// `x-request-id` where it is usable (1 to 128 visible ASCII characters), else a new one.
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

    #[getter]
    fn http_version(&self) -> &str {
        self.inner.version()
    }

    /// The client may send another request on its connection (RFC 9112, section 9.3); with HTTP/1.0 it may not.
    #[getter]
    fn persistent(&self) -> bool {
        self.inner.persistent()
    }

    /// Bytes of the body, where the head says it.
    #[getter]
    fn length(&self) -> Option<u64> {
        self.inner.length
    }

    /// True: read the whole body, up to `limits.body`, and give it to `plan`.
    #[getter]
    fn buffered(&self) -> bool {
        self.inner.buffered
    }

    /// Decide; the plan keeps `body`.
    #[pyo3(signature = (body))]
    fn plan(&self, py: Python<'_>, body: Option<Bound<'_, PyBytes>>) -> PyResult<Plan> {
        let bytes = body.as_ref().map(PyBytesMethods::as_bytes);
        let plan = self.shared.snapshot.plan(&self.inner, bytes, &IDS);
        let plan = plan.map_err(|none| errors::no_plan(py, &none))?;
        let held = body.map(|body| Held { length: body.as_bytes().len(), start: 0, bytes: body.unbind() });
        Plan::new(py, Arc::clone(&self.shared), Arc::clone(&self.inner), self.since, plan, held)
    }

    /// Why each route does or does not take the message: by what `plan` decides by.
    #[pyo3(signature = (body))]
    fn explain(&self, py: Python<'_>, body: Option<&[u8]>) -> PyResult<Explanation> {
        let snapshot = &self.shared.snapshot;
        let explained = snapshot.explain(&self.inner, body).map_err(|error| errors::message(py, &error))?;
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
        py: Python<'_>,
        shared: Arc<Shared>,
        intake: Arc<engine::Intake>,
        since: Instant,
        inner: engine::Plan,
        body: Option<Held>,
    ) -> PyResult<Self> {
        let endpoints = inner.endpoints.iter().filter_map(|at| shared.endpoint(py, *at));
        let endpoints = PyTuple::new(py, endpoints.collect::<Vec<_>>())?.unbind();
        let bytes_in = body.as_ref().map_or(0, |held| held.length as u64);
        let course = Course { bytes_in, ..Course::default() };
        if let Some(recorder) = &shared.recorder {
            recorder.get().inner().begun();
        }
        Ok(Self {
            endpoints,
            shared,
            intake,
            since,
            inner,
            body: Mutex::new(body),
            course: Mutex::new(course),
        })
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The message is over: counts and logs it, once.
    pub(crate) fn record(&self, py: Python<'_>, bytes_out: usize, why: Why<'_>) -> PyResult<()> {
        let Some(recorder) = &self.shared.recorder else { return Ok(()) };
        let ended = Instant::now();
        let mut course = self.course();
        if std::mem::replace(&mut course.over, true) {
            return Ok(());
        }
        let recorder = recorder.get();
        recorder.inner().over();
        let ending = Ending {
            time: now(),
            at: course.at,
            attempts: course.attempts,
            status: course.status,
            bytes_in: course.bytes_in,
            bytes_out: bytes_out as u64,
            queued: course.queued,
            first_byte: course.first_byte.map(|at| at.saturating_duration_since(self.since)),
            total: ended.saturating_duration_since(self.since),
            why,
        };
        drop(course);
        let Shared { snapshot, slots, .. } = &*self.shared;
        recorder.pushed(py, recorder.inner().ended(snapshot, slots, &self.intake, &self.inner, &ending))
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
        let head =
            self.shared.snapshot.head(&self.intake, &self.inner, endpoint.at, body, remaining_ms, &IDS);
        // What cannot be written came from the client: its configuration was checked.
        let head = head.map_err(|error| errors::waypost(py, "bad_framing", &error.to_string()))?;
        head.ok_or_else(|| PyValueError::new_err("the endpoint belongs to another snapshot"))
    }

    /// The fields of a response as they are sent on: the endpoint's without those that Waypost sets itself, then these.
    pub(crate) fn relayed<'py>(
        &self,
        py: Python<'py>,
        response: &ResponseHead,
        endpoint: &Endpoint,
        attempts: u32,
    ) -> PyResult<Bound<'py, PyList>> {
        self.responds(response, endpoint, attempts);
        let own = self.shared.snapshot.own_fields(&self.inner, Some(endpoint.at), attempts);
        let kept = response.head.headers.iter().filter(|(name, _)| !engine::is_own(name));
        list(py, kept.chain(&own))
    }

    pub(crate) fn relay(
        &self,
        response: &ResponseHead,
        endpoint: &Endpoint,
        attempts: u32,
        begin: &[u8],
        close: bool,
    ) -> engine::Relay {
        self.responds(response, endpoint, attempts);
        let snapshot = &self.shared.snapshot;
        snapshot.relay(&self.intake, &self.inner, endpoint.at, attempts, &response.head, begin, close)
    }

    /// The client is given this response.
    fn responds(&self, response: &ResponseHead, endpoint: &Endpoint, attempts: u32) {
        let mut course = self.course();
        course.at = Some(endpoint.at);
        course.attempts = attempts;
        course.status = response.head.status;
        course.first_byte = Some(response.since);
    }
}

/// What has become of a message so far, for its record.
#[derive(Default)]
struct Course {
    at: Option<EndpointAt>,
    attempts: u32,
    status: u16,
    bytes_in: u64,
    queued: Duration,
    first_byte: Option<Instant>,
    /// It was recorded.
    over: bool,
}

impl Drop for Plan {
    fn drop(&mut self) {
        let course = self.course.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(recorder) = &self.shared.recorder
            && !course.over
        {
            recorder.get().inner().over();
        }
    }
}

/// One message's way: the decision, and for each attempt the bytes to send.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Plan {
    shared: Arc<Shared>,
    intake: Arc<engine::Intake>,
    since: Instant,
    inner: engine::Plan,
    /// Whom to try, in order: the endpoints of `decision.cluster`, then those of each `fallback`.
    #[pyo3(get)]
    endpoints: Py<PyTuple>,
    /// Never contended: a plan belongs to one exchange.
    body: Mutex<Option<Held>>,
    course: Mutex<Course>,
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
        Ok(PyBytes::new(py, &self.write_head(py, endpoint, body, remaining_ms)?))
    }

    #[getter]
    fn intake(&self) -> Intake {
        Intake { shared: Arc::clone(&self.shared), inner: Arc::clone(&self.intake), since: self.since }
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
        let length = body.as_bytes().len();
        self.course().bytes_in = length as u64;
        *self.body() = Some(Held { start: 0, length, bytes: body.unbind() });
    }

    /// So many bytes more of a body that comes piece by piece were taken.
    fn received(&self, count: u64) {
        self.course().bytes_in += count;
    }

    /// The message waited so many seconds for its turn.
    fn waited(&self, seconds: f64) {
        self.course().queued += Duration::try_from_secs_f64(seconds).unwrap_or_default();
    }

    /// The message is over: it is counted and logged, once.
    #[pyo3(signature = (bytes_out, why = "ok", *, error = None, status = None, endpoint = None, attempts = None))]
    #[allow(clippy::too_many_arguments)] // What only its exchange knows.
    fn finished(
        &self,
        py: Python<'_>,
        bytes_out: usize,
        why: &str,
        error: Option<&str>,
        status: Option<u16>,
        endpoint: Option<&Endpoint>,
        attempts: Option<u32>,
    ) -> PyResult<()> {
        let mut course = self.course();
        course.status = status.unwrap_or(course.status);
        course.at = endpoint.map(|endpoint| endpoint.at).or(course.at);
        course.attempts = attempts.unwrap_or(course.attempts);
        drop(course);
        let why = match why {
            "ok" => Why::Ok,
            "client_gone" => Why::ClientGone,
            "aborted" => Why::Aborted(error.unwrap_or("internal")),
            code => Why::Error(code),
        };
        self.record(py, bytes_out, why)
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
