//! Encodes the patterns of all rules in one array of numbers.
//!
//! A rule is a sequence of nodes that must all hold. A node is one of these:
//! - A test: `TEST | n`, then `n` predicates of one field, of which one must hold.
//! - A combination: `ALL | n` or `ANY | n`, then `n` numbers that encode inner nodes, of which all or one must hold.
//!
//! A rule begins with its rank and a head: `ALL | n`, or `APART | n` if array elements do not matter.
//!
//! A rule of three fields with one value each takes 36 bytes.

use super::consistency;
use super::facts::Facts;
use super::intern::Collected;
use super::predicates::Predicates;
use crate::pattern::{Conjunction, Node as PatternNode, Pattern};
use crate::table::ids::{FieldId, PredicateId, narrow};

const KIND: u32 = 3 << 30;
const TEST: u32 = 0;
const ALL: u32 = 1 << 30;
const ANY: u32 = 2 << 30;
const APART: u32 = 3 << 30;

/// A sequence of nodes.
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
        let (&head, code) = self.0.split_first()?;
        let length = (head & !KIND) as usize;
        let (inside, after) = code.split_at_checked(length)?;
        self.0 = after;
        Some(match head & KIND {
            TEST => Node::Test(inside),
            ALL => Node::All(Nodes(inside)),
            _ => Node::Any(Nodes(inside)),
        })
    }
}

impl Nodes<'_> {
    /// Whether all nodes hold, regardless of array elements.
    pub(crate) fn all_hold(&self, facts: &Facts<'_, '_>) -> bool {
        self.clone().all(|node| node.holds(facts))
    }
}

impl Node<'_> {
    /// Whether the node holds, regardless of array elements.
    pub(crate) fn holds(&self, facts: &Facts<'_, '_>) -> bool {
        match self {
            Self::Test(predicates) => facts.any_holds(predicates),
            Self::All(nodes) => nodes.all_hold(facts),
            Self::Any(nodes) => nodes.clone().any(|node| node.holds(facts)),
        }
    }
}

/// A decoded rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule<'p> {
    pub(crate) rank: usize,
    /// All of these must hold.
    pub(crate) nodes: Nodes<'p>,
    /// Whether array elements do not matter.
    pub(crate) is_apart: bool,
}

/// Position of a rule in a [`Program`]. Positions are in the order of ranks.
pub(crate) type RuleAt = u32;

/// The encoded rules of a set, in rank order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    code: Vec<u32>,
    /// The position of each rule, by rank.
    starts: Vec<RuleAt>,
}

/// Decodes a rule; `None` if `code` is all zeros.
#[inline]
pub(crate) fn read(code: &[u32]) -> Option<Rule<'_>> {
    let (&[rank, head], inside) = code.split_first_chunk()?;
    let nodes = Nodes(inside.get(..(head & !KIND) as usize)?);
    let kind = head & KIND;
    matches!(kind, ALL | APART).then_some(Rule { rank: rank as usize, nodes, is_apart: kind == APART })
}

impl Program {
    /// Reserves room for `rules` rules. Vectors that grow fragment the heap, which is not returned to the system.
    pub(crate) fn reserve(&mut self, rules: usize) {
        self.code.reserve(rules.saturating_mul(16));
        self.starts.reserve(rules);
    }

    /// Appends a rule. `field` maps a path to its field.
    pub(crate) fn push(
        &mut self,
        pattern: &Pattern,
        field: &mut impl FnMut(&[Box<str>]) -> FieldId,
        predicates: &mut Collected,
    ) {
        self.begin();
        let kind = if consistency::may_matter(pattern) { ALL } else { APART };
        self.block(kind, |program| program.conjunction(&pattern.root, field, predicates));
    }

    /// Appends a rule of another set. `field` maps a field of that set to a field of this one.
    pub(crate) fn adopt(
        &mut self,
        rule: Rule<'_>,
        from: &Predicates,
        field: &mut impl FnMut(FieldId) -> FieldId,
        predicates: &mut Collected,
    ) {
        self.begin();
        let kind = if rule.is_apart { APART } else { ALL };
        self.block(kind, |program| program.nodes(rule.nodes, from, field, predicates));
    }

    fn begin(&mut self) {
        self.code.push(narrow(self.starts.len()));
        self.starts.push(narrow(self.code.len() - 1));
    }

    /// The position of the rule of a rank.
    pub(crate) fn at(&self, rank: usize) -> RuleAt {
        self.starts.get(rank).copied().unwrap_or(RuleAt::MAX)
    }

    /// The rule of a rank.
    pub(crate) fn rule(&self, rank: usize) -> Rule<'_> {
        self.rule_at(self.at(rank))
    }

    /// The rule at a position.
    #[inline]
    pub(crate) fn rule_at(&self, at: RuleAt) -> Rule<'_> {
        let code = self.code.get(at as usize..).unwrap_or_default();
        read(code).unwrap_or(Rule { rank: usize::MAX, nodes: Nodes(&[]), is_apart: true })
    }

    /// The code of a rule, for [`read`].
    pub(crate) fn code_at(&self, at: RuleAt) -> &[u32] {
        let length = self.rule_at(at).nodes.0.len() + 2;
        self.code.get(at as usize..at as usize + length).unwrap_or_default()
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
        predicates: &mut Collected,
    ) {
        for node in nodes {
            match node {
                PatternNode::Field(field) => {
                    let id = number(&field.path);
                    self.block(TEST, |program| {
                        program.code.extend(field.tests.iter().map(|test| predicates.intern(id, test)));
                    });
                }
                PatternNode::Or(branches) => self.block(ANY, |program| {
                    for branch in branches {
                        if branch.len() == 1 {
                            program.conjunction(branch, number, predicates);
                        } else {
                            program.block(ALL, |program| program.conjunction(branch, number, predicates));
                        }
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
        predicates: &mut Collected,
    ) {
        for node in nodes {
            match node {
                Node::Test(test) => self.block(TEST, |program| {
                    let field = test.first().map_or(FieldId::MAX, |id| field(from.field(*id)));
                    let test = from.by_age(test);
                    program.code.extend(test.into_iter().map(|id| predicates.adopt(from, id, field)));
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

    /// Replaces the preliminary numbers of equalities by their final ones, and sorts each test: equalities first, ascending,
    /// so that they can be searched if there are many.
    pub(crate) fn renumber(&mut self, ids: &[PredicateId]) {
        let mut rules = self.code.as_mut_slice();
        while let Some(([_rank, head], code)) = rules.split_first_chunk_mut()
            && let Some((mut nodes, after)) = code.split_at_mut_checked((*head & !KIND) as usize)
        {
            while let Some((head, inside)) = nodes.split_first_mut() {
                let length = if *head & KIND == TEST { *head as usize } else { 0 };
                let Some((test, next)) = inside.split_at_mut_checked(length) else { break };
                for id in test.iter_mut() {
                    *id = ids.get(*id as usize).copied().unwrap_or(*id);
                }
                test.sort_unstable();
                nodes = next;
            }
            rules = after;
        }
    }

    /// Writes a head and its inner nodes, then sets the length in the head.
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
