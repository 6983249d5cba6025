//! Where the walk over a document is.

use super::keys::Object;
use super::trie::NodeId;

/// A container that is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// Whether the next token is its bracket, behind which the first value comes, if any; else it is what is behind
    /// a value.
    pub(super) fresh: bool,
    /// Whether it is an element of an array.
    pub(super) is_element: bool,
    /// Of its elements; of its members but for where they are in the trie, which is the
    /// container's own.
    pub(super) context: ValueContext,
    /// The bits of the keys that are tracked in it.
    pub(super) below: u64,
    /// An array's number.
    pub(super) array: u32,
    /// Index of the container's own first leaf; it has one for each of the node's fields.
    pub(super) leaf: u32,
    /// An object's keys.
    pub(super) keys: Object,
}

/// What values are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Document,
    Object,
    Array,
}

/// Where a value is.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValueContext {
    /// In what.
    pub(super) shape: Shape,
    /// Where in the trie.
    pub(super) node: NodeId,
    /// How many fields are recorded there, and the first of them.
    pub(super) fields: (u32, u32),
    /// In which element; of a container's values, that may be the container itself.
    pub(super) element: u32,
}
