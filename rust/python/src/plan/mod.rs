//! `Plan`: a message from its decision to its end.

mod answer;
mod record;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use waypost_core::cluster::Outcome;
use waypost_core::dialect::{Dialect, Kind};
use waypost_core::engine::{self, Course, Delivery, EndpointAt, OwnRequest, Purpose};
use waypost_core::http1::{self, BodyLength};
use waypost_core::log::Why;

use self::answer::joined;
use crate::account::{Account, Held};
use crate::clock;
use crate::course::{self, Exchange, Turn};
use crate::endpoint::Endpoint;
use crate::errors;
use crate::explanation::Decision;
use crate::http1::{ResponseHead, ResponseReader, list};
use crate::intake::Intake;
use crate::snapshot::Shared;

impl Plan {
    pub(crate) fn new(
        shared: Arc<Shared>,
        intake: Arc<engine::Intake>,
        since: Instant,
        inner: engine::Plan,
        body: Option<Held>,
    ) -> Self {
        let bytes_in = body.as_ref().map_or(0, |held| held.length as u64);
        let account = Account { bytes_in, ..Account::default() };
        let counted = !intake.is_internal();
        if let Some(recorder) = shared.recorder.as_ref().filter(|_| counted) {
            recorder.get().inner().begun();
        }
        Self {
            shared,
            intake,
            since,
            inner,
            body: Mutex::new(body),
            account: Mutex::new(account),
            exchange: Exchange::default(),
        }
    }

    /// The message's exchange.
    pub(crate) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// The whole request for one attempt: its head, and the body that the plan keeps.
    fn request_at<'py>(&self, py: Python<'py>, at: EndpointAt) -> PyResult<Bound<'py, PyBytes>> {
        let kept = self.body();
        let body = kept.as_ref().map_or(&[][..], |held| held.of(py));
        let head = self.write_head(py, at, BodyLength::Known(body.len() as u64))?;
        joined(py, &head, body)
    }

    fn body(&self) -> MutexGuard<'_, Option<Held>> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_head(&self, py: Python<'_>, at: EndpointAt, body: BodyLength) -> PyResult<Vec<u8>> {
        let remaining_ms = self.exchange.message_time_left().map(engine::whole_milliseconds);
        let head = self.shared.snapshot.head(&self.intake, &self.inner, at, body, remaining_ms);
        // The configuration was checked, so a head that cannot be written is the client's fault.
        let head = head.map_err(|error| errors::waypost(py, "bad_framing", &error.to_string()))?;
        head.ok_or_else(|| PyValueError::new_err("the endpoint belongs to another snapshot"))
    }
}

/// One decided message: its decision, the course of its exchange, and the bytes for each attempt.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Plan {
    shared: Arc<Shared>,
    intake: Arc<engine::Intake>,
    since: Instant,
    inner: engine::Plan,
    /// The locks are never contended, because a plan belongs to one exchange.
    body: Mutex<Option<Held>>,
    account: Mutex<Account>,
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

    /// The message's `id`, encoded so that a header field can carry it.
    #[getter]
    fn request_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.inner.request_id().as_bytes())
    }

    #[getter]
    fn dialect(&self) -> &'static str {
        self.intake.dialect.name()
    }

    #[getter]
    fn kind(&self) -> Option<&'static str> {
        self.inner.envelope.kind.map(Kind::name)
    }

    /// Whether the message asks for a streamed reply.
    #[getter]
    fn stream(&self) -> bool {
        self.inner.envelope.stream
    }

    #[getter]
    fn deadline_ms(&self) -> Option<u64> {
        self.inner.envelope.deadline_ms
    }

    /// Whether the message may be sent again although an endpoint may have received it already.
    #[getter]
    fn idempotent(&self) -> bool {
        self.inner.idempotent
    }

    /// What happens to the message. `translate` means that a cluster it may go to speaks another dialect.
    #[getter]
    fn action(&self) -> &'static str {
        self.shared.snapshot.action(&self.intake, &self.inner)
    }

    /// The cluster that gets a copy of the message; `None` if no cluster does.
    #[getter]
    fn mirror(&self) -> Option<&str> {
        let position = self.inner.mirror?;
        self.shared.snapshot.clusters().get(position).map(|cluster| cluster.name.as_str())
    }

    /// The plan of an internal call to one cluster on behalf of this message.
    #[pyo3(signature = (cluster, purpose, *, body = None, dialect = "openai", kind = "model", stream = false))]
    #[allow(clippy::too_many_arguments)] // One per part of a request.
    fn child(
        &self,
        py: Python<'_>,
        cluster: &str,
        purpose: &str,
        body: Option<Bound<'_, PyBytes>>,
        dialect: &str,
        kind: &str,
        stream: bool,
    ) -> PyResult<Self> {
        let unknown = |what, name: &str| PyValueError::new_err(format!("there is no {what} {name:?}"));
        let purpose = Purpose::parse(purpose).ok_or_else(|| unknown("purpose", purpose))?;
        let own = if body.is_some() {
            let dialect = Dialect::parse(dialect).ok_or_else(|| unknown("dialect", dialect))?;
            let kind = Kind::parse(kind).ok_or_else(|| unknown("kind", kind))?;
            Some(OwnRequest { dialect, kind, stream })
        } else {
            None
        };
        let remaining = match self.exchange.message_time_left() {
            // Before the exchange begins, the whole deadline remains.
            None => self.inner.envelope.deadline_ms.map(Duration::from_millis),
            time => time,
        };
        let snapshot = &self.shared.snapshot;
        let (intake, plan) =
            snapshot.child(&self.intake, &self.inner, cluster, purpose, own, remaining).ok_or_else(|| {
                PyValueError::new_err(format!("cluster {cluster:?} cannot take such a message"))
            })?;
        let held = match body {
            Some(body) => Some(Held { start: 0, length: body.as_bytes().len(), bytes: body.unbind() }),
            None => self.body().as_ref().map(|held| held.clone_ref(py)),
        };
        Ok(Self::new(Arc::clone(&self.shared), intake, Instant::now(), plan, held))
    }

    /// The `x-request-id` and `x-waypost-…` fields of the response.
    #[pyo3(signature = (endpoint, attempts))]
    fn own_fields<'py>(
        &self,
        py: Python<'py>,
        endpoint: Option<&Endpoint>,
        attempts: u32,
    ) -> PyResult<Bound<'py, PyList>> {
        let at = endpoint.map(|endpoint| endpoint.at);
        list(py, self.own(at, attempts, None).iter())
    }

    /// Whether the message must be translated, because the endpoint's cluster speaks another dialect.
    fn translated(&self, endpoint: &Endpoint) -> bool {
        self.shared.snapshot.translates(&self.intake, endpoint.at.cluster)
    }

    /// Whether the message is only forwarded: it has no translation, no mirror and no deadline of its own.
    #[getter(direct)]
    pub(crate) fn is_direct(&self) -> bool {
        self.inner.mirror.is_none() && self.inner.envelope.deadline_ms.is_none() && self.action() == "forward"
    }

    /// Call `begin`, and return its result together with the whole request for the first attempt.
    pub(crate) fn depart<'py>(&self, py: Python<'py>) -> PyResult<Departure<'py>> {
        let step = self.begin(py)?;
        let request = match step.cast::<Endpoint>() {
            Ok(endpoint) if !endpoint.get().is_hedged(py) => self.request_at(py, endpoint.get().at).ok(),
            _ => None,
        };
        Ok((step, request))
    }

    /// Begin the exchange. Returns the endpoint for the first attempt, or another step to take first.
    fn begin<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let body = self.body();
        let bytes = body.as_ref().map(|held| held.of(py));
        self.exchange.begin(py, &self.shared, &self.intake, &self.inner, bytes)
    }

    /// Continue after a `pause`.
    fn resume<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.exchange.next(py, &self.shared, Course::resume)
    }

    /// Continue after the time of a `wait` has passed.
    fn wait_expired<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.exchange.next(py, &self.shared, Course::expired)
    }

    /// Continue after a `wait` that ended with `turn`.
    fn take_turn<'py>(&self, py: Python<'py>, turn: &Turn) -> PyResult<Bound<'py, PyAny>> {
        self.exchange.next(py, &self.shared, |course, now| turn.give(course, now))
    }

    /// The turns that have come in the queues of this message's clusters.
    fn turns(&self) -> Vec<Turn> {
        self.exchange.turns()
    }

    /// A reader for the response to attempt `number`. It also records how well the endpoint answers.
    fn reader(slf: &Bound<'_, Self>, number: u32) -> ResponseReader {
        ResponseReader::of(slf.clone().unbind(), slf.get().intake.method(), number)
    }

    /// Report a response head that is `ResponseHead.retryable`.
    fn retryable_response<'py>(
        &self,
        py: Python<'py>,
        number: u32,
        head: &ResponseHead,
        replayable: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (status, wait) = (head.head.status, engine::retry_after(&head.head, clock::unix()));
        let traces = Delivery { sent: true, replayable, delivered: false };
        let upstream_id = engine::upstream_id(&head.head, &self.inner);
        self.exchange.next(py, &self.shared, |course, now| {
            let step = course.responded_retryable(number, status, wait, traces, now);
            if let Some(id) = upstream_id {
                course.note_upstream_id(number, id);
            }
            step
        })
    }

    /// Report that attempt `number` has failed. Returns the next step.
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
        let traces = Delivery { sent, replayable, delivered };
        self.exchange.next(py, &self.shared, |course, now| course.failed(number, failure, traces, now))
    }

    /// Report that the active check of the endpoint fails at which attempt `number` waits. Returns the next step, or `stay`
    /// if the message cannot go elsewhere and the attempt goes on.
    fn leave_unfit<'py>(
        &self,
        py: Python<'py>,
        number: u32,
        sent: bool,
        replayable: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let traces = Delivery { sent, replayable, delivered: false };
        self.exchange.next(py, &self.shared, |course, now| course.leave_unfit(number, traces, now))
    }

    /// Report that a streamed request body has been sent completely.
    fn request_sent(&self, number: u32) {
        self.exchange.change(|course, now| course.request_sent(number, now));
    }

    /// Seconds after the start of the only attempt when a hedge becomes worthwhile; `None` if it never does.
    fn hedge_after(&self) -> Option<f64> {
        self.exchange.change(|course, _| course.hedge_after())?.map(|length| length.as_secs_f64())
    }

    /// The endpoint for a hedge beside the attempt under way, or `None`. The first response wins.
    fn hedge(&self, py: Python<'_>) -> Option<Py<Endpoint>> {
        let at = self.exchange.change(Course::hedge)??;
        self.shared.endpoint(py, at)
    }

    /// Where the connection for attempt `number` may be made as well, in this order: other addresses of its endpoint.
    fn alternatives(&self, py: Python<'_>, number: u32) -> Vec<Py<Endpoint>> {
        let found = self.exchange.change(|course, now| course.alternatives(number, now));
        found.into_iter().flatten().filter_map(|at| self.shared.endpoint(py, at)).collect()
    }

    /// Report where the connection for attempt `number` was made, if it was, and which addresses did not take one.
    /// Returns the endpoint that the attempt goes to now. None of this counts as another attempt.
    #[pyo3(signature = (number, made, refused))]
    #[allow(clippy::needless_pass_by_value)] // Extracted from Python.
    fn moved(
        &self,
        py: Python<'_>,
        number: u32,
        made: Option<&str>,
        refused: Vec<String>,
    ) -> Option<Py<Endpoint>> {
        let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
        let at = self.exchange.change(|course, now| course.moved(number, made, &refused, now))??;
        self.shared.endpoint(py, at)
    }

    /// End the exchange: its clusters no longer count it.
    #[pyo3(signature = (whole = false))]
    fn close(&self, whole: bool) {
        let outcome = if whole { Outcome::Success } else { Outcome::Cancelled };
        self.exchange.change(|course, now| course.end(outcome, now));
    }

    /// The seconds that the exchange may still take, infinite if nothing limits it, and the limit.
    #[pyo3(signature = (stream = false))]
    fn time_left(&self, stream: bool) -> (f64, Option<f64>) {
        self.exchange.time_left(stream)
    }

    /// The request head for one attempt, including the empty line (RFC 9112, section 3).
    #[pyo3(signature = (endpoint, body_length))]
    fn head<'py>(
        &self,
        py: Python<'py>,
        endpoint: &Endpoint,
        body_length: Option<u64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let body = body_length.map_or(BodyLength::Chunked, BodyLength::Known);
        Ok(PyBytes::new(py, &self.write_head(py, endpoint.at, body)?))
    }

    #[getter]
    fn intake(&self) -> Intake {
        Intake::of(Arc::clone(&self.shared), Arc::clone(&self.intake), self.since)
    }

    #[getter]
    fn method(&self) -> &str {
        self.intake.method()
    }

    /// Length in bytes of the request body that the plan keeps.
    #[getter]
    fn body_length(&self) -> usize {
        self.body().as_ref().map_or(0, |held| held.length)
    }

    /// The whole request body while the plan keeps it; empty afterwards.
    #[getter(body)]
    fn whole_body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        match self.body().as_ref() {
            Some(held) if held.length == held.bytes.as_bytes(py).len() => held.bytes.bind(py).clone(),
            Some(held) => PyBytes::new(py, held.of(py)),
            None => PyBytes::new(py, b""),
        }
    }

    /// Keep the body of a message that was planned without a body.
    fn attach(&self, body: Bound<'_, PyBytes>) {
        let length = body.as_bytes().len();
        self.account().bytes_in = length as u64;
        *self.body() = Some(Held { start: 0, length, bytes: body.unbind() });
    }

    /// Record `count` more bytes received of a streamed request body.
    fn count_received(&self, count: u64) {
        self.account().bytes_in += count;
    }

    /// Count and log the finished message. Only the first call has an effect.
    #[pyo3(signature = (bytes_out, why = "ok", *, error = None, status = None, endpoint = None, attempts = None))]
    #[allow(clippy::too_many_arguments)] // One per fact that only the exchange knows.
    #[pyo3(name = "record")]
    fn record_end(
        &self,
        py: Python<'_>,
        bytes_out: usize,
        why: &str,
        error: Option<&str>,
        status: Option<u16>,
        endpoint: Option<&Endpoint>,
        attempts: Option<u32>,
    ) -> PyResult<()> {
        let mut account = self.account();
        account.status = status.unwrap_or(account.status);
        account.at = endpoint.map(|endpoint| endpoint.at).or(account.at);
        account.attempts = attempts.unwrap_or(account.attempts);
        drop(account);
        let why = match why {
            "ok" => Why::Ok,
            "client_gone" => Why::ClientGone,
            "aborted" => Why::Aborted(error.unwrap_or("internal")),
            code => Why::Error(code),
        };
        self.record(py, bytes_out, why, None)
    }

    /// Answer an HTTP/1 client with the first read from the only attempt's connection.
    ///
    /// If `data` is a complete response that needs no other attempt, this ends and records the exchange. It returns the
    /// bytes for the client, whether the client may send another request, and for how many seconds the endpoint's idle
    /// connection is reusable. Otherwise it returns `None` and changes nothing.
    ///
    /// `lines` maps each status to its status line. `fields` are header lines that the server adds to every head.
    /// `close` closes the client's connection after the response.
    fn answer<'py>(
        &self,
        py: Python<'py>,
        endpoint: &Endpoint,
        data: &[u8],
        lines: &Bound<'py, PyDict>,
        fields: &[u8],
        close: bool,
    ) -> PyResult<Option<(Bound<'py, PyBytes>, bool, f64)>> {
        let Some((head, body, end, reusable)) = self.whole(data) else { return Ok(None) };
        let line = lines.get_item(head.head.status)?;
        let line = line.ok_or_else(|| PyValueError::new_err("`lines` has no line for this status"))?;
        if !self.is_answer(head.head.status) {
            return Ok(None);
        }
        let mut relay = self.relay(&head, endpoint, 1, [line.cast::<PyBytes>()?.as_bytes(), fields], close);
        let body = if relay.body { &*body } else { b"" };
        let bytes = if relay.chunked {
            http1::append_chunked(&mut relay.head, body, &end.trailers);
            PyBytes::new(py, &relay.head)
        } else {
            joined(py, &relay.head, body)?
        };
        self.record(py, body.len(), Why::Ok, engine::upstream_id(&head.head, &self.inner))?;
        Ok(Some((bytes, relay.persistent, reusable)))
    }

    /// Like `answer`, but returns the response in parts for another protocol.
    fn answer_parts<'py>(
        &self,
        py: Python<'py>,
        endpoint: &Endpoint,
        data: &[u8],
    ) -> PyResult<Option<Parts<'py>>> {
        let Some((head, body, end, reusable)) = self.whole(data) else { return Ok(None) };
        if !self.is_answer(head.head.status) {
            return Ok(None);
        }
        let fields = self.relayed(py, &head, endpoint, 1)?;
        self.record(py, body.len(), Why::Ok, engine::upstream_id(&head.head, &self.inner))?;
        let trailers = list(py, end.trailers.iter())?;
        Ok(Some((head.head.status, fields, PyBytes::new(py, &body), trailers, reusable)))
    }

    /// Drop the body, because no other attempt will be made.
    fn drop_body(&self) {
        *self.body() = None;
    }

    /// The whole request for one attempt: its head, and the body that the plan keeps.
    fn request<'py>(&self, py: Python<'py>, endpoint: &Endpoint) -> PyResult<Bound<'py, PyBytes>> {
        self.request_at(py, endpoint.at)
    }
}

/// The first step of an exchange, and the whole request if that is an attempt without a hedge.
pub(crate) type Departure<'py> = (Bound<'py, PyAny>, Option<Bound<'py, PyBytes>>);

/// Status, header fields, body, trailer fields, for how many seconds the idle connection is reusable.
type Parts<'py> = (u16, Bound<'py, PyList>, Bound<'py, PyBytes>, Bound<'py, PyList>, f64);
