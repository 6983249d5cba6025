//! The state of the walk over a document.

use super::keys::Object;
use super::trie::NodeId;

/// An open container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// Whether the next token is the opening bracket; otherwise, the next token follows a value.
    pub(super) fresh: bool,
    /// Whether the container is an element of an array.
    pub(super) is_element: bool,
    /// The context of the container's elements. For an object, the node is its own, not that of its members.
    pub(super) context: ValueContext,
    /// The bits of the tracked keys.
    pub(super) below: u64,
    /// The number of an array.
    pub(super) array: u32,
    /// Index of the container's own first leaf; it has one for each field of its node.
    pub(super) leaf: u32,
    /// The keys of an object.
    pub(super) keys: Object,
}

/// The kind of container around a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Document,
    Object,
    Array,
}

/// The place of a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValueContext {
    /// The kind of container around the value.
    pub(super) shape: Shape,
    /// The value's node in the trie.
    pub(super) node: NodeId,
    /// Number of the node's fields, and the first of them.
    pub(super) fields: (u32, u32),
    /// The innermost element around the value; for a container's values, possibly the container itself.
    pub(super) element: u32,
}
