//! The jobs of steps: one Describe operation per type, and what of its answer we use.

use aws_sdk_sagemaker::{
    Client,
    operation::{
        describe_auto_ml_job_v2::DescribeAutoMlJobV2Output,
        describe_hyper_parameter_tuning_job::DescribeHyperParameterTuningJobOutput,
        describe_processing_job::DescribeProcessingJobOutput, describe_training_job::DescribeTrainingJobOutput,
        describe_transform_job::DescribeTransformJobOutput,
    },
    types::{HyperParameterTrainingJobDefinition, OutputCompressionType, ResourceConfig},
};

use super::{
    context::CallContext,
    convert::{text, time},
    denial_log::failure,
    wire::AttemptRecorder,
};
use crate::pipelines::{
    CallError, CallReply,
    jobs::{JobKind, JobResults, instance_seconds, model_of_training},
};

/// What a job came to.
pub async fn describe(
    client: &Client,
    kind: JobKind,
    name: String,
    context: CallContext<'_>,
    recorder: &AttemptRecorder,
) -> Result<CallReply, CallError> {
    macro_rules! answer {
        ($request:expr) => {
            $request
                .customize()
                .interceptor(recorder.clone())
                .send()
                .await
                .map_err(|e| failure(&e, context, recorder))?
        };
    }
    let found = match kind {
        JobKind::Training => training(answer!(client.describe_training_job().training_job_name(&name))),
        JobKind::Processing => processing(answer!(client.describe_processing_job().processing_job_name(&name))),
        JobKind::Transform => transform(answer!(client.describe_transform_job().transform_job_name(&name))),
        JobKind::Tuning => {
            tuning(answer!(client.describe_hyper_parameter_tuning_job().hyper_parameter_tuning_job_name(&name)))
        }
        JobKind::AutoMl => auto_ml(answer!(client.describe_auto_ml_job_v2().auto_ml_job_name(&name))),
    };
    Ok(CallReply::Job(JobResults { name, ..found }))
}

fn training(job: DescribeTrainingJobOutput) -> JobResults {
    let metrics = job.final_metric_data_list.unwrap_or_default();
    let billable = job.billable_time_in_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let instances = job.resource_config.as_ref().map_or(1, training_instances);
    JobResults {
        model_artifacts: text(job.model_artifacts.and_then(|artifacts| artifacts.s3_model_artifacts)),
        metrics: metrics.into_iter().filter_map(|metric| Some((text(metric.metric_name)?, metric.value?))).collect(),
        billable_seconds: billable.map(|seconds| seconds.saturating_mul(instances)),
        ..JobResults::default()
    }
}

/// A cluster of several types has its counts in groups; with preferences SageMaker chose one.
fn training_instances(cluster: &ResourceConfig) -> u64 {
    let groups = cluster.instance_groups.as_deref().unwrap_or_default();
    let grouped: i32 = groups.iter().filter_map(|group| group.instance_count).sum();
    let single = cluster.selected_instance_count.or(cluster.instance_count).unwrap_or(1);
    u64::try_from(grouped.max(single)).unwrap_or(1).max(1)
}

fn processing(job: DescribeProcessingJobOutput) -> JobResults {
    let outputs = job.processing_output_config.and_then(|config| config.outputs).unwrap_or_default();
    let cluster = job.processing_resources.and_then(|resources| resources.cluster_config);
    let instances = cluster.and_then(|cluster| cluster.selected_instance_count.or(cluster.instance_count));
    JobResults {
        outputs: outputs
            .into_iter()
            .filter_map(|output| Some((text(output.output_name)?, text(output.s3_output?.s3_uri)?)))
            .collect(),
        billable_seconds: instance_seconds(
            time(job.processing_start_time),
            time(job.processing_end_time),
            instances.map(i64::from),
        ),
        ..JobResults::default()
    }
}

fn transform(job: DescribeTransformJobOutput) -> JobResults {
    let output = text(job.transform_output.and_then(|output| output.s3_output_path));
    let instances = job.transform_resources.and_then(|resources| resources.instance_count);
    JobResults {
        outputs: output.into_iter().map(|uri| ("transform".to_owned(), uri)).collect(),
        billable_seconds: instance_seconds(
            time(job.transform_start_time),
            time(job.transform_end_time),
            instances.map(i64::from),
        ),
        ..JobResults::default()
    }
}

/// Its model is where its best training job put it, by that job's definition among one or several.
fn tuning(job: DescribeHyperParameterTuningJobOutput) -> JobResults {
    let Some(best) = job.best_training_job else { return JobResults::default() };
    let named = best.training_job_definition_name;
    let mut definitions =
        job.training_job_definitions.unwrap_or_default().into_iter().chain(job.training_job_definition);
    let definition = match &named {
        Some(_) => definitions.find(|definition| definition.definition_name == named),
        None => definitions.next(),
    };
    let metric = best.final_hyper_parameter_tuning_job_objective_metric;
    JobResults {
        model_artifacts: definition.zip(best.training_job_name).and_then(|(definition, job)| model(definition, &job)),
        metrics: metric.and_then(|metric| Some((text(metric.metric_name)?, metric.value?))).into_iter().collect(),
        ..JobResults::default()
    }
}

fn model(definition: HyperParameterTrainingJobDefinition, training_job: &str) -> Option<String> {
    let output = definition.output_data_config?;
    let compressed = output.compression_type != Some(OutputCompressionType::None);
    Some(model_of_training(&text(output.s3_output_path)?, training_job, compressed))
}

fn auto_ml(job: DescribeAutoMlJobV2Output) -> JobResults {
    let Some(best) = job.best_candidate else { return JobResults::default() };
    let containers = best.inference_containers.unwrap_or_default();
    let metric = best.final_auto_ml_job_objective_metric;
    JobResults {
        // Pipelines know one mode only, in which the candidate is one container.
        model_artifacts: containers.into_iter().find_map(|container| text(container.model_data_url)),
        metrics: metric
            .and_then(|metric| Some((metric.metric_name?.as_str().to_owned(), metric.value?)))
            .into_iter()
            .collect(),
        ..JobResults::default()
    }
}
