//! How fast this process calls AWS: one governor for all its workflows, a lane for each account, region and direction.
//!
//! SageMaker publishes no limits, other clients share them, and they count an account and not a workflow. So the pace is
//! found by asking ([`Rate`]), and the workflows of a process take turns ([`Lane`]):
//!
//! ```text
//!   workflow ── want(who, urgency, count) ──▶  Lane  ── grant ──▶ turns; a call each, or give_back
//!                                               ▲
//!            AWS's answer: answered, throttled ─┘
//! ```
//!
//! | question | subject |
//! |---|---|
//! | How many calls a second, and how many at once? | [`Rate`] |
//! | Whose turn is it? | [`Lane`] |
//! | Which calls share a limit? | [`LaneKey`], [`Governor`] |
//!
//! No workflow asks it yet: each still keeps the pace of [`crate::workflow`] for itself. `tests/it/fleet.rs` plays both against
//! an account that many share.
//!
//! Whoever holds a lane asks [`Lane::grant`] after everything told to it, and at the time it named. Pure: time is passed in.

mod lane;
mod line;
mod rate;

use std::{collections::HashMap, hash::Hash};

use crate::pipelines::{Call, Time};

pub use lane::{Lane, Urgency};
pub use rate::{FLOOR, Rate};

/// Whether calls change something: AWS is gentler to readers than to writers, so each has a pace of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    Read,
    Write,
}

impl Direction {
    /// The direction of a call.
    pub fn of(call: &Call) -> Self {
        if call.is_write() { Self::Write } else { Self::Read }
    }
}

/// Calls that share one of AWS's limits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneKey {
    /// Whose limit it is: the account that the credentials belong to.
    pub account: String,
    pub region: String,
    pub direction: Direction,
}

/// Where the search for AWS's limit begins and ends, in calls a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub reads: f64,
    pub writes: f64,
    /// No lane calls faster, even when AWS would let it.
    pub ceiling: f64,
}

impl Default for Settings {
    /// ListTrainingJobs is known to be limited to 2 calls a second (aws-deepracer-on-aws#87), more is not.
    fn default() -> Self {
        Self { reads: 5.0, writes: 2.0, ceiling: 50.0 }
    }
}

impl Settings {
    /// A lane that has called nothing yet. The seed is for its jitter.
    pub fn lane<Id: Clone + Eq + Hash>(&self, direction: Direction, seed: u64, now: Time) -> Lane<Id> {
        let begin = match direction {
            Direction::Read => self.reads,
            Direction::Write => self.writes,
        };
        Lane::new(Rate::new(begin, self.ceiling, now), seed, now)
    }
}

/// The lanes of a process. `Id` names a workflow.
#[derive(Clone, Debug)]
pub struct Governor<Id> {
    settings: Settings,
    seed: u64,
    lanes: HashMap<LaneKey, Lane<Id>>,
}

impl<Id: Clone + Eq + Hash> Governor<Id> {
    /// A governor without lanes. Every process has a seed of its own.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self { settings, seed, lanes: HashMap::new() }
    }

    /// The lane of this key, made when it is asked for first.
    pub fn lane(&mut self, key: &LaneKey, now: Time) -> &mut Lane<Id> {
        let seed = self.seed.wrapping_add(self.lanes.len() as u64);
        self.lanes.entry(key.clone()).or_insert_with(|| self.settings.lane(key.direction, seed, now))
    }

    /// The workflow has ended or died: it waits in no lane any more. Turns it was granted are lost with it.
    pub fn forget(&mut self, who: &Id) {
        self.lanes.values_mut().for_each(|lane| lane.forget(who));
    }

    /// All lanes, for gauges.
    pub fn lanes(&self) -> impl Iterator<Item = (&LaneKey, &Lane<Id>)> {
        self.lanes.iter()
    }
}
