//! Finds the first event of a stream of server-sent events (HTML Living Standard, section 9.2.6).
//!
//! An event is a `data` field with a value. Comments, other fields and blank lines are none: servers send them to keep a
//! connection open before they have anything to say.
//!
//! ```text
//! Mark ──▶ Name ──"data:"──▶ Value ──byte of the value──▶ Found
//!           ▲ ╲               │
//!           │  other byte ▶ Skip
//!           └──line end───────┴──┘
//! ```

/// The bytes of a byte order mark in UTF-8, which may begin the stream.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The name of the field that an event needs, and its colon.
const NAME: &[u8] = b"data:";

/// Where in the stream the reader is.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Within the byte order mark, after so many bytes of it.
    Mark(usize),
    /// Within the name of a field, after so many bytes of [`NAME`].
    Name(usize),
    /// In the value of a `data` field that is blank so far.
    Value,
    /// In a line that is no `data` field.
    Skip,
    /// The first event has begun.
    Found,
}

/// Reads a stream as far as its first event, however it is cut into pieces. Each byte is examined once, and none is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstEvent(State);

impl FirstEvent {
    /// At the begin of a stream that can be read.
    pub(super) fn new() -> Self {
        Self(State::Mark(0))
    }

    /// Whether the first event has begun.
    pub(super) fn is_found(&self) -> bool {
        matches!(self.0, State::Found)
    }

    /// Reads a piece of the stream.
    pub(super) fn read(&mut self, piece: &[u8]) {
        for &byte in piece {
            if self.is_found() {
                return;
            }
            self.0 = self.0.after(byte);
        }
    }
}

impl State {
    fn after(self, byte: u8) -> Self {
        match self {
            Self::Found => Self::Found,
            Self::Mark(read) if MARK.get(read) == Some(&byte) => match read + 1 {
                read if read == MARK.len() => Self::Name(0),
                read => Self::Mark(read),
            },
            Self::Mark(0) => Self::Name(0).after(byte),
            _ if matches!(byte, b'\r' | b'\n') => Self::Name(0),
            Self::Name(read) if NAME.get(read) == Some(&byte) => match read + 1 {
                read if read == NAME.len() => Self::Value,
                read => Self::Name(read),
            },
            Self::Mark(_) | Self::Name(_) | Self::Skip => Self::Skip,
            Self::Value if byte.is_ascii_whitespace() => Self::Value,
            Self::Value => Self::Found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(stream: &[u8]) -> bool {
        let mut whole = FirstEvent::new();
        whole.read(stream);
        let mut bytewise = FirstEvent::new();
        for byte in stream {
            bytewise.read(&[*byte]);
        }
        assert_eq!(whole.is_found(), bytewise.is_found(), "{}", stream.escape_ascii());
        whole.is_found()
    }

    #[test]
    fn an_event_needs_data() {
        for stream in [
            &b"data: 1"[..],
            b"data:1\n\n",
            b"\xef\xbb\xbfdata: 1\n\n",
            b": comment\r\rdata: [DONE]\r\r",
            b"\r\nevent: ping\r\nid: 7\r\ndata: {}\r\n\r\n",
            b"data:\n\ndata: 1\n",
            b"dat\ndata:data",
        ] {
            assert!(found(stream), "{}", stream.escape_ascii());
        }
    }

    #[test]
    fn comments_and_other_fields_are_no_event() {
        for stream in [
            &b""[..],
            b"\n\n\r\n",
            b": data: 1\n\n",
            b": OPENROUTER PROCESSING\n\n: again\n\n",
            b"retry: 10\n\nevent: error\nid: data: 1\n\n",
            b"data\n\ndata:\n\ndata:  \t\r\n\r\n",
            b"database: 1\n\n Data: 1\nDATA: 1\n",
            b"\xef\xbb\xbf\xef\xbb\xbfdata: 1\n\n",
            b"\xef\xbbdata: 1\n\n",
        ] {
            assert!(!found(stream), "{}", stream.escape_ascii());
        }
    }
}
