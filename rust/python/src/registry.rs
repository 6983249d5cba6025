//! `Registry`: the state of clusters and endpoints, which outlives snapshots.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use waypost_core::cluster::{
    self, Accounts, Board, ClusterView, Condition, Counts, EndpointChange, EndpointView, Instant, Share,
};

use crate::endpoint::Endpoint;
use crate::recorder::Shared;
use crate::snapshot::{IDS, Snapshot, seed};
use crate::{clock, policy};

/// The state of all clusters and endpoints, which outlives snapshots. Mutable, for use by any thread.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Registry {
    registry: Mutex<cluster::Registry>,
}

#[pymethods]
impl Registry {
    /// Bytes of memory for the token buckets of rates.
    #[classattr]
    const SIZE: usize = Accounts::CELLS * size_of::<u64>();

    /// Bytes of memory for the state that one worker publishes.
    #[classattr]
    const SLOT: usize = Board::SLOT * size_of::<u64>();

    #[new]
    #[pyo3(signature = (memory = None))]
    fn new(memory: Option<PyBuffer<u8>>) -> PyResult<Self> {
        clock::now(); // Processes that are forked later count time from the same origin.
        let accounts = match memory {
            None => Accounts::on_heap(IDS.number()),
            Some(buffer) => Accounts::new(Box::new(Shared::of(buffer)?), IDS.number())
                .ok_or_else(|| PyValueError::new_err("the memory is too small"))?,
        };
        Ok(Self { registry: Mutex::new(cluster::Registry::sharing(accounts, IDS.number())) })
    }

    /// Declare this process to be worker number `worker`, counted from 0, of `workers`.
    fn become_worker(&self, worker: u32, workers: u32) -> PyResult<()> {
        if worker >= workers {
            return Err(PyValueError::new_err(format!(
                "worker {worker} must be less than workers, {workers}"
            )));
        }
        IDS.reseed(seed());
        self.lock().become_worker(Share { worker, workers }, IDS.number());
        Ok(())
    }

    /// Let processes that are forked from now on publish the state of their clusters in `memory`.
    fn show(&self, memory: PyBuffer<u8>) -> PyResult<()> {
        self.lock().show(Board::new(Box::new(Shared::of(memory)?)));
        Ok(())
    }

    /// Publish the state of this worker's clusters to the other workers. Call it about once a second.
    fn publish(&self) -> bool {
        self.lock().publish(clock::now())
    }

    /// The endpoints that went out of use, or came back into use, since the last call.
    fn changes(&self) -> Vec<Changed> {
        let of = |change: EndpointChange| {
            let EndpointChange { cluster, url, address, condition, out, consecutive_failures } = change;
            (cluster, url, address, out, condition.name(), consecutive_failures)
        };
        self.lock().changes(clock::now()).into_iter().map(of).collect()
    }

    /// Drop the published state of a worker that has exited; its counts remain. Call it in the parent process.
    fn forget_worker(&self, worker: usize) {
        self.lock().forget_worker(worker);
    }

    /// Bring a snapshot into force. Raises `ValueError` if it already is.
    ///
    /// `names` are its endpoints whose host is a name that this process resolves; `resolved` tells of their addresses.
    #[pyo3(signature = (snapshot, names = Vec::new()))]
    #[allow(clippy::needless_pass_by_value)] // Extracted from Python.
    fn apply(&self, snapshot: &Snapshot, names: Vec<Bound<'_, Endpoint>>) -> PyResult<()> {
        let mut registry = self.lock();
        let shared = snapshot.shared();
        if !shared.join(&mut registry) {
            return Err(PyValueError::new_err("the snapshot is already in force"));
        }
        let names = names.iter().map(|endpoint| (endpoint.get().at, endpoint.get().host.as_str()));
        shared.bound().watch(&mut registry, names, clock::now());
        Ok(())
    }

    /// The name `host` was resolved to these addresses. Each is an endpoint of its own from now on; addresses that are
    /// not among them get no further messages. Without any, the endpoints go by name again.
    #[allow(clippy::needless_pass_by_value)] // Extracted from Python.
    fn resolved(&self, host: &str, addresses: Vec<String>) {
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        self.lock().resolved(host, &addresses, clock::now());
    }

    /// The current state of all clusters, sorted by name, as `GET /-/clusters` shows it. Times are in seconds.
    fn view<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let now = clock::now();
        let out = PyList::empty(py);
        for view in self.views_at(now) {
            out.append(cluster_view(py, &view, now)?)?;
        }
        Ok(out)
    }
}

/// Cluster, URL, address, whether it is left alone, condition, failures in a row.
type Changed = (String, String, Option<String>, bool, &'static str, u32);

impl Registry {
    /// The current state of all clusters, sorted by name.
    pub(crate) fn views(&self) -> Vec<ClusterView> {
        self.views_at(clock::now())
    }

    fn views_at(&self, now: Instant) -> Vec<ClusterView> {
        self.lock().view(now)
    }

    fn lock(&self) -> MutexGuard<'_, cluster::Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn dict<'py, V, const N: usize>(py: Python<'py>, pairs: [(&str, V); N]) -> PyResult<Bound<'py, PyDict>>
where
    V: IntoPyObject<'py>,
{
    let out = PyDict::new(py);
    for (key, value) in pairs {
        out.set_item(key, value)?;
    }
    Ok(out)
}

fn cluster_view<'py>(py: Python<'py>, view: &ClusterView, now: Instant) -> PyResult<Bound<'py, PyDict>> {
    let (totals, shed) = (view.totals, view.shed);
    let out = dict(py, [("name", view.name.as_str())])?;
    out.set_item("in_flight", view.in_flight)?;
    out.set_item("limit", view.limit)?;
    out.set_item("waiting", view.waiting.iter().sum::<u32>())?;
    let waiting = PyDict::new(py);
    for (priority, count) in view.waiting.iter().enumerate().filter(|(_, count)| **count > 0) {
        waiting.set_item(priority.to_string(), count)?;
    }
    out.set_item("waiting_by_priority", waiting)?;
    out.set_item("wait", view.wait.as_secs_f64())?;
    out.set_item("messages", totals.messages)?;
    out.set_item("retries", totals.retries)?;
    out.set_item("retries_left", view.retries_left)?;
    out.set_item("hedges", totals.hedges)?;
    let shed = [
        ("rate_limited", totals.rate_limited),
        ("queue_full", shed.queue_full),
        ("deadline_too_short", shed.deadline_too_short),
        ("displaced", shed.displaced),
        ("expired", shed.expired),
    ];
    out.set_item("refused", dict(py, shed)?)?;
    let latency = view.latency.map(|[median, late, last]| {
        let seconds = |length: Duration| length.as_secs_f64();
        dict(py, [("p50", seconds(median)), ("p95", seconds(late)), ("p99", seconds(last))])
    });
    out.set_item("latency", latency.transpose()?)?;
    let rates = PyList::empty(py);
    for (rate, accounts) in &view.rates {
        let rate = policy::view(py, rate)?;
        rate.set_item("accounts", accounts)?;
        rates.append(rate)?;
    }
    out.set_item("rates", rates)?;
    let endpoints = PyList::empty(py);
    for endpoint in &view.endpoints {
        endpoints.append(endpoint_view(py, endpoint, now)?)?;
    }
    out.set_item("endpoints", endpoints)?;
    Ok(out)
}

fn endpoint_view<'py>(py: Python<'py>, view: &EndpointView, now: Instant) -> PyResult<Bound<'py, PyDict>> {
    let out = dict(py, [("url", view.url.as_str())])?;
    out.set_item("address", &view.address)?;
    out.set_item("weight", view.weight)?;
    out.set_item("condition", view.condition.name())?;
    let conditions = PyDict::new(py);
    for condition in view.conditions.iter().map(|condition| condition.name()) {
        let count = view.conditions.iter().filter(|other| other.name() == condition).count();
        conditions.set_item(condition, count)?;
    }
    out.set_item("conditions", (conditions.len() > 1).then_some(conditions))?;
    let (until, share) = match view.condition {
        Condition::Open(until) | Condition::Resting(until) => (Some(until.since(now).as_secs_f64()), 0.0),
        Condition::Starting(thousandths) => (None, f64::from(thousandths) / 1000.0),
        Condition::Fit => (None, 1.0),
        Condition::HalfOpen | Condition::CheckFails | Condition::Draining => (None, 0.0),
    };
    out.set_item("for_seconds", until)?;
    out.set_item("share", share)?;
    out.set_item("consecutive_failures", view.consecutive_failures)?;
    out.set_item("check", view.check)?;
    out.set_item("in_flight", view.in_flight)?;
    out.set_item("latency", view.latency.map(|length| length.as_secs_f64()))?;
    let Counts { attempts, succeeded, unreachable, timed_out, broken, error_status, cancelled } = view.counts;
    let counts = [
        ("begun", attempts),
        ("succeeded", succeeded),
        ("unreachable", unreachable),
        ("timed_out", timed_out),
        ("broken", broken),
        ("refused", error_status),
        ("cancelled", cancelled),
    ];
    out.set_item("attempts", dict(py, counts)?)?;
    Ok(out)
}
