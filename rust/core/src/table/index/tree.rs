//! The index: a tree that finds the rules that may match a message, by predicates that each rule requires.
//!
//! # Construction
//! Each part of a rule's conjunction that requires a value is an *option*: a test, or an `$or` whose every branch has an
//! option. One option becomes the rule's *guard*, and the rule is listed below each predicate of its guard. If none of them
//! holds, the rule cannot match and is never evaluated. The guard is the option whose predicates the fewest rules ask for, so
//! that lists are short; among equal ones, the option that is cheapest to evaluate.
//!
//! If a list is still long, because many rules ask for the same value, its rules are divided by another of their options, and
//! so on. The result is a tree; each node is reached from its parent by one predicate that holds. A rule without further
//! options (its pattern is empty, or tests only absence) is listed at the node where it has none left.
//!
//! A rule is listed once for each predicate of its guard, and only options with few predicates are used below that. So memory
//! is linear in the text of the rules. `$or` is never expanded.
//!
//! # Use
//! First, [`Forward`] finds the guards that hold for a message, with one look-up for each scalar of a field with guards and no
//! step for each rule. Then, starting at the root, every child whose guard holds is visited. The rules listed there are
//! evaluated in rank order, one predicate at a time. A search for the first match skips lists and nodes that begin after the
//! best match so far.

use std::cell::Cell;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::consistency;
use super::facts::Facts;
use super::forward::Forward;
use super::predicates::Predicates;
use super::program::{self, Program, Rule, RuleAt};
use crate::pattern::format_keys;
use crate::table::cost::{Linear, MANY};
use crate::table::ids::{PredicateId, narrow};
use crate::table::message::fields::Fields;
use crate::table::work;

pub(crate) type NodeId = u32;

/// The child of a node by one guard: nothing, one rule, or a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Below(u32);

#[derive(Clone, Copy, Debug)]
enum Child {
    Nothing,
    Rule(RuleAt),
    Node(NodeId),
}

#[derive(Clone, Debug)]
struct IndexNode {
    /// Start of the node's rules in `lists`, which are in ascending order.
    start: u32,
    /// End of the node's rules in `lists`.
    end: u32,
    /// The first rule at this node or below.
    first: RuleAt,
    /// Start of the guards of the node's children in `guards`, which are in ascending order.
    guards: u32,
    /// End of the guards of the node's children in `guards`.
    guards_end: u32,
}

/// The tree. The children of the root are stored with the [`Predicates`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    nodes: Vec<IndexNode>,
    lists: Vec<RuleAt>,
    /// Children of all nodes except the root.
    children: HashMap<(NodeId, PredicateId), Below, RandomState>,
    /// The guards of `children`, by node.
    guards: Vec<PredicateId>,
    forward: Forward,
}

pub(crate) const ROOT: NodeId = 0;

/// Nodes to visit.
type ToVisit = SmallVec<[NodeId; 16]>;

impl Below {
    pub(crate) const NOTHING: Self = Self(u32::MAX);
    const RULE: u32 = 1 << 31;

    pub(crate) fn rule(at: RuleAt) -> Self {
        Self(at | Self::RULE)
    }

    pub(crate) fn node(node: NodeId) -> Self {
        Self(node & !Self::RULE)
    }

    /// The rule, if the child is a single rule.
    pub(crate) fn alone(self) -> Option<RuleAt> {
        if let Child::Rule(at) = self.child() { Some(at) } else { None }
    }

    #[inline]
    fn child(self) -> Child {
        match self.0 {
            u32::MAX => Child::Nothing,
            at if at & Self::RULE != 0 => Child::Rule(at & !Self::RULE),
            node => Child::Node(node),
        }
    }
}

impl Index {
    /// Adds a node without rules or children. `first` is the first rule that will be at the node or below.
    pub(crate) fn grow(&mut self, first: RuleAt) -> NodeId {
        let node = narrow(self.nodes.len());
        self.nodes.push(IndexNode { start: 0, end: 0, first, guards: 0, guards_end: 0 });
        node
    }

    /// Lists rules, in rank order, at a node.
    pub(crate) fn list_at(&mut self, node: NodeId, rules: impl Iterator<Item = RuleAt>) {
        let start = narrow(self.lists.len());
        self.lists.extend(rules);
        let end = narrow(self.lists.len());
        if let Some(node) = self.nodes.get_mut(node as usize) {
            (node.start, node.end) = (start, end);
        }
    }

    /// Sets the guards of the children of a node that is not the root, in ascending order.
    pub(crate) fn part_by(&mut self, node: NodeId, guards: impl Iterator<Item = PredicateId>) {
        let start = narrow(self.guards.len());
        self.guards.extend(guards);
        let end = narrow(self.guards.len());
        if let Some(node) = self.nodes.get_mut(node as usize) {
            (node.guards, node.guards_end) = (start, end);
        }
    }

    /// Adds a child to a node that is not the root.
    pub(crate) fn put_below(&mut self, node: NodeId, guard: PredicateId, below: Below) {
        self.children.insert((node, guard), below);
    }

    /// Completes the tree and frees memory that only building needs.
    pub(crate) fn finish(&mut self, forward: Forward) {
        self.forward = forward;
        self.nodes.shrink_to_fit();
        self.lists.shrink_to_fit();
        self.children.shrink_to_fit();
        self.guards.shrink_to_fit();
    }

    /// Sets handles, by predicate.
    pub(crate) fn set_handles(&mut self, predicates: &Predicates) {
        self.forward.set_handles(predicates);
    }

    /// Rank of the first matching rule for which `counts` holds, and its handle (0 if none is at hand). `counts` is called
    /// before a rule is evaluated.
    pub(crate) fn first(
        &self,
        program: &Program,
        facts: &mut Facts<'_, '_>,
        counts: impl Fn(usize) -> bool,
    ) -> Option<(usize, usize)> {
        self.forward.find(facts);
        let facts = &*facts;
        let best = Cell::new((RuleAt::MAX, None));
        self.walk(
            facts,
            |first| first < best.get().0,
            |at, guard| {
                let code = guard.map_or(&[][..], |guard| facts.predicates.rule(guard));
                let rule = program::read(code).unwrap_or_else(|| program.rule_at(at));
                if counts(rule.rank) && matches(&rule, facts) {
                    let handle = guard.map_or(0, |guard| facts.predicates.handle(guard));
                    best.set((at, Some((rule.rank, handle))));
                }
            },
        );
        best.get().1
    }

    /// Ranks of all rules that match, ascending.
    pub(crate) fn matches(&self, program: &Program, facts: &mut Facts<'_, '_>) -> Vec<usize> {
        self.forward.find(facts);
        let facts = &*facts;
        let mut found: Vec<RuleAt> = Vec::new();
        self.walk(facts, |_| true, |at, _| found.push(at));
        // A rule whose guard has several predicates may be found several times.
        found.sort_unstable();
        found.dedup();
        let rules = found.into_iter().map(|at| program.rule_at(at));
        rules.filter(|rule| matches(rule, facts)).map(|rule| rule.rank).collect()
    }

    /// Visits the rules whose guards are known to hold, those of one node in rank order. A rule that is not `wanted` ends its
    /// list, because later ones are not wanted either. `rule` also gets the guard, if the rule is its only child.
    fn walk(
        &self,
        facts: &Facts<'_, '_>,
        wanted: impl Fn(RuleAt) -> bool,
        mut rule: impl FnMut(RuleAt, Option<PredicateId>),
    ) {
        let guards = &facts.known;
        let mut todo = ToVisit::new();
        let mut visit = |child, guard, todo: &mut ToVisit| match child {
            Child::Rule(at) if wanted(at) => rule(at, guard),
            Child::Node(node) => todo.push(node),
            Child::Nothing | Child::Rule(_) => {}
        };
        if self.nodes.get(ROOT as usize).is_some_and(|root| root.start < root.end) {
            todo.push(ROOT);
        }
        for id in guards {
            visit(facts.predicates.below(*id).child(), Some(*id), &mut todo);
        }
        while let Some(id) = todo.pop() {
            work::step(1);
            let Some(node) = self.nodes.get(id as usize).filter(|node| wanted(node.first)) else {
                continue;
            };
            for &at in self.list(node) {
                if !wanted(at) || facts.work().is_exhausted() {
                    break;
                }
                visit(Child::Rule(at), None, &mut todo);
            }
            let own = self.guards.get(node.guards as usize..node.guards_end as usize).unwrap_or_default();
            // The fewer are looked up among the others: those that hold, or those that lead on.
            let asked = if own.len() < guards.len() { own } else { guards.as_slice() };
            work::step(asked.len());
            for guard in asked.iter().filter(|_| !own.is_empty()) {
                if let Some(child) = self.children.get(&(id, *guard))
                    && (own.len() >= guards.len() || facts.knows(*guard))
                {
                    visit(child.child(), None, &mut todo);
                }
            }
        }
    }

    /// Groups of rules that are tried one by one, if they are large.
    pub(crate) fn linear(&self, program: &Program, predicates: &Predicates, fields: &Fields) -> Vec<Linear> {
        let mut out: Vec<Linear> = Vec::new();
        let tried: Vec<_> = self.forward.tried().filter(|(.., tried)| !tried.is_empty()).collect();
        if tried.is_empty() && self.nodes.iter().all(|node| self.list(node).len() < MANY) {
            return out;
        }
        let top = predicates.ids().map(|id| (predicates.below(id), (ROOT, id)));
        let edges = top.chain(self.children.iter().map(|((node, id), child)| (*child, (*node, *id))));
        let mut above: HashMap<NodeId, (NodeId, PredicateId), RandomState> = HashMap::default();
        let mut below: HashMap<NodeId, Vec<Child>, RandomState> = HashMap::default();
        for (child, (node, id)) in edges {
            below.entry(node).or_default().push(child.child());
            if let Child::Node(child) = child.child() {
                above.insert(child, (node, id));
            }
        }
        let rank = |at: &RuleAt| program.rule_at(*at).rank;
        let guard = |id: PredicateId| {
            let field = format_keys(fields.path(predicates.field(id)));
            format!("{field} is {}", predicates.describe(id))
        };
        for (id, node) in (0..).zip(&self.nodes) {
            let list = self.list(node);
            if list.len() < MANY {
                continue;
            }
            let mut guards = Vec::new();
            let mut at = id;
            while let Some((parent, id)) = above.get(&at) {
                guards.push(guard(*id));
                at = *parent;
            }
            guards.reverse();
            let when = if guards.is_empty() { "every message".to_owned() } else { guards.join(", ") };
            out.push(Linear { when, rules: list.iter().map(rank).collect() });
        }
        for (field, what, tried) in tried {
            let mut todo: Vec<Child> = tried.iter().map(|id| predicates.below(*id).child()).collect();
            let mut rules: Vec<usize> = Vec::new();
            while let Some(child) = todo.pop() {
                match child {
                    Child::Nothing => {}
                    Child::Rule(at) => rules.push(rank(&at)),
                    Child::Node(node) => {
                        let list = self.nodes.get(node as usize).map_or(&[][..], |node| self.list(node));
                        rules.extend(list.iter().map(rank));
                        todo.extend(below.get(&node).into_iter().flatten());
                    }
                }
            }
            rules.sort_unstable();
            rules.dedup();
            if rules.len() >= MANY {
                out.push(Linear { when: format!("{} is {what}", format_keys(fields.path(field))), rules });
            }
        }
        out.sort_by_key(|linear| std::cmp::Reverse(linear.rules.len()));
        out
    }

    /// The guards of all nodes except the root.
    pub(crate) fn guards(&self) -> impl Iterator<Item = PredicateId> {
        self.guards.iter().copied()
    }

    /// The guards that are tried one by one for a value.
    pub(crate) fn tried(&self) -> impl Iterator<Item = PredicateId> {
        self.forward.tried().flat_map(|(.., tried)| tried)
    }

    fn list(&self, node: &IndexNode) -> &[u32] {
        self.lists.get(node.start as usize..node.end as usize).unwrap_or_default()
    }
}

/// Whether a rule matches.
pub(crate) fn matches(rule: &Rule<'_>, facts: &Facts<'_, '_>) -> bool {
    work::step(1);
    if rule.is_apart || facts.view.elements.len() <= 1 {
        rule.nodes.all_hold(facts)
    } else {
        consistency::holds(rule.nodes.clone(), facts)
    }
}
