//! The clock for the core, which has none.

use std::sync::LazyLock;
use std::time;

use waypost_core::auth::UnixTime;
use waypost_core::cluster::Instant;

/// The moment of the first call. The core's time starts at one day then, so that earlier times exist.
static BEGINNING: LazyLock<time::Instant> = LazyLock::new(time::Instant::now);
const DAY: time::Duration = time::Duration::from_secs(86_400);

/// The current time of the monotonic clock.
pub(crate) fn now() -> Instant {
    Instant::default() + DAY + BEGINNING.elapsed()
}

/// Now, by the wall clock.
pub(crate) fn unix() -> UnixTime {
    let since = time::SystemTime::now().duration_since(time::SystemTime::UNIX_EPOCH);
    UnixTime(since.unwrap_or_default().as_secs())
}
