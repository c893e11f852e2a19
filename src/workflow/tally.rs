//! How many nodes are open and how many starts are on their way: counted where a node's stage changes, and nowhere else.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::pipelines::Time;

use super::slab::PipelineId;

/// So long after its end Argo may not have read a node: the agent collects for ten seconds, and a patch may be repeated.
const UNREAD_FOR: Duration = Duration::from_secs(30);

/// The counts.
#[derive(Debug, Default)]
pub struct Tally {
    open: usize,
    /// When nodes have ended lately, the earliest first.
    ended: VecDeque<Time>,
    /// Starts whose outcome is awaited, by pipeline.
    starting: BTreeMap<PipelineId, usize>,
}

impl Tally {
    /// Nodes that have not ended.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Starts of a pipeline whose outcome is awaited.
    pub fn starting(&self, pipeline: PipelineId) -> usize {
        self.starting.get(&pipeline).copied().unwrap_or(0)
    }

    /// All starts whose outcome is awaited.
    pub fn all_starting(&self) -> usize {
        self.starting.values().sum()
    }

    /// A node was taken in, or asks anew.
    pub fn node_opened(&mut self) {
        self.open += 1;
    }

    /// A node has ended.
    pub fn node_ended(&mut self, now: Time) {
        self.open -= 1;
        self.ended.push_back(now);
        while self.ended.front().is_some_and(|at| at.plus(UNREAD_FOR) < now) {
            self.ended.pop_front();
        }
    }

    /// Nodes that Argo may not have read although they have ended.
    pub fn ended_lately(&self, now: Time) -> usize {
        let read = self.ended.partition_point(|at| at.plus(UNREAD_FOR) < now);
        self.ended.len() - read
    }

    /// A start is on its way.
    pub fn start_sent(&mut self, pipeline: PipelineId) {
        *self.starting.entry(pipeline).or_default() += 1;
    }

    /// Its outcome is known, or looked for in another way.
    pub fn start_landed(&mut self, pipeline: PipelineId) {
        self.starting.entry(pipeline).and_modify(|starts| *starts -= 1);
    }
}
