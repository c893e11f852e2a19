//! Poll rounds: what is due is looked at together with what others of the process follow ([`crate::rounds`]), or described.

use crate::{
    pipelines::CallErrorKind,
    rounds::{LookEnd, Seen, Site, Wanted},
    workflow::{
        effects::{Effects, Timer},
        pipeline::Pipelines,
        run::RunKnown,
        slab::{ExecutionId, PipelineId},
        trouble::{CallSite, Disposition, disposition},
    },
};

use super::Executions;

impl Executions {
    /// Has what is due of a pipeline looked at.
    pub fn poll(&mut self, pipeline: PipelineId, fx: &mut Effects, pipelines: &mut Pipelines) {
        let now = fx.now();
        if self.polls(pipeline).is_looking() {
            return;
        }
        let due = self.polls(pipeline).due_by(now);
        if due.is_empty() {
            self.wake_for_next(pipeline, fx);
            return;
        }
        let list_denied = pipelines[pipeline].listing().is_denied_now(now);
        match pipelines.spelling(pipeline, fx) {
            Some(spelling) if !list_denied => {
                let site = Site { client: pipelines[pipeline].client().clone(), pipeline: spelling };
                let wanted = due.iter().map(|id| self.wanted(*id, true, fx)).collect();
                self.polls(pipeline).begin_look(due);
                fx.look(site, wanted);
            }
            _ => {
                for id in due {
                    self.describe(id, fx, pipelines);
                }
                self.wake_for_next(pipeline, fx);
            }
        }
    }

    /// Start returned this one. Who keeps the rounds hears of it, for whoever lists next shows it, too. Its token may have
    /// found an older execution: a describe tells at once. In a crowd, where each would be a describe, it is looked at with
    /// the others in its time.
    pub fn first_look(&mut self, id: ExecutionId, fx: &mut Effects, pipelines: &mut Pipelines) {
        let pipeline = self.all[id].pipeline();
        if let Some(spelling) = pipelines.spelling(pipeline, fx) {
            let site = Site { client: pipelines[pipeline].client().clone(), pipeline: spelling };
            fx.look(site, vec![self.wanted(id, false, fx)]);
        }
        if !self.is_crowd(fx) || pipelines[pipeline].listing().is_denied_now(fx.now()) {
            self.describe(id, fx, pipelines);
        } else if !self.is_looked_at(id) {
            self.look_later(id, fx);
        }
    }

    fn wanted(&self, id: ExecutionId, due: bool, fx: &Effects) -> Wanted {
        Wanted {
            arn: self.all[id].execution().arn.clone(),
            created: self.all[id].execution().created.unwrap_or_else(|| fx.server_now()),
            due,
        }
    }

    fn wake_for_next(&mut self, pipeline: PipelineId, fx: &mut Effects) {
        if let Some(at) = self.polls(pipeline).next_due() {
            fx.wake(at, Timer::Poll(pipeline));
        }
    }

    /// Takes in what a list shows of this workflow's executions, and the end of its own look.
    pub fn seen(
        &mut self,
        pipeline: PipelineId,
        seen: Seen,
        run: &RunKnown,
        fx: &mut Effects,
        pipelines: &mut Pipelines,
    ) {
        self.of_others = seen.of_others;
        for execution in seen.shown {
            if let Some(id) = self.named(&execution.arn) {
                self.polls(pipeline).was_shown(id);
            }
            self.adopt(pipeline, execution, run, fx, pipelines);
        }
        let Some(end) = seen.over else { return };
        let rest = self.polls(pipeline).end_look();
        match end {
            LookEnd::Failed(error) if disposition(error.kind, CallSite::Round) != Disposition::Without => {
                for id in rest {
                    self.look_later(id, fx);
                    self.in_trouble(id, &error, fx);
                }
            }
            LookEnd::Describe | LookEnd::Failed(_) => {
                if let LookEnd::Failed(error) = end
                    && error.kind == CallErrorKind::Denied
                {
                    pipelines.round_denied(pipeline, fx.now());
                }
                for id in rest {
                    if !self.polls(pipeline).is_due(id) {
                        self.describe(id, fx, pipelines);
                    }
                }
            }
        }
        self.poll(pipeline, fx, pipelines);
    }
}
