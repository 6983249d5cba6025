//! `RequestReader`: reads plain requests from a client connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes};
use waypost_core::engine::{Boundary, Peer};
use waypost_core::http1;

use crate::account::Held;
use crate::certificate::Certificate;
use crate::intake::Intake;
use crate::plan::Plan;
use crate::snapshot::{IDS, Snapshot, known};
use crate::{clock, errors};

/// Reads the plain requests of one client connection. Mutable, for use by one thread.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct RequestReader {
    peer: Peer,
    reader: Mutex<Option<http1::RequestReader>>,
}

#[pymethods]
impl RequestReader {
    #[new]
    #[pyo3(signature = (*, client = None, scheme = "http", certificate = None))]
    fn new(client: Option<&str>, scheme: &str, certificate: Option<&Certificate>) -> Self {
        let certificate = certificate.map(Certificate::shared);
        let peer = Peer { client: client.map(Arc::from), certificate, scheme: known(scheme) };
        Self { peer, reader: Mutex::new(None) }
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
            Boundary::Other => Ok(PyBool::new(py, false).to_owned().into_any()),
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
