//! Reads the body of a client's request, framed by its length or in chunks.
//!
//! The trailers of a chunked body are checked by the rules and limits of a head, and then dropped. None of them may be used:
//! the message was decided without them, and an endpoint that merges trailers into the head would see other fields than the
//! decision did (RFC 9110, section 6.5.1).

use std::borrow::Cow;

use super::chunked::{Decoder, Joined};
use super::framing::Framing;
use super::{Error, ErrorKind};

/// Bytes of a body, and once it has ended, the bytes that follow it.
type Piece<'a> = (Cow<'a, [u8]>, Option<&'a [u8]>);

/// Reads one body.
#[derive(Debug)]
pub struct BodyReader(State);

#[derive(Debug)]
enum State {
    Length(u64),
    Chunked(Decoder),
}

impl BodyReader {
    /// `max_trailers` limits the trailers of a chunked body, in bytes.
    #[must_use]
    pub fn new(framing: Framing, max_trailers: usize) -> Self {
        Self(match framing {
            Framing::Absent => State::Length(0),
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Decoder::of_request(max_trailers)),
        })
    }

    /// Reads the bytes of one socket read. Returns bytes of the body, and once the body has ended, the bytes that follow it.
    ///
    /// # Errors
    /// The chunks or the trailers are malformed or too long. After an error or the end, the reader must not be used.
    pub fn feed<'a>(&mut self, data: &'a [u8]) -> Result<Piece<'a>, Error> {
        match &mut self.0 {
            State::Length(remaining) => {
                let most = usize::try_from(*remaining).unwrap_or(usize::MAX).min(data.len());
                let (body, surplus) = data.split_at_checked(most).unwrap_or((data, &[]));
                *remaining -= body.len() as u64;
                Ok((Cow::Borrowed(body), (*remaining == 0).then_some(surplus)))
            }
            State::Chunked(decoder) => {
                let mut body = Joined::default();
                let end = decoder.decode(data, &mut body)?;
                Ok((body.0, end.map(|(_, surplus)| surplus)))
            }
        }
    }

    /// Whether the data of the body has ended, but not the trailers.
    #[must_use]
    pub fn in_trailers(&self) -> bool {
        matches!(&self.0, State::Chunked(decoder) if decoder.in_trailers())
    }
}

/// Checks that a trailer field of a request neither frames nor routes it.
pub(super) fn check_trailer(lower: &[u8]) -> Result<(), Error> {
    match lower {
        b"content-length" | b"host" | b"transfer-encoding" => {
            Err(Error::of_field(ErrorKind::TrailerField, lower))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body, the bytes behind it, and whether the reader was ever in the trailers.
    type Read = (Vec<u8>, Option<Vec<u8>>, bool);

    fn read(framing: Framing, pieces: &[&[u8]]) -> Result<Read, ErrorKind> {
        let mut reader = BodyReader::new(framing, 40);
        let (mut body, mut trailers) = (Vec::new(), false);
        for (at, piece) in pieces.iter().enumerate() {
            let (more, end) = reader.feed(piece).map_err(|error| error.kind)?;
            body.extend_from_slice(&more);
            if let Some(surplus) = end {
                return Ok((body, Some([surplus, &pieces[at + 1..].concat()].concat()), trailers));
            }
            trailers |= reader.in_trailers();
        }
        Ok((body, None, trailers))
    }

    #[test]
    fn any_split_gives_the_same() {
        for (framing, sent, body, behind) in [
            (Framing::Absent, &b"GET"[..], &b""[..], &b"GET"[..]),
            (Framing::Length(5), b"helloGET", b"hello", b"GET"),
            (Framing::Chunked, b"2;a=b\r\nhe\r\n03\r\nllo\r\n0\r\n\r\nGET", b"hello", b"GET"),
            (Framing::Chunked, b"5\r\nhello\r\n0\r\nauthorization: a\r\nx:\r\n\r\nGET", b"hello", b"GET"),
        ] {
            let expected = (body.to_vec(), Some(behind.to_vec()));
            let all: Vec<&[u8]> = sent.chunks(1).collect();
            for pieces in (0..=sent.len()).map(|at| vec![&sent[..at], &sent[at..]]).chain([all]) {
                let (read, surplus, _) = read(framing, &pieces).unwrap();
                assert_eq!((read, surplus), expected, "{pieces:?}");
            }
        }
        assert_eq!(read(Framing::Chunked, &[b"1\r\na\r\n0\r\nx"]), Ok((b"a".to_vec(), None, true)));
    }

    #[test]
    fn trailers_are_as_limited_as_heads() {
        let of = |trailers: &str| {
            let sent = format!("0\r\n{trailers}\r\n");
            let whole = read(Framing::Chunked, &[sent.as_bytes()]);
            assert_eq!(
                read(Framing::Chunked, &sent.as_bytes().chunks(1).collect::<Vec<_>>()).is_ok(),
                whole.is_ok()
            );
            whole.map(drop)
        };
        assert_eq!(of(&format!("x: {}\r\n", "y".repeat(33))), Ok(()));
        assert_eq!(of(&format!("x: {}\r\n", "y".repeat(34))), Err(ErrorKind::RequestTrailersTooLarge));
        let mut many = BodyReader::new(Framing::Chunked, 1 << 20);
        let sent = format!("0\r\n{}\r\n", "a:\r\n".repeat(129));
        assert_eq!(
            many.feed(sent.as_bytes()).map(drop).map_err(|error| error.kind),
            Err(ErrorKind::TooManyFields)
        );
        for (trailers, kind) in [
            ("a: b\n", ErrorKind::BareLf),
            ("a: b\r\n c\r\n", ErrorKind::ObsFold),
            ("a : b\r\n", ErrorKind::FieldName),
            ("a: \0\r\n", ErrorKind::FieldValue),
            ("nonsense\r\n", ErrorKind::FieldName),
            ("Content-Length: 5\r\n", ErrorKind::TrailerField),
            ("transfer-encoding: chunked\r\n", ErrorKind::TrailerField),
            ("HOST: h\r\n", ErrorKind::TrailerField),
        ] {
            assert_eq!(of(trailers), Err(kind), "{trailers:?}");
        }
    }
}
