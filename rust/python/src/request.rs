//! `RequestReader`, `RequestHead` and `BodyReader`: read requests from a client connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use waypost_core::engine::{self, Boundary, Guard, Peer, header_safe};
use waypost_core::http1::{self, Framing, IncomingHead};

use crate::account::Held;
use crate::certificate::Certificate;
use crate::http1::list;
use crate::intake::Intake;
use crate::plan::Plan;
use crate::snapshot::{IDS, Snapshot, known};
use crate::{clock, errors};

/// Reads the requests of one client connection. Mutable, for use by one thread.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct RequestReader {
    peer: Peer,
    reader: Mutex<Option<http1::RequestReader>>,
}

#[pymethods]
impl RequestReader {
    #[new]
    #[pyo3(signature = (*, client = None, scheme = "http", certificate = None, guard = "open"))]
    fn new(
        client: Option<&str>,
        scheme: &str,
        certificate: Option<&Certificate>,
        guard: &str,
    ) -> PyResult<Self> {
        let guard = guard_of(guard)?;
        let certificate = certificate.map(Certificate::shared);
        let peer = Peer { client: client.map(Arc::from), certificate, scheme: known(scheme), guard };
        Ok(Self { peer, reader: Mutex::new(None) })
    }

    /// Read the bytes of one socket read, at a message boundary or after part of a head.
    #[pyo3(signature = (snapshot, data, room))]
    fn feed<'py>(
        &self,
        py: Python<'py>,
        snapshot: &Bound<'py, Snapshot>,
        data: &Bound<'py, PyBytes>,
        room: i64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let since = Instant::now();
        let shared = snapshot.get().shared();
        let mut held = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reader = held.take().unwrap_or_else(|| shared.snapshot.reader());
        let bytes = data.as_bytes();
        let found_at = shared.snapshot.at_boundary(&mut reader, bytes, &self.peer, clock::unix(), &IDS);
        match found_at.map_err(|rejection| errors::rejection(py, &rejection))? {
            Boundary::Partial => {
                *held = Some(reader);
                Ok(py.None().into_bound(py))
            }
            Boundary::Other(other, surplus) => {
                Ok((RequestHead { head: other }, PyBytes::new(py, surplus)).into_pyobject(py)?.into_any())
            }
            Boundary::Plain(intake, surplus) => {
                let length = intake.length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
                let start = bytes.len() - surplus.len();
                let (body, surplus) = surplus.split_at_checked(length).unwrap_or((surplus, &[]));
                if i64::try_from(length).is_ok_and(|length| length <= room)
                    && intake.buffered
                    && body.len() == length
                    && let Ok(plan) = shared.snapshot.plan(&intake, Some(body))
                {
                    let surplus = PyBytes::new(py, surplus);
                    let held = Held { start, length, bytes: data.clone().unbind() };
                    let plan = Plan::new(Arc::clone(shared), intake, since, plan, Some(held));
                    let departure = plan.is_direct().then(|| plan.depart(py)).transpose()?;
                    let (step, request) =
                        departure.map_or((None, None), |(step, request)| (Some(step), request));
                    return Ok((plan, length, surplus, step, request).into_pyobject(py)?.into_any());
                }
                let intake = Intake::of(Arc::clone(shared), intake, since);
                let found = (intake, PyBytes::new(py, body), PyBytes::new(py, surplus));
                Ok(found.into_pyobject(py)?.into_any())
            }
        }
    }
}

/// The head of a request that is not plain, or that the application has to reject.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct RequestHead {
    head: IncomingHead,
}

#[pymethods]
impl RequestHead {
    #[getter]
    fn method(&self) -> &str {
        &self.head.method
    }

    /// Path and query, not decoded; or `*`.
    #[getter]
    fn target(&self) -> &str {
        &self.head.target
    }

    /// `1.0` or `1.1`.
    #[getter]
    fn http_version(&self) -> &'static str {
        self.head.version()
    }

    /// The header fields in wire order, names in lower case, values without surrounding whitespace.
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        list(py, self.head.fields.iter())
    }

    /// Whether the client may send another request on the connection (RFC 9112, section 9.3).
    #[getter]
    fn persistent(&self) -> bool {
        !self.head.old && !self.head.announced.closes
    }

    /// Length of the body in bytes; `None` if the body is chunked.
    #[getter]
    fn length(&self) -> Option<u64> {
        match self.head.announced.framing {
            Framing::Absent => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        }
    }

    /// Whether the client waits for `100 (Continue)` before it sends the body (RFC 9110, section 10.1.1).
    #[getter]
    fn expects_continue(&self) -> bool {
        self.head.announced.expects_continue
    }
}

/// Reads the body of one request (RFC 9112, section 7.1). Mutable, for use by one thread.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct BodyReader {
    reader: Mutex<http1::BodyReader>,
}

#[pymethods]
impl BodyReader {
    /// `length` is that of the body in bytes; `None` if the body is chunked.
    #[new]
    #[pyo3(signature = (length, *, max_trailers))]
    fn new(length: Option<u64>, max_trailers: usize) -> Self {
        let framing = length.map_or(Framing::Chunked, Framing::Length);
        Self { reader: Mutex::new(http1::BodyReader::new(framing, max_trailers)) }
    }

    /// Read the bytes of one socket read. Returns bytes of the body, and once it has ended, the bytes behind it.
    fn feed<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
    ) -> PyResult<(Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>)> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        match reader.feed(data) {
            Ok((body, surplus)) => {
                Ok((PyBytes::new(py, &body), surplus.map(|surplus| PyBytes::new(py, surplus))))
            }
            Err(error) => Err(errors::waypost(py, engine::code_of(&error), &error.to_string())),
        }
    }

    /// Whether the data of the body has ended, but not the trailers.
    #[getter]
    fn in_trailers(&self) -> bool {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner).in_trailers()
    }
}

/// Reads what a listener asks of pages of other sites.
pub(crate) fn guard_of(name: &str) -> PyResult<Guard> {
    Guard::parse(name).ok_or_else(|| PyValueError::new_err(format!("there is no guard {name:?}")))
}

/// Encode a message's id for a header field. Bytes that are not visible ASCII are percent-encoded (RFC 3986, section 2.1).
#[pyfunction]
pub(crate) fn encode_id<'py>(py: Python<'py>, id: &str) -> Bound<'py, PyBytes> {
    PyBytes::new(py, header_safe(id).as_bytes())
}
