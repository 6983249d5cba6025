//! Sorted numbers, of which those around one are found by a few accesses to memory.

use super::fetch::fetch;
use super::narrow;

/// How many numbers are compared at once.
const STEP: usize = 16;

/// Some numbers, ascending, of which the level above has the first: two lines of the processor's cache, fetched together.
/// Behind the last number the greatest stands that there can be.
#[derive(Clone, Copy, Debug)]
#[repr(align(128))]
struct Row([u64; STEP]);

impl Row {
    /// How many numbers are less than one. No step is a guess of the processor's, which would be wrong half the time.
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
    /// How many numbers there are; the last row may have room for more.
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

    /// How many numbers are less than one, it being known that there is none, or that this row has the last that is.
    #[inline]
    fn less(&self, than: u64, row: usize) -> usize {
        row * STEP + self.rows.get(row).map_or(0, |row| row.less(than))
    }
}

/// Numbers, ascending; the same one may come several times.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels {
    all: Level,
    /// The first number of each row, the first of each row of those, and so on: a search goes from the last level, which is
    /// small, to the first, and reads one row of each.
    above: Vec<Level>,
    near: Near,
}

/// Which rows numbers are in, for steps of the same width between the least and the greatest: where numbers are spread
/// evenly enough, one look here is as good as a search through the levels above.
#[derive(Clone, Debug, Default)]
struct Near {
    least: u64,
    /// How wide a step is: so many bits.
    shift: u32,
    /// By step, the first row in which there may be numbers that belong there; and the last row.
    rows: Vec<u32>,
}

impl Near {
    /// How many steps there are for each row.
    const STEPS: u64 = 4;
    /// In how many rows behind the first a number may be.
    const MOST: usize = 4;

    fn new(numbers: &[u64], firsts: &[u64]) -> Self {
        let (Some(&least), Some(&greatest)) = (numbers.first(), numbers.last()) else {
            return Self::default();
        };
        let most = Self::STEPS * firsts.len() as u64;
        let shift = 64 - ((greatest - least) / most).leading_zeros();
        let steps = ((greatest - least) >> shift) + 1;
        let row =
            |step: u64| narrow(firsts.partition_point(|first| *first < least + (step << shift)).max(1) - 1);
        let mut rows: Vec<u32> = (0..steps).map(row).collect();
        rows.push(narrow(firsts.len().saturating_sub(1)));
        Self { least, shift, rows }
    }

    /// The row that has the last number which is less than this one, if there are few that can be it. `first` gives a row's
    /// first number, or the greatest that there can be.
    #[inline]
    fn row(&self, number: u64, first: impl Fn(usize) -> u64) -> Option<usize> {
        let step = usize::try_from(number.saturating_sub(self.least) >> self.shift).unwrap_or(usize::MAX);
        let step = step.min(self.rows.len().checked_sub(2)?);
        let &[start, end] = self.rows.get(step..step + 2)?.first_chunk()?;
        let (start, end) = (start as usize, end as usize);
        let before = (1..=Self::MOST).map(|ahead| usize::from(first(start + ahead) < number));
        (end - start <= Self::MOST).then(|| start + before.sum::<usize>())
    }
}

impl Levels {
    pub(super) fn new(mut numbers: Vec<u64>) -> Self {
        let all = Level::new(&numbers);
        let mut above = Vec::new();
        let mut near = Near::default();
        while numbers.len() > STEP {
            let firsts: Vec<u64> = numbers.iter().copied().step_by(STEP).collect();
            // Of few rows, a search is one step as well.
            if above.is_empty() && numbers.len() > STEP * STEP {
                near = Near::new(&numbers, &firsts);
            }
            numbers = firsts;
            above.push(Level::new(&numbers));
        }
        Self { all, above, near }
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<u64> {
        self.all.get(at)
    }

    /// The row that has the last number which is less than this one; the first, where there is none.
    #[inline]
    fn row(&self, number: u64) -> usize {
        let Some(firsts) = self.above.first() else { return 0 };
        let near = self.near.row(number, |row| firsts.get(row).unwrap_or(u64::MAX));
        near.unwrap_or_else(|| {
            let mut row = 0;
            for level in self.above.iter().rev() {
                // What the last that is less stands for begins below it.
                row = level.less(number, row).saturating_sub(1);
            }
            row
        })
    }

    /// Position of the first number that is not less than one. Of `beside`, where so many things stand for each number,
    /// those around that are fetched meanwhile.
    #[inline]
    pub(super) fn first_from<T>(&self, number: u64, beside: &[T], each: usize) -> usize {
        let row = self.row(number);
        let around = beside.get(row * STEP * each..).unwrap_or_default();
        let line = (64 / size_of::<T>().max(1)).max(1);
        around.iter().take(STEP * each + 1).step_by(line).for_each(|thing| fetch(thing));
        self.all.less(number, row)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_the_first_that_is_not_less(
            mut numbers in prop::collection::vec(0_u64..300, 0..600),
            // Spread evenly, in heaps, at the ends.
            shape in 0..4,
            number in 0_u64..310,
        ) {
            let spread = |number: u64| match shape {
                0 => number,
                1 => number << 55,
                2 => (number % 7) << 50 | (number / 7),
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
