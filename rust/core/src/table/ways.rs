//! How much work `$or` can make.

use crate::pattern::{Conjunction, Node, Pattern, Problem};

/// How many ways through `$or`s that share fields one rule may have, see [`ways`].
const MAX_WAYS: usize = 128;

/// What the parser of patterns cannot see: `$or`s that would take too long together.
pub(crate) fn check(pattern: &Pattern) -> Option<Problem> {
    (ways(&pattern.root) > MAX_WAYS).then(|| Problem {
        path: Vec::new(),
        message: format!(
            "its `$or`s share fields and multiply to more than {MAX_WAYS} combinations; split it into several rules"
        ),
    })
}

/// How many combinations of `$or` branches the evaluation of a pattern may have to try in the worst case. An `$or`
/// whose fields have nothing in common with the rest of its conjunction adds to it, one that shares a top-level key
/// multiplies it. (Which element of an array is meant must then be the same in both, and deciding that is
/// satisfiability.)
fn ways(nodes: &Conjunction) -> usize {
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
