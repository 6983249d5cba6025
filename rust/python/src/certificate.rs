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
    #[pyo3(signature = (subject, der, names = Vec::new()))]
    fn new(subject: String, der: &[u8], names: Vec<String>) -> Self {
        Self { inner: Arc::new(auth::Certificate::new(subject, der).with_names(names)) }
    }

    /// Its subject, as it was given.
    #[getter]
    fn subject(&self) -> &str {
        &self.inner.subject
    }

    /// Its subject alternative names, as they were given.
    #[getter]
    fn names(&self) -> Vec<&str> {
        self.inner.names.iter().map(String::as_str).collect()
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
