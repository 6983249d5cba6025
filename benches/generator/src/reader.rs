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
        self.ended |= unchunk(&mut self.raw, &mut self.body)?;
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
}

/// Move whole chunks from `raw` to `body`. True: the last one has come.
fn unchunk(raw: &mut Vec<u8>, body: &mut Vec<u8>) -> Result<bool, Box<dyn Error>> {
    let mut done = 0;
    let mut ended = false;
    while !ended {
        let rest = raw.get(done..).unwrap_or_default();
        let Some(line) = find(rest, b"\r\n") else { break };
        let size = usize::from_str_radix(std::str::from_utf8(rest.get(..line).unwrap_or_default())?, 16)?;
        let Some(chunk) = rest.get(line + 2..line + 2 + size + 2) else { break };
        body.extend_from_slice(chunk.get(..size).unwrap_or_default());
        ended = size == 0;
        done += line + 2 + size + 2;
    }
    raw.drain(..done);
    Ok(ended)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::unchunk;

    #[test]
    fn chunks_are_taken_whole_wherever_they_are_cut() {
        let sent = b"3\r\nabc\r\n0a\r\n0123456789\r\n0\r\n\r\n";
        let (mut raw, mut body, mut ended) = (Vec::new(), Vec::new(), false);
        for (place, byte) in sent.iter().enumerate() {
            raw.push(*byte);
            assert!(!ended, "before byte {place}");
            ended = unchunk(&mut raw, &mut body).unwrap();
        }
        assert!(ended);
        assert_eq!(body, b"abc0123456789");
        assert!(raw.is_empty());
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        assert!(unchunk(&mut b"data: x\r\n".to_vec(), &mut Vec::new()).is_err());
    }
}
