//! A node is told the results that its template declares, and nobody asks for what nobody wants.

use std::collections::HashSet;

use awf_aws::{
    pipelines::{Call, CallError, CallReply, Status},
    protocol::{ExecuteTemplateReply, Phase},
    simulator::{execution::Execution, steps::StepStatus},
    workflow::identity::execution_id,
};

use super::{Process, World};
use crate::simulation::{
    argo::{Ended, Node, NodeId},
    plan::{MINUTE, Work},
};

#[derive(Default)]
pub struct Results {
    /// Executions of which a process could not list the steps or describe a job, by their ids.
    untold: HashSet<(Process, String)>,
}

/// The id of the execution in a job's name, and the step.
fn parts(job: &str) -> Option<(&str, &str)> {
    let mut parts = job.strip_prefix("pipelines-")?.split('-');
    Some((parts.next()?, parts.next()?))
}

impl World {
    pub(super) fn note_untold(&mut self, process: Process, call: &Call, result: &Result<CallReply, CallError>) {
        if result.is_ok() {
            return;
        }
        let id = match call {
            Call::ListSteps { arn, .. } => execution_id(arn),
            Call::DescribeJob { name, .. } => parts(name).map_or("", |(id, _)| id),
            _ => return,
        };
        if matches!(call, Call::DescribeJob { .. }) {
            self.bites.add("fault: a job is not described");
        }
        self.checks.results.untold.insert((process, id.to_owned()));
    }

    /// A process asks what a job came to, or for a log: the execution has ended, and a node of the workflow wants it.
    pub(super) fn check_wanted(&mut self, process: Process, call: &Call) {
        let (job, log) = match call {
            Call::DescribeJob { name, .. } => (name.as_str(), false),
            Call::LogTail { stream_prefix, .. } => (stream_prefix.trim_end_matches('/'), true),
            _ => return,
        };
        self.book.settle(self.now);
        let Some((id, step)) = parts(job) else { return };
        let found = self.book.executions().iter().position(|e| execution_id(&e.arn) == id);
        let Some(execution) = found.and_then(|place| self.book.executions().get(place)) else { return };
        // What another pod has resumed just now this process does not know of.
        let elsewhere = found.and_then(|place| self.checks.started[place].as_ref()).is_some_and(|s| s.pod != process.0);
        let went_on = self.times_resumed(&execution.arn) > 0 && self.began(execution).plus(MINUTE) > self.now;
        let revived = self.checks.revived.contains_key(&execution.arn) || (elsewhere && went_on);
        let failed = |e: &Execution| e.steps.iter().any(|run| run.status == StepStatus::Failed);
        let wanted = if log {
            execution.status != Status::Succeeded && failed(execution)
        } else {
            self.may_be_told(process, found, execution).iter().any(|node| node.plan.declares.asks_for(step))
        };
        self.bites.add(if log {
            "check: only logs of failures are read"
        } else {
            "check: only wanted jobs are described"
        });
        if (execution.status.is_live() || !wanted) && !revived {
            self.checks.broke(format!("{} of {job}, which nobody wants", call.operation()));
        }
    }

    /// The nodes of a process's workflow that may be told of an execution.
    fn may_be_told(&self, ((number, _), _): Process, place: Option<usize>, execution: &Execution) -> Vec<&Node> {
        let started = place.and_then(|place| self.checks.started[place].as_ref());
        let key = started.map(|started| started.marker.key);
        let nodes = self.workflows[number].nodes.iter();
        nodes
            .filter(|node| {
                let attached = node.plan.work == Work::Attach && execution.arn == self.elsewhere;
                attached || (node.plan.work == Work::Execute && Some(node.key) == key)
            })
            .collect()
    }

    /// What a template declares of an execution that succeeded is told, unless a call for it failed.
    pub(super) fn check_results(&mut self, process: Process, node: NodeId, end: &Ended, reply: &ExecuteTemplateReply) {
        let number = process.0.0;
        let this = &self.workflows[number].nodes[node];
        let declares = this.plan.declares;
        let Some(arn) = end.arn.as_ref().filter(|_| end.phase == Phase::Succeeded) else { return };
        let Some(execution) = self.book.executions().iter().find(|e| e.arn == *arn) else { return };
        let id = execution_id(arn);
        let untold = self.checks.results.untold.contains(&(process, id.to_owned()));
        let stood_still = !self.plan.quiet() || self.plan.workflows[number].troubles.frozen.is_some();
        let excused = untold || stood_still || self.is_over(number) || self.checks.revived.contains_key(arn);
        // There is no job in a Callback step.
        let other = execution.pipeline == "Blocked";
        if excused || other || execution.status != Status::Succeeded || declares.told().is_empty() {
            return;
        }
        let outputs = reply.node.as_ref().and_then(|node| node.outputs.clone()).unwrap_or_default();
        let parameter = |name: &&&str| outputs.parameters.iter().find(|parameter| parameter.name == ***name);
        let artifact = |name: &&&str| outputs.artifacts.iter().any(|artifact| artifact.name == ***name);
        let missing = declares.told().iter().find(|name| parameter(name).is_none());
        let missing = missing.or(declares.artifacts().iter().find(|name| !artifact(name)));
        let own = |name: &str| matches!(name, "Work-model-artifacts" | "Work-job-name");
        let strange =
            outputs.parameters.iter().find(|p| own(&p.name) && !p.value.contains(&format!("pipelines-{id}-")));
        let name = &this.plan.name;
        let text = match (missing, strange) {
            (Some(missing), _) => Some(format!("{name} was not told {missing} of {arn}: {reply:?}")),
            (None, Some(strange)) => Some(format!("{name} was told {strange:?} of {arn}")),
            (None, None) => None,
        };
        self.bites.add("check: declared results are told");
        if let Some(text) = text {
            self.checks.broke(text);
        }
    }
}
