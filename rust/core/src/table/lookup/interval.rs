//! Finds the ranges that contain a number: with one look-up among all bounds if few ranges overlap, otherwise in time
//! logarithmic in the number of ranges.

use smallvec::SmallVec;

use super::levels::Levels;
use crate::pattern::{Bound, Decimal, Range};
use crate::table::ids::{Holding, OTHER, PredicateId, narrow};

/// Ranges, located on a line of points. Bound number `i` is point `2i + 1`; the even points stand for the values between
/// bounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intervals {
    /// The [`Decimal::rank`] of each bound.
    ranks: Levels,
    /// The bounds; empty if all ranks are exact.
    bounds: Vec<Decimal>,
    /// For each point: the predicate of the only range there, 0 if none, or one plus the index of its list in `lists`. Empty if
    /// the lists would take much more room than the ranges.
    points: Vec<u32>,
    /// Lists of predicates, each preceded by its length.
    lists: Vec<u32>,
    /// An implicit interval tree. The ranges are sorted by start; the middle of a slice is the root of its subtree, and has
    /// the largest end of that subtree.
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

/// The most points per range, on average, for which ranges are listed by point.
const SPREAD: usize = 8;

impl Intervals {
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Builds the table from ranges and their predicates, whose numbers have the bit [`OTHER`].
    pub(crate) fn build<'r>(ranges: impl Iterator<Item = (&'r Range, PredicateId)>) -> Self {
        let ranges: Vec<([Option<Bound>; 2], PredicateId)> =
            ranges.map(|(range, id)| (range.ends(), id)).collect();
        let ends = ranges.iter().flat_map(|(ends, _)| ends).flatten();
        let mut bounds: Vec<Decimal> = ends.map(|bound| bound.at.clone()).collect();
        bounds.sort_unstable();
        bounds.dedup();
        bounds.shrink_to_fit();
        let point_of = |at: &Decimal| point(bounds.partition_point(|bound| bound < at), true);
        let mut ranges: Vec<Interval> = ranges
            .into_iter()
            .map(|([bottom, top], id)| {
                let first = bottom.map_or(0, |b| point_of(&b.at) + u32::from(!b.inclusive));
                let last = top.map_or(u32::MAX, |b| point_of(&b.at) - u32::from(!b.inclusive));
                Interval { first, last, reach: last, id }
            })
            .collect();
        ranges.sort_unstable_by_key(|range| range.first);
        set_reach(&mut ranges);
        let (points, lists) = listed(&ranges, 2 * bounds.len() + 1).unwrap_or_default();
        let ranks = Levels::new(bounds.iter().map(|bound| bound.rank().0).collect());
        if bounds.iter().all(|bound| bound.rank().1) {
            bounds = Vec::new();
        }
        Self { ranks, bounds, points, lists, ranges }
    }

    /// The most ranges that contain one number.
    pub(crate) fn depth(&self) -> usize {
        let mut ends: Vec<u32> = self.ranges.iter().map(|range| range.last).collect();
        ends.sort_unstable();
        // The ranges are sorted by start.
        let mut ended = 0;
        let open = self.ranges.iter().zip(1..).map(|(range, begun)| {
            while ends.get(ended).is_some_and(|end| *end < range.first) {
                ended += 1;
            }
            begun - ended
        });
        open.max().unwrap_or_default()
    }

    /// The predicates of all ranges.
    pub(crate) fn ids(&self) -> impl Iterator<Item = PredicateId> {
        self.ranges.iter().map(|range| range.id)
    }

    /// Adds the predicates of all ranges that contain `number`, given as JSON text.
    pub(crate) fn find(&self, number: &str, out: &mut Holding) {
        let Some(at) = self.point_of(number) else { return };
        if let Some(&there) = self.points.get(at as usize) {
            if there & OTHER != 0 {
                out.push(there);
            } else if there > 0
                && let Some((count, list)) =
                    self.lists.get(there as usize - 1..).and_then(<[u32]>::split_first)
            {
                out.extend(list.iter().take(*count as usize).copied());
            }
            return;
        }
        let mut todo: SmallVec<[&[Interval]; 32]> = SmallVec::from_slice(&[self.ranges.as_slice()]);
        while let Some(slice) = todo.pop() {
            let (left, root_and_right) = slice.split_at(slice.len() / 2);
            let Some((root, right)) = root_and_right.split_first() else { continue };
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

    /// Adds the predicates of all ranges that contain one of some ascending points. Takes time for all ranges or all points,
    /// not for each pair.
    pub(crate) fn around(&self, points: &[u32], out: &mut Holding) {
        let around = |range: &&Interval| {
            let first = points.partition_point(|point| *point < range.first);
            points.get(first).is_some_and(|point| *point <= range.last)
        };
        out.extend(self.ranges.iter().filter(around).map(|range| range.id));
    }

    /// The point of a number.
    pub(crate) fn point_of(&self, number: &str) -> Option<u32> {
        if self.bounds.is_empty()
            && let Some(rank) = Decimal::plain_rank(number)
        {
            let first = self.first_from(rank);
            return Some(point(first, self.ranks.get(first) == Some(rank)));
        }
        let number = Decimal::parse(number)?;
        let (rank, is_exact) = number.rank();
        let first = self.first_from(rank);
        if self.ranks.get(first) != Some(rank) {
            return Some(point(first, false));
        }
        if self.bounds.is_empty() {
            // An inexact number is a little further from 0 than the bound.
            return Some(point(first + usize::from(!is_exact && !number.is_negative()), is_exact));
        }
        let candidates = self.bounds.get(first..).unwrap_or_default();
        let at = first + candidates.partition_point(|bound| *bound < number);
        Some(point(at, self.bounds.get(at) == Some(&number)))
    }

    /// The first bound with this rank or a higher one.
    fn first_from(&self, rank: u64) -> usize {
        self.ranks.first_from(rank, &self.points, 2)
    }
}

/// Builds `points` and `lists` of [`Intervals`]; `None` if they would be too large.
fn listed(ranges: &[Interval], points: usize) -> Option<(Vec<u32>, Vec<u32>)> {
    let last = narrow(points).checked_sub(1)?;
    let spread: usize = ranges.iter().map(|range| on(range, last).count()).sum();
    if spread > ranges.len().saturating_mul(SPREAD) {
        return None;
    }
    let mut counts = vec![0_u32; points];
    for at in ranges.iter().flat_map(|range| on(range, last)) {
        if let Some(count) = counts.get_mut(at as usize) {
            *count += 1;
        }
    }
    let mut lists: Vec<u32> = Vec::with_capacity(spread);
    let mut starts = counts;
    for count in &mut starts {
        let many = std::mem::take(count);
        if many > 1 {
            lists.push(0);
            *count = narrow(lists.len());
            lists.resize(lists.len() + many as usize, 0);
        }
    }
    for range in ranges {
        for at in on(range, last) {
            let Some(there) = starts.get_mut(at as usize) else { continue };
            let Some((filled, listed)) =
                (*there as usize).checked_sub(1).and_then(|list| lists.get_mut(list..)?.split_first_mut())
            else {
                *there = range.id;
                continue;
            };
            if let Some(free) = listed.get_mut(*filled as usize) {
                *free = range.id;
                *filled += 1;
            }
        }
    }
    lists.shrink_to_fit();
    Some((starts, lists))
}

/// The points of a range, up to the last point.
fn on(range: &Interval, last: u32) -> impl Iterator<Item = u32> {
    range.first..=range.last.min(last)
}

/// Sets the reach of all ranges in a subtree. Returns that of its root.
fn set_reach(slice: &mut [Interval]) -> u32 {
    let (left, root_and_right) = slice.split_at_mut(slice.len() / 2);
    let Some((root, right)) = root_and_right.split_first_mut() else { return 0 };
    root.reach = root.last.max(set_reach(left)).max(set_reach(right));
    root.reach
}

/// The point of bound number `at` (`on`), or of the values before it.
fn point(at: usize, on: bool) -> u32 {
    u32::try_from(2 * at).unwrap_or(u32::MAX - 2) + u32::from(on)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pattern::{Pattern, Predicate, Seen, Value};

    /// Small numbers, numbers with more digits than a rank has, and numbers with exponents beyond those of ranks.
    fn written(number: i64, half: bool, form: u8) -> String {
        let half = if half { ".5" } else { "" };
        match form {
            0 => format!("{number}{half}"),
            1 => format!(
                "{}{:04}{half}",
                if number < 0 { "-10000000000000" } else { "10000000000000" },
                number.abs()
            ),
            _ => format!("{number}{half}e3000"),
        }
    }

    fn range(bottom: i32, width: u32, ops: (bool, bool), open: u8, form: u8) -> Predicate {
        let number = |n: i64| Value::Number(written(n, false, form));
        let low = [text(if ops.0 { ">=" } else { ">" }), number(bottom.into())];
        let high = [text(if ops.1 { "<=" } else { "<" }), number(i64::from(bottom) + i64::from(width) + 1)];
        let operands = match open {
            0 => low.to_vec(),
            1 => high.to_vec(),
            2 => vec![text("="), number(bottom.into())],
            _ => [low, high].concat(),
        };
        numeric(operands)
    }

    fn text(s: &str) -> Value {
        Value::String(s.to_owned())
    }

    fn numeric(operands: Vec<Value>) -> Predicate {
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
            form in 0_u8..3,
            other_form in 0_u8..3,
        ) {
            let predicates: Vec<Predicate> = ranges.into_iter().map(|(b, w, ops, open)| range(b, w, ops, open, form)).collect();
            let form = if number % 2 == 0 { form } else { other_form };
            compare(&predicates, &[written(number.into(), half, form)])?;
        }
    }

    /// Numbers of all sizes, many of them with equal highest bits.
    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "-?[1-9][0-9]{0,5}",
            2 => "[1-9][0-9]{4}",
            1 => "-?[1-9][0-9]{16,20}",
            1 => "-?[1-9]e-?3000",
            1 => "-?0\\.0{0,4}[0-9]{1,3}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn finds_every_range_around_among_many(
            bounds in prop::collection::vec(number(), 250..600),
            ranges in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..4, any::<(bool, bool)>()), 150..400),
            // With many of these, ranges are not listed by point.
            open in prop_oneof![Just(0), Just(1), Just(60)],
            numbers in prop::collection::vec(number(), 20),
            are_exact in any::<bool>(),
        ) {
            let of = |text: &str| Decimal::parse(text).unwrap();
            let mut bounds = bounds;
            bounds.sort_by_key(|text| of(text));
            bounds.dedup_by_key(|text| of(text));
            if are_exact {
                bounds.retain(|text| of(text).rank().1);
            }
            // Also test numbers nearer to a bound than ranks can distinguish.
            let beside = bounds.iter().filter(|text| !text.contains(['.', 'e'])).map(|text| format!("{text}.{:019}", 1));
            let numbers: Vec<String> = numbers.into_iter().chain(beside).chain(bounds.clone()).collect();
            let ranges = (0..).zip(&ranges).map(|(at, (first, width, ops))| {
                let first = first.index(bounds.len());
                let number = |at: usize| Value::Number(bounds[at].clone());
                let low = [text(if ops.0 { ">=" } else { ">" }), number(first)];
                match bounds.get(first + width) {
                    Some(_) if at >= open => {
                        let high = [text(if ops.1 { "<=" } else { "<" }), number(first + width)];
                        numeric([low, high].concat())
                    }
                    _ => numeric(low.to_vec()),
                }
            });
            compare(&ranges.collect::<Vec<_>>(), &numbers)?;
        }
    }

    /// Compares the ranges found for each number with evaluating each predicate.
    fn compare<'n>(
        predicates: &[Predicate],
        numbers: impl IntoIterator<Item = &'n String>,
    ) -> Result<(), TestCaseError> {
        let ranges = (OTHER..).zip(predicates).filter_map(|(id, predicate)| match predicate {
            Predicate::Numeric(range) => Some((range, id)),
            _ => None,
        });
        let intervals = Intervals::build(ranges);
        for number in numbers {
            let mut found = SmallVec::new();
            intervals.find(number, &mut found);
            found.sort_unstable();
            let mut around = SmallVec::new();
            intervals.around(&[intervals.point_of(number).unwrap()], &mut around);
            around.sort_unstable();
            prop_assert_eq!(&around, &found);
            prop_assert!(intervals.depth() >= found.len());
            let seen = Seen::Number(Decimal::parse(number).unwrap());
            let expected: Vec<u32> =
                (OTHER..).zip(predicates).filter(|(_, p)| p.matches(&seen)).map(|(id, _)| id).collect();
            prop_assert_eq!(found.to_vec(), expected, "{}", number);
        }
        Ok(())
    }
}
