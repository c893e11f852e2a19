//! The jobs behind an execution's steps: what a Describe of one tells, and the end of its log.

use super::Time;

/// A type of job that a Describe operation tells results of. Other steps (models, endpoints, functions) have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobKind {
    Training,
    /// Also the jobs of QualityCheck and ClarifyCheck steps.
    Processing,
    Transform,
    /// A hyperparameter tuning job.
    Tuning,
    /// Of either version of the API: the second version's operation describes both.
    AutoMl,
}

impl JobKind {
    /// The type and the name of a job, by its ARN. `None` for what is no job's.
    pub fn of_arn(arn: &str) -> Option<(Self, &str)> {
        let mut parts = arn.splitn(6, ':');
        let is_sagemaker = parts.next() == Some("arn") && parts.nth(1) == Some("sagemaker");
        let (resource, name) = parts.nth(2).filter(|_| is_sagemaker)?.split_once('/')?;
        let kind = match resource {
            "training-job" => Self::Training,
            "processing-job" => Self::Processing,
            "transform-job" => Self::Transform,
            "hyper-parameter-tuning-job" => Self::Tuning,
            "automl-job" => Self::AutoMl,
            _ => return None,
        };
        (!name.is_empty()).then_some((kind, name))
    }

    /// The operation that describes it, as AWS writes it.
    pub fn operation(self) -> &'static str {
        match self {
            Self::Training => "DescribeTrainingJob",
            Self::Processing => "DescribeProcessingJob",
            Self::Transform => "DescribeTransformJob",
            Self::Tuning => "DescribeHyperParameterTuningJob",
            Self::AutoMl => "DescribeAutoMLJobV2",
        }
    }
}

/// What a job came to, as far as we use it. A job that runs or failed has some of it only.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct JobResults {
    /// The job's name.
    pub name: String,
    /// S3 URI of the model: of a tuning job that of its best training job, of an AutoML job that of its best candidate.
    pub model_artifacts: Option<String>,
    /// Name and S3 URI of each output: a processing job's own; a transform job's only one is called `transform`.
    pub outputs: Vec<(String, String)>,
    /// Name and final value of each metric; SageMaker keeps 32 bits of it.
    pub metrics: Vec<(String, f32)>,
    /// Seconds that are paid for, times instances: `BillableTimeInSeconds` of a training job, from start to end of a
    /// processing or transform job. Absent before the end, and for jobs that only start other jobs.
    pub billable_seconds: Option<u64>,
}

/// Where SageMaker puts the model of a tuning job's training job, below the job definition's `S3OutputPath`; the
/// description of the tuning job does not say it.
pub fn model_of_training(output_path: &str, training_job: &str, compressed: bool) -> String {
    let file = if compressed { "model.tar.gz" } else { "model/" };
    format!("{}/{training_job}/output/{file}", output_path.trim_end_matches('/'))
}

/// Seconds between two times, times instances; each begun second counts.
pub fn instance_seconds(start: Option<Time>, end: Option<Time>, instances: Option<i64>) -> Option<u64> {
    let seconds = u64::try_from(end?.since(start?).as_millis().div_ceil(1000)).ok()?;
    seconds.checked_mul(u64::try_from(instances.unwrap_or(1)).ok()?)
}

/// The end of a job's log.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LogTail {
    /// The stream that the lines are from; `None`: there is none of that name yet.
    pub stream: Option<String>,
    /// Oldest first.
    pub lines: Vec<LogLine>,
}

/// A line of a log as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The container's clock.
    pub at: Time,
    /// May hold anything, secrets too, up to CloudWatch's 1 MiB.
    pub text: String,
}
