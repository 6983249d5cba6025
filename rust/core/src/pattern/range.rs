//! Ranges of numbers: `{"numeric": […]}`.

use std::fmt;

use super::Decimal;

/// One end of a [`Range`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bound {
    pub(crate) at: Decimal,
    pub(crate) inclusive: bool,
    /// The text as written, if it differs from `at` as displayed.
    text: Option<Box<str>>,
}

/// A range of numbers, open or closed at either end.
///
/// Most bounds are short numbers in plain notation. A range between such bounds is stored as two points: the point of a number
/// is twice its rank (`Decimal::rank`), and the odd point after it stands for all values between this number and the next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// The first point in the range.
    first: u64,
    /// The last point in the range.
    last: u64,
    /// The bounds themselves, if points cannot represent them exactly.
    exact: Option<Box<[Option<Bound>; 2]>>,
}

/// Subtracted from a rank before it is doubled, so that the result fits; at most the lowest rank.
const LOWEST: u64 = 1 << 62;

impl Bound {
    pub(crate) fn new(at: Decimal, inclusive: bool, text: &str) -> Self {
        let text = (at.to_string() != text).then(|| text.into());
        Self { at, inclusive, text }
    }

    /// The bound's point, if that represents it exactly.
    fn point(&self) -> Option<u64> {
        let (rank, is_exact) = self.at.rank();
        (is_exact && self.text.is_none()).then(|| 2 * (rank - LOWEST))
    }

    fn of_point(point: u64, inclusive: bool) -> Self {
        Self { at: Decimal::of_rank(point / 2 + LOWEST), inclusive, text: None }
    }
}

impl Range {
    /// Makes a range; without a bound, that end is open.
    pub(crate) fn new(bottom: Option<Bound>, top: Option<Bound>) -> Self {
        let point = |bound: &Option<Bound>, open: u64| {
            bound.as_ref().map_or(Some((open, true)), |bound| Some((bound.point()?, bound.inclusive)))
        };
        match (point(&bottom, 0), point(&top, u64::MAX)) {
            (Some((first, from)), Some((last, to))) => {
                Self { first: first + u64::from(!from), last: last - u64::from(!to), exact: None }
            }
            _ => Self { first: 0, last: u64::MAX, exact: Some(Box::new([bottom, top])) },
        }
    }

    /// The lower and the upper bound; `None` for an open end.
    pub(crate) fn ends(&self) -> [Option<Bound>; 2] {
        if let Some(exact) = &self.exact {
            return (**exact).clone();
        }
        // An exclusive bound is stored as the odd point beside it.
        let bottom = || Bound::of_point(self.first, self.first.is_multiple_of(2));
        let top = || Bound::of_point(self.last.next_multiple_of(2), self.last.is_multiple_of(2));
        [(self.first > 0).then(bottom), (self.last < u64::MAX).then(top)]
    }

    pub(crate) fn contains(&self, number: &Decimal) -> bool {
        if let Some(exact) = &self.exact {
            let [bottom, top] = &**exact;
            let above =
                bottom.as_ref().is_none_or(|b| if b.inclusive { *number >= b.at } else { *number > b.at });
            let below =
                top.as_ref().is_none_or(|b| if b.inclusive { *number <= b.at } else { *number < b.at });
            return above && below;
        }
        let (rank, is_exact) = number.rank();
        let point = 2 * (rank - LOWEST);
        // An inexact number is a little further from 0 than its rank.
        let point = match (is_exact, number.is_negative()) {
            (true, _) => point,
            (false, false) => point + 1,
            (false, true) => point - 1,
        };
        (self.first..=self.last).contains(&point)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => f.write_str(text),
            None => self.at.fmt(f),
        }
    }
}

/// Writes `>= 7`, `> 1 and < 2` or `= 3`.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [bottom, top] = self.ends();
        if let (Some(bottom), Some(top)) = (&bottom, &top)
            && bottom.at == top.at
        {
            return write!(f, "= {bottom}");
        }
        if let Some(bottom) = &bottom {
            write!(f, "{} {bottom}", if bottom.inclusive { ">=" } else { ">" })?;
        }
        if bottom.is_some() && top.is_some() {
            f.write_str(" and ")?;
        }
        if let Some(top) = &top {
            write!(f, "{} {top}", if top.inclusive { "<=" } else { "<" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers that are short and plain, too long for a rank, beyond its exponents, or in other notations.
    fn written() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "-?[0-9]{1,2}",
            1 => "-?10000000000000000[0-9]{1,2}",
            1 => "-?[1-9]e-?(20[34][0-9]|999999999)",
            1 => "-?0\\.0{0,7}[1-9]{1,2}",
            1 => "-?[0-9]\\.0|[1-9]e1|-0",
        ]
    }

    proptest! {
        #[test]
        fn a_range_is_what_its_bounds_say(
            bottom in prop::option::of((written(), any::<bool>())),
            top in prop::option::of((written(), any::<bool>())),
            numbers in prop::collection::vec(written(), 30),
        ) {
            let bound = |end: &Option<(String, bool)>| {
                end.as_ref().map(|(text, inclusive)| Bound::new(Decimal::parse(text).unwrap(), *inclusive, text))
            };
            let (bottom, top) = (bound(&bottom), bound(&top));
            // The parser rejects empty ranges.
            if let (Some(b), Some(t)) = (&bottom, &top) {
                prop_assume!(b.at < t.at || b.at == t.at && b.inclusive && t.inclusive && b == t);
            }
            let range = Range::new(bottom.clone(), top.clone());
            prop_assert_eq!(range.ends(), [bottom.clone(), top.clone()]);
            // Also test at the bounds, and nearer to them than ranks can distinguish.
            let ends = [&bottom, &top].into_iter().flatten().map(|bound| bound.at.to_string());
            let beside = ends.clone().filter(|end| !end.contains(['.', 'e'])).map(|end| format!("{end}.{:020}", 1));
            for text in numbers.into_iter().chain(ends).chain(beside) {
                let number = Decimal::parse(&text).unwrap();
                let above = bottom.as_ref().is_none_or(|b| number > b.at || b.inclusive && number == b.at);
                let below = top.as_ref().is_none_or(|t| number < t.at || t.inclusive && number == t.at);
                prop_assert_eq!(range.contains(&number), above && below, "{} in {}", number, range);
            }
        }
    }

    #[test]
    fn short_bounds_take_no_memory_of_their_own() {
        let bound = |text: &str| Bound::new(Decimal::parse(text).unwrap(), true, text);
        let range = |bottom, top| Range::new(Some(bound(bottom)), Some(bound(top)));
        assert!(range("-3", "1234567.89").exact.is_none());
        assert!(range("7.0", "8").exact.is_some(), "the text as written is kept");
        assert!(range("1", "1e999999").exact.is_some());
        assert!(range("9007199254740993", "1e21").exact.is_some());
    }
}
