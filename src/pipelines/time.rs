//! Points in time.

use std::{fmt, num::NonZero, time::Duration};

use serde::{Deserialize, Serialize};

/// A point in time in milliseconds since the Unix epoch. Passed in everywhere: nothing below `app` reads a clock.
///
/// Kept so that zero is no time's, and `Option<Time>` no larger than a time: an execution has a dozen of them, and there are
/// ten thousand executions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub struct Time(NonZero<i64>);

impl Time {
    /// So many milliseconds after the epoch, or before it.
    pub const fn at(millis: i64) -> Self {
        // From the epoch on one more, which keeps their order.
        let kept = if millis < 0 { millis } else { millis.saturating_add(1) };
        match NonZero::new(kept) {
            Some(kept) => Self(kept),
            None => unreachable!(),
        }
    }

    /// How many milliseconds after the epoch.
    pub const fn millis(self) -> i64 {
        let kept = self.0.get();
        if kept < 0 { kept } else { kept - 1 }
    }

    /// The time `d` after this one.
    pub fn plus(self, d: Duration) -> Self {
        Self::at(self.millis().saturating_add(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time `d` before this one.
    pub fn minus(self, d: Duration) -> Self {
        Self::at(self.millis().saturating_sub(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.millis().saturating_sub(earlier.millis())).unwrap_or(0))
    }
}

impl Default for Time {
    /// The epoch.
    fn default() -> Self {
        Self::at(0)
    }
}

impl From<i64> for Time {
    fn from(millis: i64) -> Self {
        Self::at(millis)
    }
}

impl From<Time> for i64 {
    fn from(time: Time) -> Self {
        time.millis()
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Time").field(&self.millis()).finish()
    }
}
