//! Builds the [`Index`]: chooses the guards of each rule.

use smallvec::SmallVec;

use super::forward::Forward;
use super::predicates::Predicates;
use super::program::{Node, Nodes, Program, RuleAt};
use super::tree::{Below, Index, NodeId, ROOT};
use crate::pattern::Predicate;
use crate::table::ids::{PredicateId, narrow};

/// The longest list of rules that is not divided further.
const SHORT: usize = 4;
/// The most levels of the tree.
const DEPTH: usize = 6;
/// The most predicates of a guard below the root, so that a rule is not listed too often.
const NARROW: usize = 4;
/// The most options of a rule that are considered: `used` has a bit for each.
const OPTIONS: usize = 32;

/// The predicates of one option.
type Choice = SmallVec<[PredicateId; 4]>;

/// A rule that is being placed in the tree.
#[derive(Clone, Copy)]
struct Placing {
    /// The predicate that led to the current node.
    guard: PredicateId,
    rank: u32,
    /// A bit for each option that was used above.
    used: u32,
}

/// The options of all rules, concatenated.
#[derive(Default)]
struct Options {
    ids: Vec<PredicateId>,
    /// The end of each option in `ids`.
    ends: Vec<u32>,
    /// The end of each rule's options in `ends`, by rank.
    rules: Vec<u32>,
}

struct Builder<'b> {
    index: Index,
    program: &'b Program,
    /// The children of the root.
    top: Vec<(PredicateId, Below)>,
    predicates: &'b Predicates,
    options: Options,
    /// Number of current rules that ask for each predicate; all 0 outside `part`.
    wanted: Vec<u32>,
    guards: Vec<PredicateId>,
}

impl Index {
    /// Builds the tree for all rules of a program. For rules that need some value of a field, no matter which, it may add
    /// the predicate "has a value".
    pub(crate) fn build(program: &Program, predicates: &mut Predicates) -> Self {
        let mut options = Options::for_rules(program.len());
        for rank in 0..program.len() {
            options.push(program.rule(rank).nodes, predicates);
        }
        let wanted = vec![0; predicates.len()];
        let mut builder = Builder {
            index: Self::default(),
            program,
            top: Vec::new(),
            predicates,
            options,
            wanted,
            guards: Vec::new(),
        };
        let start = |rank| Placing { guard: PredicateId::MAX, rank, used: 0 };
        let all: Vec<Placing> = (0..).take(program.len()).map(start).collect();
        builder.build_node(&all, 0);
        let Builder { mut index, mut guards, top, .. } = builder;
        for (id, below) in top {
            let code = below.alone().map_or(&[][..], |at| program.code_at(at));
            predicates.set_below(id, below, code);
        }
        guards.sort_unstable();
        guards.dedup();
        index.finish(Forward::build(&guards, predicates));
        index
    }
}

impl Options {
    fn for_rules(count: usize) -> Self {
        let capacity = count.saturating_mul(8);
        Self {
            ids: Vec::with_capacity(capacity),
            ends: Vec::with_capacity(capacity),
            rules: Vec::with_capacity(count),
        }
    }

    /// Appends the options of the next rule.
    fn push(&mut self, rule: Nodes<'_>, predicates: &mut Predicates) {
        let mut choices: SmallVec<[Choice; 8]> = rule.filter_map(|node| option(node, predicates)).collect();
        // An option is worth less the more predicates it has.
        choices.sort_by_key(SmallVec::len);
        for choice in choices.iter().take(OPTIONS) {
            self.ids.extend_from_slice(choice);
            self.ends.push(narrow(self.ids.len()));
        }
        self.rules.push(narrow(self.ends.len()));
    }

    /// The options of a rule.
    fn of(&self, rank: u32) -> impl Iterator<Item = &[PredicateId]> {
        let before = |ends: &[u32], at: usize| match at.checked_sub(1) {
            Some(before) => ends.get(before).copied().unwrap_or_default() as usize,
            None => 0,
        };
        let first = before(&self.rules, rank as usize);
        let last = self.rules.get(rank as usize).copied().unwrap_or_default() as usize;
        (first..last).map(move |at| {
            let end = self.ends.get(at).copied().unwrap_or_default() as usize;
            self.ids.get(before(&self.ends, at)..end).unwrap_or_default()
        })
    }

    /// The options that a rule has not used yet, with their bits.
    fn open(&self, rule: Placing, depth: usize) -> impl Iterator<Item = (u32, &[PredicateId])> {
        let fits = move |(bit, choice): &(u32, &[PredicateId])| {
            rule.used >> bit & 1 == 0 && (depth == 0 || choice.len() <= NARROW)
        };
        (0..).zip(self.of(rule.rank)).filter(fits)
    }
}

/// The predicates of which one must hold for a node to hold; `None` if the node can hold without any value.
fn option(node: Node<'_>, predicates: &mut Predicates) -> Option<Choice> {
    match node {
        Node::Test(tests) => {
            let mut out = Choice::new();
            for &id in tests {
                match predicates.other(id) {
                    Some(Predicate::Exists(false)) => return None,
                    // It holds for almost any value, so the shared predicate "has a value" replaces it.
                    Some(Predicate::AnythingBut(_)) => {
                        let field = predicates.field(id);
                        out.push(predicates.intern_other(field, &Predicate::Exists(true)));
                    }
                    _ => out.push(id),
                }
            }
            out.sort_unstable();
            out.dedup();
            Some(out)
        }
        // The part with the fewest predicates.
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
    /// Builds a node for these rules, given in rank order, and all nodes below it.
    fn build_node(&mut self, rules: &[Placing], depth: usize) -> NodeId {
        let program = self.program;
        let at = |rank: u32| program.at(rank as usize);
        let node = self.index.grow(rules.first().map_or(RuleAt::MAX, |rule| at(rule.rank)));
        if rules.len() <= SHORT || depth >= DEPTH {
            self.index.list_at(node, rules.iter().map(|rule| at(rule.rank)));
            return node;
        }
        let (listed, parted) = self.part(rules, depth);
        self.index.list_at(node, listed.into_iter().map(at));
        if node != ROOT {
            let guards = parted.chunk_by(|a, b| a.guard == b.guard).filter_map(|below| below.first());
            self.index.part_by(node, guards.map(|first| first.guard));
        }
        for below in parted.chunk_by(|a, b| a.guard == b.guard) {
            let Some(&Placing { guard, rank, .. }) = below.first() else { continue };
            self.guards.push(guard);
            let below = match below {
                [_] => Below::rule(at(rank)),
                _ => Below::node(self.build_node(below, depth + 1)),
            };
            if node == ROOT {
                self.top.push((guard, below));
            } else {
                self.index.put_below(node, guard, below);
            }
        }
        node
    }

    /// Divides the rules of a node into those that it lists, and those that go below it by a guard, sorted by guard, then
    /// rank.
    fn part(&mut self, rules: &[Placing], depth: usize) -> (Vec<u32>, Vec<Placing>) {
        let Self { options, wanted, predicates, .. } = self;
        for id in rules.iter().flat_map(|rule| options.open(*rule, depth)).flat_map(|(_, choice)| choice) {
            if let Some(wanted) = wanted.get_mut(predicates.position(*id)) {
                *wanted += 1;
            }
        }
        let cost = |choice: &[PredicateId]| {
            let wanted = choice
                .iter()
                .map(|id| u64::from(wanted.get(predicates.position(*id)).copied().unwrap_or_default()));
            // Among options that equally few rules want, the cheapest to evaluate and the least likely to hold is best.
            (wanted.sum::<u64>(), choice.iter().map(|id| predicates.price(*id)).max())
        };
        let (mut listed, mut parted) = (Vec::new(), Vec::with_capacity(rules.len()));
        for rule in rules {
            match options.open(*rule, depth).min_by_key(|(_, choice)| cost(choice)) {
                None => listed.push(rule.rank),
                Some((bit, choice)) => {
                    let used = rule.used | 1 << bit;
                    parted.extend(choice.iter().map(|guard| Placing { guard: *guard, used, ..*rule }));
                }
            }
        }
        for id in rules.iter().flat_map(|rule| options.open(*rule, depth)).flat_map(|(_, choice)| choice) {
            if let Some(wanted) = wanted.get_mut(predicates.position(*id)) {
                *wanted = 0;
            }
        }
        parted.sort_unstable_by_key(|rule| (rule.guard, rule.rank));
        (listed, parted)
    }
}
