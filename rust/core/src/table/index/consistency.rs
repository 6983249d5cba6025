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
use super::solver::{Chosen, Goal, Goals, Solver};
use crate::pattern::{Pattern, Predicate};
use crate::table::ids::{FieldId, PredicateId};
use crate::table::message::view::Place;
use crate::table::work;

/// Whether a rule holds for some choice of array elements.
pub(crate) fn holds(rule: Nodes<'_>, facts: &Facts<'_, '_>) -> bool {
    let flat =
        if facts.is_wide() { holds_wide(rule.clone(), facts) } else { holds_flat(rule.clone(), facts) };
    if let Some(holds) = flat {
        return holds;
    }
    if !rule.all_hold(facts) {
        return false;
    }
    if !matters(rule.clone(), facts) {
        return true;
    }
    let goal = Goal::All(rule.map(|node| resolve(node, facts)).collect());
    Solver::of(facts).satisfied(&[&goal], Chosen { element: 0, outer: None })
}

/// [`holds`] for a rule that consists of tests alone, in a wide message; `None` for others.
///
/// Of the tests with values in arrays, the one that fewest elements satisfy is known from a look-up, for most rules. Then the
/// other tests are evaluated only for values that can be chosen together with one of these elements.
fn holds_wide(rule: Nodes<'_>, facts: &Facts<'_, '_>) -> Option<bool> {
    let mut tests: SmallVec<[(&[PredicateId], FieldId); 4]> = SmallVec::new();
    if rule.clone().any(|node| !matches!(node, Node::Test(_))) {
        return None;
    }
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
    let mut joined = Joined::default();
    let mut others: SmallVec<[(&[PredicateId], FieldId); 4]> = SmallVec::new();
    for (test, field) in tests {
        match looked_up(test, facts) {
            Some(elements) => {
                if !joined.add(elements) {
                    return Some(false);
                }
            }
            None => others.push((test, field)),
        }
    }
    for (test, field) in others {
        let near = joined.fewest.as_ref().and_then(|fewest| near(fewest, field, facts));
        let elements = match near {
            Some(places) => among(&places, test, facts),
            None => elements_of_test(test, field, facts),
        };
        if facts.work().is_exhausted() || !joined.add(elements) {
            return Some(false);
        }
    }
    let goals: Goals<'_> = joined.goals.iter().collect();
    Some(Solver::of(facts).satisfied(&goals, Chosen { element: 0, outer: None }))
}

/// The tests of a rule that are resolved so far.
#[derive(Default)]
struct Joined {
    goals: SmallVec<[Goal; 4]>,
    /// The elements of the test that fewest satisfy.
    fewest: Option<Rc<[u32]>>,
}

impl Joined {
    /// Adds a test; false if no element satisfies it.
    fn add(&mut self, elements: Elements) -> bool {
        // Without elements, any choice of them will do.
        let Some(found) = elements else { return true };
        let holds = !found.is_empty();
        if self.fewest.as_ref().is_none_or(|fewest| found.len() < fewest.len()) {
            self.fewest = Some(Rc::clone(&found));
        }
        self.goals.push(Goal::In(found));
        holds
    }
}

/// The elements that satisfy a test in a wide message, if finding them takes only look-ups.
fn looked_up(test: &[PredicateId], facts: &Facts<'_, '_>) -> Option<Elements> {
    const FEW: usize = 8;
    let one = |id: PredicateId| {
        if let Some(elements) = facts.remembered(id) {
            return Some(elements);
        }
        if facts.locates(id) {
            return Some(facts.remember(id, || collected(facts.known_elements(id).collect())));
        }
        let equal = facts.equal_elements(id)?;
        Some(facts.remember(id, || collected(equal.collect())))
    };
    if let [id] = test {
        return one(*id);
    }
    if test.len() > FEW {
        return None;
    }
    let mut all: Vec<u32> = Vec::new();
    for &id in test {
        match one(id)? {
            None => return Some(None),
            Some(elements) => {
                facts.work().take(elements.len());
                all.extend_from_slice(&elements);
            }
        }
    }
    Some(collected(all))
}

/// The values of a field that can be chosen together with one of some elements, ascending; `None` if comparing all values of
/// the field takes no longer.
///
/// A path leads through one array at a time. So for each element the values of the field are in it, or in another array of
/// one of the elements around it; or one of these elements itself has the value.
fn near(elements: &[u32], field: FieldId, facts: &Facts<'_, '_>) -> Option<Vec<Place>> {
    const DEARER: usize = 4;
    let places = facts.places(field);
    if elements.len().saturating_mul(DEARER) >= places.len() {
        return None;
    }
    let all = facts.view.elements;
    let solver = Solver::of(facts);
    let from = |element: u32| places.partition_point(|place| place.element < element);
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &chosen in elements {
        let (mut element, mut inner) = (chosen, None);
        // Whether the field's values in arrays further out are in other elements of the same arrays.
        let mut is_found = false;
        loop {
            if !facts.work().take(1) {
                return Some(Vec::new());
            }
            work::step(1);
            let Some(node) = all.get(element as usize) else { break };
            let (own, below, end) = (from(element), from(element + 1), from(node.end));
            ranges.push((own, below));
            if !is_found && below < end {
                let array = places.get(below).and_then(|place| solver.array_of(element, place.element));
                if inner.is_none_or(|inner| array != Some(inner)) {
                    ranges.push((below, end));
                }
                is_found = true;
            }
            if element == 0 {
                break;
            }
            (element, inner) = (node.parent, Some(node.array));
        }
    }
    ranges.sort_unstable();
    let mut out: Vec<Place> = Vec::new();
    let mut done = 0;
    for (start, end) in ranges {
        out.extend(places.get(start.max(done)..end).unwrap_or_default());
        done = done.max(end);
    }
    Some(out)
}

/// The elements of those places whose values satisfy a test.
fn among(places: &[Place], test: &[PredicateId], facts: &Facts<'_, '_>) -> Elements {
    let mut elements: Vec<u32> = Vec::new();
    for &place in places {
        if !facts.work().take(1) {
            break;
        }
        if facts.view.at(place).is_some_and(|entry| facts.any_accepts(test, &entry)) {
            elements.push(place.element);
        }
    }
    collected(elements)
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
        && facts.locates(*id)
    {
        // All elements are known: finding the predicate involved every value.
        facts.known_elements(*id).for_each(found);
        return false;
    }
    let absent = |id: &u32| facts.predicates.other(*id).is_some_and(Predicate::wants_absence);
    if test.iter().any(absent) && !facts.has_scalar(field) {
        return true;
    }
    facts.view.any(field, |entry| {
        if entry.is_scalar() && facts.any_accepts(test, entry) {
            found(entry.element);
        }
        facts.is_wide() && !facts.work().take(1)
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
        && (facts.is_wide()
            || tests(rule, &|test| {
                let is_inside = |field| facts.view.any(field, |entry| entry.element != 0);
                facts.field(test).is_some_and(is_inside)
            }) > 1)
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
            elements_of_test(test, field, facts).map_or(Goal::Always, Goal::In)
        }
    }
}

/// [`elements_of`], remembered if many rules may share the test.
fn elements_of_test(test: &[PredicateId], field: FieldId, facts: &Facts<'_, '_>) -> Elements {
    if facts.is_wide()
        && let Some(elements) = looked_up(test, facts)
    {
        return elements;
    }
    match test {
        [id] if facts.is_wide() || !facts.knows(*id) => {
            facts.remember(*id, || elements_of(test, field, facts))
        }
        _ => elements_of(test, field, facts),
    }
}

/// The elements that have a value satisfying a test; `None` if the test holds whichever elements are chosen.
fn elements_of(test: &[PredicateId], field: FieldId, facts: &Facts<'_, '_>) -> Elements {
    let mut elements: Vec<u32> = Vec::new();
    let is_always = accepted(test, field, facts, |element| elements.push(element));
    if is_always { None } else { collected(elements) }
}

/// Elements that satisfy a test, in any order. If the document itself does (0), any choice of elements will do.
fn collected(mut elements: Vec<u32>) -> Elements {
    if elements.contains(&0) {
        return None;
    }
    elements.sort_unstable();
    elements.dedup();
    Some(elements.into())
}
