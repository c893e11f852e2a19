//! Which denials were told lately, so that the log is not a line for each of ten thousand.

use std::time::Duration;

use dashmap::DashMap;
use tokio::time::Instant;

/// The same denial of the same operation is a warning once in this time; those between are counted, and told at `debug`.
const REST: Duration = Duration::from_secs(60);
/// Codes are AWS's words; a service that invents more is not worth the memory.
const MOST: usize = 256;

/// What was told lately, by operation and code.
#[derive(Debug, Default)]
pub struct RecentDenials(DashMap<(&'static str, String), Last>);

#[derive(Debug)]
struct Last {
    at: Instant,
    since: u64,
}

impl RecentDenials {
    /// How many were left out since the last line; nothing when it is too soon for another.
    pub fn is_due(&self, operation: &'static str, code: &str) -> Option<u64> {
        let now = Instant::now();
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let mut new = false;
        let mut last = self.0.entry((operation, code.to_owned())).or_insert_with(|| {
            new = true;
            Last { at: now, since: 0 }
        });
        if !new && now.duration_since(last.at) < REST {
            last.since += 1;
            return None;
        }
        last.at = now;
        Some(std::mem::take(&mut last.since))
    }
}
