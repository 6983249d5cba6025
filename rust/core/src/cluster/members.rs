//! Where the messages of one group may go.

use super::health::standing::Standing;
use super::slots::{Key, Slots};
use super::time::float;

/// What an endpoint of weight 1 weighs in a choice. Most numbers of addresses divide it, so that they share it exactly.
const UNIT: u32 = 720_720;
/// The greatest weight that is told apart.
const MOST: u32 = 5000;

/// Where a message may go: to an endpoint, or to one of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The endpoint's position in its cluster.
    pub endpoint: usize,
    /// The address, where the endpoint's addresses are endpoints of their own. [`Group::address`](super::Group::address) says which one it is.
    pub address: Option<Key>,
}

/// The endpoint as a whole.
impl From<usize> for Place {
    fn from(endpoint: usize) -> Self {
        Self { endpoint, address: None }
    }
}

/// The endpoints of a group; in the place of an endpoint whose addresses are known, these.
///
/// An endpoint's weight is shared evenly among its addresses, as is what it counts among the fit ones.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) list: Box<[Member]>,
    /// The least weight of a member.
    pub(super) unit: u32,
    /// The mean weight of the members.
    pub(super) mean: f64,
}

/// An endpoint, or an address of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) key: Key,
    /// Position of the endpoint in its group.
    pub(super) endpoint: usize,
    /// It is an address, not the endpoint itself.
    address: bool,
    /// Its whole share of the messages, relative to that of the others.
    pub(super) weight: u32,
    /// What it counts among the fit ones: as much as its endpoint's other addresses, together as much as any endpoint.
    pub(super) part: u64,
}

impl Members {
    /// `endpoints`: where the state of each is, and its weight.
    pub(super) fn of(endpoints: &[(Key, u32)], slots: &Slots) -> Self {
        let mut list = Vec::with_capacity(endpoints.len());
        for (endpoint, (key, weight)) in endpoints.iter().enumerate() {
            let addresses = slots.get(*key).map_or(&[][..], |found| found.addresses());
            let keys = if addresses.is_empty() { std::slice::from_ref(key) } else { addresses };
            let among = u32::try_from(keys.len()).unwrap_or(u32::MAX);
            let weight = ((*weight).min(MOST) * UNIT / among).max(1);
            let part = u64::from(UNIT / among);
            let address = !addresses.is_empty();
            list.extend(keys.iter().map(|key| Member { key: *key, endpoint, address, weight, part }));
        }
        let sum: u64 = list.iter().map(|member| u64::from(member.weight)).sum();
        Self {
            unit: list.iter().map(|member| member.weight).min().unwrap_or(1),
            mean: float(sum) / float(list.len().max(1) as u64),
            list: list.into(),
        }
    }
}

impl Member {
    pub(super) fn place(&self) -> Place {
        Place { endpoint: self.endpoint, address: self.address.then_some(self.key) }
    }

    /// What it weighs with this share of its weight, in thousandths.
    pub(super) fn weighing(&self, share: u32) -> u32 {
        let weight = u64::from(self.weight) * u64::from(share) / u64::from(Standing::WHOLE);
        u32::try_from(weight).unwrap_or(u32::MAX).max(1)
    }
}
