//! The backend door: the book as a [`Backend`], and as a plain function for simulations that keep their own time.

use std::{future::Future, pin::Pin, time::Duration};

use serde_json::{Value, json};

use super::{
    SharedBook,
    book::{Answer, Book, Caller, Delivery},
    locked,
    refusal::Refusal,
};
use crate::{
    backend::{Backend, codes::known_by_code},
    pipelines::{
        Call, CallEnded, CallError, CallErrorKind, CallReply, ClientKey, Clock, Execution, PipelineDescription,
        PipelineSummary, StartExecution, Status, Step, Time,
    },
};

mod jobs;

/// How long a call that is never answered takes to fail, as the SDK's time-out would.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What becomes of one call.
pub struct Outcome {
    /// What the caller learns in the end.
    pub result: Result<CallReply, CallError>,
    /// Whether it learns it from AWS, whose clock then comes with it.
    pub answered: bool,
    /// How long that takes.
    pub after: Duration,
}

/// Carries a call to the book at `now`. The effect happens at once; only the answer takes time. The access key stands
/// for the pod's own credentials.
pub fn ask(book: &mut Book, access_key: &str, client: &ClientKey, call: &Call, now: Time) -> Outcome {
    let mut caller = book.caller(access_key, &client.region);
    if let Some(role) = &client.role_arn {
        match assumed(book, &caller, client, role, now) {
            Ok(assumed) => caller = assumed,
            Err(error) => return Outcome { result: Err(error), answered: true, after: Duration::ZERO },
        }
    }
    let told = match call {
        Call::LogTail { group, stream_prefix, lines } => {
            return log_tail(book, &caller, (group, stream_prefix, *lines), now);
        }
        _ => told(book.call(&caller, call.operation(), &input(call), now)),
    };
    Outcome { result: told.result.map(|output| reply(call, &output)), answered: told.answered, after: told.after }
}

/// What becomes of one operation.
struct Told {
    result: Result<Value, CallError>,
    answered: bool,
    after: Duration,
}

fn told(answer: Answer) -> Told {
    let latency = Duration::from_millis(answer.latency_ms);
    let unknown = |message: &str| {
        let message = message.to_owned();
        Err(CallError { kind: CallErrorKind::OutcomeUnknown, code: None, message, request_id: None })
    };
    match answer.delivery {
        Delivery::Sent => {
            let result = answer.result.map_err(|refusal| error(&refusal, Some(answer.request_id)));
            Told { result, answered: true, after: latency }
        }
        Delivery::Lost => {
            Told { result: unknown("connection closed before the answer"), answered: false, after: latency }
        }
        Delivery::Never => Told { result: unknown("no answer within 10 s"), answered: false, after: latency + TIMEOUT },
    }
}

/// The two operations of a log's end.
fn log_tail(book: &mut Book, caller: &Caller, (group, prefix, lines): (&str, &str, u16), now: Time) -> Outcome {
    let wanted = json!({"logGroupName": group, "logStreamNamePrefix": prefix, "limit": 50});
    let found = told(book.call(caller, "DescribeLogStreams", &wanted, now));
    let ended = |result, last: &Told, after| Outcome { result, answered: last.answered, after };
    let stream = match &found.result {
        Ok(answer) => jobs::newest_stream(answer),
        Err(error) => return ended(Err(error.clone()), &found, found.after),
    };
    let Some(stream) = stream else {
        return ended(Ok(CallReply::LogTail(jobs::tail(None, &Value::Null))), &found, found.after);
    };
    let wanted = json!({"logGroupName": group, "logStreamName": stream, "limit": lines, "startFromHead": false});
    let read = told(book.call(caller, "GetLogEvents", &wanted, now));
    let tail = read.result.as_ref().map(|answer| CallReply::LogTail(jobs::tail(Some(stream), answer)));
    ended(tail.map_err(Clone::clone), &read, found.after + read.after)
}

/// The simulated service in the same process.
pub struct SimulatedBackend {
    book: SharedBook,
    clock: Clock,
    access_key: String,
}

impl SimulatedBackend {
    /// A door whose callers hold this access key.
    pub fn new(book: SharedBook, clock: Clock, access_key: impl Into<String>) -> Self {
        Self { book, clock, access_key: access_key.into() }
    }
}

impl Backend for SimulatedBackend {
    fn call(&self, client: ClientKey, call: Call) -> Pin<Box<dyn Future<Output = CallEnded> + Send>> {
        let Outcome { result, answered, after } =
            ask(&mut locked(&self.book), &self.access_key, &client, &call, (self.clock)());
        let clock = self.clock.clone();
        Box::pin(async move {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            CallEnded { result, server_time: answered.then(|| clock()) }
        })
    }
}

/// The role's caller. Its credentials are cached as the SDK would, by being derived once per call without a fault's count.
fn assumed(book: &mut Book, caller: &Caller, client: &ClientKey, role: &str, now: Time) -> Result<Caller, CallError> {
    let mut form = json!({"RoleArn": role, "RoleSessionName": "awf-aws"});
    if let Some(id) = &client.external_id {
        form["ExternalId"] = id.as_str().into();
    }
    let answer = book.call_sts(Some(caller), "AssumeRole", &form, now);
    let output = answer.result.map_err(|refusal| CallError {
        kind: CallErrorKind::Credentials,
        ..error(&refusal, Some(answer.request_id))
    })?;
    let key = output.pointer("/Credentials/AccessKeyId").and_then(Value::as_str).unwrap_or_default();
    Ok(book.caller(key, &client.region))
}

/// A call's input as the API's JSON.
fn input(call: &Call) -> Value {
    match call {
        Call::GetCallerIdentity => json!({}),
        Call::DescribePipeline { pipeline, version } => {
            json!({"PipelineName": pipeline, "PipelineVersionId": version})
        }
        Call::StartExecution(start) => start_input(start),
        Call::DescribeExecution { arn } => json!({"PipelineExecutionArn": arn}),
        Call::ListPipelines { next_token } => json!({"NextToken": next_token, "MaxResults": 100}),
        Call::ListExecutions { pipeline, created_after, next_token } => json!({
            "PipelineName": pipeline, "NextToken": next_token, "MaxResults": 100,
            "SortBy": "CreationTime", "SortOrder": "Descending",
            "CreatedAfter": created_after.map(|t| t.millis() as f64 / 1000.0),
        }),
        Call::ListSteps { arn, next_token } => {
            json!({"PipelineExecutionArn": arn, "NextToken": next_token, "MaxResults": 100, "SortOrder": "Ascending"})
        }
        Call::StopExecution { arn, token } => json!({"PipelineExecutionArn": arn, "ClientRequestToken": token}),
        Call::RetryExecution { arn, token, parallelism } => json!({
            "PipelineExecutionArn": arn, "ClientRequestToken": token,
            "ParallelismConfiguration": parallelism.map(|n| json!({"MaxParallelExecutionSteps": n})),
        }),
        Call::UpdateExecution { arn, description } => {
            json!({"PipelineExecutionArn": arn, "PipelineExecutionDescription": description})
        }
        Call::DescribeJob { kind, name } => jobs::input(*kind, name),
        // Two operations, each with its own.
        Call::LogTail { .. } => json!({}),
    }
}

fn start_input(start: &StartExecution) -> Value {
    let parameters: Vec<Value> =
        start.parameters.iter().map(|(name, value)| json!({"Name": name, "Value": value})).collect();
    json!({
        "PipelineName": start.pipeline,
        "ClientRequestToken": start.token,
        "PipelineExecutionDisplayName": start.display_name,
        "PipelineExecutionDescription": start.description,
        "PipelineParameters": parameters,
        "PipelineVersionId": start.version,
        "ParallelismConfiguration": start.max_parallel_steps.map(|n| json!({"MaxParallelExecutionSteps": n})),
        "SelectiveExecutionConfig": start.selective.as_ref().map(|s| json!({
            "SourcePipelineExecutionArn": s.source_execution_arn,
            "SelectedSteps": s.steps.iter().map(|name| json!({"StepName": name})).collect::<Vec<_>>(),
        })),
    })
}

fn reply(call: &Call, output: &Value) -> CallReply {
    let next_token = text(output, "NextToken");
    let items = |member: &str| output.get(member).and_then(Value::as_array).cloned().unwrap_or_default();
    match call {
        Call::GetCallerIdentity => CallReply::CallerIdentity { account: text(output, "Account").unwrap_or_default() },
        Call::DescribePipeline { .. } => CallReply::Pipeline(PipelineDescription {
            arn: text(output, "PipelineArn").unwrap_or_default(),
            status: text(output, "PipelineStatus").unwrap_or_default(),
            last_modified: at(output, "LastModifiedTime"),
            definition: text(output, "PipelineDefinition").unwrap_or_default(),
        }),
        Call::StartExecution(_) => CallReply::Started { arn: text(output, "PipelineExecutionArn").unwrap_or_default() },
        Call::DescribeExecution { .. } => CallReply::Execution(execution(output)),
        Call::ListPipelines { .. } => CallReply::Pipelines {
            page: items("PipelineSummaries").iter().filter_map(pipeline_summary).collect(),
            next_token,
        },
        Call::ListExecutions { .. } => CallReply::Executions {
            page: items("PipelineExecutionSummaries").iter().map(execution).collect(),
            next_token,
        },
        Call::ListSteps { .. } => {
            CallReply::Steps { page: items("PipelineExecutionSteps").iter().map(step).collect(), next_token }
        }
        Call::StopExecution { .. } => CallReply::Stopping,
        Call::RetryExecution { arn, .. } => {
            CallReply::Retried { arn: text(output, "PipelineExecutionArn").unwrap_or_else(|| arn.clone()) }
        }
        Call::UpdateExecution { .. } => CallReply::Updated,
        Call::DescribeJob { kind, name } => CallReply::Job(jobs::results(*kind, name, output)),
        Call::LogTail { .. } => CallReply::LogTail(jobs::tail(None, output)),
    }
}

/// From Describe's or a summary's JSON; they name creation and failure differently.
fn execution(json: &Value) -> Execution {
    Execution {
        arn: text(json, "PipelineExecutionArn").unwrap_or_default(),
        status: Status::parse(&text(json, "PipelineExecutionStatus").unwrap_or_default()),
        created: at(json, "CreationTime").or_else(|| at(json, "StartTime")),
        modified: at(json, "LastModifiedTime"),
        description: text(json, "PipelineExecutionDescription"),
        failure_reason: text(json, "FailureReason").or_else(|| text(json, "PipelineExecutionFailureReason")),
        started_by: json.get("CreatedBy").and_then(|user| text(user, "UserProfileArn")),
    }
}

fn step(json: &Value) -> Step {
    let metadata = json.get("Metadata").and_then(Value::as_object).and_then(|m| m.iter().next());
    let outputs = metadata.and_then(|(_, m)| m.get("OutputParameters")).and_then(Value::as_array);
    let findings = [
        ("outcome", "Outcome"),
        ("violation-report", "ViolationReport"),
        ("calculated-statistics", "CalculatedBaselineStatistics"),
        ("calculated-constraints", "CalculatedBaselineConstraints"),
    ];
    Step {
        name: text(json, "StepName").unwrap_or_default(),
        status: text(json, "StepStatus").unwrap_or_default(),
        kind: metadata.map(|(name, _)| name.clone()),
        job_arn: metadata.and_then(|(_, m)| text(m, "Arn").or_else(|| text(m, "CheckJobArn"))),
        failure_reason: text(json, "FailureReason"),
        started: at(json, "StartTime"),
        ended: at(json, "EndTime"),
        outputs: match outputs {
            Some(all) => all.iter().filter_map(|o| Some((text(o, "Name")?, text(o, "Value")?))).collect(),
            None => findings
                .iter()
                .filter_map(|(name, member)| Some(((*name).to_owned(), text(metadata?.1, member)?)))
                .collect(),
        },
        reused: json.get("CacheHitResult").is_some() || json.get("SelectiveExecutionResult").is_some(),
    }
}

/// What a refusal lets the caller know; the wire's codes, as the SDK backend reads them.
fn error(refusal: &Refusal, request_id: Option<String>) -> CallError {
    let kind = known_by_code(&refusal.code, refusal.status, &refusal.message);
    CallError { kind, code: Some(refusal.code.clone()), message: refusal.message.clone(), request_id }
}

fn text(json: &Value, member: &str) -> Option<String> {
    json.get(member).and_then(Value::as_str).map(str::to_owned)
}

fn pipeline_summary(json: &Value) -> Option<PipelineSummary> {
    Some(PipelineSummary { name: text(json, "PipelineName")?, last_started: at(json, "LastExecutionTime") })
}

fn at(json: &Value, member: &str) -> Option<Time> {
    // Whole milliseconds went in, so rounding gives them back.
    json.get(member).and_then(Value::as_f64).map(|seconds| Time::at((seconds * 1000.0).round() as i64))
}
