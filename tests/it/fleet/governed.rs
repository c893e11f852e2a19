//! A process whose workflows share a governor, as it is meant to be wired.

use std::time::Duration;

use awf_aws::{
    pace::{Direction, Governor, LaneKey, Settings, Urgency},
    pipelines::Time,
};

use super::world::{Pacer, is_write};

pub struct Governed(Governor<usize>);

fn key(urgency: Urgency) -> LaneKey {
    let direction = if is_write(urgency) { Direction::Write } else { Direction::Read };
    LaneKey { account: "123456789012".to_owned(), region: "eu-west-1".to_owned(), direction }
}

impl Pacer for Governed {
    fn new(_workflows: usize, seed: u64, now: Time) -> Self {
        let mut governor = Governor::new(Settings::default(), seed);
        for urgency in [Urgency::Stop, Urgency::Poll] {
            governor.lane(&key(urgency), now);
        }
        Self(governor)
    }

    fn want(&mut self, workflow: usize, urgency: Urgency) {
        // The lanes were made when the process began.
        self.0.lane(&key(urgency), Time(0)).want(&workflow, urgency, 1);
    }

    fn release(&mut self, now: Time) -> (Vec<(usize, Urgency)>, Option<Time>) {
        let (mut turns, writes) = self.0.lane(&key(Urgency::Stop), now).grant(now);
        let (polls, reads) = self.0.lane(&key(Urgency::Poll), now).grant(now);
        turns.extend(polls);
        (turns, writes.into_iter().chain(reads).min())
    }

    fn ended(&mut self, _workflow: usize, urgency: Urgency, sent: Time, throttled: bool, now: Time) {
        let lane = self.0.lane(&key(urgency), now);
        if throttled { lane.throttled(sent, now) } else { lane.answered(sent, now) }
    }

    /// At once: the lane sets the pace.
    fn again(_urgency: Urgency, _tries: u32) -> Duration {
        Duration::ZERO
    }
}
