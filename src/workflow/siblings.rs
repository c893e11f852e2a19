//! When a node was first asked for, as far as its siblings' markers tell.
//!
//! A node that ended while it waited (its time-out passed before SageMaker or `max_running` let it start) leaves no trace in
//! AWS. With the rights of its own manifests Argo keeps ended tasks on its list, so the agent of a later pod asks for
//! them again, and a process that knows nothing would start them. But Argo hands out all nodes of a step group, and all
//! items of a loop, at once: where a sibling was started, its marker says when it was asked for, and hence when the time of
//! all of them was up.

use std::{collections::HashMap, time::Duration};

use crate::pipelines::Time;

use super::{
    effects::Effects,
    group::Group,
    known::Known,
    marker::Marker,
    run::{LONGEST_EXECUTION, Run},
};

/// Nodes that were handed out together were asked for within this time: an agent has 16 workers, and each request takes
/// up to a second.
const TOGETHER: Duration = Duration::from_secs(60);

/// Within this time of its beginning a process has been asked for all that an earlier one was: the longest requeue is 72 s,
/// and an agent that met a closed port comes back later.
const ASKED_AGAIN: Duration = Duration::from_secs(150);

/// A process that began so soon after its workflow was created is the first: a pod takes 10 to 40 s to be there.
const FIRST_PROCESS: Duration = Duration::from_secs(90);

/// When nodes of the groups were first asked for, by AWS's clock: the first and the last of those that another process
/// has started in this run.
#[derive(Debug, Default)]
pub struct Siblings(HashMap<Group, (Time, Time)>);

impl Siblings {
    fn asked(&mut self, group: Group, at: Time) {
        let (first, last) = self.0.entry(group).or_insert((at, at));
        *first = (*first).min(at);
        *last = (*last).max(at);
    }

    /// When all nodes of the group had been asked for. Where they were asked for over a long time, something (a semaphore,
    /// say) lets them begin one by one, and nothing is known.
    fn all_asked(&self, group: Group) -> Option<Time> {
        self.0.get(&group).filter(|(first, last)| last.since(*first) <= TOGETHER).map(|(_, last)| *last)
    }

    /// Takes in the marker of an execution that another process has started.
    pub fn meet(&mut self, marker: &Marker, known: &Known, run: Option<Run>) {
        // What was resumed still tells of the first attempt, which it was started for.
        let origin = marker.continues.map_or(marker.attempt, |continues| continues.origin);
        let Some((group, at)) = marker.asked.filter(|_| origin == 0) else { return };
        // Anybody can write a description: what cannot be is not believed.
        if at > known.created.plus(TOGETHER) || known.created.since(at) > LONGEST_EXECUTION {
            return;
        }
        if run.is_some_and(|run| run.has_started(known)) {
            self.asked(group, at);
        }
    }

    /// What a marker says of when its node was first asked for, by AWS's clock: nothing where an earlier process may have
    /// been asked for it before this one was, at `asked`.
    pub fn first_asked(
        &self,
        node: (Option<Group>, u32),
        asked: Time,
        workflow_created: Option<Time>,
        fx: &Effects,
    ) -> Option<(Group, Time)> {
        let (group, attempt) = (node.0?, node.1);
        let new = is_new(asked, fx);
        if let Some(at) = self.all_asked(group).filter(|_| attempt == 0 && !new) {
            return Some((group, at));
        }
        // The workflow's own first process came after no other.
        let began = fx.aws().theirs(fx.served_since());
        let first_process = workflow_created.is_some_and(|created| began.since(created) < FIRST_PROCESS);
        (new || first_process).then(|| (group, fx.aws().theirs(asked)))
    }

    /// Since when, by our clock, a node has waited that this process was first asked for at `asked`. Only a first attempt
    /// began together with its siblings.
    pub fn waits_since(&self, node: (Option<Group>, u32), asked: Time, timeout: Duration, fx: &Effects) -> Time {
        let (group, attempt) = node;
        if attempt > 0 || is_new(asked, fx) {
            return asked;
        }
        let Some(at) = group.and_then(|group| self.all_asked(group)) else { return asked };
        asked.min(fx.aws().ours(at).plus(TOGETHER.min(timeout / 4)))
    }
}

/// Whether nobody before this process can have been asked for a node: an agent asks again within a requeue.
pub fn is_new(asked: Time, fx: &Effects) -> bool {
    asked.since(fx.served_since()) > ASKED_AGAIN
}
