//! StartPipelineExecution: checks, idempotency token, quota.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    arn::Scope,
    book::{Book, Caller, TokenUse},
    definition::{Definition, Parameter, plain},
    execution::{Execution, Start, seconds},
    faults::TokenSemantics,
    pipeline::Parallelism,
    refusal::{Refusal, dashed_name, description, length, read, required, token},
};
use crate::pipelines::Time;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct StartInput {
    pipeline_name: Option<String>,
    pipeline_execution_display_name: Option<String>,
    pipeline_execution_description: Option<String>,
    pipeline_parameters: Option<Vec<ParameterInput>>,
    client_request_token: Option<String>,
    parallelism_configuration: Option<Parallelism>,
    selective_execution_config: Option<Value>,
    pipeline_version_id: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ParameterInput {
    name: Option<String>,
    value: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SelectiveInput {
    source_pipeline_execution_arn: Option<String>,
    selected_steps: Option<Vec<SelectedStep>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SelectedStep {
    step_name: Option<String>,
}

impl Book {
    pub(super) fn start_execution(&mut self, caller: &Caller, body: &Value, now: Time) -> Result<Value, Refusal> {
        let input: StartInput = read(body)?;
        let name = required("pipelineName", &input.pipeline_name)?;
        let token = token(&input.client_request_token)?.to_owned();
        if let Some(name) = &input.pipeline_execution_display_name {
            dashed_name("pipelineExecutionDisplayName", name, 82)?;
        }
        if let Some(text) = &input.pipeline_execution_description {
            description("pipelineExecutionDescription", text)?;
        }
        let parallelism = Parallelism::checked(input.parallelism_configuration.as_ref())?;
        let given = given_parameters(input.pipeline_parameters.unwrap_or_default())?;
        let key = self.find_pipeline(caller, name)?;
        let token_key = (key.0.clone(), token.clone());
        if let Some(index) = self.repeated(self.tokens.get(&token_key), &token, body, now)? {
            let Some(execution) = self.executions.get_mut(index) else {
                return Err(Refusal::not_found("The execution of this token does not exist."));
            };
            execution.starts += 1;
            return Ok(json!({"PipelineExecutionArn": execution.arn}));
        }
        let pipeline = self.pipeline(&key)?;
        let (version, found) = self.version(pipeline, input.pipeline_version_id)?;
        let definition = Arc::clone(&found.definition);
        let parallelism = parallelism.or(pipeline.parallelism);
        let pipeline_arn = pipeline.arn.clone();
        check_parameters(&definition, &given)?;
        let selected = match &input.selective_execution_config {
            Some(config) => Some(self.selected_steps(&pipeline_arn, &definition, config)?),
            None => None,
        };
        self.check_quota(&key.0)?;
        let display_name =
            input.pipeline_execution_display_name.unwrap_or_else(|| format!("execution-{}", now.millis()));
        let start = Start {
            scope: key.0.clone(),
            pipeline: key.1.clone(),
            pipeline_arn,
            id: self.ids.lower(12),
            display_name,
            description: input.pipeline_execution_description,
            parameters: given,
            version,
            parallelism,
            selective: input.selective_execution_config,
            selected,
            definition,
            token,
        };
        let index = self.executions.len();
        let execution = Execution::new(start, now);
        let arn = execution.arn.clone();
        self.by_id.insert(execution.id.clone(), index);
        self.executions.push(execution);
        self.by_arn.insert(arn.clone(), index);
        self.tokens.insert(token_key, TokenUse { execution: index, arguments: body.clone(), at: now });
        *self.live.entry(key.0.clone()).or_default() += 1;
        let pipeline = self.pipeline_mut(&key)?;
        pipeline.executions.push(index);
        pipeline.last_run = Some(now);
        self.touch(index, now);
        Ok(json!({"PipelineExecutionArn": arn}))
    }

    /// The execution that a token stands for which may have been used before, by the semantics in force.
    pub(super) fn repeated(
        &self,
        used: Option<&TokenUse>,
        token: &str,
        body: &Value,
        now: Time,
    ) -> Result<Option<usize>, Refusal> {
        let Some(used) = used else { return Ok(None) };
        match self.faults.token_semantics {
            TokenSemantics::SameArn => Ok(Some(used.execution)),
            TokenSemantics::Conflict => {
                Err(Refusal::conflict(format!("A pipeline execution with ClientRequestToken {token} already exists.")))
            }
            TokenSemantics::MismatchError if used.arguments == *body => Ok(Some(used.execution)),
            TokenSemantics::MismatchError => Err(Refusal::new(
                400,
                "IdempotentParameterMismatchException",
                "The ClientRequestToken was used before with other parameters.",
            )),
            TokenSemantics::ForgottenAfterSeconds(n) => Ok((now < used.at.plus(seconds(n))).then_some(used.execution)),
        }
    }

    pub(super) fn check_quota(&self, scope: &Scope) -> Result<(), Refusal> {
        let live = self.live.get(scope).copied().unwrap_or(0);
        if live < self.faults.quota {
            return Ok(());
        }
        Err(Refusal::new(
            400,
            "ResourceLimitExceeded",
            format!(
                "The account-level service limit 'Maximum number of concurrent pipeline executions' is {} Executions, with \
                 current utilization of {live} Executions and a request delta of 1 Executions. Please use AWS Service \
                 Quotas to request an increase for this quota.",
                self.faults.quota
            ),
        ))
    }

    /// The steps a selective execution runs, by their places in the definition.
    fn selected_steps(
        &self,
        pipeline_arn: &str,
        definition: &Definition,
        config: &Value,
    ) -> Result<Vec<usize>, Refusal> {
        let input: SelectiveInput = read(config)?;
        let steps = required("selectiveExecutionConfig.selectedSteps", &input.selected_steps)?;
        if !(1..=50).contains(&steps.len()) {
            let rule = "Member must have length between 1 and 50";
            return Err(Refusal::constraint("selectiveExecutionConfig.selectedSteps", "...", rule));
        }
        let mut places = Vec::with_capacity(steps.len());
        for step in steps {
            let name = required("selectiveExecutionConfig.selectedSteps.stepName", &step.step_name)?;
            let place = definition.steps.iter().position(|s| s.name == *name);
            places.push(
                place.ok_or_else(|| Refusal::validation(format!("Selected step [{name}] is not in the pipeline")))?,
            );
        }
        if let Some(arn) = &input.source_pipeline_execution_arn {
            let source = self.by_arn.get(arn).and_then(|i| self.executions.get(*i));
            let fits = source.is_some_and(|s| s.pipeline_arn == pipeline_arn && !s.status.is_live());
            if !fits {
                return Err(Refusal::validation(format!(
                    "Invalid SourcePipelineExecutionArn: {arn}. It must be a finished execution of the same pipeline"
                )));
            }
            return Ok(places);
        }
        for place in &places {
            let step = &definition.steps[*place];
            if let Some(missing) = step.after.iter().find(|d| !places.contains(d)) {
                return Err(Refusal::validation(format!(
                    "Invalid SourcePipelineExecutionArn: null. The selected steps [{}] have dependencies on [{}]",
                    step.name, definition.steps[*missing].name
                )));
            }
        }
        Ok(places)
    }
}

fn given_parameters(input: Vec<ParameterInput>) -> Result<Vec<(String, String)>, Refusal> {
    if input.len() > 200 {
        return Err(Refusal::constraint(
            "pipelineParameters",
            "...",
            "Member must have length less than or equal to 200",
        ));
    }
    let mut given: Vec<(String, String)> = Vec::with_capacity(input.len());
    for (i, parameter) in input.into_iter().enumerate() {
        let field = format!("pipelineParameters.{}.member", i + 1);
        let name = required(&format!("{field}.name"), &parameter.name)?;
        let value = required(&format!("{field}.value"), &parameter.value)?;
        length(&format!("{field}.name"), name, 1, 256)?;
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            let rule = "Member must satisfy regular expression pattern: [A-Za-z0-9\\-_]*";
            return Err(Refusal::constraint(&format!("{field}.name"), name, rule));
        }
        if value.is_empty() {
            // As the service words it.
            return Err(Refusal::validation("[string \"\" is too short (length: 0, required minimum: 1)]"));
        }
        length(&format!("{field}.value"), value, 0, 1024)?;
        if given.iter().any(|(known, _)| known == name) {
            return Err(Refusal::validation(format!("Duplicate pipeline parameter [{name}]")));
        }
        given.push((name.clone(), value.clone()));
    }
    Ok(given)
}

/// Declared, complete, and of the declared types.
fn check_parameters(definition: &Definition, given: &[(String, String)]) -> Result<(), Refusal> {
    for (name, value) in given {
        let Some(declared) = definition.parameters.iter().find(|p| p.name == *name) else {
            return Err(Refusal::validation(format!("Parameter [{name}] is not defined in the pipeline definition")));
        };
        if !fits(declared, value) {
            return Err(Refusal::validation(format!(
                "Parameter [{name}] must be of type {}; got [{value}]",
                declared.kind
            )));
        }
        if !declared.allowed.is_empty() && !declared.allowed.iter().any(|one| is_same(declared, one, value)) {
            let allowed = declared.allowed.join(", ");
            return Err(Refusal::validation(format!("Parameter [{name}] must be one of [{allowed}]; got [{value}]")));
        }
    }
    let is_given = |p: &&Parameter| p.default.is_some() || given.iter().any(|(name, _)| *name == p.name);
    match definition.parameters.iter().find(|p| !is_given(p)) {
        Some(missing) => Err(Refusal::validation(format!(
            "Parameter [{}] has no default value in the pipeline definition and must be given",
            missing.name
        ))),
        None => Ok(()),
    }
}

/// Which spellings SageMaker takes is documented nowhere; refused is what cannot be meant.
fn fits(declared: &Parameter, value: &str) -> bool {
    let number = || value.trim().parse::<f64>();
    match declared.kind.as_str() {
        "Integer" => number().is_ok_and(|n| n.fract() == 0.0),
        "Float" => number().is_ok(),
        "Boolean" => matches!(value.trim().to_ascii_lowercase().as_str(), "true" | "false" | "1" | "0"),
        _ => true,
    }
}

fn is_same(declared: &Parameter, allowed: &str, value: &str) -> bool {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    let is_number = matches!(declared.kind.as_str(), "Integer" | "Float");
    allowed == value || (is_number && number(allowed).is_some_and(|n| number(value) == Some(n)))
}

/// All parameters of an execution: what was given, else the defaults.
pub(super) fn effective_parameters(execution: &Execution) -> Vec<(String, String)> {
    let given = |name: &str| execution.parameters.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let declared = execution.definition.parameters.iter();
    declared.filter_map(|p| Some((p.name.clone(), given(&p.name).or_else(|| p.default.as_ref().map(plain))?))).collect()
}
