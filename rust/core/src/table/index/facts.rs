//! Which predicates hold for one message. Each is evaluated when it is first needed.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::predicates::{Predicates, Test};
use crate::table::ids::{FieldId, Holding, PredicateId};
use crate::table::message::view::{Entry, View};
use crate::table::work;

/// With more values than this, all equalities that hold are looked up in advance. With fewer, a field's values are compared
/// one by one.
const MANY: usize = 64;

/// The most predicates of a test that are evaluated one by one.
const FEW: usize = 8;

/// One message and one set of predicates.
#[derive(Debug)]
pub(crate) struct Facts<'v, 'a> {
    pub(crate) view: &'v View<'a>,
    pub(crate) predicates: &'v Predicates,
    /// The equalities that hold, ascending, if the message has many values.
    equal: Option<Vec<PredicateId>>,
    /// Predicates that are known to hold, ascending, without duplicates.
    pub(crate) known: Holding,
    /// For each of `known`, the array elements in which it holds (0: outside arrays), ascending. Empty if the message has
    /// no array elements.
    pub(crate) known_in: HoldingIn,
    /// For each field with values in arrays, its bit of 64.
    in_arrays: OnceCell<u64>,
    /// The array elements in which other predicates hold, as far as evaluated. Most messages need none.
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

    /// Whether a field may have values in arrays. False is certain; true may be wrong, if fields share a bit.
    pub(crate) fn may_be_in_arrays(&self, field: FieldId) -> bool {
        let bit = |field: FieldId| 1_u64 << (field % 64);
        let fields = self.in_arrays.get_or_init(|| {
            let in_arrays = self.view.fields_and_elements().filter(|(_, element)| *element != 0);
            in_arrays.fold(0, |bits, (field, _)| bits | bit(field))
        });
        fields & bit(field) != 0
    }

    /// Whether a predicate is already known to hold.
    #[inline]
    pub(crate) fn knows(&self, id: PredicateId) -> bool {
        if self.known.len() <= FEW { self.known.contains(&id) } else { self.known.binary_search(&id).is_ok() }
    }

    /// The array elements in which a known predicate holds.
    pub(crate) fn known_elements(&self, id: PredicateId) -> impl Iterator<Item = u32> {
        let start = self.known_in.partition_point(|(known, _)| *known < id);
        let own = self.known_in.iter().skip(start).take_while(move |(known, _)| *known == id);
        own.map(|(_, element)| *element)
    }

    /// The array elements in which a predicate holds; calls `elements` the first time only.
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

    /// Whether a predicate holds for some scalar of its field, or for the absence of one.
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

    /// Whether one of the predicates of a test holds. In a test, equalities come first, in ascending order.
    pub(crate) fn any_holds(&self, test: &[PredicateId]) -> bool {
        if test.len() <= FEW {
            // Known predicates need not be read.
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

    /// Whether a scalar satisfies one of the predicates of a test.
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

    /// The field of a test.
    pub(crate) fn field(&self, test: &[PredicateId]) -> Option<FieldId> {
        // A known predicate was read recently, so it is in the cache.
        let id = test.iter().take(FEW).find(|id| self.knows(**id)).or(test.first());
        id.map(|id| self.predicates.field(*id))
    }

    /// The equalities of a test, and its other predicates.
    fn split<'t>(&self, test: &'t [PredicateId]) -> (&'t [PredicateId], &'t [PredicateId]) {
        test.split_at(test.partition_point(|id| self.predicates.is_equality(*id)))
    }
}

/// Array elements, ascending, without duplicates; `None` if any choice of elements will do.
pub(crate) type Elements = Option<Rc<[u32]>>;
type Remembered = RefCell<HashMap<PredicateId, Elements, RandomState>>;
/// Predicates that hold, with the array elements of the values that satisfy them.
pub(crate) type HoldingIn = SmallVec<[(PredicateId, u32); 8]>;
