//! Looking at executions: each in its time, by a describe or by a list for many.

use std::time::Duration;

use crate::{
    pipelines::{Call, CallError, CallErrorKind, CallReply, Time},
    workflow::{
        effects::{Effects, Purpose, Timer},
        execution::Absence,
        pace::Priority,
        pipeline::Pipelines,
        poll_plan::{self, Plan},
        polls::Round,
        run::RunKnown,
        slab::{ExecutionId, PipelineId},
        trouble::{CallSite, Disposition, disposition},
    },
};

use super::{Executions, earliest};

/// An execution that has just started and is not found is looked at again after this long.
const NOT_THERE_YET: Duration = Duration::from_secs(2);
/// One that is missing, after this long.
const MISSING_AGAIN: Duration = Duration::from_secs(30);

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
    fn rest(&mut self, id: ExecutionId, wait: Duration, fx: &mut Effects) {
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
            pipelines.call(Priority::Poll, pipeline, call, Purpose::Describe(id), fx);
        }
    }

    /// Takes in what a describe told.
    pub fn describe_answered(
        &mut self,
        id: ExecutionId,
        result: Result<CallReply, CallError>,
        fx: &mut Effects,
        pipelines: &mut Pipelines,
    ) {
        self.all[id].describe_came_back();
        match result {
            // Long on its way, and meanwhile another look has shown more: how it is now, only a new one tells.
            Ok(CallReply::Execution(shown)) if self.all[id].is_outdated(fx.left(), &shown.status) => {
                self.describe(id, fx, pipelines);
            }
            Ok(CallReply::Execution(shown)) => self.observe(id, shown, true, fx, pipelines),
            Ok(_) => self.look_later(id, fx),
            Err(error) if disposition(error.kind, CallSite::Poll) == Disposition::Missing => {
                self.not_found(id, &error, fx, pipelines);
            }
            Err(error) => {
                let wait = self.until_the_next_look(id, fx);
                self.rest(id, wait, fx);
                self.in_trouble(id, &error, fx);
            }
        }
    }

    fn not_found(&mut self, id: ExecutionId, error: &CallError, fx: &mut Effects, pipelines: &mut Pipelines) {
        if self.all[id].gone().is_some() {
            return;
        }
        let pipeline = self.all[id].pipeline();
        let absence = self.all[id].not_found(error, fx.now());
        if absence == Absence::TooEarly {
            self.rest(id, NOT_THERE_YET, fx);
            return;
        }
        self.rest(id, MISSING_AGAIN, fx);
        self.in_trouble(id, error, fx);
        match absence {
            // Nobody may list: the answers alone have to do.
            Absence::Listing { long: true } if pipelines[pipeline].listing().is_done_without() => self.is_gone(id, fx),
            Absence::Listing { .. } => pipelines.list_anew(pipeline, fx),
            Absence::Again | Absence::TooEarly => {}
        }
    }

    /// One poll round of a pipeline: what is due is refreshed by the cheaper of two ways.
    pub fn poll(&mut self, pipeline: PipelineId, fx: &mut Effects, pipelines: &mut Pipelines) {
        let now = fx.now();
        let polls = self.polls(pipeline);
        if polls.has_round() {
            return;
        }
        let mut due = polls.due_by(now);
        if due.is_empty() {
            self.wake_for_next(pipeline, fx);
            return;
        }
        let (live, list_denied) = (polls.live_count(), pipelines[pipeline].listing().is_denied_now(now));
        // What is due soon comes along in a list: else executions that started one after the other never share one.
        let soon = polls.due_by(now.plus(fx.settings().poll_min));
        if poll_plan::plan(soon.len(), live, now) != Plan::DescribeEach && !list_denied {
            due = soon;
        }
        let oldest = earliest(due.iter().map(|id| self.all[*id].execution().created), now);
        let spelling = pipelines.spelling(pipeline, fx);
        match (poll_plan::plan(due.len(), live, oldest), spelling) {
            (Plan::List { created_after, max_pages }, Some(spelling)) if !list_denied => {
                for id in &due {
                    self.polls(pipeline).look_no_more(*id);
                }
                let round = Round { remaining: due.into_iter().collect(), pages: 0, max_pages, created_after };
                self.list_round(pipeline, round, spelling, None, fx, pipelines);
            }
            _ => {
                for id in due {
                    self.describe(id, fx, pipelines);
                }
                self.wake_for_next(pipeline, fx);
            }
        }
    }

    fn wake_for_next(&mut self, pipeline: PipelineId, fx: &mut Effects) {
        if let Some(at) = self.polls(pipeline).next_due() {
            fx.wake(at, Timer::Poll(pipeline));
        }
    }

    fn list_round(
        &mut self,
        pipeline: PipelineId,
        round: Round,
        spelling: String,
        next_token: Option<String>,
        fx: &mut Effects,
        pipelines: &Pipelines,
    ) {
        let created_after = Some(round.created_after);
        self.polls(pipeline).begin_round(round);
        let call = Call::ListExecutions { pipeline: spelling, created_after, next_token };
        pipelines.call(Priority::Poll, pipeline, call, Purpose::Round(pipeline), fx);
    }

    /// Takes in a page of a poll round.
    pub fn round_answered(
        &mut self,
        pipeline: PipelineId,
        result: Result<CallReply, CallError>,
        run: &RunKnown,
        fx: &mut Effects,
        pipelines: &mut Pipelines,
    ) {
        let Some(mut round) = self.polls(pipeline).take_round() else { return };
        match result {
            Ok(CallReply::Executions { page, next_token }) => {
                round.pages += 1;
                for execution in page {
                    if let Some(id) = self.named(&execution.arn) {
                        round.remaining.remove(&id);
                    }
                    self.adopt(pipeline, execution, run, fx, pipelines);
                }
                let more = !round.remaining.is_empty() && round.pages < round.max_pages;
                if let (Some(token), true, Some(spelling)) = (next_token, more, pipelines.spelling(pipeline, fx)) {
                    self.list_round(pipeline, round, spelling, Some(token), fx, pipelines);
                    return;
                }
            }
            Ok(_) => {}
            Err(error) if disposition(error.kind, CallSite::Round) == Disposition::Without => {
                if error.kind == CallErrorKind::Denied {
                    pipelines.round_denied(pipeline, fx.now());
                }
            }
            Err(error) => {
                for id in std::mem::take(&mut round.remaining) {
                    self.look_later(id, fx);
                    self.in_trouble(id, &error, fx);
                }
            }
        }
        for id in round.remaining {
            self.describe(id, fx, pipelines);
        }
        self.poll(pipeline, fx, pipelines);
    }
}
