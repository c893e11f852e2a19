//! Listing the steps of executions.

use crate::{
    pipelines::{Call, CallError, CallReply},
    workflow::{
        effects::{Change, Effects, Purpose, Timer, Whose},
        execution::{EndStage, StepsFailed},
        notes::Note,
        pipeline::Pipelines,
        slab::ExecutionId,
    },
};

use super::Executions;

impl Executions {
    pub(super) fn list_running_steps(&mut self, id: ExecutionId, fx: &mut Effects, pipelines: &Pipelines) {
        if !self.is_crowd(fx) && self.all[id].steps_are_due(fx.now()) {
            self.list_steps(id, fx, pipelines);
        }
    }

    /// Lists the steps that explain an end.
    pub fn list_end_steps(&mut self, id: ExecutionId, fx: &mut Effects, pipelines: &Pipelines) {
        self.all[id].explain();
        self.list_steps(id, fx, pipelines);
    }

    pub(super) fn list_steps(&mut self, id: ExecutionId, fx: &mut Effects, pipelines: &Pipelines) {
        if let Some(listing) = self.all[id].begin_steps(fx.now()) {
            self.ask_for_steps(id, listing, None, fx, pipelines);
        }
    }

    fn ask_for_steps(
        &self,
        id: ExecutionId,
        listing: u32,
        next_token: Option<String>,
        fx: &mut Effects,
        pipelines: &Pipelines,
    ) {
        let tracked = &self.all[id];
        let call = Call::ListSteps { arn: tracked.arn().to_owned(), next_token };
        pipelines.call(self.urgency(id), tracked.pipeline(), call, Purpose::Steps { execution: id, listing }, fx);
    }

    /// Takes in a page of steps.
    pub fn steps_answered(
        &mut self,
        id: ExecutionId,
        listing: u32,
        result: Result<CallReply, CallError>,
        fx: &mut Effects,
        pipelines: &Pipelines,
    ) {
        let tracked = &mut self.all[id];
        if !tracked.is_newest_listing(listing) {
            return;
        }
        match result {
            Ok(CallReply::Steps { page, next_token }) => {
                let describe = tracked.steps_came(page, next_token.is_none(), fx.now());
                if next_token.is_some() {
                    self.ask_for_steps(id, listing, next_token, fx, pipelines);
                    return;
                }
                if describe {
                    self.describe(id, fx, pipelines);
                }
            }
            Ok(_) => {
                tracked.steps_came(Vec::new(), true, fx.now());
            }
            Err(error) => match tracked.steps_failed(&error, fx.now()) {
                StepsFailed::NoMatter => {}
                StepsFailed::AgainAt(at) => fx.wake(at, Timer::Execution(id)),
                StepsFailed::WithoutThem => {
                    fx.warn(format!("the steps of {} cannot be listed: {}", tracked.arn(), error.message));
                }
            },
        }
        self.explain(id, fx);
        if let Some(again_at) = self.all[id].rests(fx.now()).filter(|_| self.all[id].end() == EndStage::Seen) {
            self.look_at(id, again_at, fx);
        }
        let tracked = &self.all[id];
        // Those of an end may tell whose it is.
        let whose = if tracked.is_live() { Whose::Followers } else { Whose::Key };
        fx.changed(Change::Execution { id, ended: false, whose });
    }

    /// Tells how it ended, once that is confirmed.
    pub(super) fn explain(&self, id: ExecutionId, fx: &mut Effects) {
        let (tracked, aws) = (&self.all[id], fx.aws());
        if let Some(ended) = tracked.explained(|at| aws.ours(at)) {
            fx.note(Note::ExecutionExplained { arn: tracked.arn().to_owned(), ended });
        }
    }

    /// Nobody waits for the steps of an ended execution any more.
    pub fn drop_steps(&mut self, id: ExecutionId) {
        self.all[id].drop_steps();
    }
}
