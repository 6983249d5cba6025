//! Any bytes as the parts of a request head: what is written is one head that another parser reads.
//!
//! The input is lines of parts: method, target, host, then name and value of downstream fields in turn. Parts are
//! divided by 0xff, so that they can have any line ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waypost_core::http1::{Added, BodyLength, RequestHead, write_request_head};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.split(|&byte| byte == 0xff);
    let mut part = || parts.next().unwrap_or_default();
    let (method, target, host) = (part(), part(), part());
    let rest: Vec<&[u8]> = parts.take(64).collect();
    let fields = rest.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    let id = Added::new(b"x-request-id").expect("a name that may be added");
    let head = RequestHead {
        method,
        target,
        host,
        remove: &[b"x-api-key"],
        extra: &[(id, b"1")],
        normal: false,
        body: BodyLength::Known(5),
    };
    let mut out = b"kept".to_vec();
    if write_request_head(&mut out, &head, fields).is_err() {
        assert_eq!(out, b"kept");
        return;
    }
    let written = &out[4..];
    let mut slots = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut slots);
    assert_eq!(parsed.parse(written), Ok(httparse::Status::Complete(written.len())));
    assert_eq!(parsed.method.map(str::as_bytes), Some(method));
    assert_eq!(parsed.path.map(str::as_bytes), Some(target));
    assert_eq!(parsed.headers[0].value, host);
    for once in ["host", "content-length", "via", "x-request-id"] {
        assert_eq!(parsed.headers.iter().filter(|field| field.name == once).count(), 1, "{once}");
    }
    for never in ["transfer-encoding", "x-api-key", "x_api_key", "expect", "upgrade", "keep-alive"] {
        assert!(parsed.headers.iter().all(|field| field.name != never), "{never}");
    }
});
