//! HTTP/1.1 framing of upstream responses.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use waypost_core::http1;

use crate::course::Seen;
use crate::endpoint::Endpoint;
use crate::errors;
use crate::plan::Plan;

/// Converts fields to a list of pairs.
pub(crate) fn list<'py, 'f>(
    py: Python<'py>,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
) -> PyResult<Bound<'py, PyList>> {
    let out = PyList::empty(py);
    for (name, value) in fields {
        out.append((PyBytes::new(py, name), PyBytes::new(py, value)))?;
    }
    Ok(out)
}

/// Status and header fields of a response, without hop-by-hop fields (RFC 9110, section 7.6.1).
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct ResponseHead {
    pub(crate) head: http1::ResponseHead,
    /// When the head was complete.
    pub(crate) since: Instant,
    /// Whether the response may call for another attempt; ask `Plan.retryable_response`.
    #[pyo3(get)]
    retryable: bool,
}

impl ResponseHead {
    pub(crate) fn new(head: http1::ResponseHead, retryable: bool) -> Self {
        Self { head, since: Instant::now(), retryable }
    }
}

#[pymethods]
impl ResponseHead {
    #[getter]
    fn status(&self) -> u16 {
        self.head.status
    }

    /// Whether the response is a stream (events, JSON lines, audio, video), which may take any time and pause for long.
    #[getter]
    fn stream(&self) -> bool {
        self.head.is_stream()
    }

    /// Whether comments may be added to the body, which is a stream of server-sent events.
    #[getter]
    fn takes_comments(&self) -> bool {
        self.head.takes_comments()
    }

    /// Header fields in wire order, names in lower case. `content-length` is kept if it frames the body.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        list(py, self.head.headers.iter())
    }

    /// The header fields for the client: `headers` without Waypost's own fields, then `Plan.own_fields`.
    fn fields<'py>(
        &self,
        py: Python<'py>,
        plan: &Plan,
        endpoint: &Endpoint,
        attempts: u32,
    ) -> PyResult<Bound<'py, PyList>> {
        plan.note_upstream_id(self);
        plan.relayed(py, self, endpoint, attempts)
    }

    /// The head for an HTTP/1 client: the status line, the server's `own` lines, `fields`, and the empty line.
    #[allow(clippy::too_many_arguments)] // One per part of the head.
    fn relay<'py>(
        &self,
        py: Python<'py>,
        plan: &Plan,
        endpoint: &Endpoint,
        attempts: u32,
        line: &[u8],
        own: &[u8],
        close: bool,
    ) -> (Bound<'py, PyBytes>, bool, bool, bool) {
        plan.note_upstream_id(self);
        let relay = plan.relay(self, endpoint, attempts, [line, own], close);
        (PyBytes::new(py, &relay.head), relay.chunked, relay.body, relay.persistent)
    }
}

/// For how many seconds a connection whose response has ended may be idle before it carries another request: infinite
/// without a bound, 0 if it may not.
pub(crate) fn reusable(reader: &http1::ResponseReader, end: &http1::ResponseEnd) -> f64 {
    let limit = reader.idle_limit().map_or(f64::INFINITY, |limit| limit.as_secs_f64());
    if end.reusable { limit } else { 0.0 }
}

/// The end of a response.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct ResponseEnd {
    end: http1::ResponseEnd,
    /// For how many seconds the idle connection may carry another request; 0 if it may not.
    #[pyo3(get)]
    reusable: f64,
    /// Whether the response is no answer: a model's stream of events without an event.
    #[pyo3(get)]
    empty: bool,
}

#[pymethods]
impl ResponseEnd {
    #[getter]
    fn trailers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        list(py, self.end.trailers.iter())
    }
}

/// Reads one HTTP/1.1 response (RFC 9112). Mutable, for use by one thread; `Plan.reader` makes one per attempt.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct ResponseReader {
    /// The lock is never contended, because a reader belongs to one attempt; it makes the class safe to share.
    reader: Mutex<http1::ResponseReader>,
    /// The plan of the attempt, and the attempt's number.
    attempt: Option<(Py<Plan>, u32)>,
}

impl ResponseReader {
    pub(crate) fn of(plan: Py<Plan>, method: &str, number: u32) -> Self {
        let reader = Mutex::new(http1::ResponseReader::new(method, MAX_HEAD));
        Self { reader, attempt: Some((plan, number)) }
    }

    /// Reports progress to the course of the exchange. Returns whether the response is retryable.
    fn tell(&self, status: Option<u16>, end: Option<&http1::ResponseEnd>) -> bool {
        let Some((plan, number)) = &self.attempt else { return false };
        let seen = match end {
            None if status.is_none() => return false,
            None => Seen::Part,
            Some(end) if self.is_empty(end) => Seen::Empty,
            Some(_) => Seen::Whole,
        };
        plan.get().exchange().answered(*number, status, seen)
    }

    /// Whether a response with this end is no answer to the attempt's message.
    fn is_empty(&self, end: &http1::ResponseEnd) -> bool {
        end.empty && self.attempt.as_ref().is_some_and(|(plan, _)| plan.get().needs_event())
    }

    fn end(&self, reader: &http1::ResponseReader, end: http1::ResponseEnd) -> ResponseEnd {
        ResponseEnd { reusable: reusable(reader, &end), empty: self.is_empty(&end), end }
    }

    fn lock(&self) -> MutexGuard<'_, http1::ResponseReader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most bytes of a response's head.
pub(crate) const MAX_HEAD: usize = 65_536;

type Fed<'py> = (Option<ResponseHead>, Bound<'py, PyBytes>, Option<ResponseEnd>);

#[pymethods]
impl ResponseReader {
    #[new]
    #[pyo3(signature = (method, *, max_head = 65536))]
    fn new(method: &str, max_head: usize) -> Self {
        Self { reader: Mutex::new(http1::ResponseReader::new(method, max_head)), attempt: None }
    }

    /// Whether a model's stream of events has had no event so far, so that it may still be replaced.
    #[getter]
    fn lacks_event(&self) -> bool {
        self.lock().lacks_event() && self.attempt.as_ref().is_some_and(|(plan, _)| plan.get().needs_event())
    }

    /// Read the bytes of one socket read. Returns the head once it is complete, body bytes, and the end.
    fn feed<'py>(&self, py: Python<'py>, data: &[u8]) -> PyResult<Fed<'py>> {
        let mut reader = self.lock();
        let progress = reader.feed(data).map_err(|error| errors::upstream(py, &error))?;
        let retryable = self.tell(progress.head.as_ref().map(|head| head.status), progress.end.as_ref());
        let body = PyBytes::new(py, &progress.body);
        Ok((
            progress.head.map(|head| ResponseHead::new(head, retryable)),
            body,
            progress.end.map(|end| self.end(&reader, end)),
        ))
    }

    /// Report that the endpoint closed the connection. Raises `UpstreamError` unless that ends the response.
    fn eof(&self, py: Python<'_>) -> PyResult<ResponseEnd> {
        let mut reader = self.lock();
        let end = reader.eof().map_err(|error| errors::upstream(py, &error))?;
        self.tell(None, Some(&end));
        Ok(self.end(&reader, end))
    }
}

/// Encode `data` as one chunk (RFC 9112, section 7.1). Empty data encodes the last chunk, which ends the body.
#[pyfunction]
pub(crate) fn encode_chunk<'py>(py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &http1::encode_chunk(data))
}
