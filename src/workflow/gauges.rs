//! Views of the machine's state, for metrics and logs: what is true now, however it came to be so.

use std::{sync::Arc, time::Duration};

use crate::pipelines::{Execution, Status, Time};

use super::{
    Command, Machine, Note,
    identity::{self, Key},
    node::EndStage,
};

/// How things stand in a workflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    pub executing: usize,
    pub stopping: usize,
    /// Nodes that have not ended.
    pub open_nodes: usize,
    /// Nodes in the start queue.
    pub queued: usize,
    /// When the first of them was asked for.
    pub queue_head_since: Option<Time>,
    /// Calls that wait for the pace.
    pub calls_waiting: usize,
    /// The least recent look at a live execution.
    pub oldest_poll: Option<Time>,
}

/// An execution that has ended and is explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub status: Status,
    /// How long it ran, by SageMaker's clock.
    pub ran: Option<Duration>,
    /// When it ended, by our clock.
    pub at: Option<Time>,
    /// Kind and status of its steps.
    pub steps: Vec<(Option<String>, String)>,
}

impl Machine {
    /// How things stand now.
    pub fn gauges(&self) -> Gauges {
        let live = || self.pipelines.iter().flat_map(|p| &p.live).filter_map(|arn| self.executions.get(arn));
        let stopping = live().filter(|t| t.execution.status == Status::Stopping).count();
        let head = self.queue.waiters().next();
        let asked = head.and_then(|w| self.families.get(&w.key)?.attempts.get(&w.attempt));
        Gauges {
            executing: live().count() - stopping,
            stopping,
            open_nodes: self.open_nodes,
            queued: self.queue.waiters().count(),
            queue_head_since: asked.map(|attempt| attempt.desk.asked_since),
            calls_waiting: self.outbox.len(),
            // One that was never looked at is as old as what we know.
            oldest_poll: live().filter_map(|t| t.seen.or(t.started_at).or(self.first_event)).min(),
        }
    }

    /// Which node an execution belongs to: its key, and the attempt it was started for.
    pub fn node_of(&self, arn: &str) -> Option<(Key, u32)> {
        self.executions.get(&identity::arn_key(arn)).map(|tracked| (tracked.key, tracked.attempt))
    }

    /// Notes an end when it is confirmed, before its steps are dropped.
    pub(super) fn tell_explained(&mut self, arn: &Arc<str>) {
        let Some(tracked) = self.executions.get(arn).filter(|tracked| tracked.end == EndStage::Known) else { return };
        let Execution { status, created, modified, .. } = &tracked.execution;
        let ended = Ended {
            status: status.clone(),
            ran: modified.zip(*created).map(|(end, start)| end.since(start)),
            at: modified.map(|end| self.aws_clock.ours(end)),
            steps: tracked.steps.iter().flatten().map(|step| (step.kind.clone(), step.status.clone())).collect(),
        };
        self.out.push(Command::Note(Note::ExecutionExplained { arn: self.spelled(arn), ended }));
    }

    /// Notes that a running execution is being stopped, or runs again.
    pub(super) fn tell_changed(&mut self, arn: &Arc<str>) {
        let Some(tracked) = self.executions.get(arn) else { return };
        let status = tracked.execution.status.clone();
        self.out.push(Command::Note(Note::ExecutionChanged { arn: self.spelled(arn), status }));
    }

    /// Notes that an execution was deleted while it ran.
    pub(super) fn tell_gone(&mut self, arn: &Arc<str>) {
        self.out.push(Command::Note(Note::ExecutionGone { arn: self.spelled(arn) }));
    }
}
