//! Poll rounds: what is due is looked at by a describe each, or by a list for many.

use crate::{
    pace::Urgency,
    pipelines::{Call, CallError, CallErrorKind, CallReply, Time},
    workflow::{
        effects::{Effects, Purpose, Timer},
        pipeline::Pipelines,
        poll_plan::{self, Plan},
        polls::Round,
        run::RunKnown,
        slab::PipelineId,
        trouble::{CallSite, Disposition, disposition},
    },
};

use super::Executions;

impl Executions {
    /// One poll round of a pipeline: what is due is refreshed by the cheaper of two ways.
    pub fn poll(&mut self, pipeline: PipelineId, fx: &mut Effects, pipelines: &mut Pipelines) {
        let now = fx.now();
        let polls = self.polls(pipeline);
        if polls.has_round() {
            return;
        }
        let due_now = polls.due_by(now);
        if due_now.is_empty() {
            self.wake_for_next(pipeline, fx);
            return;
        }
        let (live, list_denied) = (polls.live_count(), pipelines[pipeline].listing().is_denied_now(now));
        // What is due soon comes along in a list: else executions that started one after the other never share one.
        let soon = polls.due_by(now.plus(fx.settings().poll_min));
        let shares = poll_plan::plan(soon.len(), live, now) != Plan::DescribeEach && !list_denied;
        let due = if shares { soon } else { due_now.clone() };
        let oldest = earliest(due.iter().map(|id| self.all[*id].execution().created), now);
        let spelling = pipelines.spelling(pipeline, fx);
        match (poll_plan::plan(due.len(), live, oldest), spelling) {
            (Plan::List { created_after, max_pages }, Some(spelling)) if !list_denied => {
                // What is not due yet keeps its time: should the list not show it, nothing is lost.
                for id in &due_now {
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
        pipelines.call(Urgency::Poll, pipeline, call, Purpose::Round(pipeline), fx);
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
            if !self.polls(pipeline).is_due(id) {
                self.describe(id, fx, pipelines);
            }
        }
        self.poll(pipeline, fx, pipelines);
    }
}

/// The earliest of some times.
fn earliest(times: impl Iterator<Item = Option<Time>>, or: Time) -> Time {
    times.flatten().min().unwrap_or(or)
}
