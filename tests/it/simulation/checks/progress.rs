//! Eventually stable: once nothing disturbs, whoever may start does so soon, and whoever has ended is told so soon.
//!
//! Both bounds are sums of the plugin's own settings and Argo's periods, and begin anew when something disturbs: a call
//! that fails, a process or an agent that begins or stands still, a slow answer.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use awf_aws::{
    pipelines::{Status, Time},
    workflow::Settings,
};

use super::{Process, World};
use crate::simulation::{
    agent::PATCH_EVERY,
    argo::{Node, NodeId, RECONCILE_EVERY},
    plan::{Kubernetes, MINUTE, SECOND, Work},
};

/// The longest `requeue`: 60 s and its jitter.
const REQUEUE: Duration = Duration::from_secs(72);
/// The longest back-off of a call, of a quota's probe, and of a denial that others have met.
const BACKOFF: Duration = Duration::from_secs(15);
/// What an earlier process started last may be absent from lists for so long.
const LISTS_LAG: Duration = Duration::from_secs(60);
/// For so long a Kubernetes that does not answer is waited for, at the beginning and before a start.
const PATIENCE: Duration = Duration::from_secs(135);
/// For so long a start is repeated under its token, and what a refused token may have started is looked for, where no list shows it.
const SEARCH_IN_VAIN: Duration = Duration::from_secs(310);
/// A start whose outcome is unknown is repeated and looked for again after this at the most.
const SEARCH: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Progress {
    /// When an account was last seen to be full.
    full_at: Option<Time>,
    /// When a workflow last had anything that runs.
    ran_at: HashMap<usize, Time>,
    /// Nodes of which a start had an unknown outcome.
    uncertain: HashSet<(usize, NodeId)>,
    /// When the process that serves a node was first asked for it.
    asked: HashMap<(Process, NodeId), Time>,
}

impl World {
    /// Somebody was refused for want of capacity.
    pub(super) fn account_was_full(&mut self) {
        self.checks.progress.full_at = Some(self.now);
        self.bites.add("fault: account full");
    }

    /// A start's outcome is not known: it is repeated, and then looked for.
    pub(super) fn is_uncertain(&mut self, number: usize, node: NodeId) {
        self.checks.progress.uncertain.insert((number, node));
    }

    pub(super) fn is_any_uncertain(&self, number: usize) -> bool {
        self.checks.progress.uncertain.iter().any(|(workflow, _)| *workflow == number)
    }

    /// A process stood still with calls on their way.
    pub fn all_uncertain(&mut self, number: usize) {
        (0..self.workflows[number].nodes.len()).for_each(|node| self.is_uncertain(number, node));
    }

    /// A request arrives at a process.
    pub fn is_asked(&mut self, process: Process, node: NodeId) {
        let now = self.now;
        self.checks.progress.asked.entry((process, node)).or_insert(now);
    }

    /// When a process was first asked for a node.
    pub(super) fn is_asked_at(&self, process: Process, node: NodeId) -> Option<Time> {
        self.checks.progress.asked.get(&(process, node)).copied()
    }

    /// Looks at every node of a workflow, each time the controller does.
    pub fn check_progress(&mut self, number: usize) {
        if self.workflows[number].completed_at.is_some() {
            return;
        }
        let serves = self.workflows[number]
            .pods
            .iter()
            .any(|pod| !pod.ended && pod.plugin.is_some() && pod.agent.generation > 0 && pod.stalled_until <= self.now);
        if !serves {
            self.disturbed(number);
            return;
        }
        self.book.settle(self.now);
        self.check_stops_took();
        let live = |status: &Status| status.is_live();
        if self.book.executions().iter().filter(|e| live(&e.status) && !e.deleted).count() >= self.plan.quota {
            self.checks.progress.full_at = Some(self.now);
        }
        // What a node is attached to counts as well.
        let attached = self.workflows[number].nodes.iter().any(|n| n.plan.work == Work::Attach);
        let theirs = self.book.executions().iter().any(|e| e.arn == self.elsewhere && live(&e.status));
        if (attached && theirs) || self.started_by(number).any(|(_, e)| live(&e.status) && !e.deleted) {
            self.checks.progress.ran_at.insert(number, self.now);
        }
        for node in 0..self.workflows[number].nodes.len() {
            if let Some(late) = self.is_late(number, node) {
                self.checks.broke(late);
            }
        }
    }

    fn is_late(&mut self, number: usize, place: NodeId) -> Option<String> {
        let workflow = &self.workflows[number];
        let node = &workflow.nodes[place];
        if node.run != workflow.run || node.ended.is_some() || node.unwanted {
            return None;
        }
        let asked = node.first_asked?;
        let calm = [asked, workflow.disturbed_at].into_iter().max().unwrap_or(asked);
        let mut patience = match self.kubernetes(number) {
            Kubernetes::Slow | Kubernetes::Fails => PATIENCE,
            Kubernetes::Off | Kubernetes::Works | Kubernetes::Forbids => Duration::ZERO,
        };
        if self.may_lose_sight(number) {
            patience += SEARCH_IN_VAIN;
        }
        if self.checks.progress.uncertain.contains(&(number, place)) {
            patience += 2 * SEARCH_IN_VAIN;
        }
        match node.plan.work {
            Work::Execute => self.is_late_execution(number, node.clone(), place, calm, patience),
            // A stop or a check of parameters waits for nothing but AWS, the longest for a stop to end.
            Work::StopOne(_) | Work::StopArn(_) | Work::StopAll => {
                // Its wait begins when what it stops is found, also what a start of another node may have started.
                let searched = if self.is_any_uncertain(number) { SEARCH_IN_VAIN } else { Duration::ZERO };
                let bound = Settings::default().stop_wait + 2 * LISTS_LAG + searched + self.told_within() + patience;
                self.late(node, "a stop does not end", calm, bound)
            }
            Work::Validate(_) => self.late(node, "a check does not end", calm, self.told_within() + patience),
            Work::Attach => {
                let theirs = self.book.executions().iter().find(|e| e.arn == self.elsewhere)?;
                let end = theirs.modified;
                let ended = !theirs.status.is_live() && !theirs.deleted;
                let node = &self.workflows[number].nodes[place];
                self.late(node, "an end is not told", calm.max(end), self.told_within()).filter(|_| ended)
            }
        }
    }

    /// How soon an end is told: it is seen by the next poll (by the one after it where lists are stale), then described
    /// with its steps, asked for by the agent, and written by it.
    fn told_within(&self) -> Duration {
        let stale = self.plan.troubles.stale;
        let polls = Settings::default().poll_max
            + if stale > 0.0 { SECOND.mul_f64(2.0 * stale) + SECOND * 30 } else { Duration::ZERO };
        polls + BACKOFF + REQUEUE + PATCH_EVERY + RECONCILE_EVERY + 15 * SECOND
    }

    fn late(&self, node: &Node, what: &str, since: Time, bound: Duration) -> Option<String> {
        let waited = self.now.since(since);
        (waited > bound).then(|| {
            format!(
                "{what}: {} attempt {}, {waited:?} after nothing kept it, more than {bound:?}",
                node.plan.name, node.attempt
            )
        })
    }

    fn is_late_execution(
        &mut self,
        number: usize,
        node: Node,
        place: NodeId,
        calm: Time,
        patience: Duration,
    ) -> Option<String> {
        let now = self.now;
        if self.checks.deleted_keys.contains(&node.key) || self.checks.deleted_pipelines.contains(node.plan.pipeline) {
            return None;
        }
        let executions = self.executions_of(&node.key);
        let stop_wait = Settings::default().stop_wait;
        // The node's own time is up, or the workflow's: what runs is stopped, and that may take as long as it may.
        // What came before this process it cannot know: nothing in AWS says since when a node waits.
        let by = self.workflows[number].pods.iter().enumerate();
        let by = by.filter_map(|(pod, p)| self.checks.progress.asked.get(&(((number, pod), p.plugins), place)));
        let asked = by.max().copied().unwrap_or(now);
        let timed_out = node.plan.timeout.is_some_and(|timeout| now >= asked.plus(timeout).minus(MINUTE));
        let stopped = self.is_stopped_by_task(number, &node.plan.name, true);
        // What its deadline ends is over when the controller has seen it pass.
        // Exit handlers go on unless the workflow is gone.
        let goes_on = node.is_exit_handler() && self.workflows[number].gone_at.is_none();
        let over = self.is_over(number) && !goes_on;
        if over && !self.workflows[number].is_ending() {
            return None;
        }
        let ending = timed_out || stopped || over;
        if let Some(newest) = executions.iter().max_by_key(|e| (e.status.is_live(), e.created)) {
            if newest.status.is_live() {
                return None;
            }
            let ends = executions.iter().map(|e| e.modified).max().unwrap_or(calm);
            let since = calm.max(ends);
            let own = self.node_of_execution(&newest.arn) == Some((number, place));
            let (what, bound) = if own || newest.status == Status::Succeeded || ending {
                ("an end is not told", self.told_within() + patience + if ending { stop_wait } else { Duration::ZERO })
            } else {
                ("a further attempt neither starts nor ends", self.told_within() + patience + BACKOFF + SEARCH)
            };
            self.bites.add("check: ends are told soon");
            return self.late(&node, what, self.has_room_since(number, &node, place, since)?, bound);
        }
        let told = self.kubernetes(number) == Kubernetes::Works;
        if stopped || (over && !told) {
            // Whether it waited when the stop task came cannot be told here, nor can the plugin tell that the workflow is
            // over where nobody says so.
            return None;
        }
        if ending {
            let up = node.plan.timeout.map_or(calm, |timeout| asked.plus(timeout).max(calm));
            let calm = if over { calm } else { up };
            let bound = stop_wait + LISTS_LAG + self.told_within() + patience;
            return self.late(&node, "a node that waits does not end", calm, bound);
        }
        let since = self.has_room_since(number, &node, place, calm)?;
        self.bites.add("check: starts soon when there is room");
        let denied = self.last_denied(number, place).is_some();
        // A denial that lasts is its end, and not its start.
        let bound = if denied { self.told_within() + BACKOFF } else { 3 * BACKOFF + 15 * SECOND };
        // Siblings may say that its time is up: then it ends, once lists show what an earlier process started last.
        let settles = if node.plan.timeout.is_some() { LISTS_LAG + BACKOFF } else { Duration::ZERO };
        let patience = patience + settles;
        self.late(&node, "a node does not start", since, bound + patience)
    }

    fn node_of_execution(&self, arn: &str) -> Option<(usize, NodeId)> {
        let place = self.book.executions().iter().position(|e| e.arn == arn)?;
        self.checks.started[place].as_ref().map(|started| started.node)
    }

    /// Since when there is room for a start of this node; `None` while that cannot be told.
    fn has_room_since(&self, number: usize, node: &Node, place: NodeId, calm: Time) -> Option<Time> {
        let limited = node.plan.max_running.is_some() || self.plan.workflows[number].troubles.max_running.is_some();
        let ran = self.checks.progress.ran_at.get(&number).copied().filter(|_| limited);
        let denied = self.last_denied(number, place);
        [Some(calm), self.checks.progress.full_at, ran, denied].into_iter().flatten().max()
    }
}
