//! SDK types to ours. Every member of a response is optional: what is missing is said, not guessed.

use aws_sdk_sagemaker::{
    operation::{
        describe_pipeline::DescribePipelineOutput, describe_pipeline_execution::DescribePipelineExecutionOutput,
    },
    types::{
        self, OutputParameter, ParallelismConfiguration, Parameter, PipelineExecutionStep,
        PipelineExecutionStepMetadata, PipelineExecutionSummary, SelectedStep, SelectiveExecutionConfig,
    },
};
use aws_smithy_types::DateTime;

use crate::{
    pipelines::{Execution, PipelineDescription, PipelineSummary, Selective, Status, Step, Time},
    secrets::masked_lines,
};

/// What stands for a status that SageMaker left out; unknown, so treated as running.
const NO_STATUS: &str = "no status";

/// The SDK's time in ours, to the nearest millisecond: SageMaker sends milliseconds as a fraction of seconds, which
/// floating point leaves a little short.
pub fn time(at: Option<DateTime>) -> Option<Time> {
    at.map(|at| {
        Time::at(at.secs().saturating_mul(1000).saturating_add((i64::from(at.subsec_nanos()) + 500_000) / 1_000_000))
    })
}

/// An absent text and an empty one are the same to us (`NextToken: ""` would page for ever).
pub fn text(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Why something failed. SageMaker quotes the job, whose command line may hold a password, so it is a stranger's text.
fn reason(given: Option<String>) -> Option<String> {
    text(given).map(|reason| masked_lines(&reason))
}

/// DescribePipeline's answer; `asked` stands in for a missing ARN.
pub fn pipeline(asked: String, out: DescribePipelineOutput) -> PipelineDescription {
    PipelineDescription {
        arn: text(out.pipeline_arn).unwrap_or(asked),
        status: out.pipeline_status.map_or_else(|| NO_STATUS.to_owned(), |word| word.as_str().to_owned()),
        last_modified: time(out.last_modified_time),
        definition: out.pipeline_definition.unwrap_or_default(),
    }
}

/// A line of ListPipelines; one without a name is of no use.
pub fn pipeline_summary(line: types::PipelineSummary) -> Option<PipelineSummary> {
    Some(PipelineSummary { name: text(line.pipeline_name)?, last_started: time(line.last_execution_time) })
}

/// DescribePipelineExecution's answer; `asked` stands in for a missing ARN.
pub fn execution(asked: String, out: DescribePipelineExecutionOutput) -> Execution {
    Execution {
        arn: text(out.pipeline_execution_arn).unwrap_or(asked),
        status: status(out.pipeline_execution_status.as_ref().map(|word| word.as_str())),
        created: time(out.creation_time),
        modified: time(out.last_modified_time),
        description: text(out.pipeline_execution_description),
        failure_reason: reason(out.failure_reason),
        started_by: text(out.created_by.and_then(|user| user.user_profile_arn)),
    }
}

/// One line of ListPipelineExecutions; nothing when it does not say which execution it is about.
pub fn summary(line: PipelineExecutionSummary) -> Option<Execution> {
    Some(Execution {
        arn: text(line.pipeline_execution_arn)?,
        status: status(line.pipeline_execution_status.as_ref().map(|word| word.as_str())),
        created: time(line.start_time),
        modified: None,
        description: text(line.pipeline_execution_description),
        failure_reason: reason(line.pipeline_execution_failure_reason),
        started_by: None,
    })
}

/// One step. A Fail step's own error message stands in for a missing failure reason.
pub fn step(step: PipelineExecutionStep) -> Step {
    let metadata = step.metadata.map(metadata).unwrap_or_default();
    let reused = step.cache_hit_result.is_some() || step.selective_execution_result.is_some();
    Step {
        name: step.step_name.unwrap_or_default(),
        status: step.step_status.map_or_else(|| NO_STATUS.to_owned(), |word| word.as_str().to_owned()),
        kind: metadata.kind.map(str::to_owned),
        job_arn: text(metadata.arn),
        failure_reason: reason(step.failure_reason).or(reason(metadata.failure)),
        started: time(step.start_time),
        ended: time(step.end_time),
        outputs: metadata.outputs,
        reused,
    }
}

/// Parameters in the order given; nothing instead of an empty list.
pub fn parameters(given: Vec<(String, String)>) -> Option<Vec<Parameter>> {
    let list: Vec<_> =
        given.into_iter().map(|(name, value)| Parameter::builder().name(name).value(value).build()).collect();
    (!list.is_empty()).then_some(list)
}

/// How many steps may run at once.
pub fn parallelism(steps: i32) -> ParallelismConfiguration {
    ParallelismConfiguration::builder().max_parallel_execution_steps(steps).build()
}

/// The selective-execution part of a start.
pub fn selective(selective: Selective) -> SelectiveExecutionConfig {
    SelectiveExecutionConfig::builder()
        .set_source_pipeline_execution_arn(selective.source_execution_arn)
        .set_selected_steps(Some(
            selective.steps.into_iter().map(|name| SelectedStep::builder().step_name(name).build()).collect(),
        ))
        .build()
}

fn status(word: Option<&str>) -> Status {
    Status::parse(word.unwrap_or(NO_STATUS))
}

#[derive(Default)]
struct Metadata {
    kind: Option<&'static str>,
    arn: Option<String>,
    failure: Option<String>,
    outputs: Vec<(String, String)>,
}

impl Metadata {
    fn job(kind: &'static str, arn: Option<String>) -> Self {
        Self { kind: Some(kind), arn, ..Self::default() }
    }

    /// What a condition or a check found out, where it says so.
    fn finding(mut self, found: impl IntoIterator<Item = (&'static str, Option<String>)>) -> Self {
        let told = found.into_iter().filter_map(|(name, value)| Some((name.to_owned(), text(value)?)));
        self.outputs = told.collect();
        self
    }

    fn with_outputs(mut self, outputs: Option<Vec<OutputParameter>>) -> Self {
        self.outputs = outputs
            .unwrap_or_default()
            .into_iter()
            .filter_map(|output| Some((output.name?, output.value.unwrap_or_default())))
            .collect();
        self
    }
}

/// SageMaker sets exactly one member; its name is the step's kind. One newer than the SDK leaves all of them unset.
fn metadata(all: PipelineExecutionStepMetadata) -> Metadata {
    macro_rules! first_with_arn {
        ($($member:ident: $kind:literal => $arn:ident),+ $(,)?) => {
            $(if let Some(member) = all.$member { return Metadata::job($kind, member.$arn); })+
        };
    }
    macro_rules! first_without_arn {
        ($($member:ident: $kind:literal),+ $(,)?) => {
            $(if all.$member.is_some() { return Metadata::job($kind, None); })+
        };
    }
    if let Some(lambda) = all.lambda {
        return Metadata::job("Lambda", lambda.arn).with_outputs(lambda.output_parameters);
    }
    if let Some(callback) = all.callback {
        return Metadata::job("Callback", None).with_outputs(callback.output_parameters);
    }
    if let Some(condition) = all.condition {
        let outcome = condition.outcome.map(|outcome| outcome.as_str().to_owned());
        return Metadata::job("Condition", None).finding([("outcome", outcome)]);
    }
    if let Some(check) = all.quality_check {
        return Metadata::job("QualityCheck", check.check_job_arn).finding([
            ("violation-report", check.violation_report),
            ("calculated-statistics", check.calculated_baseline_statistics),
            ("calculated-constraints", check.calculated_baseline_constraints),
        ]);
    }
    if let Some(check) = all.clarify_check {
        return Metadata::job("ClarifyCheck", check.check_job_arn).finding([
            ("violation-report", check.violation_report),
            ("calculated-constraints", check.calculated_baseline_constraints),
        ]);
    }
    if let Some(fail) = all.fail {
        return Metadata { failure: fail.error_message, ..Metadata::job("Fail", None) };
    }
    first_with_arn! {
        training_job: "TrainingJob" => arn,
        processing_job: "ProcessingJob" => arn,
        transform_job: "TransformJob" => arn,
        tuning_job: "TuningJob" => arn,
        auto_ml_job: "AutoMLJob" => arn,
        model: "Model" => arn,
        register_model: "RegisterModel" => arn,
        endpoint: "Endpoint" => arn,
        endpoint_config: "EndpointConfig" => arn,
        inference_component: "InferenceComponent" => arn,
        job: "Job" => arn,
        bedrock_custom_model: "BedrockCustomModel" => arn,
        bedrock_custom_model_deployment: "BedrockCustomModelDeployment" => arn,
        bedrock_provisioned_model_throughput: "BedrockProvisionedModelThroughput" => arn,
        bedrock_model_import: "BedrockModelImport" => arn,
    }
    first_without_arn! {
        emr: "EMR",
        emr_serverless: "EMRServerless",
        lineage: "Lineage",
        athena: "Athena",
        cleanup: "Cleanup",
        for_each: "ForEach",
    }
    Metadata::default()
}
