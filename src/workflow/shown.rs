//! What AWS showed last of an execution.

use crate::pipelines::{Arn, Execution, Status, Time};

/// The part of [`Execution`] that is kept, and in less room: of ten thousand.
#[derive(Clone, Debug)]
pub struct Shown {
    pub arn: Arn,
    pub status: Status,
    pub created: Option<Time>,
    pub modified: Option<Time>,
    pub failure_reason: Option<Box<str>>,
}

impl Shown {
    /// It is spelled like this.
    pub fn is_spelled(&mut self, arn: &str) {
        if self.arn.as_str() != arn {
            self.arn = arn.into();
        }
    }
}

impl From<Execution> for Shown {
    fn from(execution: Execution) -> Self {
        let Execution { arn, status, created, modified, failure_reason, .. } = execution;
        Self { arn: arn.as_str().into(), status, created, modified, failure_reason: failure_reason.map(Into::into) }
    }
}
