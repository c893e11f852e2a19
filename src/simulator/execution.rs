//! One execution: its steps start, run and end as time passes. Nothing happens between two looks at it; [`Execution::advance`]
//! catches up event by event, so the times in it do not depend on when it was looked at.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;

use super::{
    arn::{Ids, Scope},
    condition::decide_all,
    definition::{Definition, StepKind, StepPlan},
    expression,
    facts::Known,
    faults::{Faults, Times},
    steps::{Found, OutputValue, StepRun, StepStatus, outputs},
};
use crate::pipelines::{Status, Time};

/// FailureReason of every failed execution; the useful text is the step's.
pub const FAILED: &str = "Step failure: One or multiple steps failed.";

/// One execution of a pipeline.
#[derive(Clone, Debug)]
pub struct Execution {
    pub scope: Scope,
    pub pipeline: String,
    pub pipeline_arn: String,
    pub id: String,
    pub arn: String,
    pub display_name: String,
    pub description: Option<String>,
    pub parameters: Vec<(String, String)>,
    pub version: usize,
    pub parallelism: Option<u64>,
    /// SelectiveExecutionConfig as it was sent.
    pub selective: Option<Value>,
    /// Indexes of the steps that run; `None`: all.
    pub selected: Option<Vec<usize>>,
    pub definition: Arc<Definition>,
    pub token: String,
    /// How many Start calls were answered with this execution.
    pub starts: u64,
    /// How many Retry calls revived it.
    pub retries: u64,
    /// Of the last stop that was carried out. A retry does not make it new: a stop under it again does nothing.
    pub stop_token: Option<String>,
    pub status: Status,
    /// The statuses before, each with the time when it ended.
    past: Vec<(Time, Status)>,
    pub failure_reason: Option<String>,
    pub created: Time,
    pub modified: Time,
    pub steps: Vec<StepRun>,
    /// Runs that a retry replaced, oldest first; their jobs are still there.
    pub(super) earlier: Vec<StepRun>,
    /// Gone from the API, with its pipeline.
    pub deleted: bool,
    /// A stop takes at least until then.
    stop_until: Time,
    /// How far the execution has been played.
    reached: Time,
    /// Its entry in the book's agenda.
    pub due: Option<Time>,
}

/// What a new execution is made from.
pub struct Start {
    pub scope: Scope,
    pub pipeline: String,
    pub pipeline_arn: String,
    pub id: String,
    pub display_name: String,
    pub description: Option<String>,
    pub parameters: Vec<(String, String)>,
    pub version: usize,
    pub parallelism: Option<u64>,
    pub selective: Option<Value>,
    pub selected: Option<Vec<usize>>,
    pub definition: Arc<Definition>,
    pub token: String,
}

impl Execution {
    /// An execution that begins now; none of its steps has.
    pub fn new(start: Start, now: Time) -> Self {
        Self {
            arn: format!("{}/execution/{}", start.pipeline_arn, start.id),
            scope: start.scope,
            pipeline: start.pipeline,
            pipeline_arn: start.pipeline_arn,
            id: start.id,
            display_name: start.display_name,
            description: start.description,
            parameters: start.parameters,
            version: start.version,
            parallelism: start.parallelism,
            selective: start.selective,
            selected: start.selected,
            definition: start.definition,
            token: start.token,
            starts: 1,
            retries: 0,
            stop_token: None,
            status: Status::Executing,
            past: Vec::new(),
            failure_reason: None,
            created: now,
            modified: now,
            steps: Vec::new(),
            earlier: Vec::new(),
            deleted: false,
            stop_until: now,
            reached: now,
            due: None,
        }
    }

    /// Plays the execution up to `now`.
    pub fn advance(&mut self, faults: &mut Faults, ids: &mut Ids, now: Time) {
        while self.status.is_live() {
            if self.status == Status::Executing {
                self.start_ready_steps(faults, ids);
            }
            let next = self.running().filter_map(|i| Some((self.steps[i].due?, i))).min();
            if let Some((at, i)) = next {
                if at > now {
                    break;
                }
                self.reached = self.reached.max(at);
                self.end_step(i);
            } else if self.running().next().is_some() {
                // Only Callback steps: time alone changes nothing.
                break;
            } else if self.status == Status::Stopping {
                if self.stop_until > now {
                    break;
                }
                self.reached = self.reached.max(self.stop_until);
                self.end(Status::Stopped);
            } else {
                let failed = self.steps.iter().any(|s| s.status == StepStatus::Failed);
                self.end(if failed { Status::CompletedWithFailures } else { Status::Succeeded });
            }
        }
    }

    /// When time alone changes something next.
    pub fn next_change(&self) -> Option<Time> {
        if !self.status.is_live() {
            return None;
        }
        let running = self.running().next().is_some();
        if !running && self.status == Status::Stopping {
            return Some(self.stop_until);
        }
        self.running().filter_map(|i| self.steps[i].due).min()
    }

    /// Begins to stop. A Lambda step is waited for, a Callback step blocks until it is freed, jobs are stopped.
    pub fn stop(&mut self, faults: &Faults, now: Time) {
        self.reached = self.reached.max(now);
        self.becomes(Status::Stopping);
        self.modified = self.reached;
        self.stop_until = self.reached.plus(seconds(faults.stop_seconds));
        for i in 0..self.steps.len() {
            let waited_for = matches!(
                self.plan(i).kind,
                StepKind::Lambda { .. } | StepKind::Callback { .. } | StepKind::Condition { .. }
            );
            let step = &mut self.steps[i];
            if step.status == StepStatus::Executing && !waited_for {
                step.status = StepStatus::Stopping;
                step.due = Some(self.stop_until);
            }
        }
    }

    /// Runs what failed or was stopped again, under the same ARN. What succeeded keeps its results.
    pub fn retry(&mut self, now: Time) {
        let (kept, again): (Vec<StepRun>, Vec<StepRun>) =
            std::mem::take(&mut self.steps).into_iter().partition(|run| run.status == StepStatus::Succeeded);
        self.steps = kept;
        self.earlier.extend(again);
        self.retries += 1;
        self.reached = self.reached.max(now);
        self.becomes(Status::Executing);
        self.failure_reason = None;
        self.modified = self.reached;
    }

    /// All runs of steps, those before a retry first.
    pub(super) fn runs(&self) -> impl Iterator<Item = &StepRun> {
        self.earlier.iter().chain(&self.steps)
    }

    /// How often each step was begun, by its name.
    pub fn attempts_by_step(&self) -> BTreeMap<&str, u32> {
        let mut attempts = BTreeMap::new();
        for run in self.runs() {
            if let Some(plan) = self.definition.steps.get(run.plan) {
                *attempts.entry(plan.name.as_str()).or_default() += 1;
            }
        }
        attempts
    }

    /// Ends a waiting Callback step; false when it no longer waits.
    pub fn free_callback(&mut self, token: &str, result: Result<Vec<(String, String)>, String>, now: Time) -> bool {
        let Some(step) = self.steps.iter_mut().find(|s| s.callback_token.as_deref() == Some(token)) else {
            return false;
        };
        if !self.status.is_live() || !step.status.is_running() {
            return false;
        }
        step.due = Some(now);
        match result {
            Ok(outputs) => {
                let said = |(name, value)| OutputValue { name, value, stand_in: false };
                (step.fails, step.outputs) = (None, outputs.into_iter().map(said).collect());
            }
            Err(reason) => step.fails = Some(reason),
        }
        true
    }

    pub(super) fn plan(&self, run: usize) -> &StepPlan {
        &self.definition.steps[self.steps[run].plan]
    }

    /// How far it has been played.
    pub(super) fn reached(&self) -> Time {
        self.reached
    }

    fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.steps.len()).filter(|i| self.steps[*i].status.is_running())
    }

    fn start_ready_steps(&mut self, faults: &mut Faults, ids: &mut Ids) {
        let definition = Arc::clone(&self.definition);
        for (place, plan) in definition.steps.iter().enumerate() {
            let room = self.parallelism.is_none_or(|most| (self.running().count() as u64) < most);
            if room && self.is_ready(place, plan) {
                let run = self.begin(place, plan, faults, ids);
                self.steps.push(run);
                self.modified = self.reached;
            }
        }
    }

    fn is_selected(&self, place: usize) -> bool {
        self.selected.as_ref().is_none_or(|selected| selected.contains(&place))
    }

    fn is_ready(&self, place: usize, plan: &StepPlan) -> bool {
        if !self.is_selected(place) || self.steps.iter().any(|s| s.plan == place) {
            return false;
        }
        let run_of = |place: usize| self.steps.iter().find(|s| s.plan == place);
        // What a selective execution leaves out was done by its source.
        let done = |place: &usize| {
            !self.is_selected(*place)
                || run_of(*place)
                    .is_some_and(|s| s.status == StepStatus::Succeeded || (s.status == StepStatus::Failed && s.handled))
        };
        let taken = plan.branch.is_none_or(|(condition, wanted)| {
            !self.is_selected(condition) || run_of(condition).is_some_and(|s| s.outcome == wanted)
        });
        taken && plan.after.iter().all(done)
    }

    fn begin(&self, place: usize, plan: &StepPlan, faults: &mut Faults, ids: &mut Ids) -> StepRun {
        let default_seconds = faults.step_seconds;
        let script = faults.script(&self.pipeline, &plan.name);
        let fails = script.is_some_and(|s| s.fail.as_mut().is_some_and(Times::take));
        let script = faults.script(&self.pipeline, &plan.name).cloned().unwrap_or_default();
        let scripted = || {
            let text = "AlgorithmError: ExecuteUserScriptError: ExitCode 1, ErrorMessage \"simulated failure\"";
            script.reason.clone().unwrap_or_else(|| format!("ClientError: {}: {text}", plan.name))
        };
        let known = Known { execution: self, objects: &faults.objects };
        let mut outcome = script.outcome;
        let reason = match &plan.kind {
            StepKind::Fail { message } => Some(expression::text(message, &known).unwrap_or_else(|reason| reason)),
            _ if fails => Some(scripted()),
            StepKind::Condition { conditions } if outcome.is_none() => match decide_all(conditions, &known) {
                Ok(decided) => {
                    outcome = decided;
                    None
                }
                Err(reason) => Some(format!("ClientError: {reason}.")),
            },
            _ => None,
        };
        let waits = matches!(plan.kind, StepKind::Callback { .. });
        let duration = match (script.seconds, &plan.kind) {
            (Some(n), _) => Some(n),
            (None, _) if waits => None,
            // A decision takes no time worth showing.
            (None, StepKind::Condition { .. } | StepKind::Fail { .. }) => Some(0.0),
            (None, _) => Some(default_seconds),
        };
        let due = duration.map(|n| self.reached.plus(seconds(n)));
        StepRun {
            plan: place,
            status: StepStatus::Executing,
            attempt: self.earlier.iter().filter(|run| run.plan == place).map(|run| run.attempt).max().unwrap_or(0) + 1,
            started: self.reached,
            ended: None,
            failure_reason: None,
            due,
            planned: due,
            fails: reason,
            handled: script.handled,
            outputs: outputs(&plan.kind, &script.outputs),
            job_arn: self.job_arn(plan, ids),
            callback_token: waits.then(|| ids.lower(10)),
            // What hangs on something that nobody told takes the first branch.
            outcome: outcome.unwrap_or(true),
            found: Found::of(&script),
        }
    }

    /// Names as SageMaker gives them: `pipelines-<execution>-<step>-<10 random>`, at most 63 characters. The names of two types
    /// may have only 32.
    fn job_arn(&self, plan: &StepPlan, ids: &mut Ids) -> Option<String> {
        match &plan.kind {
            StepKind::Job { resource: resource @ ("hyper-parameter-tuning-job" | "automl-job"), .. } => {
                Some(self.scope.sagemaker(&format!("{resource}/pipelines-{}-{}", self.id, ids.lower(9))))
            }
            StepKind::Job { .. } | StepKind::Check { .. } => {
                let resource = if let StepKind::Job { resource, .. } = plan.kind { resource } else { "processing-job" };
                let step: String = plan.name.chars().filter(|c| *c != '_').take(29).collect();
                let job = format!("{resource}/pipelines-{}-{step}-{}", self.id, ids.lower(10));
                Some(self.scope.sagemaker(&job))
            }
            StepKind::RegisterModel { group } => {
                // Each execution registers another version of the group.
                let version = 1 + ids.lower(2).bytes().map(u32::from).sum::<u32>();
                Some(self.scope.sagemaker(&format!("model-package/{group}/{version}")))
            }
            _ => None,
        }
    }

    fn end_step(&mut self, run: usize) {
        let at = self.reached;
        self.modified = at;
        let lambda = matches!(self.plan(run).kind, StepKind::Lambda { .. });
        let stopping = self.status == Status::Stopping;
        let step = &mut self.steps[run];
        step.ended = Some(at);
        if step.status == StepStatus::Stopping {
            step.status = StepStatus::Stopped;
            return;
        }
        let Some(reason) = step.fails.take() else {
            step.status = StepStatus::Succeeded;
            return;
        };
        step.status = StepStatus::Failed;
        step.failure_reason = Some(reason);
        if step.handled || (stopping && !lambda) {
            return;
        }
        for other in self.steps.iter_mut().filter(|s| s.status.is_running()) {
            other.status = StepStatus::Stopped;
            other.ended = Some(at);
        }
        self.failure_reason = Some(FAILED.to_owned());
        self.end(Status::Failed);
    }

    fn end(&mut self, status: Status) {
        self.becomes(status);
        self.modified = self.reached;
    }

    fn becomes(&mut self, status: Status) {
        self.past.push((self.reached, std::mem::replace(&mut self.status, status)));
    }

    /// The status that it had at this time; the first one if it was not there yet.
    pub fn status_at(&self, at: Time) -> &Status {
        self.past.iter().find(|(until, _)| at < *until).map_or(&self.status, |(_, status)| status)
    }

    /// A step as ListPipelineExecutionSteps shows it.
    pub fn step_json(&self, run: usize) -> Value {
        self.steps[run].shown(self.plan(run))
    }
}

/// Seconds as they are configured; checked when they were set.
pub fn seconds(n: f64) -> Duration {
    Duration::try_from_secs_f64(n).unwrap_or_default()
}

/// A time as AWS JSON writes it: seconds since the epoch with a fraction.
pub fn timestamp(time: Time) -> Value {
    (time.millis() as f64 / 1000.0).into()
}

/// The text cut to so many characters.
pub fn clipped(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}
