//! The clock of the system.

use std::time::{SystemTime, UNIX_EPOCH};

use thingdb_format::Time;

/// Microseconds since 1970; 0 for a clock that is set before.
pub(crate) fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Now, for what the node notes of itself. Entries are dated by the clock of the
/// [`Options`](crate::Options).
pub(crate) fn unix_now() -> Time {
    Time::from_micros(system_clock()).unwrap_or(Time::MAX)
}
