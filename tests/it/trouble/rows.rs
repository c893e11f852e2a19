//! What the nodes of each row must show, written down by hand: the table's other half.

use awf_aws::pipelines::CallErrorKind as Kind;

/// A node's phase and a part of its message, while the fault lasts.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    Pending(&'static str),
    Running(&'static str),
    /// Final.
    Error(&'static str),
}

impl Shown {
    pub fn text(self) -> &'static str {
        match self {
            Self::Pending(text) | Self::Running(text) | Self::Error(text) => text,
        }
    }
}

use Shown::{Error, Pending, Running};

/// One kind of error in all places.
pub struct Row {
    pub kind: Kind,
    pub flags: &'static [&'static str],
    /// Account, listing, validate, start, poll, stop.
    pub cells: [Shown; 6],
}

const SHORT_GRACE: &[&str] = &["--denied-grace=1s"];

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    Row { kind: Kind::Throttled, flags: &[], cells: [
        Running("looking for an earlier execution: Rate exceeded"),
        Running("looking for an earlier execution: Rate exceeded"),
        Pending("Rate exceeded"),
        Pending("AWS throttles the start, it is repeated: Rate exceeded"),
        Running("the execution goes on, but AWS cannot be asked: Rate exceeded"),
        Running("it cannot be stopped: Rate exceeded"),
    ] },
    Row { kind: Kind::Unreachable, flags: &[], cells: [
        Running("looking for an earlier execution: cannot reach STS in eu-west-1"),
        Running("looking for an earlier execution: cannot reach SageMaker in eu-central-1"),
        Pending("cannot reach SageMaker in us-west-2"),
        Pending("AWS cannot be reached, the start is repeated"),
        Running("the execution goes on, but AWS cannot be asked: cannot reach"),
        Running("it cannot be stopped: cannot reach"),
    ] },
    Row { kind: Kind::OutcomeUnknown, flags: &[], cells: [
        Running("looking for an earlier execution: GetCallerIdentity: trouble at AWS"),
        Running("looking for an earlier execution: ListPipelineExecutions: trouble at AWS"),
        Pending("DescribePipeline: trouble at AWS"),
        Running("it is not known whether it started; repeating the start with the same token"),
        Running("the execution goes on, but AWS cannot be asked: DescribePipelineExecution: trouble"),
        Running("it cannot be stopped: StopPipelineExecution: trouble at AWS"),
    ] },
    Row { kind: Kind::QuotaExceeded, flags: &[], cells: [
        Running("as the test wants it"),
        Running("as the test wants it"),
        Pending("as the test wants it"),
        Pending("waiting for SageMaker capacity (0 ahead in this workflow): as the test wants it"),
        Running("the execution goes on, but AWS cannot be asked"),
        Running("it cannot be stopped"),
    ] },
    Row { kind: Kind::Credentials, flags: &[], cells: [
        Running("does not accept the plugin's credentials"),
        Running("does not accept the plugin's credentials"),
        Pending("does not accept the plugin's credentials"),
        Pending("does not accept the plugin's credentials"),
        Running("the execution goes on, but AWS cannot be asked"),
        Running("it cannot be stopped"),
    ] },
    Row { kind: Kind::Denied, flags: &[], cells: [
        Running("is not authorized to perform: sts:GetCallerIdentity"),
        // The listing is done without: it is the start that waits.
        Pending("is not authorized to perform: sagemaker:StartPipelineExecution"),
        Pending("is not authorized to perform: sagemaker:DescribePipeline"),
        Pending("is not authorized to perform: sagemaker:StartPipelineExecution"),
        Running("the execution goes on, but AWS cannot be asked: User:"),
        Running("it cannot be stopped: User:"),
    ] },
    Row { kind: Kind::NotFound, flags: &[], cells: [
        Running("as the test wants it"),
        Error("does not exist: as the test wants it"),
        Error("does not exist: as the test wants it"),
        Error("cannot start, the pipeline does not exist"),
        // For a minute after the start SageMaker may not find it.
        Running("Executing"),
        Running("stopping 1 of 1"),
    ] },
    Row { kind: Kind::Invalid, flags: &[], cells: [
        Running("as the test wants it"),
        Error("SageMaker refuses to list pipeline"),
        Error("as the test wants it"),
        Error("SageMaker refuses the start: as the test wants it"),
        Running("the execution goes on, but AWS cannot be asked"),
        Running("stopping 1 of 1"),
    ] },
    Row { kind: Kind::Conflict, flags: &[], cells: [
        Running("looking for an earlier execution: "),
        Running("looking for an earlier execution: The pipeline"),
        Pending("is being modified by another request"),
        Running("looking for an execution that may have started"),
        Running("the execution goes on, but AWS cannot be asked"),
        Running("stopping 1 of 1"),
    ] },
    Row { kind: Kind::TokenMismatch, flags: &[], cells: [
        Running("looking for an earlier execution: as the test wants it"),
        Running("looking for an earlier execution: as the test wants it"),
        Pending("as the test wants it"),
        Running("looking for an execution that may have started: as the test wants it"),
        Running("the execution goes on, but AWS cannot be asked"),
        Running("stopping 1 of 1"),
    ] },
    Row { kind: Kind::Credentials, flags: SHORT_GRACE, cells: [
        Error("does not accept the plugin's credentials"),
        Error("does not accept the plugin's credentials"),
        Error("does not accept the plugin's credentials"),
        Error("does not accept the plugin's credentials"),
        Running("the execution goes on, but AWS cannot be asked"),
        Running("it cannot be stopped"),
    ] },
    Row { kind: Kind::Denied, flags: SHORT_GRACE, cells: [
        Error("is not authorized to perform: sts:GetCallerIdentity"),
        Error("is not authorized to perform: sagemaker:StartPipelineExecution"),
        Error("is not authorized to perform: sagemaker:DescribePipeline"),
        Error("is not authorized to perform: sagemaker:StartPipelineExecution"),
        Running("the execution goes on, but AWS cannot be asked: User:"),
        Running("it cannot be stopped: User:"),
    ] },
];
