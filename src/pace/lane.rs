//! One pace and those who share it.

use std::hash::Hash;

use fastrand::Rng;

use crate::pipelines::Time;

use super::{
    line::Line,
    rate::{Bucket, Rate},
};

/// What a call is for; a stop goes before a start, a start before a question, a question before a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Urgency {
    Stop,
    Start,
    Ask,
    Poll,
}

impl Urgency {
    /// All, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Stop, Self::Start, Self::Ask, Self::Poll];
}

/// So many starts and questions go before a poll that waits, then the poll goes.
const BEFORE_A_POLL: u32 = 7;
/// Stops a second that leave although the pace is used up, and how many of them at once. They are steady rather than many
/// at once: where polls use up the account's limit, AWS takes a few of a wave and throttles the rest.
const STOPS: f64 = 5.0;
const STOPS_AT_ONCE: f64 = 3.0;
/// Who waits comes up to this share of its wait later. AWS's bucket fills in steps, and whoever comes in step with it, a
/// moment too early each time, may be throttled for minutes.
const JITTER: f64 = 0.5;

/// A turn that may be taken now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn<Id> {
    pub who: Id,
    pub urgency: Urgency,
    /// A stop's, although the pace is used up: a throttle of it says nothing of the pace.
    pub reserved: bool,
}

/// The calls of one direction to one account and region: how fast they may go, and whose turn it is.
#[derive(Clone, Debug)]
pub struct Lane<Id> {
    rate: Rate,
    /// For stops only, beside the pace.
    reserve: Bucket,
    lines: [Line<Id>; Urgency::ALL.len()],
    /// Turns that went to less patient calls while a poll waited.
    passed: u32,
    random: Rng,
}

impl<Id: Clone + Eq + Hash> Lane<Id> {
    /// A lane in which nobody waits. Processes with different seeds do not call in step.
    pub fn new(rate: Rate, seed: u64, now: Time) -> Self {
        Self {
            rate,
            reserve: Bucket::full(STOPS_AT_ONCE, now),
            lines: Default::default(),
            passed: 0,
            random: Rng::with_seed(seed),
        }
    }

    /// A workflow wants so many more turns.
    pub fn want(&mut self, who: &Id, urgency: Urgency, turns: u32) {
        self.lines[urgency as usize].join(who, turns);
    }

    /// A workflow wants so many turns fewer than it said. What was granted meanwhile it gives back ([`Self::give_back`]).
    pub fn unwant(&mut self, who: &Id, urgency: Urgency, turns: u32) {
        self.lines[urgency as usize].leave(who, turns);
    }

    /// The workflow waits no longer for anything.
    pub fn forget(&mut self, who: &Id) {
        self.lines.iter_mut().for_each(|line| line.leave(who, u32::MAX));
    }

    /// The turns that may be taken now, in their order, and when to ask again if others still wait.
    pub fn grant(&mut self, now: Time) -> (Vec<Turn<Id>>, Option<Time>) {
        let mut granted = Vec::new();
        while let Some(urgency) = self.next_urgency() {
            let reserved = match self.take(urgency, now) {
                Ok(reserved) => reserved,
                Err(at) => {
                    let late = at.since(now).mul_f64(self.random.f64() * JITTER);
                    return (granted, Some(at.plus(late)));
                }
            };
            match urgency {
                Urgency::Stop => {}
                Urgency::Poll => self.passed = 0,
                _ => self.passed += u32::from(self.is_wanted(Urgency::Poll)),
            }
            granted.extend(self.lines[urgency as usize].next().map(|who| Turn { who, urgency, reserved }));
        }
        self.rate.sated(now);
        (granted, None)
    }

    /// A turn was not used: the next in line may have it, at the next [`Self::grant`].
    pub fn give_back(&mut self, now: Time) {
        self.rate.give_back(now);
    }

    /// AWS answered a call that left at `sent`, whatever it said but "too fast".
    pub fn answered(&mut self, sent: Time, now: Time) {
        self.rate.answered(sent, now);
    }

    /// AWS refused a call that left at `sent` for its rate. Not to be told of calls that took a reserved turn or none.
    pub fn throttled(&mut self, sent: Time, now: Time) {
        self.rate.throttled(sent, now);
    }

    /// Calls a second that may leave now.
    pub fn rate(&self, now: Time) -> f64 {
        self.rate.at(now)
    }

    /// Turns waited for.
    pub fn waiting(&self) -> usize {
        self.lines.iter().map(Line::len).sum()
    }

    /// Whether a workflow waits for turns.
    pub fn waits(&self, who: &Id) -> bool {
        self.lines.iter().any(|line| line.contains(who))
    }

    fn is_wanted(&self, urgency: Urgency) -> bool {
        self.lines[urgency as usize].len() > 0
    }

    /// Stops always first: they are few, and each saves money. Polls at least every eighth turn otherwise, or a wave of
    /// questions would hide how running executions end.
    fn next_urgency(&self) -> Option<Urgency> {
        let first = Urgency::ALL.into_iter().find(|urgency| self.is_wanted(*urgency))?;
        let overdue = first != Urgency::Stop && self.passed >= BEFORE_A_POLL && self.is_wanted(Urgency::Poll);
        Some(if overdue { Urgency::Poll } else { first })
    }

    /// Takes a turn; whether it is a reserved one. Else when there will be one.
    fn take(&mut self, urgency: Urgency, now: Time) -> Result<bool, Time> {
        let Err(paced) = self.rate.take(now) else { return Ok(false) };
        if urgency != Urgency::Stop {
            return Err(paced);
        }
        // Whichever comes first.
        self.reserve.take(STOPS, STOPS_AT_ONCE, now).map(|()| true).map_err(|at| paced.min(at))
    }
}
