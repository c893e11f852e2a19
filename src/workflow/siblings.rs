//! When a node was first asked for, as far as its siblings' markers tell.
//!
//! A node that ended while it waited (its time-out passed before SageMaker or `max_running` let it start) leaves no trace in
//! AWS. With the rights of its own manifests Argo keeps ended tasks on its list, so the agent of a later pod asks for
//! them again, and a process that knows nothing would start them. But Argo hands out all nodes of a step group, and all
//! items of a loop, at once: where a sibling was started, its marker says when it was asked for, and hence when the time of
//! all of them was up.

use std::time::Duration;

use crate::{input::Task, pipelines::Time};

use super::{
    HashMap, Machine, Sabotage,
    identity::{Key, Known, Marker},
    listing::FURTHEST,
};

/// Nodes that were handed out together were asked for within this time: an agent has 16 workers, and each request takes
/// up to a second.
const TOGETHER: Duration = Duration::from_secs(60);

/// Within this time of its beginning a process has been asked for all that an earlier one was: the longest requeue is 72 s,
/// and an agent that met a closed port comes back later.
const ASKED_AGAIN: Duration = Duration::from_secs(150);

/// A process that began so soon after its workflow was created is the first: a pod takes 10 to 40 s to be there.
const FIRST_PROCESS: Duration = Duration::from_secs(90);

/// The nodes that Argo hands out together with one, by a hash of what their names have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group(u32);

impl Group {
    /// The group of a node's name: `wf[0].a(1:x)` is in the step group `wf[0]`, `wf.task(1:x)` in the loop `wf.task`. Other
    /// tasks of a DAG begin when they may, and belong to none.
    pub fn of(name: &str) -> Option<Self> {
        let shared = step_group(name).or_else(|| loop_of(name))?;
        Some(Self(Key::named("group", shared).number()))
    }

    /// Eight hex digits.
    pub fn hex(self) -> String {
        format!("{:08x}", self.0)
    }

    /// Reads them.
    pub fn parse(text: &str) -> Option<Self> {
        u32::from_str_radix(text, 16).ok().map(Self)
    }
}

/// `wf[0]` of `wf[0].a` and `wf[0].a(1:x)`; nothing for what lies deeper, as `wf[0].a.b` or `wf[0].a(1:x).b`.
fn step_group(name: &str) -> Option<&str> {
    let (group, step) = name.rsplit_once("].")?;
    let (base, item) = step.split_once('(').unwrap_or((step, ")"));
    let plain = !base.contains('.') && item.ends_with(')') && !item.contains(").");
    plain.then(|| name.get(..=group.len())).flatten()
}

/// `wf.task` of `wf.task(1:x)`.
fn loop_of(name: &str) -> Option<&str> {
    let numbered = |at: &usize| {
        let index = name.get(at + 1..).and_then(|rest| rest.split_once(':')).map_or("", |(index, _)| index);
        !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit())
    };
    let item = name.match_indices('(').map(|(at, _)| at).rfind(numbered)?;
    name.ends_with(')').then(|| name.get(..item)).flatten()
}

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
}

impl Machine {
    /// Takes in the marker of an execution that another process has started.
    pub(super) fn meet_sibling(&mut self, marker: &Marker, known: &Known) {
        let Some((group, at)) = marker.asked.filter(|_| marker.attempt == 0) else { return };
        // Anybody can write a description: what cannot be is not believed.
        if at > known.created.plus(TOGETHER) || known.created.since(at) > FURTHEST {
            return;
        }
        if self.run().is_some_and(|run| run.has_started(known)) {
            self.siblings.asked(group, at);
        }
    }

    /// What a marker says of when its node was first asked for, by AWS's clock: nothing where an earlier process may have
    /// been asked for it before this one was, at `asked`.
    pub(super) fn first_asked(&self, task: &Task, group: Option<Group>, asked: Time) -> Option<(Group, Time)> {
        let group = group?;
        let first_event = self.first_event.unwrap_or(self.now);
        let new = self.is_new(asked);
        if let Some(at) = self.siblings.all_asked(group).filter(|_| task.attempt == 0 && !new) {
            return Some((group, at));
        }
        // The workflow's own first process came after no other.
        let began = self.aws_clock.theirs(first_event);
        let first_process = task.workflow_created.is_some_and(|created| began.since(created) < FIRST_PROCESS);
        (new || first_process).then(|| (group, self.aws_clock.theirs(asked)))
    }

    /// Whether nobody before this process can have been asked for a node: an agent asks again within a requeue.
    pub(super) fn is_new(&self, asked: Time) -> bool {
        self.first_event.is_some_and(|first| asked.since(first) > ASKED_AGAIN)
    }

    /// Since when, by our clock, a node has waited that this process was first asked for at `asked`. Only a first attempt
    /// began together with its siblings.
    pub(super) fn waits_since(&self, group: Option<Group>, attempt: u32, asked: Time, timeout: Duration) -> Time {
        if attempt > 0 || self.is_new(asked) || self.sabotaged(Sabotage::ForgetsSiblings) {
            return asked;
        }
        let Some(at) = group.and_then(|group| self.siblings.all_asked(group)) else { return asked };
        asked.min(self.aws_clock.ours(at).plus(TOGETHER.min(timeout / 4)))
    }
}
