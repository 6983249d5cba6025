//! One compiled rule, evaluated by itself. Whatever finds rules faster must agree with this.

use super::consistency;
use super::fields::{FieldId, Fields};
use super::view::View;
use crate::pattern::{Conjunction, Node, Pattern, Predicate, Seen};

/// How many ways through `$or`s that share fields one rule may have, see [`ways`].
pub(crate) const MAX_WAYS: usize = 1024;

/// A pattern with its fields numbered.
#[derive(Clone, Debug)]
pub(crate) enum Expression {
    /// All must hold.
    All(Vec<Expression>),
    /// One must hold.
    Any(Vec<Expression>),
    /// One of the predicates must hold for the field.
    Test(Test),
}

/// The alternatives for one field.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub(crate) field: FieldId,
    pub(crate) predicates: Vec<Predicate>,
}

impl Test {
    /// Whether the predicates hold for this scalar.
    pub(crate) fn accepts(&self, seen: &Seen<'_>) -> bool {
        self.predicates.iter().any(|predicate| predicate.matches(seen))
    }

    /// Whether the test holds because the document has no scalar at the field. It looks at the whole document,
    /// never at single array elements.
    pub(crate) fn holds_by_absence(&self, view: &View<'_>) -> bool {
        self.predicates.iter().any(Predicate::wants_absence) && view.scalars(self.field).next().is_none()
    }

    /// Whether any scalar satisfies the test, wherever it is.
    pub(crate) fn holds_somewhere(&self, view: &View<'_>) -> bool {
        view.scalars(self.field).any(|(_, seen)| self.accepts(seen)) || self.holds_by_absence(view)
    }
}

impl Expression {
    pub(crate) fn compile(pattern: &Pattern, fields: &mut Fields) -> Self {
        Self::all(&pattern.root, fields)
    }

    fn all(nodes: &Conjunction, fields: &mut Fields) -> Self {
        Self::All(
            nodes
                .iter()
                .map(|node| match node {
                    Node::Field(field) => Self::Test(Test {
                        field: fields.intern(&field.path),
                        predicates: field.tests.clone(),
                    }),
                    Node::Or(branches) => Self::Any(branches.iter().map(|b| Self::all(b, fields)).collect()),
                })
                .collect(),
        )
    }

    /// Whether the rule matches. Linear in the predicates times the values at their fields, but for `$or`s whose
    /// branches share arrays with the rest of the rule: those are bounded when the rule is compiled.
    pub(crate) fn holds(&self, view: &View<'_>) -> bool {
        // Array elements can only make it stricter, and most messages have none that matter.
        self.holds_loosely(view) && (view.elements.len() <= 1 || consistency::holds(self, view))
    }

    /// Whether the rule matches when it does not matter which array element a value is in.
    pub(crate) fn holds_loosely(&self, view: &View<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds_loosely(view)),
            Self::Any(parts) => parts.iter().any(|part| part.holds_loosely(view)),
            Self::Test(test) => test.holds_somewhere(view),
        }
    }

    /// Every test in it, in the order written.
    pub(crate) fn tests(&self) -> Vec<&Test> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::tests).collect(),
            Self::Test(test) => vec![test],
        }
    }
}

/// How many combinations of `$or` branches the evaluation of a pattern may have to try in the worst case. An `$or`
/// whose fields have nothing in common with the rest of its conjunction adds to it, one that shares a top-level key
/// multiplies it. (Which element of an array is meant must then be the same in both, and deciding that is
/// satisfiability.)
pub(crate) fn ways(nodes: &Conjunction) -> usize {
    let keys: Vec<Vec<&str>> = nodes.iter().map(first_keys).collect();
    let mut product: usize = 1;
    for (index, node) in nodes.iter().enumerate() {
        let Node::Or(branches) = node else { continue };
        let inner = branches.iter().map(ways).fold(0, usize::saturating_add);
        let own = keys.get(index).map_or(&[][..], Vec::as_slice);
        let shared = keys
            .iter()
            .enumerate()
            .any(|(other, theirs)| other != index && own.iter().any(|key| theirs.binary_search(key).is_ok()));
        if shared {
            product = product.saturating_mul(inner);
        } else {
            // Tried by itself, so it only counts as far as its own inside is entangled.
            product = product.max(branches.iter().map(ways).max().unwrap_or(1));
        }
    }
    product
}

/// The first path keys below a node, sorted.
fn first_keys(node: &Node) -> Vec<&str> {
    let mut keys: Vec<&str> = match node {
        Node::Field(field) => field.path.first().map(|key| &**key).into_iter().collect(),
        Node::Or(branches) => branches.iter().flatten().flat_map(first_keys).collect(),
    };
    keys.sort_unstable();
    keys.dedup();
    keys
}
