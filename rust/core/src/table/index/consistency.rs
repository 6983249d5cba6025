//! Same-element consistency: predicates on fields of objects in one array must hold in the same element.
//!
//! A rule matches if one element can be chosen for every array such that each predicate holds for a value whose enclosing
//! elements are all chosen. Seen from one chosen element, a predicate is then
//! - true, if a satisfying value is in this element or in one around it, but in no deeper array;
//! - false, if no value inside the element satisfies it;
//! - open otherwise: it depends on the elements of one array inside, because a path leads through one array only.
//!
//! Predicates on different arrays are independent. So a conjunction is divided into groups that share arrays, and a group
//! with one array holds if one element of it satisfies the whole group. The elements tried are those in which the most
//! selective test of the group holds. Without `$or`, every element is visited at most once, and a rule that one element
//! satisfies visits only that one. A group that an `$or` connects to several arrays is tried branch by branch; compiling a
//! rule limits the number of branches.

use std::rc::Rc;

use smallvec::SmallVec;

use super::facts::{Elements, Facts};
use super::program::{Node, Nodes};
use crate::json::Element;
use crate::pattern::{Pattern, Predicate};
use crate::table::ids::{FieldId, PredicateId};
use crate::table::work;

/// An expression whose tests are resolved to the elements that satisfy them.
enum Goal {
    Always,
    /// Satisfied by values in these elements: ascending, without duplicates, possibly empty.
    In(Rc<[u32]>),
    All(Vec<Goal>),
    Any(Vec<Goal>),
}

type Goals<'g> = SmallVec<[&'g Goal; 8]>;

/// A chosen element and the chosen elements around it.
#[derive(Clone, Copy)]
struct Chosen<'c> {
    element: u32,
    outer: Option<&'c Chosen<'c>>,
}

impl Chosen<'_> {
    /// Whether one of the chosen elements is in `found`.
    fn holds(&self, found: &[u32]) -> bool {
        found.binary_search(&self.element).is_ok() || self.outer.is_some_and(|outer| outer.holds(found))
    }
}

/// Whether a rule holds for some choice of array elements.
pub(crate) fn holds(rule: Nodes<'_>, facts: &Facts<'_, '_>) -> bool {
    if let Some(holds) = holds_flat(rule.clone(), facts) {
        return holds;
    }
    if !rule.all_hold(facts) {
        return false;
    }
    if !matters(rule.clone(), facts) {
        return true;
    }
    let goal = Goal::All(rule.map(|node| resolve(node, facts)).collect());
    Solver { elements: facts.view.elements }.satisfied(&[&goal], Chosen { element: 0, outer: None })
}

/// [`holds`] for the simple case; `None` for others. A rule is simple if it consists of tests alone, and at most one of them
/// has values in arrays, or the message has few array elements, none of them nested.
fn holds_flat(rule: Nodes<'_>, facts: &Facts<'_, '_>) -> Option<bool> {
    const MOST: usize = u64::BITS as usize;
    let mut tests: SmallVec<[(&[PredicateId], FieldId); 4]> = SmallVec::new();
    for node in rule {
        let Node::Test(test) = node else { return None };
        if let Some(field) = facts.field(test).filter(|field| facts.may_be_in_arrays(*field)) {
            tests.push((test, field));
        } else if !facts.any_holds(test) {
            return Some(false);
        }
    }
    if tests.len() <= 1 {
        return Some(tests.iter().all(|(test, _)| facts.any_holds(test)));
    }
    let elements = facts.view.elements;
    if elements.len() > MOST || elements.iter().any(|element| element.parent != 0) {
        return None;
    }
    // For each array, the elements that satisfy all tests so far. All values of a field are in one array.
    let mut arrays: SmallVec<[(u32, u64); 4]> = SmallVec::new();
    for (test, field) in tests {
        let mut bits = 0_u64;
        let is_always = accepted(test, field, facts, |element| bits |= 1 << (element % u64::BITS));
        if is_always || bits & 1 != 0 {
            continue;
        }
        let Some(element) = elements.get(bits.trailing_zeros() as usize) else { return Some(false) };
        let mut known = arrays.iter_mut().filter(|(array, _)| *array == element.array);
        if let Some((_, all)) = known.next() {
            *all &= bits;
            if *all == 0 {
                return Some(false);
            }
        } else {
            arrays.push((element.array, bits));
        }
    }
    Some(true)
}

/// Calls `found` with each element that has a value satisfying a test, in the order of the message. Returns true if the test
/// holds whichever elements are chosen.
#[inline]
fn accepted(test: &[PredicateId], field: FieldId, facts: &Facts<'_, '_>, mut found: impl FnMut(u32)) -> bool {
    if let [id] = test
        && facts.knows(*id)
    {
        // All elements are known: finding the predicate involved every value.
        facts.known_elements(*id).for_each(found);
        return false;
    }
    let absent = |id: &u32| facts.predicates.other(*id).is_some_and(Predicate::wants_absence);
    if test.iter().any(absent) && !facts.view.has_scalar(field) {
        return true;
    }
    facts.view.any(field, |entry| {
        if entry.is_scalar() && facts.any_accepts(test, entry) {
            found(entry.element);
        }
        false
    })
}

/// Whether array elements can matter for a rule in any message. If no two of its fields begin with the same key, their values
/// are never in the same array.
pub(crate) fn may_matter(pattern: &Pattern) -> bool {
    let mut keys: SmallVec<[&str; 8]> =
        pattern.fields().filter_map(|field| field.path.first()).map(|key| &**key).collect();
    keys.sort_unstable();
    // Fields below `body` may be attributes as well, under another name.
    keys.len() > 1 && keys.contains(&"body") || keys.windows(2).any(|pair| pair.first() == pair.last())
}

/// Whether array elements matter for a rule in this message: at least two of its tests have values in arrays.
fn matters(rule: Nodes<'_>, facts: &Facts<'_, '_>) -> bool {
    // The cheap check comes first. It suffices for most rules.
    tests(rule.clone(), &|test| facts.field(test).is_some_and(|field| facts.may_be_in_arrays(field))) > 1
        && tests(rule, &|test| {
            let is_inside = |field| facts.view.any(field, |entry| entry.element != 0);
            facts.field(test).is_some_and(is_inside)
        }) > 1
}

/// Number of tests of a rule for which `are` holds.
fn tests(nodes: Nodes<'_>, are: &impl Fn(&[PredicateId]) -> bool) -> usize {
    let count = |node: Node<'_>| match node {
        Node::All(nodes) | Node::Any(nodes) => tests(nodes, are),
        Node::Test(test) => usize::from(are(test)),
    };
    nodes.map(count).sum()
}

fn resolve(node: Node<'_>, facts: &Facts<'_, '_>) -> Goal {
    match node {
        Node::All(nodes) => Goal::All(nodes.map(|node| resolve(node, facts)).collect()),
        Node::Any(nodes) => Goal::Any(nodes.map(|node| resolve(node, facts)).collect()),
        Node::Test(test) => {
            let Some(field) = facts.field(test) else { return Goal::Always };
            match test {
                // Many rules may share the predicate.
                [id] if !facts.knows(*id) => facts.remember(*id, || elements_of(test, field, facts)),
                _ => elements_of(test, field, facts),
            }
            .map_or(Goal::Always, Goal::In)
        }
    }
}

/// The elements that have a value satisfying a test; `None` if the test holds whichever elements are chosen.
fn elements_of(test: &[PredicateId], field: FieldId, facts: &Facts<'_, '_>) -> Elements {
    let mut elements: Vec<u32> = Vec::new();
    let is_always = accepted(test, field, facts, |element| elements.push(element));
    if is_always || elements.contains(&0) {
        return None;
    }
    elements.sort_unstable();
    elements.dedup();
    Some(elements.into())
}

struct Solver<'a> {
    elements: &'a [Element],
}

impl Solver<'_> {
    /// Whether some choice of elements inside the chosen ones satisfies all goals.
    fn satisfied(&self, goals: &[&Goal], chosen: Chosen<'_>) -> bool {
        let mut open: Goals<'_> = SmallVec::new();
        let mut todo: Goals<'_> = goals.iter().rev().copied().collect();
        while let Some(goal) = todo.pop() {
            work::step(1);
            if let Goal::All(parts) = goal {
                todo.extend(parts.iter().rev());
                continue;
            }
            match self.status(goal, chosen) {
                Status::True => {}
                Status::False => return false,
                Status::Open => open.push(goal),
            }
        }
        self.groups(&open, chosen)
    }

    /// Whether the open goals can be satisfied, group by group.
    fn groups(&self, open: &[&Goal], chosen: Chosen<'_>) -> bool {
        let mut groups: SmallVec<[(SmallVec<[u32; 4]>, Goals<'_>); 4]> = SmallVec::new();
        for &goal in open {
            let mut arrays = SmallVec::new();
            self.arrays(goal, chosen, &mut arrays);
            let mut members: Goals<'_> = SmallVec::from_slice(&[goal]);
            groups.retain(|(theirs, goals)| {
                let apart = !theirs.iter().any(|array| arrays.contains(array));
                if !apart {
                    arrays.extend(
                        theirs
                            .iter()
                            .copied()
                            .filter(|a| !arrays.contains(a))
                            .collect::<SmallVec<[u32; 4]>>(),
                    );
                    members.append(goals);
                }
                apart
            });
            groups.push((arrays, members));
        }
        groups.iter().all(|(arrays, goals)| match arrays.as_slice() {
            [array] => self.one_element(goals, chosen, *array),
            _ => self.one_branch(goals, chosen),
        })
    }

    /// Whether one element of `array` satisfies all goals.
    fn one_element(&self, goals: &[&Goal], chosen: Chosen<'_>, array: u32) -> bool {
        let is_one = |child: u32| {
            work::step(1);
            self.elements.get(child as usize).is_some_and(|node| node.array == array)
                && self.satisfied(goals, Chosen { element: child, outer: Some(&chosen) })
        };
        let inside = goals.iter().filter_map(|goal| match goal {
            Goal::In(found) => Some(self.inside(found, chosen.element)),
            _ => None,
        });
        if let Some(fewest) = inside.min_by_key(|found| found.len()) {
            let mut before = None;
            return fewest.iter().any(|element| {
                let child = self.child_around(chosen.element, *element);
                before.replace(child) != Some(child) && is_one(child)
            });
        }
        let end = self.end(chosen.element);
        let mut child = chosen.element + 1;
        while child < end {
            if is_one(child) {
                return true;
            }
            child = self.end(child).max(child + 1);
        }
        false
    }

    /// The element directly inside `outer` that is `inner`, or contains it.
    fn child_around(&self, outer: u32, mut inner: u32) -> u32 {
        while let Some(node) = self.elements.get(inner as usize)
            && node.parent > outer
        {
            work::step(1);
            inner = node.parent;
        }
        inner
    }

    /// Tries the branches of an `$or`. The goals depend on several arrays, so one of them is an `$or` that does.
    fn one_branch(&self, goals: &[&Goal], chosen: Chosen<'_>) -> bool {
        let Some((index, branches)) = goals.iter().enumerate().find_map(|(index, goal)| match goal {
            Goal::Any(branches) => Some((index, branches)),
            _ => None,
        }) else {
            return false;
        };
        branches.iter().any(|branch| {
            let mut tried: Goals<'_> = SmallVec::from_slice(goals);
            if let Some(slot) = tried.get_mut(index) {
                *slot = branch;
            }
            self.satisfied(&tried, chosen)
        })
    }

    fn end(&self, element: u32) -> u32 {
        self.elements.get(element as usize).map_or(0, |node| node.end)
    }

    /// The part of `found` that is inside `element`, without `element` itself.
    fn inside<'f>(&self, found: &'f [u32], element: u32) -> &'f [u32] {
        let start = found.partition_point(|&at| at <= element);
        let stop = found.partition_point(|&at| at < self.end(element));
        found.get(start..stop).unwrap_or_default()
    }

    fn status(&self, goal: &Goal, chosen: Chosen<'_>) -> Status {
        match goal {
            Goal::Always => Status::True,
            Goal::In(found) if chosen.holds(found) => Status::True,
            Goal::In(found) if self.inside(found, chosen.element).is_empty() => Status::False,
            Goal::In(_) => Status::Open,
            Goal::All(parts) => {
                let mut all = Status::True;
                for part in parts {
                    match self.status(part, chosen) {
                        Status::False => return Status::False,
                        Status::Open => all = Status::Open,
                        Status::True => {}
                    }
                }
                all
            }
            Goal::Any(parts) => {
                let mut any = Status::False;
                for part in parts {
                    match self.status(part, chosen) {
                        Status::True => return Status::True,
                        Status::Open => any = Status::Open,
                        Status::False => {}
                    }
                }
                any
            }
        }
    }

    /// The arrays directly inside the innermost chosen element that an open goal depends on.
    fn arrays(&self, goal: &Goal, chosen: Chosen<'_>, out: &mut SmallVec<[u32; 4]>) {
        match goal {
            Goal::Always => {}
            Goal::In(found) => {
                if !chosen.holds(found)
                    && let Some(&first) = self.inside(found, chosen.element).first()
                    && let Some(array) = self.array_of(chosen.element, first)
                    && !out.contains(&array)
                {
                    out.push(array);
                }
            }
            Goal::All(parts) | Goal::Any(parts) => {
                for part in parts {
                    self.arrays(part, chosen, out);
                }
            }
        }
    }

    /// The array directly inside `element` that contains `inner`.
    fn array_of(&self, element: u32, inner: u32) -> Option<u32> {
        self.elements.get(self.child_around(element, inner) as usize).map(|node| node.array)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Status {
    True,
    False,
    Open,
}
