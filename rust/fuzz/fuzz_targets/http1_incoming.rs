//! Any bytes as a client's request, in any two pieces: read the same, and its head as another parser reads it.
//!
//! The first byte says where the input is split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waypost_core::http1::{BodyReader, IncomingHead, RequestReader};

/// The head with the number of bytes behind it, and the body with the number of bytes behind that; both as far as they are
/// complete.
type Read = Result<Option<(IncomingHead, usize, Result<(Vec<u8>, Option<usize>), ()>)>, ()>;

/// What one reader makes of pieces; the bytes behind are counted from the end.
fn read(pieces: &[&[u8]]) -> Read {
    let mut reader = RequestReader::new(1024);
    let mut behind: usize = pieces.iter().map(|piece| piece.len()).sum();
    for (at, piece) in pieces.iter().enumerate() {
        behind -= piece.len();
        if let Some((head, rest)) = reader.feed(piece).map_err(drop)? {
            let count = rest.len() + behind;
            let body = read_body(&head, [rest].into_iter().chain(pieces[at + 1..].iter().copied()), count);
            return Ok(Some((head, count, body)));
        }
    }
    Ok(None)
}

fn read_body<'a>(
    head: &IncomingHead,
    pieces: impl Iterator<Item = &'a [u8]>,
    mut behind: usize,
) -> Result<(Vec<u8>, Option<usize>), ()> {
    let mut reader = BodyReader::new(head.announced.framing, 64);
    let mut body = Vec::new();
    for piece in pieces {
        behind -= piece.len();
        let (more, end) = reader.feed(piece).map_err(drop)?;
        body.extend_from_slice(&more);
        if let Some(surplus) = end {
            return Ok((body, Some(surplus.len() + behind)));
        }
    }
    Ok((body, None))
}

fuzz_target!(|data: &[u8]| {
    let Some((&at, data)) = data.split_first() else { return };
    let whole = read(&[data]);
    let (first, second) = data.split_at(usize::from(at).min(data.len()));
    assert_eq!(read(&[first, second]), whole);
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(read(&bytes), whole);

    let Ok(Some((head, rest, _))) = whole else { return };
    // What is read has one reading: nothing in it could end a line early or frame a body in another way.
    assert!(head.target == "*" || head.target.starts_with('/'));
    assert!(head.target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
    assert!(head.method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') && head.method != "CONNECT");
    for (name, value) in &head.fields {
        assert!(!name.is_empty() && !name.iter().any(u8::is_ascii_uppercase));
        assert!(value.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f)));
        assert!(!value.starts_with(b" ") && !value.ends_with(b" "));
        assert!(!head.plain || ![&b"transfer-encoding"[..]].contains(&name));
    }
    for once in [&b"host"[..], b"content-length", b"transfer-encoding"] {
        assert!(head.fields.iter().filter(|(name, _)| *name == once).count() <= 1);
    }
    let section = &data[..data.len() - rest];
    assert!(section.ends_with(b"\r\n\r\n"));
    let mut slots = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut slots);
    assert_eq!(parsed.parse(section), Ok(httparse::Status::Complete(section.len())));
    assert_eq!(parsed.method, Some(&*head.method));
    let sent = parsed.path.unwrap_or_default();
    assert!(sent.contains(head.target.as_str()) || head.target == "/" || head.target.starts_with("/?"));
    // The authority of a target takes the place of a Host field, or becomes one.
    assert!((parsed.headers.len()..=parsed.headers.len() + 1).contains(&head.fields.len()));
});
