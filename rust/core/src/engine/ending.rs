//! Counts and logs finished messages.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;

use super::call::Purpose;
use super::intake::Intake;
use super::snapshot::{EndpointAt, Plan, Snapshot};
use super::trace::Trace;
use super::trail::TrailEntry;
use crate::log::{Attempted, Buffer, Outcome, Pushed, Recent, Record, Why};
use crate::metrics::{Gauge, Message, Metrics, Slots, Total};

/// The most bytes of lines that wait to be written: about ten times as many as can arise in 0.1 s.
const WAITING: usize = 4 << 20;

/// The end of a message: the facts that only its exchange knows.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// When the message ended, in milliseconds since 1970.
    pub time: u64,
    /// The endpoint that answered, or was tried last.
    pub at: Option<EndpointAt>,
    /// The address there, where the endpoint's addresses are endpoints of their own.
    pub address: Option<&'a str>,
    /// The endpoint's own id of the request, from the response that the client got.
    pub upstream_id: Option<&'a [u8]>,
    /// Number of attempts.
    pub attempts: u32,
    /// What the message has [tried](super::Course::trail).
    pub trail: &'a [TrailEntry],
    /// The status of the response; 0 if the client got none.
    pub status: u16,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// Time in queues.
    pub queued: Duration,
    /// Time from the request's head to the first byte of an endpoint's response.
    pub first_byte: Option<Duration>,
    /// Time from the request's head to the end of the response.
    pub total: Duration,
    /// How the message ended.
    pub why: Why<'a>,
}

impl Snapshot {
    /// The record of a message. A message that was rejected before it was decided has no plan.
    #[must_use]
    pub fn record<'a>(
        &'a self,
        intake: &'a Intake,
        plan: Option<&'a Plan>,
        ending: &Ending<'a>,
    ) -> Record<'a> {
        let cluster = plan.and_then(|plan| self.cluster_of(plan, ending.at));
        let endpoint =
            ending.at.zip(cluster).and_then(|(at, (_, cluster))| cluster.endpoints.get(at.endpoint));
        Record {
            route: plan.map(|plan| self.route_of(plan)),
            cluster: cluster.map(|(_, cluster)| cluster.name.as_str()),
            endpoint: endpoint.map(crate::cluster::Endpoint::url),
            ..intake.record(plan, ending)
        }
    }

    /// An empty cache of metric slots for this snapshot's routes and clusters.
    #[must_use]
    pub fn slots(&self) -> Slots {
        Slots::new(self.table.decisions().len(), self.clusters().len())
    }

    pub(super) fn route_of(&self, plan: &Plan) -> &str {
        self.table.decision(plan.rank).map_or("", |decision| decision.route.as_str())
    }

    /// The cluster of the endpoint `at`, or else the first one that the message may go to.
    pub(super) fn cluster_of(
        &self,
        plan: &Plan,
        at: Option<EndpointAt>,
    ) -> Option<(usize, &crate::cluster::Cluster)> {
        let position = at.map_or_else(|| plan.clusters.first().copied(), |at| Some(at.cluster))?;
        Some((position, self.clusters().get(position)?))
    }
}

impl<'a> Ending<'a> {
    /// A record of these facts alone; its other fields are empty.
    #[must_use]
    pub fn record(&self) -> Record<'a> {
        Record {
            time: self.time,
            id: "",
            client: None,
            key: None,
            tenant: None,
            agent: None,
            method: b"",
            target: b"",
            dialect: None,
            kind: None,
            model: None,
            route: None,
            cluster: None,
            endpoint: None,
            address: self.address,
            upstream_id: self.upstream_id,
            attempts: self.attempts,
            tried: &[],
            status: self.status,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            queued: self.queued,
            first_byte: self.first_byte,
            total: self.total,
            why: self.why,
            trace: None,
            call: None,
        }
    }
}

impl Intake {
    /// The record of a message, without the parts that need the snapshot.
    pub(super) fn record<'a>(&'a self, plan: Option<&'a Plan>, ending: &Ending<'a>) -> Record<'a> {
        let identity = self.caller.as_ref().map(|caller| &caller.identity);
        let proved = identity.and_then(|identity| identity.tenant.as_deref());
        let envelope = plan.map(|plan| &plan.envelope);
        Record {
            id: plan.map_or(&self.id, |plan| &plan.id),
            client: self.origin.client.as_deref(),
            key: self.caller.as_ref().map(|caller| caller.name.as_str()),
            tenant: proved.or_else(|| envelope?.tenant.as_deref()),
            agent: identity.and_then(|identity| identity.agent.as_deref()),
            method: self.request.method.as_bytes(),
            target: self.request.target.as_bytes(),
            dialect: Some(self.dialect.name()),
            kind: envelope.and_then(|envelope| envelope.kind).or(self.kind).map(crate::dialect::Kind::name),
            model: envelope.and_then(|envelope| envelope.model.as_deref()),
            trace: self.trace.as_ref().map(Trace::id),
            call: self.purpose.map(Purpose::name),
            ..ending.record()
        }
    }
}

/// Counts finished messages, keeps their lines for the access log, and keeps the latest of them. Each process has one.
pub struct Recorder {
    /// The metrics.
    pub metrics: Metrics,
    lines: Mutex<Buffer>,
    recent: Mutex<Recent>,
    logging: AtomicBool,
    worker: AtomicUsize,
    nowhere: Slots,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("metrics", &self.metrics).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Counts into `metrics`, as the first worker, and keeps no lines.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            lines: Mutex::new(Buffer::new(WAITING)),
            recent: Mutex::default(),
            logging: AtomicBool::new(false),
            worker: AtomicUsize::new(0),
            nowhere: Slots::new(0, 0),
        }
    }

    /// Starts or stops keeping lines.
    pub fn log(&self, on: bool) {
        self.logging.store(on, Relaxed);
    }

    /// The worker whose gauges this process sets.
    pub fn worker(&self) -> usize {
        self.worker.load(Relaxed)
    }

    /// Makes this process this worker, and clears the gauges of the previous one.
    pub fn become_worker(&self, worker: usize) {
        self.worker.store(worker, Relaxed);
        self.metrics.forget_worker(worker);
    }

    /// Counts a decided message as in flight. [`over`](Self::over) must follow.
    pub fn begun(&self) {
        self.metrics.change(self.worker(), Gauge::InFlight, 1);
    }

    /// Counts a decided message as finished.
    pub fn over(&self) {
        self.metrics.change(self.worker(), Gauge::InFlight, -1);
    }

    /// Records a finished message that had a plan.
    pub fn ended(
        &self,
        snapshot: &Snapshot,
        slots: &Slots,
        intake: &Intake,
        plan: &Plan,
        ending: &Ending<'_>,
    ) -> Pushed {
        let tried: SmallVec<[Attempted<'_>; 4]> =
            ending.trail.iter().map(|entry| snapshot.attempted(entry)).collect();
        let record = Record { tried: &tried, ..snapshot.record(intake, Some(plan), ending) };
        if let Some(purpose) = intake.purpose {
            self.count_call(purpose, &record);
            return self.keep(&record);
        }
        let cluster = snapshot.cluster_of(plan, ending.at).map(|(at, cluster)| (at, cluster.name.as_str()));
        self.count(slots, Some((plan.rank, snapshot.route_of(plan))), cluster, &record);
        self.keep(&record)
    }

    /// Records a message that was rejected before it was decided. `id` is the message's own id, if it was read.
    pub fn record_rejection(&self, intake: &Intake, id: &str, ending: &Ending<'_>) -> Pushed {
        self.record_unread(&Record { id, ..intake.record(None, ending) })
    }

    /// Records a rejected request whose head was not read completely.
    pub fn record_unread(&self, record: &Record<'_>) -> Pushed {
        self.count(&self.nowhere, None, None, record);
        self.keep(record)
    }

    fn count(
        &self,
        slots: &Slots,
        route: Option<(usize, &str)>,
        cluster: Option<(usize, &str)>,
        record: &Record<'_>,
    ) {
        let message = Message {
            status: record.status,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            attempts: record.attempts,
            first_byte: record.first_byte,
            total: record.total,
        };
        self.metrics.message(slots, route, cluster, &message);
        match record.why {
            Why::Ok => {}
            Why::ClientGone => self.metrics.add(Total::ClientsGone, 1),
            Why::Error(code) => self.metrics.error(code),
            Why::Aborted(code) => {
                self.metrics.add(Total::Aborted, 1);
                self.metrics.error(code);
            }
        }
    }

    /// Counts an internal call, separately from clients' messages.
    fn count_call(&self, purpose: Purpose, record: &Record<'_>) {
        let well = record.why == Why::Ok && record.status < 400;
        self.metrics.add(
            match (purpose, well) {
                (Purpose::Mirror, true) => Total::MirrorsSucceeded,
                (Purpose::Mirror, false) => Total::MirrorsFailed,
                (Purpose::Step, true) => Total::StepsSucceeded,
                (Purpose::Step, false) => Total::StepsFailed,
            },
            1,
        );
    }

    fn keep(&self, record: &Record<'_>) -> Pushed {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        if !self.logging.load(Relaxed) {
            return Pushed::Waits;
        }
        let pushed = self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        if pushed == Pushed::Dropped {
            self.metrics.add(Total::LinesDropped, 1);
        }
        pushed
    }

    /// The latest messages that are over in this process, newest first.
    #[must_use]
    pub fn recent(&self) -> Vec<Outcome> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).list()
    }

    /// Takes the lines that wait, and their number.
    pub fn take_lines(&self) -> (Vec<u8>, u64) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
