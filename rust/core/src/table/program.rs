//! Rules as numbers: every pattern of a set in one array.
//!
//! A rule is a sequence of nodes that must all hold:
//! - a test, `TEST | n` and `n` predicate numbers of one field, of which one must hold;
//! - `ALL | length` or `ANY | length` and that many numbers of nodes inside, of which all or one must hold.
//!
//! A rule of three fields with one value each takes 36 bytes.

use super::facts::Facts;
use super::fields::FieldId;
use super::narrow;
use super::predicates::{PredicateId, Predicates};
use crate::pattern::{Conjunction, Node as PatternNode, Pattern};

const KIND: u32 = 3 << 30;
const TEST: u32 = 0;
const ALL: u32 = 1 << 30;
const ANY: u32 = 2 << 30;

/// Some nodes, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Nodes<'p>(&'p [u32]);

/// One node.
#[derive(Clone, Debug)]
pub(crate) enum Node<'p> {
    /// One of these predicates, all of one field, must hold.
    Test(&'p [PredicateId]),
    /// All of these must hold.
    All(Nodes<'p>),
    /// One of these must hold.
    Any(Nodes<'p>),
}

impl<'p> Iterator for Nodes<'p> {
    type Item = Node<'p>;

    #[inline]
    fn next(&mut self) -> Option<Node<'p>> {
        let (&head, rest) = self.0.split_first()?;
        let length = (head & !KIND) as usize;
        let (inside, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some(match head & KIND {
            TEST => Node::Test(inside),
            ALL => Node::All(Nodes(inside)),
            _ => Node::Any(Nodes(inside)),
        })
    }
}

impl Nodes<'_> {
    /// Whether all hold when it does not matter which array element a value is in.
    pub(crate) fn all_hold(&self, facts: &Facts<'_, '_>) -> bool {
        self.clone().all(|node| node.holds(facts))
    }
}

impl Node<'_> {
    /// Whether it holds when it does not matter which array element a value is in.
    pub(crate) fn holds(&self, facts: &Facts<'_, '_>) -> bool {
        match self {
            Self::Test(predicates) => facts.any_holds(predicates),
            Self::All(nodes) => nodes.all_hold(facts),
            Self::Any(nodes) => nodes.clone().any(|node| node.holds(facts)),
        }
    }
}

/// Where a rule is in a [`Program`]; of a lower rank, before one of a higher rank.
pub(crate) type RuleAt = u32;

/// The rules of a set, by rank: of each, its rank, how many numbers its nodes are, and those.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    code: Vec<u32>,
    /// By rank.
    starts: Vec<RuleAt>,
}

impl Program {
    /// Has room for so many rules: as lists grow they leave holes in memory behind, which nobody gives back.
    pub(crate) fn reserve(&mut self, rules: usize) {
        self.code.reserve(rules.saturating_mul(16));
        self.starts.reserve(rules);
    }

    /// Appends a rule. `field` gives the number of a path.
    pub(crate) fn push(
        &mut self,
        pattern: &Pattern,
        field: &mut impl FnMut(&[Box<str>]) -> FieldId,
        predicates: &mut Predicates,
    ) {
        self.begin();
        self.block(ALL, |program| program.conjunction(&pattern.root, field, predicates));
    }

    /// Appends a rule of another set. `field` gives the number here of a field there.
    pub(crate) fn adopt(
        &mut self,
        rule: Nodes<'_>,
        from: &Predicates,
        field: &mut impl FnMut(FieldId) -> FieldId,
        predicates: &mut Predicates,
    ) {
        self.begin();
        self.block(ALL, |program| program.nodes(rule, from, field, predicates));
    }

    fn begin(&mut self) {
        self.code.push(narrow(self.starts.len()));
        self.starts.push(narrow(self.code.len() - 1));
    }

    /// Where the rule of a rank is.
    pub(crate) fn at(&self, rank: usize) -> RuleAt {
        self.starts.get(rank).copied().unwrap_or(RuleAt::MAX)
    }

    /// The nodes of a rule.
    pub(crate) fn rule(&self, rank: usize) -> Nodes<'_> {
        self.rule_at(self.at(rank)).1
    }

    /// The rank of a rule, and its nodes.
    #[inline]
    pub(crate) fn rule_at(&self, at: RuleAt) -> (usize, Nodes<'_>) {
        let Some((&rank, rest)) = self.code.get(at as usize..).and_then(<[u32]>::split_first) else {
            return (usize::MAX, Nodes(&[]));
        };
        let nodes = match Nodes(rest).next() {
            Some(Node::All(nodes)) => nodes,
            _ => Nodes(&[]),
        };
        (rank as usize, nodes)
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    pub(crate) fn finish(&mut self) {
        self.code.shrink_to_fit();
        self.starts.shrink_to_fit();
    }

    fn conjunction(
        &mut self,
        nodes: &Conjunction,
        number: &mut impl FnMut(&[Box<str>]) -> FieldId,
        predicates: &mut Predicates,
    ) {
        for node in nodes {
            match node {
                PatternNode::Field(field) => {
                    let id = number(&field.path);
                    self.block(TEST, |program| {
                        let start = program.code.len();
                        program.code.extend(field.tests.iter().map(|test| predicates.intern(id, test)));
                        program.sort_test(start, predicates);
                    });
                }
                PatternNode::Or(branches) => self.block(ANY, |program| {
                    for branch in branches {
                        program.block(ALL, |program| program.conjunction(branch, number, predicates));
                    }
                }),
            }
        }
    }

    fn nodes(
        &mut self,
        nodes: Nodes<'_>,
        from: &Predicates,
        field: &mut impl FnMut(FieldId) -> FieldId,
        predicates: &mut Predicates,
    ) {
        for node in nodes {
            match node {
                Node::Test(test) => self.block(TEST, |program| {
                    let start = program.code.len();
                    let field = test.first().map_or(FieldId::MAX, |id| field(from.field(*id)));
                    program.code.extend(test.iter().map(|id| predicates.adopt(from, *id, field)));
                    program.sort_test(start, predicates);
                }),
                Node::All(inside) => {
                    self.block(ALL, |program| program.nodes(inside, from, field, predicates));
                }
                Node::Any(inside) => {
                    self.block(ANY, |program| program.nodes(inside, from, field, predicates));
                }
            }
        }
    }

    /// Equalities first, ascending, so that they can be searched where there are many.
    fn sort_test(&mut self, start: usize, predicates: &Predicates) {
        if let Some(test) = self.code.get_mut(start..) {
            test.sort_unstable_by_key(|id| (!predicates.is_equality(*id), *id));
        }
    }

    /// A head, and its length once what is inside is written.
    fn block(&mut self, kind: u32, inside: impl FnOnce(&mut Self)) {
        let at = self.code.len();
        self.code.push(0);
        inside(self);
        let length = narrow(self.code.len() - at - 1) & !KIND;
        if let Some(head) = self.code.get_mut(at) {
            *head = kind | length;
        }
    }
}
