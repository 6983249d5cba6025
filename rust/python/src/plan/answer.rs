//! The answer to a plan's message: the head for the client, and responses that arrive whole.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use waypost_core::engine::{self, EndpointAt, Report};
use waypost_core::http1::{self, Fields, Progress};

use super::Plan;
use crate::endpoint::Endpoint;
use crate::http1::{MAX_HEAD, ResponseHead, list, reusable};

impl Plan {
    /// The header fields for the client: the endpoint's fields except Waypost's own, then Waypost's own.
    pub(crate) fn relayed<'py>(
        &self,
        py: Python<'py>,
        response: &ResponseHead,
        endpoint: &Endpoint,
        attempts: u32,
    ) -> PyResult<Bound<'py, PyList>> {
        self.responds(response, endpoint, attempts);
        let upstream_id = engine::upstream_id(&response.head, &self.inner);
        let own = self.own(Some(endpoint.at), attempts, upstream_id);
        list(py, engine::sent_on(&response.head).chain(&own))
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
        let trace = self.trace();
        let report = Report {
            at: Some(endpoint.at),
            attempts,
            upstream_id: engine::upstream_id(&response.head, &self.inner),
            trace: trace.as_deref(),
        };
        self.shared.snapshot.relay(&self.intake, &self.inner, &report, &response.head, begin, close)
    }

    /// Whether a response that announces events and has none is no answer.
    pub(crate) fn needs_event(&self) -> bool {
        self.inner.needs_event()
    }

    /// Waypost's own fields of a response.
    pub(super) fn own(&self, at: Option<EndpointAt>, attempts: u32, upstream_id: Option<&[u8]>) -> Fields {
        let trace = self.trace();
        let report = Report { at, attempts, upstream_id, trace: trace.as_deref() };
        self.shared.snapshot.own_fields(&self.inner, &report)
    }

    /// The value of `x-waypost-trace`, for a caller who is told of it.
    fn trace(&self) -> Option<String> {
        if !self.intake.is_debug() {
            return None;
        }
        self.shared.snapshot.trace(&self.intake, &self.exchange.trail())
    }

    /// Notes the endpoint's own id of the request for a record that is made later.
    pub(crate) fn note_upstream_id(&self, response: &ResponseHead) {
        if let Some(id) = engine::upstream_id(&response.head, &self.inner) {
            self.account().upstream_id = Some(id.into());
        }
    }

    /// Whether a whole response with this status is the answer. If so, ends the exchange and drops the body.
    pub(super) fn is_answer(&self, status: u16) -> bool {
        let answer = self.exchange.answer(status);
        if answer {
            *self.body() = None;
        }
        answer
    }

    /// The response in `data`, if it is complete and an answer, and for how long the idle connection is reusable.
    pub(super) fn whole<'d>(
        &self,
        data: &'d [u8],
    ) -> Option<(ResponseHead, Cow<'d, [u8]>, http1::ResponseEnd, f64)> {
        let mut reader = http1::ResponseReader::new(self.intake.method(), MAX_HEAD);
        let Ok(Progress { head: Some(head), body, end: Some(end) }) = reader.feed(data) else { return None };
        if end.empty && self.needs_event() {
            return None;
        }
        let reusable = reusable(&reader, &end);
        Some((ResponseHead::new(head, false), body, end, reusable))
    }

    /// Notes for the record that the client gets this response.
    fn responds(&self, response: &ResponseHead, endpoint: &Endpoint, attempts: u32) {
        let mut account = self.account();
        account.at = Some(endpoint.at);
        account.attempts = attempts;
        account.status = response.head.status;
        account.first_byte = Some(response.since);
    }
}

/// Joins a head and a body in one bytes object.
pub(super) fn joined<'py>(py: Python<'py>, head: &[u8], body: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, head.len() + body.len(), |out| {
        if let Some((for_head, for_body)) = out.split_at_mut_checked(head.len()) {
            for_head.copy_from_slice(head);
            for_body.copy_from_slice(body);
        }
        Ok(())
    })
}
