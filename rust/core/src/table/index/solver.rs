//! Finds elements that can be chosen together, for tests whose elements are known: one for every array.

use std::rc::Rc;

use smallvec::SmallVec;

use super::facts::Facts;
use crate::json::Element;
use crate::pattern::Work;
use crate::table::work;

/// An expression whose tests are resolved to the elements that satisfy them.
pub(super) enum Goal {
    Always,
    /// Satisfied by values in these elements: ascending, without duplicates, possibly empty.
    In(Rc<[u32]>),
    All(Vec<Goal>),
    Any(Vec<Goal>),
}

pub(super) type Goals<'g> = SmallVec<[&'g Goal; 8]>;

/// A chosen element and the chosen elements around it.
#[derive(Clone, Copy)]
pub(super) struct Chosen<'c> {
    pub(super) element: u32,
    pub(super) outer: Option<&'c Chosen<'c>>,
}

impl Chosen<'_> {
    /// Whether one of the chosen elements is in `found`.
    fn holds(&self, found: &[u32]) -> bool {
        found.binary_search(&self.element).is_ok() || self.outer.is_some_and(|outer| outer.holds(found))
    }
}

/// Chooses elements.
pub(super) struct Solver<'a> {
    elements: &'a [Element],
    work: &'a Work,
}

impl<'a> Solver<'a> {
    pub(super) fn of(facts: &'a Facts<'_, '_>) -> Self {
        Self { elements: facts.view.elements, work: facts.work() }
    }

    /// Whether some choice of elements inside the chosen ones satisfies all goals.
    pub(super) fn satisfied(&self, goals: &[&Goal], chosen: Chosen<'_>) -> bool {
        let mut open: Goals<'_> = SmallVec::new();
        let mut todo: Goals<'_> = goals.iter().rev().copied().collect();
        while let Some(goal) = todo.pop() {
            work::step(1);
            if !self.work.take(1) {
                return false;
            }
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
            self.work.take(1)
                && self.elements.get(child as usize).is_some_and(|node| node.array == array)
                && self.satisfied(goals, Chosen { element: child, outer: Some(&chosen) })
        };
        let inside = goals.iter().filter_map(|goal| match goal {
            Goal::In(found) => Some(self.inside(found, chosen.element)),
            _ => None,
        });
        if let Some(fewest) = inside.min_by_key(|found| found.len()) {
            let mut before = None;
            return fewest.iter().take_while(|_| !self.work.is_exhausted()).any(|element| {
                let child = self.child_around(chosen.element, *element);
                before.replace(child) != Some(child) && is_one(child)
            });
        }
        if let Some((index, branches)) = self.narrow_or(goals, chosen) {
            return self.each_branch(goals, index, branches, chosen);
        }
        let end = self.end(chosen.element);
        let mut child = chosen.element + 1;
        while child < end && !self.work.is_exhausted() {
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
            self.work.take(1);
            inner = node.parent;
        }
        inner
    }

    /// Of goals without a plain test, an `$or` whose branches come near in fewer elements than are inside the chosen one. Trying
    /// it branch by branch visits these elements alone.
    fn narrow_or<'g>(&self, goals: &[&'g Goal], chosen: Chosen<'_>) -> Option<(usize, &'g [Goal])> {
        let inside = self.end(chosen.element).saturating_sub(chosen.element) as usize;
        let ors = goals.iter().enumerate().filter_map(|(index, goal)| match goal {
            Goal::Any(branches) => Some((index, branches.as_slice(), self.near(goal, chosen))),
            _ => None,
        });
        let (index, branches, near) = ors.min_by_key(|(_, _, near)| *near)?;
        (near < inside).then_some((index, branches))
    }

    /// The most elements inside the chosen one that have to be visited for a goal.
    fn near(&self, goal: &Goal, chosen: Chosen<'_>) -> usize {
        if !self.look() {
            return usize::MAX;
        }
        match goal {
            Goal::In(found) if !chosen.holds(found) => self.inside(found, chosen.element).len(),
            Goal::Always | Goal::In(_) => usize::MAX,
            Goal::All(parts) => parts.iter().map(|part| self.near(part, chosen)).min().unwrap_or(usize::MAX),
            Goal::Any(parts) => {
                parts.iter().map(|part| self.near(part, chosen)).fold(0, usize::saturating_add)
            }
        }
    }

    /// Tries the branches of an `$or`. The goals depend on several arrays, so one of them is an `$or` that does.
    fn one_branch(&self, goals: &[&Goal], chosen: Chosen<'_>) -> bool {
        let found = goals.iter().enumerate().find_map(|(index, goal)| match goal {
            Goal::Any(branches) => Some((index, branches)),
            _ => None,
        });
        found.is_some_and(|(index, branches)| self.each_branch(goals, index, branches, chosen))
    }

    /// Whether some branch satisfies all goals in the place of the `$or` at `index`.
    fn each_branch(&self, goals: &[&Goal], index: usize, branches: &[Goal], chosen: Chosen<'_>) -> bool {
        branches.iter().take_while(|_| !self.work.is_exhausted()).any(|branch| {
            let mut tried: Goals<'_> = SmallVec::from_slice(goals);
            if let Some(slot) = tried.get_mut(index) {
                *slot = branch;
            }
            self.satisfied(&tried, chosen)
        })
    }

    /// Counts a look at a part of a goal; false if the work is exhausted, and the result is not asked for any more.
    fn look(&self) -> bool {
        work::step(1);
        self.work.take(1)
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
                    if !self.look() {
                        return Status::False;
                    }
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
                    if !self.look() {
                        return Status::False;
                    }
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
                for part in parts.iter().take_while(|_| self.look()) {
                    self.arrays(part, chosen, out);
                }
            }
        }
    }

    /// The array directly inside `element` that contains `inner`.
    pub(super) fn array_of(&self, element: u32, inner: u32) -> Option<u32> {
        self.elements.get(self.child_around(element, inner) as usize).map(|node| node.array)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Status {
    True,
    False,
    Open,
}
