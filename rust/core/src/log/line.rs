//! Formats a line of the access log.

use super::record::{Attempted, Record};
use super::time::{millis, rfc3339};
use crate::text::digits;

/// The longest line in bytes, including its line feed. A pipe takes this much in one piece (POSIX's `PIPE_BUF` on Linux).
pub const LONGEST: usize = 4096;

/// The most bytes of each value as JSON. Longer values end in an ellipsis.
mod room {
    pub(super) const ID: usize = 256;
    pub(super) const NAME: usize = 136;
    pub(super) const ADDRESS: usize = 64;
    pub(super) const TENANT: usize = 256;
    pub(super) const METHOD: usize = 24;
    pub(super) const PATH: usize = 1024;
    pub(super) const MODEL: usize = 256;
    pub(super) const URL: usize = 512;
    /// Of an endpoint.
    pub(super) const HOST: usize = 48;
    /// Of texts that a line may have many of.
    pub(super) const SHORT: usize = 128;
}

/// The end of a line.
const END: &[u8] = b"}\n";

/// Replaces the end of a long value.
const ELLIPSIS: &[u8] = "…".as_bytes();

/// Appends a record as one JSON object and a line feed.
///
/// Unknown members are left out. Values that are not UTF-8 are decoded as Latin-1.
pub fn write_line(record: &Record<'_>, out: &mut Vec<u8>) {
    let begin = out.len();
    out.reserve(640);
    out.extend_from_slice(b"{\"time\":\"");
    rfc3339(record.time, out);
    out.push(b'"');
    text(b",\"id\":\"", Some(record.id.as_bytes()).filter(|id| !id.is_empty()), room::ID, out);
    text(b",\"client\":\"", record.client.map(str::as_bytes), room::ADDRESS, out);
    text(b",\"key\":\"", record.key.map(str::as_bytes), room::NAME, out);
    text(b",\"tenant\":\"", record.tenant.map(str::as_bytes), room::TENANT, out);
    text(b",\"agent\":\"", record.agent.map(str::as_bytes), room::TENANT, out);
    text(b",\"method\":\"", Some(record.method).filter(|method| !method.is_empty()), room::METHOD, out);
    text(b",\"path\":\"", record.path(), room::PATH, out);
    text(b",\"kind\":\"", record.kind.map(str::as_bytes), room::NAME, out);
    text(b",\"model\":\"", record.model.map(str::as_bytes), room::MODEL, out);
    text(b",\"route\":\"", record.route.map(str::as_bytes), room::NAME, out);
    text(b",\"cluster\":\"", record.cluster.map(str::as_bytes), room::NAME, out);
    text(b",\"endpoint\":\"", record.endpoint.map(str::as_bytes), room::URL, out);
    text(b",\"address\":\"", record.address.map(str::as_bytes), room::HOST, out);
    out.extend_from_slice(b",\"attempts\":");
    digits::push(record.attempts.into(), out);
    if record.status != 0 {
        out.extend_from_slice(b",\"status\":");
        digits::push(record.status.into(), out);
    }
    out.extend_from_slice(b",\"bytes_in\":");
    digits::push(record.bytes_in, out);
    out.extend_from_slice(b",\"bytes_out\":");
    digits::push(record.bytes_out, out);
    out.extend_from_slice(b",\"queue_ms\":");
    millis(record.queued, out);
    if let Some(first_byte) = record.first_byte {
        out.extend_from_slice(b",\"first_byte_ms\":");
        millis(first_byte, out);
    }
    out.extend_from_slice(b",\"total_ms\":");
    millis(record.total, out);
    let (why, error) = record.why.words();
    text(b",\"why\":\"", Some(why.as_bytes()), room::NAME, out);
    text(b",\"error\":\"", error.map(str::as_bytes), room::NAME, out);
    text(b",\"trace\":\"", record.trace.map(str::as_bytes), room::NAME, out);
    text(b",\"call\":\"", record.call.map(str::as_bytes), room::NAME, out);
    if record.upstream_id.is_some() || !record.tried.is_empty() {
        upstream(record, begin + LONGEST - END.len(), out);
    }
    out.extend_from_slice(END);
}

/// Appends the endpoint's own id, and the attempts, as far as they fit before `limit`. A usual line has room for about ten
/// attempts, a line with long texts for none.
fn upstream(record: &Record<'_>, limit: usize, out: &mut Vec<u8>) {
    let mut begin = out.len();
    let mut fits = |out: &mut Vec<u8>, closing: usize| {
        let fits = out.len() + closing <= limit;
        if fits {
            begin = out.len();
        } else {
            out.truncate(begin);
        }
        fits
    };
    text(b",\"upstream_request_id\":\"", record.upstream_id, room::SHORT, out);
    fits(out, 0);
    for (index, entry) in record.tried.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b",\"tried\":[" } else { b"," });
        attempted(entry, out);
        if !fits(out, 1) {
            if index > 0 {
                out.push(b']');
            }
            return;
        }
    }
    if !record.tried.is_empty() {
        out.push(b']');
    }
}

/// Appends an attempt as one JSON object.
fn attempted(entry: &Attempted<'_>, out: &mut Vec<u8>) {
    text(b"{\"cluster\":\"", Some(entry.cluster.as_bytes()), room::NAME, out);
    text(b",\"endpoint\":\"", entry.endpoint.map(str::as_bytes), room::URL, out);
    text(b",\"address\":\"", entry.address.map(str::as_bytes), room::HOST, out);
    if let Some(status) = entry.status {
        out.extend_from_slice(b",\"status\":");
        digits::push(status.into(), out);
    }
    text(b",\"failure\":\"", entry.failure.map(str::as_bytes), room::SHORT, out);
    if entry.endpoint.is_some() {
        out.extend_from_slice(b",\"ms\":");
        millis(entry.took, out);
    }
    text(b",\"upstream_request_id\":\"", entry.upstream_id, room::SHORT, out);
    out.push(b'}');
}

/// Whether each byte needs no escaping in a JSON string or a log.
#[allow(clippy::cast_possible_truncation, clippy::indexing_slicing)] // It is evaluated by the compiler only.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8, b' '..=b'~') && !matches!(byte as u8, b'"' | b'\\');
        byte += 1;
    }
    table
};

/// Appends a member whose value is a string. `begin` is the text before the string's first character.
fn text(begin: &[u8], value: Option<&[u8]>, room: usize, out: &mut Vec<u8>) {
    let Some(value) = value else { return };
    out.extend_from_slice(begin);
    let plain = |byte: &u8| PLAIN.get(usize::from(*byte)).copied().unwrap_or(false);
    if value.len() <= room && value.iter().all(plain) {
        out.extend_from_slice(value);
    } else {
        escape(value, room, out);
    }
    out.push(b'"');
}

fn escape(value: &[u8], room: usize, out: &mut Vec<u8>) {
    match std::str::from_utf8(value) {
        Ok(text) => escape_chars(text.chars(), room, out),
        Err(_) => escape_chars(value.iter().copied().map(char::from), room, out),
    }
}

/// Appends characters, escaped for a JSON string (RFC 8259, section 7), up to `room` bytes.
fn escape_chars(chars: impl Iterator<Item = char>, room: usize, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let end = out.len() + room;
    let mut fits = out.len(); // The last position at which the ellipsis would fit.
    for char in chars {
        match char {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            // C1 controls and line separators are legal in JSON, but some terminals and line readers act on them.
            '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                out.extend_from_slice(b"\\u");
                let code = u32::from(char);
                for shift in [12, 8, 4, 0] {
                    let digit = usize::try_from(code >> shift & 0xf).unwrap_or(0);
                    out.push(HEX.get(digit).copied().unwrap_or(b'0'));
                }
            }
            char => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        if out.len() > end {
            out.truncate(fits);
            out.extend_from_slice(ELLIPSIS);
            return;
        }
        if out.len() + ELLIPSIS.len() <= end {
            fits = out.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::record::{Why, tests::NOTHING};
    use super::*;

    fn line(record: &Record<'_>) -> String {
        let mut out = Vec::new();
        write_line(record, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn document(record: &Record<'_>) -> serde_json::Value {
        let line = line(record);
        assert!(line.ends_with("}\n") && line.len() <= LONGEST, "{} bytes", line.len());
        assert!(
            !line.trim_end_matches('\n').contains(|c: char| c.is_control() || c == '\u{2028}'),
            "{line:?}"
        );
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    #[test]
    fn all_of_a_message() {
        let failed = Attempted {
            cluster: "house",
            endpoint: Some("http://127.0.0.1:9100"),
            address: None,
            status: Some(503),
            failure: None,
            took: Duration::from_micros(250),
            upstream_id: Some(b"req_1"),
        };
        let reset = Attempted {
            address: Some("::1"),
            status: None,
            failure: Some("reset"),
            upstream_id: None,
            ..failed
        };
        let passed = Attempted { endpoint: None, address: None, failure: Some("queue_full"), ..reset };
        let tried = [failed, reset, passed];
        let record = Record {
            time: 1_795_404_245_678,
            id: "m-1",
            client: Some("10.0.0.7"),
            key: Some("planner"),
            tenant: Some("acme"),
            agent: Some("a"),
            method: b"POST",
            target: b"/v1/chat/completions?token=secret",
            dialect: Some("openai"),
            kind: Some("model"),
            model: Some("llama-3"),
            route: Some("gold"),
            cluster: Some("cloud"),
            endpoint: Some("http://127.0.0.1:9101"),
            address: Some("127.0.0.1"),
            upstream_id: Some(b"req_2"),
            attempts: 2,
            tried: &tried,
            status: 200,
            bytes_in: 1024,
            bytes_out: 300,
            queued: Duration::ZERO,
            first_byte: Some(Duration::from_micros(1500)),
            total: Duration::from_micros(2750),
            why: Why::Ok,
            trace: Some("0af7651916cd43dd8448eb211c80319c"),
            call: Some("mirror"),
        };
        let expected = concat!(
            r#"{"time":"2026-11-23T03:24:05.678Z","id":"m-1","client":"10.0.0.7","key":"planner","tenant":"acme","#,
            r#""agent":"a","method":"POST","path":"/v1/chat/completions","kind":"model","model":"llama-3","#,
            r#""route":"gold","cluster":"cloud","endpoint":"http://127.0.0.1:9101","address":"127.0.0.1","attempts":2,"#,
            r#""status":200,"#,
            r#""bytes_in":1024,"bytes_out":300,"queue_ms":0.000,"first_byte_ms":1.500,"total_ms":2.750,"why":"ok","#,
            r#""trace":"0af7651916cd43dd8448eb211c80319c","call":"mirror","upstream_request_id":"req_2","tried":["#,
            r#"{"cluster":"house","endpoint":"http://127.0.0.1:9100","status":503,"ms":0.250,"#,
            r#""upstream_request_id":"req_1"},"#,
            r#"{"cluster":"house","endpoint":"http://127.0.0.1:9100","address":"::1","failure":"reset","ms":0.250},"#,
            r#"{"cluster":"house","failure":"queue_full"}]}"#,
            "\n",
        );
        assert_eq!(line(&record), expected);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let expected = concat!(
            r#"{"time":"1970-01-01T00:00:00.000Z","attempts":0,"bytes_in":0,"bytes_out":0,"queue_ms":0.000,"#,
            r#""total_ms":0.000,"why":"ok"}"#,
            "\n",
        );
        assert_eq!(line(&NOTHING), expected);
        let aborted = document(&Record { why: Why::Aborted("upstream_protocol"), ..NOTHING });
        assert_eq!((&aborted["why"], &aborted["error"]), (&"aborted".into(), &"upstream_protocol".into()));
        assert_eq!(document(&Record { why: Why::Error("no_route"), ..NOTHING })["why"], "no_route");
        assert_eq!(document(&Record { why: Why::ClientGone, ..NOTHING })["why"], "client_gone");
    }

    #[test]
    fn no_line_is_longer_than_a_pipe_takes_at_once() {
        for hostile in ["\u{1}", "\"", "x", "é", "\u{2028}", "😀", "\u{9f}"] {
            let long = hostile.repeat(40_000);
            let entry = Attempted {
                cluster: &long,
                endpoint: Some(&long),
                address: Some(&long),
                status: Some(u16::MAX),
                failure: Some(&long),
                took: Duration::MAX,
                upstream_id: Some(long.as_bytes()),
            };
            let record = Record {
                time: u64::MAX,
                id: &long,
                client: Some(&long),
                key: Some(&long),
                tenant: Some(&long),
                agent: Some(&long),
                method: long.as_bytes(),
                target: long.as_bytes(),
                dialect: Some(&long),
                kind: Some(&long),
                model: Some(&long),
                route: Some(&long),
                cluster: Some(&long),
                endpoint: Some(&long),
                address: Some(&long),
                upstream_id: Some(long.as_bytes()),
                attempts: u32::MAX,
                tried: &[entry; 40],
                status: u16::MAX,
                bytes_in: u64::MAX,
                bytes_out: u64::MAX,
                queued: Duration::MAX,
                first_byte: Some(Duration::MAX),
                total: Duration::MAX,
                why: Why::Aborted(&long),
                trace: Some(&long),
                call: Some(&long),
            };
            let found = document(&record);
            assert!(found["model"].as_str().is_some_and(|model| model.ends_with('…')), "{hostile:?}");
        }
    }

    #[test]
    fn as_many_attempts_are_shown_as_there_is_room_for() {
        let entry = Attempted {
            cluster: "house",
            endpoint: Some("http://127.0.0.1:9100"),
            address: None,
            status: None,
            failure: Some("connect"),
            took: Duration::from_millis(3),
            upstream_id: None,
        };
        for model in [1, 200] {
            let model = "m".repeat(model);
            let shown = document(&Record { model: Some(&model), tried: &vec![entry; 200], ..NOTHING });
            let shown = shown["tried"].as_array().unwrap().len();
            assert!((30..80).contains(&shown), "{shown}");
        }
        let long = "x".repeat(2000);
        let url = "http://a".repeat(100);
        let record =
            Record { id: &long, tenant: Some(&long), agent: Some(&long), target: long.as_bytes(), ..NOTHING };
        let record = Record { model: Some(&long), endpoint: Some(&long), client: Some(&long), ..record };
        let record = Record { route: Some(&long), cluster: Some(&long), key: Some(&long), ..record };
        let tried = [Attempted { endpoint: Some(&url), ..entry }; 3];
        let shown = document(&Record { upstream_id: Some(b"req_1"), tried: &tried, ..record });
        assert_eq!(shown["upstream_request_id"], "req_1");
        assert!(shown["tried"].as_array().unwrap().len() < 3);
    }

    #[test]
    fn as_much_is_shown_as_there_is_room() {
        let exact = "m".repeat(room::MODEL);
        assert_eq!(document(&Record { model: Some(&exact), ..NOTHING })["model"], exact);
        let accented = "é".repeat(room::MODEL / 2);
        assert_eq!(document(&Record { model: Some(&accented), ..NOTHING })["model"], accented);
        let longer = format!("{exact}m");
        let shown = format!("{}…", &exact[..room::MODEL - ELLIPSIS.len()]);
        assert_eq!(document(&Record { model: Some(&longer), ..NOTHING })["model"], shown);
    }

    proptest! {
        #[test]
        fn a_line_is_json_whatever_was_sent(
            text in any::<String>(),
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            id in "[\\x00-\\x7f\"\\\\é😀]{0,200}",
        ) {
            let record = Record {
                id: &id,
                tenant: Some(&text),
                model: Some(&text),
                method: &bytes,
                target: &bytes,
                ..NOTHING
            };
            let found = document(&record);
            let shown = found["tenant"].as_str().unwrap();
            match shown.strip_suffix('…') {
                Some(begin) if shown != text => prop_assert!(text.starts_with(begin)),
                _ => prop_assert_eq!(shown, text),
            }
            if let Some(path) = found.get("path") {
                prop_assert!(!path.as_str().unwrap().contains('?'));
            }
        }
    }
}
