//! One run of a step, and how ListPipelineExecutionSteps shows it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    definition::{Output, StepKind, StepPlan},
    execution::{clipped, timestamp},
    faults::StepScript,
};
use crate::pipelines::Time;

/// A step's status, in SageMaker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepStatus {
    Executing,
    Stopping,
    Stopped,
    Failed,
    Succeeded,
}

impl StepStatus {
    /// The word of `StepStatus` in ListPipelineExecutionSteps.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Executing => "Executing",
            Self::Stopping => "Stopping",
            Self::Stopped => "Stopped",
            Self::Failed => "Failed",
            Self::Succeeded => "Succeeded",
        }
    }

    /// Whether the step can still change.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Executing | Self::Stopping)
    }
}

/// A step that has been started.
#[derive(Clone, Debug)]
pub struct StepRun {
    /// Its place in the definition.
    pub plan: usize,
    pub status: StepStatus,
    pub attempt: u32,
    pub started: Time,
    pub ended: Option<Time>,
    pub failure_reason: Option<String>,
    /// When it ends; `None` for a Callback step that waits to be freed.
    pub(super) due: Option<Time>,
    /// When it was to end as it began; a stop does not change it.
    pub(super) planned: Option<Time>,
    /// It will end as Failed, for this reason.
    pub(super) fails: Option<String>,
    /// Its failure does not fail the execution.
    pub(super) handled: bool,
    pub(super) outputs: Vec<OutputValue>,
    pub(super) job_arn: Option<String>,
    pub callback_token: Option<String>,
    /// The branch that a Condition step takes.
    pub(super) outcome: bool,
    /// What the scenario says that the step found out; absent when it says nothing.
    pub(super) found: Option<Box<Found>>,
}

/// A value of an output parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OutputValue {
    pub name: String,
    pub value: String,
    /// Nobody said what it is, so nothing can be decided by it.
    pub stand_in: bool,
}

/// What a step found out, as the scenario said when the step began.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    /// Contents of the step's property files, by name.
    pub property_files: BTreeMap<String, Value>,
    /// Final metrics of a training job.
    pub metrics: BTreeMap<String, f64>,
    /// Lines of its job's log.
    pub logs: Option<Vec<String>>,
}

impl Found {
    /// `None` when the script says nothing of it.
    pub fn of(script: &StepScript) -> Option<Box<Self>> {
        let found = Self {
            property_files: script.property_files.clone(),
            metrics: script.metrics.clone(),
            logs: script.logs.clone(),
        };
        (found != Self::default()).then(|| Box::new(found))
    }
}

impl StepRun {
    /// The step as ListPipelineExecutionSteps shows it.
    pub(super) fn shown(&self, plan: &StepPlan) -> Value {
        let mut shown = Map::new();
        shown.insert("StepName".into(), plan.name.as_str().into());
        if let Some(text) = &plan.display_name {
            shown.insert("StepDisplayName".into(), text.as_str().into());
        }
        if let Some(text) = &plan.description {
            shown.insert("StepDescription".into(), text.as_str().into());
        }
        shown.insert("StartTime".into(), timestamp(self.started));
        if let Some(ended) = self.ended {
            shown.insert("EndTime".into(), timestamp(ended));
        }
        shown.insert("StepStatus".into(), self.status.as_str().into());
        shown.insert("AttemptCount".into(), self.attempt.into());
        if let Some(reason) = &self.failure_reason {
            shown.insert("FailureReason".into(), clipped(reason, 1024).into());
        }
        if let Some(metadata) = self.metadata(plan) {
            shown.insert("Metadata".into(), metadata);
        }
        shown.into()
    }

    fn metadata(&self, plan: &StepPlan) -> Option<Value> {
        let succeeded = self.status == StepStatus::Succeeded;
        let ended_outputs = || {
            let shown = if succeeded { self.outputs.as_slice() } else { &[] };
            shown.iter().map(|o| json!({"Name": o.name, "Value": o.value})).collect::<Vec<_>>()
        };
        Some(match &plan.kind {
            StepKind::Job { member, .. } => json!({ *member: {"Arn": self.job_arn} }),
            StepKind::Check { member, check_type } => {
                let mut told = json!({"CheckType": check_type, "CheckJobArn": self.job_arn});
                for (name, place) in self.found_by_check(member, plan) {
                    told[name] = place.into();
                }
                json!({ *member: told })
            }
            // The package exists only once the step has made it.
            StepKind::RegisterModel { .. } if succeeded => json!({"RegisterModel": {"Arn": self.job_arn}}),
            StepKind::Lambda { function_arn, .. } => {
                json!({"Lambda": {"Arn": function_arn, "OutputParameters": ended_outputs()}})
            }
            StepKind::Callback { queue, .. } => json!({"Callback": {
                "CallbackToken": self.callback_token, "SqsQueueUrl": queue, "OutputParameters": ended_outputs(),
            }}),
            StepKind::Condition { .. } if succeeded => {
                json!({"Condition": {"Outcome": if self.outcome { "True" } else { "False" }}})
            }
            StepKind::Fail { .. } => {
                let message = self.failure_reason.as_ref().or(self.fails.as_ref()).map(|text| clipped(text, 3072));
                json!({"Fail": {"ErrorMessage": message}})
            }
            StepKind::RegisterModel { .. } | StepKind::Condition { .. } | StepKind::Other => return None,
        })
    }
}

impl StepRun {
    /// Where a check that has ended has put what it calculated, and the report of a check that failed.
    fn found_by_check(&self, member: &str, plan: &StepPlan) -> Vec<(&'static str, String)> {
        let output = plan.arguments.pointer("/ProcessingOutputConfig/Outputs/0/S3Output/S3Uri").and_then(Value::as_str);
        let Some(folder) = output.filter(|_| !self.status.is_running()) else { return Vec::new() };
        let place = |file: &str| format!("{}/{file}.json", folder.trim_end_matches('/'));
        let mut found = vec![("CalculatedBaselineConstraints", place("constraints"))];
        // Of Clarify's analyses there are none.
        if member == "QualityCheck" {
            found.push(("CalculatedBaselineStatistics", place("statistics")));
        }
        if self.status == StepStatus::Failed {
            found.push(("ViolationReport", place("constraint_violations")));
        }
        found
    }
}

/// Declared outputs with the script's values or stand-ins; what only the script names comes after.
pub(super) fn outputs(kind: &StepKind, scripted: &BTreeMap<String, String>) -> Vec<OutputValue> {
    let (StepKind::Lambda { outputs: declared, .. } | StepKind::Callback { outputs: declared, .. }) = kind else {
        return Vec::new();
    };
    let given =
        |name: &str, value: &str| OutputValue { name: name.to_owned(), value: value.to_owned(), stand_in: false };
    let value = |Output { name, .. }: &Output| match scripted.get(name) {
        Some(value) => given(name, value),
        None => OutputValue { name: name.clone(), value: format!("{name}-value"), stand_in: true },
    };
    let extra = scripted.iter().filter(|(name, _)| !declared.iter().any(|o| o.name == **name));
    declared.iter().map(value).chain(extra.map(|(name, value)| given(name, value))).collect()
}
