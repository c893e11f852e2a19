//! How fast we call AWS: token buckets per (account, region), and the order in which calls go when they must wait.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use crate::pipelines::{Call, ClientKey, Time};

use super::CallId;

/// Reads and writes a second to begin with. SageMaker's own limits are published nowhere; ListTrainingJobs is known to
/// be limited to 2/s (aws-deepracer-on-aws#87).
const READS: f64 = 5.0;
const WRITES: f64 = 2.0;
const FLOOR: f64 = 0.05;
/// A bucket holds this many seconds of its rate: a first wave goes at once.
const BURST_SECONDS: f64 = 10.0;
/// After this long without a throttle the rate doubles again, up to where it began.
const QUIET: Duration = Duration::from_secs(15);

/// Which calls go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    Stop,
    Start,
    Ask,
    Poll,
}

/// A call that waits for its turn.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub call: CallId,
    pub client: ClientKey,
    pub operation: Call,
    pub since: Time,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    begin: f64,
    rate: f64,
    level: f64,
    filled: Time,
    last_throttle: Time,
}

impl Bucket {
    fn new(rate: f64, now: Time) -> Self {
        Self { begin: rate, rate, level: rate * BURST_SECONDS, filled: now, last_throttle: now }
    }

    fn refill(&mut self, now: Time) {
        while self.rate < self.begin && now.since(self.last_throttle) >= QUIET {
            self.rate = (self.rate * 2.0).min(self.begin);
            self.last_throttle = self.last_throttle.plus(QUIET);
        }
        let room = (self.rate * BURST_SECONDS).max(1.0);
        self.level = (self.level + now.since(self.filled).as_secs_f64() * self.rate).min(room);
        self.filled = self.filled.max(now);
    }

    fn take(&mut self, now: Time) -> Result<(), Time> {
        self.ready(now)?;
        self.level -= 1.0;
        Ok(())
    }

    /// Whether a call may leave now, or when.
    fn ready(&mut self, now: Time) -> Result<(), Time> {
        self.refill(now);
        if self.level >= 1.0 {
            return Ok(());
        }
        // One millisecond more than needed: rounding must not make the tick come too early for ever.
        let missing = (1.0 - self.level) / self.rate;
        Err(now.plus(Duration::from_secs_f64(missing) + Duration::from_millis(1)))
    }

    fn throttled(&mut self, now: Time) {
        self.refill(now);
        self.rate = (self.rate / 2.0).max(FLOOR);
        self.level = self.level.min(0.0);
        self.last_throttle = now;
    }
}

/// The outbox of one workflow: calls leave it as fast as the buckets allow, stops before starts before polls.
#[derive(Default)]
pub struct Outbox {
    waiting: BTreeMap<(Priority, u64), Waiting>,
    sequence: u64,
    buckets: HashMap<(ClientKey, bool), Bucket>,
}

impl Outbox {
    /// Puts a call in line.
    pub fn push(&mut self, priority: Priority, waiting: Waiting) {
        self.sequence += 1;
        self.waiting.insert((priority, self.sequence), waiting);
    }

    /// How many calls wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes back the calls that `unwanted` says are no longer wanted.
    pub fn withdraw(&mut self, unwanted: impl Fn(&Waiting) -> bool) -> Vec<CallId> {
        let gone: Vec<_> = self.waiting.iter().filter(|(_, w)| unwanted(w)).map(|(k, _)| *k).collect();
        gone.into_iter().filter_map(|k| self.waiting.remove(&k)).map(|w| w.call).collect()
    }

    /// The last calls of a process: stops at once, whatever the pace, as many as `slots`; what must be known for them
    /// as the pace allows; no polls.
    pub fn release_last(&mut self, now: Time, slots: usize) -> (Vec<Waiting>, Option<Time>) {
        let stops: Vec<_> =
            self.waiting.keys().take_while(|(priority, _)| *priority == Priority::Stop).take(slots).copied().collect();
        let mut free: Vec<_> = stops.iter().filter_map(|place| self.waiting.remove(place)).collect();
        let (rest, next) = self.release_only(now, |priority| matches!(priority, Priority::Start | Priority::Ask));
        free.extend(rest);
        (free, next)
    }

    /// The calls that may go now, and when to come again for the rest.
    pub fn release(&mut self, now: Time) -> (Vec<Waiting>, Option<Time>) {
        self.release_only(now, |_| true)
    }

    fn release_only(&mut self, now: Time, may: impl Fn(Priority) -> bool) -> (Vec<Waiting>, Option<Time>) {
        let mut free = Vec::new();
        let mut next: Option<Time> = None;
        let mut empty: Vec<(ClientKey, bool)> = Vec::new();
        let order: Vec<_> = self.waiting.keys().filter(|(priority, _)| may(*priority)).copied().collect();
        for place in order {
            let Some(waiting) = self.waiting.get(&place) else { continue };
            let lane = (waiting.client.clone(), waiting.operation.is_write());
            if empty.contains(&lane) {
                continue;
            }
            let begin = if lane.1 { WRITES } else { READS };
            let bucket = self.buckets.entry(lane.clone()).or_insert_with(|| Bucket::new(begin, now));
            match bucket.take(now) {
                Ok(()) => free.extend(self.waiting.remove(&place)),
                Err(at) => {
                    next = Some(next.map_or(at, |n| n.min(at)));
                    empty.push(lane);
                    if empty.len() == 2 * self.buckets.len() {
                        break;
                    }
                }
            }
        }
        (free, next)
    }

    /// When a further write of this client could leave: not before those that wait already.
    pub fn write_time(&self, client: &ClientKey, now: Time) -> Time {
        let lane = (client.clone(), true);
        let ready = self.buckets.get(&lane).map_or(Ok(()), |bucket| bucket.clone().ready(now));
        let waits = || self.waiting.values().any(|w| w.operation.is_write() && w.client == *client);
        match ready {
            Err(at) => at,
            // They leave with the next release; a moment later it can be told whether one more may.
            Ok(()) if waits() => now.plus(Duration::from_millis(1)),
            Ok(()) => now,
        }
    }

    /// AWS throttled a call of this client.
    pub fn throttled(&mut self, client: &ClientKey, write: bool, now: Time) {
        if let Some(bucket) = self.buckets.get_mut(&(client.clone(), write)) {
            bucket.throttled(now);
        }
    }
}
