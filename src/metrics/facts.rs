//! One method per fact: the metric, and the log line beside it.
//!
//! Lines about one execution or node carry the same fields everywhere (the README lists them): `workflow.name`,
//! `node.key` and `node.attempt` as in the marker of the execution, `execution.arn`.

use std::time::Duration;

use super::{
    Metrics,
    labels::{Access, CallOutcome, End, Operation, Restarted, StartFailure, StepEnd, StepType, StopOutcome},
};
use crate::{
    input::WorkflowId,
    pipelines::{CallEnded, Time},
    workflow::{Ended, Note, identity::Key},
};

/// So many digits of a key are in an execution's display name; they name a node in a log as well.
const KEY_DIGITS: usize = 12;

/// A node's key and attempt.
pub type Node = (Key, u32);

/// A call to AWS, as far as it may be told: neither a parameter, nor an external id, nor a text of AWS's.
#[derive(Clone, Debug)]
pub struct CallMade {
    /// As AWS writes it.
    pub operation: &'static str,
    /// Whether it was one that changes something.
    pub write: bool,
    pub region: String,
    /// From its leaving to its answer, retries of the SDK included.
    pub took: Duration,
}

impl Metrics {
    /// What the machine of a workflow notes. `node` is whose execution it is, where the note names one.
    pub fn noted(&self, workflow: &WorkflowId, note: &Note, node: Option<Node>) {
        let workflow = workflow.name.as_str();
        let (key, attempt) = (node.map(|(key, _)| key.hex(KEY_DIGITS)), node.map(|(_, attempt)| attempt));
        let key = key.as_deref();
        match note {
            Note::ExecutionStarted { arn } => {
                self.executions.started.inc(());
                tracing::info!(
                    workflow.name = workflow,
                    node.key = key,
                    node.attempt = attempt,
                    execution.arn = arn,
                    "started an execution"
                );
            }
            Note::ExecutionResumed { arn } => {
                self.executions.resumed.inc(());
                tracing::info!(
                    workflow.name = workflow,
                    node.key = key,
                    node.attempt = attempt,
                    execution.arn = arn,
                    "resumed an execution"
                );
            }
            Note::ExecutionAdopted { arn } => {
                self.executions.adopted.inc(());
                tracing::info!(
                    workflow.name = workflow,
                    node.key = key,
                    node.attempt = attempt,
                    execution.arn = arn,
                    "adopted an execution"
                );
            }
            Note::ExecutionChanged { arn, status } => tracing::info!(
                workflow.name = workflow,
                node.key = key,
                node.attempt = attempt,
                execution.arn = arn,
                execution.status = status.as_str(),
                "an execution changed"
            ),
            Note::ExecutionFinished { arn, status, ran } => {
                self.executions.finished.inc(End::from(status));
                tracing::info!(
                    workflow.name = workflow,
                    node.key = key,
                    node.attempt = attempt,
                    execution.arn = arn,
                    execution.status = status.as_str(),
                    execution.seconds = ran.map(|ran| ran.as_secs()),
                    "an execution ended"
                );
            }
            Note::ExecutionGone { arn } => {
                self.executions.finished.inc(End::Unknown);
                tracing::warn!(
                    workflow.name = workflow,
                    node.key = key,
                    node.attempt = attempt,
                    execution.arn = arn,
                    "an execution was deleted"
                );
            }
            // Its end was told already; what there is to count, `execution_explained` counts.
            Note::ExecutionExplained { .. } => {}
            Note::JobLog { arn, log } => {
                for line in &log.lines {
                    tracing::info!(
                        workflow.name = workflow,
                        node.key = key,
                        node.attempt = attempt,
                        execution.arn = arn,
                        execution.step = log.step,
                        job.line = line,
                        "a failed job wrote"
                    );
                }
            }
            Note::StartFailed { kind, message, .. } => {
                self.executions.start_failures.inc(StartFailure::of(kind));
                tracing::warn!(
                    workflow.name = workflow,
                    node.key = key,
                    node.attempt = attempt,
                    error.kind = kind,
                    error.message = message,
                    "unable to start"
                );
            }
            Note::StopRequested { arn, ok } => {
                self.executions.stops.inc(if *ok { StopOutcome::Ok } else { StopOutcome::Error });
                tracing::info!(
                    workflow.name = workflow,
                    node.key = key,
                    node.attempt = attempt,
                    execution.arn = arn,
                    ok,
                    "asked an execution to stop"
                );
            }
            Note::NodeEnded { phase, message, arn, .. } => tracing::info!(
                workflow.name = workflow,
                node.key = key,
                node.attempt = attempt,
                node.phase = ?phase,
                node.message = message,
                execution.arn = arn.as_deref(),
                "a node ended"
            ),
            Note::Warning { text } => tracing::warn!(workflow.name = workflow, "{text}"),
        }
    }

    /// The end of an execution is confirmed, with its times and steps. Noticed was it at `noticed`.
    pub fn execution_explained(&self, ended: &Ended, noticed: Time) {
        if let Some(ran) = ended.ran {
            self.executions.duration.observe(End::from(&ended.status), ran.as_secs_f64());
        }
        if let Some(at) = ended.at {
            self.executions.detection_lag.observe((), noticed.since(at).as_secs_f64());
        }
        for (kind, status) in &ended.steps {
            if let Some(end) = StepEnd::of(status) {
                self.executions.steps.inc((StepType::of(kind.as_deref()), end));
            }
        }
    }

    /// A call left the machine after it had waited so long for the pace.
    pub fn call_left(&self, waited: Duration) {
        self.aws.pace_wait.observe((), waited.as_secs_f64());
    }

    /// A call to AWS ended.
    pub fn call_ended(&self, workflow: &str, call: &CallMade, ended: &CallEnded) {
        let error = ended.result.as_ref().err();
        let outcome = error.map_or(CallOutcome::Ok, |error| error.kind.into());
        if let Some(operation) = Operation::named(call.operation) {
            self.aws.calls.inc((operation, outcome));
        }
        let access = if call.write { Access::Write } else { Access::Read };
        self.aws.call_duration.observe(access, call.took.as_secs_f64());
        tracing::debug!(
            workflow.name = workflow,
            operation = call.operation,
            client.region = call.region,
            outcome = error.map_or("ok", |error| error.kind.as_str()),
            error.code = error.and_then(|error| error.code.as_deref()),
            seconds = call.took.as_secs_f64(),
            "a call ended"
        );
    }

    /// A call needed so many attempts, and AWS throttled so many of them.
    pub fn attempts_made(&self, operation: &'static str, attempts: u32, throttled: u32) {
        if let Some(label) = Operation::named(operation) {
            self.aws.retries.add(label, u64::from(attempts.saturating_sub(1)));
            self.aws.throttles.add(label, u64::from(throttled));
        }
        if throttled > 0 {
            tracing::debug!(operation, attempts, throttled, "AWS throttled a call");
        }
    }

    /// Credentials were asked for.
    pub fn credentials_refreshed(&self, given: bool) {
        self.aws.refreshes.inc(());
        if given {
            tracing::debug!("got credentials");
        } else {
            self.aws.credential_failures.inc(());
            // Why is in the message of every call that then fails; an error chain may quote a token.
            tracing::warn!("unable to get credentials");
        }
    }

    /// An actor was made again.
    pub fn actor_restarted(&self, workflow: &WorkflowId) {
        self.restarts.inc(Restarted::Workflow);
        tracing::warn!(workflow.name = workflow.name, workflow.uid = workflow.uid, "made a workflow's runner again");
    }
}
