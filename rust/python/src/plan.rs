//! `Plan`: one message between its decision and its end.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use waypost_core::cluster::Outcome;
use waypost_core::dialect::Kind;
use waypost_core::engine::{self, Course, Delivery, Ending};
use waypost_core::http1::{self, BodyLength, Progress};
use waypost_core::log::Why;

use crate::account::{Account, Held};
use crate::course::{self, Exchange, Turn};
use crate::endpoint::Endpoint;
use crate::errors;
use crate::explanation::Decision;
use crate::http1::{MAX_HEAD, ResponseHead, ResponseReader, list};
use crate::intake::Intake;
use crate::recorder::now;
use crate::snapshot::{IDS, Shared};

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
        if let Some(recorder) = &shared.recorder {
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

    /// What happens to its exchange.
    pub(crate) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The message is over: counts and logs it, once.
    pub(crate) fn record(&self, py: Python<'_>, bytes_out: usize, why: Why<'_>) -> PyResult<()> {
        let Some(recorder) = &self.shared.recorder else { return Ok(()) };
        let ended = Instant::now();
        let mut account = self.account();
        if std::mem::replace(&mut account.over, true) {
            return Ok(());
        }
        let recorder = recorder.get();
        recorder.inner().over();
        let ending = Ending {
            time: now(),
            at: account.at,
            attempts: account.attempts,
            status: account.status,
            bytes_in: account.bytes_in,
            bytes_out: bytes_out as u64,
            queued: self.exchange.waited(),
            first_byte: account.first_byte.map(|at| at.saturating_duration_since(self.since)),
            total: ended.saturating_duration_since(self.since),
            why,
        };
        drop(account);
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
        begin: [&[u8]; 2],
        close: bool,
    ) -> engine::Relay {
        self.responds(response, endpoint, attempts);
        let snapshot = &self.shared.snapshot;
        snapshot.relay(&self.intake, &self.inner, endpoint.at, attempts, &response.head, begin, close)
    }

    /// Whether a whole response with this status is the answer: the exchange is then over, and the request not kept.
    fn is_answer(&self, status: u16) -> bool {
        let answer = self.exchange.answer(status);
        if answer {
            *self.body() = None;
        }
        answer
    }

    /// All of a response, if `data` has it.
    fn whole<'d>(&self, data: &'d [u8]) -> Option<(ResponseHead, Cow<'d, [u8]>, http1::ResponseEnd)> {
        let mut reader = http1::ResponseReader::new(self.intake.method(), MAX_HEAD);
        let Ok(Progress { head: Some(head), body, end: Some(end) }) = reader.feed(data) else { return None };
        Some((ResponseHead::new(head, false), body, end))
    }

    /// The client is given this response.
    fn responds(&self, response: &ResponseHead, endpoint: &Endpoint, attempts: u32) {
        let mut account = self.account();
        account.at = Some(endpoint.at);
        account.attempts = attempts;
        account.status = response.head.status;
        account.first_byte = Some(response.since);
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        let account = self.account.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(recorder) = &self.shared.recorder
            && !account.over
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
    /// Never contended, as the other lock: a plan belongs to one exchange.
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

    /// `id` in a form that a header can carry.
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
        let (status, wait) = (head.head.status, engine::retry_after(&head.head));
        let traces = Delivery { sent: true, replayable, delivered: false };
        self.exchange.next(py, &self.shared, |course, now| {
            course.responded_retryable(number, status, wait, traces, now)
        })
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
        let traces = Delivery { sent, replayable, delivered };
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
        Intake::of(Arc::clone(&self.shared), Arc::clone(&self.intake), self.since)
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
        self.account().bytes_in = length as u64;
        *self.body() = Some(Held { start: 0, length, bytes: body.unbind() });
    }

    /// So many bytes more of a body that comes piece by piece were taken.
    fn received(&self, count: u64) {
        self.account().bytes_in += count;
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
        self.record(py, bytes_out, why)
    }

    /// What the first read of the only attempt's connection gave.
    ///
    /// Where it is all of a response, which is the answer: its bytes for an HTTP/1 client, whether that may send another
    /// request, and whether the endpoint's connection may carry another one; the exchange is over, and recorded. Else
    /// `None`, and nothing has changed.
    ///
    /// `lines` has status lines by status, `fields` what the server adds to every head; `close` ends the client's connection.
    fn answer<'py>(
        &self,
        py: Python<'py>,
        endpoint: &Endpoint,
        data: &[u8],
        lines: &Bound<'py, PyDict>,
        fields: &[u8],
        close: bool,
    ) -> PyResult<Option<(Bound<'py, PyBytes>, bool, bool)>> {
        let Some((head, body, end)) = self.whole(data) else { return Ok(None) };
        let line = lines.get_item(head.head.status)?;
        let line = line.ok_or_else(|| PyValueError::new_err("there is no line for this status"))?;
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
        self.record(py, body.len(), Why::Ok)?;
        Ok(Some((bytes, relay.persistent, end.reusable)))
    }

    /// The same in parts: status, header fields, body, trailer fields, and whether the endpoint's connection may carry
    /// another request.
    fn answer_parts<'py>(
        &self,
        py: Python<'py>,
        endpoint: &Endpoint,
        data: &[u8],
    ) -> PyResult<Option<Parts<'py>>> {
        let Some((head, body, end)) = self.whole(data) else { return Ok(None) };
        if !self.is_answer(head.head.status) {
            return Ok(None);
        }
        let fields = self.relayed(py, &head, endpoint, 1)?;
        self.record(py, body.len(), Why::Ok)?;
        let trailers = list(py, end.trailers.iter())?;
        Ok(Some((head.head.status, fields, PyBytes::new(py, &body), trailers, end.reusable)))
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

/// Status, header fields, body, trailer fields, whether a connection can be used again.
type Parts<'py> = (u16, Bound<'py, PyList>, Bound<'py, PyBytes>, Bound<'py, PyList>, bool);

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
