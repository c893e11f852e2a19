//! The state machine of simulated SageMaker pipelines: no clock, no I/O. Requests and answers are the API's own JSON;
//! the doors ([`super::http`], [`super::door`]) only carry them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use super::{
    arn::{Ids, Scope},
    denial::{denial, resource},
    execution::{Execution, seconds},
    faults::{Faults, Times, operation, service, strikes},
    iam::Iam,
    pipeline::Pipeline,
    rate::Buckets,
    refusal::Refusal,
    scenario::Scenario,
    sts::Session,
};
use crate::pipelines::Time;

/// Who calls, as the request's credentials tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    pub account: String,
    /// From the signature's scope.
    pub region: String,
    /// The caller's own ARN, as GetCallerIdentity shows it.
    pub arn: String,
    /// The role whose session it is.
    pub role: Option<String>,
    /// When its credentials expire.
    pub expires: Option<Time>,
}

impl Caller {
    /// The caller's account in the region it asks.
    pub fn scope(&self) -> Scope {
        Scope { account: self.account.clone(), region: self.region.clone() }
    }

    /// Whether its credentials have expired.
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// What becomes of an answer on its way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Sent,
    /// The connection is closed without an answer.
    Lost,
    /// The connection stays open and silent.
    Never,
}

/// A call's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub result: Result<Value, Refusal>,
    pub delivery: Delivery,
    pub latency_ms: u64,
    pub request_id: String,
}

/// What a ClientRequestToken was used for.
#[derive(Clone, Debug)]
pub(super) struct TokenUse {
    pub execution: usize,
    /// The other arguments, to tell a repeat from a mismatch.
    pub arguments: Value,
    pub at: Time,
}

/// All accounts and regions of the simulated cloud.
#[derive(Clone, Debug)]
pub struct Book {
    pub(super) scenario: Scenario,
    pub faults: Faults,
    /// Absent: every role can be assumed, and may do everything.
    pub iam: Option<Iam>,
    pub(super) ids: Ids,
    pub(super) pipelines: BTreeMap<Scope, BTreeMap<String, Pipeline>>,
    pub(super) executions: Vec<Execution>,
    pub(super) by_arn: HashMap<String, usize>,
    /// By the id that the names of its jobs carry. Jobs outlive their execution.
    pub(super) by_id: HashMap<String, usize>,
    pub(super) tokens: HashMap<(Scope, String), TokenUse>,
    /// Tokens of RetryPipelineExecution.
    pub(super) retry_tokens: HashMap<(Scope, String), TokenUse>,
    pub(super) sessions: HashMap<String, Session>,
    /// Live executions per scope, for the quota.
    pub(super) live: BTreeMap<Scope, usize>,
    /// Which execution changes by itself next, and when.
    agenda: BTreeSet<(Time, usize)>,
    calls: BTreeMap<&'static str, u64>,
    buckets: Buckets,
}

impl Book {
    /// The scenario's start. The error names a pipeline whose definition SageMaker would refuse.
    pub fn new(scenario: Scenario, now: Time) -> Result<Self, String> {
        let mut book = Self {
            faults: scenario.faults.clone(),
            iam: scenario.iam.clone(),
            ids: Ids::new(scenario.seed),
            pipelines: BTreeMap::new(),
            executions: Vec::new(),
            by_arn: HashMap::new(),
            by_id: HashMap::new(),
            tokens: HashMap::new(),
            retry_tokens: HashMap::new(),
            sessions: HashMap::new(),
            live: BTreeMap::new(),
            agenda: BTreeSet::new(),
            calls: BTreeMap::new(),
            buckets: Buckets::default(),
            scenario,
        };
        for pipeline in book.scenario.pipelines.clone() {
            book.add_pipeline(&pipeline, now).map_err(|e| format!("pipeline {:?}: {}", pipeline.name, e.message))?;
        }
        Ok(book)
    }

    /// Back to the scenario's start.
    pub fn reset(&mut self, now: Time) -> Result<(), String> {
        *self = Self::new(self.scenario.clone(), now)?;
        Ok(())
    }

    /// Plays everything up to `now`.
    pub fn settle(&mut self, now: Time) {
        while let Some((due, index)) = self.agenda.first().copied() {
            if due > now {
                break;
            }
            self.touch(index, now);
        }
    }

    /// Plays one execution up to `now` and notes when it is next to be looked at.
    pub(super) fn touch(&mut self, index: usize, now: Time) {
        let Some(execution) = self.executions.get_mut(index) else { return };
        if let Some(due) = execution.due.take() {
            self.agenda.remove(&(due, index));
        }
        let was_live = execution.status.is_live();
        execution.advance(&mut self.faults, &mut self.ids, now);
        execution.due = execution.next_change();
        if let Some(due) = execution.due {
            self.agenda.insert((due, index));
        }
        if was_live && !execution.status.is_live() {
            let live = self.live.entry(execution.scope.clone()).or_default();
            *live = live.saturating_sub(1);
        }
    }

    /// One call of SageMaker's API: the operation's name and its input as JSON.
    pub fn call(&mut self, caller: &Caller, name: &str, input: &Value, now: Time) -> Answer {
        let Some(operation) = operation(name) else {
            let refusal = Refusal::new(400, "UnknownOperationException", format!("no such operation: {name}"));
            return self.answer(Err(refusal), Delivery::Sent);
        };
        self.settle(now);
        if let Some(answer) = self.struck(caller, operation, input, now) {
            return answer;
        }
        if let Some(refusal) = self.not_permitted(caller, operation, input, now) {
            return self.answer(Err(refusal), Delivery::Sent);
        }
        let result = match operation {
            "CreatePipeline" => self.create_pipeline(caller, input, now),
            "UpdatePipeline" => self.update_pipeline(caller, input, now),
            "DescribePipeline" => self.describe_pipeline(caller, input),
            "ListPipelines" => self.list_pipelines(caller, input),
            "DeletePipeline" => self.delete_pipeline(caller, input),
            "StartPipelineExecution" => self.start_execution(caller, input, now),
            "DescribePipelineExecution" => self.describe_execution(caller, input, now),
            "ListPipelineExecutions" => self.list_executions(caller, input, now),
            "ListPipelineExecutionSteps" => self.list_steps(caller, input, now),
            "ListPipelineParametersForExecution" => self.list_parameters(caller, input, now),
            "DescribePipelineDefinitionForExecution" => self.describe_definition(caller, input, now),
            "UpdatePipelineExecution" => self.update_execution(caller, input, now),
            "StopPipelineExecution" => self.stop_execution(caller, input, now),
            "RetryPipelineExecution" => self.retry_execution(caller, input, now),
            "SendPipelineExecutionStepSuccess" | "SendPipelineExecutionStepFailure" => {
                self.free_callback(caller, operation, input, now)
            }
            "GetLogEvents" => self.get_log_events(caller, input, now),
            "DescribeLogStreams" => self.describe_log_streams(caller, input, now),
            "GetCallerIdentity" | "AssumeRole" | "AssumeRoleWithWebIdentity" => {
                self.security_token(Some(caller), operation, input, now)
            }
            _ => self.describe_job(caller, operation, input),
        };
        self.delivered(operation, result)
    }

    /// One call of STS. `input` holds the form's members as strings; a web identity comes without a caller.
    pub fn call_sts(&mut self, caller: Option<&Caller>, name: &str, input: &Value, now: Time) -> Answer {
        let known =
            operation(name).filter(|o| matches!(*o, "GetCallerIdentity" | "AssumeRole" | "AssumeRoleWithWebIdentity"));
        let Some(operation) = known else {
            let text = format!("Could not find operation {name} for version 2011-06-15");
            return self.answer(Err(Refusal::new(400, "InvalidAction", text)), Delivery::Sent);
        };
        self.settle(now);
        let nobody = Caller::default();
        if let Some(answer) = self.struck(caller.unwrap_or(&nobody), operation, input, now) {
            return answer;
        }
        let result = self.security_token(caller, operation, input, now);
        self.delivered(operation, result)
    }

    /// Counts the call and lets the faults refuse it before it has any effect.
    fn struck(&mut self, caller: &Caller, operation: &'static str, input: &Value, now: Time) -> Option<Answer> {
        *self.calls.entry(operation).or_default() += 1;
        if strikes(&mut self.faults.hang, operation) {
            return Some(self.answer(Err(internal()), Delivery::Never));
        }
        if strikes(&mut self.faults.throttle, operation)
            || !self.buckets.take(&self.faults.rate, caller.scope(), operation, now)
        {
            let refusal = Refusal::new(400, "ThrottlingException", "Rate exceeded");
            return Some(self.answer(Err(refusal), Delivery::Sent));
        }
        if strikes(&mut self.faults.server_error, operation) {
            return Some(self.answer(Err(internal()), Delivery::Sent));
        }
        let version = (operation == "StartPipelineExecution")
            .then(|| input.get("PipelineVersionId").and_then(Value::as_u64))
            .flatten();
        let denied = version.and_then(|version| self.faults.deny_versions.get_mut(&version.to_string()));
        if denied.is_some_and(Times::take) || strikes(&mut self.faults.deny, operation) {
            let refusal = denial(caller, operation, input);
            return Some(self.answer(Err(refusal), Delivery::Sent));
        }
        if strikes(&mut self.faults.conflict, operation) {
            let refusal = Refusal::conflict("The pipeline execution is being modified by another request. Try again.");
            return Some(self.answer(Err(refusal), Delivery::Sent));
        }
        let key = if self.faults.errors.contains_key(operation) { operation } else { "*" };
        let chosen = self.faults.errors.get_mut(key)?;
        if !chosen.times.take() {
            return None;
        }
        let refusal = Refusal::new(chosen.status, &chosen.code, chosen.message.clone());
        Some(self.answer(Err(refusal), Delivery::Sent))
    }

    /// What the caller's credentials and its role's policies say against a call of SageMaker's.
    fn not_permitted(&self, caller: &Caller, operation: &str, input: &Value, now: Time) -> Option<Refusal> {
        if caller.is_expired(now) {
            let text = "The security token included in the request is expired";
            return Some(Refusal::new(400, "ExpiredTokenException", text));
        }
        let version = input.get("PipelineVersionId").filter(|version| !version.is_null()).map(Value::to_string);
        let context: Vec<_> =
            version.into_iter().map(|version| ("sagemaker:PipelineVersionId".to_owned(), vec![version])).collect();
        let action = format!("{}:{operation}", service(operation));
        let resource = resource(caller, operation, input);
        let permitted = self.iam.as_ref().is_none_or(|iam| iam.permits(caller, &action, &resource, &context));
        (!permitted).then(|| denial(caller, operation, input))
    }

    fn delivered(&mut self, operation: &str, result: Result<Value, Refusal>) -> Answer {
        let lost = strikes(&mut self.faults.lose_reply, operation);
        let slow = strikes(&mut self.faults.slow, operation);
        let mut answer = self.answer(result, if lost { Delivery::Lost } else { Delivery::Sent });
        answer.latency_ms += if slow { self.faults.slow_ms } else { 0 };
        answer
    }

    fn answer(&mut self, result: Result<Value, Refusal>, delivery: Delivery) -> Answer {
        Answer { result, delivery, latency_ms: self.faults.latency_ms, request_id: self.ids.request() }
    }

    /// How often an operation was called, refused calls included.
    pub fn calls(&self, operation: &str) -> u64 {
        self.calls.get(operation).copied().unwrap_or(0)
    }

    /// All executions ever started, deleted ones included, in order of their start.
    pub fn executions(&self) -> &[Execution] {
        &self.executions
    }

    /// Makes an execution vanish from the API, running or not. False when there is none under this ARN.
    pub fn forget(&mut self, arn: &str, now: Time) -> bool {
        self.settle(now);
        let Some(index) = self.by_arn.remove(arn) else { return false };
        if let Some(execution) = self.executions.get_mut(index) {
            execution.deleted = true;
            if execution.status.is_live() {
                let live = self.live.entry(execution.scope.clone()).or_default();
                *live = live.saturating_sub(1);
            }
            if let Some(due) = execution.due.take() {
                self.agenda.remove(&(due, index));
            }
        }
        self.forget_tokens(&[index]);
        true
    }

    /// The tokens of executions that are gone may be used again.
    pub(super) fn forget_tokens(&mut self, executions: &[usize]) {
        for tokens in [&mut self.tokens, &mut self.retry_tokens] {
            tokens.retain(|_, used| !executions.contains(&used.execution));
        }
    }

    /// Whether an execution is already in the lists.
    pub(super) fn is_listed(&self, execution: &Execution, now: Time) -> bool {
        !execution.deleted && execution.created.plus(seconds(self.faults.list_lag_seconds)) <= now
    }

    /// What `GET /admin/book` shows.
    pub fn show(&mut self, now: Time) -> Value {
        self.settle(now);
        let executions: Vec<Value> = self
            .executions
            .iter()
            .map(|e| {
                json!({
                    "account": e.scope.account, "region": e.scope.region, "pipeline": e.pipeline, "arn": e.arn,
                    "status": e.status.as_str(), "token": e.token, "starts": e.starts, "created_ms": e.created.millis(),
                    "modified_ms": e.modified.millis(), "display_name": e.display_name, "description": e.description,
                    "parameters": e.parameters.iter().cloned().collect::<BTreeMap<_, _>>(),
                    "steps": e.steps.len(), "retries": e.retries, "attempts": e.attempts_by_step(), "deleted": e.deleted,
                })
            })
            .collect();
        let pipelines: Vec<&str> = self.pipelines.values().flat_map(|p| p.values().map(|p| p.arn.as_str())).collect();
        json!({"now_ms": now.millis(), "executions": executions, "pipelines": pipelines, "calls": self.calls, "faults": self.faults})
    }
}

fn internal() -> Refusal {
    Refusal::new(500, "InternalFailure", "The request processing has failed because of an unknown error")
}
