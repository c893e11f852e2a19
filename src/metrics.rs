//! Every metric: its name, help, labels and buckets, and one method per fact.
//!
//! Labels are closed sets (never a workflow, an ARN or an error's text) and every series of a known set exists at 0
//! from the start, so that `rate()` has something to start from.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::Collector, process_collector::ProcessCollector,
};
use tokio::time::Instant;

use crate::{
    pipelines::{CallEnded, Status},
    protocol::{ExecuteTemplateReply, Phase},
};

/// The prefix of every name.
const NAMESPACE: &str = "awf_aws";

/// Seconds; the top bucket is the agent's own time-out (argo-workflows, workflow/executor/plugins/rpc/plugin.go).
const REQUEST_BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The operations of [`crate::pipelines::Call`].
const OPERATIONS: [&str; 8] = [
    "GetCallerIdentity",
    "DescribePipeline",
    "StartPipelineExecution",
    "DescribePipelineExecution",
    "ListPipelines",
    "ListPipelineExecutions",
    "ListPipelineExecutionSteps",
    "StopPipelineExecution",
];

/// Why a start failed; the words of [`crate::pipelines::CallErrorKind`] that a start can meet, then the rest.
const START_FAILURES: [&str; 8] =
    ["throttled", "access_denied", "not_found", "validation", "limit_exceeded", "credentials", "timeout", "other"];

/// How a `template.execute` request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an execution that this very request had started.
    Started,
    Running,
    Succeeded,
    Failed,
    Error,
    /// Refused: no token, no JSON, malformed plugin input.
    Invalid,
    /// Another plugin's task.
    Ignored,
}

impl Outcome {
    /// All of them, in the order of the catalogue.
    pub const ALL: [Self; 7] =
        [Self::Started, Self::Running, Self::Succeeded, Self::Failed, Self::Error, Self::Invalid, Self::Ignored];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Invalid => "invalid",
            Self::Ignored => "ignored",
        }
    }

    /// What an answer to a valid task counts as.
    pub fn of(reply: &ExecuteTemplateReply, started: bool) -> Self {
        match reply.node.as_ref().and_then(|node| node.phase) {
            None if reply.node.is_none() => Self::Ignored,
            Some(Phase::Succeeded) => Self::Succeeded,
            Some(Phase::Failed) => Self::Failed,
            Some(Phase::Error) => Self::Error,
            None | Some(Phase::Pending | Phase::Running) if started => Self::Started,
            None | Some(Phase::Pending | Phase::Running) => Self::Running,
        }
    }
}

/// A kind of actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorKind {
    Supervisor,
    Workflow,
}

impl ActorKind {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Workflow => "workflow",
        }
    }
}

/// The metrics of one process, in a registry of their own.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_duration: Histogram,
    active: IntGaugeVec,
    started: IntCounter,
    adopted: IntCounter,
    finished: IntCounterVec,
    start_failures: IntCounterVec,
    stop_requests: IntCounterVec,
    restarts: IntCounterVec,
    calls: IntCounterVec,
}

impl Metrics {
    /// Registers everything. An error is a mistake in this file (two equal names) and ends the start of the process.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build = in_registry(
            &registry,
            IntGaugeVec::new(opts("build_info", "Build of the running plugin."), &["version", "mode"])?,
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), "sidecar"]).set(1);
        let metrics = Self {
            requests: in_registry(
                &registry,
                IntCounterVec::new(
                    opts("execute_requests_total", "template.execute requests answered, by answer."),
                    &["outcome"],
                )?,
            )?,
            request_duration: in_registry(
                &registry,
                Histogram::with_opts(
                    HistogramOpts::new("execute_request_duration_seconds", "Time to answer template.execute.")
                        .namespace(NAMESPACE)
                        .buckets(REQUEST_BUCKETS.to_vec()),
                )?,
            )?,
            active: in_registry(
                &registry,
                IntGaugeVec::new(opts("active_executions", "Executions followed now."), &["status"])?,
            )?,
            started: in_registry(
                &registry,
                IntCounter::with_opts(opts("executions_started_total", "Executions started by this process."))?,
            )?,
            adopted: in_registry(
                &registry,
                IntCounter::with_opts(opts("executions_adopted_total", "Executions found already running."))?,
            )?,
            finished: in_registry(
                &registry,
                IntCounterVec::new(
                    opts("executions_finished_total", "Executions seen in a final status."),
                    &["status"],
                )?,
            )?,
            start_failures: in_registry(
                &registry,
                IntCounterVec::new(
                    opts("execution_start_failures_total", "Executions that could not be started."),
                    &["reason"],
                )?,
            )?,
            stop_requests: in_registry(
                &registry,
                IntCounterVec::new(opts("execution_stop_requests_total", "Stop requests sent."), &["outcome"])?,
            )?,
            restarts: in_registry(
                &registry,
                IntCounterVec::new(
                    opts("actor_restarts_total", "Restarts by the supervisor (panic or error)."),
                    &["actor"],
                )?,
            )?,
            calls: in_registry(
                &registry,
                IntCounterVec::new(
                    opts("aws_api_calls_total", "Calls, retries included, by final outcome."),
                    &["operation", "outcome"],
                )?,
            )?,
            registry,
        };
        metrics.registry.register(Box::new(ProcessCollector::for_self()))?;
        metrics.create_known_series();
        Ok(metrics)
    }

    fn create_known_series(&self) {
        Outcome::ALL.iter().for_each(|outcome| drop(self.requests.with_label_values(&[outcome.as_str()])));
        ["Executing", "Stopping"].iter().for_each(|status| drop(self.active.with_label_values(&[status])));
        ["Succeeded", "Failed", "Stopped", "CompletedWithFailures", "Unknown"]
            .iter()
            .for_each(|status| drop(self.finished.with_label_values(&[status])));
        START_FAILURES.iter().for_each(|reason| drop(self.start_failures.with_label_values(&[reason])));
        ["ok", "error"].iter().for_each(|outcome| drop(self.stop_requests.with_label_values(&[outcome])));
        [ActorKind::Supervisor, ActorKind::Workflow]
            .iter()
            .for_each(|actor| drop(self.restarts.with_label_values(&[actor.as_str()])));
        OPERATIONS.iter().for_each(|operation| drop(self.calls.with_label_values(&[*operation, "ok"])));
    }

    /// The text format 0.0.4 of Prometheus.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Begins to time a `template.execute` request; however it ends, its duration is counted.
    pub fn request_began(&self) -> RequestTimer<'_> {
        RequestTimer { metrics: self, began: Instant::now(), outcome: None }
    }

    /// An execution was started by this process.
    pub fn execution_started(&self) {
        self.started.inc();
    }

    /// An execution was found already there.
    pub fn execution_adopted(&self) {
        self.adopted.inc();
    }

    /// An execution was seen in a final status.
    pub fn execution_finished(&self, status: &Status) {
        let word = if let Status::Unknown(_) = status { "Unknown" } else { status.as_str() };
        self.finished.with_label_values(&[word]).inc();
    }

    /// An execution could not be started. Words outside the catalogue count as `other`.
    pub fn start_failed(&self, kind: &str) {
        let kind = if kind == "outcome_unknown" { "timeout" } else { kind };
        let reason = START_FAILURES.iter().find(|known| **known == kind).copied().unwrap_or("other");
        self.start_failures.with_label_values(&[reason]).inc();
    }

    /// A stop was asked for.
    pub fn stop_requested(&self, ok: bool) {
        self.stop_requests.with_label_values(&[if ok { "ok" } else { "error" }]).inc();
    }

    /// An actor was restarted.
    pub fn actor_restarted(&self, actor: ActorKind) {
        self.restarts.with_label_values(&[actor.as_str()]).inc();
    }

    /// A call to AWS ended.
    pub fn call_ended(&self, operation: &str, ended: &CallEnded) {
        let outcome = ended.result.as_ref().map_or_else(|error| error.kind.as_str(), |_| "ok");
        self.calls.with_label_values(&[operation, outcome]).inc();
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

fn in_registry<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// Times one request; counts when dropped, so that no way out is forgotten.
pub struct RequestTimer<'a> {
    metrics: &'a Metrics,
    began: Instant,
    outcome: Option<Outcome>,
}

impl RequestTimer<'_> {
    /// Says how the request was answered.
    pub fn answered(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for RequestTimer<'_> {
    fn drop(&mut self) {
        self.metrics.request_duration.observe(self.began.elapsed().as_secs_f64());
        if let Some(outcome) = self.outcome {
            self.metrics.requests.with_label_values(&[outcome.as_str()]).inc();
        }
    }
}

/// One workflow's share of the active executions; takes it back when dropped, also by a panic.
pub struct ActiveShare {
    executing: IntGauge,
    stopping: IntGauge,
    share: (i64, i64),
}

impl ActiveShare {
    /// A share of nothing.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            executing: metrics.active.with_label_values(&["Executing"]),
            stopping: metrics.active.with_label_values(&["Stopping"]),
            share: (0, 0),
        }
    }

    /// Sets the share.
    pub fn set(&mut self, executing: usize, stopping: usize) {
        let new = (i64::try_from(executing).unwrap_or(i64::MAX), i64::try_from(stopping).unwrap_or(i64::MAX));
        self.executing.add(new.0 - self.share.0);
        self.stopping.add(new.1 - self.share.1);
        self.share = new;
    }
}

impl Drop for ActiveShare {
    fn drop(&mut self) {
        self.set(0, 0);
    }
}
