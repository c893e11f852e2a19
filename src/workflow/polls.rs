//! The executions of one pipeline that run, and when each is looked at next.

use std::collections::{BTreeMap, BTreeSet};

use crate::pipelines::Time;

use super::slab::ExecutionId;

/// Who runs, who is due, and the list that is under way for them.
#[derive(Debug, Default)]
pub struct Polls {
    /// The workflow's own live executions.
    own: BTreeSet<ExecutionId>,
    /// Live ones that a node is only attached to: somebody else's, and not within this workflow's limits.
    guests: BTreeSet<ExecutionId>,
    due: BTreeSet<(Time, ExecutionId)>,
    due_at: BTreeMap<ExecutionId, Time>,
    round: Option<Round>,
}

/// A poll round by list that is under way.
#[derive(Debug)]
pub struct Round {
    pub remaining: BTreeSet<ExecutionId>,
    pub pages: usize,
    pub max_pages: usize,
    pub created_after: Time,
}

impl Polls {
    /// Takes in an execution that runs.
    pub fn lives(&mut self, id: ExecutionId, foreign: bool) {
        self.leaves(id);
        if foreign {
            self.guests.insert(id)
        } else {
            self.own.insert(id)
        };
    }

    /// It runs no more, or is another's; whether it was here.
    pub fn leaves(&mut self, id: ExecutionId) -> bool {
        self.guests.remove(&id) | self.own.remove(&id)
    }

    /// Whether it runs here.
    pub fn has(&self, id: ExecutionId) -> bool {
        self.own.contains(&id) || self.guests.contains(&id)
    }

    /// All that run.
    pub fn live(&self) -> impl Iterator<Item = ExecutionId> {
        self.own.iter().chain(&self.guests).copied()
    }

    /// How many run.
    pub fn live_count(&self) -> usize {
        self.own.len() + self.guests.len()
    }

    /// How many of them are the workflow's own.
    pub fn own_count(&self) -> usize {
        self.own.len()
    }

    /// It is looked at next at this time.
    pub fn look_at(&mut self, id: ExecutionId, at: Time) {
        self.look_no_more(id);
        self.due.insert((at, id));
        self.due_at.insert(id, at);
    }

    /// It is not looked at any more; when it was to be.
    pub fn look_no_more(&mut self, id: ExecutionId) -> Option<Time> {
        let at = self.due_at.remove(&id)?;
        self.due.remove(&(at, id));
        Some(at)
    }

    /// Whether it has a time to be looked at.
    pub fn is_due(&self, id: ExecutionId) -> bool {
        self.due_at.contains_key(&id)
    }

    /// Those that are due by this time.
    pub fn due_by(&self, by: Time) -> Vec<ExecutionId> {
        self.due.iter().take_while(|(at, _)| *at <= by).map(|(_, id)| *id).collect()
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Whether a list is under way.
    pub fn has_round(&self) -> bool {
        self.round.is_some()
    }

    /// A list, or its next page, was asked for.
    pub fn begin_round(&mut self, round: Round) {
        self.round = Some(round);
    }

    /// The list's page came.
    pub fn take_round(&mut self) -> Option<Round> {
        self.round.take()
    }
}
