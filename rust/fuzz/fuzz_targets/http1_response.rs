//! Any bytes as a response: no panic, and the same outcome whole and cut into pieces.
//!
//! The first byte chooses the method and the size of the pieces, the rest is what the endpoint sends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waypost_core::http1::{ErrorKind, Fields, ResponseReader};

const MAX_HEAD: usize = 1024;

#[derive(Debug, PartialEq)]
struct Read {
    status: Option<u16>,
    headers: Fields,
    body: Vec<u8>,
    /// The trailers, where the end was reached.
    trailers: Option<Fields>,
}

fn read(method: &str, wire: &[u8], size: usize) -> Result<Read, ErrorKind> {
    let mut reader = ResponseReader::new(method, MAX_HEAD);
    let mut read = Read { status: None, headers: Fields::default(), body: Vec::new(), trailers: None };
    for piece in wire.chunks(size) {
        let progress = match reader.feed(piece) {
            Ok(progress) => progress,
            Err(error) => {
                assert_eq!(reader.feed(b"x").err(), Some(error.clone()));
                assert_eq!(reader.eof().err(), Some(error.clone()));
                return Err(error.kind);
            }
        };
        assert!(progress.body.len() <= piece.len());
        read.body.extend_from_slice(&progress.body);
        if let Some(head) = progress.head {
            assert!(read.status.is_none() && (200..=599).contains(&head.status));
            read.status = Some(head.status);
            read.headers = head.headers;
        }
        if let Some(end) = progress.end {
            read.trailers = Some(end.trailers);
            break;
        }
    }
    Ok(read)
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, wire)) = data.split_first() else { return };
    let method = if choice & 1 == 0 { "GET" } else { "HEAD" };
    let whole = read(method, wire, wire.len().max(1));
    assert_eq!(read(method, wire, 1), whole);
    assert_eq!(read(method, wire, usize::from(choice >> 1) + 1), whole);
    if let Ok(Read { headers, .. }) = whole {
        for (name, value) in &headers {
            assert!(!name.is_empty() && !name.iter().any(u8::is_ascii_uppercase));
            assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        }
    }
});
