//! Permission policies: what a role may do, which is what the plugin calls and nothing else.
//!
//! Resource types: AWS's service authorization reference for SageMaker and for CloudWatch Logs. No `iam:PassRole`: an execution runs with its
//! pipeline's own role.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::LANGUAGE;

/// What the role is for. Each purpose includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    Validate,
    Execute,
    /// Stops what passed its time-out or whose workflow is over, and finds what a `stop` node without a name means.
    ExecuteAndStop,
}

/// Something the plugin does where a user wants it, with permissions of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// A further attempt continues the execution that failed.
    Resume,
    /// The last lines of a failed job.
    Logs,
    /// What jobs came to: models, outputs, metrics, billable seconds.
    Results,
}

impl Feature {
    pub const ALL: [Self; 3] = [Self::Resume, Self::Logs, Self::Results];

    /// As `--with` has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Logs => "logs",
            Self::Results => "results",
        }
    }

    /// Reads one of `--with`'s words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let word = text.trim();
        let known = Self::ALL.into_iter().find(|feature| feature.word() == word);
        known.ok_or_else(|| format!("{word:?} is not one of {}", Self::ALL.map(Self::word).join(", ")))
    }
}

/// What an action is allowed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Pipeline,
    Execution,
    /// ListPipelines knows no resource but `*`.
    Anything,
    /// A job that a pipeline's step runs, by its type in ARNs; pipelines name their jobs `pipelines-<execution>-…`.
    Job(&'static str),
    /// CloudWatch's log groups of SageMaker, and the streams in them.
    Logs,
}

/// Who needs an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// This purpose and those that include it.
    From(Purpose),
    For(Feature),
}

/// Every action of the plugin.
const ACTIONS: [(&str, On, Need); 16] = [
    ("DescribePipeline", On::Pipeline, Need::From(Purpose::Validate)),
    ("StartPipelineExecution", On::Pipeline, Need::From(Purpose::Execute)),
    ("ListPipelineExecutions", On::Pipeline, Need::From(Purpose::Execute)),
    ("DescribePipelineExecution", On::Execution, Need::From(Purpose::Execute)),
    ("ListPipelineExecutionSteps", On::Execution, Need::From(Purpose::Execute)),
    ("StopPipelineExecution", On::Execution, Need::From(Purpose::ExecuteAndStop)),
    ("RetryPipelineExecution", On::Execution, Need::For(Feature::Resume)),
    ("UpdatePipelineExecution", On::Execution, Need::For(Feature::Resume)),
    ("ListPipelines", On::Anything, Need::From(Purpose::ExecuteAndStop)),
    ("DescribeTrainingJob", On::Job("training-job"), Need::For(Feature::Results)),
    ("DescribeProcessingJob", On::Job("processing-job"), Need::For(Feature::Results)),
    ("DescribeTransformJob", On::Job("transform-job"), Need::For(Feature::Results)),
    ("DescribeHyperParameterTuningJob", On::Job("hyper-parameter-tuning-job"), Need::For(Feature::Results)),
    ("DescribeAutoMLJobV2", On::Job("automl-job"), Need::For(Feature::Results)),
    ("DescribeLogStreams", On::Logs, Need::For(Feature::Logs)),
    ("GetLogEvents", On::Logs, Need::For(Feature::Logs)),
];

/// What a role may do, and on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    pub partition: &'static str,
    pub region: String,
    /// The pipelines' account.
    pub account: String,
    /// Names or patterns with `*`.
    pub pipelines: Vec<String>,
    pub purpose: Purpose,
    /// What it is for besides.
    pub with: BTreeSet<Feature>,
    /// Roles that it may assume in its turn: those of `role_arn`.
    pub roles: Vec<String>,
}

impl Permissions {
    /// The policy.
    pub fn policy(&self) -> Value {
        let statement = |sid: &str, of: &dyn Fn(On) -> bool| {
            let needed = |need| match need {
                Need::From(purpose) => purpose <= self.purpose,
                Need::For(feature) => self.with.contains(&feature),
            };
            let all: Vec<_> = ACTIONS.into_iter().filter(|(_, on, need)| of(*on) && needed(*need)).collect();
            let mut resources: Vec<String> = Vec::new();
            for resource in all.iter().flat_map(|(_, on, _)| self.resources(*on)) {
                if !resources.contains(&resource) {
                    resources.push(resource);
                }
            }
            let actions: Vec<_> = all.iter().map(|(action, on, _)| full(action, *on)).collect();
            (!actions.is_empty()).then(|| allow(sid, actions, resources))
        };
        let mut statements: Vec<Value> = [
            statement("SageMakerPipelines", &|on| on == On::Pipeline),
            statement("SageMakerPipelineExecutions", &|on| on == On::Execution),
            statement("SageMakerListPipelines", &|on| on == On::Anything),
            statement("SageMakerJobsOfPipelines", &|on| matches!(on, On::Job(_))),
            statement("LogsOfSageMakerJobs", &|on| on == On::Logs),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !self.roles.is_empty() {
            statements.push(json!({
                "Sid": "RolesOfOtherAccounts", "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": one_or_all(self.roles.clone()),
            }));
        }
        json!({"Version": LANGUAGE, "Statement": statements})
    }

    /// The one statement that allows one operation of the plugin; nothing for an operation that is not the plugin's.
    pub fn statement(&self, operation: &str) -> Option<Value> {
        let (action, on, _) = ACTIONS.into_iter().find(|(action, _, _)| *action == operation)?;
        Some(allow(&format!("Allow{action}"), vec![full(action, on)], self.resources(on)))
    }

    /// Both spellings: names were lower-cased in the ARNs of pipelines that were made before about April 2023, and IAM
    /// compares resources by case.
    fn resources(&self, on: On) -> Vec<String> {
        let Self { partition, region, account, .. } = self;
        let tail = match on {
            On::Pipeline => "",
            On::Execution => "/execution/*",
            On::Anything => return vec!["*".to_owned()],
            On::Job(kind) => return vec![format!("arn:{partition}:sagemaker:{region}:{account}:{kind}/pipelines-*")],
            On::Logs => return vec![format!("arn:{partition}:logs:{region}:{account}:log-group:/aws/sagemaker/*")],
        };
        let mut all: Vec<String> = Vec::new();
        for name in &self.pipelines {
            for spelling in [name.clone(), name.to_ascii_lowercase()] {
                let arn = format!("arn:{partition}:sagemaker:{region}:{account}:pipeline/{spelling}{tail}");
                if !all.contains(&arn) {
                    all.push(arn);
                }
            }
        }
        all
    }
}

/// An action with its service, as IAM writes it.
fn full(action: &str, on: On) -> String {
    let service = if on == On::Logs { "logs" } else { "sagemaker" };
    format!("{service}:{action}")
}

fn allow(sid: &str, actions: Vec<String>, resources: Vec<String>) -> Value {
    json!({"Sid": sid, "Effect": "Allow", "Action": one_or_all(actions), "Resource": one_or_all(resources)})
}

fn one_or_all(mut texts: Vec<String>) -> Value {
    if texts.len() == 1 { texts.remove(0).into() } else { texts.into() }
}
