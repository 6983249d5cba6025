//! Randomness as it is passed in.

use std::time::Duration;

use super::time::{float, nanos};
use crate::hash::mix;

/// A small generator (splitmix64) for choices that need to be even, not secret. The same seed gives the same numbers.
///
/// ```
/// use waypost_core::cluster::Rng;
/// let (mut a, mut b) = (Rng::new(7), Rng::new(7));
/// assert_eq!(a.next_u64(), b.next_u64());
/// assert!(a.below(10) < 10);
/// ```
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator that begins at `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 even bits.
    pub fn next_u64(&mut self) -> u64 {
        let out = mix(self.0);
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        out
    }

    /// A whole number below `end`, each as likely within 2⁻³²; 0 where `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or_default()
    }

    /// A number from 0 up to, not including, 1.
    pub fn unit(&mut self) -> f64 {
        float(self.next_u64() >> 11) / float(1 << 53)
    }

    /// A length from zero up to, not including, `longest`.
    pub fn within(&mut self, longest: Duration) -> Duration {
        Duration::from_nanos(self.below(nanos(longest)))
    }

    /// `length`, made longer by up to `percent` of it.
    pub fn jittered(&mut self, length: Duration, percent: u32) -> Duration {
        length + self.within(length / 100 * percent)
    }
}
