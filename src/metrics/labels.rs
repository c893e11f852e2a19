//! The values that labels can have. All are closed sets: a label that could grow without bound does not compile.

use crate::{
    pipelines::{CallErrorKind, Status},
    protocol::Phase,
};

/// A label: its name and all its values.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Every value, in the order of the catalogue.
    const ALL: &'static [Self];
    /// The value as Prometheus sees it.
    fn as_str(self) -> &'static str;
    /// Which of [`Self::ALL`] it is, from 0.
    fn place(self) -> usize;
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident $label:literal { $($(#[$why:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$why])* $variant),+ }

        impl Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            fn place(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// How a `template.execute` request was answered.
    Outcome "outcome" {
        /// With an execution that was started since the node was last answered.
        Started = "started",
        Running = "running",
        Succeeded = "succeeded",
        Failed = "failed",
        Error = "error",
        /// Refused: no token, no JSON, malformed plugin input.
        Invalid = "invalid",
        /// Another plugin's task.
        Ignored = "ignored",
    }
}

impl Outcome {
    /// What an answer to a valid task of ours counts as.
    pub fn of(phase: Option<Phase>, started: bool) -> Self {
        match phase {
            Some(Phase::Succeeded) => Self::Succeeded,
            Some(Phase::Failed) => Self::Failed,
            Some(Phase::Error) => Self::Error,
            None | Some(Phase::Pending | Phase::Running) if started => Self::Started,
            None | Some(Phase::Pending | Phase::Running) => Self::Running,
        }
    }
}

label! {
    /// A kind of actor.
    Actor "actor" { Supervisor = "supervisor", Workflow = "workflow" }
}

label! {
    /// Who of the actors can be made again: the supervisor's death is the process's.
    Restarted "actor" { Workflow = "workflow" }
}

label! {
    /// Where a running execution is.
    Activity "status" { Executing = "Executing", Stopping = "Stopping" }
}

label! {
    /// How an execution ended.
    End "status" {
        Succeeded = "Succeeded",
        Failed = "Failed",
        Stopped = "Stopped",
        CompletedWithFailures = "CompletedWithFailures",
        /// It was deleted, so nobody can say.
        Unknown = "Unknown",
    }
}

impl From<&Status> for End {
    fn from(status: &Status) -> Self {
        match status {
            Status::Succeeded => Self::Succeeded,
            Status::Failed => Self::Failed,
            Status::Stopped => Self::Stopped,
            Status::CompletedWithFailures => Self::CompletedWithFailures,
            Status::Executing | Status::Stopping | Status::Unknown(_) => Self::Unknown,
        }
    }
}

label! {
    /// An operation of AWS that the plugin calls.
    Operation "operation" {
        GetCallerIdentity = "GetCallerIdentity",
        DescribePipeline = "DescribePipeline",
        StartPipelineExecution = "StartPipelineExecution",
        DescribePipelineExecution = "DescribePipelineExecution",
        ListPipelines = "ListPipelines",
        ListPipelineExecutions = "ListPipelineExecutions",
        ListPipelineExecutionSteps = "ListPipelineExecutionSteps",
        StopPipelineExecution = "StopPipelineExecution",
        RetryPipelineExecution = "RetryPipelineExecution",
        UpdatePipelineExecution = "UpdatePipelineExecution",
        /// One for all types of jobs.
        DescribeJob = "DescribeJob",
        DescribeLogStreams = "DescribeLogStreams",
        GetLogEvents = "GetLogEvents",
    }
}

/// Operations that most workflows never ask for: their series appear with the first call, wherever others are there at 0.
pub const SELDOM: [Operation; 5] = [
    Operation::RetryPipelineExecution,
    Operation::UpdatePipelineExecution,
    Operation::DescribeJob,
    Operation::DescribeLogStreams,
    Operation::GetLogEvents,
];

impl Operation {
    /// The operation of this name, as [`crate::pipelines::Call::operation`] writes it.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "DescribeTrainingJob"
            | "DescribeProcessingJob"
            | "DescribeTransformJob"
            | "DescribeHyperParameterTuningJob"
            | "DescribeAutoMLJobV2" => Some(Self::DescribeJob),
            _ => Self::ALL.iter().copied().find(|operation| operation.as_str() == name),
        }
    }
}

label! {
    /// Whether a call can change something.
    Access "access" { Read = "read", Write = "write" }
}

label! {
    /// How a call to AWS ended, retries included.
    CallOutcome "outcome" {
        Ok = "ok",
        Throttled = "throttled",
        AccessDenied = "access_denied",
        Credentials = "credentials",
        NotFound = "not_found",
        Validation = "validation",
        /// ResourceLimitExceeded: the account's quota.
        LimitExceeded = "limit_exceeded",
        Conflict = "conflict",
        /// A request token that was used with other arguments.
        TokenMismatch = "token_mismatch",
        /// AWS could not be reached.
        Connector = "connector",
        /// Sent, but no trustworthy answer came: a time-out, a lost connection, a server error.
        OutcomeUnknown = "outcome_unknown",
    }
}

impl From<CallErrorKind> for CallOutcome {
    fn from(kind: CallErrorKind) -> Self {
        match kind {
            CallErrorKind::Throttled => Self::Throttled,
            CallErrorKind::QuotaExceeded => Self::LimitExceeded,
            CallErrorKind::NotFound => Self::NotFound,
            CallErrorKind::Conflict => Self::Conflict,
            CallErrorKind::TokenMismatch => Self::TokenMismatch,
            CallErrorKind::Invalid => Self::Validation,
            CallErrorKind::Denied => Self::AccessDenied,
            CallErrorKind::Credentials => Self::Credentials,
            CallErrorKind::Unreachable => Self::Connector,
            CallErrorKind::OutcomeUnknown => Self::OutcomeUnknown,
        }
    }
}

label! {
    /// Why an execution could not be started.
    StartFailure "reason" {
        Throttled = "throttled",
        AccessDenied = "access_denied",
        NotFound = "not_found",
        Validation = "validation",
        LimitExceeded = "limit_exceeded",
        Credentials = "credentials",
        /// No trustworthy answer: it may have started, and the start is repeated under its token.
        Timeout = "timeout",
        Other = "other",
    }
}

impl StartFailure {
    /// From the word of a [`CallErrorKind`]; what no start should meet is `other`.
    pub fn of(word: &str) -> Self {
        match word {
            "outcome_unknown" => Self::Timeout,
            word => Self::ALL.iter().copied().find(|known| known.as_str() == word).unwrap_or(Self::Other),
        }
    }
}

label! {
    /// What came of a request to stop.
    StopOutcome "outcome" { Ok = "ok", Error = "error" }
}

label! {
    /// What kind of step: the usual ones of SageMaker's, and the rest.
    StepType "step_type" {
        Training = "TrainingJob",
        Processing = "ProcessingJob",
        Transform = "TransformJob",
        Tuning = "TuningJob",
        AutoMl = "AutoMLJob",
        Model = "Model",
        RegisterModel = "RegisterModel",
        Condition = "Condition",
        Lambda = "Lambda",
        Callback = "Callback",
        QualityCheck = "QualityCheck",
        ClarifyCheck = "ClarifyCheck",
        Other = "other",
    }
}

impl StepType {
    /// From the kind of a step, which it has none of before it began.
    pub fn of(kind: Option<&str>) -> Self {
        Self::ALL.iter().copied().find(|known| Some(known.as_str()) == kind).unwrap_or(Self::Other)
    }
}

label! {
    /// How a step ended.
    StepEnd "status" { Succeeded = "Succeeded", Failed = "Failed", Stopped = "Stopped" }
}

impl StepEnd {
    /// From SageMaker's word; `None` for a step that did not end.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.as_str() == word)
    }
}

label! {
    /// The route that took a request, by its pattern.
    Route "handler" { Execute = "execute", Metrics = "metrics", Health = "health", Other = "other" }
}

label! {
    /// An HTTP status that the plugin answers with.
    Code "code" {
        C200 = "200", C400 = "400", C403 = "403", C404 = "404", C405 = "405", C413 = "413", C415 = "415",
        C500 = "500", C503 = "503", Other = "other",
    }
}

impl Code {
    /// From the status itself.
    pub fn of(status: u16) -> Self {
        match status {
            200 => Self::C200,
            400 => Self::C400,
            403 => Self::C403,
            404 => Self::C404,
            405 => Self::C405,
            413 => Self::C413,
            415 => Self::C415,
            500 => Self::C500,
            503 => Self::C503,
            _ => Self::Other,
        }
    }
}

label! {
    /// How bad a log line is; those below are not counted.
    Level "level" { Error = "error", Warn = "warn", Info = "info" }
}

label! {
    /// A region of AWS; those that are not known by name here count together. A process calls one or two.
    Region "aws_region" {
        UsEast1 = "us-east-1", UsEast2 = "us-east-2", UsWest1 = "us-west-1", UsWest2 = "us-west-2",
        AfSouth1 = "af-south-1",
        ApEast1 = "ap-east-1", ApEast2 = "ap-east-2", ApNortheast1 = "ap-northeast-1",
        ApNortheast2 = "ap-northeast-2", ApNortheast3 = "ap-northeast-3", ApSouth1 = "ap-south-1",
        ApSouth2 = "ap-south-2", ApSoutheast1 = "ap-southeast-1", ApSoutheast2 = "ap-southeast-2",
        ApSoutheast3 = "ap-southeast-3", ApSoutheast4 = "ap-southeast-4", ApSoutheast5 = "ap-southeast-5",
        ApSoutheast6 = "ap-southeast-6", ApSoutheast7 = "ap-southeast-7",
        CaCentral1 = "ca-central-1", CaWest1 = "ca-west-1",
        EuCentral1 = "eu-central-1", EuCentral2 = "eu-central-2", EuNorth1 = "eu-north-1", EuSouth1 = "eu-south-1",
        EuSouth2 = "eu-south-2", EuWest1 = "eu-west-1", EuWest2 = "eu-west-2", EuWest3 = "eu-west-3",
        IlCentral1 = "il-central-1", MeCentral1 = "me-central-1", MeSouth1 = "me-south-1", MxCentral1 = "mx-central-1",
        SaEast1 = "sa-east-1",
        CnNorth1 = "cn-north-1", CnNorthwest1 = "cn-northwest-1",
        UsGovEast1 = "us-gov-east-1", UsGovWest1 = "us-gov-west-1",
        Other = "other",
    }
}

impl Region {
    /// From the region's own name.
    pub fn of(name: &str) -> Self {
        Self::ALL.iter().copied().find(|known| known.as_str() == name).unwrap_or(Self::Other)
    }
}

label! {
    /// How the plugin is deployed; so far there is one way.
    Mode "mode" { Sidecar = "sidecar" }
}

/// The version of this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version;

impl Label for Version {
    const NAME: &'static str = "version";
    const ALL: &'static [Self] = &[Self];

    fn as_str(self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn place(self) -> usize {
        0
    }
}
