//! All executions of the workflow: found and kept, looked at in their time, stopped when that is wanted.

use std::ops::Index;

use foldhash::HashMap;

use crate::pipelines::{Arn, Time};

use super::{
    effects::Effects,
    execution::TrackedExecution,
    key::Key,
    polls::Polls,
    slab::{AttemptId, ExecutionId, Id, PipelineId, Slab},
};

mod aftermath;
mod finding;
mod looking;
mod observing;
mod polling;
mod resuming;
mod steps;
mod stops;

/// Every execution that the workflow has to do with.
#[derive(Default)]
pub struct Executions {
    all: Slab<ExecutionId, TrackedExecution>,
    by_arn: HashMap<Arn, ExecutionId>,
    by_key: HashMap<Key, Vec<ExecutionId>>,
    /// By pipeline.
    polls: Vec<Polls>,
    /// How many other workflows of the process follow, as a look last told.
    of_others: usize,
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
        self.by_arn.get(&Arn::from(arn)).copied()
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

    /// Whether so many run in the process that there are no calls for each.
    pub fn is_crowd(&self, fx: &Effects) -> bool {
        self.live_count() + self.of_others > fx.settings().crowd
    }

    /// How many of the workflow's own run of a pipeline.
    pub fn own_count(&self, pipeline: PipelineId) -> usize {
        self.polls.get(pipeline.place()).map_or(0, Polls::own_count)
    }

    /// Whether a look at it is under way.
    pub fn is_looked_at(&self, id: ExecutionId) -> bool {
        self.polls.get(self.all[id].pipeline().place()).is_some_and(|polls| polls.looks_at(id))
    }

    fn polls(&mut self, pipeline: PipelineId) -> &mut Polls {
        if self.polls.len() <= pipeline.place() {
            self.polls.resize_with(pipeline.place() + 1, Polls::default);
        }
        &mut self.polls[pipeline.place()]
    }

    /// A node is attached to it; `stops`: and stops it.
    pub fn attach(&mut self, id: ExecutionId, node: AttemptId, stops: bool) {
        self.all[id].attach(node, stops);
    }

    /// A node wants to be sure that it has ended before it starts another.
    pub fn doubt_end(&mut self, id: ExecutionId, now: Time) {
        self.all[id].doubt_end(now);
    }
}
