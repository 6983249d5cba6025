//! Data that a plan keeps about its message: the body, and the account for its record.

use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use waypost_core::engine::EndpointAt;

/// A request body, as a part of a larger bytes object.
pub(crate) struct Held {
    pub(crate) bytes: Py<PyBytes>,
    pub(crate) start: usize,
    pub(crate) length: usize,
}

impl Held {
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self { bytes: self.bytes.clone_ref(py), start: self.start, length: self.length }
    }

    pub(crate) fn of<'a>(&'a self, py: Python<'a>) -> &'a [u8] {
        self.bytes.as_bytes(py).get(self.start..self.start + self.length).unwrap_or_default()
    }
}

/// The data for a message's record that is known so far.
#[derive(Default)]
pub(crate) struct Account {
    pub(crate) at: Option<EndpointAt>,
    pub(crate) attempts: u32,
    pub(crate) status: u16,
    pub(crate) bytes_in: u64,
    pub(crate) first_byte: Option<Instant>,
    /// The endpoint's own id of the request.
    pub(crate) upstream_id: Option<Box<[u8]>>,
    /// Whether the message was recorded.
    pub(crate) over: bool,
}
