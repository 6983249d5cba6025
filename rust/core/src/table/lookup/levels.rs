//! A search in sorted numbers that needs few memory accesses.

use super::prefetch::prefetch;
use crate::table::ids::narrow;

/// Number of numbers in a row.
const STEP: usize = 16;

/// Ascending numbers; the level above has the first of them. A row is two cache lines, which are fetched together. An
/// incomplete row is padded with the largest number.
#[derive(Clone, Copy, Debug)]
#[repr(align(128))]
struct Row([u64; STEP]);

impl Row {
    /// Number of numbers less than `than`. The search has no branches, half of which would be mispredicted.
    #[inline]
    fn less(&self, than: u64) -> usize {
        let is_less = |at: usize| usize::from(self.0.get(at % STEP).is_some_and(|number| *number < than));
        let mut count = 0;
        for step in [8, 4, 2, 1] {
            count += step * is_less(count + step - 1);
        }
        count + is_less(count)
    }
}

/// Numbers, ascending.
#[derive(Clone, Debug, Default)]
struct Level {
    rows: Vec<Row>,
    /// Number of numbers, without the padding of the last row.
    count: usize,
}

impl Level {
    fn new(numbers: &[u64]) -> Self {
        let row = |numbers: &[u64]| {
            let mut row = Row([u64::MAX; STEP]);
            row.0.iter_mut().zip(numbers).for_each(|(to, from)| *to = *from);
            row
        };
        Self { rows: numbers.chunks(STEP).map(row).collect(), count: numbers.len() }
    }

    #[inline]
    fn get(&self, at: usize) -> Option<u64> {
        self.rows.get(at / STEP).filter(|_| at < self.count)?.0.get(at % STEP).copied()
    }

    /// Whether the number at a position is less than `than`.
    #[inline]
    fn is_less(&self, at: usize, than: u64) -> bool {
        self.rows.get(at / STEP).and_then(|row| row.0.get(at % STEP)).is_some_and(|number| *number < than)
    }

    /// Number of numbers less than `than`. `row` must contain the last of them, or be 0 if there are none.
    #[inline]
    fn less(&self, than: u64, row: usize) -> usize {
        row * STEP + self.rows.get(row).map_or(0, |row| row.less(than))
    }
}

/// Ascending numbers, possibly with duplicates.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels {
    all: Level,
    /// Each level has the first number of each row of the level before it. A search goes from the last level, which is small,
    /// to the first, and reads one row of each.
    above: Vec<Level>,
    near: Near,
}

/// An interpolation table: it maps steps of equal width to positions. If numbers are spread evenly enough, one look-up
/// replaces the search through the levels above. Numbers with equal highest bits form a part with steps of its own. The
/// numbers are ranks of decimals, whose highest bits are sign and exponent; most numbers have the largest one or two
/// exponents.
#[derive(Clone, Debug, Default)]
struct Near {
    /// The highest bits of the numbers of the first part.
    least: u64,
    /// The parts, in the order of their highest bits.
    parts: Vec<Part>,
    /// The number of numbers below each step of each part; after the steps of a part, the number up to its end.
    starts: Vec<u32>,
}

/// Numbers with equal highest bits.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// The smallest number.
    least: u64,
    /// Width of a step, in bits.
    shift: u32,
    /// Index in `starts` of the first step.
    first: u32,
    /// Index in `starts` after the last step.
    end: u32,
}

impl Near {
    /// Number of bits below the highest bits.
    const LOW: u32 = 50;
    /// The most parts.
    const PARTS: u64 = 128;
    /// The least average number of numbers for each step; the average is less than twice as many.
    const FILL: usize = 4;
    /// The most numbers of a step that are searched.
    const MOST: usize = 15;

    /// Builds the table. If there are too many parts, it covers the end of the range that has more numbers.
    fn new(numbers: &[u64]) -> Self {
        let high = |number: &u64| number >> Self::LOW;
        let up_to = |bits: u64| numbers.partition_point(|number| high(number) <= bits);
        let (Some(least), Some(greatest)) = (numbers.first().map(high), numbers.last().map(high)) else {
            return Self::default();
        };
        let (front, back) = (least + Self::PARTS - 1, greatest.saturating_sub(Self::PARTS));
        let parts = if up_to(front) >= numbers.len() - up_to(back) {
            least..=greatest.min(front)
        } else {
            least.max(back + 1)..=greatest
        };
        let mut out = Self { least: *parts.start(), ..Self::default() };
        let mut from = parts.start().checked_sub(1).map_or(0, up_to);
        for bits in parts {
            let to = up_to(bits);
            out.push(numbers.get(from..to).unwrap_or_default(), from);
            from = to;
        }
        out.starts.shrink_to_fit();
        out
    }

    /// Appends a part with these numbers; `before` numbers are less than them.
    fn push(&mut self, numbers: &[u64], before: usize) {
        let least = numbers.first().copied().unwrap_or_default();
        let width = numbers.last().copied().unwrap_or_default() - least;
        let most = (numbers.len() / Self::FILL).max(1) as u64;
        let shift = 64 - (width / most).leading_zeros();
        let first = narrow(self.starts.len());
        let start = |step| before + numbers.partition_point(|number| (number - least) >> shift < step);
        self.starts.extend((0..=width >> shift).map(|step| narrow(start(step))));
        let end = narrow(self.starts.len());
        self.starts.push(narrow(before + numbers.len()));
        self.parts.push(Part { least, shift, first, end });
    }

    /// The positions between which the first number at or above `number` is; `None` if there are too many between.
    #[inline]
    fn around(&self, number: u64) -> Option<(usize, usize)> {
        let part = usize::try_from((number >> Self::LOW).checked_sub(self.least)?).ok()?;
        let &Part { least, shift, first, end } = self.parts.get(part)?;
        let step = usize::try_from(number.saturating_sub(least) >> shift).ok()?;
        let at = (first as usize).saturating_add(step).min(end as usize - 1);
        let &[start, end] = self.starts.get(at..at + 2)?.first_chunk()?;
        (end - start <= narrow(Self::MOST)).then_some((start as usize, end as usize))
    }
}

impl Levels {
    pub(super) fn new(mut numbers: Vec<u64>) -> Self {
        let all = Level::new(&numbers);
        // With few rows, the search through the levels is one step too.
        let near = if numbers.len() > STEP * STEP { Near::new(&numbers) } else { Near::default() };
        let mut above = Vec::new();
        while numbers.len() > STEP {
            numbers = numbers.iter().copied().step_by(STEP).collect();
            above.push(Level::new(&numbers));
        }
        Self { all, above, near }
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<u64> {
        self.all.get(at)
    }

    /// Position of the first number at or above `number`. Meanwhile prefetches the data around that position in `beside`, which
    /// has `each` values for each number.
    #[inline]
    pub(super) fn first_from<T>(&self, number: u64, beside: &[T], each: usize) -> usize {
        let Some((start, end)) = self.near.around(number) else { return self.search(number, beside, each) };
        for at in [start, usize::midpoint(start, end), end] {
            fetch_if(beside.get(at * each));
        }
        // The number at `end` is not less, so the search stops there at the latest.
        let mut at = start;
        for step in [8, 4, 2, 1] {
            at += step * usize::from(self.all.is_less(at + step - 1, number));
        }
        at
    }

    /// Like `first_from`, by a search through all levels.
    #[inline]
    fn search<T>(&self, number: u64, beside: &[T], each: usize) -> usize {
        let mut row = 0;
        for level in self.above.iter().rev() {
            // The row below the last smaller number contains the position.
            row = level.less(number, row).saturating_sub(1);
        }
        for part in 0..=4 {
            fetch_if(beside.get((row * STEP + part * STEP / 4) * each));
        }
        self.all.less(number, row)
    }
}

#[inline]
fn fetch_if<T>(thing: Option<&T>) {
    if let Some(thing) = thing {
        prefetch(thing);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_many_as_are_searched_are_found_in_a_step() {
        for heap in 1..40 {
            let numbers: Vec<u64> = (0..300).map(|number| (number / heap) << 20 | (number % heap)).collect();
            let levels = Levels::new(numbers.clone());
            let behind = |first: u64| (first..first + 50).step_by(7);
            for number in (0..=300 / heap).flat_map(|number| behind(number << 20)) {
                let expected = numbers.partition_point(|other| *other < number);
                assert_eq!(
                    levels.first_from(number, &numbers, 1),
                    expected,
                    "{number} among heaps of {heap}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn finds_the_first_that_is_not_less(
            mut numbers in prop::collection::vec(0_u64..300, 0..600),
            // Spread evenly, in clusters, or at the ends.
            shape in 0..7,
            number in 0_u64..310,
        ) {
            let spread = |number: u64| match shape {
                0 => number,
                1 => number << 55,
                2 => (number % 7) << 50 | (number / 7),
                // In parts that are not adjacent, or many of them at one end.
                3 => (number % 3 * 5) << 50 | number.pow(5),
                4 => if number < 10 { number } else { 1 << 63 | number << 50 },
                5 => if number < 290 { number << 45 } else { 1 << 63 | number << 50 },
                _ => if number < 150 { number } else { u64::MAX - (310 - number) },
            };
            for number in &mut numbers {
                *number = spread(*number);
            }
            let number = spread(number);
            numbers.sort_unstable();
            let levels = Levels::new(numbers.clone());
            let expected = numbers.partition_point(|other| *other < number);
            prop_assert_eq!(levels.first_from(number, &numbers, 1), expected);
            prop_assert_eq!(levels.get(expected), numbers.get(expected).copied());
        }
    }
}
