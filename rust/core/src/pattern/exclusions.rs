//! What `{"anything-but": …}` excludes.

use std::hash::{Hash, Hasher};
use std::ops::Deref;

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use smol_str::SmolStr;

use super::predicate::{Exclusion, Scalar, Seen};
use super::{Decimal, Work};

/// The exclusions of one predicate, in the order written.
#[derive(Clone, Debug)]
pub struct Exclusions {
    all: Box<[Exclusion]>,
    /// The values among them, if they are many.
    values: Option<Box<Values>>,
}

#[derive(Clone, Debug, Default)]
struct Values {
    strings: HashSet<SmolStr, RandomState>,
    numbers: HashSet<Decimal, RandomState>,
    /// All that is neither a string nor a number.
    others: Vec<Exclusion>,
}

/// The most exclusions that are compared one by one.
const FEW: usize = 16;

impl Exclusions {
    pub(super) fn new(all: Vec<Exclusion>) -> Self {
        let values = (all.len() > FEW).then(|| {
            let mut values = Values::default();
            for exclusion in &all {
                match exclusion {
                    Exclusion::Equals(Scalar::String(text)) => {
                        values.strings.insert(text.clone());
                    }
                    Exclusion::Equals(Scalar::Number(number)) => {
                        values.numbers.insert(number.0.clone());
                    }
                    other => values.others.push(other.clone()),
                }
            }
            Box::new(values)
        });
        Self { all: all.into(), values }
    }

    /// Whether this scalar is excluded. If the work is exhausted, the result means nothing.
    pub(super) fn exclude(&self, seen: &Seen<'_>, work: &Work) -> bool {
        let Some(values) = &self.values else { return any(&self.all, seen, work) };
        match seen {
            Seen::String(text) if values.strings.contains(&**text) => true,
            Seen::Number(number) if values.numbers.contains(number) => true,
            _ => any(&values.others, seen, work),
        }
    }
}

fn any(exclusions: &[Exclusion], seen: &Seen<'_>, work: &Work) -> bool {
    work.take(exclusions.len() / 4) && exclusions.iter().any(|exclusion| exclusion.excludes(seen))
}

impl Deref for Exclusions {
    type Target = [Exclusion];

    fn deref(&self) -> &[Exclusion] {
        &self.all
    }
}

impl Eq for Exclusions {}

impl PartialEq for Exclusions {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

impl Hash for Exclusions {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.all.hash(state);
    }
}
