//! A process whose workflows share a governor, as the plugin's do.

use std::{collections::HashMap, time::Duration};

use awf_aws::{
    pace::{Answer, Direction, Governor, LaneKey, Request, Settings, Told, Urgency},
    pipelines::Time,
};

use super::world::{Pacer, is_write};

pub struct Governed {
    governor: Governor<usize>,
    /// Turns that have come and are not taken yet.
    turns: Vec<(usize, Urgency, bool)>,
    /// Calls on their way that took a reserved turn.
    reserved: HashMap<(usize, Urgency, Time), u32>,
}

fn key(urgency: Urgency) -> LaneKey {
    let direction = if is_write(urgency) { Direction::Write } else { Direction::Read };
    LaneKey { account: "123456789012".to_owned(), region: "eu-west-1".to_owned(), direction }
}

impl Governed {
    fn hears(&mut self, told: Vec<Told<usize>>) {
        for Told { who, answer, .. } in told {
            if let Answer::Granted { urgency, turns, reserved } = answer {
                self.turns.extend((0..turns).map(|_| (who, urgency, reserved)));
            }
        }
    }
}

impl Pacer for Governed {
    fn new(_workflows: usize, seed: u64, _now: Time) -> Self {
        let governor = Governor::new(Settings::default(), seed);
        Self { governor, turns: Vec::new(), reserved: HashMap::new() }
    }

    fn want(&mut self, workflow: usize, urgency: Urgency, now: Time) {
        let told = self.governor.asked(&workflow, &key(urgency), Request::Want(urgency, 1), now);
        self.hears(told);
    }

    fn release(&mut self, now: Time) -> (Vec<(usize, Urgency)>, Option<Time>) {
        let told = self.governor.due(now);
        self.hears(told);
        let turns = std::mem::take(&mut self.turns);
        for (workflow, urgency, _) in turns.iter().filter(|(.., reserved)| *reserved) {
            *self.reserved.entry((*workflow, *urgency, now)).or_default() += 1;
        }
        let turns = turns.into_iter().map(|(workflow, urgency, _)| (workflow, urgency)).collect();
        (turns, self.governor.next_due())
    }

    fn ended(&mut self, workflow: usize, urgency: Urgency, sent: Time, throttled: bool, now: Time) {
        if let Some(left) = self.reserved.get_mut(&(workflow, urgency, sent)).filter(|left| **left > 0) {
            *left -= 1;
            return;
        }
        let told = self.governor.answered(&key(urgency), sent, throttled, now);
        self.hears(told);
    }

    /// At once: the lane sets the pace.
    fn again(_urgency: Urgency, _tries: u32) -> Duration {
        Duration::ZERO
    }
}
