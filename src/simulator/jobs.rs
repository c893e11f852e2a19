//! The jobs of steps as SageMaker's Describe operations show them: the definition's arguments, and what came of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    arn::partition,
    definition::StepKind,
    execution::{Execution, clipped, timestamp},
    expression::resolve,
    facts::Known,
    steps::{StepRun, StepStatus},
};

/// A step's job by its run: resource type and name.
pub(super) fn identity(run: &StepRun) -> Option<(&str, &str)> {
    run.job_arn.as_deref()?.rsplit_once(':')?.1.split_once('/')
}

/// A job's description with the definition's expressions as they are written. `None` for a step without a job.
pub(super) fn draft(execution: &Execution, run: &StepRun) -> Option<Value> {
    let plan = execution.definition.steps.get(run.plan)?;
    let member = match &plan.kind {
        StepKind::Job { member, .. } => *member,
        StepKind::Check { .. } => "ProcessingJob",
        _ => return None,
    };
    let (_, name) = identity(run)?;
    let mut shown = plan.arguments.as_object().cloned().unwrap_or_default();
    // Not a member of any description.
    shown.shift_remove("Tags");
    let job = Job { execution, run, name };
    match member {
        "TrainingJob" => job.training(&mut shown),
        "ProcessingJob" => job.processing(&mut shown),
        "TransformJob" => job.transform(&mut shown),
        "TuningJob" => job.tuning(&mut shown),
        "AutoMLJob" => job.auto_ml(&mut shown),
        other => put(&mut shown, &format!("{other}Name"), name.into()),
    }
    Some(shown.into())
}

/// The training job that a tuning job found to be the best, as DescribeTrainingJob shows it.
pub(super) fn best_of_tuning(execution: &Execution, run: &StepRun) -> Option<Value> {
    let plan = execution.definition.steps.get(run.plan)?;
    let (_, tuning) = identity(run)?;
    let mut shown = plan.arguments.get("TrainingJobDefinition").and_then(Value::as_object).cloned().unwrap_or_default();
    let name = best_name(tuning);
    let job = Job { execution, run, name: &name };
    job.training(&mut shown);
    put(&mut shown, "TrainingJobArn", job.execution.scope.sagemaker(&format!("training-job/{name}")).into());
    put(&mut shown, "TuningJobArn", run.job_arn.clone().into());
    Some(shown.into())
}

/// Training jobs of a tuning job are named after it, with a number and something random.
pub(super) fn best_name(tuning: &str) -> String {
    let hex: String = Sha256::digest(tuning).iter().take(4).map(|b| format!("{b:02x}")).collect();
    format!("{tuning}-001-{hex}")
}

/// On how many instances a step's job runs; no more than a few are played.
pub(super) fn instances(execution: &Execution, run: &StepRun) -> usize {
    let paths = [
        "/ResourceConfig/InstanceCount",
        "/ProcessingResources/ClusterConfig/InstanceCount",
        "/TransformResources/InstanceCount",
    ];
    let arguments = execution.definition.steps.get(run.plan).map(|plan| &plan.arguments);
    let given = arguments.and_then(|all| paths.iter().find_map(|path| all.pointer(path)));
    let known = Known { execution, objects: &BTreeMap::new() };
    let count = given.and_then(|count| resolve(count, &known).ok().flatten()).and_then(|count| count.as_u64());
    usize::try_from(count.unwrap_or(1)).unwrap_or(1).clamp(1, 20)
}

fn put(shown: &mut Map<String, Value>, member: &str, value: Value) {
    shown.insert(member.to_owned(), value);
}

struct Job<'a> {
    execution: &'a Execution,
    run: &'a StepRun,
    name: &'a str,
}

impl Job<'_> {
    /// The job's status in the words that all job types share.
    fn status(&self) -> &'static str {
        match self.run.status {
            StepStatus::Executing => "InProgress",
            StepStatus::Succeeded => "Completed",
            other => other.as_str(),
        }
    }

    /// What all descriptions say, under each type's own names.
    fn common(&self, shown: &mut Map<String, Value>, kind: &str, start: &str, end: &str) {
        put(shown, &format!("{kind}Name"), self.name.into());
        put(shown, &format!("{kind}Arn"), self.run.job_arn.clone().into());
        put(shown, &format!("{kind}Status"), self.status().into());
        put(shown, "CreationTime", timestamp(self.run.started));
        if !start.is_empty() {
            put(shown, start, timestamp(self.run.started));
        }
        if let Some(ended) = self.run.ended {
            put(shown, end, timestamp(ended));
        }
        put(shown, "LastModifiedTime", timestamp(self.run.ended.unwrap_or(self.run.started)));
        if let Some(reason) = &self.run.failure_reason {
            put(shown, "FailureReason", clipped(reason, 1024).into());
        }
    }

    fn training(&self, shown: &mut Map<String, Value>) {
        self.common(shown, "TrainingJob", "TrainingStartTime", "TrainingEndTime");
        let running = self.run.status == StepStatus::Executing;
        let secondary = if running { "Training" } else { self.status() };
        put(shown, "SecondaryStatus", secondary.into());
        let mut transitions = vec![json!({"Status": "Training", "StartTime": timestamp(self.run.started)})];
        if let Some(ended) = self.run.ended {
            transitions[0]["EndTime"] = timestamp(ended);
            transitions.push(json!({
                "Status": secondary, "StartTime": timestamp(ended), "EndTime": timestamp(ended),
                "StatusMessage": self.run.failure_reason.as_deref().unwrap_or("Training job ended"),
            }));
            // At least a second, and each begun one.
            let seconds = (ended.since(self.run.started).as_millis().div_ceil(1000) as u64).max(1);
            put(shown, "TrainingTimeInSeconds", seconds.into());
            put(shown, "BillableTimeInSeconds", seconds.into());
        }
        put(shown, "SecondaryStatusTransitions", transitions.into());
        shown.entry("StoppingCondition").or_insert_with(|| json!({"MaxRuntimeInSeconds": 86400}));
        let output = self.output_path(shown, "OutputDataConfig");
        put(shown, "ModelArtifacts", json!({"S3ModelArtifacts": joined(&output, &[self.name, "output/model.tar.gz"])}));
        if self.run.status == StepStatus::Succeeded
            && let Some(found) = self.run.found.as_ref().filter(|found| !found.metrics.is_empty())
        {
            let at = timestamp(self.run.ended.unwrap_or(self.run.started));
            let metric = |(name, value): (&String, &f64)| json!({"MetricName": name, "Value": value, "Timestamp": at});
            put(shown, "FinalMetricDataList", found.metrics.iter().map(metric).collect());
        }
    }

    fn processing(&self, shown: &mut Map<String, Value>) {
        self.common(shown, "ProcessingJob", "ProcessingStartTime", "ProcessingEndTime");
        shown.entry("AppSpecification").or_insert_with(|| json!({"ImageUri": "simulated"}));
        shown.entry("ProcessingResources").or_insert_with(
            || json!({"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 30}}),
        );
    }

    fn transform(&self, shown: &mut Map<String, Value>) {
        self.common(shown, "TransformJob", "TransformStartTime", "TransformEndTime");
        // The one description without it.
        shown.shift_remove("LastModifiedTime");
        let output = self.output_path(shown, "TransformOutput");
        shown.entry("TransformOutput").or_insert_with(|| json!({"S3OutputPath": output}));
        shown.entry("ModelName").or_insert_with(|| "simulated".into());
        shown.entry("TransformInput").or_insert_with(|| json!({"DataSource": {}}));
        shown
            .entry("TransformResources")
            .or_insert_with(|| json!({"InstanceCount": 1, "InstanceType": "ml.m5.xlarge"}));
    }

    fn tuning(&self, shown: &mut Map<String, Value>) {
        self.common(shown, "HyperParameterTuningJob", "", "HyperParameterTuningEndTime");
        let most = shown
            .get("HyperParameterTuningJobConfig")
            .and_then(|config| config.pointer("/ResourceLimits/MaxNumberOfTrainingJobs")?.as_u64())
            .unwrap_or(1);
        shown.entry("HyperParameterTuningJobConfig").or_insert_with(|| json!({"Strategy": "Bayesian"}));
        let (done, running, failed) = match self.run.status {
            StepStatus::Succeeded => (most, 0, 0),
            StepStatus::Failed => (0, 0, most),
            _ => (0, 1, 0),
        };
        let counters = json!({
            "Completed": done, "InProgress": running, "RetryableError": 0, "NonRetryableError": failed, "Stopped": 0,
        });
        put(shown, "TrainingJobStatusCounters", counters);
        put(shown, "ObjectiveStatusCounters", json!({"Succeeded": done, "Pending": running, "Failed": failed}));
        if self.run.status == StepStatus::Succeeded {
            let name = best_name(self.name);
            let mut best = json!({
                "TrainingJobArn": self.execution.scope.sagemaker(&format!("training-job/{name}")),
                "TrainingJobName": name, "TrainingJobStatus": "Completed",
                "CreationTime": timestamp(self.run.started), "TunedHyperParameters": {},
            });
            if let Some((metric, value)) = self.objective() {
                best["FinalHyperParameterTuningJobObjectiveMetric"] = json!({"MetricName": metric, "Value": value});
            }
            put(shown, "BestTrainingJob", best);
        }
    }

    fn auto_ml(&self, shown: &mut Map<String, Value>) {
        self.common(shown, "AutoMLJob", "", "EndTime");
        put(shown, "AutoMLJobSecondaryStatus", self.status().into());
        let output = self.output_path(shown, "OutputDataConfig");
        shown.entry("OutputDataConfig").or_insert_with(|| json!({"S3OutputPath": output.clone()}));
        // Each of the two versions of the operation has its own.
        shown.entry("InputDataConfig").or_insert_with(|| json!([]));
        shown.entry("AutoMLJobInputDataConfig").or_insert_with(|| json!([]));
        shown.entry("RoleArn").or_insert_with(|| self.role().into());
        if self.run.status == StepStatus::Succeeded {
            let candidate = format!("{}-1", self.name);
            let model = joined(&output, &[self.name, "tuning", &candidate, "output/model.tar.gz"]);
            let mut best = json!({
                "CandidateName": candidate, "ObjectiveStatus": "Succeeded", "CandidateStatus": "Completed", "CandidateSteps": [],
                "CreationTime": timestamp(self.run.started),
                "LastModifiedTime": timestamp(self.run.ended.unwrap_or(self.run.started)),
                "InferenceContainers": [{"Image": "simulated", "ModelDataUrl": model}],
            });
            if let Some((metric, value)) = self.objective() {
                best["FinalAutoMLJobObjectiveMetric"] = json!({"MetricName": metric, "Value": value});
            }
            put(shown, "BestCandidate", best);
        }
    }

    /// The scenario's first metric.
    fn objective(&self) -> Option<(&String, &f64)> {
        self.run.found.as_ref()?.metrics.iter().next()
    }

    fn role(&self) -> String {
        let scope = &self.execution.scope;
        format!("arn:{}:iam::{}:role/SimulatedPipelineRole", partition(&scope.region), scope.account)
    }

    /// Where the definition puts results, else the account's default bucket.
    fn output_path(&self, shown: &Map<String, Value>, config: &str) -> Value {
        let given = shown.get(config).and_then(|config| config.get("S3OutputPath"));
        let scope = &self.execution.scope;
        given.cloned().unwrap_or_else(|| format!("s3://sagemaker-{}-{}", scope.region, scope.account).into())
    }
}

/// A path below another, which may be an expression.
fn joined(base: &Value, rest: &[&str]) -> Value {
    match base.as_str() {
        Some(text) => {
            std::iter::once(text.trim_end_matches('/')).chain(rest.iter().copied()).collect::<Vec<_>>().join("/").into()
        }
        None => {
            let values: Vec<Value> =
                std::iter::once(base.clone()).chain(rest.iter().map(|part| (*part).into())).collect();
            json!({"Std:Join": {"On": "/", "Values": values}})
        }
    }
}
