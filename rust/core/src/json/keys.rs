//! The keys of the objects that are open, and the search for duplicates among them.
//!
//! Keys are kept on one stack, as the objects are nested, and an object's own are compared when it closes. So
//! there is one table for all objects, filled and cleared in proportion to the object that needs it.

use std::ops::Range;

use super::escape::unescape_into;
use super::{DuplicateKeys, narrow};

/// Up to this many keys are compared in pairs, more through a table.
const FEW: usize = 16;
/// `Key::unescaped` of a key that has no escapes: its text is in the body.
const IN_BODY: u32 = u32::MAX;
const EMPTY: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Key {
    /// Offset of the opening quote in the body.
    quote: u32,
    /// Length of the unescaped key in bytes.
    length: u32,
    /// Offset of the key in [`Keys::unescaped`], or [`IN_BODY`].
    unescaped: u32,
    /// The upper half of its hash, under the trie's random seed.
    hash: u32,
    /// How many leaves had been recorded when its value began.
    leaves: usize,
}

/// Where an object's keys begin.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mark {
    keys: usize,
    unescaped: usize,
}

#[derive(Debug, Default)]
pub(super) struct Keys {
    list: Vec<Key>,
    /// The text of those keys that have escapes.
    unescaped: String,
    /// Open addressing with linear probing: indices into one object's keys.
    table: Vec<u32>,
    /// Ranges of leaves that belong to keys which a later copy replaces; they may nest.
    pub(super) dropped: Vec<Range<usize>>,
}

impl Keys {
    /// Forgets everything; gives memory of large documents back.
    pub(super) fn reset(&mut self) {
        super::reset(&mut self.list);
        super::reset(&mut self.table);
        super::reset(&mut self.dropped);
        self.unescaped.clear();
        self.unescaped.shrink_to(super::KEPT);
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { keys: self.list.len(), unescaped: self.unescaped.len() }
    }

    /// Adds a key of the innermost object: `raw` is its text between the quotes, the first of which is at
    /// `quote`. Returns its hash and what it stands for.
    #[inline]
    pub(super) fn push<'a>(
        &'a mut self,
        raw: &'a str,
        escaped: bool,
        quote: usize,
        leaves: usize,
        hash: impl FnOnce(&str) -> u64,
    ) -> (u64, &'a str) {
        let (key, unescaped) = if escaped {
            let at = self.unescaped.len();
            unescape_into(raw, &mut self.unescaped);
            (self.unescaped.get(at..).unwrap_or_default(), narrow(at))
        } else {
            (raw, IN_BODY)
        };
        let hash = hash(key);
        self.list.push(Key {
            quote: narrow(quote),
            length: narrow(key.len()),
            unescaped,
            hash: (hash >> 32) as u32,
            leaves,
        });
        (hash, key)
    }

    /// Ends the object whose keys begin at `mark`, `leaves` having been recorded so far. Where it has a
    /// duplicate key: with `Error`, returns the offset of the first second copy; with `Last`, the earlier
    /// copies' leaves are dropped.
    #[inline]
    pub(super) fn close(
        &mut self,
        body: &[u8],
        mark: Mark,
        leaves: usize,
        policy: DuplicateKeys,
    ) -> Result<(), usize> {
        let count = self.list.len() - mark.keys;
        let result = match count {
            0 | 1 => Ok(()),
            2..=FEW => self.compare_pairs(body, mark, leaves, policy),
            _ => self.compare_by_table(body, mark, leaves, policy),
        };
        self.list.truncate(mark.keys);
        self.unescaped.truncate(mark.unescaped);
        result
    }

    fn compare_pairs(
        &mut self,
        body: &[u8],
        mark: Mark,
        leaves: usize,
        policy: DuplicateKeys,
    ) -> Result<(), usize> {
        let mut seen = 0u64;
        for later in 0..self.list.len() - mark.keys {
            let keys = self.list.get(mark.keys..).unwrap_or_default();
            let Some((key, before)) = keys.get(..=later).and_then(<[Key]>::split_last) else { break };
            let bit = 1 << (key.hash % 64);
            if seen & bit != 0
                // The nearest copy: those before it have been dropped on its account.
                && let Some(earlier) = before.iter().rposition(|other| self.equal(body, other, key))
            {
                self.duplicate(mark, earlier, later, leaves, policy)?;
            }
            seen |= bit;
        }
        Ok(())
    }

    fn compare_by_table(
        &mut self,
        body: &[u8],
        mark: Mark,
        leaves: usize,
        policy: DuplicateKeys,
    ) -> Result<(), usize> {
        let count = self.list.len() - mark.keys;
        let size = count.saturating_mul(2).next_power_of_two();
        self.table.clear();
        self.table.resize(size, EMPTY);
        for later in 0..count {
            let Some(key) = self.list.get(mark.keys + later) else { break };
            let mut slot = key.hash as usize & (size - 1);
            // At most half of the slots are taken, so that an empty one comes.
            let earlier = loop {
                match self.table.get(slot) {
                    Some(&EMPTY) | None => break None,
                    Some(&index) => {
                        let other = self.list.get(mark.keys + index as usize);
                        if other.is_some_and(|other| self.equal(body, other, key)) {
                            break Some(index as usize);
                        }
                    }
                }
                slot = (slot + 1) & (size - 1);
            };
            if let Some(entry) = self.table.get_mut(slot) {
                *entry = narrow(later);
            }
            if let Some(earlier) = earlier {
                self.duplicate(mark, earlier, later, leaves, policy)?;
            }
        }
        Ok(())
    }

    fn duplicate(
        &mut self,
        mark: Mark,
        earlier: usize,
        later: usize,
        leaves: usize,
        policy: DuplicateKeys,
    ) -> Result<(), usize> {
        let keys = self.list.get(mark.keys..).unwrap_or_default();
        match policy {
            DuplicateKeys::Error => Err(keys.get(later).map_or(0, |key| key.quote as usize)),
            DuplicateKeys::Last => {
                let from = keys.get(earlier).map_or(leaves, |key| key.leaves);
                let to = keys.get(earlier + 1).map_or(leaves, |key| key.leaves);
                if from < to {
                    self.dropped.push(from..to);
                }
                Ok(())
            }
        }
    }

    fn equal(&self, body: &[u8], a: &Key, b: &Key) -> bool {
        a.hash == b.hash && a.length == b.length && self.text(body, a) == self.text(body, b)
    }

    fn text<'a>(&'a self, body: &'a [u8], key: &Key) -> Option<&'a [u8]> {
        let (bytes, at) = match key.unescaped {
            IN_BODY => (body, key.quote as usize + 1),
            at => (self.unescaped.as_bytes(), at as usize),
        };
        bytes.get(at..at + key.length as usize)
    }
}
