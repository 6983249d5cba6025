//! Byte strings of few lengths, of which those that a text begins with are found by a look-up for each length.
//!
//! A look-up takes one access to a small table, and none of them waits for another: what tells that a string is not there
//! stays in a cache close to the processor, be there ten strings or 100,000. Most lengths take none, as the string of that
//! length would end with a byte that none ends with: names in paths end with the same separator.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

use super::narrow;
use super::predicates::PredicateId;
use super::values::Values;

/// How long the strings may be.
const LONGEST: usize = 64;

/// Strings with their predicates, by length.
#[derive(Clone, Debug, Default)]
pub(super) struct ByLength {
    lengths: Vec<Length>,
    hasher: RandomState,
    places: Values,
    strings: Vec<Stored>,
    /// Of the strings that have several.
    ids: Vec<PredicateId>,
    /// Of the strings that are too long for their places.
    bytes: Vec<u8>,
}

/// A length that strings have.
#[derive(Clone, Copy, Debug)]
struct Length {
    length: usize,
    /// The bytes that they end with, a bit for each.
    lasts: [u64; 4],
}

/// A string.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
struct Stored {
    head: Head,
    length: u32,
    /// Where its bytes are, if it is longer than its head.
    bytes: u32,
    /// How many predicates it has; the only one, or where they are.
    count: u32,
    id: u32,
}

/// Up to 16 bytes that a string begins with, followed by zeros.
type Head = [u64; 2];

const HEAD: usize = size_of::<Head>();

impl ByLength {
    /// From strings in order, each with a predicate, less what all of them begin with, which are `common` bytes. `None` if
    /// they are of more than so many lengths or too long.
    pub(super) fn build<'s>(
        strings: &'s [(Vec<u8>, PredicateId)],
        common: usize,
        lengths: usize,
    ) -> Option<Self> {
        let rest = |(bytes, _): &'s (Vec<u8>, PredicateId)| bytes.get(common..).unwrap_or_default();
        let mut out = Self::default();
        let mut stored = Vec::with_capacity(strings.len());
        for same in strings.chunk_by(|one, next| one.0 == next.0) {
            let Some(bytes) = same.first().map(rest) else { continue };
            out.note(bytes);
            if bytes.len() > LONGEST || out.lengths.len() > lengths {
                return None;
            }
            let at = narrow(out.bytes.len());
            if bytes.len() > HEAD {
                out.bytes.extend_from_slice(bytes);
            }
            let id = match same {
                [(_, id)] => *id,
                _ => narrow(out.ids.len()),
            };
            if same.len() > 1 {
                out.ids.extend(same.iter().map(|(_, id)| *id));
            }
            let head = first(head(bytes, 0), bytes.len());
            let hash = out.hash(bytes, head);
            let (length, count) = (narrow(bytes.len()), narrow(same.len()));
            stored.push((hash, Stored { head, length, bytes: at, count, id }));
        }
        out.lengths.sort_unstable_by_key(|length| length.length);
        let hashes: Vec<u64> = stored.iter().map(|(hash, _)| *hash).collect();
        let (places, order) = Values::build(&hashes);
        out.places = places;
        out.strings =
            order.iter().filter_map(|at| stored.get(*at as usize)).map(|(_, stored)| *stored).collect();
        out.lengths.shrink_to_fit();
        out.bytes.shrink_to_fit();
        out.ids.shrink_to_fit();
        Some(out)
    }

    /// Notes the length of a string.
    fn note(&mut self, bytes: &[u8]) {
        let known = self.lengths.iter().position(|length| length.length == bytes.len());
        let at = known.unwrap_or_else(|| {
            // The empty one has no last byte, and is looked up always.
            let lasts = [if bytes.is_empty() { u64::MAX } else { 0 }; 4];
            self.lengths.push(Length { length: bytes.len(), lasts });
            self.lengths.len() - 1
        });
        if let (Some(length), Some(last)) = (self.lengths.get_mut(at), bytes.last())
            && let Some(bits) = length.lasts.get_mut(usize::from(last >> 6))
        {
            *bits |= 1 << (last & 63);
        }
    }

    #[inline]
    fn hash(&self, bytes: &[u8], head: Head) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        if bytes.len() <= HEAD {
            let [low, high] = head;
            hasher.write_u128(u128::from(low) | u128::from(high) << 64);
        } else {
            hasher.write(bytes);
        }
        hasher.finish()
    }

    /// Calls `found` with the number of every string that a text begins with from an offset on.
    #[inline]
    pub(super) fn find(&self, text: &[u8], from: usize, found: &mut impl FnMut(u32)) {
        let rest = text.get(from..).unwrap_or_default();
        let whole = head(text, from);
        for length in &self.lengths {
            let Some(bytes) = rest.get(..length.length) else { break };
            let last = bytes.last().copied().unwrap_or_default();
            if length.lasts.get(usize::from(last >> 6)).is_none_or(|bits| bits >> (last & 63) & 1 == 0) {
                continue;
            }
            let head = first(whole, bytes.len());
            if let Some(search) = self.places.search(self.hash(bytes, head))
                && let Some(place) = self.places.find(search, |place| self.is(place, bytes, head))
            {
                found(place);
            }
        }
    }

    #[inline]
    fn is(&self, number: u32, bytes: &[u8], head: Head) -> bool {
        let Some(stored) = self.strings.get(number as usize) else { return false };
        stored.head == head
            && stored.length as usize == bytes.len()
            && (bytes.len() <= HEAD || {
                let at = stored.bytes as usize;
                self.bytes.get(at..at + bytes.len()) == Some(bytes)
            })
    }

    /// Calls `found` with each predicate of the string of that number.
    #[inline]
    pub(super) fn tell(&self, number: u32, found: &mut impl FnMut(PredicateId)) {
        let Some(stored) = self.strings.get(number as usize) else { return };
        let (first, count) = (stored.id, stored.count as usize);
        if count == 1 {
            found(first);
        } else {
            self.ids.iter().skip(first as usize).take(count).for_each(|id| found(*id));
        }
    }
}

/// The first 16 bytes of a text from an offset on, those that are missing being 0.
#[inline]
fn head(text: &[u8], from: usize) -> Head {
    let rest = text.get(from..).unwrap_or_default();
    let (low, more) = match rest.split_first_chunk() {
        Some((low, more)) => (u64::from_le_bytes(*low), more),
        None => return [last(text, rest.len()), 0],
    };
    match more.first_chunk() {
        Some(high) => [low, u64::from_le_bytes(*high)],
        None => [low, last(text, more.len())],
    }
}

/// So many of the last bytes of a text, fewer than eight, followed by zeros.
#[inline]
pub(super) fn last(text: &[u8], length: usize) -> u64 {
    let shift = narrow(64 - 8 * length.min(8));
    if let Some(chunk) = text.last_chunk() {
        return u64::from_le_bytes(*chunk).checked_shr(shift).unwrap_or_default();
    }
    // The whole text is that short.
    let bytes = text.iter().rev().take(length);
    bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// So many bytes of a head; all where it has not as many.
#[inline]
fn first([low, high]: Head, length: usize) -> Head {
    let mask = |bytes: usize| u64::MAX.checked_shr(narrow(64 - 8 * bytes.min(8))).unwrap_or_default();
    [low & mask(length), high & mask(length.saturating_sub(8))]
}
