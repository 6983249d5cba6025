//! Buffers lines until they are written.

use std::mem;

use super::line::write_line;
use super::record::Record;

/// Lines that wait to be written, in order. Lines beyond the limit are dropped.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    lines: u64,
    limit: usize,
    urgent: usize,
}

/// The result of pushing a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The line waits with others.
    Waits,
    /// The line is the first that waits: write it before long.
    First,
    /// Many lines wait now: write them at once.
    Urgent,
    /// There was no room for the line.
    Dropped,
}

impl Buffer {
    /// Makes a buffer of at most `limit` bytes. From a quarter of that on, pushing is [`Pushed::Urgent`].
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

    /// Takes all waiting lines: their bytes and their number.
    pub fn take(&mut self) -> (Vec<u8>, u64) {
        // Expect about as many bytes until the next time, so that the vector need not grow step by step.
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
