//! `Cluster` and `Endpoint`.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use waypost_core::cluster;
use waypost_core::cluster::policy::Policy;
use waypost_core::engine::EndpointAt;

use crate::policy;

/// A cluster of one configuration, with its policy. Times are in seconds.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Cluster {
    #[pyo3(get)]
    name: String,
    #[pyo3(get)]
    speaks: &'static str,
    /// The model for envelopes that name none.
    #[pyo3(get)]
    model: Option<String>,
    policy: Policy,
}

impl Cluster {
    pub(crate) fn of(py: Python<'_>, cluster: &cluster::Cluster) -> PyResult<Py<Self>> {
        Py::new(
            py,
            Self {
                name: cluster.name.clone(),
                speaks: cluster.speaks.name(),
                model: cluster.model.clone(),
                policy: cluster.policy.clone(),
            },
        )
    }
}

#[pymethods]
impl Cluster {
    #[getter]
    fn connect_timeout(&self) -> f64 {
        self.policy.timeout.connect.as_secs_f64()
    }

    #[getter]
    fn first_byte_timeout(&self) -> f64 {
        self.policy.timeout.first_byte.as_secs_f64()
    }

    #[getter]
    fn idle_timeout(&self) -> f64 {
        self.policy.timeout.idle.as_secs_f64()
    }

    #[getter]
    fn total_timeout(&self) -> f64 {
        self.policy.timeout.total.as_secs_f64()
    }

    /// The longest pause between two reads of a stream, in seconds.
    #[getter]
    fn stream_idle_timeout(&self) -> f64 {
        self.policy.timeout.stream_idle.as_secs_f64()
    }

    /// The silence of a stream of events after which the client gets a comment, in seconds; infinite: it gets none.
    #[getter]
    fn stream_comment(&self) -> f64 {
        let length = self.policy.timeout.stream_comment;
        if length.is_zero() { f64::INFINITY } else { length.as_secs_f64() }
    }

    /// The longest age of a connection, in seconds.
    #[getter]
    fn connection_age(&self) -> f64 {
        self.policy.timeout.connection_age.as_secs_f64()
    }

    /// The longest time that a connection is idle before it is used again, in seconds.
    #[getter]
    fn connection_idle(&self) -> f64 {
        self.policy.timeout.connection_idle.as_secs_f64()
    }

    /// Whether the policy has a hedge: while one attempt is slow, a second one may be made.
    #[getter]
    fn hedged(&self) -> bool {
        self.policy.hedge.is_some()
    }

    /// The active check: the path to GET, and its timeout in seconds; `None` without a check.
    #[getter]
    fn check(&self) -> Option<(&str, f64)> {
        let check = self.policy.health.check.as_ref()?;
        Some((&check.path, check.timeout.as_secs_f64()))
    }

    /// The whole policy with defaults filled in, under the keys of the configuration; a new dict each time.
    #[getter]
    fn policy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        policy::view(py, &self.policy)
    }

    fn __repr__(&self) -> String {
        format!("<Cluster {} speaking {}>", self.name, self.speaks)
    }
}

/// One URL of a cluster, or one address of its host. A snapshot always gives the same object for it.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Endpoint {
    pub(crate) at: EndpointAt,
    #[pyo3(get)]
    cluster: Py<Cluster>,
    /// The URL as configured. Its cluster's name, it and the address together identify the endpoint's state.
    #[pyo3(get)]
    url: String,
    /// The address of the host, where each of its addresses is an endpoint of its own.
    pub(crate) address: Option<Arc<str>>,
    /// Host name or IP address; an IPv6 address has no brackets.
    #[pyo3(get)]
    pub(crate) host: String,
    /// The value for a Host field: the host, and the port unless it is the default (RFC 9110, section 7.2).
    #[pyo3(get)]
    authority: String,
    #[pyo3(get)]
    port: u16,
    #[pyo3(get)]
    tls: bool,
}

impl Endpoint {
    pub(crate) fn cluster(&self, py: Python<'_>) -> Py<Cluster> {
        self.cluster.clone_ref(py)
    }

    /// Whether the cluster's policy has a hedge.
    pub(crate) fn is_hedged(&self, py: Python<'_>) -> bool {
        self.cluster.bind(py).get().policy.hedge.is_some()
    }

    pub(crate) fn of(
        py: Python<'_>,
        cluster: Py<Cluster>,
        endpoint: &cluster::Endpoint,
        address: Option<Arc<str>>,
        at: EndpointAt,
    ) -> PyResult<Py<Self>> {
        Py::new(
            py,
            Self {
                at,
                cluster,
                url: endpoint.url().to_owned(),
                address,
                host: endpoint.host().to_owned(),
                authority: endpoint.authority().to_owned(),
                port: endpoint.port(),
                tls: endpoint.tls(),
            },
        )
    }
}

#[pymethods]
impl Endpoint {
    #[getter]
    fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    fn __repr__(&self) -> String {
        match &self.address {
            None => format!("<Endpoint {}>", self.url),
            Some(address) => format!("<Endpoint {} at {address}>", self.url),
        }
    }
}
