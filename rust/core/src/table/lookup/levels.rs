//! Sorted numbers, of which those around one are found by a few accesses to memory.

use super::prefetch::prefetch;
use crate::table::ids::narrow;

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

    /// Whether the number at a position is less than one.
    #[inline]
    fn is_less(&self, at: usize, than: u64) -> bool {
        self.rows.get(at / STEP).and_then(|row| row.0.get(at % STEP)).is_some_and(|number| *number < than)
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

/// Where numbers are, for steps of the same width: where they are spread evenly enough, one look here is as good as a search
/// through the levels above. Numbers that have their highest bits alike have steps of their own: of a decimal's rank those are
/// the sign and the exponent, and most numbers have the greatest one or two of all exponents.
#[derive(Clone, Debug, Default)]
struct Near {
    /// The highest bits of the least number.
    least: u64,
    /// By highest bits, less those of the least number.
    parts: Vec<Part>,
    /// By part and step, how many numbers are less than those that belong there; behind the steps of a part, up to its end.
    starts: Vec<u32>,
}

/// Numbers that have their highest bits alike.
#[derive(Clone, Copy, Debug)]
struct Part {
    least: u64,
    /// How wide a step is: so many bits.
    shift: u32,
    /// Where its steps begin, and where its end is, behind them.
    first: u32,
    end: u32,
}

impl Near {
    /// How many bits there are below the highest ones.
    const LOW: u32 = 50;
    /// How many parts there may be.
    const PARTS: u64 = 128;
    /// How many numbers there are for each step, or up to twice as many.
    const FILL: usize = 4;
    /// How many numbers of a step are searched.
    const MOST: usize = 15;

    /// Of the parts at one end, if those are too many: where more numbers are.
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

    /// Appends a part, of these numbers, which so many are less than.
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

    /// Between which positions the first number is that is not less than one, if those are few.
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
        // Of few rows, a search is one step as well.
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

    /// Position of the first number that is not less than one. Of `beside`, where so many things stand for each number,
    /// those around that are fetched meanwhile.
    #[inline]
    pub(super) fn first_from<T>(&self, number: u64, beside: &[T], each: usize) -> usize {
        let Some((start, end)) = self.near.around(number) else { return self.search(number, beside, each) };
        for at in [start, usize::midpoint(start, end), end] {
            fetch_if(beside.get(at * each));
        }
        // It is not behind the end, as what is there is greater.
        let mut at = start;
        for step in [8, 4, 2, 1] {
            at += step * usize::from(self.all.is_less(at + step - 1, number));
        }
        at
    }

    /// The same, by a search through all levels.
    #[inline]
    fn search<T>(&self, number: u64, beside: &[T], each: usize) -> usize {
        let mut row = 0;
        for level in self.above.iter().rev() {
            // What the last that is less stands for begins below it.
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
            // Spread evenly, in heaps, at the ends.
            shape in 0..7,
            number in 0_u64..310,
        ) {
            let spread = |number: u64| match shape {
                0 => number,
                1 => number << 55,
                2 => (number % 7) << 50 | (number / 7),
                // In parts that are not beside each other, or many of them at one end.
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
