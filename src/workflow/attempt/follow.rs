//! Following an execution, and reporting its end.

use crate::{
    pipelines::{Status, Time},
    protocol::Phase,
    workflow::{execution::EndStage, key::execution_id, slab::ExecutionId, world::World},
};

use super::{Attempt, Kin, Stage};

impl Attempt {
    /// Follows an execution: it is stopped at the workflow's end and when the time is up.
    pub(super) fn follow(&mut self, id: ExecutionId, kin: Kin, w: &mut World) {
        self.attach_to(id, kin, w);
        if let Some(text) = w.executions[id].gone().map(str::to_owned) {
            self.end(Phase::Error, &text, None, w);
        } else if w.executions[id].is_live() {
            self.stop_if_over(id, w);
            self.check_timeout(id, w);
        }
    }

    fn attach_to(&mut self, id: ExecutionId, kin: Kin, w: &mut World) {
        w.queue.leave(self.id);
        self.take_over(id, kin, w);
        if self.is_ended() {
            return;
        }
        if self.followed() != Some(id) {
            self.set_stage(Stage::Following(id), w);
            self.trouble = None;
            self.continues_after_all(id);
        }
        let tracked = &w.executions[id];
        if tracked.attempt() == self.number && tracked.seen().is_some() {
            // Nothing of the task but its rules is needed any more: ten thousand of them count.
            self.task = None;
        }
    }

    /// The newest attempt's client asks after the executions of its key, and stops them.
    pub(super) fn take_over(&self, id: ExecutionId, kin: Kin, w: &mut World) {
        if kin.newest_asked == self.number && w.executions[id].key() == self.key {
            w.executions.hand_over(id, self.pipeline, &mut w.fx);
        }
    }

    /// An execution of an earlier run is being stopped: its time is not this attempt's.
    pub(super) fn await_end(&mut self, id: ExecutionId, kin: Kin, w: &mut World) {
        self.attach_to(id, kin, w);
        match self.timed_out_waiting(w) {
            Some((timeout, _)) => {
                let id = execution_id(w.executions[id].arn());
                let text =
                    format!("timed out after {timeout} while execution {id} of an earlier run was still being stopped");
                self.end(Phase::Failed, &text, None, w);
            }
            None => self.stop_if_over(id, w),
        }
    }

    /// Ends with this execution, as soon as its end is confirmed and explained.
    pub(super) fn report(&mut self, id: ExecutionId, kin: Kin, w: &mut World) {
        self.follow(id, kin, w);
        match w.executions[id].end() {
            EndStage::Known => match self.lacking(id, w) {
                Some(at) => self.wake_at(at, w),
                None => self.conclude(id, w),
            },
            EndStage::Seen => w.describe(id),
            EndStage::Told => w.executions.list_end_steps(id, &mut w.fx, &w.pipelines),
            EndStage::Live | EndStage::Listing => {}
        }
    }

    /// Until when its end waits for more than its steps. Nobody reads it once the workflow is over.
    fn lacking(&self, id: ExecutionId, w: &mut World) -> Option<Time> {
        let over = w.closing.over().is_some_and(|closed| closed.holds_for(self.rules.exit_handler));
        let wanted = self.wanted.clone().unwrap_or_default();
        if over { None } else { w.executions.ask_aftermath(id, &wanted, &mut w.fx, &w.pipelines) }
    }

    fn conclude(&mut self, id: ExecutionId, w: &mut World) {
        let timeout = self.rules.timeout;
        let timed_out = self.timed_out_at.is_some() || self.has_outlived(id, w);
        let tracked = &w.executions[id];
        let accepts = self.rules.accept_completed_with_failures;
        let (phase, text) = tracked.story().end(accepts, timeout.filter(|_| timed_out));
        let known = w.known(id);
        if phase != Phase::Succeeded
            && !self.rules.attached
            && let Some(run) = w.run().filter(|run| run.may_come_after(&known))
        {
            self.warning = Some(run.doubt().to_owned());
        }
        self.end(phase, &text, Some(id), w);
    }

    /// A stopped execution that ran as long as its node's time-out was stopped for it, also by an earlier process.
    fn has_outlived(&self, id: ExecutionId, w: &World) -> bool {
        let (execution, began) = (w.executions[id].execution(), w.executions[id].began());
        let ran = execution.modified.zip(began).map(|(end, start)| end.since(start));
        execution.status == Status::Stopped && self.rules.timeout.zip(ran).is_some_and(|(timeout, ran)| ran >= timeout)
    }
}
