//! How many calls a second are taken, as AWS describes its own limits: a bucket for each account and region that is filled
//! steadily; who finds it empty is throttled and takes nothing.

use std::collections::BTreeMap;

use super::arn::Scope;
use crate::pipelines::Time;

/// Operation (or `*` for all others together) to calls a second.
pub type Rates = BTreeMap<String, f64>;

/// How full a bucket was, in calls, and when that was.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: f64,
    filled: Time,
}

/// The buckets of all accounts and regions.
#[derive(Clone, Debug, Default)]
pub struct Buckets(BTreeMap<(Scope, String), Bucket>);

impl Buckets {
    /// Whether a call that arrives now is taken. A bucket begins full and holds what a second brings, but always a call.
    pub fn take(&mut self, rates: &Rates, scope: Scope, operation: &str, now: Time) -> bool {
        let Some((name, rate)) = rates.get_key_value(operation).or_else(|| rates.get_key_value("*")) else {
            return true;
        };
        let most = rate.max(1.0);
        let bucket = self.0.entry((scope, name.clone())).or_insert(Bucket { level: most, filled: now });
        bucket.level = (bucket.level + now.since(bucket.filled).as_secs_f64() * rate).min(most);
        bucket.filled = bucket.filled.max(now);
        if bucket.level < 1.0 {
            return false;
        }
        bucket.level -= 1.0;
        true
    }
}
