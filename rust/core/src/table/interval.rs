//! Ranges of numbers, of which those around a number are found in time logarithmic in all of them.

use smallvec::SmallVec;

use super::facts::Found;
use super::predicates::PredicateId;
use crate::pattern::{Decimal, Range};

/// Ranges, as an implicit interval tree: sorted by where they begin, each subtree (the middle of a slice is its root)
/// knowing where its last range ends. Bounds are numbered, so that only the number looked for is compared as a decimal:
/// bound `i` is point `2i + 1`, what lies between two bounds is the even point between theirs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intervals {
    bounds: Vec<Decimal>,
    ranges: Vec<Interval>,
}

#[derive(Clone, Debug)]
struct Interval {
    first: u32,
    last: u32,
    /// The greatest `last` in the subtree.
    reach: u32,
    id: PredicateId,
}

impl Intervals {
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(crate) fn build<'r>(ranges: impl Iterator<Item = (&'r Range, PredicateId)>) -> Self {
        let ranges: Vec<(&Range, PredicateId)> = ranges.collect();
        let ends = ranges.iter().flat_map(|(range, _)| [&range.bottom, &range.top]).flatten();
        let mut bounds: Vec<Decimal> = ends.map(|bound| bound.at.clone()).collect();
        bounds.sort_unstable();
        bounds.dedup();
        let place = |at: &Decimal| point(bounds.partition_point(|bound| bound < at), true);
        let mut ranges: Vec<Interval> = ranges
            .into_iter()
            .map(|(range, id)| {
                let first = range.bottom.as_ref().map_or(0, |b| place(&b.at) + u32::from(!b.inclusive));
                let last = range.top.as_ref().map_or(u32::MAX, |b| place(&b.at) - u32::from(!b.inclusive));
                Interval { first, last, reach: last, id }
            })
            .collect();
        ranges.sort_unstable_by_key(|range| range.first);
        set_reach(&mut ranges);
        Self { bounds, ranges }
    }

    /// How many ranges hold one number at most.
    pub(crate) fn depth(&self) -> usize {
        let mut ends: Vec<u32> = self.ranges.iter().map(|range| range.last).collect();
        ends.sort_unstable();
        // Ranges are sorted by where they begin.
        let mut ended = 0;
        let open = self.ranges.iter().zip(1..).map(|(range, begun)| {
            while ends.get(ended).is_some_and(|end| *end < range.first) {
                ended += 1;
            }
            begun - ended
        });
        open.max().unwrap_or_default()
    }

    /// All their predicates.
    pub(crate) fn ids(&self) -> impl Iterator<Item = PredicateId> {
        self.ranges.iter().map(|range| range.id)
    }

    /// Adds the predicates of all ranges that hold `number`.
    pub(crate) fn find(&self, number: &Decimal, out: &mut Found) {
        let at = self.bounds.partition_point(|bound| bound < number);
        let at = point(at, self.bounds.get(at) == Some(number));
        let mut todo: SmallVec<[&[Interval]; 32]> = SmallVec::from_slice(&[self.ranges.as_slice()]);
        while let Some(slice) = todo.pop() {
            let (left, rest) = slice.split_at(slice.len() / 2);
            let Some((root, right)) = rest.split_first() else { continue };
            if root.reach < at {
                continue;
            }
            todo.push(left);
            if root.first <= at {
                if at <= root.last {
                    out.push(root.id);
                }
                todo.push(right);
            }
        }
    }
}

/// Sets the reach of a subtree's root, and of all below it.
fn set_reach(slice: &mut [Interval]) -> u32 {
    let (left, rest) = slice.split_at_mut(slice.len() / 2);
    let Some((root, right)) = rest.split_first_mut() else { return 0 };
    root.reach = root.last.max(set_reach(left)).max(set_reach(right));
    root.reach
}

/// The point of bound number `at`, or of what lies before it.
fn point(at: usize, on: bool) -> u32 {
    u32::try_from(2 * at).unwrap_or(u32::MAX - 2) + u32::from(on)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pattern::{Pattern, Predicate, Value};

    fn range(bottom: i32, width: u32, ops: (bool, bool), open: u8) -> Predicate {
        let number = |n: i64| Value::Number(n.to_string());
        let text = |s: &str| Value::String(s.to_owned());
        let low = [text(if ops.0 { ">=" } else { ">" }), number(bottom.into())];
        let high = [text(if ops.1 { "<=" } else { "<" }), number(i64::from(bottom) + i64::from(width) + 1)];
        let operands = match open {
            0 => low.to_vec(),
            1 => high.to_vec(),
            2 => vec![text("="), number(bottom.into())],
            _ => [low, high].concat(),
        };
        let predicate = Value::Map(vec![("numeric".into(), Value::List(operands))]);
        let pattern = Value::Map(vec![("f".into(), Value::List(vec![predicate]))]);
        Pattern::parse(&pattern).unwrap().fields().next().unwrap().tests[0].clone()
    }

    proptest! {
        #[test]
        fn finds_every_range_around(
            ranges in prop::collection::vec((-9_i32..9, 0_u32..6, any::<(bool, bool)>(), 0_u8..6), 0..40),
            number in -12_i32..12,
            half in any::<bool>(),
        ) {
            let predicates: Vec<Predicate> = ranges.into_iter().map(|(b, w, ops, open)| range(b, w, ops, open)).collect();
            let numeric = (0..).zip(&predicates).filter_map(|(id, predicate)| match predicate {
                Predicate::Numeric(range) => Some((range, id)),
                _ => None,
            });
            let intervals = Intervals::build(numeric);
            let number = Decimal::parse(&format!("{number}{}", if half { ".5" } else { "" })).unwrap();
            let mut found = SmallVec::new();
            intervals.find(&number, &mut found);
            found.sort_unstable();
            let seen = crate::pattern::Seen::Number(number);
            prop_assert!(intervals.depth() >= found.len());
            let expected: Vec<u32> = (0..).zip(&predicates).filter(|(_, p)| p.matches(&seen)).map(|(id, _)| id).collect();
            prop_assert_eq!(found.to_vec(), expected);
        }
    }
}
