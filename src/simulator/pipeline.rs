//! Pipelines: create, update, describe, list, delete.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    arn::{PipelineArn, Scope},
    book::{Book, Caller},
    definition::Definition,
    execution::timestamp,
    paging::PageInput,
    refusal::{Refusal, dashed_name, description, length, read, required, token},
    scenario::ScenarioPipeline,
};
use crate::pipelines::Time;

/// A pipeline with all its versions.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub name: String,
    pub arn: String,
    pub display_name: String,
    pub description: Option<String>,
    pub role_arn: String,
    pub parallelism: Option<u64>,
    /// Version n is at n - 1; the last one is the current.
    pub versions: Vec<Version>,
    pub created: Time,
    pub modified: Time,
    pub last_run: Option<Time>,
    /// Indexes into the book's executions, oldest first.
    pub executions: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Version {
    pub text: String,
    pub definition: Arc<Definition>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PipelineInput {
    pipeline_name: Option<String>,
    pipeline_display_name: Option<String>,
    pipeline_definition: Option<String>,
    pipeline_description: Option<String>,
    client_request_token: Option<String>,
    role_arn: Option<String>,
    parallelism_configuration: Option<Parallelism>,
    pipeline_version_id: Option<i64>,
}

/// ParallelismConfiguration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Parallelism {
    max_parallel_execution_steps: Option<i64>,
}

impl Parallelism {
    /// The number of steps at once, if one is given.
    pub fn checked(value: Option<&Self>) -> Result<Option<u64>, Refusal> {
        let Some(parallelism) = value else { return Ok(None) };
        let field = "parallelismConfiguration.maxParallelExecutionSteps";
        let n = *required(field, &parallelism.max_parallel_execution_steps)?;
        u64::try_from(n).ok().filter(|n| *n >= 1).map(Some).ok_or_else(|| {
            Refusal::constraint(field, &n.to_string(), "Member must have value greater than or equal to 1")
        })
    }
}

impl PipelineInput {
    fn check(&self) -> Result<(), Refusal> {
        if let Some(name) = &self.pipeline_display_name {
            dashed_name("pipelineDisplayName", name, 256)?;
        }
        if let Some(text) = &self.pipeline_description {
            description("pipelineDescription", text)?;
        }
        if let Some(arn) = &self.role_arn {
            length("roleArn", arn, 20, 2048)?;
        }
        Ok(())
    }
}

fn version(text: &str) -> Result<Version, Refusal> {
    length("pipelineDefinition", text, 1, 1_048_576)?;
    let definition = Definition::parse(text)
        .map_err(|e| Refusal::validation(format!("Unable to parse pipeline definition. {e}.")))?;
    Ok(Version { text: text.to_owned(), definition: Arc::new(definition) })
}

impl Book {
    /// Finds a pipeline by name in the caller's account and region, or by ARN in any account of the region.
    pub(super) fn find_pipeline(&self, caller: &Caller, name: &str) -> Result<(Scope, String), Refusal> {
        length("pipelineName", name, 1, 2048)?;
        let (scope, pipeline, arn) = if name.starts_with("arn:") {
            let parsed = PipelineArn::parse(name).filter(|arn| arn.execution.is_none());
            let arn = parsed.ok_or_else(|| Refusal::validation(format!("Invalid pipeline ARN: {name}")))?;
            (arn.scope, arn.pipeline, name.to_owned())
        } else {
            dashed_name("pipelineName", name, 256)?;
            let scope = caller.scope();
            let arn = scope.sagemaker(&format!("pipeline/{name}"));
            (scope, name.to_owned(), arn)
        };
        let here =
            scope.region == caller.region && self.pipelines.get(&scope).is_some_and(|all| all.contains_key(&pipeline));
        if here { Ok((scope, pipeline)) } else { Err(Refusal::not_found(format!("Pipeline '{arn}' does not exist."))) }
    }

    pub(super) fn pipeline(&self, (scope, name): &(Scope, String)) -> Result<&Pipeline, Refusal> {
        let found = self.pipelines.get(scope).and_then(|all| all.get(name));
        found.ok_or_else(|| Refusal::not_found(format!("Pipeline '{name}' does not exist.")))
    }

    pub(super) fn pipeline_mut(&mut self, (scope, name): &(Scope, String)) -> Result<&mut Pipeline, Refusal> {
        let found = self.pipelines.get_mut(scope).and_then(|all| all.get_mut(name));
        found.ok_or_else(|| Refusal::not_found(format!("Pipeline '{name}' does not exist.")))
    }

    /// The wanted version of a pipeline with its number, or the current one.
    pub(super) fn version<'a>(
        &self,
        pipeline: &'a Pipeline,
        wanted: Option<i64>,
    ) -> Result<(usize, &'a Version), Refusal> {
        let number = match wanted {
            None => pipeline.versions.len(),
            Some(n) => usize::try_from(n).unwrap_or(0),
        };
        let version = number.checked_sub(1).and_then(|i| pipeline.versions.get(i));
        version.map(|v| (number, v)).ok_or_else(|| {
            let shown = wanted.unwrap_or_default();
            Refusal::not_found(format!("Pipeline version '{shown}' of pipeline '{}' does not exist.", pipeline.arn))
        })
    }

    pub(super) fn add_pipeline(&mut self, pipeline: &ScenarioPipeline, now: Time) -> Result<(), Refusal> {
        let account = pipeline.account.clone().unwrap_or_else(|| self.scenario.default_account.clone());
        let scope = Scope { account, region: pipeline.region.clone() };
        let input = PipelineInput {
            pipeline_name: Some(pipeline.name.clone()),
            pipeline_definition: Some(pipeline.definition_text()),
            pipeline_description: pipeline.description.clone(),
            role_arn: pipeline.role_arn.clone(),
            ..PipelineInput::default()
        };
        self.insert_pipeline(scope, &input, now)?;
        Ok(())
    }

    fn insert_pipeline(&mut self, scope: Scope, input: &PipelineInput, now: Time) -> Result<String, Refusal> {
        let name = required("pipelineName", &input.pipeline_name)?;
        dashed_name("pipelineName", name, 256)?;
        input.check()?;
        let version = version(required("pipelineDefinition", &input.pipeline_definition)?)?;
        let parallelism = Parallelism::checked(input.parallelism_configuration.as_ref())?;
        let arn = scope.sagemaker(&format!("pipeline/{name}"));
        let role =
            format!("arn:{}:iam::{}:role/SimulatedPipelineRole", super::arn::partition(&scope.region), scope.account);
        let all = self.pipelines.entry(scope).or_default();
        if all.contains_key(name) {
            return Err(Refusal::validation(format!(
                "Pipeline names must be unique within an AWS account and region. Pipeline with name ({name}) already exists."
            )));
        }
        let pipeline = Pipeline {
            name: name.clone(),
            arn: arn.clone(),
            display_name: input.pipeline_display_name.clone().unwrap_or_else(|| name.clone()),
            description: input.pipeline_description.clone(),
            role_arn: input.role_arn.clone().unwrap_or(role),
            parallelism,
            versions: vec![version],
            created: now,
            modified: now,
            last_run: None,
            executions: Vec::new(),
        };
        all.insert(name.clone(), pipeline);
        Ok(arn)
    }

    pub(super) fn create_pipeline(&mut self, caller: &Caller, input: &Value, now: Time) -> Result<Value, Refusal> {
        let input: PipelineInput = read(input)?;
        token(&input.client_request_token)?;
        required("roleArn", &input.role_arn)?;
        let arn = self.insert_pipeline(caller.scope(), &input, now)?;
        Ok(json!({"PipelineArn": arn}))
    }

    pub(super) fn update_pipeline(&mut self, caller: &Caller, input: &Value, now: Time) -> Result<Value, Refusal> {
        let input: PipelineInput = read(input)?;
        let key = self.find_pipeline(caller, required("pipelineName", &input.pipeline_name)?)?;
        input.check()?;
        let version = input.pipeline_definition.as_deref().map(version).transpose()?;
        let parallelism = Parallelism::checked(input.parallelism_configuration.as_ref())?;
        let pipeline = self.pipeline_mut(&key)?;
        pipeline.versions.extend(version);
        pipeline.parallelism = parallelism.or(pipeline.parallelism);
        if let Some(name) = input.pipeline_display_name {
            pipeline.display_name = name;
        }
        if let Some(arn) = input.role_arn {
            pipeline.role_arn = arn;
        }
        pipeline.description = input.pipeline_description.or_else(|| pipeline.description.take());
        pipeline.modified = now;
        Ok(json!({"PipelineArn": pipeline.arn, "PipelineVersionId": pipeline.versions.len()}))
    }

    pub(super) fn describe_pipeline(&self, caller: &Caller, input: &Value) -> Result<Value, Refusal> {
        let input: PipelineInput = read(input)?;
        let key = self.find_pipeline(caller, required("pipelineName", &input.pipeline_name)?)?;
        let pipeline = self.pipeline(&key)?;
        let (_, version) = self.version(pipeline, input.pipeline_version_id)?;
        let mut shown = summary(pipeline, "LastRunTime");
        shown.insert("PipelineDefinition".into(), version.text.as_str().into());
        shown.insert("PipelineStatus".into(), "Active".into());
        shown.insert("CreatedBy".into(), json!({}));
        shown.insert("LastModifiedBy".into(), json!({}));
        if let Some(n) = pipeline.parallelism {
            shown.insert("ParallelismConfiguration".into(), json!({"MaxParallelExecutionSteps": n}));
        }
        Ok(shown.into())
    }

    pub(super) fn list_pipelines(&self, caller: &Caller, input: &Value) -> Result<Value, Refusal> {
        let page: PageInput = read(input)?;
        let prefix = input.get("PipelineNamePrefix").and_then(Value::as_str).unwrap_or("");
        let by_name = page.sorted_by(&["CreationTime", "Name"])? == "Name";
        let all: Vec<&Pipeline> =
            self.pipelines.get(&caller.scope()).map(|all| all.values().collect()).unwrap_or_default();
        let wanted = all.iter().enumerate().filter(|(_, p)| p.name.starts_with(prefix) && page.spans(p.created));
        // A fixed width makes the order of the text that of the times.
        let key =
            |p: &Pipeline| if by_name { p.name.clone() } else { format!("{:020} {}", p.created.millis(), p.name) };
        let items = wanted.map(|(i, p)| (key(p), i)).collect();
        page.page("PipelineSummaries", items, |i| {
            all.get(i).map(|p| Value::Object(summary(p, "LastExecutionTime"))).unwrap_or_default()
        })
    }

    pub(super) fn delete_pipeline(&mut self, caller: &Caller, input: &Value) -> Result<Value, Refusal> {
        let input: PipelineInput = read(input)?;
        token(&input.client_request_token)?;
        let key = self.find_pipeline(caller, required("pipelineName", &input.pipeline_name)?)?;
        let pipeline = self.pipeline(&key)?;
        let (arn, executions) = (pipeline.arn.clone(), pipeline.executions.clone());
        if executions.iter().any(|i| self.executions.get(*i).is_some_and(|e| e.status.is_live())) {
            return Err(Refusal::conflict(format!(
                "Pipeline '{arn}' has running executions; stop them before deleting it."
            )));
        }
        for index in &executions {
            if let Some(execution) = self.executions.get_mut(*index) {
                execution.deleted = true;
                self.by_arn.remove(&execution.arn);
            }
        }
        self.forget_tokens(&executions);
        if let Some(all) = self.pipelines.get_mut(&key.0) {
            all.remove(&key.1);
        }
        Ok(json!({"PipelineArn": arn}))
    }
}

/// What lists and Describe share; they differ in the name of the last run's time.
fn summary(pipeline: &Pipeline, last_run: &str) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("PipelineArn".into(), pipeline.arn.as_str().into());
    shown.insert("PipelineName".into(), pipeline.name.as_str().into());
    shown.insert("PipelineDisplayName".into(), pipeline.display_name.as_str().into());
    if let Some(text) = &pipeline.description {
        shown.insert("PipelineDescription".into(), text.as_str().into());
    }
    shown.insert("RoleArn".into(), pipeline.role_arn.as_str().into());
    shown.insert("CreationTime".into(), timestamp(pipeline.created));
    shown.insert("LastModifiedTime".into(), timestamp(pipeline.modified));
    if let Some(at) = pipeline.last_run {
        shown.insert(last_run.into(), timestamp(at));
    }
    shown
}
