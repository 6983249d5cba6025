//! Time as it is passed in.

use std::ops::Add;
use std::time::Duration;

/// A moment on the host's monotonic clock, in nanoseconds from a beginning that all processes of the host share
/// (Linux: `CLOCK_MONOTONIC`, Python: `time.monotonic_ns()`). 64 bits last 584 years.
///
/// Nothing here reads a clock: whoever calls passes `now`. A `now` earlier than one before counts as that one, or as no
/// time passed.
///
/// ```
/// use std::time::Duration;
/// use waypost_core::cluster::Instant;
/// let now = Instant::from_nanos(5) + Duration::from_nanos(7);
/// assert_eq!(now.nanos(), 12);
/// assert_eq!(now.since(Instant::from_nanos(2)), Duration::from_nanos(10));
/// assert_eq!(Instant::from_nanos(2).since(now), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The moment that many nanoseconds after the beginning.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the beginning.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero where it is before it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Saturates at the end of time.
impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, length: Duration) -> Self {
        Self(self.0.saturating_add(nanos(length)))
    }
}

/// A length in nanoseconds, at most `u64::MAX`.
pub(crate) fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// The nearest floating-point number; exact below 2⁵³.
#[allow(clippy::cast_precision_loss)] // What it is for.
pub(crate) const fn float(whole: u64) -> f64 {
    whole as f64
}

/// Rounds towards zero; what is negative or no number is 0, what is too large `u64::MAX`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates.
pub(crate) const fn whole(float: f64) -> u64 {
    float as u64
}

/// As [`whole`], in 32 bits.
pub(crate) fn whole_u32(float: f64) -> u32 {
    u32::try_from(whole(float)).unwrap_or(u32::MAX)
}
