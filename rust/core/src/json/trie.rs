//! The paths whose values the scanner records, as a trie of keys.

use std::sync::atomic::{AtomicU64, Ordering};

use super::narrow;
use super::probe::{Probe, Seeds};

/// A node of a [`PathTrie`], or [`NONE`].
pub(super) type NodeId = u32;
/// The node of the document itself.
pub(super) const ROOT: NodeId = 0;
/// No node: nothing is recorded at or below this place.
pub(super) const NONE: NodeId = u32::MAX;

/// Number of different tries so far.
static TRIES: AtomicU64 = AtomicU64::new(0);

/// A number that no other trie has.
fn new_number() -> u64 {
    TRIES.fetch_add(1, Ordering::Relaxed) + 1
}

/// The paths whose values [`scan`](super::scan) records.
///
/// A path is a list of keys from the document's root; arrays do not appear in it. The cost of looking up a key does not depend
/// on the number of children. The hash has a random seed, so that no document can cause collisions.
#[derive(Debug, Clone)]
pub struct PathTrie {
    /// Tries with the same number are equal.
    number: u64,
    nodes: Vec<Node>,
    /// For each node, the data that most values need.
    tracked: Vec<Tracked>,
    /// A hash table of all nodes except the root, with open addressing and linear probing; at most a quarter is taken.
    slots: Vec<Slot>,
    seeds: Seeds,
}

#[derive(Debug, Clone)]
struct Node {
    parent: NodeId,
    probe: Probe,
    key: Box<str>,
    fields: Vec<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tracked {
    /// The bits of the children's probes, which rule out most untracked keys.
    bits: u64,
    /// Number of fields, and the first of them.
    fields: (u32, u32),
}

/// An entry of the hash table.
#[derive(Debug, Clone, Copy)]
struct Slot {
    /// The first bytes of the key.
    words: (u64, u64),
    /// The key's length and the parent.
    tag: u64,
    /// The child; [`NONE`] if the slot is empty.
    node: NodeId,
}

impl Slot {
    /// An empty slot, which matches no key.
    const EMPTY: Self = Self { words: (0, 0), tag: tag(NONE, 0), node: NONE };
}

impl PathTrie {
    /// Makes a trie that tracks nothing.
    #[must_use]
    pub fn new() -> Self {
        let root = Node::new(NONE, "", Probe::default());
        let (nodes, tracked) = (vec![root], vec![Tracked::default()]);
        Self { number: new_number(), nodes, tracked, slots: Vec::new(), seeds: Seeds::new() }
    }

    /// Tracks `path` and reports it as `field`. The empty path is the document itself. A path may have several fields;
    /// inserting one again has no effect.
    pub fn insert<S: AsRef<str>>(&mut self, path: &[S], field: u32) {
        self.number = new_number();
        let mut id = ROOT;
        for key in path {
            let key = key.as_ref();
            let probe = self.seeds.probe(key.as_bytes());
            id = match self.child(id, &probe, Some(key.as_bytes())) {
                NONE => self.add(id, probe, key),
                child => child,
            };
        }
        if let Some(node) = self.nodes.get_mut(id as usize)
            && let Some(tracked) = self.tracked.get_mut(id as usize)
            && !node.fields.contains(&field)
        {
            node.fields.push(field);
            let (count, first) = tracked.fields;
            tracked.fields = (count + 1, if count == 0 { field } else { first });
        }
    }

    fn add(&mut self, parent: NodeId, probe: Probe, key: &str) -> NodeId {
        // Four billion paths do not fit in memory.
        let id = narrow(self.nodes.len());
        self.nodes.push(Node::new(parent, key, probe));
        self.tracked.push(Tracked::default());
        if let Some(tracked) = self.tracked.get_mut(parent as usize) {
            tracked.bits |= probe.bit();
        }
        if self.nodes.len() * 4 <= self.slots.len() {
            self.put_in_slot(id);
        } else {
            let size = (self.nodes.len() * 8).next_power_of_two();
            self.slots.clear();
            self.slots.resize(size, Slot::EMPTY);
            (1..=id).for_each(|id| self.put_in_slot(id));
        }
        id
    }

    /// Puts a node into the first empty slot of its probe sequence.
    fn put_in_slot(&mut self, id: NodeId) {
        let Some(&Node { parent, probe, .. }) = self.nodes.get(id as usize) else { return };
        let mask = self.slots.len() - 1;
        let mut at = first_slot(parent, &probe) & mask;
        while self.slots.get(at).is_some_and(|slot| slot.node != NONE) {
            at = (at + 1) & mask;
        }
        if let Some(free) = self.slots.get_mut(at) {
            *free = Slot { words: probe.words(), tag: tag(parent, probe.length()), node: id };
        }
    }

    /// A number that only equal tries share.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Number of nodes.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The seeds for the probes of keys, for look-ups here and for finding duplicate keys.
    #[inline(always)]
    pub(super) fn seeds(&self) -> &Seeds {
        &self.seeds
    }

    /// The child of `parent` with this probe and, if the probe does not hold the whole key, this key; else [`NONE`].
    #[inline(always)]
    pub(super) fn child(&self, parent: NodeId, probe: &Probe, key: Option<&[u8]>) -> NodeId {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = first_slot(parent, probe) & mask;
        while let Some(slot) = self.slots.get(at) {
            if slot.words == probe.words()
                && slot.tag == tag(parent, probe.length())
                && (probe.is_whole() || key.is_some_and(|key| self.key(slot.node) == key))
            {
                return slot.node;
            }
            if slot.node == NONE {
                break;
            }
            at = (at + 1) & mask;
        }
        NONE
    }

    fn key(&self, node: NodeId) -> &[u8] {
        self.nodes.get(node as usize).map_or(&[], |node| node.key.as_bytes())
    }

    /// The bits of the probes of a node's children. A key with another bit is not a child.
    #[inline(always)]
    pub(super) fn below(&self, node: NodeId) -> u64 {
        self.tracked.get(node as usize).map_or(0, |tracked| tracked.bits)
    }

    /// Number of a node's fields, and the first of them.
    #[inline(always)]
    pub(super) fn fields_at(&self, node: NodeId) -> (u32, u32) {
        self.tracked.get(node as usize).map_or((0, 0), |tracked| tracked.fields)
    }

    /// A node's fields.
    pub(super) fn fields(&self, node: NodeId) -> &[u32] {
        self.nodes.get(node as usize).map_or(&[], |node| &node.fields)
    }

    /// [`ROOT`], or [`NONE`] if the trie tracks nothing.
    pub(super) fn root(&self) -> NodeId {
        match self.nodes.first() {
            Some(root) if self.nodes.len() > 1 || !root.fields.is_empty() => ROOT,
            _ => NONE,
        }
    }
}

impl Default for PathTrie {
    fn default() -> Self {
        Self::new()
    }
}

impl Node {
    fn new(parent: NodeId, key: &str, probe: Probe) -> Self {
        Self { parent, probe, key: key.into(), fields: Vec::new() }
    }
}

#[inline(always)]
const fn tag(parent: NodeId, length: u32) -> u64 {
    (parent as u64) << 32 | length as u64
}

/// The first slot of a child's probe sequence.
#[inline(always)]
fn first_slot(parent: NodeId, probe: &Probe) -> usize {
    // Any odd number that spreads the parents will do.
    (probe.hash >> 16) as usize ^ (parent as usize).wrapping_mul(0x9E37_79B1)
}
