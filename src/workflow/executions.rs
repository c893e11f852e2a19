//! All executions of the workflow: found and kept, looked at in their time, stopped when that is wanted.

use std::{collections::HashMap, ops::Index, sync::Arc, time::Duration};

use crate::{
    pipelines::{Execution, Status, Time},
    text::sentence::shorten,
};

use super::{
    effects::{Change, Effects, Whose},
    execution::TrackedExecution,
    identity::{Key, Marker, WhenOver, arn_key},
    notes::Note,
    pipeline::{Missing, Pipelines},
    poll_plan,
    polls::Polls,
    report,
    run::RunKnown,
    slab::{AttemptId, ExecutionId, Id, PipelineId, Slab},
    trouble::{CallSite, Disposition, disposition},
};

mod polling;
mod steps;
mod stops;

/// Every execution that the workflow has to do with.
#[derive(Default)]
pub struct Executions {
    all: Slab<ExecutionId, TrackedExecution>,
    by_arn: HashMap<Arc<str>, ExecutionId>,
    by_key: HashMap<Key, Vec<ExecutionId>>,
    /// By pipeline.
    polls: Vec<Polls>,
}

impl Index<ExecutionId> for Executions {
    type Output = TrackedExecution;

    fn index(&self, id: ExecutionId) -> &TrackedExecution {
        &self.all[id]
    }
}

/// Which attempt of which node starts through which pipeline.
#[derive(Clone, Copy, Debug)]
pub struct Starter {
    pub key: Key,
    pub attempt: u32,
    pub pipeline: PipelineId,
}

impl Executions {
    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (ExecutionId, &TrackedExecution)> {
        self.all.iter()
    }

    /// The execution with this ARN.
    pub fn named(&self, arn: &str) -> Option<ExecutionId> {
        self.by_arn.get(&arn_key(arn)).copied()
    }

    /// Those that were started under a key, in the order in which they became known.
    pub fn of_key(&self, key: &Key) -> &[ExecutionId] {
        self.by_key.get(key).map_or(&[], Vec::as_slice)
    }

    /// The digest of the arguments that an attempt was started with, as the newest marker tells.
    pub fn args_of(&self, key: &Key, attempt: u32) -> Option<&str> {
        let of_attempt = self.of_key(key).iter().rev().map(|id| &self.all[*id]).filter(|t| t.attempt() == attempt);
        of_attempt.filter_map(TrackedExecution::args).next()
    }

    /// Whether a list contradicts what is known of an execution of this key: it may have been revived.
    pub fn are_doubted(&self, key: &Key) -> bool {
        self.of_key(key).iter().any(|id| self.all[*id].is_doubted())
    }

    /// All that run.
    pub fn live(&self) -> impl Iterator<Item = ExecutionId> {
        self.polls.iter().flat_map(Polls::live)
    }

    /// How many run.
    pub fn live_count(&self) -> usize {
        self.polls.iter().map(Polls::live_count).sum()
    }

    /// How many of the workflow's own run of a pipeline.
    pub fn own_count(&self, pipeline: PipelineId) -> usize {
        self.polls.get(pipeline.place()).map_or(0, Polls::own_count)
    }

    fn polls(&mut self, pipeline: PipelineId) -> &mut Polls {
        if self.polls.len() <= pipeline.place() {
            self.polls.resize_with(pipeline.place() + 1, Polls::default);
        }
        &mut self.polls[pipeline.place()]
    }

    /// Takes up an execution that carries this workflow's marker; one that is known is refreshed.
    pub fn adopt(
        &mut self,
        pipeline: PipelineId,
        execution: Execution,
        run: &RunKnown,
        fx: &mut Effects,
        pipelines: &mut Pipelines,
    ) {
        let marker = execution.description.as_deref().and_then(Marker::parse).filter(|marker| run.is_ours(marker));
        if let Some(id) = self.named(&execution.arn) {
            let strange = self.all[id].is_foreign();
            self.observe(id, execution, false, fx, pipelines);
            if let Some(marker) = marker.filter(|_| strange) {
                self.bring_home(id, &marker, fx);
                fx.changed(Change::Execution { id, ended: false, whose: Whose::Key });
                fx.changed(Change::Adopted(id, Box::new(marker)));
            }
            return;
        }
        let Some(marker) = marker else { return };
        if execution.status.is_live() {
            fx.note(Note::ExecutionAdopted { arn: execution.arn.clone() });
        }
        let id = self.track(Starter { key: marker.key, attempt: marker.attempt, pipeline }, execution, fx);
        self.all[id].learn(&marker);
        self.all[id].learn_args(&marker.args);
        fx.changed(Change::Adopted(id, Box::new(marker)));
    }

    /// Makes an execution known that is named by a task and carries whatever marker: only a list tells.
    pub fn track_foreign(&mut self, namer: Starter, arn: &str, fx: &mut Effects) -> ExecutionId {
        if let Some(id) = self.named(arn) {
            return id;
        }
        let id = self.track(namer, just_started(arn), fx);
        self.all[id].is_named_only();
        self.polls(namer.pipeline).lives(id, true);
        id
    }

    /// A foreign execution turns out to be this workflow's: from now on it counts for the node that started it.
    fn bring_home(&mut self, id: ExecutionId, marker: &Marker, fx: &mut Effects) {
        let tracked = &mut self.all[id];
        let (old, pipeline) = (tracked.key(), tracked.pipeline());
        tracked.learn(marker);
        if tracked.is_live() {
            fx.note(Note::ExecutionAdopted { arn: tracked.arn().to_owned() });
        }
        if self.polls(pipeline).has(id) {
            self.polls(pipeline).lives(id, false);
        }
        if let Some(of_key) = self.by_key.get_mut(&old) {
            of_key.retain(|known| *known != id);
        }
        self.by_key.entry(marker.key).or_default().push(id);
    }

    /// Makes an execution known under its key.
    fn track(&mut self, starter: Starter, mut execution: Execution, fx: &mut Effects) -> ExecutionId {
        let Starter { key, attempt, pipeline } = starter;
        let arn = arn_key(&execution.arn);
        let live = execution.status.is_live();
        execution.created.get_or_insert(fx.server_now());
        let id = self.all.push(|_| TrackedExecution::new(key, attempt, pipeline, execution, fx.now()));
        self.by_arn.insert(arn, id);
        self.by_key.entry(key).or_default().push(id);
        if live {
            self.polls(pipeline).lives(id, false);
            self.look_at(id, fx.now(), fx);
        }
        id
    }

    /// Takes in that Start returned this ARN; whether the execution is new.
    pub fn started(
        &mut self,
        starter: Starter,
        arn: &str,
        marker: Option<&Marker>,
        fx: &mut Effects,
    ) -> (ExecutionId, bool) {
        let known = self.named(arn);
        let id = known.unwrap_or_else(|| self.track(starter, just_started(arn), fx));
        if known.is_none() {
            fx.note(Note::ExecutionStarted { arn: arn.to_owned() });
        } else if let Some(marker) = marker.filter(|_| self.all[id].is_foreign()) {
            self.bring_home(id, marker, fx);
        }
        self.all[id].was_started(marker.map_or(WhenOver::Stop, |marker| marker.when_over), fx.now());
        (id, known.is_none())
    }

    /// A node is attached to it; `stops`: and stops it.
    pub fn attach(&mut self, id: ExecutionId, node: AttemptId, stops: bool) {
        self.all[id].attach(node, stops);
    }

    /// An execution is asked after, and stopped, by the client of the newest attempt that follows it: a role that was
    /// changed between two attempts was changed for a reason.
    pub fn hand_over(&mut self, id: ExecutionId, to: PipelineId, fx: &mut Effects) {
        let from = self.all[id].pipeline();
        if from == to {
            return;
        }
        let due = self.polls(from).look_no_more(id);
        let was_live = self.polls(from).leaves(id);
        self.all[id].hand_over(to);
        let foreign = self.all[id].is_foreign();
        if was_live {
            self.polls(to).lives(id, foreign);
        }
        if let Some(at) = due {
            self.look_at(id, at, fx);
        }
    }

    /// A node wants to be sure that it has ended before it starts another.
    pub fn doubt_end(&mut self, id: ExecutionId) {
        self.all[id].doubt_end();
    }

    /// Takes in what a describe (`described`) or a list says of a known execution.
    fn observe(
        &mut self,
        id: ExecutionId,
        shown: Execution,
        described: bool,
        fx: &mut Effects,
        pipelines: &mut Pipelines,
    ) {
        use super::execution::{EndStage, Observed};
        let (first, was_live, turned, stranger) = match self.all[id].observe(shown, described, fx.now()) {
            Observed::Outdated => {
                self.doubt(id, fx, pipelines);
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
                let Execution { status, created, modified, .. } = self.all[id].execution();
                let ran = modified.zip(*created).map(|(end, start)| end.since(start));
                fx.note(Note::ExecutionFinished { arn, status: status.clone(), ran });
                self.polls(pipeline).look_no_more(id);
                self.polls(pipeline).leaves(id);
            }
            if described && self.all[id].end() == EndStage::Seen {
                self.list_end_steps(id, fx, pipelines);
            }
        }
        let whose = if first || was_live != live || !live { Whose::Key } else { Whose::Followers };
        fx.changed(Change::Execution { id, ended: was_live && !live, whose });
    }

    /// A list shows an earlier moment than what is known.
    fn doubt(&mut self, id: ExecutionId, fx: &mut Effects, pipelines: &mut Pipelines) {
        match self.all[id].doubt(super::pipeline::LISTS_LAG, fx.now(), fx.server_now()) {
            Some(true) => self.describe(id, fx, pipelines),
            Some(false) => self.look_later(id, fx),
            None => {}
        }
    }

    /// A look failed: the execution goes on, its node says so.
    fn in_trouble(&mut self, id: ExecutionId, error: &crate::pipelines::CallError, fx: &mut Effects) {
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

    fn until_the_next_look(&self, id: ExecutionId, fx: &Effects) -> Duration {
        let (tracked, settings) = (&self.all[id], fx.settings());
        if tracked.stop_is_wanted() {
            return settings.poll_min;
        }
        let age = fx.server_now().since(tracked.execution().created.unwrap_or(fx.now()));
        poll_plan::interval(age, settings.poll_min, settings.poll_max)
    }
}

/// What is known of an execution by its ARN alone.
fn just_started(arn: &str) -> Execution {
    Execution {
        arn: arn.to_owned(),
        status: Status::Executing,
        created: None,
        modified: None,
        description: None,
        failure_reason: None,
        started_by: None,
    }
}

/// The earliest of some times.
fn earliest(times: impl Iterator<Item = Option<Time>>, or: Time) -> Time {
    times.flatten().min().unwrap_or(or)
}
