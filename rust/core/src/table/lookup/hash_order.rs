//! A compact hash index: values are sorted by hash, and the index gives their positions.
//!
//! For 100,000 values the index takes 260 KB, which a cache close to the processor holds. A look-up of a missing value mostly
//! ends here; a look-up of an existing value reads one further place.

use crate::table::ids::narrow;

/// The number of values of a group that have a tag.
const TAGS: usize = 12;
/// The largest average size of a group. With it, about 1 % of the groups have more values than tags.
const FILL: usize = 6;
const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// The bit that marks the start of a group with more values than tags.
const MORE: u32 = 1 << 31;

/// Maps hashes to positions of values. The values are sorted by group, with three to six values in a group on average. The
/// caller stores the values, and says whether the value at a position is the right one.
#[derive(Clone, Debug, Default)]
pub(crate) struct HashOrder {
    /// The groups, then an empty one.
    groups: Vec<Group>,
}

/// A group of values. Its tags mostly suffice to see that a value is missing.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(16))]
struct Group {
    /// Tags of the first eight values: other bits of their hashes, never 0. Unused tags are 0.
    tags: u64,
    /// Tags of the next four values.
    more_tags: u32,
    /// Position of the first value, and [`MORE`]. The group ends at the start of the next group.
    start: u32,
}

/// A look-up that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    group: u32,
    start: u32,
    /// A byte for each tag, whose highest bit is set if the tag is equal.
    like: u128,
}

impl Search {
    /// The most likely position.
    #[inline]
    pub(crate) fn likely(&self) -> usize {
        self.start as usize + self.like.trailing_zeros() as usize / 8
    }
}

impl HashOrder {
    /// Sorts values by their hashes. Also returns which value comes at each position.
    pub(crate) fn build(hashes: &[u64]) -> (Self, Vec<u32>) {
        let count = (hashes.len() / FILL + 1).next_power_of_two();
        let group = |hash: u64| split(hash).0 & (count - 1);
        let mut order: Vec<(u32, u32)> =
            (0..).zip(hashes).map(|(value, hash)| (narrow(group(*hash)), value)).collect();
        order.sort_unstable();
        let mut groups = vec![Group::default(); count + 1];
        let mut unread = order.as_slice();
        for (group, number) in groups.iter_mut().zip(0..) {
            let (values, others) = unread.split_at(unread.partition_point(|(other, _)| *other == number));
            group.start = narrow(order.len() - unread.len());
            if values.len() > TAGS {
                group.start |= MORE;
            }
            let hashes = values.iter().filter_map(|(_, value)| hashes.get(*value as usize));
            for (hash, at) in hashes.zip(0..TAGS) {
                let tag = split(*hash).1;
                match at.checked_sub(8) {
                    None => group.tags |= u64::from(tag) << (8 * at),
                    Some(at) => group.more_tags |= u32::from(tag) << (8 * at),
                }
            }
            unread = others;
        }
        (Self { groups }, order.into_iter().map(|(_, value)| value).collect())
    }

    /// Begins a look-up; `None` if the value is missing.
    #[inline]
    pub(crate) fn search(&self, hash: u64) -> Option<Search> {
        let (group, tag) = split(hash);
        let group = group & self.groups.len().wrapping_sub(2);
        let &Group { tags, more_tags, start } = self.groups.get(group)?;
        let like = (same(tags, tag), same(u64::from(more_tags), tag));
        if like.0 | like.1 == 0 && start & MORE == 0 {
            return None;
        }
        let like = u128::from(like.0) | u128::from(like.1) << 64;
        Some(Search { group: narrow(group), start: start & !MORE, like })
    }

    /// Completes a look-up: the position that `is` accepts.
    #[inline]
    pub(crate) fn find(&self, search: Search, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let Search { group, start, mut like } = search;
        while like != 0 {
            let position = start + like.trailing_zeros() / 8;
            if is(position) {
                return Some(position);
            }
            like &= like - 1;
        }
        self.find_without_tag(group as usize, is)
    }

    #[cold]
    fn find_without_tag(&self, group: usize, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let [group, next] = self.groups.get(group..)?.first_chunk()?;
        if group.start & MORE == 0 {
            return None;
        }
        ((group.start & !MORE) + narrow(TAGS)..next.start & !MORE).find(|position| is(*position))
    }
}

/// Sets the highest bit of each byte that equals `byte`, and possibly of other bytes above one that does.
#[inline]
fn same(bytes: u64, byte: u8) -> u64 {
    let different = bytes ^ (ONES * u64::from(byte));
    different.wrapping_sub(ONES) & !different & HIGHS
}

/// The part of a hash that chooses the group, and the tag.
#[inline]
#[expect(clippy::cast_possible_truncation)] // The hash is split into parts.
fn split(hash: u64) -> (usize, u8) {
    (hash as u32 as usize, ((hash >> 56) as u8).max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_is_there(hashes in prop::collection::vec(0_u64..200, 0..300)) {
            // Few hashes, so that many clash.
            let of = |value: u64| ((value % 5) << 56) | (value % 7);
            let (values, order) = HashOrder::build(&hashes.iter().map(|value| of(*value)).collect::<Vec<u64>>());
            for value in 0..200 {
                let search = values.search(of(value));
                let at = |position: u32| order.get(position as usize).map(|value| hashes[*value as usize]);
                let is = |position: u32| at(position) == Some(value);
                let position = search.and_then(|search| values.find(search, is));
                prop_assert_eq!(position.is_some(), hashes.contains(&value));
                prop_assert!(position.is_none_or(is));
            }
        }
    }
}
