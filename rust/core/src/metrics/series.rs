//! Series of messages by route, cluster and class of status.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::buckets::{BUCKETS, bucket, nanos};
use super::layout::{ENTRY, FIRST_BYTE_AT, HISTOGRAM, OVERFLOW, SERIES, SERIES_AT};
use crate::hash::mix;

/// The most slots that are tried for a combination.
const TRIES: usize = 64;
/// Set in every combination's word, so that none is zero.
const USED: u64 = 1 << 63;

/// The counted facts of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The status of the response; 0 if the client got none.
    pub status: u16,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// Number of attempts.
    pub attempts: u32,
    /// Time from the request's head to the first byte of an endpoint's response.
    pub first_byte: Option<Duration>,
    /// Time from the request's head to the end of the response.
    pub total: Duration,
}

/// One series.
pub(super) struct Series<'a> {
    cells: &'a [AtomicU64],
}

/// The slots of a route and a cluster, and the class of a status: 1 to 5, or 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Combination {
    pub(super) route: u16,
    pub(super) cluster: u16,
    pub(super) class: u8,
}

impl Combination {
    fn word(self) -> u64 {
        USED | u64::from(self.class) << 32 | u64::from(self.cluster) << 16 | u64::from(self.route)
    }

    fn of(word: u64) -> Option<Self> {
        let [r0, r1, c0, c1, class, ..] = word.to_le_bytes();
        let combination =
            Self { route: u16::from_le_bytes([r0, r1]), cluster: u16::from_le_bytes([c0, c1]), class };
        (word & USED != 0).then_some(combination)
    }
}

fn class(status: u16) -> u8 {
    u8::try_from(status / 100).ok().filter(|class| usize::from(*class) < OVERFLOW).unwrap_or(0)
}

impl<'a> Series<'a> {
    /// The series of a combination. A new combination claims a slot, or shares the overflow series of its class if it finds
    /// none.
    pub(super) fn of(cells: &'a [AtomicU64], route: u16, cluster: u16, status: u16) -> Self {
        let class = class(status);
        let word = Combination { route, cluster, class }.word();
        let start = usize::try_from(mix(word) % SERIES as u64).unwrap_or(0);
        for slot in (start..start + TRIES).map(|slot| slot % SERIES) {
            let series = Self::at(cells, slot);
            let Some(key) = series.cells.first() else { break };
            let found = match key.load(Relaxed) {
                0 => key.compare_exchange(0, word, Relaxed, Relaxed).unwrap_or_else(|other| other),
                found => found,
            };
            if found == 0 || found == word {
                return series;
            }
        }
        Self::at(cells, SERIES + usize::from(class))
    }

    fn at(cells: &'a [AtomicU64], slot: usize) -> Self {
        let at = SERIES_AT + slot * ENTRY;
        Self { cells: cells.get(at..at + ENTRY).unwrap_or_default() }
    }

    pub(super) fn add(&self, message: &Message) {
        let [_, bytes_in, bytes_out, attempts, retries, histogram @ ..] = self.cells else { return };
        observe(histogram, message.total);
        for (cell, count) in [
            (bytes_in, message.bytes_in),
            (bytes_out, message.bytes_out),
            (attempts, u64::from(message.attempts)),
            (retries, u64::from(message.attempts.saturating_sub(1))),
        ] {
            if count > 0 {
                cell.fetch_add(count, Relaxed);
            }
        }
    }

    /// Every series with counts, and its combination; for an overflow series, only the class of status.
    pub(super) fn all(cells: &'a [AtomicU64]) -> impl Iterator<Item = (Result<Combination, u8>, Counted)> {
        (0..SERIES + OVERFLOW).filter_map(|slot| {
            let series = Self::at(cells, slot);
            let whose = match slot.checked_sub(SERIES) {
                None => Ok(Combination::of(series.cells.first()?.load(Relaxed))?),
                Some(class) => Err(u8::try_from(class).ok()?),
            };
            let counted = Counted::of(series.cells)?;
            (counted.duration.count() > 0).then_some((whose, counted))
        })
    }
}

/// Adds a duration to a histogram.
fn observe(cells: &[AtomicU64], duration: Duration) {
    let nanos = nanos(duration);
    let Some((sum, buckets)) = cells.split_first() else { return };
    if let Some(bucket) = buckets.get(bucket(nanos)) {
        sum.fetch_add(nanos, Relaxed);
        bucket.fetch_add(1, Relaxed);
    }
}

/// Adds a time to the first byte to a cluster's histogram.
pub(super) fn first_byte(cells: &[AtomicU64], cluster: u16, duration: Duration) {
    observe(first_byte_cells(cells, cluster), duration);
}

/// The histogram of a cluster's times to the first byte.
pub(super) fn first_bytes(cells: &[AtomicU64], cluster: u16) -> Histogram {
    Histogram::of(first_byte_cells(cells, cluster))
}

fn first_byte_cells(cells: &[AtomicU64], cluster: u16) -> &[AtomicU64] {
    let at = FIRST_BYTE_AT + usize::from(cluster) * HISTOGRAM;
    cells.get(at..at + HISTOGRAM).unwrap_or_default()
}

/// The counts of a series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) attempts: u64,
    pub(super) retries: u64,
    pub(super) duration: Histogram,
}

/// A histogram's counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Histogram {
    /// Sum of all durations, in nanoseconds.
    pub(super) sum: u64,
    pub(super) buckets: [u64; BUCKETS],
}

impl Counted {
    fn of(cells: &[AtomicU64]) -> Option<Self> {
        let [_, bytes_in, bytes_out, attempts, retries, histogram @ ..] = cells else { return None };
        let [bytes_in, bytes_out, attempts, retries] =
            [bytes_in, bytes_out, attempts, retries].map(|cell| cell.load(Relaxed));
        Some(Self { bytes_in, bytes_out, attempts, retries, duration: Histogram::of(histogram) })
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.attempts += other.attempts;
        self.retries += other.retries;
        self.duration.add(&other.duration);
    }
}

impl Histogram {
    fn of(cells: &[AtomicU64]) -> Self {
        let mut out = Self::default();
        let Some((sum, buckets)) = cells.split_first() else { return out };
        out.sum = sum.load(Relaxed);
        for (to, from) in out.buckets.iter_mut().zip(buckets) {
            *to = from.load(Relaxed);
        }
        out
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.sum = self.sum.wrapping_add(other.sum);
        for (to, from) in self.buckets.iter_mut().zip(other.buckets) {
            *to += from;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use proptest::prelude::*;

    use super::*;
    use crate::metrics::zeros;

    proptest! {
        #[test]
        fn combinations_are_what_they_were_made_of(route: u16, cluster: u16, class in 0..6_u8) {
            let combination = Combination { route, cluster, class };
            prop_assert_eq!(Combination::of(combination.word()), Some(combination));
        }
    }

    #[test]
    fn a_status_has_a_class() {
        assert_eq!(
            [0, 99, 100, 200, 299, 404, 504, 599, 600, 999, u16::MAX].map(class),
            [0, 0, 1, 2, 2, 4, 5, 5, 0, 0, 0]
        );
    }

    #[test]
    fn what_finds_no_slot_counts_under_its_class() {
        let cells = zeros();
        let message = Message { status: 200, attempts: 1, ..Message::default() };
        for route in 0..6000 {
            Series::of(&cells, route, 1, 200).add(&message);
            Series::of(&cells, route, 1, 200).add(&message);
        }
        let all: Vec<_> = Series::all(&cells).collect();
        assert_eq!(all.iter().map(|(_, counted)| counted.duration.count()).sum::<u64>(), 12_000);
        let named: HashSet<u16> = all.iter().filter_map(|(whose, _)| Some(whose.ok()?.route)).collect();
        assert!(named.len() > SERIES * 9 / 10 && named.len() <= SERIES);
        let others: Vec<_> = all.iter().filter(|(whose, _)| *whose == Err(2)).collect();
        assert_eq!(others.len(), 1);
        assert_eq!(others[0].1.duration.count(), 2 * (6000 - named.len() as u64));
    }

    #[test]
    fn threads_lose_nothing() {
        let cells = zeros();
        let message = Message {
            status: 404,
            bytes_in: 3,
            bytes_out: 5,
            attempts: 2,
            first_byte: None,
            total: Duration::from_millis(3),
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..10_000_u16 {
                        Series::of(&cells, n % 10, 0, 404).add(&message);
                    }
                });
            }
        });
        let all: Vec<_> = Series::all(&cells).collect();
        assert_eq!(all.len(), 10);
        for (whose, counted) in all {
            assert!(whose.unwrap().route < 10);
            assert_eq!(counted.duration.count(), 4_000);
            assert_eq!(counted.duration.buckets[3], 4_000);
            assert_eq!(counted.duration.sum, 4_000 * 3_000_000);
            let Counted { bytes_in, bytes_out, attempts, retries, .. } = counted;
            assert_eq!((bytes_in, bytes_out, attempts, retries), (12_000, 20_000, 8_000, 4_000));
        }
    }
}
