//! Rates: how many messages over time, of everyone or of each.

use std::sync::Arc;
use std::time::Duration;

use super::accounts::{AccountKey, Accounts, Rule};
use crate::cluster::policy::{Per, Rate};
use crate::cluster::time::Instant;

/// Who a message is from, as far as it is known. Not known is an account of its own: all such messages share one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller<'a> {
    /// Its tenant.
    pub tenant: Option<&'a str>,
    /// Its agent.
    pub agent: Option<&'a str>,
    /// The name of the API key it came with.
    pub key: Option<&'a str>,
    /// Waypost itself sends the message: only rates of the whole cluster count it, no caller's.
    pub internal: bool,
}

/// A rate of a cluster: one bucket for each tenant, agent or key, which all processes share that share [`Accounts`].
///
/// Who is forgotten is forgiven: it begins anew with a full burst. Accounts whose buckets are full need not be kept, so
/// nothing is forgiven as long as fewer than `keys` different ones are counted in the time that a burst takes to come
/// back (`burst / messages × every`); beyond that, the account goes whose bucket is full again soonest. As accounts are
/// spread by hash, some of them go a little before there are `keys`, from about half of these on. A caller that can
/// invent names (tenants that no API key vouches for) is not held by a rate per name whatever is kept; a rate per
/// cluster holds it, and so does one by `key`.
///
/// Of names only keyed hashes are kept: accounts have a fixed size however long names are.
#[derive(Debug)]
pub struct Meter {
    rate: Rate,
    rule: Rule,
    accounts: Arc<Accounts>,
}

impl Meter {
    /// Of the cluster of this name; `nth` tells rates of one cluster apart that are the same.
    #[must_use]
    pub fn new(rate: Rate, cluster: &str, nth: usize, accounts: &Arc<Accounts>) -> Self {
        Self { rate, rule: accounts.rule(cluster, &rate, nth), accounts: Arc::clone(accounts) }
    }

    /// What it measures by.
    #[must_use]
    pub fn rate(&self) -> &Rate {
        &self.rate
    }

    /// Accounts kept now. Looks at all places that they could be in.
    #[must_use]
    pub fn accounts(&self) -> usize {
        self.accounts.count(&self.rule)
    }

    /// Takes a token from each meter, or from none. What was taken from some before another refused, because others took
    /// its last token just then, is given back.
    ///
    /// # Errors
    /// One of them has none: which, and how long until it has.
    pub fn take_all(meters: &[Self], caller: &Caller<'_>, now: Instant) -> Result<(), Exceeded> {
        let exceeded = |meter: &Self, wait| Exceeded { rate: meter.rate, retry_after: wait };
        let counts = |meter: &&Self| !caller.internal || meter.rate.per == Per::Cluster;
        for meter in meters.iter().filter(counts) {
            meter
                .accounts
                .look(&meter.rule, meter.account_key(caller), now)
                .map_err(|wait| exceeded(meter, wait))?;
        }
        for (taken, meter) in meters.iter().filter(counts).enumerate() {
            if let Err(wait) = meter.accounts.take(&meter.rule, meter.account_key(caller), now) {
                for meter in meters.iter().filter(counts).take(taken) {
                    meter.accounts.give_back(&meter.rule, meter.account_key(caller));
                }
                return Err(exceeded(meter, wait));
            }
        }
        Ok(())
    }

    fn account_key(&self, caller: &Caller<'_>) -> AccountKey {
        let name = match self.rate.per {
            Per::Cluster => None,
            Per::Tenant => caller.tenant,
            Per::Agent => caller.agent,
            Per::Key => caller.key,
        };
        self.accounts.key(&self.rule, name)
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

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn meter(per: Per, messages: u32, keys: u32) -> Meter {
        new(per, messages, keys, &Arc::new(Accounts::on_heap(1)))
    }

    fn new(per: Per, messages: u32, keys: u32, accounts: &Arc<Accounts>) -> Meter {
        Meter::new(Rate { per, messages, every: SECOND, burst: messages, keys }, "models", 0, accounts)
    }

    fn tenant(name: &str) -> Caller<'_> {
        Caller { tenant: Some(name), ..Caller::default() }
    }

    fn take(meter: &Meter, caller: &Caller<'_>, ms: u64) -> Result<(), Duration> {
        let now = Instant::from_nanos(ms * 1_000_000);
        Meter::take_all(std::slice::from_ref(meter), caller, now).map_err(|exceeded| exceeded.retry_after)
    }

    #[test]
    fn each_has_its_own_account() {
        let meter = meter(Per::Tenant, 2, 100);
        for caller in [tenant("a"), tenant("b"), Caller::default()] {
            assert_eq!(take(&meter, &caller, 0), Ok(()));
            assert_eq!(take(&meter, &caller, 0), Ok(()));
            assert_eq!(take(&meter, &caller, 0), Err(SECOND / 2));
            assert_eq!(take(&meter, &Caller { agent: Some("x"), ..caller }, 0), Err(SECOND / 2));
        }
        assert_eq!(meter.accounts(), 3);
        assert_eq!(take(&meter, &tenant("a"), 500), Ok(()));
    }

    #[test]
    fn a_refusal_is_charged_to_nobody() {
        let accounts = Arc::new(Accounts::on_heap(1));
        let meters = [(Per::Cluster, 3), (Per::Tenant, 1), (Per::Key, 1)];
        let meters = meters.map(|(per, messages)| new(per, messages, 100, &accounts));
        let now = Instant::default();
        let a = tenant("a");
        assert_eq!(Meter::take_all(&meters, &a, now), Ok(()));
        let exceeded = Meter::take_all(&meters, &Caller { key: Some("k"), ..a }, now).unwrap_err();
        assert_eq!((exceeded.rate.per, exceeded.retry_after), (Per::Tenant, SECOND));
        let caller = Caller { key: Some("k"), ..tenant("b") };
        assert_eq!(Meter::take_all(&meters, &caller, now), Ok(()), "the key was not charged before");
        let caller = Caller { key: Some("l"), ..tenant("c") };
        assert_eq!(Meter::take_all(&meters, &caller, now), Ok(()), "nor the cluster");
        let caller = Caller { key: Some("m"), ..tenant("d") };
        assert_eq!(Meter::take_all(&meters, &caller, now).unwrap_err().rate.per, Per::Cluster);
    }

    proptest! {
        #[test]
        fn who_has_the_least_to_wait_is_forgotten(
            names in prop::collection::vec(0_u8..12, 0..300), keys in 1_u32..10,
        ) {
            // One message a second, and all within a second: who is refused was remembered.
            let meter = meter(Per::Tenant, 1, keys);
            let mut kept: Vec<u8> = Vec::new();
            for (ms, name) in (0..).zip(names) {
                let remembered = take(&meter, &tenant(&name.to_string()), ms).is_err();
                prop_assert_eq!(remembered, kept.contains(&name));
                if !remembered {
                    kept.push(name);
                    if kept.len() > keys as usize {
                        kept.remove(0);
                    }
                }
                prop_assert_eq!(meter.accounts(), kept.len());
            }
        }
    }

    #[test]
    fn use_keeps_an_account() {
        let meter = meter(Per::Tenant, 2, 2);
        for name in ["a", "b", "a", "c"] {
            assert_eq!(take(&meter, &tenant(name), 0), Ok(()));
        }
        assert_eq!(take(&meter, &tenant("a"), 0), Err(SECOND / 2), "b was forgotten, not a");
    }
}
