//! The governor of a process, between the machine that wants turns and AWS that says "too fast".

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use awf_aws::{
    pace::{Answer, Governor, LaneKey, Request, Settings, Told},
    pipelines::{Call, CallEnded, CallErrorKind, ClientKey, Time},
    workflow::{CallId, Event},
};

use super::{
    pod::PodId,
    world::{Happening, World},
};

/// What a process keeps for it.
pub struct Turns {
    governor: Governor<()>,
    /// Calls that left at a turn, and when.
    sent: HashMap<CallId, (LaneKey, Time)>,
    /// What the governor has said and the machine has not heard: in order, as in a mailbox.
    said: VecDeque<(LaneKey, Answer)>,
    wake: Option<Time>,
}

impl Turns {
    pub fn new(seed: u64) -> Self {
        let governor = Governor::new(Settings::default(), seed);
        Self { governor, sent: HashMap::new(), said: VecDeque::new(), wake: None }
    }

    pub fn leaves(&mut self, call: CallId, client: &ClientKey, operation: &Call, now: Time) {
        if let Some(lane) = LaneKey::of(client, operation) {
            self.sent.insert(call, (lane, now));
        }
    }
}

impl World {
    /// The machine asks for turns.
    pub fn asks_for_turns(&mut self, id: PodId, lane: &LaneKey, request: Request) {
        let now = self.pod_now(id);
        let told = self.turns(id).map(|turns| turns.governor.asked(&(), lane, request, now));
        self.governor_says(id, told);
    }

    /// The governor hears what became of a call.
    pub fn governor_hears(&mut self, id: PodId, call: CallId, ended: &CallEnded) {
        let now = self.pod_now(id);
        let throttled = ended.result.as_ref().is_err_and(|error| error.kind == CallErrorKind::Throttled);
        let told = self.turns(id).and_then(|turns| {
            let (lane, sent) = turns.sent.remove(&call)?;
            Some(turns.governor.answered(&lane, sent, throttled, now))
        });
        self.governor_says(id, told);
    }

    /// A turn's time has come.
    pub fn turn_comes(&mut self, id: PodId, plugin: u32, at: Time) {
        if let Some(until) = self.stalled(id) {
            self.at(until, Happening::TurnComes(id, plugin, at));
            return;
        }
        let now = self.pod_now(id);
        if self.pod(id).plugins != plugin {
            return;
        }
        let told = self.turns(id).filter(|turns| turns.wake == Some(at)).map(|turns| {
            turns.wake = None;
            turns.governor.due(now)
        });
        self.governor_says(id, told);
    }

    fn governor_says(&mut self, id: PodId, told: Option<Vec<Told<()>>>) {
        let plugin = self.pod(id).plugins;
        let skew = self.skew(id);
        for Told { lane, answer, .. } in told.into_iter().flatten() {
            self.turns(id).expect("who is told something lives").said.push_back((lane, answer));
            let wait = Duration::from_millis(self.rng.u64(0..3));
            self.after(wait, Happening::Paced(id, plugin));
        }
        let Some(turns) = self.turns(id) else { return };
        let next = turns.governor.next_due();
        if turns.wake != next {
            turns.wake = next;
            if let Some(at) = next {
                self.at(Time(at.0 - skew), Happening::TurnComes(id, plugin, at));
            }
        }
    }

    /// The machine hears the next of what the governor has said.
    pub fn paced(&mut self, id: PodId, plugin: u32) {
        if let Some(until) = self.stalled(id) {
            self.at(until, Happening::Paced(id, plugin));
            return;
        }
        if self.pod(id).plugins != plugin {
            return;
        }
        if let Some((lane, answer)) = self.turns(id).and_then(|turns| turns.said.pop_front()) {
            self.step(id, Event::Paced { lane, answer });
        }
    }

    fn turns(&mut self, id: PodId) -> Option<&mut Turns> {
        self.pod(id).plugin.as_mut().map(|plugin| &mut plugin.turns)
    }
}
