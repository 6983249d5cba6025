//! Which rules may match a message: a tree that a rule is found in by a few of the predicates it cannot do without.
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

use std::collections::BTreeMap;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::consistency;
use super::cost::{Dear, MANY};
use super::facts::Facts;
use super::fields::Fields;
use super::forward::Forward;
use super::predicates::{PredicateId, Predicates};
use super::program::{Node, Nodes, Program};
use super::work;
use crate::pattern::{Predicate, format_keys};

/// Lists up to this length are evaluated as they are.
const SHORT: usize = 4;
/// How deep the tree may be.
const DEPTH: usize = 6;
/// Below the root, how many predicates a guard may have, so that a rule is not listed too often.
const NARROW: usize = 4;

type NodeId = u32;

/// The alternatives of one option of one rule.
type Choice = SmallVec<[PredicateId; 2]>;

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

const ROOT: NodeId = 0;
const NONE: NodeId = NodeId::MAX;

/// Nodes to visit.
type ToVisit = SmallVec<[NodeId; 16]>;

/// A rule on its way down: its rank, and which of its options have been used.
#[derive(Clone, Copy)]
struct Travelling {
    rank: u32,
    used: u64,
}

struct Builder<'b> {
    index: Index,
    predicates: &'b Predicates,
    /// By rank.
    options: &'b [Vec<Choice>],
    guards: Vec<PredicateId>,
}

impl Index {
    /// Builds the tree for all rules of a program. May add predicates: "has a value", for rules that need one but not
    /// which.
    pub(crate) fn build(program: &Program, predicates: &mut Predicates) -> Self {
        let options: Vec<Vec<Choice>> =
            (0..program.len()).map(|rank| options(program.rule(rank), predicates)).collect();
        let mut builder =
            Builder { index: Self::default(), predicates, options: &options, guards: Vec::new() };
        let all = (0..).zip(&options).map(|(rank, _)| Travelling { rank, used: 0 }).collect();
        builder.place(all, 0);
        let Builder { mut index, mut guards, .. } = builder;
        guards.sort_unstable();
        guards.dedup();
        index.forward = Forward::build(&guards, predicates);
        index.places.shrink_to_fit();
        index.lists.shrink_to_fit();
        index.top.shrink_to_fit();
        index.children.shrink_to_fit();
        index
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
        for (field, tried) in self.forward.tried() {
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
                out.push(Dear { when: format!("{} is a string", format_keys(fields.path(field))), rules });
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

/// The options of a rule: sets of predicates of which one must hold.
fn options(rule: Nodes<'_>, predicates: &mut Predicates) -> Vec<Choice> {
    let mut out: Vec<Choice> = rule.filter_map(|node| option(node, predicates)).collect();
    // A bit for each says whether it was used; the more alternatives an option has, the less it is worth.
    out.sort_by_key(SmallVec::len);
    out.truncate(64);
    out
}

fn option(node: Node<'_>, predicates: &mut Predicates) -> Option<Choice> {
    match node {
        Node::Test(tests) => {
            let mut out = Choice::new();
            for &id in tests {
                match predicates.other(id) {
                    Some(Predicate::Exists(false)) => return None,
                    // Holds for almost any value: "has a value" stands for it, once for all of them.
                    Some(Predicate::AnythingBut(_)) => {
                        let field = predicates.field(id);
                        out.push(predicates.intern(field, &Predicate::Exists(true)));
                    }
                    _ => out.push(id),
                }
            }
            out.sort_unstable();
            out.dedup();
            Some(out)
        }
        // The narrowest part of a conjunction.
        Node::All(nodes) => nodes.filter_map(|node| option(node, predicates)).min_by_key(SmallVec::len),
        Node::Any(nodes) => {
            let mut out = Choice::new();
            for node in nodes {
                out.extend(option(node, predicates)?);
            }
            out.sort_unstable();
            out.dedup();
            Some(out)
        }
    }
}

impl Builder<'_> {
    /// Makes the place for these rules, and those below it.
    fn place(&mut self, rules: Vec<Travelling>, depth: usize) -> NodeId {
        let node = u32::try_from(self.index.places.len()).unwrap_or(u32::MAX);
        let best = rules.first().map_or(u32::MAX, |rule| rule.rank);
        self.index.places.push(Place { start: 0, end: 0, best, parted: false });
        let (listed, parted) = self.part(rules, depth);
        let start = u32::try_from(self.index.lists.len()).unwrap_or(u32::MAX);
        self.index.lists.extend(listed.iter().map(|rule| rule.rank));
        let end = u32::try_from(self.index.lists.len()).unwrap_or(u32::MAX);
        if let Some(place) = self.index.places.get_mut(node as usize) {
            *place = Place { start, end, best, parted: !parted.is_empty() };
        }
        for (predicate, rules) in parted {
            let child = self.place(rules, depth + 1);
            self.guards.push(predicate);
            if node == ROOT {
                let index = predicate as usize;
                if index >= self.index.top.len() {
                    self.index.top.resize(index + 1, NONE);
                }
                if let Some(slot) = self.index.top.get_mut(index) {
                    *slot = child;
                }
            } else {
                self.index.children.insert((node, predicate), child);
            }
        }
        node
    }

    /// Which rules are listed in a place, and which go on below it by which predicate.
    fn part(
        &self,
        rules: Vec<Travelling>,
        depth: usize,
    ) -> (Vec<Travelling>, BTreeMap<PredicateId, Vec<Travelling>>) {
        let mut parted: BTreeMap<PredicateId, Vec<Travelling>> = BTreeMap::new();
        if rules.len() <= SHORT || depth >= DEPTH {
            return (rules, parted);
        }
        let mut wanted: HashMap<PredicateId, u32, RandomState> = HashMap::default();
        for rule in &rules {
            for (_, choice) in self.open(*rule, depth) {
                for id in choice {
                    *wanted.entry(*id).or_default() += 1;
                }
            }
        }
        let mut listed = Vec::new();
        for rule in rules {
            let cost = |choice: &Choice| {
                choice.iter().map(|id| u64::from(wanted.get(id).copied().unwrap_or_default())).sum::<u64>()
            };
            match self.open(rule, depth).min_by_key(|(_, choice)| (cost(choice), self.price(choice))) {
                None => listed.push(rule),
                Some((bit, choice)) => {
                    for id in choice {
                        parted
                            .entry(*id)
                            .or_default()
                            .push(Travelling { used: rule.used | 1 << bit, ..rule });
                    }
                }
            }
        }
        (listed, parted)
    }

    /// How dear it is to find out whether a guard holds, and how likely it will.
    fn price(&self, choice: &Choice) -> u8 {
        choice.iter().map(|id| self.predicates.price(*id)).max().unwrap_or_default()
    }

    /// The options of a rule that are left, with their numbers.
    fn open(&self, rule: Travelling, depth: usize) -> impl Iterator<Item = (usize, &Choice)> {
        let options = self.options.get(rule.rank as usize).map_or(&[][..], Vec::as_slice);
        let fits = move |(bit, choice): &(usize, &Choice)| {
            rule.used & 1 << bit == 0 && (depth == 0 || choice.len() <= NARROW)
        };
        options.iter().enumerate().filter(fits)
    }
}
