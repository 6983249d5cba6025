//! The accounts of all rates, in one flat table of atomic numbers that the host supplies.
//!
//! The table is the heap of one process, or memory that several share: then a rate holds for all of them together. It is
//! divided into sets of 64 numbers: a head, whose first number is the set's lock, and [`WAYS`] accounts of four numbers:
//!
//! 1. the fingerprint, 64 bits of a keyed hash of cluster, rule and name; 0: the place is free,
//! 2. the rule's own hash,
//! 3. the bucket's [word](super::bucket::Word),
//! 4. when the bucket is full again, in nanoseconds.
//!
//! An account has its place in one set. Where there is no room, the account goes whose bucket is full again soonest:
//! nothing is forgiven by that as long as there is one that is full already, and as little as can be otherwise.
//! Invented names, with a message each, do not push out who has long to wait. A rule uses as many sets as its `keys`
//! ask for and keeps no more accounts than that in them; rules of whole clusters have sets of their own, where no name
//! that a client sends leads.
//!
//! Messages are charged by compare-and-swap and wait for nobody. Only who needs a new account locks its set, for about
//! a hundred steps. A process may die or be stopped in the middle of these, so the lock is taken over from one that
//! keeps it for too long; the worst that follows is an account that is lost or there twice.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use super::bucket::Quota;
use crate::cluster::policy::{Per, Rate};
use crate::cluster::time::{Instant, nanos};
use crate::hash::mix;
use crate::hash::seeded_hash;

/// Accounts of a set.
const WAYS: u32 = 15;
/// Numbers of a set.
const SET: usize = 64;
const ACCOUNT: usize = 4;
/// One of so many sets is for rules of whole clusters.
const OF_CLUSTERS: u64 = 16;
/// How often a lock is looked at before it is taken over, and how often of these without letting others run.
const PATIENCE: u32 = 2000;
const SPINS: u32 = 100;

/// Memory for accounts: at least [`Accounts::CELLS`] numbers, all zero at first.
pub type Memory = Box<dyn AsRef<[AtomicU64]> + Send + Sync>;

/// A table of accounts.
pub struct Accounts {
    memory: OnceLock<Memory>,
    seed: u64,
}

/// Where the accounts of one rule are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    hash: u64,
    /// The first of its sets, counted from the first set that such rules may use; how many there are.
    first: u64,
    sets: u64,
    /// Accounts that it may have in a set.
    ways: u32,
    of_cluster: bool,
    quota: Quota,
}

/// What finds an account: its set, and what tells it from others there.
#[derive(Clone, Copy, Debug)]
pub(super) struct AccountKey {
    fingerprint: u64,
    /// Of the first number of its set.
    set: usize,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

impl Accounts {
    /// Numbers of a table of about 245,000 accounts: 8 MiB, of which only what is used takes memory.
    pub const CELLS: usize = SET << 14;
    /// Of a process that has no memory for them from its host: a quarter.
    const ON_HEAP: usize = Self::CELLS / 4;

    /// On the memory that the host supplies; `None` where it is too small. `seed` should be random, not known to clients,
    /// and the same for all who share the memory.
    #[must_use]
    pub fn new(memory: Memory, seed: u64) -> Option<Self> {
        (memory.as_ref().as_ref().len() >= Self::CELLS).then(|| Self { memory: OnceLock::from(memory), seed })
    }

    /// On memory of its own, which is not taken before there is a rate.
    #[must_use]
    pub fn on_heap(seed: u64) -> Self {
        Self { memory: OnceLock::new(), seed }
    }

    fn cells(&self) -> &[AtomicU64] {
        let zeros = || (0..Self::ON_HEAP).map(|_| AtomicU64::new(0)).collect::<Box<[AtomicU64]>>();
        (**self.memory.get_or_init(|| Box::new(zeros()))).as_ref()
    }

    /// The accounts of a cluster's `rate`, which is the `nth` in its list that is the same.
    pub(super) fn rule(&self, cluster: &str, rate: &Rate, nth: usize) -> Rule {
        let numbers = [rate.messages, rate.burst, rate.keys, rate.per as u32].map(u64::from);
        let numbers = numbers.into_iter().chain([nanos(rate.every), nth as u64]);
        let hash =
            numbers.fold(seeded_hash(self.seed, cluster.as_bytes()), |hash, number| mix(hash ^ number));
        let of_cluster = rate.per == Per::Cluster;
        let keys = if of_cluster { 1 } else { rate.keys.max(1) };
        let (_, most) = self.range(of_cluster);
        Rule {
            hash,
            first: mix(hash) % most,
            sets: u64::from(keys.div_ceil(WAYS)).min(most),
            ways: keys.min(WAYS),
            of_cluster,
            quota: Quota::of(rate),
        }
    }

    /// The key of the account of `name`, or of those that have none.
    pub(super) fn key(&self, rule: &Rule, name: Option<&str>) -> AccountKey {
        let name = name.map_or(0, |name| seeded_hash(mix(rule.hash), name.as_bytes()) | 1);
        let fingerprint = mix(rule.hash ^ mix(name));
        let (from, most) = self.range(rule.of_cluster);
        let set = from + (rule.first + mix(fingerprint) % rule.sets) % most;
        AccountKey { fingerprint: fingerprint.max(1), set: usize::try_from(set).unwrap_or_default() * SET }
    }

    /// Whether there is a token, and how long until there is where not.
    pub(super) fn look(&self, rule: &Rule, key: AccountKey, now: Instant) -> Result<(), Duration> {
        let account = self.find(rule, key);
        let word = account.and_then(|account| account.word_of(key.fingerprint)).unwrap_or_default();
        rule.quota.take(word, now).map(drop)
    }

    /// Takes a token.
    ///
    /// # Errors
    /// There is none; how long until there is one.
    pub(super) fn take(&self, rule: &Rule, key: AccountKey, now: Instant) -> Result<(), Duration> {
        // Others may take the account's place before it is charged, but hardly ever, and not for long.
        for _ in 0..64 {
            let Some(account) = self.find(rule, key).or_else(|| self.open(rule, key, now)) else { break };
            while let Some(word) = account.word_of(key.fingerprint) {
                let next = rule.quota.take(word, now)?;
                if account.word.compare_exchange_weak(word, next, AcqRel, Relaxed).is_ok() {
                    account.full.fetch_max(rule.quota.full_at(next).nanos(), Relaxed);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Gives back a token that was taken.
    pub(super) fn give_back(&self, rule: &Rule, key: AccountKey) {
        let Some(account) = self.find(rule, key) else { return };
        while let Some(word) = account.word_of(key.fingerprint) {
            let before = rule.quota.give_back(word);
            if account.word.compare_exchange_weak(word, before, AcqRel, Relaxed).is_ok() {
                return;
            }
        }
    }

    /// How many accounts of a rule are kept. Looks at each place that they could be in.
    pub(super) fn count(&self, rule: &Rule) -> usize {
        let (from, most) = self.range(rule.of_cluster);
        let sets =
            (0..rule.sets).map(|at| usize::try_from(from + (rule.first + at) % most).unwrap_or_default());
        sets.flat_map(|set| self.set(set * SET)).filter(|account| account.is_of(rule)).count()
    }

    /// The first set that is for such rules, and how many are.
    fn range(&self, of_clusters: bool) -> (u64, u64) {
        let length = self.memory.get().map_or(Self::ON_HEAP, |memory| (**memory).as_ref().len());
        let sets = (length / SET) as u64;
        let few = sets / OF_CLUSTERS;
        if of_clusters { (0, few) } else { (few, sets - few) }
    }

    fn set(&self, at: usize) -> impl Iterator<Item = Account<'_>> + Clone {
        let cells = self.cells().get(at + ACCOUNT..at + SET).unwrap_or_default();
        let (accounts, _) = cells.as_chunks::<ACCOUNT>();
        accounts.iter().map(|[fingerprint, rule, word, full]| Account { fingerprint, rule, word, full })
    }

    fn find(&self, rule: &Rule, key: AccountKey) -> Option<Account<'_>> {
        self.set(key.set)
            .find(|account| account.fingerprint.load(Acquire) == key.fingerprint && account.is_of(rule))
    }

    /// Finds an account, or begins one.
    fn open(&self, rule: &Rule, key: AccountKey, now: Instant) -> Option<Account<'_>> {
        let lock = self.cells().get(key.set)?;
        let held = acquire(lock);
        let account = self.find(rule, key).or_else(|| {
            let set = self.set(key.set);
            let own = set.clone().filter(|account| account.is_of(rule));
            let first = if u32::try_from(own.clone().count()).is_ok_and(|count| count < rule.ways) {
                set.min_by_key(Account::worth)
            } else {
                own.min_by_key(Account::worth)
            };
            let account = first?;
            // Who charges looks at the fingerprint after the word: it never takes one account's for another's.
            account.fingerprint.store(0, Release);
            account.word.store(0, Release);
            account.rule.store(rule.hash, Release);
            account.full.store(now.nanos(), Release);
            account.fingerprint.store(key.fingerprint, Release);
            Some(account)
        });
        // Not by one from whom it was taken over.
        let _ = lock.compare_exchange(held, held.wrapping_add(1), Release, Relaxed);
        account
    }
}

#[derive(Clone, Copy)]
struct Account<'a> {
    fingerprint: &'a AtomicU64,
    rule: &'a AtomicU64,
    word: &'a AtomicU64,
    full: &'a AtomicU64,
}

impl Account<'_> {
    /// Its word, unless the place is another's.
    fn word_of(&self, fingerprint: u64) -> Option<u64> {
        let word = self.word.load(Acquire);
        (self.fingerprint.load(Acquire) == fingerprint).then_some(word)
    }

    fn is_of(&self, rule: &Rule) -> bool {
        self.rule.load(Acquire) == rule.hash && self.fingerprint.load(Acquire) != 0
    }

    /// The place with the least of this is taken by another: a free one, or whose bucket is full soonest.
    fn worth(&self) -> u64 {
        if self.fingerprint.load(Acquire) == 0 { 0 } else { self.full.load(Acquire).max(1) }
    }
}

/// Locks: an odd number is held. Gives the number with which it is.
fn acquire(lock: &AtomicU64) -> u64 {
    let mut looked = 0;
    loop {
        let seen = lock.load(Relaxed);
        let free = seen.is_multiple_of(2);
        if free || looked >= PATIENCE {
            let held = seen.wrapping_add(if free { 1 } else { 2 });
            if lock.compare_exchange(seen, held, Acquire, Relaxed).is_ok() {
                return held;
            }
            looked = 0;
        }
        looked += 1;
        if looked < SPINS {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const NOW: Instant = Instant::from_nanos(7_000_000_000);

    fn rate(per: Per, messages: u32, keys: u32) -> Rate {
        Rate { per, messages, every: HOUR, burst: messages, keys }
    }

    /// So many threads, each of which has a view of its own of the same memory, as processes have.
    fn shared(threads: usize) -> Vec<Accounts> {
        struct Same(Arc<[AtomicU64]>);
        impl AsRef<[AtomicU64]> for Same {
            fn as_ref(&self) -> &[AtomicU64] {
                &self.0
            }
        }
        let memory: Arc<[AtomicU64]> = (0..Accounts::CELLS).map(|_| AtomicU64::new(0)).collect();
        let view = || Accounts::new(Box::new(Same(Arc::clone(&memory))), 5).unwrap();
        (0..threads).map(|_| view()).collect()
    }

    #[test]
    fn whoever_shares_the_memory_takes_from_the_same_accounts() {
        let (names, messages, threads) = (50_u32, 200_u32, 4);
        let views = shared(threads);
        let rate = rate(Per::Tenant, messages, 1000);
        let taken: u32 = std::thread::scope(|scope| {
            let all = views.iter().map(|accounts| {
                scope.spawn(move || {
                    let rule = accounts.rule("models", &rate, 0);
                    let take = |n: u32| {
                        let name = (n % names).to_string();
                        u32::from(accounts.take(&rule, accounts.key(&rule, Some(&name)), NOW).is_ok())
                    };
                    (0..names * messages).map(take).sum::<u32>()
                })
            });
            all.collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, names * messages);
        let rule = views[0].rule("models", &rate, 0);
        assert_eq!(views[1].count(&rule), names as usize);
        assert_eq!(views[1].count(&views[1].rule("others", &rate, 0)), 0);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let views = shared(4);
        let rate = rate(Per::Cluster, 3, 1);
        std::thread::scope(|scope| {
            for accounts in &views {
                scope.spawn(move || {
                    let rule = accounts.rule("models", &rate, 0);
                    let key = accounts.key(&rule, None);
                    for _ in 0..10_000 {
                        if accounts.take(&rule, key, NOW).is_ok() {
                            accounts.give_back(&rule, key);
                        }
                    }
                });
            }
        });
        let rule = views[0].rule("models", &rate, 0);
        let key = views[0].key(&rule, None);
        let taken = (0..10).filter(|_| views[0].take(&rule, key, NOW).is_ok()).count();
        assert_eq!(taken, 3);
    }

    #[test]
    fn a_lock_whose_owner_died_is_taken_over() {
        let accounts = Accounts::on_heap(3);
        let rule = accounts.rule("models", &rate(Per::Tenant, 1, 100), 0);
        let key = accounts.key(&rule, Some("a"));
        let lock = &accounts.cells()[key.set];
        lock.store(41, Relaxed);
        assert_eq!(accounts.take(&rule, key, NOW), Ok(()));
        assert!(accounts.take(&rule, key, NOW).is_err());
        assert_eq!(lock.load(Relaxed), 44, "and free again");
    }

    #[test]
    fn invented_names_push_out_nobody_who_has_long_to_wait() {
        let accounts = Accounts::on_heap(3);
        let slow = accounts.rule("models", &rate(Per::Cluster, 1, 1), 0);
        let quick = Rate { every: Duration::from_secs(1), ..rate(Per::Tenant, 1, 100) };
        let spent = accounts.rule("models", &rate(Per::Key, 1, 100), 0);
        let (cluster, key) = (accounts.key(&slow, None), accounts.key(&spent, Some("k")));
        assert!(accounts.take(&slow, cluster, NOW).is_ok() && accounts.take(&spent, key, NOW).is_ok());
        for n in 0..20_000 {
            let rule = accounts.rule(&format!("c{}", n % 100), &quick, 0);
            let key = accounts.key(&rule, Some(&n.to_string()));
            assert_eq!(accounts.take(&rule, key, NOW), Ok(()));
        }
        assert!(accounts.take(&slow, cluster, NOW).is_err() && accounts.take(&spent, key, NOW).is_err());
    }

    #[test]
    fn no_rule_keeps_more_accounts_than_it_may() {
        for keys in [1, 2, 15, 16, 100] {
            let accounts = Accounts::on_heap(3);
            let rule = accounts.rule("models", &rate(Per::Tenant, 1, keys), 0);
            for n in 0..5000 {
                let key = accounts.key(&rule, Some(&n.to_string()));
                accounts.take(&rule, key, NOW).unwrap();
            }
            assert_eq!(accounts.count(&rule), (keys.div_ceil(WAYS) * keys.min(WAYS)) as usize);
        }
    }
}
