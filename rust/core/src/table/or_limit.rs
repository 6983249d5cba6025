//! The limit on the work that several `$or`s can cause together.

use hashbrown::HashMap;

use crate::pattern::{Node, Pattern, Problem};

/// The most combinations of `$or` branches that one rule may have; see [`combinations`].
const MAX_COMBINATIONS: usize = 128;

/// Reports a pattern whose `$or`s would take too long together. The pattern parser does not check this.
pub(crate) fn check(pattern: &Pattern) -> Option<Problem> {
    let nodes: Vec<&Node> = pattern.root.iter().collect();
    (combinations(&nodes, 0) > MAX_COMBINATIONS).then(|| Problem {
        path: Vec::new(),
        message: format!(
            "its `$or`s share fields and multiply to more than {MAX_COMBINATIONS} combinations; split the pattern into \
             several rules"
        ),
    })
}

/// The most combinations of `$or` branches that evaluating a conjunction may have to try. The worst case is a document in
/// which every key holds an array. `depth` is the number of keys that all paths have in common.
///
/// Nodes without a common key are independent. Nodes that share a single key are evaluated for each element of its array.
/// An `$or` over several keys connects their arrays: the branch determines which elements are meant, and deciding that is
/// satisfiability. So each of its branches is tried; if another node shares one of the keys, each combination with that
/// node's branches.
fn combinations(nodes: &[&Node], depth: usize) -> usize {
    if nodes.iter().all(|node| matches!(node, Node::Field(_))) {
        return 1;
    }
    let of_group = |group: &Group<'_>| match group.nodes.as_slice() {
        _ if group.keys == 0 => 1,
        nodes if group.keys == 1 => combinations(nodes, depth + 1),
        [Node::Or(branches)] => branches
            .iter()
            .map(|branch| combinations(&branch.iter().collect::<Vec<_>>(), depth))
            .max()
            .unwrap_or(1),
        nodes => nodes.iter().map(|node| expansions(node)).fold(1, usize::saturating_mul),
    };
    groups(nodes, depth).iter().map(of_group).max().unwrap_or(1)
}

/// Number of conjunctions without `$or` that a node expands to.
fn expansions(node: &Node) -> usize {
    match node {
        Node::Field(_) => 1,
        Node::Or(branches) => branches
            .iter()
            .map(|branch| branch.iter().map(expansions).fold(1, usize::saturating_mul))
            .fold(0, usize::saturating_add),
    }
}

/// Nodes that are connected by common keys.
#[derive(Default)]
struct Group<'p> {
    nodes: Vec<&'p Node>,
    /// Number of distinct keys of these nodes.
    keys: usize,
}

fn groups<'p>(nodes: &[&'p Node], depth: usize) -> Vec<Group<'p>> {
    // A union-find forest: each node points to an earlier node of its group, or to itself.
    let mut before: Vec<usize> = (0..nodes.len()).collect();
    let mut owners: HashMap<&str, usize> = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        let mut keys = Vec::new();
        collect_keys(node, depth, &mut keys);
        for key in keys {
            let owner = *owners.entry(key).or_insert(index);
            let (first, second) = (head(&mut before, owner), head(&mut before, index));
            if let Some(later) = before.get_mut(first.max(second)) {
                *later = first.min(second);
            }
        }
    }
    let mut groups: HashMap<usize, Group<'p>> = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        groups.entry(head(&mut before, index)).or_default().nodes.push(node);
    }
    for owner in owners.values() {
        groups.entry(head(&mut before, *owner)).or_default().keys += 1;
    }
    groups.into_values().collect()
}

/// The first node of the group of `index`; shortens paths on the way (path halving).
fn head(before: &mut [usize], mut index: usize) -> usize {
    while let Some(&next) = before.get(index)
        && next != index
        && let Some(&over) = before.get(next)
    {
        if let Some(here) = before.get_mut(index) {
            *here = over;
        }
        index = over;
    }
    index
}

/// Collects the keys of a node at `depth` of its paths. Shorter paths have none.
fn collect_keys<'p>(node: &'p Node, depth: usize, out: &mut Vec<&'p str>) {
    match node {
        Node::Field(field) => out.extend(field.path.get(depth).map(|key| &**key)),
        Node::Or(branches) => {
            branches.iter().flatten().for_each(|inner| collect_keys(inner, depth, out));
            out.sort_unstable();
            out.dedup();
        }
    }
}
