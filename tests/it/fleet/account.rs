//! AWS's side of the limit.

use std::ops::Range;

use awf_aws::pipelines::Time;

/// A token bucket as AWS describes its own: refilled steadily, calls that find it empty are throttled and take nothing.
pub struct Account {
    pub limit: f64,
    burst: f64,
    level: f64,
    filled: Time,
    /// Everything is throttled.
    outage: Range<Time>,
}

impl Account {
    pub fn new(limit: f64, burst: f64, outage: Range<Time>) -> Self {
        Self { limit, burst, level: burst, filled: Time::at(0), outage }
    }

    /// Whether a call that arrives now is served.
    pub fn serves(&mut self, now: Time) -> bool {
        self.level = (self.level + now.since(self.filled).as_secs_f64() * self.limit).min(self.burst);
        self.filled = now;
        if self.outage.contains(&now) || self.level < 1.0 {
            return false;
        }
        self.level -= 1.0;
        true
    }
}
