//! Lines that wait to be written.

use std::mem;

use super::line::write_line;
use super::record::Record;

/// Lines in the order in which they came, up to a bound. What finds no room is dropped and counted.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    lines: u64,
    dropped: u64,
    limit: usize,
    urgent: usize,
    /// Of what was taken last, so that it need not be allocated again.
    spare: Vec<u8>,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits with others.
    Waits,
    /// It is the first that waits: whoever writes should come before long.
    First,
    /// So much waits now that it should be written soon.
    Urgent,
    /// There was no room for it.
    Dropped,
}

impl Buffer {
    /// For at most `limit` bytes. Above a quarter of that they should be written soon.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), lines: 0, dropped: 0, limit, urgent: limit / 4, spare: Vec::new() }
    }

    /// Adds a record's line.
    pub fn push(&mut self, record: &Record<'_>) -> Pushed {
        let before = self.bytes.len();
        write_line(record, &mut self.bytes);
        let after = self.bytes.len();
        if after > self.limit {
            self.bytes.truncate(before);
            self.dropped += 1;
            return Pushed::Dropped;
        }
        self.lines += 1;
        match before {
            0 => Pushed::First,
            before if before < self.urgent && after >= self.urgent => Pushed::Urgent,
            _ => Pushed::Waits,
        }
    }

    /// Takes all that waits: the bytes, how many lines they are, and how many were dropped since the last time.
    /// `done` is what was taken before, whose memory is used again.
    pub fn take(&mut self, done: Vec<u8>) -> (Vec<u8>, u64, u64) {
        self.spare = done;
        self.spare.clear();
        // A burst should not stay for ever.
        self.spare.shrink_to(self.urgent);
        let bytes = mem::replace(&mut self.bytes, mem::take(&mut self.spare));
        (bytes, mem::take(&mut self.lines), mem::take(&mut self.dropped))
    }
}
