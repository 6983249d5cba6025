//! HTTP/1.1 framing of upstream responses.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use waypost_core::http1;

use crate::endpoint::Endpoint;
use crate::errors;
use crate::plan::Plan;

/// Fields as a list of pairs.
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

/// Status and end-to-end header fields of a response (hop-by-hop fields removed, RFC 9110, section 7.6.1).
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct ResponseHead {
    pub(crate) head: http1::ResponseHead,
    /// When it was there.
    pub(crate) since: Instant,
    /// Another attempt may do better, or the endpoint has failed with it: `Plan.refused` says.
    #[pyo3(get)]
    refused: bool,
}

impl ResponseHead {
    pub(crate) fn new(head: http1::ResponseHead, retryable: bool) -> Self {
        Self { head, since: Instant::now(), refused: retryable }
    }
}

#[pymethods]
impl ResponseHead {
    #[getter]
    fn status(&self) -> u16 {
        self.head.status
    }

    /// Names in lower case, wire order.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        list(py, self.head.headers.iter())
    }

    /// `headers` as a client gets them: without fields that are Waypost's, then `Plan.own_fields`.
    fn fields<'py>(
        &self,
        py: Python<'py>,
        plan: &Plan,
        endpoint: &Endpoint,
        attempts: u32,
    ) -> PyResult<Bound<'py, PyList>> {
        plan.relayed(py, self, endpoint, attempts)
    }

    /// The head for an HTTP/1 client, through its empty line: `begin` (the status line and more), then `fields`.
    fn relay<'py>(
        &self,
        py: Python<'py>,
        plan: &Plan,
        endpoint: &Endpoint,
        attempts: u32,
        begin: &[u8],
        close: bool,
    ) -> (Bound<'py, PyBytes>, bool, bool, bool) {
        let relay = plan.relay(self, endpoint, attempts, [begin, b""], close);
        (PyBytes::new(py, &relay.head), relay.chunked, relay.body, relay.persistent)
    }
}

/// The end of a response.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct ResponseEnd {
    end: http1::ResponseEnd,
}

#[pymethods]
impl ResponseEnd {
    /// The connection may carry another request.
    #[getter]
    fn reusable(&self) -> bool {
        self.end.reusable
    }

    #[getter]
    fn trailers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        list(py, self.end.trailers.iter())
    }
}

/// Reads one HTTP/1.1 response (RFC 9112).
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct ResponseReader {
    /// Never contended: a reader belongs to one attempt. It is what makes the class safe to share all the same.
    reader: Mutex<http1::ResponseReader>,
    /// Whose attempt it is, and its number.
    attempt: Option<(Py<Plan>, u32)>,
}

impl ResponseReader {
    pub(crate) fn of(plan: Py<Plan>, method: &str, number: u32) -> Self {
        let reader = Mutex::new(http1::ResponseReader::new(method, MAX_HEAD));
        Self { reader, attempt: Some((plan, number)) }
    }

    /// What was read is told to the course of the exchange.
    fn tell(&self, status: Option<u16>, end: bool) -> bool {
        let Some((plan, number)) = &self.attempt else { return false };
        (status.is_some() || end) && plan.get().exchange().answered(*number, status, end)
    }
}

/// Bytes that the head of a response may have.
pub(crate) const MAX_HEAD: usize = 65_536;

type Fed<'py> = (Option<ResponseHead>, Bound<'py, PyBytes>, Option<ResponseEnd>);

#[pymethods]
impl ResponseReader {
    #[new]
    #[pyo3(signature = (method, *, max_head = 65536))]
    fn new(method: &str, max_head: usize) -> Self {
        Self { reader: Mutex::new(http1::ResponseReader::new(method, max_head)), attempt: None }
    }

    /// Take what a socket read gave: the head where it became complete, body bytes, the end where it was reached.
    fn feed<'py>(&self, py: Python<'py>, data: &[u8]) -> PyResult<Fed<'py>> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = reader.feed(data).map_err(|error| errors::upstream(py, &error))?;
        let retryable = self.tell(progress.head.as_ref().map(|head| head.status), progress.end.is_some());
        let body = PyBytes::new(py, &progress.body);
        Ok((
            progress.head.map(|head| ResponseHead::new(head, retryable)),
            body,
            progress.end.map(|end| ResponseEnd { end }),
        ))
    }

    /// The endpoint closed.
    fn eof(&self, py: Python<'_>) -> PyResult<ResponseEnd> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let end = reader.eof().map_err(|error| errors::upstream(py, &error))?;
        self.tell(None, true);
        Ok(ResponseEnd { end })
    }
}

/// `data` as one chunk (RFC 9112, section 7.1).
#[pyfunction]
pub(crate) fn encode_chunk<'py>(py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &http1::encode_chunk(data))
}
