//! The latest finished messages, for administration.

use std::borrow::Cow;
use std::iter;
use std::time::Duration;

use super::record::{Attempted, Record};

/// How many messages a [`Recent`] keeps.
pub const RECENT: usize = 256;

/// Bytes kept of each text. A longer one ends in an ellipsis.
const ROOM: usize = 256;

const ELLIPSIS: &[u8] = "…".as_bytes();

/// The texts of an [`Outcome`], in the order in which it holds them.
const NAMES: [&str; 15] = [
    "id",
    "method",
    "path",
    "dialect",
    "kind",
    "model",
    "tenant",
    "route",
    "cluster",
    "endpoint",
    "address",
    "upstream_request_id",
    "why",
    "error",
    "call",
];

/// How many attempts are kept of one message.
const ATTEMPTS: usize = 16;

/// An attempt of a message, or a cluster that it passed over, as [`Attempted`] has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are those of `Attempted`.
pub struct Kept {
    pub cluster: String,
    pub endpoint: Option<String>,
    pub address: Option<String>,
    pub status: Option<u16>,
    pub failure: Option<String>,
    pub took: Duration,
    pub upstream_id: Option<String>,
}

impl Kept {
    fn of(attempted: &Attempted<'_>) -> Self {
        let short = |text: &[u8]| {
            let mut out = Vec::new();
            put(text, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        Self {
            cluster: short(attempted.cluster.as_bytes()),
            endpoint: attempted.endpoint.map(|url| short(url.as_bytes())),
            address: attempted.address.map(|address| short(address.as_bytes())),
            status: attempted.status,
            failure: attempted.failure.map(|word| short(word.as_bytes())),
            took: attempted.took,
            upstream_id: attempted.upstream_id.map(short),
        }
    }
}

/// The facts that are kept about one message.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// When the message ended, in milliseconds since 1970.
    pub time: u64,
    /// Number of attempts.
    pub attempts: u32,
    /// The status of the response; 0 if the client got none.
    pub status: u16,
    /// Time from the request's head to the end of the response.
    pub total: Duration,
    /// The attempts and the clusters that were passed over, if there is more to tell than that one attempt answered.
    pub tried: Vec<Kept>,
    bytes: Vec<u8>,
    /// Where each text ends in `bytes`; `None` if it is unknown.
    ends: [Option<u16>; NAMES.len()],
}

impl Outcome {
    /// The texts, each with its name. A text that is not UTF-8 is read as Latin-1, as in the access log.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, Option<Cow<'_, str>>)> {
        let mut start = 0;
        iter::zip(NAMES, self.ends).map(move |(name, end)| {
            let text = end.map(|end| {
                let bytes = self.bytes.get(start..usize::from(end)).unwrap_or_default();
                start = usize::from(end);
                match std::str::from_utf8(bytes) {
                    Ok(text) => Cow::Borrowed(text),
                    Err(_) => Cow::Owned(bytes.iter().copied().map(char::from).collect()),
                }
            });
            (name, text)
        })
    }

    /// Stores a record, in memory that another one had.
    fn set(&mut self, record: &Record<'_>) {
        self.time = record.time;
        self.attempts = record.attempts;
        self.status = record.status;
        self.total = record.total;
        self.tried.clear();
        self.tried.extend(record.tried.iter().take(ATTEMPTS).map(Kept::of));
        self.bytes.clear();
        let (why, error) = record.why.words();
        let texts: [Option<&[u8]>; NAMES.len()] = [
            Some(record.id.as_bytes()).filter(|id| !id.is_empty()),
            Some(record.method).filter(|method| !method.is_empty()),
            record.path(),
            record.dialect.map(str::as_bytes),
            record.kind.map(str::as_bytes),
            record.model.map(str::as_bytes),
            record.tenant.map(str::as_bytes),
            record.route.map(str::as_bytes),
            record.cluster.map(str::as_bytes),
            record.endpoint.map(str::as_bytes),
            record.address.map(str::as_bytes),
            record.upstream_id,
            Some(why.as_bytes()),
            error.map(str::as_bytes),
            record.call.map(str::as_bytes),
        ];
        let bytes = &mut self.bytes;
        for (end, text) in iter::zip(&mut self.ends, texts) {
            *end = text.and_then(|text| {
                put(text, bytes);
                u16::try_from(bytes.len()).ok()
            });
        }
    }
}

/// Appends a text, up to [`ROOM`] bytes.
fn put(text: &[u8], out: &mut Vec<u8>) {
    if text.len() <= ROOM {
        out.extend_from_slice(text);
        return;
    }
    // Between characters: the byte behind the cut continues none.
    let most = ROOM - ELLIPSIS.len();
    let between = |cut: &usize| text.get(*cut).is_some_and(|byte| byte & 0xc0 != 0x80);
    let cut = (most - 3..=most).rev().find(between).unwrap_or(most);
    out.extend_from_slice(text.get(..cut).unwrap_or_default());
    out.extend_from_slice(ELLIPSIS);
}

/// The latest [`RECENT`] messages. Their memory is bounded, and used again.
#[derive(Debug, Default)]
pub struct Recent {
    outcomes: Vec<Outcome>,
    /// Position of the outcome that the next message replaces.
    next: usize,
}

impl Recent {
    /// Keeps the facts of another message.
    pub fn push(&mut self, record: &Record<'_>) {
        if self.outcomes.len() < RECENT {
            self.outcomes.push(Outcome::default());
        }
        if let Some(outcome) = self.outcomes.get_mut(self.next) {
            outcome.set(record);
        }
        self.next = (self.next + 1) % RECENT;
    }

    /// The messages that are kept, newest first.
    #[must_use]
    pub fn list(&self) -> Vec<Outcome> {
        let (new, old) = self.outcomes.split_at_checked(self.next).unwrap_or((&self.outcomes, &[]));
        new.iter().rev().chain(old.iter().rev()).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Why, tests::NOTHING};
    use super::*;

    fn text(outcome: &Outcome, wanted: &str) -> Option<String> {
        outcome.texts().find_map(|(name, text)| (name == wanted).then_some(text?.into_owned()))
    }

    fn kept(record: &Record<'_>) -> Outcome {
        let mut recent = Recent::default();
        recent.push(record);
        recent.list().remove(0)
    }

    #[test]
    fn the_latest_are_kept_newest_first() {
        let mut recent = Recent::default();
        assert!(recent.list().is_empty());
        for number in 0..1000_u64 {
            let id = number.to_string();
            recent.push(&Record { time: number, id: &id, ..NOTHING });
            let list = recent.list();
            let times: Vec<u64> = list.iter().map(|outcome| outcome.time).collect();
            let first = (number + 1).saturating_sub(RECENT as u64);
            assert_eq!(times, (first..=number).rev().collect::<Vec<_>>());
            assert!(list.iter().all(|outcome| text(outcome, "id") == Some(outcome.time.to_string())));
        }
    }

    #[test]
    fn all_that_is_known_is_kept_and_nothing_else_comes_of_its_place() {
        let attempt = Attempted {
            cluster: "local",
            endpoint: Some("http://a"),
            address: Some("::1"),
            status: Some(503),
            failure: Some("reset"),
            took: Duration::from_millis(1),
            upstream_id: Some(b"req_0"),
        };
        let full = Record {
            time: 5,
            id: "m-1",
            method: b"POST",
            target: b"/v1/envelopes?key=secret",
            dialect: Some("envelope"),
            kind: Some("model"),
            model: Some("llama"),
            tenant: Some("acme"),
            route: Some("all"),
            cluster: Some("local"),
            endpoint: Some("http://a"),
            address: Some("127.0.0.1"),
            upstream_id: Some(b"req_1"),
            attempts: 2,
            tried: &[attempt],
            status: 502,
            total: Duration::from_millis(7),
            why: Why::Aborted("upstream_protocol"),
            call: Some("mirror"),
            ..NOTHING
        };
        let mut recent = Recent::default();
        recent.push(&full);
        let outcome = recent.list().remove(0);
        assert_eq!((outcome.time, outcome.attempts, outcome.status), (5, 2, 502));
        assert_eq!(outcome.total, Duration::from_millis(7));
        let texts: Vec<String> = outcome.texts().map(|(_, text)| text.unwrap().into_owned()).collect();
        let wanted = [
            "m-1",
            "POST",
            "/v1/envelopes",
            "envelope",
            "model",
            "llama",
            "acme",
            "all",
            "local",
            "http://a",
            "127.0.0.1",
            "req_1",
            "aborted",
            "upstream_protocol",
            "mirror",
        ];
        assert_eq!(texts, wanted);
        assert_eq!(outcome.tried, [Kept::of(&attempt)]);
        assert_eq!(outcome.tried[0].upstream_id.as_deref(), Some("req_0"));
        for _ in 0..RECENT {
            recent.push(&NOTHING);
        }
        let known: Vec<&str> =
            recent.list()[0].texts().filter_map(|(name, text)| text.is_some().then_some(name)).collect();
        assert_eq!(known, ["why"]);
        assert!(recent.list()[0].tried.is_empty());
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        for (text_of, cut) in [("x", 253), ("é", 252), ("€", 252), ("🦀", 252)] {
            let long = text_of.repeat(1000);
            let shown = text(&kept(&Record { model: Some(&long), ..NOTHING }), "model").unwrap();
            assert_eq!(shown, format!("{}…", &long[..cut]));
            assert!(shown.len() <= ROOM);
        }
        let exact = "x".repeat(ROOM);
        assert_eq!(text(&kept(&Record { model: Some(&exact), ..NOTHING }), "model").unwrap(), exact);
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let long = "x".repeat(100_000);
        let attempt = Attempted {
            cluster: &long,
            endpoint: Some(&long),
            address: Some(&long),
            status: None,
            failure: Some(&long),
            took: Duration::ZERO,
            upstream_id: Some(long.as_bytes()),
        };
        let record = Record {
            id: &long,
            method: long.as_bytes(),
            target: long.as_bytes(),
            dialect: Some(&long),
            kind: Some(&long),
            model: Some(&long),
            tenant: Some(&long),
            route: Some(&long),
            cluster: Some(&long),
            endpoint: Some(&long),
            address: Some(&long),
            upstream_id: Some(long.as_bytes()),
            tried: &[attempt; 100],
            why: Why::Aborted(&long),
            ..NOTHING
        };
        let mut recent = Recent::default();
        for _ in 0..3 * RECENT {
            recent.push(&record);
        }
        let bytes: usize = recent.outcomes.iter().map(|outcome| outcome.bytes.capacity()).sum();
        assert!(bytes <= RECENT * 2 * NAMES.len() * ROOM);
        let kept: Vec<&Kept> = recent.outcomes.iter().flat_map(|outcome| &outcome.tried).collect();
        assert_eq!(kept.len(), RECENT * ATTEMPTS);
        assert!(
            kept.iter()
                .all(|kept| kept.cluster.len() <= ROOM && kept.upstream_id.as_ref().unwrap().len() <= ROOM)
        );
        assert_eq!(text(&recent.list()[0], "error").unwrap().len(), ROOM);
    }

    #[test]
    fn what_is_not_utf8_is_read_as_latin1() {
        let outcome = kept(&Record { target: b"/caf\xe9", ..NOTHING });
        assert_eq!(text(&outcome, "path").unwrap(), "/café");
        let long = kept(&Record { target: &[0xbf; 1000], ..NOTHING });
        assert!(text(&long, "path").is_some());
    }
}
