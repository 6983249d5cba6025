//! Streams of server-sent events that end without an event.

use waypost_core::http1::ResponseReader;

const MAX_HEAD: usize = 4096;

/// Whether a complete response is a stream without an event, the same whole and byte by byte.
fn is_empty(method: &str, wire: &str) -> bool {
    let empty = |size: usize| {
        let mut reader = ResponseReader::new(method, MAX_HEAD);
        let ends =
            wire.as_bytes().chunks(size).filter_map(|piece| reader.feed(piece).expect("a response").end);
        let ends: Vec<bool> = ends.map(|end| end.empty).collect();
        assert_eq!(ends.len(), 1, "{wire}");
        ends[0]
    };
    assert_eq!(empty(wire.len()), empty(1), "{wire}");
    empty(1)
}

#[test]
fn a_stream_of_events_without_one_is_empty() {
    let head = "HTTP/1.1 200 Fine\r\ncontent-type: Text/Event-Stream; charset=utf-8\r\n";
    for (fields, body, empty) in [
        ("content-length: 0\r\n", "", true),
        ("transfer-encoding: chunked\r\n", "0\r\n\r\n", true),
        ("transfer-encoding: chunked\r\n", "5\r\n: a\n\n\r\n0\r\n\r\n", true),
        ("transfer-encoding: chunked\r\n", "7\r\ndata:1\n\r\n0\r\n\r\n", false),
        ("content-length: 8\r\n", "data: 1\n", false),
        ("content-length: 0\r\ncontent-encoding: gzip\r\n", "", true),
        ("content-length: 1\r\ncontent-encoding: gzip\r\n", "?", false),
    ] {
        let wire = format!("{head}{fields}\r\n{body}");
        assert_eq!(is_empty("POST", &wire), empty, "{fields} {body}");
    }
    let mut reader = ResponseReader::new("POST", MAX_HEAD);
    reader.feed(format!("{head}\r\n:\n\n").as_bytes()).expect("a begin of a response");
    assert!(reader.lacks_event());
    assert_eq!(reader.eof().map(|end| end.empty), Ok(true));

    // No events are due.
    let json = "HTTP/1.1 200 Fine\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\r\n";
    assert!(!is_empty("POST", json));
    assert!(!is_empty("POST", &format!("{}content-length: 0\r\n\r\n", head.replace("200", "404"))));
    assert!(!is_empty("HEAD", &format!("{head}\r\n")));
}
