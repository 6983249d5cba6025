//! The keys of the objects that are open, and the search for duplicates among them.
//!
//! A tracked key has a node in the trie, and the object that has had it last is noted there. The others, and all
//! where the last copy counts, are kept on one stack, as the objects are nested. Each of an object's first ones is
//! compared with those before it at once, if a bit of its hash has been seen; of a wide object, the others wait
//! until it closes and then go through a table. So there is one table for all objects, filled and cleared in
//! proportion to the object that needs it.

use std::ops::Range;

use super::escape::unescape_into;
use super::probe::{Probe, Seeds, has_escapes};
use super::trie::NodeId;
use super::{DuplicateKeys, narrow};

/// How many keys of an object are compared with each other; the others go through a table.
const FEW: usize = 16;
/// Of a key that has no escapes: its text is in the body.
pub(super) const IN_BODY: u32 = u32::MAX;
/// `Object::duplicate` where there is none.
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
    /// The upper half of its hash, under the trie's random seed.
    hash: u32,
    /// How many leaves had been recorded when its value began.
    leaves: u32,
}

/// What is known of the keys of an object that is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object {
    /// Where its keys begin.
    keys: u32,
    /// The bits of its first keys' probes.
    bits: u64,
    /// Offset of the first second copy of a key.
    duplicate: u32,
    /// No two objects share it, of this document or one before.
    number: u32,
}

#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Those keys of each object that are not tracked; with [`DuplicateKeys::Last`] all.
    list: Vec<Key>,
    /// For each node of the trie, the number of the object in which its key has been seen last.
    seen: Vec<u32>,
    /// How many objects there have been.
    objects: u32,
    /// The text of those keys that have escapes.
    unescaped: String,
    /// Open addressing with linear probing: indices into one object's keys.
    table: Vec<u32>,
    /// Ranges of leaves that belong to keys which a later copy replaces; they may nest.
    pub(super) dropped: Vec<Range<usize>>,
}

impl Keys {
    /// Forgets everything; gives memory of large documents back. The trie has so many nodes.
    pub(super) fn reset(&mut self, nodes: usize) {
        // There are fewer objects in any document than numbers are left.
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

    /// An object that opens inside those that are open.
    #[inline(always)]
    pub(super) fn open(&mut self) -> Object {
        self.objects += 1;
        Object { keys: narrow(self.list.len()), bits: 0, duplicate: NONE, number: self.objects }
    }

    /// Notes that the innermost object has the key of a node.
    #[inline(always)]
    pub(super) fn see(&mut self, object: &mut Object, node: NodeId, quote: u32) {
        if let Some(seen) = self.seen.get_mut(node as usize) {
            if *seen == object.number {
                object.duplicate = object.duplicate.min(quote);
            }
            *seen = object.number;
        }
    }

    /// Adds a key to the innermost object, if there is room for it and, unless there are many, it is new by its
    /// hash.
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

    /// Whether one of an object's first keys has the same hash.
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

    /// The probe of any key, which may have escapes, and what [`Key::new`] wants to know of its text.
    pub(super) fn probe(&mut self, body: &[u8], seeds: &Seeds, start: usize, end: usize) -> (Probe, u32) {
        // It is text: it comes from a window, which has checked it.
        let raw = body.get(start..end).unwrap_or_default();
        if !has_escapes(body, start, end) {
            return (seeds.probe(raw), IN_BODY);
        }
        let at = self.unescaped.len();
        unescape_into(std::str::from_utf8(raw).unwrap_or_default(), &mut self.unescaped);
        (seeds.probe(self.unescaped.as_bytes().get(at..).unwrap_or_default()), narrow(at))
    }

    /// Compares a key with those of its object, unless they are many.
    fn compare(&mut self, body: &[u8], object: &mut Object, key: &Key, policy: DuplicateKeys) {
        let keys = self.list.get(object.first()..).unwrap_or_default();
        if keys.len() >= FEW {
            return;
        }
        // The nearest copy: those before it have been dropped on its account.
        let Some(earlier) = keys.iter().rposition(|other| self.equal(body, other, key)) else { return };
        match policy {
            DuplicateKeys::Error => object.duplicate = object.duplicate.min(key.quote),
            DuplicateKeys::Last => self.drop_leaves(object, earlier, key.leaves),
        }
    }

    /// Ends the innermost object. Where it has a duplicate key: with `Error`, returns the offset of the first
    /// second copy; with `Last`, the earlier copies' leaves are dropped.
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

    /// Gives back the room of the innermost object's keys with escapes.
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
            // At most half of the slots are taken, so that an empty one comes.
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
            // The first ones have been compared already.
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

    /// Drops the leaves of a key that has a later copy, at which `leaves` had been recorded.
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
    /// The key whose opening quote is at `quote`, `leaves` having been recorded before its value.
    #[inline(always)]
    pub(super) fn new(quote: u32, probe: &Probe, unescaped: u32, leaves: usize) -> Self {
        let hash = (probe.hash >> 32) as u32;
        Self { quote, length: probe.length(), unescaped, hash, leaves: narrow(leaves) }
    }
}
