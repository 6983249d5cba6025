//! Which rules may match a message: a tree in which a rule is found by a few of the predicates it cannot do without.
//!
//! # How it is built
//! Every part of a rule's conjunction that needs a value to be there is an *option*: a test (any of its predicates), or
//! an `$or` whose every branch has such a test. One option is chosen as the rule's *guard*, and the rule is listed below
//! each predicate of the guard: if none of those holds, the rule cannot match and is never looked at. The guard is the
//! option whose predicates the fewest rules ask for, so that lists are short; among those, one that is cheap to look up.
//!
//! Where a list is long all the same, because many rules ask for the same value, the rules in it are parted again by
//! another of their options, and so on. So a tree of nodes arises, each node reached from the one above by one predicate
//! that holds. A rule that has no option (it asks nothing, or only for absence) is listed where it ran out of them.
//!
//! A rule stands once for each predicate of its guard, and below that only small options are used, so that memory stays
//! linear in the text of the rules. `$or` is never expanded.
//!
//! # How it is used
//! The guards that hold for a message are found first ([`Forward`]): a look-up for each scalar at a field that has
//! guards, not a step for each rule. From the root, every child whose guard holds is visited; the rules listed there are
//! evaluated in rank order, each predicate when it is asked for. Looking for the first match, lists and nodes that begin
//! after the best match so far are skipped.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::consistency;
use super::cost::{Dear, MANY};
use super::facts::Facts;
use super::fields::Fields;
use super::forward::Forward;
use super::predicates::{PredicateId, Predicates};
use super::program::{Nodes, Program};
use super::work;
use crate::pattern::format_keys;

pub(super) type NodeId = u32;

#[derive(Clone, Debug)]
struct Place {
    /// The rules listed here, in `lists`, ascending.
    start: u32,
    end: u32,
    /// The best rank here or below.
    best: u32,
    /// Whether it has children.
    parted: bool,
}

/// The tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    places: Vec<Place>,
    lists: Vec<u32>,
    /// The root's children, by predicate; [`NONE`] where there is none.
    top: Vec<NodeId>,
    /// The other nodes' children.
    children: HashMap<(NodeId, PredicateId), NodeId, RandomState>,
    forward: Forward,
}

pub(super) const ROOT: NodeId = 0;
const NONE: NodeId = NodeId::MAX;

/// Nodes to visit.
type ToVisit = SmallVec<[NodeId; 16]>;

impl Index {
    /// A new node without rules or children. `best` is the best rank that will be here or below.
    pub(super) fn grow(&mut self, best: u32) -> NodeId {
        let node = u32::try_from(self.places.len()).unwrap_or(NONE);
        self.places.push(Place { start: 0, end: 0, best, parted: false });
        node
    }

    /// Lists rules at the newest node or one above it, in rank order.
    pub(super) fn list_at(&mut self, node: NodeId, ranks: impl Iterator<Item = u32>) {
        let length = |lists: &Vec<u32>| u32::try_from(lists.len()).unwrap_or(u32::MAX);
        let start = length(&self.lists);
        self.lists.extend(ranks);
        let end = length(&self.lists);
        if let Some(place) = self.places.get_mut(node as usize) {
            (place.start, place.end) = (start, end);
        }
    }

    /// Puts a node below another, by a guard.
    pub(super) fn put_below(&mut self, node: NodeId, guard: PredicateId, child: NodeId) {
        if let Some(place) = self.places.get_mut(node as usize) {
            place.parted = true;
        }
        if node != ROOT {
            self.children.insert((node, guard), child);
            return;
        }
        let index = guard as usize;
        if index >= self.top.len() {
            self.top.resize(index + 1, NONE);
        }
        if let Some(slot) = self.top.get_mut(index) {
            *slot = child;
        }
    }

    /// Gives back what only building needed.
    pub(super) fn finish(&mut self, forward: Forward) {
        self.forward = forward;
        self.places.shrink_to_fit();
        self.lists.shrink_to_fit();
        self.top.shrink_to_fit();
        self.children.shrink_to_fit();
    }

    /// Rank of the first rule that matches, of those that count.
    pub(crate) fn first(
        &self,
        program: &Program,
        facts: &Facts<'_, '_>,
        counts: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let guards = self.forward.find(facts);
        let mut best = u32::MAX;
        let mut todo = self.top(&guards);
        while let Some(node) = todo.pop() {
            work::step(1);
            let Some(place) = self.places.get(node as usize) else { continue };
            if place.best >= best {
                continue;
            }
            for &rank in self.list(place) {
                if rank >= best {
                    break;
                }
                if matches(&program.rule(rank as usize), facts) && counts(rank as usize) {
                    best = rank;
                    break;
                }
            }
            self.below(node, place, &guards, &mut todo);
        }
        (best != u32::MAX).then_some(best as usize)
    }

    /// Ranks of all rules that match, ascending.
    pub(crate) fn matches(&self, program: &Program, facts: &Facts<'_, '_>) -> Vec<usize> {
        let guards = self.forward.find(facts);
        let mut found: Vec<u32> = Vec::new();
        let mut todo = self.top(&guards);
        while let Some(node) = todo.pop() {
            work::step(1);
            let Some(place) = self.places.get(node as usize) else { continue };
            found.extend_from_slice(self.list(place));
            self.below(node, place, &guards, &mut todo);
        }
        // A rule whose guard has alternatives may be listed in several places.
        found.sort_unstable();
        found.dedup();
        found.retain(|rank| matches(&program.rule(*rank as usize), facts));
        found.into_iter().map(|rank| rank as usize).collect()
    }

    /// The rules that are tried one by one, where those are many.
    pub(crate) fn dear(&self, predicates: &Predicates, fields: &Fields) -> Vec<Dear> {
        let mut out: Vec<Dear> = Vec::new();
        let above: HashMap<NodeId, (NodeId, PredicateId), RandomState> = {
            let top = (0..).zip(&self.top).map(|(id, child)| (*child, (ROOT, id)));
            top.chain(self.children.iter().map(|((node, id), child)| (*child, (*node, *id)))).collect()
        };
        let guard = |id: PredicateId| {
            let field = format_keys(fields.path(predicates.field(id)));
            format!("{field} is {}", predicates.describe(id))
        };
        for (node, place) in (0..).zip(&self.places) {
            let list = self.list(place);
            if list.len() < MANY {
                continue;
            }
            let mut guards = Vec::new();
            let mut at = node;
            while let Some((parent, id)) = above.get(&at) {
                guards.push(guard(*id));
                at = *parent;
            }
            guards.reverse();
            let when = if guards.is_empty() { "every message".to_owned() } else { guards.join(", ") };
            out.push(Dear { when, rules: list.iter().map(|rank| *rank as usize).collect() });
        }
        let mut below: HashMap<NodeId, Vec<NodeId>, RandomState> = HashMap::default();
        for (child, (node, _)) in &above {
            below.entry(*node).or_default().push(*child);
        }
        for (field, what, tried) in self.forward.tried() {
            let mut todo: Vec<NodeId> =
                tried.iter().filter_map(|id| self.top.get(*id as usize).copied()).collect();
            let mut rules: Vec<usize> = Vec::new();
            while let Some(node) = todo.pop() {
                let Some(place) = self.places.get(node as usize) else { continue };
                rules.extend(self.list(place).iter().map(|rank| *rank as usize));
                todo.extend(below.get(&node).into_iter().flatten());
            }
            rules.sort_unstable();
            rules.dedup();
            if rules.len() >= MANY {
                out.push(Dear { when: format!("{} is {what}", format_keys(fields.path(field))), rules });
            }
        }
        out.sort_by_key(|dear| std::cmp::Reverse(dear.rules.len()));
        out
    }

    fn list(&self, place: &Place) -> &[u32] {
        self.lists.get(place.start as usize..place.end as usize).unwrap_or_default()
    }

    /// The root, if rules are listed there, and its children below the guards that hold.
    fn top(&self, guards: &[PredicateId]) -> ToVisit {
        let mut todo = ToVisit::new();
        if self.places.get(ROOT as usize).is_some_and(|root| root.start < root.end) {
            todo.push(ROOT);
        }
        let children = guards.iter().filter_map(|id| self.top.get(*id as usize).copied());
        todo.extend(children.filter(|child| *child != NONE));
        todo
    }

    /// The children of another node below the guards that hold.
    fn below(&self, node: NodeId, place: &Place, guards: &[PredicateId], todo: &mut ToVisit) {
        if place.parted && node != ROOT {
            work::step(guards.len());
            todo.extend(guards.iter().filter_map(|id| self.children.get(&(node, *id)).copied()));
        }
    }
}

/// Whether a rule matches.
pub(crate) fn matches(rule: &Nodes<'_>, facts: &Facts<'_, '_>) -> bool {
    work::step(1);
    rule.all_hold(facts)
        && (facts.view.elements.len() <= 1
            || !consistency::matters(rule.clone(), facts)
            || consistency::holds(rule.clone(), facts))
}
