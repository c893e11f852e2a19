//! How fast this process calls AWS: one governor for all its workflows, a lane for each account, region and direction.
//!
//! SageMaker publishes no limits, other clients share them, and they count an account and not a workflow. So the pace is
//! found by asking ([`Rate`]), and the workflows of a process take turns ([`Lane`]):
//!
//! ```text
//!   workflow ── Request: Want, Unwant, GiveBack ──▶  Governor: a Lane each  ── Answer: Granted, Waits ──▶ workflow
//!                                                     ▲
//!                  AWS's answer: answered, throttled ─┘
//! ```
//!
//! | question | subject |
//! |---|---|
//! | How many calls a second, and how many at once? | [`Rate`] |
//! | Whose turn is it? | [`Lane`] |
//! | Which calls share a limit? | [`LaneKey`] |
//! | Who is told what, and when? | [`Governor`] |
//!
//! A workflow counts its wishes: what it wanted less what was granted is what it still waits for. Both go in order, so
//! neither side ever asks for the other's count. `tests/it/fleet.rs` plays a hundred processes against an account that they
//! share. Pure: time is passed in.

mod governor;
mod lane;
mod line;
mod rate;

use std::hash::Hash;

use crate::pipelines::{Call, ClientKey, Time};

pub use governor::{Governor, Told};
pub use lane::{Lane, Turn, Urgency};
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
    /// The account whose limit it is: a role's own. Empty for that of the pod's credentials, which need no name.
    pub account: String,
    pub region: String,
    pub direction: Direction,
}

impl LaneKey {
    /// The lane of a client's call; none for STS, whose limits are far away and whose answers are kept.
    pub fn of(client: &ClientKey, call: &Call) -> Option<Self> {
        (!matches!(call, Call::GetCallerIdentity)).then(|| Self::in_direction(client, Direction::of(call)))
    }

    /// The lane of a client's calls in a direction.
    pub fn in_direction(client: &ClientKey, direction: Direction) -> Self {
        // `arn:aws:iam::<account>:role/<name>`.
        let account = client.role_arn.as_deref().and_then(|arn| arn.split(':').nth(4)).unwrap_or_default();
        Self { account: account.to_owned(), region: client.region.clone(), direction }
    }
}

/// What a workflow asks of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// So many more turns.
    Want(Urgency, u32),
    /// So many fewer than it said.
    Unwant(Urgency, u32),
    /// So many turns were granted and not used.
    GiveBack(u32),
}

/// What a lane says to a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Granted {
        urgency: Urgency,
        turns: u32,
        /// From what is kept for stops: a throttle of such a call says nothing of the pace.
        reserved: bool,
    },
    /// Not everything that it wants can be had now.
    Waits,
}

/// Where the search for AWS's limit begins and ends, in calls a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub reads: f64,
    pub writes: f64,
    /// No lane reads faster, even when AWS would let it.
    pub most_reads: f64,
    /// No lane writes faster.
    pub most_writes: f64,
}

impl Default for Settings {
    /// ListTrainingJobs is known to be limited to 2 calls a second (aws-deepracer-on-aws#87), more is not.
    fn default() -> Self {
        Self { reads: 5.0, writes: 2.0, most_reads: 50.0, most_writes: 50.0 }
    }
}

impl Settings {
    /// A lane that has called nothing yet. The seed is for its jitter.
    pub fn lane<Id: Clone + Eq + Hash>(&self, direction: Direction, seed: u64, now: Time) -> Lane<Id> {
        let (begin, most) = match direction {
            Direction::Read => (self.reads, self.most_reads),
            Direction::Write => (self.writes, self.most_writes),
        };
        Lane::new(Rate::new(begin, most, now), seed, now)
    }
}
