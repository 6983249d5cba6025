//! Renders all metrics as text.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::clusters;
use super::exposition::{Exposition, Format, Kind, seconds};
use super::layout::{CLUSTERS, Gauge, Total, WORKERS, error, gauge};
use super::names::Names;
use super::series::{Counted, Histogram, Series, first_bytes};
use super::{Metrics, NONE, OTHERS};
use crate::cluster::ClusterView;

/// The labels of classes of status.
const STATUS: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counts by route, cluster and class of status.
type ByStatus = BTreeMap<(String, String, u8), Counted>;
/// Counts by route and cluster.
type ByCluster<'a> = BTreeMap<(&'a str, &'a str), Counted>;

/// A counter of each route and cluster: name, help, value.
type ClusterCounter = (&'static str, &'static str, fn(&Counted) -> u64);

impl Metrics {
    /// Renders all metrics, including the state of `clusters`. `version` is that of this program.
    #[must_use]
    pub fn render(&self, format: Format, version: &str, clusters: &[ClusterView]) -> String {
        let mut out = Exposition::new(format);
        self.process(&mut out, version);
        let by_status = self.by_status();
        messages(&mut out, &by_status);
        self.first_byte(&mut out);
        cluster_counters(&mut out, &by_status);
        self.endings(&mut out);
        self.calls(&mut out);
        self.connections(&mut out);
        self.log(&mut out);
        clusters::write(&mut out, clusters);
        out.finish()
    }

    fn process(&self, out: &mut Exposition, version: &str) {
        out.family("waypost_build_info", Kind::Gauge, "Always 1; the version is a label.");
        out.sample(&[("version", version)], 1);
        out.family("waypost_start_time_seconds", Kind::Gauge, "When counting began, in seconds since 1970.");
        out.sample(&[], millis(self.total(Total::Began)));
        out.family("waypost_workers", Kind::Gauge, "Number of serving processes.");
        out.sample(&[], self.sum(Gauge::Up));
        out.family("waypost_config_reloads_total", Kind::Counter, "Reloads of the configuration.");
        out.sample(&[("result", "good")], self.total(Total::Reloaded));
        out.sample(&[("result", "bad")], self.total(Total::NotReloaded));
        out.family(
            "waypost_config_last_reload_successful",
            Kind::Gauge,
            "1, or 0 if the last reload changed nothing because the configuration has problems.",
        );
        out.sample(&[], u8::from(!self.workers(Gauge::LastReload).any(|last| last == 2)));
        out.family(
            "waypost_config_loaded_time_seconds",
            Kind::Gauge,
            "When the configuration in use was loaded, in seconds since 1970.",
        );
        out.sample(&[], millis(self.workers(Gauge::Loaded).max().unwrap_or(0)));
    }

    fn first_byte(&self, out: &mut Exposition) {
        out.family(
            "waypost_first_byte_seconds",
            Kind::Histogram,
            "Time from a request's head to the first byte of an endpoint's response.",
        );
        let names = Names::clusters(self.cells());
        let mut by_cluster: BTreeMap<String, Histogram> = BTreeMap::new();
        for slot in (0..).take(CLUSTERS + 2) {
            let histogram = first_bytes(self.cells(), slot);
            if histogram.count() > 0 {
                by_cluster.entry(label(&names, slot)).or_default().add(&histogram);
            }
        }
        for (cluster, histogram) in &by_cluster {
            out.histogram(&[("cluster", cluster)], histogram);
        }
    }

    fn calls(&self, out: &mut Exposition) {
        out.family("waypost_internal_calls_total", Kind::Counter, "Internal calls, by purpose and result.");
        for (call, result, total) in [
            ("mirror", "succeeded", Total::MirrorsSucceeded),
            ("mirror", "failed", Total::MirrorsFailed),
            ("mirror", "dropped", Total::MirrorsDropped),
            ("step", "succeeded", Total::StepsSucceeded),
            ("step", "failed", Total::StepsFailed),
        ] {
            out.sample(&[("call", call), ("result", result)], self.total(total));
        }
    }

    fn endings(&self, out: &mut Exposition) {
        out.family(
            "waypost_errors_total",
            Kind::Counter,
            "Errors that were answered or ended a response, by code.",
        );
        for (at, code) in self.codes.iter().enumerate() {
            if let Some(cell) = error(at).and_then(|at| self.cell(at)) {
                out.sample(&[("code", code)], cell.load(Relaxed));
            }
        }
        self.counter(out, "waypost_responses_aborted_total", "Responses that stopped short.", Total::Aborted);
        self.counter(
            out,
            "waypost_clients_gone_total",
            "Clients that left before they had their whole response.",
            Total::ClientsGone,
        );
        self.gauge(
            out,
            "waypost_requests_in_flight",
            "Messages that were decided and have not ended.",
            Gauge::InFlight,
        );
    }

    fn connections(&self, out: &mut Exposition) {
        self.gauge(
            out,
            "waypost_client_connections",
            "Open connections from clients.",
            Gauge::ClientConnections,
        );
        self.counter(
            out,
            "waypost_client_connections_opened_total",
            "Connections opened by clients.",
            Total::ClientConnections,
        );
        self.gauge(
            out,
            "waypost_upstream_connections_idle",
            "Idle connections to endpoints.",
            Gauge::UpstreamIdle,
        );
        self.counter(
            out,
            "waypost_upstream_connections_opened_total",
            "Connections opened to endpoints.",
            Total::UpstreamConnections,
        );
        self.gauge(out, "waypost_buffered_bytes", "Bytes of buffered request bodies.", Gauge::Buffered);
    }

    fn log(&self, out: &mut Exposition) {
        out.family("waypost_access_log_lines_total", Kind::Counter, "Access log lines, by result.");
        out.sample(&[("result", "written")], self.total(Total::LinesWritten));
        out.sample(&[("result", "dropped")], self.total(Total::LinesDropped));
    }

    fn counter(&self, out: &mut Exposition, name: &'static str, help: &str, total: Total) {
        out.family(name, Kind::Counter, help);
        out.sample(&[], self.total(total));
    }

    fn gauge(&self, out: &mut Exposition, name: &'static str, help: &str, gauge: Gauge) {
        out.family(name, Kind::Gauge, help);
        out.sample(&[], self.sum(gauge));
    }

    /// The values of a gauge in all workers.
    fn workers(&self, kind: Gauge) -> impl Iterator<Item = u64> {
        (0..WORKERS).filter_map(move |worker| Some(self.cell(gauge(worker, kind)?)?.load(Relaxed)))
    }

    fn sum(&self, gauge: Gauge) -> u64 {
        // A gauge that changes meanwhile may appear negative.
        self.workers(gauge).map(|value| value.cast_signed().max(0).cast_unsigned()).sum()
    }

    fn by_status(&self) -> ByStatus {
        let (routes, clusters) = (Names::routes(self.cells()), Names::clusters(self.cells()));
        let mut out = ByStatus::new();
        for (whose, counted) in Series::all(self.cells()) {
            let key = match whose {
                Ok(whose) => (label(&routes, whose.route), label(&clusters, whose.cluster), whose.class),
                Err(class) => (OTHERS.to_owned(), OTHERS.to_owned(), class),
            };
            out.entry(key).or_default().add(&counted);
        }
        out
    }
}

/// The label of a slot.
fn label(names: &Names<'_>, slot: u16) -> String {
    if slot == names.none() { NONE.to_owned() } else { names.name(slot).unwrap_or_else(|| OTHERS.to_owned()) }
}

fn messages(out: &mut Exposition, by_status: &ByStatus) {
    let each = |(route, cluster, class): &(String, String, u8)| {
        let status = STATUS.get(usize::from(*class)).copied().unwrap_or_default();
        [("route", route.clone()), ("cluster", cluster.clone()), ("status", status.to_owned())]
    };
    out.family("waypost_requests_total", Kind::Counter, "Messages, by route, cluster and class of status.");
    for (key, counted) in by_status {
        let labels = each(key);
        out.sample(&labels.each_ref().map(|(name, value)| (*name, value.as_str())), counted.duration.count());
    }
    out.family(
        "waypost_request_duration_seconds",
        Kind::Histogram,
        "Time from a request's head to the end of its response.",
    );
    for (key, counted) in by_status {
        let labels = each(key);
        out.histogram(&labels.each_ref().map(|(name, value)| (*name, value.as_str())), &counted.duration);
    }
}

fn cluster_counters(out: &mut Exposition, by_status: &ByStatus) {
    let mut by_cluster = ByCluster::new();
    for ((route, cluster, _), counted) in by_status {
        by_cluster.entry((route, cluster)).or_default().add(counted);
    }
    let families: [ClusterCounter; 4] = [
        ("waypost_attempts_total", "Attempts; the cluster is that of the message's last one.", |c| {
            c.attempts
        }),
        ("waypost_retries_total", "Attempts after a message's first one.", |c| c.retries),
        ("waypost_request_body_bytes_total", "Bytes of request bodies.", |c| c.bytes_in),
        ("waypost_response_body_bytes_total", "Bytes of response bodies.", |c| c.bytes_out),
    ];
    for (name, help, value) in families {
        out.family(name, Kind::Counter, help);
        for ((route, cluster), counted) in &by_cluster {
            out.sample(&[("route", route), ("cluster", cluster)], value(counted));
        }
    }
}

fn millis(millis: u64) -> String {
    seconds(Duration::from_millis(millis))
}
