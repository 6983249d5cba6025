//! Which predicates hold for one message. Each is evaluated when it is asked for.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::predicates::{Predicates, Test};
use crate::table::ids::{FieldId, Holding, PredicateId};
use crate::table::message::view::{Entry, View};
use crate::table::work;

/// From how many values on the equalities that hold are looked up beforehand, instead of going through a field's values
/// for each.
const MANY: usize = 64;

/// Up to how many predicates of a test are evaluated one by one.
const FEW: usize = 8;

/// One message before one set of predicates.
#[derive(Debug)]
pub(crate) struct Facts<'v, 'a> {
    pub(crate) view: &'v View<'a>,
    pub(crate) predicates: &'v Predicates,
    /// The equalities that hold, ascending, where the message has many values.
    equal: Option<Vec<PredicateId>>,
    /// Some that are known to hold, ascending, none twice.
    pub(crate) known: Holding,
    /// In which array elements each of those holds, 0 standing for none, where the message has any. Ascending.
    pub(crate) known_in: HoldingIn,
    /// A bit of 64 for each field that has values in arrays.
    in_arrays: OnceCell<u64>,
    /// In which array elements predicates hold, of those that somebody asked about; by far the most messages have none.
    elements: OnceCell<Box<Remembered>>,
}

impl<'v, 'a> Facts<'v, 'a> {
    #[inline]
    pub(crate) fn new(view: &'v View<'a>, predicates: &'v Predicates) -> Self {
        let equal = (view.len() > MANY).then(|| {
            let mut equal: Vec<PredicateId> = Vec::new();
            view.visit(|_| true, |entry| equal.extend(predicates.equal_to(&entry)));
            work::step(view.len());
            equal.sort_unstable();
            equal.dedup();
            equal
        });
        Self {
            view,
            predicates,
            equal,
            known: Holding::new(),
            known_in: HoldingIn::new(),
            in_arrays: OnceCell::new(),
            elements: OnceCell::new(),
        }
    }

    /// Whether a field can have values in arrays. Of most that have none it is told that they do not.
    pub(crate) fn may_be_in_arrays(&self, field: FieldId) -> bool {
        let bit = |field: FieldId| 1_u64 << (field % 64);
        let fields = self.in_arrays.get_or_init(|| {
            let in_arrays = self.view.fields_and_elements().filter(|(_, element)| *element != 0);
            in_arrays.fold(0, |bits, (field, _)| bits | bit(field))
        });
        fields & bit(field) != 0
    }

    /// Whether a predicate is known to hold.
    #[inline]
    pub(crate) fn knows(&self, id: PredicateId) -> bool {
        if self.known.len() <= FEW { self.known.contains(&id) } else { self.known.binary_search(&id).is_ok() }
    }

    /// The elements in which a predicate holds that is known to.
    pub(crate) fn known_elements(&self, id: PredicateId) -> impl Iterator<Item = u32> {
        let start = self.known_in.partition_point(|(known, _)| *known < id);
        let own = self.known_in.iter().skip(start).take_while(move |(known, _)| *known == id);
        own.map(|(_, element)| *element)
    }

    /// In which array elements a predicate holds, which is found out once.
    #[cold]
    pub(crate) fn remember(&self, id: PredicateId, elements: impl FnOnce() -> Elements) -> Elements {
        let known = self.elements.get_or_init(Box::default);
        if let Some(elements) = known.borrow().get(&id) {
            return elements.clone();
        }
        let elements = elements();
        known.borrow_mut().insert(id, elements.clone());
        elements
    }

    /// Whether any scalar at its field satisfies a predicate, or its absence does.
    pub(crate) fn holds(&self, id: PredicateId) -> bool {
        work::step(1);
        if self.knows(id) {
            return true;
        }
        match self.predicates.get(id) {
            None => false,
            Some(Test::Equality(field, value)) => match &self.equal {
                Some(equal) => equal.binary_search(&id).is_ok(),
                None => self.view.any(field, |entry| value.is(entry)),
            },
            Some(Test::Other(field, predicate)) => {
                if predicate.wants_absence() {
                    return !self.view.has_scalar(field);
                }
                self.view.any(field, |entry| {
                    work::step(1);
                    entry.seen().is_some_and(|seen| predicate.matches(&seen))
                })
            }
        }
    }

    /// Whether one of the predicates of a test holds: equalities come first there, ascending.
    pub(crate) fn any_holds(&self, test: &[PredicateId]) -> bool {
        if test.len() <= FEW {
            // What is known takes no look at the predicates.
            return test.iter().any(|id| self.knows(*id)) || test.iter().any(|id| self.holds(*id));
        }
        let (equalities, others) = self.split(test);
        let listed = |id: &PredicateId| equalities.binary_search(id).is_ok();
        let equal = match (&self.equal, equalities.first()) {
            (_, None) => false,
            (Some(equal), _) if equal.len() < equalities.len() => equal.iter().any(listed),
            (Some(equal), _) => equalities.iter().any(|id| equal.binary_search(id).is_ok()),
            (None, Some(first)) => {
                let field = self.predicates.field(*first);
                self.view.any(field, |entry| self.predicates.equal_to(entry).as_ref().is_some_and(listed))
            }
        };
        equal || others.iter().any(|id| self.holds(*id))
    }

    /// Whether one scalar satisfies one of the predicates of a test.
    pub(crate) fn any_accepts(&self, test: &[PredicateId], entry: &Entry<'_>) -> bool {
        if test.len() <= FEW {
            work::step(1 + test.len());
            return test.iter().any(|id| match self.predicates.get(*id) {
                None => false,
                Some(Test::Equality(_, value)) => value.is(entry),
                Some(Test::Other(_, predicate)) => entry.seen().is_some_and(|seen| predicate.matches(&seen)),
            });
        }
        let (equalities, others) = self.split(test);
        work::step(1 + others.len());
        let equal = (!equalities.is_empty()).then(|| self.predicates.equal_to(entry)).flatten();
        equal.is_some_and(|id| equalities.binary_search(&id).is_ok())
            || entry.seen().is_some_and(|seen| {
                others
                    .iter()
                    .filter_map(|id| self.predicates.other(*id))
                    .any(|predicate| predicate.matches(&seen))
            })
    }

    /// The field that a test is for.
    pub(crate) fn field(&self, test: &[PredicateId]) -> Option<FieldId> {
        // One that is known has just been looked at.
        let id = test.iter().take(FEW).find(|id| self.knows(**id)).or(test.first());
        id.map(|id| self.predicates.field(*id))
    }

    fn split<'t>(&self, test: &'t [PredicateId]) -> (&'t [PredicateId], &'t [PredicateId]) {
        test.split_at(test.partition_point(|id| self.predicates.is_equality(*id)))
    }
}

/// Array elements, ascending, none twice; `None` where it does not matter which are chosen.
pub(crate) type Elements = Option<Rc<[u32]>>;
type Remembered = RefCell<HashMap<PredicateId, Elements, RandomState>>;
/// Predicates that hold, and for values in which array element.
pub(crate) type HoldingIn = SmallVec<[(PredicateId, u32); 8]>;
