//! Byte strings of any lengths, of which those that a text begins with are found by one search in their order.

use super::levels::Levels;
use crate::table::ids::{PredicateId, narrow};

/// Strings with their predicates, sorted. Those that a text begins with are the greatest string that is not after it,
/// where that is one, and those that this one begins with.
#[derive(Clone, Debug)]
pub(super) struct Sorted {
    /// How many bytes all of them begin with alike.
    common: usize,
    /// By string, the eight bytes behind the common ones, as a number that sorts as they do; those that are missing are 0.
    keys: Levels,
    /// By string.
    ids: Vec<PredicateId>,
    strings: Vec<Stored>,
    bytes: Vec<u8>,
    /// Whether some begin with others.
    nested: bool,
}

#[derive(Clone, Debug)]
struct Stored {
    /// Where its bytes are.
    start: u32,
    length: u32,
    /// Position of the longest other string that this one begins with, or [`NONE`]. An equal one counts.
    parent: u32,
}

const NONE: u32 = u32::MAX;

impl Sorted {
    /// From strings in order, each with a predicate, that all begin with the same `common` bytes.
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
            // The one before is a prefix, or one of its prefixes is, or none is.
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

    /// Calls `found` with the predicate of every string that `text` begins with, the common bytes being in it.
    pub(super) fn find(&self, text: &[u8], found: &mut impl FnMut(PredicateId)) {
        let key = key(text, self.common);
        let same = self.keys.first_from(key, &self.ids, 1);
        // Only among strings with the same key does the whole string say which is greater.
        let mut after = same;
        if self.keys.get(same) == Some(key) {
            let behind = self.strings.get(same..).unwrap_or_default();
            let is_before = |stored: &Stored| self.key_of(stored) == key && self.bytes(stored) <= text;
            after += behind.partition_point(is_before);
        }
        let mut at = narrow(after.wrapping_sub(1));
        // Most that are no prefixes can be told by their keys, without a look at anything else.
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

    /// Whether a text of this key begins with the string at a position, the common bytes being in it.
    #[inline]
    fn begins(&self, text: &[u8], key: u64, at: usize, stored: &Stored) -> bool {
        let length = stored.length as usize;
        match (length.saturating_sub(self.common), self.keys.get(at)) {
            // The keys say all of it, and the string's bytes can stay where they are.
            (rest, Some(own)) if rest <= 8 => {
                let different = (key ^ own) & u64::MAX.checked_shl(narrow(64 - 8 * rest)).unwrap_or_default();
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

/// The bytes of a key up to the last one that is not 0.
#[inline]
fn filled(key: u64) -> u64 {
    u64::MAX.checked_shl(key.trailing_zeros() / 8 * 8).unwrap_or_default()
}

/// Eight bytes from an offset on, those that are missing being 0.
#[inline]
fn key(text: &[u8], from: usize) -> u64 {
    let rest = text.get(from..).unwrap_or_default();
    if let Some(chunk) = rest.first_chunk() {
        return u64::from_be_bytes(*chunk);
    }
    let missing = 8 * (8 - rest.len());
    if let Some(chunk) = text.last_chunk() {
        return u64::from_be_bytes(*chunk).checked_shl(narrow(missing)).unwrap_or_default();
    }
    rest.iter()
        .fold(0, |key, byte| key << 8 | u64::from(*byte))
        .checked_shl(narrow(missing))
        .unwrap_or_default()
}
