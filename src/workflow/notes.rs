//! What the machine tells of itself while it works.

use std::time::Duration;

use crate::{pipelines::Status, protocol::Phase};

use super::{gauges::Ended, identity::Key};

/// Facts for logs and metrics.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    ExecutionStarted {
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
