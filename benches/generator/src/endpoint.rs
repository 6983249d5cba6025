//! The endpoint: requests in, events out, on schedule.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::options::Options;
use crate::read_into;

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const BEGIN: &str = concat!(
    r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"llama-3-8b","#,
    r#""choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}],"#
);
/// How many events may be sent at once before sockets are looked at.
const IN_A_ROW: usize = 64;

/// One connection to the endpoint.
pub(crate) struct Source {
    pub(crate) stream: TcpStream,
    /// Its request is here, and the response has begun.
    pub(crate) ready: bool,
    input: Vec<u8>,
    /// What the socket did not take.
    waiting: Vec<u8>,
}

impl Source {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, ready: false, input: Vec::new(), waiting: Vec::new() }
    }

    /// Its socket can be read or written.
    pub(crate) fn turn(&mut self) -> io::Result<()> {
        read_into(&mut self.stream, &mut self.input)?;
        if !self.ready && self.input.ends_with(b"\"stream\":true}") {
            self.ready = true;
            self.write(HEAD)?;
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.write(&waiting)
    }

    /// One event, dated `now`; one that does not count is dated 0.
    pub(crate) fn send(&mut self, now: Duration, counts: bool) -> io::Result<()> {
        let date = if counts { now.as_nanos() } else { 0 };
        let event = format!("{BEGIN}\"sent\":\"{date:016}\"}}\n\n");
        self.write(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
    }

    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        let mut rest = data;
        while self.waiting.is_empty() && !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(size) => rest = rest.get(size..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.waiting.extend_from_slice(rest);
        Ok(())
    }
}

/// When each stream's next event is due, since the start.
pub(crate) struct Schedule {
    phases: Vec<(Duration, usize)>,
    period: Duration,
    round: u32,
    place: usize,
    end: Duration,
}

impl Schedule {
    /// Every stream at its own moment of the period, at random but the same in every run; or all at once.
    pub(crate) fn new(options: &Options) -> Self {
        let period = Duration::from_secs_f64(1.0 / options.rate);
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut phases: Vec<(Duration, usize)> = (0..options.streams)
            .map(|number| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let part = if options.lockstep { 0 } else { u32::try_from(state >> 40).unwrap_or_default() };
                (period * part / (1 << 24), number)
            })
            .collect();
        phases.sort_unstable();
        Self { phases, period, round: 0, place: 0, end: options.time }
    }

    /// When the next event is due, and on which stream.
    pub(crate) fn next(&mut self) -> Option<(Duration, usize)> {
        if self.place == self.phases.len() {
            self.place = 0;
            self.round += 1;
        }
        let (phase, number) = *self.phases.get(self.place)?;
        self.place += 1;
        let due = self.period * self.round + phase;
        (due < self.end).then_some((due, number))
    }

    /// Sockets should be looked at now, whether or not events are overdue.
    pub(crate) fn breathes(&self) -> bool {
        self.place.is_multiple_of(IN_A_ROW)
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;
    use crate::options::Options;
    use std::time::Duration;

    fn events(arguments: &str) -> Vec<(Duration, usize)> {
        let line = format!("--listen 1 --streams 50 --rate 10 --seconds 2 {arguments}");
        let options = Options::parse(line.split_whitespace().map(str::to_owned)).unwrap();
        let mut schedule = Schedule::new(&options);
        std::iter::from_fn(|| schedule.next()).collect()
    }

    #[test]
    fn every_stream_sends_at_its_own_moment_and_at_the_rate() {
        let events = events("");
        assert_eq!(events.len(), 50 * 20);
        assert!(events.is_sorted_by_key(|(due, _)| *due));
        for stream in 0..50 {
            let due: Vec<_> = events.iter().filter(|event| event.1 == stream).map(|event| event.0).collect();
            assert_eq!(due.len(), 20);
            assert!(due.windows(2).all(|pair| pair[1] == pair[0] + Duration::from_millis(100)));
        }
        let moments: std::collections::BTreeSet<_> = events.iter().take(50).map(|event| event.0).collect();
        assert!(moments.len() > 45);
    }

    #[test]
    fn in_lockstep_all_send_at_once() {
        let events = events("--lockstep");
        assert!(events.chunks(50).all(|round| round.iter().all(|event| event.0 == round[0].0)));
    }
}
