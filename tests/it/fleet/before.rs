//! The pace as it was before there was a governor: token buckets for each workflow and client, kept here to be compared.

use std::{collections::BTreeMap, time::Duration};

use awf_aws::{pace::Urgency, pipelines::Time};

use super::world::{Pacer, is_write};

const READS: f64 = 5.0;
const WRITES: f64 = 2.0;
const FLOOR: f64 = 0.05;
const BURST_SECONDS: f64 = 10.0;
const QUIET: Duration = Duration::from_secs(15);

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
        self.refill(now);
        if self.level >= 1.0 {
            self.level -= 1.0;
            return Ok(());
        }
        Err(now.plus(Duration::from_secs_f64((1.0 - self.level) / self.rate) + Duration::from_millis(1)))
    }

    fn throttled(&mut self, now: Time) {
        self.refill(now);
        self.rate = (self.rate / 2.0).max(FLOOR);
        self.level = self.level.min(0.0);
        self.last_throttle = now;
    }
}

/// The outbox of one workflow: reads, writes.
struct Outbox {
    waiting: BTreeMap<(Urgency, u64), ()>,
    lanes: [Bucket; 2],
    next: Option<Time>,
}

/// A process: its workflows do not know of each other.
pub struct Buckets {
    outboxes: Vec<Outbox>,
    sequence: u64,
}

impl Pacer for Buckets {
    fn new(workflows: usize, _seed: u64, now: Time) -> Self {
        let outbox = || Outbox {
            waiting: BTreeMap::new(),
            lanes: [Bucket::new(READS, now), Bucket::new(WRITES, now)],
            next: None,
        };
        Self { outboxes: (0..workflows).map(|_| outbox()).collect(), sequence: 0 }
    }

    fn want(&mut self, workflow: usize, urgency: Urgency, _now: Time) {
        self.sequence += 1;
        self.outboxes[workflow].waiting.insert((urgency, self.sequence), ());
        self.outboxes[workflow].next = Some(Time::at(0));
    }

    fn release(&mut self, now: Time) -> (Vec<(usize, Urgency)>, Option<Time>) {
        let mut free = Vec::new();
        for (workflow, outbox) in self.outboxes.iter_mut().enumerate() {
            if outbox.next.is_none_or(|at| at > now) {
                continue;
            }
            outbox.next = None;
            let mut empty = [false; 2];
            for place in outbox.waiting.keys().copied().collect::<Vec<_>>() {
                let lane = usize::from(is_write(place.0));
                if empty[lane] {
                    continue;
                }
                match outbox.lanes[lane].take(now) {
                    Ok(()) => {
                        outbox.waiting.remove(&place);
                        free.push((workflow, place.0));
                    }
                    Err(at) => {
                        outbox.next = Some(outbox.next.map_or(at, |next| next.min(at)));
                        empty[lane] = true;
                    }
                }
            }
        }
        (free, self.outboxes.iter().filter_map(|outbox| outbox.next).min())
    }

    fn ended(&mut self, workflow: usize, urgency: Urgency, _sent: Time, throttled: bool, now: Time) {
        let outbox = &mut self.outboxes[workflow];
        if throttled {
            outbox.lanes[usize::from(is_write(urgency))].throttled(now);
        }
        outbox.next = Some(now);
    }

    fn again(urgency: Urgency, tries: u32) -> Duration {
        let most = if urgency == Urgency::Stop { 15 } else { 60 };
        Duration::from_secs((1 << tries.min(6)).min(most))
    }
}
