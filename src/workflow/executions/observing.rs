//! What looks at executions show, and what follows.

use std::time::Duration;

use crate::{
    pipelines::{CallError, CallReply, Execution},
    text::sentence::shorten,
    workflow::{
        effects::{Change, Effects, Whose},
        execution::{Absence, EndStage, Observed},
        notes::Note,
        pipeline::{LISTS_LAG, Missing, Pipelines},
        report,
        shown::Shown,
        slab::{ExecutionId, PipelineId},
        trouble::{CallSite, Disposition, disposition},
    },
};

use super::Executions;

/// An execution that has just started and is not found is looked at again after this long.
const NOT_THERE_YET: Duration = Duration::from_secs(2);
/// One that is missing, after this long.
const MISSING_AGAIN: Duration = Duration::from_secs(30);

impl Executions {
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

    /// Takes in what a describe (`described`) or a list says of a known execution.
    pub(super) fn observe(
        &mut self,
        id: ExecutionId,
        shown: Execution,
        described: bool,
        fx: &mut Effects,
        pipelines: &mut Pipelines,
    ) {
        let (first, was_live, turned, stranger) = match self.all[id].observe(shown, described, fx.now(), fx.left()) {
            Observed::Outdated => {
                self.doubt(id, fx, pipelines);
                return;
            }
            Observed::TooSoon(again_at) => {
                self.list_steps(id, fx, pipelines);
                self.rest(id, again_at.since(fx.now()), fx);
                // Whoever waits for this look is told how it is.
                fx.changed(Change::Execution { id, ended: false, whose: Whose::Followers });
                return;
            }
            Observed::News { first, was_live, turned, stranger } => (first, was_live, turned, stranger),
        };
        let tracked = &self.all[id];
        let (arn, live, pipeline) = (tracked.arn().to_owned(), tracked.is_live(), tracked.pipeline());
        if let Some(who) = stranger {
            fx.warn(format!("{arn} carries this workflow's marker, but {who} started it, not this plugin"));
        }
        if turned {
            fx.note(Note::ExecutionChanged { arn: arn.clone(), status: tracked.status().clone() });
        }
        if live {
            let foreign = tracked.is_foreign();
            self.polls(pipeline).lives(id, foreign);
            self.look_later(id, fx);
            self.list_running_steps(id, fx, pipelines);
        } else {
            if was_live {
                let Shown { status, modified, .. } = self.all[id].execution();
                let ran = modified.zip(self.all[id].began()).map(|(end, start)| end.since(start));
                fx.note(Note::ExecutionFinished { arn, status: status.clone(), ran });
                self.polls(pipeline).look_no_more(id);
                self.polls(pipeline).leaves(id);
            }
            if described && self.all[id].end() == EndStage::Seen {
                if self.all[id].confirms_end(fx.now()) {
                    self.explain(id, fx);
                } else {
                    self.list_end_steps(id, fx, pipelines);
                }
            }
        }
        let whose = if first || was_live != live || !live { Whose::Key } else { Whose::Followers };
        fx.changed(Change::Execution { id, ended: was_live && !live, whose });
    }

    /// A list shows an earlier moment than what is known.
    fn doubt(&mut self, id: ExecutionId, fx: &mut Effects, pipelines: &mut Pipelines) {
        match self.all[id].doubt(LISTS_LAG, fx.now(), fx.server_now()) {
            Some(true) => self.describe(id, fx, pipelines),
            Some(false) => self.look_later(id, fx),
            None => {}
        }
    }

    /// A look failed: the execution goes on, its node says so.
    pub(super) fn in_trouble(&mut self, id: ExecutionId, error: &CallError, fx: &mut Effects) {
        let denied = disposition(error.kind, CallSite::Poll) == Disposition::Mend;
        let text = format!("AWS cannot be asked: {}", report::fit(&shorten(&error.message, 120), 120));
        self.all[id].in_trouble(&text, denied, fx.left());
        fx.changed(Change::Execution { id, ended: false, whose: Whose::Followers });
    }

    /// What a listing proves of the executions that are not found.
    pub fn settle_missing(&mut self, pipeline: PipelineId, missing: Missing, fx: &mut Effects) {
        let all = missing == Missing::All;
        let of_pipeline = self.all.iter().filter(|(_, t)| t.pipeline() == pipeline);
        let gone: Vec<_> = of_pipeline.filter(|(_, t)| t.is_proven_gone(all, fx.now())).map(|(id, _)| id).collect();
        for id in gone {
            self.is_gone(id, fx);
        }
    }

    fn is_gone(&mut self, id: ExecutionId, fx: &mut Effects) {
        self.all[id].is_gone();
        let (arn, pipeline) = (self.all[id].arn().to_owned(), self.all[id].pipeline());
        fx.note(Note::ExecutionGone { arn });
        self.polls(pipeline).look_no_more(id);
        self.polls(pipeline).leaves(id);
        fx.changed(Change::Execution { id, ended: false, whose: Whose::Key });
    }
}
