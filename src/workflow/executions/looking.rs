//! When an execution is looked at, and the look itself.

use std::time::Duration;

use crate::{
    pace::Urgency,
    pipelines::{Call, Time},
    rounds::interval,
    workflow::{
        effects::{Effects, Purpose, Timer},
        pipeline::Pipelines,
        slab::ExecutionId,
    },
};

use super::Executions;

impl Executions {
    /// Looks at a live execution at this time.
    pub fn look_at(&mut self, id: ExecutionId, at: Time, fx: &mut Effects) {
        let pipeline = self.all[id].pipeline();
        self.polls(pipeline).look_at(id, at);
        fx.wake(at, Timer::Poll(pipeline));
    }

    pub(super) fn look_later(&mut self, id: ExecutionId, fx: &mut Effects) {
        let wait = self.until_the_next_look(id, fx);
        self.look_at(id, fx.now().plus(wait), fx);
    }

    /// A look failed: it is repeated in its time, however many nodes want it sooner.
    pub(super) fn rest(&mut self, id: ExecutionId, wait: Duration, fx: &mut Effects) {
        let until = fx.now().plus(wait);
        self.all[id].rest(until);
        self.look_at(id, until, fx);
    }

    /// Describes one execution, unless that is under way.
    pub fn describe(&mut self, id: ExecutionId, fx: &mut Effects, pipelines: &Pipelines) {
        if let Some(until) = self.all[id].rests(fx.now()) {
            self.look_at(id, until, fx);
            return;
        }
        // Also when a describe is under way: its answer sets the next time, and a due time that stays would spin the rounds.
        let pipeline = self.all[id].pipeline();
        self.polls(pipeline).look_no_more(id);
        if self.all[id].begin_describe() {
            let call = Call::DescribeExecution { arn: self.all[id].arn().to_owned() };
            pipelines.call(self.urgency(id), pipeline, call, Purpose::Describe(id), fx);
        }
    }

    /// What confirms and explains an end goes before looks at what runs: those wait for the lists that stand for many.
    pub(super) fn urgency(&self, id: ExecutionId) -> Urgency {
        if self.all[id].is_live() { Urgency::Poll } else { Urgency::Ask }
    }

    pub(super) fn until_the_next_look(&self, id: ExecutionId, fx: &Effects) -> Duration {
        let (tracked, settings) = (&self.all[id], fx.settings());
        if tracked.stop_is_wanted() {
            return settings.poll_min;
        }
        let age = fx.server_now().since(tracked.began().unwrap_or(fx.now()));
        interval(age, settings.poll_min, settings.poll_max)
    }
}
