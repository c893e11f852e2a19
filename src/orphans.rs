//! Executions that were left behind: they live, carry the plugin's marker, and their workflow is over.
//!
//! A pod that is killed, or told to end before the end of its workflow could be seen, stops nothing. `awf-aws orphans`
//! finds what it left, `awf-aws orphans --stop` stops it. What is alive, what cannot be judged and what its user wants
//! left running is never stopped.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::future::join_all;
use serde::Serialize;

use crate::{
    backend::{SharedBackend, carry_out},
    config::orphans::OrphansConfig,
    input::WorkflowId,
    observer::SharedObserver,
    pipelines::{Call, CallError, CallErrorKind, CallReply, ClientKey, Execution, Status, Time},
    text,
    workflow::{
        WorkflowState,
        identity::{Marker, WhenOver, stop_token},
    },
};

/// SageMaker ends executions after 28 days, so nothing older can be live.
const FURTHEST: Duration = Duration::from_secs(28 * 24 * 3600);
/// Calls at once: of stops, and of questions to Kubernetes.
const AT_ONCE: usize = 16;
/// A call that AWS throttles or does not answer is repeated so often.
const TRIES: u32 = 6;

/// A live execution with a marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub arn: String,
    pub status: Status,
    pub created: Option<Time>,
    pub marker: Marker,
}

/// What an execution is, by the state of its workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Somebody wants it.
    Wanted,
    /// Nobody does; why.
    Orphan(&'static str),
    /// It cannot be said; why.
    Unjudged(&'static str),
}

/// Whether an execution of a listing is one to be judged: alive, started by the plugin, old enough and of these
/// namespaces (none: of any).
pub fn candidate(execution: Execution, namespaces: &[String], older_than: Duration, now: Time) -> Option<Candidate> {
    let marker = Marker::parse(execution.description.as_deref()?)?;
    let asked_for = namespaces.is_empty() || namespaces.contains(&marker.namespace);
    let old = execution.created.is_some_and(|created| now.since(created) >= older_than);
    let Execution { arn, status, created, .. } = execution;
    (status.is_live() && asked_for && old).then_some(Candidate { arn, status, created, marker })
}

/// Judges one execution.
pub fn judge(found: &Candidate, workflow: WorkflowState) -> Verdict {
    match (workflow, found.marker.when_over) {
        (_, WhenOver::Leave) | (WorkflowState::Alive { .. }, _) => Verdict::Wanted,
        (WorkflowState::Over, WhenOver::ExitHandler) => Verdict::Wanted,
        (WorkflowState::Over, WhenOver::Stop) => Verdict::Orphan("its workflow was stopped"),
        (WorkflowState::Gone, _) => Verdict::Orphan("its workflow is over or gone"),
        (WorkflowState::Forbidden, _) => Verdict::Unjudged("not allowed to read its workflow"),
        (WorkflowState::Unknown, _) => Verdict::Unjudged("Kubernetes did not answer"),
    }
}

/// What became of an orphan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    LeftRunning,
    /// By this run, or it was being stopped already.
    Stopping,
    /// It ended before it could be stopped.
    Ended,
    NotStopped(String),
}

/// An orphan as it is printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Orphan {
    pub arn: String,
    pub status: String,
    /// RFC 3339.
    pub created: Option<String>,
    pub namespace: String,
    pub workflow: String,
    pub uid: String,
    /// Why nobody wants it.
    pub why: &'static str,
    pub outcome: Outcome,
}

/// What was found and done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub orphans: Vec<Orphan>,
    /// What could not be looked at or judged, a sentence each.
    pub problems: Vec<String>,
}

impl Report {
    /// 0: there are none, or all are stopped; 1: some are left; 70: not everything could be looked at.
    pub fn exit_code(&self) -> u8 {
        let left = |orphan: &Orphan| matches!(orphan.outcome, Outcome::LeftRunning | Outcome::NotStopped(_));
        match self.orphans.iter().any(left) {
            _ if !self.problems.is_empty() => 70,
            true => 1,
            false => 0,
        }
    }

    /// One line for each orphan; as JSON, one object a line.
    pub fn lines(&self, json: bool) -> Vec<String> {
        let text = |orphan: &Orphan| {
            let outcome = match &orphan.outcome {
                Outcome::LeftRunning => "left running",
                Outcome::Stopping => "stopping",
                Outcome::Ended => "ended",
                Outcome::NotStopped(why) => return format!("{}\tnot stopped: {why}", orphan.columns()),
            };
            format!("{}\t{outcome}", orphan.columns())
        };
        let line =
            |orphan: &Orphan| if json { serde_json::to_string(orphan).unwrap_or_default() } else { text(orphan) };
        self.orphans.iter().map(line).collect()
    }
}

impl Orphan {
    fn columns(&self) -> String {
        let created = self.created.as_deref().unwrap_or("-");
        format!("{}\t{created}\t{}/{}\t{}", self.arn, self.namespace, self.workflow, self.why)
    }
}

/// Looks for orphans and, when that is asked for, stops them.
pub async fn run(config: &OrphansConfig, backend: SharedBackend, observer: SharedObserver, now: Time) -> Report {
    let mut report = Report::default();
    let mut found: Vec<(ClientKey, Candidate)> = Vec::new();
    let search = Search { config, backend: &backend, now };
    for client in &config.clients {
        for pipeline in search.pipelines(client, &mut report.problems).await {
            let executions = search.executions(client, &pipeline, &mut report.problems).await;
            found.extend(executions.into_iter().map(|found| (client.clone(), found)));
        }
    }
    // Asked after everything is listed: what began meanwhile is not in the lists.
    let states = states(&found, &observer).await;
    let mut orphans = Vec::new();
    for (client, found) in found {
        let state = states.get(&id(&found.marker)).copied().unwrap_or(WorkflowState::Unknown);
        match judge(&found, state) {
            Verdict::Wanted => {}
            Verdict::Orphan(why) => orphans.push((client, found, why)),
            Verdict::Unjudged(why) => report
                .problems
                .push(format!("{} of workflow {}/{}: {why}", found.arn, found.marker.namespace, found.marker.workflow)),
        }
    }
    for orphans in orphans.chunks(AT_ONCE) {
        let ended = join_all(orphans.iter().map(|(client, found, why)| search.settle(client, found, why))).await;
        report.orphans.extend(ended);
    }
    report
}

fn id(marker: &Marker) -> (String, String, String) {
    (marker.namespace.clone(), marker.workflow.clone(), marker.uid.clone())
}

async fn states(
    found: &[(ClientKey, Candidate)],
    observer: &SharedObserver,
) -> BTreeMap<(String, String, String), WorkflowState> {
    let workflows: BTreeSet<_> = found.iter().map(|(_, found)| id(&found.marker)).collect();
    let workflows: Vec<_> = workflows.into_iter().collect();
    let mut states = BTreeMap::new();
    for workflows in workflows.chunks(AT_ONCE) {
        let ask = |(namespace, name, uid): &(String, String, String)| {
            observer.observe(WorkflowId { uid: uid.clone(), name: name.clone(), namespace: namespace.clone() })
        };
        let answers = join_all(workflows.iter().map(ask)).await;
        states.extend(workflows.iter().cloned().zip(answers));
    }
    states
}

struct Search<'a> {
    config: &'a OrphansConfig,
    backend: &'a SharedBackend,
    now: Time,
}

impl Search<'_> {
    async fn pipelines(&self, client: &ClientKey, problems: &mut Vec<String>) -> Vec<String> {
        if !self.config.pipelines.is_empty() {
            return self.config.pipelines.clone();
        }
        let mut names = Vec::new();
        let mut next_token = None;
        loop {
            match self.call(client, Call::ListPipelines { next_token: next_token.take() }).await {
                Ok(CallReply::Pipelines { page, next_token: more }) => {
                    // Nothing that began earlier can still run.
                    let furthest = self.now.minus(FURTHEST);
                    let recent = page.into_iter().filter(|p| p.last_started.is_none_or(|at| at >= furthest));
                    names.extend(recent.map(|p| p.name));
                    next_token = more;
                }
                Ok(_) => {}
                Err(error) => problems.push(format!("{}: pipelines cannot be listed: {error}", client.region)),
            }
            if next_token.is_none() {
                return names;
            }
        }
    }

    async fn executions(&self, client: &ClientKey, pipeline: &str, problems: &mut Vec<String>) -> Vec<Candidate> {
        let mut found = Vec::new();
        let mut next_token = None;
        loop {
            let call = Call::ListExecutions {
                pipeline: pipeline.to_owned(),
                created_after: Some(self.now.minus(FURTHEST)),
                next_token: next_token.take(),
            };
            match self.call(client, call).await {
                Ok(CallReply::Executions { page, next_token: more }) => {
                    let (namespaces, older_than) = (&self.config.namespaces, self.config.older_than);
                    found.extend(page.into_iter().filter_map(|e| candidate(e, namespaces, older_than, self.now)));
                    next_token = more;
                }
                Ok(_) => {}
                Err(error) => {
                    problems.push(format!("{}: executions of {pipeline} cannot be listed: {error}", client.region));
                }
            }
            if next_token.is_none() {
                return found;
            }
        }
    }

    /// Stops an orphan if that is asked for, and says what became of it.
    async fn settle(&self, client: &ClientKey, found: &Candidate, why: &'static str) -> Orphan {
        let outcome = if found.status == Status::Stopping {
            Outcome::Stopping
        } else if self.config.stop {
            let call = Call::StopExecution { arn: found.arn.clone(), token: stop_token(&found.arn, self.now, 0) };
            match self.call(client, call).await {
                Ok(_) => Outcome::Stopping,
                // "Only pipelines with 'Executing' status can be stopped."
                Err(error) if matches!(error.kind, CallErrorKind::Invalid | CallErrorKind::NotFound) => Outcome::Ended,
                Err(error) => Outcome::NotStopped(error.message),
            }
        } else {
            Outcome::LeftRunning
        };
        Orphan {
            arn: found.arn.clone(),
            status: found.status.as_str().to_owned(),
            created: found.created.and_then(text::rfc3339),
            namespace: found.marker.namespace.clone(),
            workflow: found.marker.workflow.clone(),
            uid: found.marker.uid.clone(),
            why,
            outcome,
        }
    }

    /// Makes a call, and again when that may help.
    async fn call(&self, client: &ClientKey, call: Call) -> Result<CallReply, CallError> {
        let mut tries = 0;
        loop {
            let error = match carry_out(self.backend.clone(), client.clone(), call.clone()).await.result {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            tries += 1;
            let passing = matches!(
                error.kind,
                CallErrorKind::Throttled
                    | CallErrorKind::Conflict
                    | CallErrorKind::Unreachable
                    | CallErrorKind::OutcomeUnknown
            );
            if !passing || tries >= TRIES {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(250) * 2_u32.pow(tries)).await;
        }
    }
}
