//! Finds the prefixes of a text among sorted strings of any lengths, with one search.

use super::levels::Levels;
use crate::table::ids::{PredicateId, narrow};

/// Sorted strings with their predicates. The prefixes of a text are found from the last string that does not sort after the
/// text: it may be one itself, and all others are prefixes of it.
#[derive(Clone, Debug)]
pub(super) struct Sorted {
    /// Length of the common prefix of all strings.
    common: usize,
    /// The key of each string: the eight bytes after the common prefix, padded with zeros, as a number that sorts as they do.
    keys: Levels,
    /// The predicate of each string.
    ids: Vec<PredicateId>,
    strings: Vec<Stored>,
    bytes: Vec<u8>,
    /// Whether any string is a prefix of another.
    nested: bool,
}

#[derive(Clone, Debug)]
struct Stored {
    /// Start in `bytes`.
    start: u32,
    length: u32,
    /// Position of the longest other string that is a prefix of this one (or equal), or [`NONE`].
    parent: u32,
}

const NONE: u32 = u32::MAX;

impl Sorted {
    /// Builds the table from sorted strings with their predicates, and the length of their common prefix.
    pub(super) fn build(strings: Vec<(Vec<u8>, PredicateId)>, common: usize) -> Self {
        let mut out = Self {
            common,
            keys: Levels::default(),
            ids: Vec::with_capacity(strings.len()),
            strings: Vec::with_capacity(strings.len()),
            bytes: Vec::new(),
            nested: false,
        };
        let mut keys = Vec::with_capacity(strings.len());
        for (bytes, id) in strings {
            // The parent is the previous string or one of its prefixes, if there is one.
            let mut parent = narrow(out.strings.len().wrapping_sub(1));
            while let Some(stored) = out.strings.get(parent as usize) {
                if bytes.starts_with(out.bytes(stored)) {
                    break;
                }
                parent = stored.parent;
            }
            out.nested |= parent != NONE;
            out.ids.push(id);
            keys.push(key(&bytes, common));
            let (start, length) = (narrow(out.bytes.len()), narrow(bytes.len()));
            out.bytes.extend_from_slice(&bytes);
            out.strings.push(Stored { start, length, parent });
        }
        out.keys = Levels::new(keys);
        out.bytes.shrink_to_fit();
        out
    }

    /// Calls `found` with the predicate of every string that is a prefix of `text`, which has the common prefix.
    pub(super) fn find(&self, text: &[u8], found: &mut impl FnMut(PredicateId)) {
        let key = key(text, self.common);
        let same = self.keys.first_from(key, &self.ids, 1);
        // Whole strings are compared only among those with the same key.
        let mut after = same;
        if self.keys.get(same) == Some(key) {
            let candidates = self.strings.get(same..).unwrap_or_default();
            let is_before = |stored: &Stored| self.key_of(stored) == key && self.bytes(stored) <= text;
            after += candidates.partition_point(is_before);
        }
        let mut at = narrow(after.wrapping_sub(1));
        // The key alone rules out most strings that are not prefixes.
        let nearest = self.keys.get(at as usize).unwrap_or_default();
        if !self.nested && key & filled(nearest) != nearest {
            return;
        }
        while let Some(stored) = self.strings.get(at as usize) {
            if self.begins(text, key, at as usize, stored)
                && let Some(id) = self.ids.get(at as usize)
            {
                found(*id);
            }
            at = stored.parent;
        }
    }

    /// Whether the string at a position is a prefix of a text that has this key and the common prefix.
    #[inline]
    fn begins(&self, text: &[u8], key: u64, at: usize, stored: &Stored) -> bool {
        let length = stored.length as usize;
        match (length.saturating_sub(self.common), self.keys.get(at)) {
            // The keys suffice, without reading the string's bytes.
            (own_length, Some(own)) if own_length <= 8 => {
                let mask = u64::MAX.checked_shl(narrow(64 - 8 * own_length)).unwrap_or_default();
                let different = (key ^ own) & mask;
                different == 0 && text.len() >= length
            }
            _ => text.starts_with(self.bytes(stored)),
        }
    }

    fn key_of(&self, stored: &Stored) -> u64 {
        key(self.bytes(stored), self.common)
    }

    fn bytes(&self, stored: &Stored) -> &[u8] {
        let start = stored.start as usize;
        self.bytes.get(start..start + stored.length as usize).unwrap_or_default()
    }
}

/// A mask for the bytes of a key up to the last one that is not 0.
#[inline]
fn filled(key: u64) -> u64 {
    u64::MAX.checked_shl(key.trailing_zeros() / 8 * 8).unwrap_or_default()
}

/// Eight bytes from an offset on, padded with zeros.
#[inline]
fn key(text: &[u8], from: usize) -> u64 {
    let tail = text.get(from..).unwrap_or_default();
    if let Some(chunk) = tail.first_chunk() {
        return u64::from_be_bytes(*chunk);
    }
    let missing = 8 * (8 - tail.len());
    if let Some(chunk) = text.last_chunk() {
        return u64::from_be_bytes(*chunk).checked_shl(narrow(missing)).unwrap_or_default();
    }
    tail.iter()
        .fold(0, |key, byte| key << 8 | u64::from(*byte))
        .checked_shl(narrow(missing))
        .unwrap_or_default()
}
