//! Lines that wait to be written.

use std::mem;

use super::line::write_line;
use super::record::Record;

/// Lines in the order in which they came, up to a bound. What finds no room is dropped.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    lines: u64,
    limit: usize,
    urgent: usize,
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
        Self { bytes: Vec::new(), lines: 0, limit, urgent: limit / 4 }
    }

    /// Adds a record's line.
    pub fn push(&mut self, record: &Record<'_>) -> Pushed {
        let before = self.bytes.len();
        write_line(record, &mut self.bytes);
        let after = self.bytes.len();
        if after > self.limit {
            self.bytes.truncate(before);
            return Pushed::Dropped;
        }
        self.lines += 1;
        match before {
            0 => Pushed::First,
            before if before < self.urgent && after >= self.urgent => Pushed::Urgent,
            _ => Pushed::Waits,
        }
    }

    /// Takes all that waits: the bytes, and how many lines they are.
    pub fn take(&mut self) -> (Vec<u8>, u64) {
        // As much will come until the next time: it need not grow bit by bit.
        let next = Vec::with_capacity(self.bytes.len());
        (mem::replace(&mut self.bytes, next), mem::take(&mut self.lines))
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::NOTHING;
    use super::*;

    #[test]
    fn lines_wait_in_order_up_to_a_bound() {
        use Pushed::{Dropped, First, Urgent, Waits};
        let mut one = Vec::new();
        write_line(&NOTHING, &mut one);
        let mut buffer = Buffer::new(8 * one.len() + 1);
        let pushed: Vec<Pushed> = (0..10).map(|_| buffer.push(&NOTHING)).collect();
        assert_eq!(pushed, [First, Urgent, Waits, Waits, Waits, Waits, Waits, Waits, Dropped, Dropped]);
        assert_eq!(buffer.take(), (one.repeat(8), 8));
        assert_eq!(buffer.take(), (Vec::new(), 0));
        assert_eq!(buffer.push(&NOTHING), First);
        assert_eq!(buffer.take(), (one, 1));
    }
}
