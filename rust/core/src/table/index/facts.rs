//! Which predicates hold for one message. Each is evaluated when it is first needed.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::predicates::{Predicates, Test};
use crate::pattern::{Predicate, Work};
use crate::table::ids::{FieldId, Holding, PredicateId};
use crate::table::message::view::{ByField, Entry, Place, View};
use crate::table::work;

/// With more values than this, a message is *wide*: what is found out about a predicate is remembered, because any number of
/// rules may ask for it. With fewer, a field's values are compared again.
const MANY: usize = 64;

/// The most predicates of a test that are evaluated one by one.
const FEW: usize = 8;

/// One message and one set of predicates.
#[derive(Debug)]
pub(crate) struct Facts<'v, 'a> {
    pub(crate) view: &'v View<'a>,
    pub(crate) predicates: &'v Predicates,
    /// Predicates that are known to hold, ascending, without duplicates.
    pub(crate) known: Holding,
    /// For each of `known`, the array elements in which it holds (0: outside arrays), ascending. Empty if the message has
    /// no array elements. Ranges are missing if the message is wide.
    pub(crate) known_in: HoldingIn,
    /// For each field with values in arrays, its bit of 64.
    in_arrays: OnceCell<u64>,
    /// The array elements in which other predicates hold, as far as evaluated. Most messages need none.
    elements: OnceCell<Box<Remembered>>,
    /// What is remembered of a wide message.
    wide: Option<Box<Wide>>,
}

/// What is remembered of a wide message, as far as it was needed.
#[derive(Debug, Default)]
pub(crate) struct Wide {
    /// The equalities that hold, each with the elements in which it does, ascending.
    equal: OnceCell<Vec<(PredicateId, u32)>>,
    by_field: OnceCell<ByField>,
    /// Whether a predicate that is no equality holds.
    held: RefCell<HashMap<PredicateId, bool, RandomState>>,
}

impl<'v, 'a> Facts<'v, 'a> {
    #[inline]
    pub(crate) fn new(view: &'v View<'a>, predicates: &'v Predicates) -> Self {
        Self {
            view,
            predicates,
            known: Holding::new(),
            known_in: HoldingIn::new(),
            in_arrays: OnceCell::new(),
            elements: OnceCell::new(),
            wide: (view.len() > MANY).then(Box::default),
        }
    }

    /// Whether the message is wide.
    #[inline]
    pub(crate) fn is_wide(&self) -> bool {
        self.wide.is_some()
    }

    /// The work that may still be done for the message.
    #[inline]
    pub(crate) fn work(&self) -> &'v Work {
        &self.view.work
    }

    /// Whether a field may have values in arrays. False is certain. True may be wrong if the message is not wide, where
    /// fields share a bit.
    pub(crate) fn may_be_in_arrays(&self, field: FieldId) -> bool {
        if let Some(wide) = &self.wide {
            return wide.by_field(self.view).is_in_arrays(field);
        }
        let bit = |field: FieldId| 1_u64 << (field % 64);
        let fields = self.in_arrays.get_or_init(|| {
            let in_arrays = self.view.fields_and_elements().filter(|(_, element)| *element != 0);
            in_arrays.fold(0, |bits, (field, _)| bits | bit(field))
        });
        fields & bit(field) != 0
    }

    /// Whether a field has a scalar.
    pub(crate) fn has_scalar(&self, field: FieldId) -> bool {
        match &self.wide {
            Some(wide) => !wide.by_field(self.view).of(field).is_empty(),
            None => self.view.has_scalar(field),
        }
    }

    /// The scalars of a field, if the message is wide.
    pub(crate) fn places(&self, field: FieldId) -> &[Place] {
        self.wide.as_ref().map_or(&[], |wide| wide.by_field(self.view).of(field))
    }

    /// Whether a predicate is already known to hold.
    #[inline]
    pub(crate) fn knows(&self, id: PredicateId) -> bool {
        if self.known.len() <= FEW { self.known.contains(&id) } else { self.known.binary_search(&id).is_ok() }
    }

    /// Whether [`Self::known_elements`] has all array elements in which a predicate holds.
    pub(crate) fn locates(&self, id: PredicateId) -> bool {
        self.knows(id)
            && (self.wide.is_none() || !matches!(self.predicates.other(id), Some(Predicate::Numeric(_))))
    }

    /// The array elements in which a known predicate holds.
    pub(crate) fn known_elements(&self, id: PredicateId) -> impl Iterator<Item = u32> {
        of(&self.known_in, id)
    }

    /// The array elements in which an equality holds, if the message is wide; it may have duplicates.
    pub(crate) fn equal_elements(&self, id: PredicateId) -> Option<impl Iterator<Item = u32>> {
        let wide = self.wide.as_ref().filter(|_| self.predicates.is_equality(id))?;
        Some(of(wide.equal(self.view, self.predicates), id))
    }

    /// The array elements in which a predicate holds, if they are remembered.
    pub(crate) fn remembered(&self, id: PredicateId) -> Option<Elements> {
        self.elements.get()?.borrow().get(&id).cloned()
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
            Some(Test::Equality(field, value)) => match &self.wide {
                Some(wide) => of(wide.equal(self.view, self.predicates), id).next().is_some(),
                None => self.view.any(field, |entry| value.is(entry)),
            },
            Some(Test::Other(field, predicate)) => {
                if predicate.wants_absence() {
                    return !self.has_scalar(field);
                }
                let holds = || self.view.any(field, |entry| self.accepts(predicate, entry));
                match &self.wide {
                    None => holds(),
                    Some(wide) => {
                        let known = wide.held.borrow().get(&id).copied();
                        known.unwrap_or_else(|| {
                            let holds = holds();
                            wide.held.borrow_mut().insert(id, holds);
                            holds
                        })
                    }
                }
            }
        }
    }

    /// Whether a scalar satisfies a predicate that is no equality. Any value will do once the work is exhausted, so that no
    /// further ones are compared.
    fn accepts(&self, predicate: &Predicate, entry: &Entry<'_>) -> bool {
        work::step(1);
        !self.work().take(1) || entry.seen().is_some_and(|seen| predicate.matches_within(&seen, self.work()))
    }

    /// Whether one of the predicates of a test holds. In a test, equalities come first, in ascending order.
    pub(crate) fn any_holds(&self, test: &[PredicateId]) -> bool {
        if test.len() <= FEW {
            // Known predicates need not be read.
            return test.iter().any(|id| self.knows(*id)) || test.iter().any(|id| self.holds(*id));
        }
        let (equalities, others) = self.split(test);
        let listed = |id: &PredicateId| equalities.binary_search(id).is_ok();
        let equal = match (&self.wide, equalities.first()) {
            (_, None) => false,
            (Some(wide), Some(first)) => {
                let places = wide.by_field(self.view).of(self.predicates.field(*first));
                let equal = wide.equal(self.view, self.predicates);
                if places.len() < equalities.len() {
                    self.work().take(places.len());
                    let mut entries = places.iter().filter_map(|place| self.view.at(*place));
                    entries.any(|entry| self.predicates.equal_to(&entry).as_ref().is_some_and(listed))
                } else {
                    equalities.iter().any(|id| of(equal, *id).next().is_some())
                }
            }
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
                Some(Test::Other(_, predicate)) => self.accepts(predicate, entry),
            });
        }
        let (equalities, others) = self.split(test);
        work::step(1 + others.len());
        let equal = (!equalities.is_empty()).then(|| self.predicates.equal_to(entry)).flatten();
        equal.is_some_and(|id| equalities.binary_search(&id).is_ok())
            || others
                .iter()
                .filter_map(|id| self.predicates.other(*id))
                .any(|predicate| self.accepts(predicate, entry))
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

/// The elements of a predicate in an ascending list.
fn of(list: &[(PredicateId, u32)], id: PredicateId) -> impl Iterator<Item = u32> {
    let start = list.partition_point(|(other, _)| *other < id);
    let own = list.iter().skip(start).take_while(move |(other, _)| *other == id);
    own.map(|(_, element)| *element)
}

impl Wide {
    fn by_field(&self, view: &View<'_>) -> &ByField {
        self.by_field.get_or_init(|| view.by_field())
    }

    fn equal(&self, view: &View<'_>, predicates: &Predicates) -> &[(PredicateId, u32)] {
        self.equal.get_or_init(|| {
            let mut equal: Vec<(PredicateId, u32)> = Vec::new();
            view.visit(
                |_| true,
                |entry| equal.extend(predicates.equal_to(&entry).map(|id| (id, entry.element))),
            );
            work::step(view.len());
            equal.sort_unstable();
            equal.dedup();
            equal
        })
    }
}
