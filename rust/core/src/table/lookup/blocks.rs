//! Finds the address blocks that contain an address, with one look-up for each prefix length.

use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use ipnet::IpNet;

use super::prefetch::prefetch_handle;
use crate::table::ids::PredicateId;

/// Blocks with their predicates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks {
    v4: Vec<OfLength<u32>>,
    v6: Vec<OfLength<u128>>,
    hasher: RandomState,
}

/// Blocks of one prefix length, by their leading bits.
#[derive(Clone, Debug)]
struct OfLength<B> {
    length: u8,
    blocks: HashTable<Block<B>>,
}

#[derive(Clone, Copy, Debug)]
struct Block<B> {
    /// See [`Predicates::handle`](crate::table::index::predicates::Predicates::handle).
    handle: usize,
    id: PredicateId,
    bits: B,
}

impl Blocks {
    pub(crate) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Adds a block; returns false if it was added before.
    pub(crate) fn insert(&mut self, block: IpNet, id: PredicateId) -> bool {
        let length = block.prefix_len();
        match block.addr() {
            IpAddr::V4(address) => {
                add(&mut self.v4, &self.hasher, length, v4_bits(address.to_bits(), length), id)
            }
            IpAddr::V6(address) => {
                add(&mut self.v6, &self.hasher, length, v6_bits(address.to_bits(), length), id)
            }
        }
    }

    /// Calls `found` with the predicate of every block that contains an address.
    #[inline]
    pub(crate) fn find(&self, address: IpAddr, mut found: impl FnMut(PredicateId)) {
        match address {
            IpAddr::V4(address) => {
                for same in &self.v4 {
                    same.find(&self.hasher, v4_bits(address.to_bits(), same.length), &mut found);
                }
            }
            IpAddr::V6(address) => {
                for same in &self.v6 {
                    same.find(&self.hasher, v6_bits(address.to_bits(), same.length), &mut found);
                }
            }
        }
    }

    /// Sets handles, by predicate.
    pub(crate) fn set_handles(&mut self, handle: impl Fn(PredicateId) -> usize) {
        let v4 = self.v4.iter_mut().flat_map(|same| same.blocks.iter_mut());
        v4.for_each(|block| block.handle = handle(block.id));
        let v6 = self.v6.iter_mut().flat_map(|same| same.blocks.iter_mut());
        v6.for_each(|block| block.handle = handle(block.id));
    }
}

impl<B: Copy + Eq + Hash> OfLength<B> {
    #[inline]
    fn find(&self, hasher: &RandomState, bits: B, found: &mut impl FnMut(PredicateId)) {
        if let Some(block) = self.blocks.find(hasher.hash_one(bits), |block| block.bits == bits) {
            prefetch_handle(block.handle);
            found(block.id);
        }
    }
}

fn add<B: Copy + Eq + Hash>(
    lengths: &mut Vec<OfLength<B>>,
    hasher: &RandomState,
    length: u8,
    bits: B,
    id: PredicateId,
) -> bool {
    let at = lengths.iter().position(|same| same.length == length).unwrap_or_else(|| {
        lengths.push(OfLength { length, blocks: HashTable::new() });
        lengths.len() - 1
    });
    let Some(same) = lengths.get_mut(at) else { return false };
    let hash = |bits: &B| hasher.hash_one(bits);
    match same.blocks.entry(hash(&bits), |block| block.bits == bits, |block| hash(&block.bits)) {
        Entry::Occupied(_) => false,
        Entry::Vacant(entry) => {
            entry.insert(Block { handle: 0, id, bits });
            true
        }
    }
}

/// The leading bits of an address, shifted to the right.
#[inline]
fn v4_bits(address: u32, length: u8) -> u32 {
    address.checked_shr(32 - u32::from(length.min(32))).unwrap_or_default()
}

#[inline]
fn v6_bits(address: u128, length: u8) -> u128 {
    address.checked_shr(128 - u32::from(length.min(128))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_the_blocks_that_hold_an_address(
            blocks in prop::collection::vec((any::<bool>(), prop_oneof![0_u8..4, 28_u8..33, 126_u8..129], 0_u8..8), 0..60),
            address in 0_u8..8,
        ) {
            // Only a few leading and last bits vary, so that blocks contain others.
            let v4 = |n: u8| Ipv4Addr::from_bits(u32::from(n) << 29 | u32::from(n & 3));
            let v6 = |n: u8| Ipv6Addr::from_bits(u128::from(n) << 125 | u128::from(n & 3));
            let of = |(is_v6, length, n): &(bool, u8, u8)| match is_v6 {
                false => IpNet::new(v4(*n).into(), *length).ok(),
                true => IpNet::new(v6(*n).into(), *length).ok(),
            };
            let mut held = Blocks::default();
            let mut listed: Vec<(IpNet, u32)> = Vec::new();
            for (block, id) in blocks.iter().filter_map(of).zip(0..) {
                let is_new = listed.iter().all(|(other, _)| other.trunc() != block.trunc());
                prop_assert_eq!(held.insert(block, id), is_new);
                if is_new {
                    listed.push((block, id));
                }
            }
            prop_assert_eq!(held.is_empty(), listed.is_empty());
            for address in [IpAddr::from(v4(address)), v6(address).into()] {
                let mut found = Vec::new();
                held.find(address, |id| found.push(id));
                found.sort_unstable();
                let expected: Vec<u32> = listed.iter().filter(|(block, _)| block.contains(&address)).map(|(_, id)| *id).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
