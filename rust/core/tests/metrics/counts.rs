//! What is counted, across reloads and processes, and how it is shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use crate::clusters::{THREE, at, attempt_at, break_down, join};
use waypost_core::cluster::policy::Policy;
use waypost_core::cluster::{Outcome, Registry};
use waypost_core::metrics::{CELLS, CLUSTERS, Format, Gauge, Message, Metrics, OTHERS, ROUTES, Slots, Total};

const OK: Message = Message {
    status: 200,
    bytes_in: 10,
    bytes_out: 20,
    attempts: 1,
    first_byte: Some(Duration::from_millis(4)),
    total: Duration::from_millis(6),
};

/// Memory that two of them count in, as two processes would.
#[derive(Clone)]
struct Shared(Arc<Vec<AtomicU64>>);

impl Shared {
    fn new(cells: usize) -> Self {
        Self(Arc::new((0..cells).map(|_| AtomicU64::new(0)).collect()))
    }

    fn metrics(&self) -> Option<Metrics> {
        Metrics::new(Box::new(self.clone()), codes())
    }
}

impl AsRef<[AtomicU64]> for Shared {
    fn as_ref(&self) -> &[AtomicU64] {
        &self.0
    }
}

fn codes() -> Vec<String> {
    ["no_route", "internal"].map(str::to_owned).into()
}

/// Samples by what stands before their value.
fn samples(metrics: &Metrics) -> BTreeMap<String, String> {
    let text = metrics.render(Format::Text, "1.2.3", &[]);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let found: Vec<_> = lines.map(|line| sample(line).unwrap()).collect();
    let count = found.len();
    let out: BTreeMap<_, _> = found.into_iter().collect();
    assert_eq!(out.len(), count, "a sample is there twice");
    out
}

fn requests(metrics: &Metrics, route: &str, cluster: &str, status: &str) -> u64 {
    let name =
        format!("waypost_requests_total{{route=\"{route}\",cluster=\"{cluster}\",status=\"{status}\"}}");
    samples(metrics).get(&name).map_or(0, |value| value.parse().unwrap())
}

#[test]
fn a_message_is_counted_by_route_cluster_and_class() {
    let metrics = Metrics::on_heap(codes());
    let slots = Slots::new(2, 1);
    metrics.message(&slots, Some((1, "b")), Some((0, "c")), &OK);
    metrics.message(&slots, Some((1, "b")), Some((0, "c")), &Message { status: 502, attempts: 3, ..OK });
    metrics.message(&slots, None, None, &Message { status: 404, attempts: 0, first_byte: None, ..OK });
    metrics.message(&slots, None, None, &Message { status: 0, attempts: 0, first_byte: None, ..OK });
    metrics.error("no_route");
    metrics.error("no such code");
    let found = samples(&metrics);
    for (name, value) in [
        (r#"waypost_requests_total{route="b",cluster="c",status="2xx"}"#, "1"),
        (r#"waypost_requests_total{route="b",cluster="c",status="5xx"}"#, "1"),
        (r#"waypost_requests_total{route="(none)",cluster="(none)",status="4xx"}"#, "1"),
        (r#"waypost_requests_total{route="(none)",cluster="(none)",status="none"}"#, "1"),
        (r#"waypost_request_duration_seconds_bucket{route="b",cluster="c",status="2xx",le="0.005"}"#, "0"),
        (r#"waypost_request_duration_seconds_bucket{route="b",cluster="c",status="2xx",le="0.01"}"#, "1"),
        (r#"waypost_request_duration_seconds_sum{route="b",cluster="c",status="2xx"}"#, "0.006000000"),
        (r#"waypost_first_byte_seconds_count{cluster="c"}"#, "2"),
        (r#"waypost_attempts_total{route="b",cluster="c"}"#, "4"),
        (r#"waypost_retries_total{route="b",cluster="c"}"#, "2"),
        (r#"waypost_request_body_bytes_total{route="b",cluster="c"}"#, "20"),
        (r#"waypost_response_body_bytes_total{route="(none)",cluster="(none)"}"#, "40"),
        (r#"waypost_errors_total{code="no_route"}"#, "1"),
        (r#"waypost_errors_total{code="internal"}"#, "0"),
        (r#"waypost_build_info{version="1.2.3"}"#, "1"),
    ] {
        assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn what_was_counted_survives_reloads() {
    let metrics = Metrics::on_heap(codes());
    let old = Slots::new(2, 1);
    metrics.message(&old, Some((0, "a")), Some((0, "c")), &OK);
    metrics.message(&old, Some((1, "b")), Some((0, "c")), &OK);
    // Another order, a new route, and one that went; a message of the old snapshot is still under way.
    let new = Slots::new(2, 2);
    metrics.message(&new, Some((0, "b")), Some((1, "c")), &OK);
    metrics.message(&new, Some((1, "d")), Some((0, "e")), &OK);
    metrics.message(&old, Some((0, "a")), Some((0, "c")), &OK);
    assert_eq!(requests(&metrics, "a", "c", "2xx"), 2);
    assert_eq!(requests(&metrics, "b", "c", "2xx"), 2);
    assert_eq!(requests(&metrics, "d", "e", "2xx"), 1);
}

#[test]
fn routes_and_clusters_beyond_a_number_are_counted_together() {
    let metrics = Metrics::on_heap(codes());
    let slots = Slots::new(ROUTES + 50, CLUSTERS + 10);
    for n in 0..ROUTES + 50 {
        metrics.message(&slots, Some((n, &format!("r{n}"))), Some((0, "c0")), &OK);
    }
    assert_eq!(requests(&metrics, "r999", "c0", "2xx"), 1);
    assert_eq!(requests(&metrics, "r1000", "c0", "2xx"), 0);
    assert_eq!(requests(&metrics, OTHERS, "c0", "2xx"), 50);
    for n in 0..CLUSTERS + 10 {
        metrics.message(&slots, Some((0, "r0")), Some((n, &format!("c{n}"))), &OK);
    }
    assert_eq!(requests(&metrics, "r0", OTHERS, "2xx"), 10);
    assert_eq!(samples(&metrics)[&format!("waypost_first_byte_seconds_count{{cluster=\"{OTHERS}\"}}")], "10");
}

#[test]
fn whoever_shares_the_memory_speaks_for_all() {
    assert!(Shared::new(CELLS - 1).metrics().is_none());
    let memory = Shared::new(CELLS);
    let (one, two) = (memory.metrics().unwrap(), memory.metrics().unwrap());
    // Each has read a configuration of its own, in which the routes stand in another order.
    let (first, second) = (Slots::new(3, 1), Slots::new(3, 1));
    thread::scope(|scope| {
        for (metrics, slots, turned) in [(&one, &first, 0), (&two, &second, 1)] {
            scope.spawn(move || {
                for n in 0..3000 {
                    let name = format!("r{}", (n + turned) % 3);
                    metrics.message(slots, Some((n % 3, &name)), Some((0, "c")), &OK);
                    metrics.add(Total::ClientsGone, 1);
                }
            });
        }
    });
    for metrics in [&one, &two] {
        for route in ["r0", "r1", "r2"] {
            assert_eq!(requests(metrics, route, "c", "2xx"), 2000);
        }
        assert_eq!(metrics.total(Total::ClientsGone), 6000);
    }
}

#[test]
fn gauges_of_a_worker_that_died_go() {
    let metrics = Metrics::on_heap(codes());
    for worker in [0, 1, 255, 256] {
        metrics.set(worker, Gauge::Up, 1);
        metrics.set(worker, Gauge::Buffered, 100);
        metrics.change(worker, Gauge::InFlight, 3);
    }
    metrics.change(1, Gauge::InFlight, -1);
    let found = samples(&metrics);
    assert_eq!((&*found["waypost_workers"], &*found["waypost_buffered_bytes"]), ("3", "300"));
    assert_eq!(found["waypost_requests_in_flight"], "8");
    metrics.forget_worker(1);
    let found = samples(&metrics);
    assert_eq!((&*found["waypost_workers"], &*found["waypost_requests_in_flight"]), ("2", "6"));
    // It was reset between a message's begin and its end.
    metrics.change(1, Gauge::InFlight, -1);
    assert_eq!(samples(&metrics)["waypost_requests_in_flight"], "6");
}

#[test]
fn a_failed_reload_is_seen_until_one_succeeds() {
    let metrics = Metrics::on_heap(codes());
    let successful = || samples(&metrics)["waypost_config_last_reload_successful"].clone();
    assert_eq!(successful(), "1");
    metrics.set(3, Gauge::LastReload, 2);
    assert_eq!(successful(), "0");
    metrics.set(3, Gauge::LastReload, 1);
    assert_eq!(successful(), "1");
}

#[test]
fn the_state_of_clusters_is_shown_where_it_is_known() {
    let mut registry = Registry::new(1);
    let group = join(&mut registry, &THREE, &Policy::default(), at(0));
    let attempt = attempt_at(&group, 0, at(0));
    group.finish(attempt, Outcome::Success, at(20));
    break_down(&group, 1, at(20));
    let _under_way = attempt_at(&group, 2, at(20));
    let metrics = Metrics::on_heap(codes());
    let text = metrics.render(Format::Text, "0", &registry.view(at(20)));
    for line in [
        r#"waypost_cluster_waiting{cluster="c",priority="5"} 0"#,
        r#"waypost_endpoint_in_flight{cluster="c",endpoint="http://c"} 1"#,
        r#"waypost_endpoint_condition{cluster="c",endpoint="http://a",condition="fit"} 1"#,
        r#"waypost_endpoint_condition{cluster="c",endpoint="http://b",condition="open"} 1"#,
        r#"waypost_endpoint_condition{cluster="c",endpoint="http://b",condition="fit"} 0"#,
        r#"waypost_endpoint_consecutive_failures{cluster="c",endpoint="http://b"} 5"#,
        r#"waypost_endpoint_attempts_total{cluster="c",endpoint="http://a",outcome="succeeded"} 1"#,
        r#"waypost_endpoint_attempts_total{cluster="c",endpoint="http://b",outcome="unreachable"} 5"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!metrics.render(Format::Text, "0", &[]).contains("waypost_cluster_"));
}
