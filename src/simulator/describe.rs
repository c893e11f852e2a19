//! The Describe operations of the jobs that steps run.

use serde_json::Value;

use super::{
    book::{Book, Caller},
    expression::resolve_all,
    facts::Known,
    jobs::{best_name, best_of_tuning, draft, identity},
    refusal::{Refusal, length, required},
};

/// The resource type that an operation describes and the member that names it; `None` for other operations.
pub(super) fn described(operation: &str) -> Option<(&'static str, &'static str)> {
    Some(match operation {
        "DescribeTrainingJob" => ("training-job", "TrainingJobName"),
        "DescribeProcessingJob" => ("processing-job", "ProcessingJobName"),
        "DescribeTransformJob" => ("transform-job", "TransformJobName"),
        "DescribeHyperParameterTuningJob" => ("hyper-parameter-tuning-job", "HyperParameterTuningJobName"),
        "DescribeAutoMLJob" | "DescribeAutoMLJobV2" => ("automl-job", "AutoMLJobName"),
        _ => return None,
    })
}

impl Book {
    pub(super) fn describe_job(&self, caller: &Caller, operation: &str, input: &Value) -> Result<Value, Refusal> {
        let unknown = || Refusal::new(400, "UnknownOperationException", format!("no such operation: {operation}"));
        let (resource, member) = described(operation).ok_or_else(unknown)?;
        let field = format!("{}{}", member[..1].to_ascii_lowercase(), &member[1..]);
        let given = input.get(member).and_then(Value::as_str).map(str::to_owned);
        let name = required(&field, &given)?;
        length(&field, name, 1, 63)?;
        self.job(caller, resource, name).ok_or_else(|| match resource {
            // As the service answers for these three; the model's ResourceNotFound is the others'.
            "training-job" => Refusal::validation("Requested resource not found."),
            "processing-job" | "transform-job" => {
                Refusal::validation(format!("Could not find requested job with name: {name}"))
            }
            _ => Refusal::not_found(format!("Could not find {resource} with name: {name}")),
        })
    }

    fn job(&self, caller: &Caller, resource: &str, name: &str) -> Option<Value> {
        let execution = self.executions.get(self.by_job_name(name)?).filter(|e| e.scope == caller.scope())?;
        let known = Known { execution, objects: &self.faults.objects };
        let shown = execution.runs().find_map(|run| match identity(run)? {
            (kind, own) if kind == resource && own == name => draft(execution, run),
            ("hyper-parameter-tuning-job", own) if resource == "training-job" && best_name(own) == name => {
                best_of_tuning(execution, run)
            }
            _ => None,
        })?;
        Some(resolve_all(&shown, &known))
    }

    /// The execution that a job's name tells of: `pipelines-<execution>-…`.
    pub(super) fn by_job_name(&self, name: &str) -> Option<usize> {
        let id = name.strip_prefix("pipelines-")?.split('-').next()?;
        self.by_id.get(id).copied()
    }
}
