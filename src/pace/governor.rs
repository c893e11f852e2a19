//! The lanes of a process: who asked for what, and who is told when a turn comes.

use std::{collections::BTreeMap, hash::Hash};

use crate::pipelines::Time;

use super::{Answer, Lane, LaneKey, Request, Settings, Turn};

/// All lanes. `Id` names a workflow.
#[derive(Clone, Debug)]
pub struct Governor<Id> {
    settings: Settings,
    seed: u64,
    /// In order: what is told does not depend on hashes.
    lanes: BTreeMap<LaneKey, Held<Id>>,
}

/// A lane, and when to look at it again because somebody waits.
#[derive(Clone, Debug)]
struct Held<Id> {
    lane: Lane<Id>,
    wake: Option<Time>,
}

/// One answer, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<Id> {
    pub who: Id,
    pub lane: LaneKey,
    pub answer: Answer,
}

impl<Id: Clone + Eq + Hash> Governor<Id> {
    /// A governor without lanes. Every process has a seed of its own.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self { settings, seed, lanes: BTreeMap::new() }
    }

    /// Takes in what a workflow asks of a lane, and says what follows. Whoever wants something is told at once what it
    /// gets, or that it waits.
    pub fn asked(&mut self, who: &Id, key: &LaneKey, request: Request, now: Time) -> Vec<Told<Id>> {
        let held = self.held(key, now);
        match request {
            Request::Want(urgency, turns) => held.lane.want(who, urgency, turns),
            Request::Unwant(urgency, turns) => held.lane.unwant(who, urgency, turns),
            Request::GiveBack(turns) => (0..turns).for_each(|_| held.lane.give_back(now)),
        }
        let mut told = held.grant(key, now);
        if matches!(request, Request::Want(..)) && held.lane.waits(who) {
            told.push(Told { who: who.clone(), lane: key.clone(), answer: Answer::Waits });
        }
        told
    }

    /// AWS answered a call that left at `sent`; `throttled`: it was too fast.
    pub fn answered(&mut self, key: &LaneKey, sent: Time, throttled: bool, now: Time) -> Vec<Told<Id>> {
        let held = self.held(key, now);
        if throttled {
            held.lane.throttled(sent, now);
        } else {
            held.lane.answered(sent, now);
        }
        held.grant(key, now)
    }

    /// The turns whose time has come.
    pub fn due(&mut self, now: Time) -> Vec<Told<Id>> {
        let due = self.lanes.iter_mut().filter(|(_, held)| held.wake.is_some_and(|at| at <= now));
        due.flat_map(|(key, held)| held.grant(key, now)).collect()
    }

    /// When [`Self::due`] has something to say if nothing else happens.
    pub fn next_due(&self) -> Option<Time> {
        self.lanes.values().filter_map(|held| held.wake).min()
    }

    /// The workflow has ended or died: it waits in no lane any more. Turns it was granted are lost with it.
    pub fn forget(&mut self, who: &Id) {
        self.lanes.values_mut().for_each(|held| held.lane.forget(who));
    }

    /// All lanes, for gauges.
    pub fn lanes(&self) -> impl Iterator<Item = (&LaneKey, &Lane<Id>)> {
        self.lanes.iter().map(|(key, held)| (key, &held.lane))
    }

    fn held(&mut self, key: &LaneKey, now: Time) -> &mut Held<Id> {
        let seed = self.seed.wrapping_add(self.lanes.len() as u64);
        let lane = || self.settings.lane(key.direction, seed, now);
        self.lanes.entry(key.clone()).or_insert_with(|| Held { lane: lane(), wake: None })
    }
}

impl<Id: Clone + Eq + Hash> Held<Id> {
    fn grant(&mut self, key: &LaneKey, now: Time) -> Vec<Told<Id>> {
        let (turns, wake) = self.lane.grant(now);
        self.wake = wake;
        let mut told: Vec<Told<Id>> = Vec::new();
        for Turn { who, urgency, reserved } in turns {
            // Turns that follow each other go together.
            if let Some(last) = told.last_mut()
                && last.who == who
                && let Answer::Granted { urgency: same, turns, reserved: kept } = &mut last.answer
                && (*same, *kept) == (urgency, reserved)
            {
                *turns += 1;
                continue;
            }
            let answer = Answer::Granted { urgency, turns: 1, reserved };
            told.push(Told { who, lane: key.clone(), answer });
        }
        told
    }
}
