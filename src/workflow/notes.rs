//! What the machine tells of itself while it works.

use std::time::Duration;

use crate::{
    pipelines::{Status, Time},
    protocol::Phase,
};

use super::key::Key;

/// An execution that has ended and is explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub status: Status,
    /// How long it ran, by SageMaker's clock.
    pub ran: Option<Duration>,
    /// When it ended, by our clock.
    pub at: Option<Time>,
    /// Kind and status of its steps.
    pub steps: Vec<(Option<String>, String)>,
}

/// The end of the log of a step's job, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobLines {
    pub step: String,
    /// Oldest first.
    pub lines: Vec<String>,
}

/// Facts for logs and metrics.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    ExecutionStarted {
        arn: String,
    },
    /// One that had failed or was stopped goes on.
    ExecutionResumed {
        arn: String,
    },
    ExecutionAdopted {
        arn: String,
    },
    /// A running execution is being stopped, or runs again.
    ExecutionChanged {
        arn: String,
        status: Status,
    },
    ExecutionFinished {
        arn: String,
        status: Status,
        ran: Option<Duration>,
    },
    /// It was deleted while it ran.
    ExecutionGone {
        arn: String,
    },
    /// Its end is confirmed, with times and steps.
    ExecutionExplained {
        arn: String,
        ended: Ended,
    },
    /// What the failed step's job has written last.
    JobLog {
        arn: String,
        log: JobLines,
    },
    StartFailed {
        key: Key,
        attempt: u32,
        kind: &'static str,
        message: String,
    },
    StopRequested {
        arn: String,
        ok: bool,
    },
    NodeEnded {
        key: Key,
        attempt: u32,
        phase: Phase,
        message: String,
        arn: Option<String>,
    },
    /// Something an operator should read.
    Warning {
        text: String,
    },
}
