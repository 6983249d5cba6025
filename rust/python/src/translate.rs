//! Translations of model calls, for the pairs of dialects.

use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use waypost_core::translate::{self, Format, Policy, Settings, StreamError, StreamFault, StreamOptions};

use crate::errors;

/// A translated document, and the paths of what was left out.
type Translated<'py> = (Bound<'py, PyBytes>, Vec<String>);

/// What a client gets of a stream, and the error that ends the stream.
type Piece<'py> = (Bound<'py, PyBytes>, Option<Py<PyAny>>);

fn format(name: &str) -> PyResult<Format> {
    let found = Format::ALL.into_iter().find(|format| format.name() == name);
    found.ok_or_else(|| PyValueError::new_err(format!("there is no format {name:?}")))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Translates a request. Raises `EnvelopeError` with `invalid_envelope`.
#[pyfunction]
#[pyo3(signature = (client, cluster, body, *, model = None, drop = false))]
pub(crate) fn translate_request<'py>(
    py: Python<'py>,
    client: &str,
    cluster: &str,
    body: &[u8],
    model: Option<String>,
    drop: bool,
) -> PyResult<Translated<'py>> {
    let unsupported = if drop { Policy::Drop } else { Policy::Refuse };
    let settings = Settings { model, unsupported, ..Settings::default() };
    let (from, to) = (format(client)?, format(cluster)?);
    let found = py.detach(|| translate::request(from, to, body, &settings)).map_err(|fault| {
        let field = (!fault.at.is_empty()).then_some(fault.at.as_str());
        errors::envelope(py, "invalid_envelope", &fault.to_string(), None, field)
    })?;
    Ok((PyBytes::new(py, &found.body), found.dropped))
}

/// Translates a whole reply. Raises `UpstreamError` with `upstream_protocol`.
#[pyfunction]
pub(crate) fn translate_reply<'py>(
    py: Python<'py>,
    cluster: &str,
    client: &str,
    body: &[u8],
) -> PyResult<Translated<'py>> {
    let (from, to) = (format(cluster)?, format(client)?);
    let found = py.detach(|| translate::reply(from, to, body, now())).map_err(|fault| {
        errors::upstream_protocol(py, &format!("the reply is not one of the {from} format: {fault}"))
    })?;
    Ok((PyBytes::new(py, &found.body), found.dropped))
}

/// A stream on its way from a cluster to a client.
#[pyclass(module = "waypost._native")]
pub(crate) struct ModelStream(translate::Stream);

#[pymethods]
impl ModelStream {
    #[new]
    #[pyo3(signature = (cluster, client, *, limit, usage, prompt = 0))]
    fn new(cluster: &str, client: &str, limit: usize, usage: bool, prompt: u64) -> PyResult<Self> {
        let options = StreamOptions { now: now(), usage, limit, prompt };
        Ok(Self(translate::Stream::new(format(cluster)?, format(client)?, options)))
    }

    /// What the client gets of these bytes.
    fn feed<'py>(&mut self, py: Python<'py>, data: &[u8]) -> Piece<'py> {
        let mut out = Vec::new();
        let fed = self.0.feed(data, &mut out);
        told(py, &out, fed)
    }

    /// What the client gets once the endpoint's stream is over.
    fn finish<'py>(&mut self, py: Python<'py>) -> Piece<'py> {
        let mut out = Vec::new();
        let finished = self.0.finish(&mut out);
        told(py, &out, finished)
    }

    /// The event that tells the client of an error.
    fn fail<'py>(&mut self, py: Python<'py>, code: &str, kind: &str, message: &str, request_id: &str) -> Bound<'py, PyBytes> {
        let mut out = Vec::new();
        self.0.fail(StreamError { code, kind, message, request_id }, &mut out);
        PyBytes::new(py, &out)
    }

    #[getter]
    fn committed(&self) -> bool {
        self.0.committed()
    }

    #[getter]
    fn done(&self) -> bool {
        self.0.done()
    }
}

/// What the client gets, and why the stream ends there, if it does.
fn told<'py>(py: Python<'py>, out: &[u8], result: Result<(), StreamFault>) -> Piece<'py> {
    let error = result.err().map(|fault| match fault {
        StreamFault::Malformed(message) | StreamFault::Short(message) => errors::upstream_protocol(py, &message),
        StreamFault::Reported { kind, code, message } => {
            errors::reported(py, code.as_deref(), kind.as_deref(), &message)
        }
    });
    (PyBytes::new(py, out), error.map(|error| error.into_value(py).into_any()))
}
