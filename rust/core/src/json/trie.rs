//! The paths that the scanner records, as a trie of keys.

use smallvec::SmallVec;

use super::narrow;
use super::probe::{Probe, Seeds};

/// A node of a [`PathTrie`], or [`NONE`].
pub(super) type NodeId = u32;
/// The node of the document itself.
pub(super) const ROOT: NodeId = 0;
/// No node: nothing at or below this place is recorded.
pub(super) const NONE: NodeId = u32::MAX;

/// The paths whose values [`scan`](super::scan) records.
///
/// A path is a list of keys from the document's root; arrays do not appear in it. Looking a key up costs the
/// same for few and for many children, and its seed is random, so that no document can choose keys which
/// collide.
#[derive(Debug, Clone)]
pub struct PathTrie {
    nodes: Vec<Node>,
    /// All nodes but the root: open addressing with linear probing, at most a quarter of it taken.
    slots: Vec<NodeId>,
    seeds: Seeds,
}

#[derive(Debug, Clone)]
struct Node {
    /// The bits of the children's probes: most keys that are tracked nowhere are ruled out by it.
    bits: u64,
    parent: NodeId,
    probe: Probe,
    key: Box<str>,
    fields: SmallVec<[u32; 2]>,
}

impl PathTrie {
    /// A trie that tracks nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { nodes: vec![Node::new(NONE, "", Probe::default())], slots: Vec::new(), seeds: Seeds::new() }
    }

    /// Tracks `path` and reports it as `field`. The empty path is the document itself; a path may carry
    /// several fields, each of which is recorded once however often it is inserted.
    pub fn insert<S: AsRef<str>>(&mut self, path: &[S], field: u32) {
        let mut id = ROOT;
        for key in path {
            let key = key.as_ref();
            let probe = self.seeds.probe(key.as_bytes(), 0, key.len());
            id = match self.child(id, &probe, || key.as_bytes()) {
                NONE => self.add(id, probe, key),
                child => child,
            };
        }
        if let Some(node) = self.nodes.get_mut(id as usize)
            && !node.fields.contains(&field)
        {
            node.fields.push(field);
        }
    }

    fn add(&mut self, parent: NodeId, probe: Probe, key: &str) -> NodeId {
        // Two billion paths do not fit in memory long before this overflows.
        let id = narrow(self.nodes.len());
        self.nodes.push(Node::new(parent, key, probe));
        if let Some(node) = self.nodes.get_mut(parent as usize) {
            node.bits |= probe.bit();
        }
        if self.nodes.len() * 4 <= self.slots.len() {
            self.place(id);
        } else {
            let size = (self.nodes.len() * 8).next_power_of_two();
            self.slots.clear();
            self.slots.resize(size, NONE);
            (1..=id).for_each(|id| self.place(id));
        }
        id
    }

    /// Puts a node into the first empty slot behind where it is looked for.
    fn place(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get(id as usize) else { return };
        let mask = self.slots.len() - 1;
        let mut at = slot(node.parent, &node.probe) & mask;
        while self.slots.get(at).is_some_and(|&taken| taken != NONE) {
            at = (at + 1) & mask;
        }
        if let Some(free) = self.slots.get_mut(at) {
            *free = id;
        }
    }

    /// By which keys are looked up; also what tells the keys of one object apart.
    #[inline(always)]
    pub(super) fn seeds(&self) -> &Seeds {
        &self.seeds
    }

    /// The child of `parent` by unescaped key, else [`NONE`]. `key` is asked for only where `probe` does not hold
    /// all of it.
    #[inline(always)]
    pub(super) fn child<'k>(&self, parent: NodeId, probe: &Probe, key: impl Fn() -> &'k [u8]) -> NodeId {
        match self.nodes.get(parent as usize) {
            Some(node) if node.bits & probe.bit() != 0 => self.find(parent, probe, key),
            _ => NONE,
        }
    }

    #[inline]
    fn find<'k>(&self, parent: NodeId, probe: &Probe, key: impl Fn() -> &'k [u8]) -> NodeId {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = slot(parent, probe) & mask;
        // An empty slot comes, which stands for no node.
        while let Some(&id) = self.slots.get(at)
            && let Some(node) = self.nodes.get(id as usize)
        {
            if node.parent == parent
                && node.probe == *probe
                && (probe.is_whole() || node.key.as_bytes() == key())
            {
                return id;
            }
            at = (at + 1) & mask;
        }
        NONE
    }

    /// The fields recorded at a node.
    #[inline]
    pub(super) fn fields(&self, node: NodeId) -> &[u32] {
        self.nodes.get(node as usize).map_or(&[], |node| &node.fields)
    }

    /// [`ROOT`], or [`NONE`] where the trie tracks nothing at all.
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
        Self { bits: 0, parent, probe, key: key.into(), fields: SmallVec::new() }
    }
}

/// Where the search for a child begins.
#[inline(always)]
fn slot(parent: NodeId, probe: &Probe) -> usize {
    // Any odd number that spreads parents will do.
    (probe.hash >> 16) as usize ^ (parent as usize).wrapping_mul(0x9E37_79B1)
}
