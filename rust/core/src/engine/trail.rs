//! What one message has tried: its attempts, and the clusters that it passed over.
//!
//! A message whose first attempt answers leaves no trail, and costs nothing for it. A trail begins with the first attempt that
//! fails, the first cluster that is passed over, the first hedge, or at once where the caller is told of attempts.

use std::fmt::Write as _;
use std::time::Duration;

use super::course::Course;
use super::downstream_head::printable;
use super::intake::Intake;
use super::snapshot::{EndpointAt, Snapshot};
use crate::cluster::{Attempt, Failure, Group, Instant};
use crate::log::Attempted;

/// The most entries of a trail. [`Course::made`](super::Course::made) counts all attempts.
const MOST: usize = 32;

/// The longest value of `x-waypost-trace`, in bytes.
const LONGEST: usize = 1024;

/// One entry of a trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailEntry {
    /// The attempt's number; 0 for a cluster that was passed over.
    pub(super) number: u32,
    /// Position of the cluster.
    pub cluster: usize,
    /// Position of the endpoint in the cluster; `None` for a cluster that was passed over.
    pub endpoint: Option<usize>,
    /// The address, where the endpoint's addresses are endpoints of their own.
    pub address: Option<Box<str>>,
    /// The status of the endpoint's response, if one began.
    pub status: Option<u16>,
    /// Why the attempt failed, or why the cluster was passed over: a word, or the code of an error.
    pub failure: Option<&'static str>,
    /// Time from the attempt's begin to the head of its response, or to its failure.
    pub took: Duration,
    /// The endpoint's own id of the request.
    pub upstream_id: Option<Box<[u8]>>,
}

/// The word for an attempt that was closed before a response began.
const CANCELLED: &str = "cancelled";

/// The word for an attempt's failure.
fn word(failure: Failure) -> &'static str {
    match failure {
        Failure::Connect => "connect",
        Failure::Stale => "stale",
        Failure::Timeout => "timeout",
        Failure::Unfit => "check",
        Failure::Reset => "reset",
        Failure::Protocol => "protocol",
        Failure::Status(_) => "status",
    }
}

/// An attempt under way.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) number: u32,
    pub(super) attempt: Attempt,
    at: EndpointAt,
    pub(super) since: Instant,
    /// The status of its response, and the time until it.
    pub(super) head: Option<(u16, Duration)>,
}

impl UnderWay {
    pub(super) fn new(number: u32, at: EndpointAt, attempt: Attempt, since: Instant) -> Self {
        Self { number, attempt, at, since, head: None }
    }

    /// Its entry. An attempt without a response and without a failure was cancelled.
    fn entry(&self, group: &Group, failure: Option<Failure>, now: Instant) -> TrailEntry {
        let (status, until_head) = self.head.unzip();
        TrailEntry {
            number: self.number,
            cluster: self.at.cluster,
            endpoint: Some(self.at.endpoint),
            address: self.at.address.and_then(|address| group.address(address)).map(String::into_boxed_str),
            status,
            failure: failure.map(word).or_else(|| status.is_none().then_some(CANCELLED)),
            took: until_head.filter(|_| failure.is_none()).unwrap_or_else(|| now.since(self.since)),
            upstream_id: None,
        }
    }
}

/// The trail of one exchange.
#[derive(Debug, Default)]
pub(super) struct Trail(Option<Vec<TrailEntry>>);

impl Trail {
    /// Whether there is one, so that whatever comes is added.
    pub(super) fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Adds an attempt in `group` that is over, or that has a response.
    pub(super) fn add(&mut self, group: &Group, each: &UnderWay, failure: Option<Failure>, now: Instant) {
        insert(self.0.get_or_insert_default(), each.entry(group, failure, now));
    }

    /// Adds a cluster, by position, that was passed over because of the error with this code.
    pub(super) fn pass_over(&mut self, cluster: usize, code: &'static str) {
        let entry = TrailEntry {
            number: 0,
            cluster,
            endpoint: None,
            address: None,
            status: None,
            failure: Some(code),
            took: Duration::ZERO,
            upstream_id: None,
        };
        insert(self.0.get_or_insert_default(), entry);
    }

    /// Notes that the rest of a response did not come, whose head was retryable.
    pub(super) fn fail(&mut self, number: u32, failure: Failure) {
        if let Some(entry) = self.entry(number) {
            entry.failure = Some(word(failure));
        }
    }

    fn entry(&mut self, number: u32) -> Option<&mut TrailEntry> {
        self.0.as_mut()?.iter_mut().find(|entry| entry.number == number)
    }
}

/// Inserts an entry in order of the attempts' numbers, unless there are too many.
fn insert(entries: &mut Vec<TrailEntry>, entry: TrailEntry) {
    if entries.len() < MOST {
        // A hedge may end before the attempt beside it. A cluster is passed over after all attempts before.
        let later = |other: &TrailEntry| entry.number != 0 && other.number > entry.number;
        let at = entries.iter().rposition(|other| !later(other)).map_or(0, |at| at + 1);
        entries.insert(at, entry);
    }
}

impl Course {
    /// Keeps a trail even if the first attempt answers.
    pub fn keep_trail(&mut self) {
        self.trail.0.get_or_insert_default();
    }

    /// What the exchange has tried so far. Empty if all that there is to tell is that the first attempt answers.
    #[must_use]
    pub fn trail(&self, now: Instant) -> Vec<TrailEntry> {
        if !self.trail.is_kept() && self.under_way.iter().all(|each| each.head.is_some()) {
            return Vec::new();
        }
        let mut entries = self.trail.0.clone().unwrap_or_default();
        if let Some(group) = self.group() {
            for each in &self.under_way {
                insert(&mut entries, each.entry(group, None, now));
            }
        }
        entries
    }

    /// Notes the status of an attempt's response. [`responded`](Self::responded) or
    /// [`responded_retryable`](Self::responded_retryable) follows.
    pub fn note_status(&mut self, number: u32, status: u16, now: Instant) {
        if let Some(each) = self.under_way.iter_mut().find(|each| each.number == number) {
            each.head = Some((status, now.since(each.since)));
        }
    }

    /// Notes the endpoint's own id of a request whose response was retryable.
    pub fn note_upstream_id(&mut self, number: u32, id: &[u8]) {
        if let Some(entry) = self.trail.entry(number) {
            entry.upstream_id = Some(id.into());
        }
    }
}

impl Snapshot {
    /// The value of `x-waypost-trace`: what a message has tried so far, as a list (RFC 9651, section 3.1). Only callers with
    /// `debug` are told. Of a long trail, the end is kept.
    #[must_use]
    pub fn trace(&self, intake: &Intake, tried: &[TrailEntry]) -> Option<String> {
        if !intake.is_debug() || tried.is_empty() {
            return None;
        }
        let shown = tried.iter().map(|entry| item(&self.attempted(entry)));
        let mut items: Vec<String> = shown.collect();
        while items.len() > 1 && items.iter().map(|item| item.len() + 2).sum::<usize>() > LONGEST + 2 {
            items.remove(0);
        }
        Some(items.join(", "))
    }

    /// An entry with its names.
    pub(super) fn attempted<'a>(&'a self, entry: &'a TrailEntry) -> Attempted<'a> {
        let cluster = self.clusters().get(entry.cluster);
        let endpoint = cluster.zip(entry.endpoint).and_then(|(cluster, at)| cluster.endpoints.get(at));
        Attempted {
            cluster: cluster.map_or("", |cluster| cluster.name.as_str()),
            endpoint: endpoint.map(crate::cluster::Endpoint::url),
            address: entry.address.as_deref(),
            status: entry.status,
            failure: entry.failure,
            took: entry.took,
            upstream_id: entry.upstream_id.as_deref(),
        }
    }
}

/// An entry as an item with parameters.
fn item(entry: &Attempted<'_>) -> String {
    // Printable ASCII only, in which a string escapes two characters (RFC 9651, section 3.3.3).
    let string = |text: &str| {
        let short: String = text.chars().take(200).collect();
        printable(&short).replace('\\', "\\\\").replace('"', "\\\"")
    };
    let mut out = format!("\"{}\"", string(entry.cluster));
    let Some(endpoint) = entry.endpoint else {
        let _ = write!(out, ";passed_over={}", entry.failure.unwrap_or_default()); // Writing to a String cannot fail.
        return out;
    };
    let _ = write!(out, ";endpoint=\"{}\"", string(endpoint));
    if let Some(address) = entry.address {
        let _ = write!(out, ";address=\"{}\"", string(address));
    }
    if let Some(status) = entry.status {
        let _ = write!(out, ";status={status}");
    }
    if let Some(failure) = entry.failure {
        let _ = write!(out, ";failure={failure}");
    }
    let _ = write!(out, ";ms={:.1}", entry.took.as_secs_f64() * 1000.0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u32) -> TrailEntry {
        let took = Duration::from_micros(1250);
        TrailEntry {
            number,
            cluster: 0,
            endpoint: Some(0),
            address: None,
            status: None,
            failure: None,
            took,
            upstream_id: None,
        }
    }

    #[test]
    fn entries_are_in_the_order_of_the_attempts_and_bounded() {
        let mut entries = Vec::new();
        for number in [1, 3, 2, 0, 5, 4, 0] {
            insert(&mut entries, entry(number));
        }
        let numbers: Vec<u32> = entries.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, [1, 2, 3, 0, 4, 5, 0]);
        for number in 6..1000 {
            insert(&mut entries, entry(number));
        }
        assert_eq!(entries.len(), MOST);
    }

    #[test]
    fn an_item_can_be_written_in_a_header() {
        let shown = Attempted {
            cluster: "a\"\\é",
            endpoint: Some("http://127.0.0.1:9100"),
            address: Some("::1"),
            status: Some(503),
            failure: Some("reset"),
            took: Duration::from_micros(1250),
            upstream_id: Some(b"r"),
        };
        let wanted =
            r#""a\"\\\\xe9";endpoint="http://127.0.0.1:9100";address="::1";status=503;failure=reset;ms=1.2"#;
        assert_eq!(item(&shown), wanted);
        let passed = Attempted { endpoint: None, status: None, failure: Some("queue_full"), ..shown };
        assert_eq!(item(&passed), r#""a\"\\\\xe9";passed_over=queue_full"#);
    }
}
