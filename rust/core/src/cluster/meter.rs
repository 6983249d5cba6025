//! Rates: how many messages over time, of everyone or of each.

use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::bucket::{Quota, Word};
use super::policy::{Per, Rate};
use super::rendezvous::seeded_hash;
use super::rng::Rng;
use super::time::Instant;

/// Who a message is from, as far as it is known. Not known is an account of its own: all such messages share one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller<'a> {
    /// Its tenant.
    pub tenant: Option<&'a str>,
    /// Its agent.
    pub agent: Option<&'a str>,
    /// The name of the API key it came with.
    pub key: Option<&'a str>,
}

/// A rate's accounts: one bucket for each tenant, agent or key, of which the most recently used are kept.
///
/// Who is forgotten is forgiven: when `keys` others were counted since an account was last used, it begins anew with a
/// full burst. An account that has not been used for as long as its burst takes to come back is full anyway, so nothing
/// is forgiven as long as fewer than `keys` different ones are counted in that time (`burst / messages × every`). A
/// caller that can invent names (tenants that no API key vouches for) is not held by a rate per name whatever is kept;
/// a rate per cluster holds it, and so does one by `key`.
///
/// Names are kept as 128-bit hashes with a random seed: accounts have a fixed size however long names are.
#[derive(Debug)]
pub struct Meter {
    rate: Rate,
    quota: Quota,
    seed: (u64, u64),
    slots: HashMap<u128, u32, RandomState>,
    accounts: Vec<Account>,
    /// The account that was used last, and the one that was not used for the longest time.
    newest: Option<u32>,
    oldest: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    name: u128,
    word: Word,
    newer: Option<u32>,
    older: Option<u32>,
}

impl Meter {
    /// Without accounts.
    #[must_use]
    pub fn new(rate: Rate, rng: &mut Rng) -> Self {
        Self {
            rate,
            quota: Quota::of(&rate),
            seed: (rng.next_u64(), rng.next_u64()),
            slots: HashMap::with_hasher(RandomState::default()),
            accounts: Vec::new(),
            newest: None,
            oldest: None,
        }
    }

    /// What it measures by.
    #[must_use]
    pub fn rate(&self) -> &Rate {
        &self.rate
    }

    /// Accounts kept now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Takes a token from each meter, or from none.
    ///
    /// # Errors
    /// One of them has none: which, and how long until it has.
    pub fn take_all(meters: &mut [Self], caller: &Caller<'_>, now: Instant) -> Result<(), Exceeded> {
        for meter in &*meters {
            if let Err(wait) = meter.quota.take(meter.word(meter.name(caller)), now) {
                return Err(Exceeded { rate: meter.rate, retry_after: wait });
            }
        }
        for meter in meters {
            let name = meter.name(caller);
            if let Ok(next) = meter.quota.take(meter.word(name), now) {
                meter.put(name, next);
            }
        }
        Ok(())
    }

    fn name(&self, caller: &Caller<'_>) -> u128 {
        let name = match self.rate.per {
            Per::Cluster => return 0,
            Per::Tenant => caller.tenant,
            Per::Agent => caller.agent,
            Per::Key => caller.key,
        };
        let Some(name) = name else { return 0 };
        let (high, low) =
            (seeded_hash(self.seed.0, name.as_bytes()), seeded_hash(self.seed.1, name.as_bytes()));
        u128::from(high) << 64 | u128::from(low)
    }

    fn word(&self, name: u128) -> Word {
        self.slots.get(&name).and_then(|slot| self.get(*slot)).map_or(0, |account| account.word)
    }

    /// Writes an account's word and makes it the newest.
    fn put(&mut self, name: u128, word: Word) {
        let known = self.slots.get(&name).copied();
        let slot = if let Some(slot) = known {
            self.unlink(slot);
            slot
        } else {
            let slot = self.room();
            self.slots.insert(name, slot);
            slot
        };
        let account = Account { name, word, newer: None, older: self.newest };
        if let Some(place) = self.get_mut(slot) {
            *place = account;
        }
        match account.older.and_then(|older| self.get_mut(older)) {
            Some(older) => older.newer = Some(slot),
            None => self.oldest = Some(slot),
        }
        self.newest = Some(slot);
    }

    /// A slot that is not linked: a new one, or that of the oldest account, which is forgotten.
    fn room(&mut self) -> u32 {
        let length = u32::try_from(self.accounts.len()).unwrap_or(u32::MAX);
        if length < self.rate.keys.max(1) {
            self.accounts.push(Account { name: 0, word: 0, newer: None, older: None });
            return length;
        }
        let slot = self.oldest.unwrap_or_default();
        if let Some(name) = self.get(slot).map(|account| account.name) {
            self.slots.remove(&name);
        }
        self.unlink(slot);
        slot
    }

    fn unlink(&mut self, slot: u32) {
        let Some(account) = self.get(slot).copied() else { return };
        match account.newer.and_then(|newer| self.get_mut(newer)) {
            Some(newer) => newer.older = account.older,
            None => self.newest = account.older,
        }
        match account.older.and_then(|older| self.get_mut(older)) {
            Some(older) => older.newer = account.newer,
            None => self.oldest = account.newer,
        }
    }

    fn get(&self, slot: u32) -> Option<&Account> {
        self.accounts.get(usize::try_from(slot).ok()?)
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut Account> {
        self.accounts.get_mut(usize::try_from(slot).ok()?)
    }
}

/// A rate was reached: 429, `rate_limited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Which.
    pub rate: Rate,
    /// When there will be a token, for a `Retry-After`.
    pub retry_after: Duration,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::rng::Rng;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn meter(per: Per, messages: u32, keys: u32) -> Meter {
        Meter::new(Rate { per, messages, every: SECOND, burst: messages, keys }, &mut Rng::new(1))
    }

    fn tenant(name: &str) -> Caller<'_> {
        Caller { tenant: Some(name), ..Caller::default() }
    }

    fn take(meter: &mut Meter, caller: &Caller<'_>, ms: u64) -> Result<(), Duration> {
        let now = Instant::from_nanos(ms * 1_000_000);
        Meter::take_all(std::slice::from_mut(meter), caller, now).map_err(|exceeded| exceeded.retry_after)
    }

    #[test]
    fn each_has_its_own_account() {
        let mut meter = meter(Per::Tenant, 2, 100);
        for caller in [tenant("a"), tenant("b"), Caller::default()] {
            assert_eq!(take(&mut meter, &caller, 0), Ok(()));
            assert_eq!(take(&mut meter, &caller, 0), Ok(()));
            assert_eq!(take(&mut meter, &caller, 0), Err(SECOND / 2));
            assert_eq!(take(&mut meter, &Caller { agent: Some("x"), ..caller }, 0), Err(SECOND / 2));
        }
        assert_eq!(meter.len(), 3);
        assert_eq!(take(&mut meter, &tenant("a"), 500), Ok(()));
    }

    #[test]
    fn a_refusal_is_charged_to_nobody() {
        let mut meters = [meter(Per::Cluster, 3, 1), meter(Per::Tenant, 1, 100), meter(Per::Key, 1, 100)];
        let now = Instant::default();
        let a = tenant("a");
        assert_eq!(Meter::take_all(&mut meters, &a, now), Ok(()));
        let exceeded = Meter::take_all(&mut meters, &Caller { key: Some("k"), ..a }, now).unwrap_err();
        assert_eq!((exceeded.rate.per, exceeded.retry_after), (Per::Tenant, SECOND));
        let caller = Caller { key: Some("k"), ..tenant("b") };
        assert_eq!(Meter::take_all(&mut meters, &caller, now), Ok(()), "the key was not charged before");
        let caller = Caller { key: Some("l"), ..tenant("c") };
        assert_eq!(Meter::take_all(&mut meters, &caller, now), Ok(()), "nor the cluster");
        let caller = Caller { key: Some("m"), ..tenant("d") };
        assert_eq!(Meter::take_all(&mut meters, &caller, now).unwrap_err().rate.per, Per::Cluster);
    }

    proptest! {
        #[test]
        fn the_least_recently_used_are_forgotten(
            names in prop::collection::vec(0_u8..12, 0..300), keys in 1_u32..10,
        ) {
            // One message for all time: who is refused was remembered.
            let mut meter = meter(Per::Tenant, 1, keys);
            let mut kept: Vec<u8> = Vec::new();
            for name in names {
                let remembered = take(&mut meter, &tenant(&name.to_string()), 0).is_err();
                prop_assert_eq!(remembered, kept.contains(&name));
                if !remembered {
                    kept.push(name);
                    if kept.len() > keys as usize {
                        kept.remove(0);
                    }
                }
                prop_assert_eq!(meter.len(), kept.len());
                prop_assert_eq!(meter.slots.len(), kept.len());
            }
        }
    }

    #[test]
    fn use_keeps_an_account() {
        let mut meter = meter(Per::Tenant, 2, 2);
        for name in ["a", "b", "a", "c"] {
            assert_eq!(take(&mut meter, &tenant(name), 0), Ok(()));
        }
        assert_eq!(take(&mut meter, &tenant("a"), 0), Err(SECOND / 2), "b was forgotten, not a");
    }
}
