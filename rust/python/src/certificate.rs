//! `Certificate`.

use std::sync::Arc;

use pyo3::prelude::*;
use waypost_core::auth;

/// A client's certificate that TLS has verified.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Certificate {
    inner: Arc<auth::Certificate>,
}

impl Certificate {
    pub(crate) fn shared(&self) -> Arc<auth::Certificate> {
        Arc::clone(&self.inner)
    }
}

#[pymethods]
impl Certificate {
    #[new]
    fn new(subject: String, der: &[u8]) -> Self {
        Self { inner: Arc::new(auth::Certificate::new(subject, der)) }
    }

    /// Its subject, as it was given.
    #[getter]
    fn subject(&self) -> &str {
        &self.inner.subject
    }

    /// The SHA-256 of its DER encoding.
    #[getter]
    fn fingerprint(&self) -> &[u8] {
        &self.inner.fingerprint
    }

    fn __repr__(&self) -> String {
        format!("<Certificate of {}>", self.inner.subject)
    }
}
