//! Jobs and their logs at the backend door: the same JSON that the HTTP door sends, read as the SDK's backend reads it.

use serde_json::{Value, json};

use super::{at, text};
use crate::pipelines::{
    Time,
    jobs::{JobKind, JobResults, LogLine, LogTail, instance_seconds, model_of_training},
};

/// The name's member of a Describe operation.
pub(super) fn input(kind: JobKind, name: &str) -> Value {
    let member = match kind {
        JobKind::Training => "TrainingJobName",
        JobKind::Processing => "ProcessingJobName",
        JobKind::Transform => "TransformJobName",
        JobKind::Tuning => "HyperParameterTuningJobName",
        JobKind::AutoMl => "AutoMLJobName",
    };
    json!({member: name})
}

/// What a Describe operation answered.
pub(super) fn results(kind: JobKind, name: &str, job: &Value) -> JobResults {
    let found = match kind {
        JobKind::Training => JobResults {
            model_artifacts: string(job, "/ModelArtifacts/S3ModelArtifacts"),
            metrics: list(job, "/FinalMetricDataList").iter().filter_map(metric).collect(),
            billable_seconds: job
                .get("BillableTimeInSeconds")
                .and_then(Value::as_u64)
                .map(|seconds| seconds * instances(job, "/ResourceConfig/InstanceCount").unwrap_or(1).unsigned_abs()),
            ..JobResults::default()
        },
        JobKind::Processing => JobResults {
            outputs: list(job, "/ProcessingOutputConfig/Outputs")
                .iter()
                .filter_map(|output| Some((text(output, "OutputName")?, string(output, "/S3Output/S3Uri")?)))
                .collect(),
            billable_seconds: instance_seconds(
                at(job, "ProcessingStartTime"),
                at(job, "ProcessingEndTime"),
                instances(job, "/ProcessingResources/ClusterConfig/InstanceCount"),
            ),
            ..JobResults::default()
        },
        JobKind::Transform => JobResults {
            outputs: string(job, "/TransformOutput/S3OutputPath")
                .into_iter()
                .map(|uri| ("transform".to_owned(), uri))
                .collect(),
            billable_seconds: instance_seconds(
                at(job, "TransformStartTime"),
                at(job, "TransformEndTime"),
                instances(job, "/TransformResources/InstanceCount"),
            ),
            ..JobResults::default()
        },
        JobKind::Tuning => JobResults {
            model_artifacts: string(job, "/TrainingJobDefinition/OutputDataConfig/S3OutputPath")
                .zip(string(job, "/BestTrainingJob/TrainingJobName"))
                .map(|(path, training_job)| model_of_training(&path, &training_job, true)),
            metrics: job
                .pointer("/BestTrainingJob/FinalHyperParameterTuningJobObjectiveMetric")
                .and_then(metric)
                .into_iter()
                .collect(),
            ..JobResults::default()
        },
        JobKind::AutoMl => JobResults {
            model_artifacts: string(job, "/BestCandidate/InferenceContainers/0/ModelDataUrl"),
            metrics: job.pointer("/BestCandidate/FinalAutoMLJobObjectiveMetric").and_then(metric).into_iter().collect(),
            ..JobResults::default()
        },
    };
    JobResults { name: name.to_owned(), ..found }
}

/// Of DescribeLogStreams' answer the stream that was written to last; of equals the first.
pub(super) fn newest_stream(answer: &Value) -> Option<String> {
    let streams = list(answer, "/logStreams");
    let last = |stream: &&Value| stream.get("lastEventTimestamp").and_then(Value::as_i64);
    streams.iter().rev().max_by_key(last).and_then(|stream| text(stream, "logStreamName"))
}

/// What GetLogEvents answered of a stream.
pub(super) fn tail(stream: Option<String>, answer: &Value) -> LogTail {
    let line = |event: &Value| LogLine {
        at: Time::at(event.get("timestamp").and_then(Value::as_i64).unwrap_or_default()),
        text: text(event, "message").unwrap_or_default(),
    };
    LogTail { stream, lines: list(answer, "/events").iter().map(line).collect() }
}

/// SageMaker keeps 32 bits of a metric.
fn metric(json: &Value) -> Option<(String, f32)> {
    Some((text(json, "MetricName")?, json.get("Value")?.as_f64()? as f32))
}

fn instances(job: &Value, path: &str) -> Option<i64> {
    job.pointer(path)?.as_i64()
}

fn string(json: &Value, path: &str) -> Option<String> {
    json.pointer(path)?.as_str().map(str::to_owned)
}

fn list<'a>(json: &'a Value, path: &str) -> &'a [Value] {
    json.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
