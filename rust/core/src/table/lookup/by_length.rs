//! Finds the prefixes of a text among strings of few lengths, with one look-up for each length.
//!
//! A look-up accesses one small table, and no look-up waits for another. The part of the table that shows that a string is
//! missing stays in a cache close to the processor, whether there are ten strings or 100,000. Most lengths need no look-up,
//! because no string of that length ends with the byte that the text has there: prefixes of paths, for example, mostly end
//! with the same separator.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

use super::hash_order::HashOrder;
use super::prefetch::prefetch_handle;
use crate::table::ids::{PredicateId, narrow};

/// The longest string, in bytes.
const LONGEST: u8 = 64;

/// Strings with their predicates, by length.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByLength {
    lengths: Vec<Length>,
    hasher: RandomState,
    order: HashOrder,
    strings: Vec<Stored>,
    /// Lists of predicates, each preceded by its length, for strings with several predicates.
    ids: Vec<PredicateId>,
    /// The bytes of strings that are longer than their heads, concatenated.
    bytes: Vec<u8>,
}

/// A length of strings.
#[derive(Clone, Copy, Debug)]
struct Length {
    length: usize,
    /// A bit for each byte that a string of this length ends with.
    lasts: [u64; 4],
}

/// A string.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
struct Stored {
    /// The handle of its only predicate (see [`Predicates::handle`](crate::table::index::predicates::Predicates::handle)), or
    /// 0.
    handle: usize,
    head: Head,
    length: u8,
    /// Whether the string has only one predicate.
    is_lone: bool,
    /// Start in `bytes`, if the string is longer than its head.
    bytes: u32,
    /// The only predicate, or the start of the list in `ids`.
    id: u32,
}

const _: () = assert!(size_of::<Stored>() == 32);

/// The first 12 bytes of a string, padded with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, packed(4))]
struct Head {
    low: u64,
    high: u32,
}

const HEAD: usize = size_of::<Head>();

impl ByLength {
    /// Builds the table from sorted strings with their predicates, without their common prefix of `common` bytes. `None` if the
    /// strings have more than `lengths` lengths, or if one is too long.
    pub(super) fn build<'s>(
        strings: &'s [(Vec<u8>, PredicateId)],
        common: usize,
        lengths: usize,
    ) -> Option<Self> {
        let without_common = |(bytes, _): &'s (Vec<u8>, PredicateId)| bytes.get(common..).unwrap_or_default();
        let mut out = Self::default();
        let mut stored = Vec::with_capacity(strings.len());
        for same in strings.chunk_by(|one, next| one.0 == next.0) {
            let Some(bytes) = same.first().map(without_common) else { continue };
            out.note(bytes);
            let length = u8::try_from(bytes.len()).ok().filter(|length| *length <= LONGEST)?;
            if out.lengths.len() > lengths {
                return None;
            }
            let at = narrow(out.bytes.len());
            if bytes.len() > HEAD {
                out.bytes.extend_from_slice(bytes);
            }
            let (id, is_lone) = match same {
                [(_, id)] => (*id, true),
                _ => (narrow(out.ids.len()), false),
            };
            if !is_lone {
                out.ids.push(narrow(same.len()));
                out.ids.extend(same.iter().map(|(_, id)| *id));
            }
            let head = Head::of(bytes, 0).first(bytes.len());
            let hash = out.hash(bytes, head);
            stored.push((hash, Stored { handle: 0, head, length, is_lone, bytes: at, id }));
        }
        out.lengths.sort_unstable_by_key(|length| length.length);
        let hashes: Vec<u64> = stored.iter().map(|(hash, _)| *hash).collect();
        let (hash_order, order) = HashOrder::build(&hashes);
        out.order = hash_order;
        out.strings = Vec::with_capacity(stored.len());
        out.strings.extend(order.iter().filter_map(|at| stored.get(*at as usize)).map(|(_, stored)| *stored));
        out.lengths.shrink_to_fit();
        out.bytes.shrink_to_fit();
        out.ids.shrink_to_fit();
        Some(out)
    }

    /// Records the length and the last byte of a string.
    fn note(&mut self, bytes: &[u8]) {
        let known = self.lengths.iter().position(|length| length.length == bytes.len());
        let at = known.unwrap_or_else(|| {
            // The empty string has no last byte, and is always looked up.
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
            hasher.write_u128(u128::from(head.low) | u128::from(head.high) << 64);
        } else {
            hasher.write(bytes);
        }
        hasher.finish()
    }

    /// Calls `found` with the number of every string that is a prefix of `text[from..]`.
    #[inline]
    pub(super) fn find(&self, text: &[u8], from: usize, found: &mut impl FnMut(u32)) {
        let tail = text.get(from..).unwrap_or_default();
        let longest_head = Head::of(text, from);
        for length in &self.lengths {
            let Some(bytes) = tail.get(..length.length) else { break };
            let last = bytes.last().copied().unwrap_or_default();
            if length.lasts.get(usize::from(last >> 6)).is_none_or(|bits| bits >> (last & 63) & 1 == 0) {
                continue;
            }
            let head = longest_head.first(bytes.len());
            if let Some(search) = self.order.search(self.hash(bytes, head))
                && let Some(position) = self.order.find(search, |position| self.is(position, bytes, head))
            {
                if let Some(handle) = self.strings.get(position as usize).map(|stored| stored.handle) {
                    prefetch_handle(handle);
                }
                found(position);
            }
        }
    }

    #[inline]
    fn is(&self, number: u32, bytes: &[u8], head: Head) -> bool {
        let Some(stored) = self.strings.get(number as usize) else { return false };
        stored.head == head
            && usize::from(stored.length) == bytes.len()
            && (bytes.len() <= HEAD || {
                let at = stored.bytes as usize;
                self.bytes.get(at..at + bytes.len()) == Some(bytes)
            })
    }

    /// Calls `found` with each predicate of the string with this number.
    #[inline]
    pub(super) fn report(&self, number: u32, found: &mut impl FnMut(PredicateId)) {
        let Some(stored) = self.strings.get(number as usize) else { return };
        if stored.is_lone {
            return found(stored.id);
        }
        let list = self.ids.get(stored.id as usize..).and_then(<[u32]>::split_first);
        let ids = list.into_iter().flat_map(|(count, ids)| ids.iter().take(*count as usize));
        ids.for_each(|id| found(*id));
    }

    /// Sets handles, by predicate.
    pub(super) fn set_handles(&mut self, handle: impl Fn(PredicateId) -> usize) {
        for stored in self.strings.iter_mut().filter(|stored| stored.is_lone) {
            stored.handle = handle(stored.id);
        }
    }
}

impl Head {
    /// The head of `text[from..]`, padded with zeros.
    #[inline]
    fn of(text: &[u8], from: usize) -> Self {
        let tail = text.get(from..).unwrap_or_default();
        let Some((low, more)) = tail.split_first_chunk() else {
            return Self { low: last(text, tail.len()), high: 0 };
        };
        let high = more
            .first_chunk()
            .map_or_else(|| low_half(last(text, more.len())), |high| u32::from_le_bytes(*high));
        Self { low: u64::from_le_bytes(*low), high }
    }

    /// The first `length` bytes of the head; the others become 0.
    #[inline]
    fn first(self, length: usize) -> Self {
        let mask = |bytes: usize| u64::MAX.checked_shr(narrow(64 - 8 * bytes.min(8))).unwrap_or_default();
        Self { low: self.low & mask(length), high: self.high & low_half(mask(length.saturating_sub(8))) }
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation)] // Only the lower half is wanted.
fn low_half(number: u64) -> u32 {
    number as u32
}

/// The last `length` bytes of a text, at most eight, as a number padded with zeros.
#[inline]
pub(super) fn last(text: &[u8], length: usize) -> u64 {
    let shift = narrow(64 - 8 * length.min(8));
    if let Some(chunk) = text.last_chunk() {
        return u64::from_le_bytes(*chunk).checked_shr(shift).unwrap_or_default();
    }
    // The whole text has fewer than eight bytes.
    let bytes = text.iter().rev().take(length);
    bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
}
