//! The paths that the scanner records, as a trie of keys.

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::probe::{Probe, Seeds};

/// A node of a [`PathTrie`], or [`NONE`].
pub(super) type NodeId = u32;
/// The node of the document itself.
pub(super) const ROOT: NodeId = 0;
/// No node: nothing at or below this place is recorded.
pub(super) const NONE: NodeId = u32::MAX;

/// Up to this many children are compared one by one.
const FEW: usize = 8;

/// The paths whose values [`scan`](super::scan) records.
///
/// A path is a list of keys from the document's root; arrays do not appear in it. Looking a key up costs the
/// same for few and for many children, and its seed is random, so that no document can choose keys which
/// collide.
#[derive(Debug, Clone)]
pub struct PathTrie {
    nodes: Vec<Node>,
    seeds: Seeds,
}

#[derive(Debug, Clone)]
struct Node {
    /// The bits of the children's probes: most keys that are tracked nowhere are ruled out by it.
    bits: u64,
    probe: Probe,
    key: Box<str>,
    fields: SmallVec<[u32; 2]>,
    children: Children,
}

#[derive(Debug, Clone)]
enum Children {
    Few(SmallVec<[NodeId; 4]>),
    Many(HashTable<NodeId>),
}

impl PathTrie {
    /// A trie that tracks nothing.
    #[must_use]
    pub fn new() -> Self {
        let root = Node::new("", Probe::default());
        Self { nodes: vec![root], seeds: Seeds::new() }
    }

    /// Tracks `path` and reports it as `field`. The empty path is the document itself; a path may carry
    /// several fields, each of which is recorded once however often it is inserted.
    pub fn insert<S: AsRef<str>>(&mut self, path: &[S], field: u32) {
        let mut id = ROOT;
        for key in path {
            let key = key.as_ref();
            let probe = self.seeds.probe(key.as_bytes(), 0, key.len());
            id = match self.child(id, &probe, key.as_bytes()) {
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
        let id = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        self.nodes.push(Node::new(key, probe));
        let nodes = &mut self.nodes;
        let Some(node) = nodes.get_mut(parent as usize) else { return NONE };
        node.bits |= probe.bit();
        let mut children = std::mem::replace(&mut node.children, Children::Few(SmallVec::new()));
        let rehash = |child: &NodeId| nodes.get(*child as usize).map_or(0, |node| node.probe.hash);
        match &mut children {
            Children::Few(few) if few.len() < FEW => few.push(id),
            Children::Few(few) => {
                let mut many = HashTable::with_capacity(2 * FEW);
                for &child in few.iter().chain([&id]) {
                    many.insert_unique(rehash(&child), child, rehash);
                }
                children = Children::Many(many);
            }
            Children::Many(many) => {
                many.insert_unique(probe.hash, id, rehash);
            }
        }
        if let Some(node) = self.nodes.get_mut(parent as usize) {
            node.children = children;
        }
        id
    }

    /// By which keys are looked up; also what tells the keys of one object apart.
    #[inline(always)]
    pub(super) fn seeds(&self) -> &Seeds {
        &self.seeds
    }

    /// The child of `parent` by unescaped key, else [`NONE`].
    #[inline(always)]
    pub(super) fn child(&self, parent: NodeId, probe: &Probe, key: &[u8]) -> NodeId {
        match self.nodes.get(parent as usize) {
            Some(node) if node.bits & probe.bit() != 0 => self.find(&node.children, probe, key),
            _ => NONE,
        }
    }

    fn find(&self, children: &Children, probe: &Probe, key: &[u8]) -> NodeId {
        let is = |child: &NodeId| {
            self.nodes.get(*child as usize).is_some_and(|node| {
                node.probe == *probe && (probe.is_whole() || node.key.as_bytes() == key)
            })
        };
        match children {
            Children::Few(few) => few.iter().copied().find(is).unwrap_or(NONE),
            Children::Many(many) => many.find(probe.hash, is).copied().unwrap_or(NONE),
        }
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
    fn new(key: &str, probe: Probe) -> Self {
        Self { bits: 0, probe, key: key.into(), fields: SmallVec::new(), children: Children::Few(SmallVec::new()) }
    }
}
