//! SageMaker Pipelines as data: the calls we make, what they answer, and what a failed call lets us *know*.
//!
//! The workflow machine speaks only this vocabulary; [`crate::backend`] carries it to the AWS SDK or to the simulator.

use std::sync::Arc;

mod arn;
pub mod jobs;
mod time;

pub use arn::Arn;
pub use time::Time;

use jobs::{JobKind, JobResults, LogTail};

/// What tells the time. Everything below `app` is given one.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// Which AWS client makes a call: credentials are cached per value of this.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey {
    pub region: String,
    /// Role to assume on top of the pod's own credentials.
    pub role_arn: Option<String>,
    /// Goes with the role; some treat it as a secret.
    pub external_id: Option<String>,
}

/// One call, one page. Paging is the caller's: a throttled page is repeated, not the whole listing.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// STS GetCallerIdentity, or the account id that the credentials carry themselves.
    GetCallerIdentity,
    DescribePipeline {
        /// Name, or ARN when the pipeline is another account's.
        pipeline: String,
        version: Option<i64>,
    },
    StartExecution(Box<StartExecution>),
    DescribeExecution {
        arn: String,
    },
    /// 100 a page.
    ListPipelines {
        next_token: Option<String>,
    },
    /// Newest first, 100 a page.
    ListExecutions {
        pipeline: String,
        created_after: Option<Time>,
        next_token: Option<String>,
    },
    ListSteps {
        arn: String,
        next_token: Option<String>,
    },
    StopExecution {
        arn: String,
        token: String,
    },
    /// RetryPipelineExecution: what failed or was stopped runs once more, what succeeded keeps its result.
    RetryExecution {
        arn: String,
        /// `ClientRequestToken`, 32 to 128 characters: what makes a repetition no second retry.
        token: String,
        /// How many steps may run at once from now on; `None`: as before.
        parallelism: Option<i32>,
    },
    /// UpdatePipelineExecution of the description alone. It has no token: a repetition writes the same again.
    UpdateExecution {
        arn: String,
        /// One line, at most 3,072 characters; replaces the old one.
        description: String,
    },
    /// What a step's job came to: [`JobKind::of_arn`].
    DescribeJob {
        kind: JobKind,
        name: String,
    },
    /// The newest lines of the newest stream whose name begins so. At most three operations: one finds the stream, one reads
    /// it, and one reads once more where CloudWatch began with an empty page.
    LogTail {
        /// The log group's name.
        group: String,
        /// `<job>/`, with the slash: the stream of an instance ends in numbers that nobody knows.
        stream_prefix: String,
        /// Most lines, 1 to 10,000.
        lines: u16,
    },
}

impl Call {
    /// The operation's name as AWS writes it; a closed set, fit for a metric label.
    pub fn operation(&self) -> &'static str {
        match self {
            Self::GetCallerIdentity => "GetCallerIdentity",
            Self::DescribePipeline { .. } => "DescribePipeline",
            Self::StartExecution(_) => "StartPipelineExecution",
            Self::DescribeExecution { .. } => "DescribePipelineExecution",
            Self::ListPipelines { .. } => "ListPipelines",
            Self::ListExecutions { .. } => "ListPipelineExecutions",
            Self::ListSteps { .. } => "ListPipelineExecutionSteps",
            Self::StopExecution { .. } => "StopPipelineExecution",
            Self::RetryExecution { .. } => "RetryPipelineExecution",
            Self::UpdateExecution { .. } => "UpdatePipelineExecution",
            Self::DescribeJob { kind, .. } => kind.operation(),
            // The one that it is made for; before it comes DescribeLogStreams.
            Self::LogTail { .. } => "GetLogEvents",
        }
    }

    /// Whether a lost reply leaves open if something changed.
    pub fn is_write(&self) -> bool {
        match self {
            Self::StartExecution(_)
            | Self::StopExecution { .. }
            | Self::RetryExecution { .. }
            | Self::UpdateExecution { .. } => true,
            Self::GetCallerIdentity
            | Self::DescribePipeline { .. }
            | Self::DescribeExecution { .. }
            | Self::ListPipelines { .. }
            | Self::ListExecutions { .. }
            | Self::ListSteps { .. }
            | Self::DescribeJob { .. }
            | Self::LogTail { .. } => false,
        }
    }
}

/// The arguments of StartPipelineExecution. Repeating one means sending exactly this again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartExecution {
    pub pipeline: String,
    /// `ClientRequestToken`: what makes a repetition no second start.
    pub token: String,
    pub display_name: String,
    pub description: String,
    /// Name and value of each.
    pub parameters: Vec<(String, String)>,
    /// `None`: the latest.
    pub version: Option<i64>,
    /// Within this execution.
    pub max_parallel_steps: Option<i32>,
    pub selective: Option<Selective>,
}

/// Run only some steps, taking the others' results from an earlier execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selective {
    /// `None`: the selected steps need nothing of the others'.
    pub source_execution_arn: Option<String>,
    pub steps: Vec<String>,
}

/// What a call answered.
#[derive(Clone, Debug, PartialEq)]
pub enum CallReply {
    CallerIdentity {
        account: String,
    },
    Pipeline(PipelineDescription),
    Started {
        arn: String,
    },
    Execution(Execution),
    Pipelines {
        page: Vec<PipelineSummary>,
        next_token: Option<String>,
    },
    Executions {
        page: Vec<Execution>,
        next_token: Option<String>,
    },
    Steps {
        page: Vec<Step>,
        next_token: Option<String>,
    },
    Stopping,
    /// The execution that goes on: the one that was asked for.
    Retried {
        arn: String,
    },
    Updated,
    Job(JobResults),
    LogTail(LogTail),
}

/// A line of ListPipelines as far as we use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineSummary {
    pub name: String,
    /// When its last execution began, if SageMaker says so (`LastExecutionTime`).
    pub last_started: Option<Time>,
}

/// DescribePipeline's answer as far as we use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineDescription {
    pub arn: String,
    /// `Active`, `Deleting`, or a newer word.
    pub status: String,
    pub last_modified: Option<Time>,
    /// The definition's JSON text (up to 1 MiB).
    pub definition: String,
}

/// Where an execution is. Words newer than this crate are [`Status::Unknown`] and treated as running, never as an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Executing,
    Stopping,
    Stopped,
    Failed,
    Succeeded,
    CompletedWithFailures,
    Unknown(Box<str>),
}

impl Status {
    /// Reads SageMaker's word.
    pub fn parse(word: &str) -> Self {
        match word {
            "Executing" => Self::Executing,
            "Stopping" => Self::Stopping,
            "Stopped" => Self::Stopped,
            "Failed" => Self::Failed,
            "Succeeded" => Self::Succeeded,
            "CompletedWithFailures" => Self::CompletedWithFailures,
            other => Self::Unknown(other.into()),
        }
    }

    /// SageMaker's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Executing => "Executing",
            Self::Stopping => "Stopping",
            Self::Stopped => "Stopped",
            Self::Failed => "Failed",
            Self::Succeeded => "Succeeded",
            Self::CompletedWithFailures => "CompletedWithFailures",
            Self::Unknown(word) => word,
        }
    }

    /// Whether the execution can still change (`argo`-side: the node goes on).
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Executing | Self::Stopping | Self::Unknown(_))
    }
}

/// An execution as Describe or a List summary shows it. In a summary `modified` is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    pub arn: String,
    pub status: Status,
    pub created: Option<Time>,
    /// LastModifiedTime; the closest thing to an end time that the API has.
    pub modified: Option<Time>,
    pub description: Option<String>,
    pub failure_reason: Option<String>,
    /// The Studio user profile that started it (`CreatedBy.UserProfileArn`), which is never a plugin's. The role that started
    /// an execution is not told: "IAM Identity details are associated with model package groups, model packages, and project
    /// entities only" (the service's model, UserContext).
    pub started_by: Option<String>,
}

/// One step of an execution.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Step {
    pub name: String,
    /// SageMaker's word: Starting, Executing, Stopping, Stopped, Failed, Succeeded.
    pub status: String,
    /// The metadata member's name (`TrainingJob`, `Lambda`, …); absent when it has none yet.
    pub kind: Option<String>,
    /// ARN of the step's job, model package, endpoint or function.
    pub job_arn: Option<String>,
    pub failure_reason: Option<String>,
    pub started: Option<Time>,
    pub ended: Option<Time>,
    /// Output parameters of Lambda and Callback steps; what a condition or a check found out: `outcome`, `violation-report`,
    /// `calculated-statistics`, `calculated-constraints`.
    pub outputs: Vec<(String, String)>,
    /// Taken from an earlier execution, by the cache or by selective execution: the job is that one's, and was paid for.
    pub reused: bool,
}

/// Why a call failed, by what is *known* afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallErrorKind {
    /// Refused for its rate; certainly not done.
    Throttled,
    /// ResourceLimitExceeded: certainly not started, may be later.
    QuotaExceeded,
    /// The pipeline or execution is not there.
    NotFound,
    /// ConflictException.
    Conflict,
    /// A token that was used before, with other arguments.
    TokenMismatch,
    /// ValidationException and its like: the same call will be refused again.
    Invalid,
    /// The credentials work but may not do this.
    Denied,
    /// There are no usable credentials.
    Credentials,
    /// Never reached AWS (connection refused, no such host): certainly not done.
    Unreachable,
    /// Sent, but no trustworthy answer (time-out, connection lost, 5xx): a write may have been done.
    OutcomeUnknown,
}

impl CallErrorKind {
    /// A closed word for logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::QuotaExceeded => "limit_exceeded",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::TokenMismatch => "token_mismatch",
            Self::Invalid => "validation",
            Self::Denied => "access_denied",
            Self::Credentials => "credentials",
            Self::Unreachable => "connector",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }
}

/// A failed call. `message` is a sentence for the node: AWS's own text, or for credentials what to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    pub kind: CallErrorKind,
    /// AWS's error code where there is one.
    pub code: Option<String>,
    pub message: String,
    /// AWS's, for its support.
    pub request_id: Option<String>,
}

/// A call's result with the clock of the server that answered it (its `Date` header).
#[derive(Clone, Debug, PartialEq)]
pub struct CallEnded {
    pub result: Result<CallReply, CallError>,
    /// To the second; `None` where no answer told it.
    pub server_time: Option<Time>,
}
