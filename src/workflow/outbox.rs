//! Calls that wait for their turn: what is wanted of the lanes of [`crate::pace`], what was granted, and what leaves.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    pace::{Answer, LaneKey, Request, Urgency},
    pipelines::{Call, ClientKey, Time},
};

use super::{CallId, room::Room as _};

/// A call that waits for its turn.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub call: CallId,
    pub client: ClientKey,
    pub operation: Call,
    pub since: Time,
}

/// A call whose turn has come.
#[derive(Debug)]
pub struct Leaving {
    pub waiting: Waiting,
    /// It took a turn of the lane's pace: whether it is throttled says something of that.
    pub paced: bool,
}

/// What waits for one lane.
#[derive(Debug, Default)]
struct Line {
    waiting: [VecDeque<Waiting>; Urgency::ALL.len()],
    /// Since when the start queue's head waits for a turn, if it does. It waits there and not here: there its node can
    /// still be ended, and nobody behind it passes when the account turns out to be full.
    head: Option<Time>,
    /// Turns that were asked for and did not come.
    asked: [u32; Urgency::ALL.len()],
    /// Turns that came and are not used yet; whether they are reserved.
    turns: [VecDeque<bool>; Urgency::ALL.len()],
    /// The lane said that what is asked for has to wait.
    waits: bool,
}

impl Line {
    /// Turns that are wanted. In the process's last moments there are no polls, and stops take no turns.
    fn wanted(&self, urgency: Urgency, last: bool) -> u32 {
        let out = last && matches!(urgency, Urgency::Stop | Urgency::Poll);
        if out {
            return 0;
        }
        let head = urgency == Urgency::Start && self.head.is_some();
        let calls = self.waiting[urgency as usize].len() + usize::from(head);
        u32::try_from(calls).unwrap_or(u32::MAX)
    }
}

/// The outbox of one workflow. Calls of the same urgency leave in their order.
#[derive(Debug, Default)]
pub struct Outbox {
    lines: BTreeMap<LaneKey, Line>,
    /// Lines that something came to since the last release.
    touched: Vec<LaneKey>,
}

impl Outbox {
    /// Puts a call in line.
    pub fn push(&mut self, lane: LaneKey, urgency: Urgency, waiting: Waiting) {
        self.touch(&lane).waiting[urgency as usize].push_back(waiting);
    }

    /// Takes in what a lane says.
    pub fn told(&mut self, lane: &LaneKey, answer: Answer) {
        let line = self.touch(lane);
        match answer {
            Answer::Granted { urgency, turns, reserved } => {
                let asked = &mut line.asked[urgency as usize];
                *asked = asked.saturating_sub(turns);
                line.turns[urgency as usize].extend((0..turns).map(|_| reserved));
                line.waits &= line.asked.iter().any(|asked| *asked > 0);
            }
            // What it was about may have come meanwhile, or is wanted no more.
            Answer::Waits => line.waits = line.asked.iter().any(|asked| *asked > 0),
        }
    }

    /// The head of the start queue waits for a turn of this lane, or does no longer.
    pub fn head_waits(&mut self, lane: &LaneKey, since: Option<Time>) {
        if self.lines.get(lane).map_or(since.is_some(), |line| line.head.is_some() != since.is_some()) {
            self.touch(lane).head = since;
        }
    }

    /// The head of the start queue has its turn: since when it waited for it.
    pub fn take_head(&mut self, lane: &LaneKey) -> Option<Time> {
        self.touch(lane).head.take()
    }

    /// Whether a start may leave at once: there is a turn, and no earlier start waits for it.
    pub fn has_turn_for_start(&self, lane: &LaneKey) -> bool {
        let start = Urgency::Start as usize;
        self.lines.get(lane).is_some_and(|line| line.turns[start].len() > line.waiting[start].len())
    }

    /// Whether a turn that is asked for may come at once, for all that is known.
    pub fn may_come(&self, lane: &LaneKey) -> bool {
        self.lines.get(lane).is_some_and(|line| !line.waits)
    }

    /// Whether a turn for the start queue's head may come at once.
    pub fn head_may_start(&self, lane: &LaneKey) -> bool {
        self.lines.get(lane).is_some_and(|line| line.head.is_some() && !line.waits)
    }

    /// Takes back the calls that `unwanted` says are no longer wanted.
    pub fn withdraw(&mut self, unwanted: impl Fn(&Waiting) -> bool) -> Vec<CallId> {
        let mut gone = Vec::new();
        for (lane, line) in &mut self.lines {
            let before = gone.len();
            for waiting in &mut line.waiting {
                gone.extend(waiting.iter().filter(|w| unwanted(w)).map(|w| w.call));
                waiting.retain(|w| !unwanted(w));
            }
            if gone.len() > before {
                self.touched.push(lane.clone());
            }
        }
        gone
    }

    /// The calls whose turn has come. `last`: the process ends, and polls nothing more.
    pub fn release(&mut self, last: bool) -> Vec<Leaving> {
        let mut leaving = Vec::new();
        for lane in &self.touched {
            let Some(line) = self.lines.get_mut(lane) else { continue };
            for urgency in Urgency::ALL.into_iter().filter(|urgency| !last || *urgency != Urgency::Poll) {
                let (waiting, turns) = (&mut line.waiting[urgency as usize], &mut line.turns[urgency as usize]);
                while !waiting.is_empty()
                    && let Some(reserved) = turns.pop_front()
                {
                    // CloudWatch Logs takes its turn, but has limits of its own: what it throttles says nothing of the pace.
                    let paced = |waiting: &Waiting| !reserved && !matches!(waiting.operation, Call::LogTail { .. });
                    leaving.extend(waiting.pop_front().map(|waiting| Leaving { paced: paced(&waiting), waiting }));
                }
                waiting.give_back();
            }
        }
        leaving
    }

    /// So many stops at once, whatever the pace: the last calls of a process.
    pub fn release_stops(&mut self, most: usize) -> Vec<Leaving> {
        let mut leaving = Vec::new();
        for line in self.lines.values_mut() {
            let waiting = &mut line.waiting[Urgency::Stop as usize];
            let room = waiting.len().min(most - leaving.len());
            leaving.extend(waiting.drain(..room).map(|waiting| Leaving { waiting, paced: false }));
        }
        leaving
    }

    /// What the lanes are to be told: turns that nobody uses, and what is wanted more or less than before. `last`: the
    /// process ends, and wants no polls any more.
    pub fn requests(&mut self, last: bool) -> Vec<(LaneKey, Request)> {
        let mut touched = std::mem::take(&mut self.touched);
        if last {
            touched = self.lines.keys().cloned().collect();
        }
        touched.sort();
        touched.dedup();
        let mut requests = Vec::new();
        for lane in touched {
            let Some(line) = self.lines.get_mut(&lane) else { continue };
            let unused: usize =
                line.turns.iter_mut().map(|turns| turns.drain(..).filter(|reserved| !reserved).count()).sum();
            if unused > 0 {
                requests.push((lane.clone(), Request::GiveBack(u32::try_from(unused).unwrap_or(u32::MAX))));
            }
            for urgency in Urgency::ALL {
                let wanted = line.wanted(urgency, last);
                let asked = std::mem::replace(&mut line.asked[urgency as usize], wanted);
                if wanted > asked {
                    requests.push((lane.clone(), Request::Want(urgency, wanted - asked)));
                } else if asked > wanted {
                    requests.push((lane.clone(), Request::Unwant(urgency, asked - wanted)));
                }
            }
            line.waits &= line.asked.iter().any(|asked| *asked > 0);
        }
        requests
    }

    fn touch(&mut self, lane: &LaneKey) -> &mut Line {
        if !self.touched.contains(lane) {
            self.touched.push(lane.clone());
        }
        self.lines.entry(lane.clone()).or_default()
    }
}
