//! How executions become known: started, found by their marker, or named by a task.

use crate::{
    pipelines::{Execution, Status},
    workflow::{
        effects::{Change, Effects, Whose},
        execution::TrackedExecution,
        identity::{Marker, WhenOver},
        notes::Note,
        pipeline::Pipelines,
        run::RunKnown,
        shown::Shown,
        slab::{ExecutionId, PipelineId},
    },
};

use super::{Executions, Starter};

impl Executions {
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
                self.bring_home(id, pipeline, &marker);
                fx.changed(Change::Execution { id, ended: false, whose: Whose::Key });
                fx.changed(Change::Adopted(id, Box::new(marker)));
            }
            return;
        }
        let Some(marker) = marker else { return };
        let id = self.track(Starter { key: marker.key, attempt: marker.attempt, pipeline }, execution, fx);
        self.all[id].learn(&marker);
        self.all[id].learn_args(&marker);
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
    fn bring_home(&mut self, id: ExecutionId, home: PipelineId, marker: &Marker) {
        let tracked = &mut self.all[id];
        let (old, pipeline) = (tracked.key(), tracked.pipeline());
        tracked.is_of(home);
        tracked.learn(marker);
        tracked.learn_args(marker);
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
        let live = execution.status.is_live();
        execution.created.get_or_insert(fx.server_now());
        let shown = Shown::from(execution);
        let arn = shown.arn.clone();
        let id = self.all.push(|_| TrackedExecution::new(key, attempt, pipeline, shown, fx.now()));
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
            self.bring_home(id, starter.pipeline, marker);
            if self.all[id].is_live() {
                fx.note(Note::ExecutionAdopted { arn: arn.to_owned() });
            }
        }
        self.all[id].was_started(marker.map_or(WhenOver::Stop, |marker| marker.when_over), fx.now());
        (id, known.is_none())
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
