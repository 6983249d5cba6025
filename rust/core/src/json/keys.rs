//! The keys of open objects, and the search for duplicates among them.
//!
//! A tracked key has a node in the trie; the number of the last object that had it is stored for that node. Untracked keys
//! are kept on one stack for all nested objects, and so are all keys if the last copy counts. Each of the first keys of an
//! object is compared with earlier ones at once, if its hash bit was seen. Further keys of a wide object are compared by a
//! hash table when the object closes. One table serves all objects; it is filled and cleared in proportion to each object.

use std::ops::Range;

use super::escape::unescape_into;
use super::probe::{Probe, Seeds, has_escapes};
use super::trie::NodeId;
use super::{DuplicateKeys, narrow};

/// The most keys of an object that are compared with each other; the others are compared by a table.
const FEW: usize = 16;
/// `Key::unescaped` for a key without escapes, whose text is in the body.
pub(super) const IN_BODY: u32 = u32::MAX;
/// `Object::duplicate` without a duplicate.
const NONE: u32 = u32::MAX;
const EMPTY: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// Offset of the opening quote in the body.
    quote: u32,
    /// Length of the unescaped key in bytes.
    length: u32,
    /// Offset of the key in [`Keys::unescaped`], or [`IN_BODY`].
    unescaped: u32,
    /// The upper half of the key's hash, with the trie's random seed.
    hash: u32,
    /// Number of leaves recorded before the key's value.
    leaves: u32,
}

/// The keys of an open object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object {
    /// Index of the object's first key.
    keys: u32,
    /// The bits of the first keys' probes.
    bits: u64,
    /// Offset of the first repeated key, or [`NONE`].
    duplicate: u32,
    /// A number that no other object of this or an earlier document has.
    number: u32,
}

#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The untracked keys of each open object; with [`DuplicateKeys::Last`], all keys.
    list: Vec<Key>,
    /// For each node of the trie, the number of the object that had its key last.
    seen: Vec<u32>,
    /// Number of objects so far.
    objects: u32,
    /// The text of keys with escapes, concatenated.
    unescaped: String,
    /// A hash table of indices of one object's keys, with open addressing and linear probing.
    table: Vec<u32>,
    /// Ranges of leaves of keys that a later copy replaces; they may be nested.
    pub(super) dropped: Vec<Range<usize>>,
}

impl Keys {
    /// Forgets all keys, and frees the memory of large documents. `nodes` is the number of the trie's nodes.
    pub(super) fn reset(&mut self, nodes: usize) {
        // No document has more objects than numbers remain.
        if self.objects > u32::MAX / 2 {
            self.objects = 0;
            self.seen.clear();
        }
        if self.seen.len() < nodes {
            self.seen.resize(nodes, 0);
        }
        super::reset(&mut self.list);
        super::reset(&mut self.table);
        super::reset(&mut self.dropped);
        super::reset_text(&mut self.unescaped);
    }

    /// Opens an object inside the open ones.
    #[inline(always)]
    pub(super) fn open(&mut self) -> Object {
        self.objects += 1;
        Object { keys: narrow(self.list.len()), bits: 0, duplicate: NONE, number: self.objects }
    }

    /// Registers the tracked key of a node in the innermost object.
    #[inline(always)]
    pub(super) fn see(&mut self, object: &mut Object, node: NodeId, quote: u32) {
        if let Some(seen) = self.seen.get_mut(node as usize) {
            if *seen == object.number {
                object.duplicate = object.duplicate.min(quote);
            }
            *seen = object.number;
        }
    }

    /// Adds a key to the innermost object and returns true. Returns false without adding it if the vector would have to grow,
    /// or if the key may equal one of few others.
    #[inline(always)]
    pub(super) fn push_new(&mut self, object: &mut Object, key: Key, probe: &Probe) -> bool {
        if object.bits & probe.bit() != 0 && self.is_like_another(object, &key) {
            return false;
        }
        if self.list.len() == self.list.capacity() {
            return false;
        }
        self.list.push(key);
        object.bits |= probe.bit();
        true
    }

    /// Whether an object has few keys and one of them has the same hash.
    #[inline(never)]
    fn is_like_another(&self, object: &Object, key: &Key) -> bool {
        let keys = self.list.get(object.first()..).unwrap_or_default();
        keys.len() < FEW && keys.iter().any(|other| other.hash == key.hash)
    }

    /// Adds a key to the innermost object.
    pub(super) fn push(
        &mut self,
        body: &[u8],
        object: &mut Object,
        key: Key,
        probe: &Probe,
        policy: DuplicateKeys,
    ) {
        if object.bits & probe.bit() != 0 {
            self.compare(body, object, &key, policy);
        }
        object.bits |= probe.bit();
        self.list.push(key);
    }

    /// The probe of a key, which may have escapes, and its offset in `unescaped` for [`Key::new`].
    pub(super) fn probe(&mut self, body: &[u8], seeds: &Seeds, start: usize, end: usize) -> (Probe, u32) {
        // The window has checked that the key is UTF-8.
        let raw = body.get(start..end).unwrap_or_default();
        if !has_escapes(body, start, end) {
            return (seeds.probe(raw), IN_BODY);
        }
        let at = self.unescaped.len();
        unescape_into(std::str::from_utf8(raw).unwrap_or_default(), &mut self.unescaped);
        (seeds.probe(self.unescaped.as_bytes().get(at..).unwrap_or_default()), narrow(at))
    }

    /// Compares a key with the others of its object, unless there are many.
    fn compare(&mut self, body: &[u8], object: &mut Object, key: &Key, policy: DuplicateKeys) {
        let keys = self.list.get(object.first()..).unwrap_or_default();
        if keys.len() >= FEW {
            return;
        }
        // Find the nearest copy. Earlier ones were dropped when it came.
        let Some(earlier) = keys.iter().rposition(|other| self.equal(body, other, key)) else { return };
        match policy {
            DuplicateKeys::Error => object.duplicate = object.duplicate.min(key.quote),
            DuplicateKeys::Last => self.drop_leaves(object, earlier, key.leaves),
        }
    }

    /// Closes the innermost object. If it has a duplicate key, `Error` returns the offset of the first repeated key, and `Last`
    /// drops the leaves of earlier copies.
    #[inline(always)]
    pub(super) fn close(
        &mut self,
        body: &[u8],
        object: &mut Object,
        policy: DuplicateKeys,
    ) -> Result<(), usize> {
        if self.list.len() - object.first() > FEW {
            self.compare_by_table(body, object, policy);
        }
        if !self.unescaped.is_empty() {
            self.forget_unescaped(object);
        }
        self.list.truncate(object.first());
        if object.duplicate == NONE { Ok(()) } else { Err(object.duplicate as usize) }
    }

    /// Removes the unescaped text of the innermost object's keys.
    #[cold]
    fn forget_unescaped(&mut self, object: &Object) {
        let keys = self.list.get(object.first()..).unwrap_or_default();
        if let Some(first) = keys.iter().find(|key| key.unescaped != IN_BODY) {
            self.unescaped.truncate(first.unescaped as usize);
        }
    }

    #[inline(never)]
    fn compare_by_table(&mut self, body: &[u8], object: &mut Object, policy: DuplicateKeys) {
        let count = self.list.len() - object.first();
        let size = count.saturating_mul(2).next_power_of_two();
        self.table.clear();
        self.table.resize(size, EMPTY);
        for later in 0..count {
            let Some(key) = self.list.get(object.first() + later) else { break };
            let mut slot = key.hash as usize & (size - 1);
            // At most half of the slots are taken, so the loop reaches an empty one.
            let earlier = loop {
                match self.table.get(slot) {
                    Some(&EMPTY) | None => break None,
                    Some(&index) => {
                        let other = self.list.get(object.first() + index as usize);
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
            // The first keys have been compared already.
            if let Some(earlier) = earlier.filter(|_| later >= FEW) {
                match policy {
                    DuplicateKeys::Error => {
                        object.duplicate = object.duplicate.min(key.quote);
                        return;
                    }
                    DuplicateKeys::Last => self.drop_leaves(object, earlier, key.leaves),
                }
            }
        }
    }

    /// Drops the leaves of a key that has a later copy. `leaves` is the number of leaves recorded before the later one.
    fn drop_leaves(&mut self, object: &Object, earlier: usize, leaves: u32) {
        let keys = self.list.get(object.first()..).unwrap_or_default();
        let from = keys.get(earlier).map_or(leaves, |key| key.leaves);
        let to = keys.get(earlier + 1).map_or(leaves, |key| key.leaves);
        if from < to {
            self.dropped.push(from as usize..to as usize);
        }
    }

    fn equal(&self, body: &[u8], a: &Key, b: &Key) -> bool {
        a.hash == b.hash && a.length == b.length && self.text(body, a) == self.text(body, b)
    }

    pub(super) fn text<'a>(&'a self, body: &'a [u8], key: &Key) -> &'a [u8] {
        let (bytes, at) = match key.unescaped {
            IN_BODY => (body, key.quote as usize + 1),
            at => (self.unescaped.as_bytes(), at as usize),
        };
        bytes.get(at..at + key.length as usize).unwrap_or_default()
    }
}

impl Object {
    #[inline(always)]
    fn first(&self) -> usize {
        self.keys as usize
    }
}

impl Key {
    /// Makes the key whose opening quote is at `quote`. `leaves` is the number of leaves recorded before its value.
    #[inline(always)]
    pub(super) fn new(quote: u32, probe: &Probe, unescaped: u32, leaves: usize) -> Self {
        let hash = (probe.hash >> 32) as u32;
        Self { quote, length: probe.length(), unescaped, hash, leaves: narrow(leaves) }
    }
}
