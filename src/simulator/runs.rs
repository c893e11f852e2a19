//! Operations on executions that exist: describe, list, steps, update, stop, retry, free a callback.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    arn::PipelineArn,
    book::{Book, Caller, TokenUse},
    execution::{Execution, clipped, seconds, timestamp},
    paging::PageInput,
    pipeline::Parallelism,
    refusal::{Refusal, dashed_name, description, length, read, required, token},
    start::effective_parameters,
};
use crate::pipelines::{Status, Time};

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ExecutionInput {
    pipeline_execution_arn: Option<String>,
    pipeline_execution_display_name: Option<String>,
    pipeline_execution_description: Option<String>,
    client_request_token: Option<String>,
    parallelism_configuration: Option<Parallelism>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CallbackInput {
    callback_token: Option<String>,
    output_parameters: Option<Vec<OutputInput>>,
    failure_reason: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct OutputInput {
    name: Option<String>,
    value: Option<String>,
}

impl Book {
    fn find_execution(&self, caller: &Caller, arn: &Option<String>, now: Time) -> Result<(usize, &Execution), Refusal> {
        let arn = required("pipelineExecutionArn", arn)?;
        length("pipelineExecutionArn", arn, 0, 2048)?;
        let parsed = PipelineArn::parse(arn).filter(|parsed| parsed.execution.is_some());
        let Some(parsed) = parsed else {
            let rule = "Member must satisfy regular expression pattern: \
                        arn:aws[a-z\\-]*:sagemaker:[a-z0-9\\-]*:[0-9]{12}:pipeline\\/.*\\/execution\\/.*";
            return Err(Refusal::constraint("pipelineExecutionArn", arn, rule));
        };
        let found = self.by_arn.get(arn).filter(|_| parsed.scope.region == caller.region);
        let found = found.and_then(|i| Some((*i, self.executions.get(*i)?)));
        let found = found.filter(|(_, e)| e.created.plus(seconds(self.faults.not_found_seconds)) <= now);
        found.ok_or_else(|| Refusal::not_found(format!("Pipeline execution '{arn}' does not exist.")))
    }

    pub(super) fn describe_execution(&self, caller: &Caller, input: &Value, now: Time) -> Result<Value, Refusal> {
        let input: ExecutionInput = read(input)?;
        let (_, e) = self.find_execution(caller, &input.pipeline_execution_arn, now)?;
        let mut shown = Map::new();
        shown.insert("PipelineArn".into(), e.pipeline_arn.as_str().into());
        shown.insert("PipelineExecutionArn".into(), e.arn.as_str().into());
        shown.insert("PipelineExecutionDisplayName".into(), e.display_name.as_str().into());
        shown.insert("PipelineExecutionStatus".into(), e.status.as_str().into());
        if let Some(text) = &e.description {
            shown.insert("PipelineExecutionDescription".into(), text.as_str().into());
        }
        let experiment: String = e.pipeline.to_ascii_lowercase().chars().take(120).collect();
        shown.insert("PipelineExperimentConfig".into(), json!({"ExperimentName": experiment, "TrialName": e.id}));
        if let Some(reason) = &e.failure_reason {
            shown.insert("FailureReason".into(), clipped(reason, 1300).into());
        }
        shown.insert("CreationTime".into(), timestamp(e.created));
        shown.insert("LastModifiedTime".into(), timestamp(e.modified));
        shown.insert("CreatedBy".into(), json!({}));
        shown.insert("LastModifiedBy".into(), json!({}));
        if let Some(n) = e.parallelism {
            shown.insert("ParallelismConfiguration".into(), json!({"MaxParallelExecutionSteps": n}));
        }
        if let Some(config) = &e.selective {
            shown.insert("SelectiveExecutionConfig".into(), config.clone());
        }
        shown.insert("PipelineVersionId".into(), e.version.into());
        Ok(shown.into())
    }

    pub(super) fn list_executions(&self, caller: &Caller, input: &Value, now: Time) -> Result<Value, Refusal> {
        let page: PageInput = read(input)?;
        let name = input.get("PipelineName").and_then(Value::as_str).map(str::to_owned);
        let key = self.find_pipeline(caller, required("pipelineName", &name)?)?;
        let by_arn = page.sorted_by(&["CreationTime", "PipelineExecutionArn"])? == "PipelineExecutionArn";
        let listed =
            |i: &usize| self.executions.get(*i).is_some_and(|e| self.is_listed(e, now) && page.spans(e.created));
        let wanted = self.pipeline(&key)?.executions.iter().copied().filter(listed);
        let shown_at = now.minus(seconds(self.faults.list_stale_seconds));
        let show = |i: usize| self.executions.get(i).map(|e| summary(e, shown_at)).unwrap_or_default();
        let member = "PipelineExecutionSummaries";
        if by_arn {
            let arn = |i: usize| self.executions.get(i).map(|e| e.arn.clone()).unwrap_or_default();
            page.page(member, wanted.map(|i| (arn(i), i)).collect(), show)
        } else {
            // The index follows the creation, and tells two of the same millisecond apart.
            page.page(member, wanted.map(|i| (i, i)).collect(), show)
        }
    }

    pub(super) fn list_steps(&self, caller: &Caller, input: &Value, now: Time) -> Result<Value, Refusal> {
        let page: PageInput = read(input)?;
        let target: ExecutionInput = read(input)?;
        let (_, execution) = self.find_execution(caller, &target.pipeline_execution_arn, now)?;
        // A step's place in the definition names it for good; runs are replaced by a retry.
        let keyed = execution.steps.iter().enumerate().map(|(run, s)| ((s.started, s.plan), run));
        let items = keyed.map(|((at, plan), run)| (format!("{:020} {plan:05}", at.millis()), run)).collect();
        page.page("PipelineExecutionSteps", items, |run| execution.step_json(run))
    }

    pub(super) fn list_parameters(&self, caller: &Caller, input: &Value, now: Time) -> Result<Value, Refusal> {
        let page: PageInput = PageInput { sort_order: Some("Ascending".into()), ..read(input)? };
        let target: ExecutionInput = read(input)?;
        let (_, execution) = self.find_execution(caller, &target.pipeline_execution_arn, now)?;
        let all = effective_parameters(execution);
        let items = (0..all.len()).map(|i| (i, i)).collect();
        page.page("PipelineParameters", items, |i| {
            all.get(i).map(|(name, value)| json!({"Name": name, "Value": value})).unwrap_or_default()
        })
    }

    pub(super) fn describe_definition(&self, caller: &Caller, input: &Value, now: Time) -> Result<Value, Refusal> {
        let input: ExecutionInput = read(input)?;
        let (_, execution) = self.find_execution(caller, &input.pipeline_execution_arn, now)?;
        let pipeline = self.pipeline(&(execution.scope.clone(), execution.pipeline.clone()))?;
        let (_, version) = self.version(pipeline, i64::try_from(execution.version).ok())?;
        Ok(json!({"PipelineDefinition": version.text, "CreationTime": timestamp(pipeline.created)}))
    }

    pub(super) fn update_execution(&mut self, caller: &Caller, input: &Value, now: Time) -> Result<Value, Refusal> {
        let input: ExecutionInput = read(input)?;
        if let Some(name) = &input.pipeline_execution_display_name {
            dashed_name("pipelineExecutionDisplayName", name, 82)?;
        }
        if let Some(text) = &input.pipeline_execution_description {
            description("pipelineExecutionDescription", text)?;
        }
        let parallelism = Parallelism::checked(input.parallelism_configuration.as_ref())?;
        let (index, _) = self.find_execution(caller, &input.pipeline_execution_arn, now)?;
        if let Some(e) = self.executions.get_mut(index) {
            if let Some(name) = input.pipeline_execution_display_name {
                e.display_name = name;
            }
            e.description = input.pipeline_execution_description.or_else(|| e.description.take());
            e.parallelism = parallelism.or(e.parallelism);
            e.modified = now;
        }
        self.touch(index, now);
        Ok(json!({"PipelineExecutionArn": input.pipeline_execution_arn}))
    }

    pub(super) fn stop_execution(&mut self, caller: &Caller, input: &Value, now: Time) -> Result<Value, Refusal> {
        let input: ExecutionInput = read(input)?;
        let token = token(&input.client_request_token)?.to_owned();
        let (index, found) = self.find_execution(caller, &input.pipeline_execution_arn, now)?;
        if found.stop_token.as_ref() == Some(&token) {
            return Ok(json!({"PipelineExecutionArn": found.arn}));
        }
        if found.status != Status::Executing {
            return Err(Refusal::validation("Only pipelines with 'Executing' status can be stopped"));
        }
        if let Some(execution) = self.executions.get_mut(index) {
            execution.stop_token = Some(token);
            execution.stop(&self.faults, now);
        }
        self.touch(index, now);
        Ok(json!({"PipelineExecutionArn": input.pipeline_execution_arn}))
    }

    /// Runs what failed or was stopped once more. A token that was used before does not retry again: what it gets instead is
    /// as undocumented as with starts, and played in the same ways.
    pub(super) fn retry_execution(&mut self, caller: &Caller, body: &Value, now: Time) -> Result<Value, Refusal> {
        let input: ExecutionInput = read(body)?;
        let token = token(&input.client_request_token)?.to_owned();
        let parallelism = Parallelism::checked(input.parallelism_configuration.as_ref())?;
        let (index, found) = self.find_execution(caller, &input.pipeline_execution_arn, now)?;
        let key = (found.scope.clone(), token);
        if let Some(earlier) = self.repeated(self.retry_tokens.get(&key), &key.1, body, now)? {
            let arn = self.executions.get(earlier).map(|e| e.arn.as_str());
            return Ok(json!({"PipelineExecutionArn": arn}));
        }
        if !matches!(found.status, Status::Failed | Status::Stopped) {
            return Err(Refusal::validation("Only pipelines with 'Failed' or 'Stopped' status can be retried"));
        }
        self.check_quota(&key.0)?;
        *self.live.entry(key.0.clone()).or_default() += 1;
        self.retry_tokens.insert(key, TokenUse { execution: index, arguments: body.clone(), at: now });
        if let Some(execution) = self.executions.get_mut(index) {
            execution.retry(now);
            execution.parallelism = parallelism.or(execution.parallelism);
        }
        self.touch(index, now);
        Ok(json!({"PipelineExecutionArn": input.pipeline_execution_arn}))
    }

    pub(super) fn free_callback(
        &mut self,
        caller: &Caller,
        operation: &str,
        input: &Value,
        now: Time,
    ) -> Result<Value, Refusal> {
        let input: CallbackInput = read(input)?;
        let token = required("callbackToken", &input.callback_token)?.clone();
        length("callbackToken", &token, 10, 10)?;
        let result = if operation.ends_with("Success") {
            let outputs = input.output_parameters.unwrap_or_default().into_iter();
            Ok(outputs.filter_map(|o| Some((o.name?, o.value?))).collect())
        } else {
            Err(input.failure_reason.unwrap_or_else(|| "Callback step failed".to_owned()))
        };
        let waiting = self.executions.iter_mut().enumerate().filter(|(_, e)| {
            !e.deleted && e.scope.region == caller.region && e.scope.account == caller.account && e.status.is_live()
        });
        let mut freed = None;
        for (index, execution) in waiting {
            if execution.free_callback(&token, result.clone(), now) {
                freed = Some((index, execution.arn.clone()));
                break;
            }
        }
        let Some((index, arn)) = freed else {
            return Err(Refusal::not_found(format!("No step waits for callback token '{token}'.")));
        };
        self.touch(index, now);
        Ok(json!({"PipelineExecutionArn": arn}))
    }
}

/// A line of the list, with the status of that time.
fn summary(e: &Execution, at: Time) -> Value {
    let status = e.status_at(at);
    let mut shown = Map::new();
    shown.insert("PipelineExecutionArn".into(), e.arn.as_str().into());
    shown.insert("StartTime".into(), timestamp(e.created));
    shown.insert("PipelineExecutionStatus".into(), status.as_str().into());
    shown.insert("PipelineExecutionDisplayName".into(), e.display_name.as_str().into());
    if let Some(text) = &e.description {
        shown.insert("PipelineExecutionDescription".into(), text.as_str().into());
    }
    if let Some(reason) = e.failure_reason.as_ref().filter(|_| *status == e.status) {
        shown.insert("PipelineExecutionFailureReason".into(), reason.as_str().into());
    }
    shown.into()
}
