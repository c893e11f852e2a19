//! The plugin's input: `template.plugin["awf-aws-plugin"]`, parsed and validated into a [`Task`].
//!
//! Every rule of the input table lives here and nowhere else; a [`Task`] that exists is valid.

mod arn;
mod digest;
mod fields;
mod json;
mod outputs;
mod parse;
mod roles;
mod sentence;
mod start;

use std::time::Duration;

use crate::{
    pipelines::{ClientKey, Time},
    results::Wanted,
};

pub use arn::partition_of;
pub use fields::{IGNORED, KNOWN};
pub use parse::read_task;
pub use roles::AllowedRoles;

/// The workflow a task belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkflowId {
    /// Empty before Argo v3.4.2, whose agent sends none.
    pub uid: String,
    pub name: String,
    pub namespace: String,
}

/// A valid task: one node's one attempt asks for one action.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub workflow: WorkflowId,
    pub template_name: String,
    pub client: ClientKey,
    /// 12 digits.
    pub account_id: String,
    /// `aws`, `aws-cn`, …; follows from the region.
    pub partition: &'static str,
    /// The pipeline's name, also when the user gave its ARN.
    pub pipeline_name: String,
    /// The `execution_key` exactly as given (it is hashed as it is).
    pub execution_key: Option<String>,
    /// Stands in for the execution key when there is none, and names `validate` and `stop` nodes: hex SHA-256 of
    /// (template name, inputs, plugin input less `attempt`, `timeout`, `on_stop`, `on_retry`, `display_name`, `outputs` and what is ignored).
    /// `None` where nothing is named by it: an `execute` task with an execution key. It would be most of what reading one costs.
    pub fallback_key: Option<String>,
    /// Which attempt of the node asks; 0 without a `retryStrategy`.
    pub attempt: u32,
    /// `None`: not given; Kubernetes may tell it.
    pub workflow_created: Option<Time>,
    pub action: Action,
}

impl Task {
    /// The pipeline's ARN.
    pub fn pipeline_arn(&self) -> String {
        format!(
            "arn:{}:sagemaker:{}:{}:pipeline/{}",
            self.partition, self.client.region, self.account_id, self.pipeline_name
        )
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Validate {
        parameters: Vec<(String, String)>,
        version: Option<i64>,
    },
    Execute(Box<Execute>),
    Stop {
        /// Stop this one; else what runs under the task's `execution_key`; else everything of the workflow.
        execution_arn: Option<String>,
        /// As of [`Execute::timeout`].
        timeout: Option<Duration>,
    },
    /// Answers without AWS.
    Mock(MockState),
}

/// How a mocked task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MockState {
    Success,
    Running,
    Error,
}

/// The arguments of `action: execute`.
#[derive(Clone, Debug, PartialEq)]
pub struct Execute {
    /// Sorted by name.
    pub parameters: Vec<(String, String)>,
    pub display_name: Option<String>,
    pub description: Option<String>,
    /// `pipeline_version_id`; `None`: the latest.
    pub version: Option<i64>,
    /// Within one execution.
    pub max_parallel_steps: Option<i32>,
    /// Empty: all. Else the results of the others are those of `source_execution_arn`.
    pub selected_steps: Vec<String>,
    pub source_execution_arn: Option<String>,
    /// Most executions of this pipeline that run at once for this workflow; `None`: no limit of the task's own.
    pub max_running: Option<usize>,
    /// The shortest of `timeout`, `template.timeout` and `template.activeDeadlineSeconds`.
    pub timeout: Option<Duration>,
    /// `None`: the user said nothing. What was started is then stopped, what was attached to is left.
    pub on_stop: Option<OnStop>,
    /// What a further attempt does with the execution that failed or was stopped.
    pub on_retry: OnRetry,
    /// Whether the end CompletedWithFailures counts as a success.
    pub accept_completed_with_failures: bool,
    /// Which results of the steps the template declares, or `outputs` asks for.
    pub results: Wanted,
    /// Attach to this execution instead of starting one.
    pub attach: Option<String>,
    /// Hex SHA-256 (12 digits) of everything that StartPipelineExecution gets from the user.
    pub args_digest: String,
    /// As of [`Self::args_digest`], of what an execution keeps for good: pipeline, version, parameters and selected steps.
    pub work_digest: String,
}

/// What becomes of a running execution when its workflow is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    Stop,
    Leave,
}

/// What a further attempt of a node does with its execution that failed or was stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRetry {
    /// Starts another.
    #[default]
    Restart,
    /// Continues it; where that cannot be, starts another.
    Resume,
    /// Continues it, or fails.
    ResumeOnly,
}

/// Why an input was refused: a sentence that names the field, the value's problem and what is allowed. Never longer than
/// 250 bytes, as every message of a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed plugin input: {0}")]
pub struct InputError(String);
