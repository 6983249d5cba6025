//! What keys are told apart by.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

/// How many bytes of a key a probe holds.
pub(super) const HELD: usize = 16;

/// For each length, which bits of two words a key of it fills.
static FILLED: [(u64, u64); HELD + 1] = {
    let mut filled = [(0, 0); HELD + 1];
    let mut length = 1;
    while let Some((_, rest)) = filled.split_at_mut_checked(length) {
        let Some((words, _)) = rest.split_first_mut() else { break };
        *words = split(u128::MAX >> (128 - 8 * length));
        length += 1;
    }
    filled
};

/// A key, ready to be looked up: most are equal exactly if their probes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Probe {
    /// Under a random seed.
    pub(super) hash: u64,
    /// The first 16 bytes, followed by zeros.
    words: (u64, u64),
    length: u32,
}

/// The seeds of the hash, so that no document can choose keys that collide.
#[derive(Clone, Debug)]
pub(super) struct Seeds {
    words: (u64, u64),
    long: RandomState,
}

impl Seeds {
    pub(super) fn new() -> Self {
        let long = RandomState::default();
        Self { words: (long.hash_one(0), long.hash_one(1)), long }
    }

    /// The probe of the key that is `length` bytes at `start`, if a probe holds that many.
    #[inline(always)]
    pub(super) fn probe_short(&self, bytes: &[u8], start: usize, length: usize) -> Option<Probe> {
        let words = words(bytes, start, length)?;
        Some(Probe { hash: self.hash_short(words, length), words, length: super::narrow(length) })
    }

    /// The probe of any key.
    pub(super) fn probe(&self, key: &[u8]) -> Probe {
        let words = key.first_chunk().map_or_else(|| last_words(key, 0), halves);
        let hash = if key.len() <= HELD {
            self.hash_short(words, key.len())
        } else {
            let mut hasher = self.long.build_hasher();
            hasher.write(key);
            hasher.finish()
        };
        Probe { hash, words, length: super::narrow(key.len()) }
    }

    #[inline(always)]
    fn hash_short(&self, words: (u64, u64), length: usize) -> u64 {
        let (a, b) = self.words;
        let product = u128::from(words.0 ^ a) * u128::from(words.1 ^ b ^ length as u64);
        let (low, high) = split(product);
        low ^ high
    }
}

/// The string that is `length` bytes at `start`, followed by zeros.
#[inline(always)]
pub(super) fn words(bytes: &[u8], start: usize, length: usize) -> Option<(u64, u64)> {
    let filled = filled(length)?;
    let (low, high) = words_at(bytes, start);
    Some((low & filled.0, high & filled.1))
}

/// Which bits of two words a string of that length fills; none if it is longer.
#[inline(always)]
pub(super) fn filled(length: usize) -> Option<(u64, u64)> {
    FILLED.get(length).copied()
}

/// The 16 bytes at `start`, those behind the end being zeros; all of them, if it is far behind.
#[inline(always)]
pub(super) fn words_at(bytes: &[u8], start: usize) -> (u64, u64) {
    let chunk = bytes.get(start..start.wrapping_add(HELD)).and_then(<[u8]>::first_chunk);
    chunk.map_or_else(|| last_words(bytes, start), halves)
}

/// The bytes from `start` on, fewer than a probe holds, followed by zeros.
#[inline(never)]
fn last_words(bytes: &[u8], start: usize) -> (u64, u64) {
    let rest = bytes.get(start..).unwrap_or_default();
    if let Some(chunk) = bytes.last_chunk::<HELD>() {
        let missing = HELD.saturating_sub(rest.len());
        return split(
            u128::from_le_bytes(*chunk).checked_shr(8 * super::narrow(missing)).unwrap_or_default(),
        );
    }
    let mut padded = [0; HELD];
    for (to, from) in padded.iter_mut().zip(rest) {
        *to = *from;
    }
    halves(&padded)
}

#[inline(always)]
fn halves(chunk: &[u8; HELD]) -> (u64, u64) {
    split(u128::from_le_bytes(*chunk))
}

/// The low half and the high one.
#[expect(clippy::cast_possible_truncation)]
const fn split(bits: u128) -> (u64, u64) {
    (bits as u64, (bits >> 64) as u64)
}

#[inline(always)]
fn has_backslash(words: (u64, u64)) -> bool {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    const BACKSLASHES: u64 = u64::from_ne_bytes([b'\\'; 8]);
    let (a, b) = (words.0 ^ BACKSLASHES, words.1 ^ BACKSLASHES);
    ((a.wrapping_sub(ONES) & !a) | (b.wrapping_sub(ONES) & !b)) & HIGHS != 0
}

/// Whether there are escapes in a string.
#[inline(always)]
pub(super) fn has_escapes(body: &[u8], start: usize, end: usize) -> bool {
    match words(body, start, end - start) {
        Some(words) => has_backslash(words),
        None => memchr::memchr(b'\\', body.get(start..end).unwrap_or_default()).is_some(),
    }
}

impl Probe {
    /// One of 64 bits, by which most different keys differ.
    #[inline(always)]
    pub(super) fn bit(&self) -> u64 {
        1 << (self.hash & 63)
    }

    /// Whether there is a backslash in the first 16 bytes.
    #[inline(always)]
    pub(super) fn has_backslash(&self) -> bool {
        has_backslash(self.words)
    }

    /// The first 16 bytes, followed by zeros.
    #[inline(always)]
    pub(super) fn words(&self) -> (u64, u64) {
        self.words
    }

    /// Length of the key in bytes.
    #[inline(always)]
    pub(super) fn length(&self) -> u32 {
        self.length
    }

    /// Whether the probe holds the whole key.
    #[inline(always)]
    pub(super) fn is_whole(&self) -> bool {
        self.length as usize <= HELD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_that_are_there_and_zeros() {
        let bytes: Vec<u8> = (1..=40).collect();
        for length in 0..bytes.len() {
            let bytes = &bytes[..length];
            for start in
                (0..60).chain([usize::MAX - 15, usize::MAX - 16, usize::MAX, u32::MAX as usize - 3, 1 << 29])
            {
                let mut expected = [0; HELD];
                expected.iter_mut().zip(bytes.iter().skip(start)).for_each(|(to, from)| *to = *from);
                assert_eq!(words_at(bytes, start), halves(&expected), "{length} {start}");
            }
        }
    }
}
