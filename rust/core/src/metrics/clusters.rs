//! Metrics of the state of clusters.

use std::time::Duration;

use smallvec::SmallVec;

use super::exposition::{Exposition, Kind, seconds};
use crate::cluster::{ClusterView, EndpointView};

/// The names of all conditions.
const CONDITIONS: [&str; 7] = ["fit", "starting", "half_open", "open", "check_fails", "resting", "draining"];

/// A gauge or counter of each cluster: name, type, help, and value (`None` omits the sample).
type OfCluster = (&'static str, Kind, &'static str, fn(&ClusterView) -> Option<String>);
/// A gauge or counter of each endpoint.
type OfEndpoint = (&'static str, Kind, &'static str, fn(&EndpointView) -> Option<String>);

const OF_CLUSTERS: [OfCluster; 8] = [
    ("waypost_cluster_in_flight", Kind::Gauge, "Messages in flight.", |c| Some(c.in_flight.to_string())),
    ("waypost_cluster_limit", Kind::Gauge, "The most messages that may be in flight.", |c| {
        Some(c.limit?.to_string())
    }),
    (
        "waypost_cluster_wait_seconds",
        Kind::Gauge,
        "Expected wait of a message with the default priority.",
        |c| Some(seconds(c.wait)),
    ),
    ("waypost_cluster_messages_total", Kind::Counter, "Messages received.", |c| {
        Some(c.totals.messages.to_string())
    }),
    ("waypost_cluster_retries_total", Kind::Counter, "Attempts made because another had failed.", |c| {
        Some(c.totals.retries.to_string())
    }),
    ("waypost_cluster_hedges_total", Kind::Counter, "Attempts made because another was slow.", |c| {
        Some(c.totals.hedges.to_string())
    }),
    ("waypost_cluster_retries_left", Kind::Gauge, "Retries that the budget still allows.", |c| {
        Some(c.retries_left.to_string())
    }),
    ("waypost_cluster_rate_limited_total", Kind::Counter, "Messages refused by a rate.", |c| {
        Some(c.totals.rate_limited.to_string())
    }),
];

const OF_ENDPOINTS: [OfEndpoint; 4] = [
    ("waypost_endpoint_in_flight", Kind::Gauge, "Attempts in flight.", |e| Some(e.in_flight.to_string())),
    (
        "waypost_endpoint_latency_seconds",
        Kind::Gauge,
        "Moving average of the latency, which balancing uses.",
        |e| e.latency.map(seconds),
    ),
    ("waypost_endpoint_consecutive_failures", Kind::Gauge, "Failures in a row.", |e| {
        Some(e.consecutive_failures.to_string())
    }),
    (
        "waypost_endpoint_check_passes",
        Kind::Gauge,
        "1 if the endpoint passes its active check, else 0.",
        |e| Some(u8::from(e.check?).to_string()),
    ),
];

/// Writes the metrics of `clusters`; nothing without clusters.
pub(super) fn write(out: &mut Exposition, clusters: &[ClusterView]) {
    if clusters.is_empty() {
        return;
    }
    for (name, kind, help, value) in OF_CLUSTERS {
        out.family(name, kind, help);
        for cluster in clusters {
            if let Some(value) = value(cluster) {
                out.sample(&[("cluster", &cluster.name)], value);
            }
        }
    }
    queues(out, clusters);
    for (name, kind, help, value) in OF_ENDPOINTS {
        out.family(name, kind, help);
        for (cluster, endpoint) in endpoints(clusters) {
            if let Some(value) = value(endpoint) {
                out.sample(&labels(cluster, endpoint, None), value);
            }
        }
    }
    conditions(out, clusters);
    attempts(out, clusters);
}

fn endpoints(clusters: &[ClusterView]) -> impl Iterator<Item = (&ClusterView, &EndpointView)> {
    clusters.iter().flat_map(|cluster| cluster.endpoints.iter().map(move |endpoint| (cluster, endpoint)))
}

/// The labels of an endpoint: its address is one where each is an endpoint of its own.
fn labels<'a>(
    cluster: &'a ClusterView,
    endpoint: &'a EndpointView,
    more: Option<(&'static str, &'a str)>,
) -> SmallVec<[(&'static str, &'a str); 4]> {
    let address = endpoint.address.as_deref().map(|address| ("address", address));
    let own = [("cluster", &*cluster.name), ("endpoint", &*endpoint.url)];
    own.into_iter().chain(address).chain(more).collect()
}

fn queues(out: &mut Exposition, clusters: &[ClusterView]) {
    out.family("waypost_cluster_waiting", Kind::Gauge, "Waiting messages, by priority.");
    for cluster in clusters {
        for (priority, waiting) in cluster.waiting.iter().enumerate() {
            let priority = priority.to_string();
            out.sample(&[("cluster", &cluster.name), ("priority", &priority)], waiting);
        }
    }
    out.family("waypost_cluster_refused_total", Kind::Counter, "Messages that the queue refused, by reason.");
    for cluster in clusters {
        let shed = &cluster.shed;
        for (why, count) in [
            ("queue_full", shed.queue_full),
            ("deadline_too_short", shed.deadline_too_short),
            ("displaced", shed.displaced),
            ("expired", shed.expired),
        ] {
            out.sample(&[("cluster", &cluster.name), ("why", why)], count);
        }
    }
    out.family(
        "waypost_cluster_first_byte_quantile_seconds",
        Kind::Gauge,
        "Quantiles of the time to the first byte, over about the last 4000 attempts.",
    );
    for cluster in clusters {
        let quantiles: Option<[Duration; 3]> = cluster.latency;
        for (quantile, latency) in ["0.5", "0.95", "0.99"].iter().zip(quantiles.into_iter().flatten()) {
            out.sample(&[("cluster", &cluster.name), ("quantile", quantile)], seconds(latency));
        }
    }
}

fn conditions(out: &mut Exposition, clusters: &[ClusterView]) {
    out.family("waypost_endpoint_condition", Kind::Gauge, "Workers that see the endpoint in this condition.");
    for (cluster, endpoint) in endpoints(clusters) {
        let one = [endpoint.condition];
        let found = if endpoint.conditions.is_empty() { &one[..] } else { &endpoint.conditions };
        for condition in CONDITIONS {
            let labels = labels(cluster, endpoint, Some(("condition", condition)));
            out.sample(&labels, found.iter().filter(|found| found.name() == condition).count());
        }
    }
}

fn attempts(out: &mut Exposition, clusters: &[ClusterView]) {
    out.family("waypost_endpoint_attempts_total", Kind::Counter, "Finished attempts, by outcome.");
    for (cluster, endpoint) in endpoints(clusters) {
        let counts = &endpoint.counts;
        for (outcome, count) in [
            ("succeeded", counts.succeeded),
            ("unreachable", counts.unreachable),
            ("timed_out", counts.timed_out),
            ("broken", counts.broken),
            ("refused", counts.error_status),
            ("cancelled", counts.cancelled),
        ] {
            out.sample(&labels(cluster, endpoint, Some(("outcome", outcome))), count);
        }
    }
}
