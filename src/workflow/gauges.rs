//! How things stand, for metrics and for tests of memory: what is true now, however it came to be so.

use crate::pipelines::Time;

use super::{execution::EndStage, nodes::Nodes, world::World};

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
    /// The least recent look at a live execution.
    pub oldest_poll: Option<Time>,
}

impl Gauges {
    /// Reads them.
    pub fn of(nodes: &Nodes, w: &World) -> Self {
        let live = || w.executions.live().map(|id| &w.executions[id]);
        let stopping = live().filter(|tracked| tracked.is_stopping()).count();
        let head = w.queue.first();
        Self {
            executing: live().count() - stopping,
            stopping,
            open_nodes: w.tally.open(),
            queued: w.queue.len(),
            queue_head_since: head.map(|node| nodes.attempt(node).asked_since()),
            // One that was never looked at is as old as what we know.
            oldest_poll: live().map(|t| t.seen().or(t.started_at()).unwrap_or(w.fx.began())).min(),
        }
    }
}

/// What is held for ended nodes besides their answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Tasks of nodes that have ended.
    pub tasks: usize,
    /// Steps of executions that have ended and that no node waits for, and what was asked about their jobs.
    pub steps: usize,
}

impl Held {
    /// Counts it.
    pub fn of(nodes: &Nodes, w: &World) -> Self {
        let told = w.executions.iter().filter(|(id, tracked)| {
            // What is about to be asked for again goes with the answer.
            let asks = tracked.is_described() || tracked.end() == EndStage::Listing;
            !tracked.is_live() && !asks && !nodes.is_followed(*id, w)
        });
        Self {
            tasks: nodes.attempts().filter(|attempt| attempt.holds_task_after_end()).count(),
            steps: told.map(|(_, tracked)| tracked.holds()).sum(),
        }
    }
}
