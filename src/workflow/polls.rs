//! The executions of one pipeline that run, and when each is looked at next.

use std::collections::{BTreeMap, BTreeSet};

use crate::pipelines::Time;

use super::slab::ExecutionId;

/// Who runs, who is due, and who is being looked at.
#[derive(Debug, Default)]
pub struct Polls {
    /// The workflow's own live executions.
    own: BTreeSet<ExecutionId>,
    /// Live ones that a node is only attached to: somebody else's, and not within this workflow's limits.
    guests: BTreeSet<ExecutionId>,
    due: BTreeSet<(Time, ExecutionId)>,
    due_at: BTreeMap<ExecutionId, Time>,
    /// Those of the look under way that were not shown yet.
    look: Option<BTreeSet<ExecutionId>>,
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

    /// Whether a look is under way.
    pub fn is_looking(&self) -> bool {
        self.look.is_some()
    }

    /// Whether this one is being looked at.
    pub fn looks_at(&self, id: ExecutionId) -> bool {
        self.look.as_ref().is_some_and(|look| look.contains(&id))
    }

    /// These are being looked at: they are due no more.
    pub fn begin_look(&mut self, due: Vec<ExecutionId>) {
        for id in &due {
            self.look_no_more(*id);
        }
        self.look = Some(due.into_iter().collect());
    }

    /// A list shows this one.
    pub fn was_shown(&mut self, id: ExecutionId) {
        if let Some(look) = &mut self.look {
            look.remove(&id);
        }
    }

    /// The look is over; whom it has not shown.
    pub fn end_look(&mut self) -> BTreeSet<ExecutionId> {
        self.look.take().unwrap_or_default()
    }
}
