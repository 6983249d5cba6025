//! Sorted numbers, of which those around one are found by a few accesses to memory.

use super::fetch::fetch;

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
}

impl Levels {
    pub(super) fn new(mut numbers: Vec<u64>) -> Self {
        let all = Level::new(&numbers);
        let mut above = Vec::new();
        while numbers.len() > STEP {
            numbers = numbers.into_iter().step_by(STEP).collect();
            above.push(Level::new(&numbers));
        }
        Self { all, above }
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<u64> {
        self.all.rows.get(at / STEP).filter(|_| at < self.all.count)?.0.get(at % STEP).copied()
    }

    /// Position of the first number that is not less than one. Of `beside`, where so many things stand for each number,
    /// those around that are fetched meanwhile.
    #[inline]
    pub(super) fn first_from<T>(&self, number: u64, beside: &[T], each: usize) -> usize {
        let mut row = 0;
        for level in self.above.iter().rev() {
            // What the last that is less stands for begins below it.
            row = level.less(number, row).saturating_sub(1);
        }
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
            number in 0_u64..310,
        ) {
            numbers.sort_unstable();
            let levels = Levels::new(numbers.clone());
            let expected = numbers.partition_point(|other| *other < number);
            prop_assert_eq!(levels.first_from(number, &numbers, 1), expected);
            prop_assert_eq!(levels.get(expected), numbers.get(expected).copied());
        }
    }
}
