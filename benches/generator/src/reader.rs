//! The client: one response of chunks, its events dated.

use std::error::Error;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::read_into;
use crate::tally::Tally;

const MARK: &[u8] = b"\"sent\":\"";
const DIGITS: usize = 16;

/// One connection of the client.
pub(crate) struct Reader {
    /// The last chunk has come.
    pub(crate) ended: bool,
    stream: TcpStream,
    /// What came and was not yet whole.
    raw: Vec<u8>,
    body: Vec<u8>,
    begun: bool,
    /// The date of the last event: later ones have later dates.
    last: Duration,
}

impl Reader {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { ended: false, stream, raw: Vec::new(), body: Vec::new(), begun: false, last: Duration::ZERO }
    }

    /// Read what is there; `start` is what dates count from.
    pub(crate) fn read(&mut self, start: Instant, tally: &mut Tally) -> Result<(), Box<dyn Error>> {
        let open = read_into(&mut self.stream, &mut self.raw)?;
        let now = start.elapsed();
        if !self.begun {
            let Some(end) = find(&self.raw, b"\r\n\r\n") else {
                return if open { Ok(()) } else { Err("closed before a response".into()) };
            };
            let head = String::from_utf8_lossy(self.raw.get(..end).unwrap_or_default()).to_lowercase();
            if !head.starts_with("http/1.1 200 ") || !head.contains("transfer-encoding: chunked") {
                return Err(format!("not a stream: {head}").into());
            }
            self.raw.drain(..end + 4);
            self.begun = true;
        }
        self.unchunk()?;
        let mut done = 0;
        while let Some(at) = find(self.body.get(done..).unwrap_or_default(), b"\n\n") {
            let event = self.body.get(done..done + at).unwrap_or_default();
            done += at + 2;
            if let Some(mark) = find(event, MARK) {
                let digits = event.get(mark + MARK.len()..mark + MARK.len() + DIGITS).unwrap_or_default();
                let date = Duration::from_nanos(std::str::from_utf8(digits)?.parse()?);
                if date > Duration::ZERO {
                    if date < self.last {
                        return Err("events have changed their order".into());
                    }
                    self.last = date;
                    tally.received(now.saturating_sub(date));
                }
            }
        }
        self.body.drain(..done);
        if !open && !self.ended {
            return Err("a stream was cut".into());
        }
        Ok(())
    }

    /// Move whole chunks from `raw` to `body`.
    fn unchunk(&mut self) -> Result<(), Box<dyn Error>> {
        let mut done = 0;
        while !self.ended {
            let rest = self.raw.get(done..).unwrap_or_default();
            let Some(line) = find(rest, b"\r\n") else { break };
            let size = usize::from_str_radix(std::str::from_utf8(rest.get(..line).unwrap_or_default())?, 16)?;
            let Some(chunk) = rest.get(line + 2..line + 2 + size + 2) else { break };
            self.body.extend_from_slice(chunk.get(..size).unwrap_or_default());
            self.ended = size == 0;
            done += line + 2 + size + 2;
        }
        self.raw.drain(..done);
        Ok(())
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
