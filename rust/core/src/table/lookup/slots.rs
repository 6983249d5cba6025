//! A hash table of numbers, in which most look-ups take one memory access.

/// No number.
const EMPTY: u32 = u32::MAX;

/// Uses open addressing with linear probing; at most five eighths of the slots are taken. The caller says whether a number with
/// the same half of its hash is the right one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    /// The upper half of the hash, and the number.
    slots: Vec<(u32, u32)>,
    taken: usize,
}

impl Slots {
    /// The number that `is` accepts.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let (mut at, half) = split(hash);
        loop {
            let &(other, number) = self.slots.get(at & mask)?;
            if number == EMPTY {
                return None;
            }
            if other == half && is(number) {
                return Some(number);
            }
            at += 1;
        }
    }

    /// Reserves room for `count` numbers, if the table is empty.
    pub(crate) fn reserve(&mut self, count: usize) {
        if self.slots.is_empty() && count > 0 {
            self.slots = vec![(0, EMPTY); count.saturating_mul(8).div_ceil(5).next_power_of_two().max(8)];
        }
    }

    /// Adds a number that is not in the table. `hash_of` returns the hash of a number that is.
    pub(crate) fn insert(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        if (self.taken + 1) * 8 > self.slots.len() * 5 {
            let size = (self.slots.len() * 2).max(8);
            let old = std::mem::replace(&mut self.slots, vec![(0, EMPTY); size]);
            for (_, number) in old.into_iter().filter(|(_, number)| *number != EMPTY) {
                self.put(hash_of(number), number);
            }
        }
        self.put(hash, number);
        self.taken += 1;
    }

    fn put(&mut self, hash: u64, number: u32) {
        let mask = self.slots.len() - 1;
        let (mut at, half) = split(hash);
        while self.slots.get(at & mask).is_some_and(|(_, other)| *other != EMPTY) {
            at += 1;
        }
        if let Some(slot) = self.slots.get_mut(at & mask) {
            *slot = (half, number);
        }
    }
}

/// Splits a hash into the slot where probing begins, and the half that is stored.
#[inline]
#[expect(clippy::cast_possible_truncation)] // The hash is split into halves.
fn split(hash: u64) -> (usize, u32) {
    (hash as u32 as usize, (hash >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_was_added(hashes in prop::collection::vec(0_u64..200, 0..300)) {
            // Few hashes, so that many clash.
            let mut slots = Slots::default();
            let of = |number: u32| ((hashes[number as usize] % 7) << 32) | (hashes[number as usize] % 11);
            let mut known: BTreeMap<u64, u32> = BTreeMap::new();
            for (number, &value) in (0..).zip(&hashes) {
                let is = |other: u32| hashes[other as usize] == value;
                prop_assert_eq!(slots.find(of(number), is), known.get(&value).copied());
                if let std::collections::btree_map::Entry::Vacant(entry) = known.entry(value) {
                    entry.insert(number);
                    slots.insert(of(number), number, of);
                }
            }
        }
    }
}
