//! Any bytes as a client's request head, in any two pieces: read the same, and as another parser reads them.
//!
//! The first byte says where the input is split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waypost_core::http1::{PlainHead, RequestReader};

type Read = Result<Option<(Option<PlainHead>, usize)>, ()>;

/// What one reader makes of pieces; the bytes behind the head are counted from the end.
fn read(pieces: &[&[u8]]) -> Read {
    let mut reader = RequestReader::new(1024);
    let mut behind: usize = pieces.iter().map(|piece| piece.len()).sum();
    for piece in pieces {
        behind -= piece.len();
        if let Some((head, rest)) = reader.feed(piece).map_err(drop)? {
            return Ok(Some((head, rest.len() + behind)));
        }
    }
    Ok(None)
}

fuzz_target!(|data: &[u8]| {
    let Some((&at, data)) = data.split_first() else { return };
    let whole = read(&[data]);
    let (first, second) = data.split_at(usize::from(at).min(data.len()));
    assert_eq!(read(&[first, second]), whole);
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(read(&bytes), whole);

    let Ok(Some((Some(head), rest))) = whole else { return };
    // What is plain has one reading: nothing in it could end a line early or frame a body in another way.
    assert!(head.target.starts_with('/') && head.target.bytes().all(|byte| byte.is_ascii_graphic()));
    for (name, value) in &head.fields {
        assert!(!name.is_empty() && !name.iter().any(u8::is_ascii_uppercase));
        assert!(value.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f)));
        assert!(![&b"transfer-encoding"[..], b"upgrade", b"expect"].contains(&name));
    }
    let section = &data[..data.len() - rest];
    assert!(section.ends_with(b"\r\n\r\n"));
    let mut slots = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut slots);
    assert_eq!(parsed.parse(section), Ok(httparse::Status::Complete(section.len())));
    assert_eq!(parsed.method, Some(head.method));
    assert_eq!(parsed.path, Some(head.target.as_str()));
    assert_eq!(parsed.headers.len(), head.fields.len());
});
