//! What was resumed: once for an attempt and run, for whom the marker names, and nothing started that could be resumed.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use awf_aws::{
    input::OnRetry,
    pipelines::{Call, CallError, CallErrorKind, CallReply, Status, Time},
    simulator::execution::Execution,
    workflow::identity::Marker,
};

use super::{Process, Started};
use crate::simulation::{argo::NodeId, plan::SECOND, world::World};

/// Resumes that took effect.
#[derive(Default)]
pub struct Resumed {
    /// By execution, attempt and run of the workflow.
    once: HashSet<(String, u32, u32)>,
    /// How often each execution was, and when last.
    times: HashMap<String, (usize, Time)>,
}

impl World {
    /// How often the execution of a resume has been retried.
    pub fn resumes_of(&self, call: &Call) -> u64 {
        let Call::RetryExecution { arn, .. } = call else { return 0 };
        self.execution_named(arn).map_or(0, |(_, execution)| execution.retries)
    }

    /// How often one of our processes has resumed an execution.
    pub fn times_resumed(&self, arn: &str) -> usize {
        self.checks.resumes.times.get(arn).map_or(0, |(times, _)| *times)
    }

    /// When one of our processes has last resumed an execution, and how it had ended before.
    pub fn resumed_from(&self, arn: &str) -> Option<(Time, Status)> {
        let (_, at) = self.checks.resumes.times.get(arn)?;
        let (_, execution) = self.execution_named(arn)?;
        let status = execution.status_at(at.minus(Duration::from_millis(1)));
        (!status.is_live()).then(|| (*at, status.clone()))
    }

    /// When an execution was created or last resumed.
    pub(super) fn began(&self, execution: &Execution) -> Time {
        let resumed = self.checks.resumes.times.get(&execution.arn).map(|(_, at)| *at);
        resumed.map_or(execution.created, |at| at.max(execution.created))
    }

    /// Whether an execution was resumed and runs for this node no more.
    pub(super) fn went_on(&self, arn: &str, node: (usize, NodeId)) -> bool {
        let owner = self.execution_named(arn).and_then(|(place, _)| self.checks.started[place].as_ref());
        self.times_resumed(arn) > 0 && owner.is_some_and(|started| started.node != node)
    }

    /// A resume has had its effect.
    pub fn check_resumed(&mut self, process: Process, call: &Call, knew_over: bool) {
        let Call::RetryExecution { arn, .. } = call else { return };
        let Some((place, execution)) = self.execution_named(arn) else { return };
        let marker = execution.description.as_deref().and_then(Marker::parse);
        let found = marker.and_then(|marker| self.node_of(&marker).map(|node| (marker, node)));
        let (Some((marker, node)), Some(before)) = (found, self.checks.started[place].clone()) else {
            self.checks.broke(format!("{arn} was resumed, which no node of ours owns"));
            return;
        };
        let run = self.workflows[node.0].run;
        self.bites.add("node: resumed");
        if self.node(node).plan.on_retry == OnRetry::Restart {
            self.checks.broke(format!("resumed for a node that restarts: {marker:?}"));
        }
        let ended = marker.continues.map_or(self.now, |continues| continues.end);
        let ended = self.stop_taken(arn).map_or(ended, |taken| taken.min(ended));
        let lost_epoch = self.takes_for_earlier(process, node.0, ended);
        let own = (before.marker.attempt, before.run) == (marker.attempt, run) && !lost_epoch;
        if marker.continues.is_none() || own {
            self.checks.broke(format!("resumed without a marker of its own: {marker:?} after {:?}", before.marker));
        }
        if knew_over && !self.node(node).is_exit_handler() {
            self.checks.broke(format!("resumed although the workflow was known to be over: {marker:?}"));
        }
        if lost_epoch {
            self.checks.lost_runs.insert(marker.key);
            // To this process all that the node has told and resumed is an earlier run's: its attempts are made once more.
            self.checks.resumes.once.retain(|(resumed, _, in_run)| (resumed, *in_run) != (arn, run));
            let nodes = &self.workflows[node.0].nodes;
            self.checks.ends.retain(|(number, id), _| *number != node.0 || nodes[*id].key != marker.key);
        }
        self.bites.add("check: one resume per attempt and run");
        if !self.checks.resumes.once.insert((arn.clone(), marker.attempt, run)) && !lost_epoch {
            self.checks.broke(format!("resumed twice in run {run}: {marker:?}"));
        }
        let scope =
            (self.book.executions()[place].scope.region.clone(), self.book.executions()[place].scope.account.clone());
        self.check_two_live(process, &marker, node, &scope.0, &scope.1, Some(arn));
        let (times, at) = self.checks.resumes.times.entry(arn.clone()).or_default();
        (*times, *at) = (*times + 1, self.now);
        // What was stopped before is history.
        self.forget_stops(arn);
        self.checks.started[place] = Some(Started { marker, node, run, pod: process.0 });
    }

    pub(super) fn resume_was_answered(&mut self, process: Process, call: &Call, result: &Result<CallReply, CallError>) {
        let Some((number, node)) = self.node_of_start(call) else { return };
        if let (Call::RetryExecution { token, .. }, Some(sent)) = (call, self.checks.under_way.get_mut(&process)) {
            sent.remove(token);
        }
        match result {
            Err(error) if error.kind == CallErrorKind::QuotaExceeded => {
                self.checks.refused.insert((process, node), self.now.plus(SECOND));
                self.account_was_full();
            }
            Err(error) => {
                if error.kind == CallErrorKind::OutcomeUnknown {
                    self.bites.add("fault: a resume's outcome unknown");
                }
                self.is_uncertain(number, node);
            }
            Ok(_) => {
                self.checks.refused.remove(&(process, node));
            }
        }
    }

    /// A start took effect: nothing that could be resumed was there.
    pub(super) fn check_not_instead(&mut self, process: Process, marker: &Marker, node: (usize, NodeId)) {
        let plan = self.node(node).plan.clone();
        if plan.on_retry == OnRetry::Restart {
            return;
        }
        let others = self.started_under(&marker.key).filter(|(_, e)| !e.deleted);
        let Some((before, execution)) = others.max_by_key(|(_, e)| e.created) else { return };
        let resumable = matches!(execution.status, Status::Failed | Status::Stopped);
        let text = format!("started {marker:?} although {} could be resumed, of {:?}", execution.arn, before.marker);
        // What SageMaker, a policy or the user forbids, and what this process cannot know of.
        let forbidden = self.plan.rerendered
            || !self.plan.troubles.refusals.is_empty()
            || self.plan.credentials_gap.is_some()
            || self.plan.workflows[node.0].troubles.moves.is_some()
            || self.plan.workflows[node.0].troubles.created_unknown
            || self.lists_were_denied(node.0)
            || self.was_asked_again(marker)
            || self.checks.deleted_keys.contains(&marker.key);
        // Tokens of starts that a crash has left behind are repeated.
        let late = self.checks.calls.was_sent_by_others(process, marker);
        if forbidden || late {
            return;
        }
        if resumable {
            self.checks.broke(text);
        }
    }
}
