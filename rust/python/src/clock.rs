//! What time it is, for a core that has no clock.

use std::sync::LazyLock;
use std::time;

use waypost_core::auth::UnixTime;
use waypost_core::cluster::Instant;

/// Nanoseconds are counted from when this was first asked, a day in advance, so that there is a time before it.
static BEGINNING: LazyLock<time::Instant> = LazyLock::new(time::Instant::now);
const DAY: time::Duration = time::Duration::from_secs(86_400);

/// Now, by the monotonic clock.
pub(crate) fn now() -> Instant {
    Instant::default() + DAY + BEGINNING.elapsed()
}

/// Now, by the wall clock.
pub(crate) fn unix() -> UnixTime {
    let since = time::SystemTime::now().duration_since(time::SystemTime::UNIX_EPOCH);
    UnixTime(since.unwrap_or_default().as_secs())
}
