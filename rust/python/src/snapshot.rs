//! `Snapshot`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyMapping};
use waypost_core::auth::keys::{self, Admin, Caller, Keys};
use waypost_core::auth::{CertificateId, Certificates, Identities, Presented};
use waypost_core::cluster::{self, AddressKey};
use waypost_core::engine::{self, BoundClusters, Config, EndpointAt, Ids, Limits, Request, Trusted};
use waypost_core::http1::Fields;
use waypost_core::json::{DuplicateKeys, Options};
use waypost_core::metrics::Slots;
use waypost_core::pattern::Problem;

use crate::certificate::Certificate;
use crate::cluster_config::read_cluster;
use crate::course::Turn;
use crate::endpoint::{Cluster, Endpoint};
use crate::intake::Intake;
use crate::message::{pair_of, read_identity};
use crate::recorder::Recorder;
use crate::request::guard_of;
use crate::route_table::{RouteTable, item, read_routes};
use crate::{clock, errors, memory};

/// The process's source of ids, which outlives snapshots.
pub(crate) static IDS: LazyLock<Ids> = LazyLock::new(|| Ids::new(seed()));

/// A random number that differs from process to process. The standard library seeds its hasher from the system.
pub(crate) fn seed() -> u64 {
    // A forked process has its parent's hash keys, but its own process id.
    RandomState::new().hash_one((std::process::id(), clock::now().nanos()))
}

/// Give this process ids of its own, because it was forked from a process that may make ids too.
#[pyfunction]
pub(crate) fn reseed_ids() {
    IDS.reseed(seed());
}

/// Objects of addresses that are kept in any case, however many of the addresses have left.
const ADDRESSES: usize = 64;

/// The parts that a snapshot shares with its messages.
pub(crate) struct Shared {
    pub(crate) snapshot: Arc<engine::Snapshot>,
    pub(crate) table: Py<RouteTable>,
    clusters: Vec<Py<Cluster>>,
    /// Endpoints by cluster.
    endpoints: Vec<Vec<Py<Endpoint>>>,
    /// Those of addresses, as far as they were asked for.
    addresses: Mutex<HashMap<(usize, AddressKey), Py<Endpoint>>>,
    /// Set once the snapshot is in force.
    bound: OnceLock<BoundClusters>,
    /// Counts and logs messages.
    pub(crate) recorder: Option<Py<Recorder>>,
    pub(crate) slots: Slots,
}

impl Drop for Shared {
    fn drop(&mut self) {
        memory::free_aside(Arc::clone(&self.snapshot), self.snapshot.table.len());
    }
}

impl Shared {
    /// The clusters in force. A snapshot that was not applied to a registry has state of its own.
    pub(crate) fn bound(&self) -> &BoundClusters {
        self.bound.get_or_init(|| self.snapshot.join(&mut cluster::Registry::new(IDS.number()), clock::now()))
    }

    /// Brings the snapshot into force; false if it already is.
    pub(crate) fn join(&self, registry: &mut cluster::Registry) -> bool {
        self.bound.get().is_none() && self.bound.set(self.snapshot.join(registry, clock::now())).is_ok()
    }

    pub(crate) fn endpoint(&self, py: Python<'_>, at: EndpointAt) -> Option<Py<Endpoint>> {
        let endpoint = self.endpoints.get(at.cluster)?.get(at.endpoint)?;
        let Some(address) = at.address else { return Some(endpoint.clone_ref(py)) };
        let mut known = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = known.get(&(at.cluster, address)) {
            return Some(endpoint.clone_ref(py));
        }
        let text = |cluster: usize, key| self.bound().groups().nth(cluster)?.address(key);
        if known.len() == known.capacity() {
            known.retain(|(cluster, key), _| text(*cluster, *key).is_some());
            let kept = known.len();
            known.reserve(kept.max(ADDRESSES)); // so many come before all are looked through again
        }
        let Some(text) = text(at.cluster, address) else { return Some(endpoint.clone_ref(py)) };
        let configured = self.snapshot.clusters().get(at.cluster)?.endpoints.get(at.endpoint)?;
        let cluster = endpoint.get().cluster(py);
        let endpoint = Endpoint::of(py, cluster, configured, Some(text.into()), at).ok()?;
        known.insert((at.cluster, address), endpoint.clone_ref(py));
        Some(endpoint)
    }
}

/// One compiled configuration. A reload compiles another snapshot, which replaces it as a whole.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Snapshot {
    shared: Arc<Shared>,
}

impl Snapshot {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

#[pymethods]
impl Snapshot {
    #[new]
    #[pyo3(signature = (config, recorder = None))]
    fn new(py: Python<'_>, config: &Bound<'_, PyDict>, recorder: Option<Py<Recorder>>) -> PyResult<Self> {
        let mut problems = Vec::new();
        let config = read_config(config, false, &mut problems)?;
        let routes = config.routes.len();
        let compiled = py.detach(|| {
            let compiled = engine::Snapshot::compile(config);
            memory::give_back(routes);
            compiled
        });
        let snapshot = match compiled {
            Ok(snapshot) if problems.is_empty() => snapshot,
            compiled => {
                problems.extend(compiled.err().into_iter().flatten());
                return Err(errors::config(py, &problems));
            }
        };
        let table = Py::new(py, RouteTable::of(Arc::clone(&snapshot.table)))?;
        let mut clusters = Vec::new();
        let mut endpoints = Vec::new();
        for (position, cluster) in snapshot.clusters().iter().enumerate() {
            let object = Cluster::of(py, cluster)?;
            let of = |(endpoint, found)| {
                let at = EndpointAt { cluster: position, endpoint, address: None };
                Endpoint::of(py, object.clone_ref(py), found, None, at)
            };
            endpoints.push(cluster.endpoints.iter().enumerate().map(of).collect::<PyResult<Vec<_>>>()?);
            clusters.push(object);
        }
        let slots = snapshot.slots();
        let snapshot = Arc::new(snapshot);
        let bound = OnceLock::new();
        let addresses = Mutex::default();
        let shared = Shared { snapshot, table, clusters, endpoints, addresses, bound, recorder, slots };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The problems that compiling would report, as (path, message), for a configuration that was only partly read.
    #[staticmethod]
    fn problems<'py>(py: Python<'py>, config: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyList>> {
        let mut problems = Vec::new();
        let config = read_config(config, true, &mut problems)?;
        problems.extend(py.detach(|| engine::Snapshot::problems(&config)));
        pairs(py, &problems)
    }

    #[getter]
    fn table(&self, py: Python<'_>) -> Py<RouteTable> {
        self.shared.table.clone_ref(py)
    }

    #[getter]
    fn clusters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let out = PyDict::new(py);
        for (cluster, object) in self.shared.snapshot.clusters().iter().zip(&self.shared.clusters) {
            out.set_item(&cluster.name, object)?;
        }
        Ok(out)
    }

    #[getter]
    fn endpoints(&self, py: Python<'_>) -> Vec<Py<Endpoint>> {
        self.shared.endpoints.iter().flatten().map(|endpoint| endpoint.clone_ref(py)).collect()
    }

    /// The turns that have come in the queues of all clusters. Call this once the snapshot is in force.
    fn turns(&self) -> Vec<Turn> {
        let mut out = Vec::new();
        for group in self.shared.bound().groups() {
            while let Some(turn) = group.turn(clock::now()) {
                out.push(Turn::of(turn, group));
            }
        }
        out
    }

    /// Seconds until the next active check is due; `None` without checks, or if a newer snapshot is in force.
    #[getter]
    fn next_check(&self) -> Option<f64> {
        let due = self.shared.bound().groups().filter_map(|group| group.next_check()).min()?;
        Some(due.since(clock::now()).as_secs_f64())
    }

    /// The endpoints whose active check is due. Each is returned once; report its result with `checked`.
    fn due_checks(&self, py: Python<'_>) -> Vec<Py<Endpoint>> {
        let now = clock::now();
        let mut out = Vec::new();
        for (cluster, group) in self.shared.bound().groups().enumerate() {
            let places = group.due_checks(now).into_iter();
            out.extend(places.filter_map(|place| self.shared.endpoint(py, EndpointAt::new(cluster, place))));
        }
        out
    }

    /// Report the result of an active check. `good` is false for a bad answer or a timeout. Returns whether the check
    /// fails from now on, so that messages that wait at the endpoint may go elsewhere.
    fn checked(&self, endpoint: &Endpoint, good: bool) -> bool {
        let group = self.shared.bound().groups().nth(endpoint.at.cluster);
        group.is_some_and(|group| group.checked(endpoint.at.place(), good, clock::now()))
    }

    /// Valid but probably unintended parts, as (path, message): a route that can never be reached, for example.
    #[getter]
    fn warnings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        pairs(py, &self.shared.snapshot.warnings)
    }

    /// Check a request's head.
    #[pyo3(signature = (method, target, headers, *, client = None, scheme = "http", http_version = "1.1", certificate = None, key = None))]
    #[allow(clippy::too_many_arguments)] // One per part of a request's head.
    fn accept(
        &self,
        py: Python<'_>,
        method: &str,
        target: &[u8],
        headers: &Bound<'_, PyAny>,
        client: Option<&str>,
        scheme: &str,
        http_version: &str,
        certificate: Option<&Certificate>,
        key: Option<&str>,
    ) -> PyResult<Intake> {
        let Ok(target) = std::str::from_utf8(target) else {
            return Err(errors::waypost(
                py,
                "bad_framing",
                "the request target contains bytes that are not ASCII",
            ));
        };
        let request = Request {
            method: known(method),
            target: target.to_owned(),
            headers: read_fields(headers)?,
            client: client.map(Arc::from),
            certificate: certificate.map(Certificate::shared),
            scheme: known(scheme),
            version: known(http_version),
        };
        let snapshot = &self.shared.snapshot;
        let accepted = match key {
            None => snapshot.accept(request, clock::unix(), &IDS),
            Some(name) => {
                let caller = snapshot.caller(name).ok_or_else(|| PyKeyError::new_err(name.to_owned()))?;
                snapshot.accept_of(request, caller, &IDS)
            }
        };
        let intake = accepted.map_err(|rejection| errors::rejection(py, &rejection))?;
        Ok(Intake::new(Arc::clone(&self.shared), intake))
    }

    /// Check that no page of another site sent a request to a listener. `guard` says what the listener asks.
    fn check_origin(
        &self,
        py: Python<'_>,
        guard: &str,
        scheme: &str,
        target: &[u8],
        headers: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let guard = guard_of(guard)?;
        let target = std::str::from_utf8(target).unwrap_or_default();
        let checked = self.shared.snapshot.check_origin(guard, scheme, target, &read_fields(headers)?, &IDS);
        checked.map_err(|rejection| errors::rejection(py, &rejection))
    }

    /// Check that a request with these header fields presents a key that opens administration, or only its metrics.
    #[pyo3(signature = (headers, *, metrics = false, client = None, certificate = None))]
    fn admit(
        &self,
        py: Python<'_>,
        headers: &Bound<'_, PyAny>,
        metrics: bool,
        client: Option<&str>,
        certificate: Option<&Certificate>,
    ) -> PyResult<()> {
        let certificate = certificate.map(Certificate::shared);
        let fields = read_fields(headers)?;
        let presented = Presented { fields: &fields, certificate: certificate.as_deref(), address: client };
        let wanted = if metrics { Admin::Metrics } else { Admin::All };
        let admitted = self.shared.snapshot.admit(&presented, wanted, clock::unix());
        admitted.map_err(|denied| errors::waypost(py, denied.code(), &denied.to_string()))
    }
}

/// Converts problems to `[(path, message)]`.
fn pairs<'py>(py: Python<'py>, problems: &[Problem]) -> PyResult<Bound<'py, PyList>> {
    let out = PyList::empty(py);
    for Problem { path, message } in problems {
        out.append((errors::path(py, path)?, message))?;
    }
    Ok(out)
}

/// Borrows common texts of requests, and copies others.
pub(crate) fn known(text: &str) -> Cow<'static, str> {
    const KNOWN: [&str; 8] = ["POST", "GET", "http", "https", "1.1", "1.0", "2", "HEAD"];
    let found = KNOWN.into_iter().find(|known| *known == text);
    found.map_or_else(|| text.to_owned().into(), Cow::Borrowed)
}

fn read_fields(headers: &Bound<'_, PyAny>) -> PyResult<Fields> {
    let fields = headers.len().unwrap_or(16);
    let mut out = Fields::with_capacity(fields, fields * 32);
    for pair in headers.try_iter()? {
        let pair = pair?;
        let (name, value) = pair_of(&pair)?;
        out.push(name.cast::<PyBytes>()?.as_bytes(), value.cast::<PyBytes>()?.as_bytes());
    }
    Ok(out)
}

/// Reads a configuration whose shape was checked. For `partial` see [`value::read`](crate::value::read).
fn read_config(config: &Bound<'_, PyDict>, partial: bool, problems: &mut Vec<Problem>) -> PyResult<Config> {
    let routes = read_routes(&item(config, "routes")?, partial, problems)?;
    let limits = item(config, "limits")?.cast_into::<PyDict>()?;
    let depth: usize = item(config, "depth")?.extract()?;
    let header: usize = item(&limits, "header")?.extract()?;
    let mut clusters = Vec::new();
    for pair in item(config, "clusters")?.cast::<PyMapping>()?.items()?.iter() {
        let (name, cluster): (String, Bound<'_, PyDict>) = pair.extract()?;
        clusters.push(read_cluster(name, &cluster, problems)?);
    }
    let json = Options { depth, duplicate_keys: DuplicateKeys::Error };
    let identities = read_identities(&item(config, "keys")?)?;
    let trusted = read_trusted(&item(config, "trusted")?)?;
    let hosts = item(config, "hosts")?.extract()?;
    Ok(Config { routes, clusters, identities, trusted, hosts, limits: Limits { header, json } })
}

fn read_identities(keys: &Bound<'_, PyAny>) -> PyResult<Identities> {
    let (mut hashes, mut certificates) = (Vec::new(), Vec::new());
    for key in keys.try_iter()? {
        let key = key?.cast_into::<PyDict>()?;
        let caller = read_caller(&key)?;
        if let Some((kind, value)) = item(&key, "certificate")?.extract::<Option<(String, String)>>()? {
            certificates.push((read_certificate_id(&kind, value)?, caller));
        } else {
            hashes.push((read_hash(&item(&key, "hash")?.extract::<String>()?)?, caller));
        }
    }
    Ok(Identities::new(Keys::new(hashes), Certificates::new(certificates)))
}

fn read_hash(text: &str) -> PyResult<keys::Hash> {
    keys::parse_hash(text).ok_or_else(|| PyValueError::new_err(format!("{text:?} is not the hash of a key")))
}

fn read_certificate_id(kind: &str, value: String) -> PyResult<CertificateId> {
    Ok(match kind {
        "subject" => CertificateId::Subject(value),
        "san" => CertificateId::Name(value),
        _ => CertificateId::Fingerprint(read_hash(&value)?),
    })
}

fn read_caller(key: &Bound<'_, PyDict>) -> PyResult<Caller> {
    let identity = read_identity(item(key, "identity")?.cast::<PyMapping>()?)?;
    let admin = match item(key, "admin")?.extract::<bool>() {
        Ok(true) => Admin::All,
        Ok(false) => Admin::No,
        Err(_) => Admin::Metrics, // The only word that a configuration can have.
    };
    let flag = |name, absent| match key.get_item(name)? {
        Some(flag) => flag.extract(),
        None => PyResult::Ok(absent),
    };
    Ok(Caller {
        admin,
        messages: flag("messages", true)?,
        debug: flag("debug", false)?,
        ..Caller::new(item(key, "name")?.extract::<String>()?, identity)
    })
}

fn read_trusted(trusted: &Bound<'_, PyAny>) -> PyResult<Trusted> {
    let mut out = Trusted::default();
    for each in trusted.try_iter()? {
        let each: String = each?.extract()?;
        if each == "unix" {
            out.unix = true;
        } else {
            let block = each
                .parse()
                .map_err(|_| PyValueError::new_err(format!("{each:?} is not an address block")))?;
            out.blocks.push(block);
        }
    }
    Ok(out)
}
