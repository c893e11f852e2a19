//! Permission policies: what a role may do, which is what the plugin calls and nothing else.
//!
//! Resource types: AWS's service authorization reference for SageMaker. No `iam:PassRole`: an execution runs with its
//! pipeline's own role.

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

/// What an action is allowed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Pipeline,
    Execution,
    /// ListPipelines knows no resource but `*`.
    Anything,
}

/// Every action of the plugin, and the first purpose that needs it.
const ACTIONS: [(&str, On, Purpose); 7] = [
    ("DescribePipeline", On::Pipeline, Purpose::Validate),
    ("StartPipelineExecution", On::Pipeline, Purpose::Execute),
    ("ListPipelineExecutions", On::Pipeline, Purpose::Execute),
    ("DescribePipelineExecution", On::Execution, Purpose::Execute),
    ("ListPipelineExecutionSteps", On::Execution, Purpose::Execute),
    ("StopPipelineExecution", On::Execution, Purpose::ExecuteAndStop),
    ("ListPipelines", On::Anything, Purpose::ExecuteAndStop),
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
    /// Roles that it may assume in its turn: those of `role_arn`.
    pub roles: Vec<String>,
}

impl Permissions {
    /// The policy.
    pub fn policy(&self) -> Value {
        let allowed = [
            ("SageMakerPipelines", On::Pipeline),
            ("SageMakerPipelineExecutions", On::Execution),
            ("SageMakerListPipelines", On::Anything),
        ];
        let mut statements: Vec<Value> = allowed
            .into_iter()
            .filter_map(|(sid, on)| {
                let actions: Vec<&str> = ACTIONS
                    .into_iter()
                    .filter(|(_, own, first)| *own == on && *first <= self.purpose)
                    .map(|(action, _, _)| action)
                    .collect();
                (!actions.is_empty()).then(|| allow(sid, &actions, self.resources(on)))
            })
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
        Some(allow(&format!("Allow{action}"), &[action], self.resources(on)))
    }

    /// Both spellings: names were lower-cased in the ARNs of pipelines that were made before about April 2023, and IAM
    /// compares resources by case.
    fn resources(&self, on: On) -> Vec<String> {
        let tail = match on {
            On::Pipeline => "",
            On::Execution => "/execution/*",
            On::Anything => return vec!["*".to_owned()],
        };
        let mut all: Vec<String> = Vec::new();
        for name in &self.pipelines {
            for spelling in [name.clone(), name.to_ascii_lowercase()] {
                let Self { partition, region, account, .. } = self;
                let arn = format!("arn:{partition}:sagemaker:{region}:{account}:pipeline/{spelling}{tail}");
                if !all.contains(&arn) {
                    all.push(arn);
                }
            }
        }
        all
    }
}

fn allow(sid: &str, actions: &[&str], resources: Vec<String>) -> Value {
    let actions = actions.iter().map(|action| format!("sagemaker:{action}")).collect();
    json!({"Sid": sid, "Effect": "Allow", "Action": one_or_all(actions), "Resource": one_or_all(resources)})
}

fn one_or_all(mut texts: Vec<String>) -> Value {
    if texts.len() == 1 { texts.remove(0).into() } else { texts.into() }
}
