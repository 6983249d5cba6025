//! Token buckets, each in one 64-bit word.
//!
//! A bucket is kept as its *theoretical arrival time* (the generic cell rate algorithm, ITU-T I.371): the moment at which
//! it will be full again. Taking a token moves that moment by the time that one token takes to come; where it would
//! be further away than a whole burst takes, there is no token. Nothing has to be refilled, a bucket that nobody uses
//! costs nothing, and one word can be changed by compare-and-swap, so that buckets may be shared between processes.
//!
//! Time is counted in ticks, `k` of which make a token, `k` being chosen so that a tick is between half a nanosecond and
//! a nanosecond. A moment is turned into ticks from the beginning of the clock each time, never by adding up rounded
//! lengths, so that the rate is exact however long it goes on: after any time, the tokens handed out are within one of
//! `burst + time × rate`, also for three a second.

use std::time::Duration;

use crate::cluster::policy::Rate;
use crate::cluster::time::{Instant, nanos};

/// A rate in the form in which buckets are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Ticks that make a token.
    token: u64,
    /// Ticks in `every` nanoseconds: a multiple of `token`.
    ticks: u64,
    every: u64,
    burst: u64,
}

/// A bucket: `0` is a full one. Words of different quotas have nothing in common.
pub type Word = u64;

impl Quota {
    /// So many tokens in a time, and so many at once. What is not allowed in a policy is taken as the nearest that is.
    #[must_use]
    pub fn new(tokens: u32, every: Duration, burst: u32) -> Self {
        let every = nanos(every).clamp(1, 1 << 60);
        let tokens = u64::from(tokens).clamp(1, every);
        let token = every.div_ceil(tokens);
        Self { token, ticks: token * tokens, every, burst: u64::from(burst.max(1)) }
    }

    /// As a policy says it.
    #[must_use]
    pub fn of(rate: &Rate) -> Self {
        Self::new(rate.messages, rate.every, rate.burst)
    }

    /// Takes a token from a bucket.
    ///
    /// # Errors
    /// There is none; how long until there is one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use waypost_core::cluster::{Instant, Quota};
    /// let (quota, now) = (Quota::new(10, Duration::from_secs(1), 2), Instant::from_nanos(0));
    /// let word = quota.take(quota.take(0, now).unwrap(), now).unwrap();
    /// assert_eq!(quota.take(word, now), Err(Duration::from_millis(100)));
    /// ```
    pub fn take(&self, word: Word, now: Instant) -> Result<Word, Duration> {
        let ticks = self.ticks_at(now);
        let next = word.max(ticks).saturating_add(self.token);
        let most = ticks.saturating_add(self.token.saturating_mul(self.burst));
        if next <= most { Ok(next) } else { Err(self.length(next - most, now)) }
    }

    /// Puts a token back into a bucket that it was taken from.
    #[must_use]
    pub fn give_back(&self, word: Word) -> Word {
        word.saturating_sub(self.token)
    }

    /// When a bucket is full, if nothing more is taken from it.
    #[must_use]
    pub fn full_at(&self, word: Word) -> Instant {
        let nanos = (u128::from(word) * u128::from(self.every)).div_ceil(u128::from(self.ticks));
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn ticks_at(&self, now: Instant) -> u64 {
        if self.ticks == self.every {
            return now.nanos();
        }
        let wide = u128::from(now.nanos()) * u128::from(self.ticks) / u128::from(self.every);
        u64::try_from(wide).unwrap_or(u64::MAX)
    }

    /// The least time after `now` in which so many ticks go by.
    fn length(&self, ticks: u64, now: Instant) -> Duration {
        let until = u128::from(self.ticks_at(now)) + u128::from(ticks);
        let nanos = (until * u128::from(self.every)).div_ceil(u128::from(self.ticks));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX).saturating_sub(now.nanos()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tokens_are_those_of_exact_fractions(
            tokens in 1_u32..2000, every in 2000_u64..10_000_000, burst in 1_u32..20, start in 0_u64..u64::MAX / 4,
            steps in prop::collection::vec(0_u64..20_000, 1..300),
        ) {
            // The oracle: credit in 1/every of a token, exact and capped at a burst.
            let quota = Quota::new(tokens, Duration::from_nanos(every), burst);
            let full = u128::from(burst) * u128::from(every);
            let (mut word, mut now, mut credit) = (0, start, full);
            for step in steps {
                now += step;
                credit = (credit + u128::from(step) * u128::from(tokens)).min(full);
                // A tick less than exact at most.
                let slack = 2 * u128::from(tokens);
                match quota.take(word, Instant::from_nanos(now)) {
                    Ok(next) => {
                        prop_assert!(credit + slack >= u128::from(every), "too soon: {credit} of {every}");
                        word = next;
                        credit = credit.saturating_sub(u128::from(every));
                    }
                    Err(wait) => {
                        prop_assert!(credit < u128::from(every) + slack, "too late: {credit} of {every}");
                        let wait = u64::try_from(wait.as_nanos()).unwrap();
                        prop_assert!(wait > 0);
                        prop_assert!(quota.take(word, Instant::from_nanos(now + wait)).is_ok());
                        prop_assert!(quota.take(word, Instant::from_nanos(now + wait - 1)).is_err());
                    }
                }
            }
        }
    }

    #[test]
    fn three_a_second_are_three_a_second_for_a_year() {
        let quota = Quota::new(3, Duration::from_secs(1), 1);
        let mut word = 0;
        let mut now = Instant::from_nanos(0);
        let mut taken = 0_u64;
        let mut take = |now: &mut Instant| match quota.take(word, *now) {
            Ok(next) => {
                word = next;
                taken += 1;
            }
            Err(wait) => *now = *now + wait,
        };
        // A day asked as fast as it goes, from a clock that has run for a year.
        now = now + Duration::from_secs(365 * 86_400);
        let end = now + Duration::from_secs(86_400);
        while now < end {
            take(&mut now);
        }
        assert_eq!(taken, 3 * 86_400);
    }

    #[test]
    fn a_rate_that_is_no_whole_number_of_nanoseconds_is_exact() {
        let quota = Quota::new(700_000, Duration::from_secs(1), 1);
        let (mut word, mut now, mut taken) = (0, Instant::from_nanos(0), 0);
        while now < Instant::from_nanos(1_000_000_000) {
            match quota.take(word, now) {
                Ok(next) => {
                    word = next;
                    taken += 1;
                }
                Err(wait) => now = now + wait,
            }
        }
        assert_eq!(taken, 700_000);
    }

    #[test]
    fn a_token_that_is_given_back_was_never_taken() {
        let quota = Quota::new(3, Duration::from_secs(1), 2);
        let now = Instant::from_nanos(5_000_000_000);
        let one = quota.take(0, now).unwrap();
        let two = quota.take(one, now).unwrap();
        assert_eq!(quota.give_back(two), one);
        assert_eq!(quota.take(quota.give_back(one), now), Ok(one));
        let full = quota.full_at(two);
        assert!(
            full.since(now) >= Duration::from_millis(666) && full.since(now) < Duration::from_millis(667)
        );
        assert_eq!(quota.take(two, full), quota.take(0, full));
    }

    #[test]
    fn extremes_do_not_overflow() {
        for (tokens, every, burst) in [
            (u32::MAX, Duration::from_nanos(1), u32::MAX),
            (1, Duration::MAX, u32::MAX),
            (0, Duration::ZERO, 0),
            (1_000_000, Duration::from_millis(1), 1_000_000),
        ] {
            let quota = Quota::new(tokens, every, burst);
            for now in [0, 1, u64::MAX / 2, u64::MAX] {
                let _ = quota.take(0, Instant::from_nanos(now)).is_ok();
                let _ = quota.take(u64::MAX, Instant::from_nanos(now)).is_ok();
            }
        }
    }
}
