//! What is known while an execution runs: its parameters and variables, and what its earlier steps found out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    definition::{StepKind, plain},
    execution::Execution,
    expression::{Facts, resolve_all},
    jobs, json_path,
    steps::{StepRun, StepStatus},
};

/// An execution as a source of [`Facts`].
pub(super) struct Known<'a> {
    pub execution: &'a Execution,
    /// Contents of JSON files in S3, as the scenario tells them.
    pub objects: &'a BTreeMap<String, Value>,
}

impl Known<'_> {
    fn run(&self, step: &str) -> Option<&StepRun> {
        let named =
            |run: &&StepRun| self.execution.definition.steps.get(run.plan).is_some_and(|plan| plan.name == step);
        self.execution.steps.iter().find(named)
    }
}

impl Facts for Known<'_> {
    fn parameter(&self, name: &str) -> Option<Value> {
        let declared = self.execution.definition.parameters.iter().find(|p| p.name == name)?;
        let given = self.execution.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        Some(typed(&declared.kind, &given.or_else(|| declared.default.as_ref().map(plain))?))
    }

    fn variable(&self, name: &str) -> Option<Value> {
        let e = self.execution;
        Some(match name {
            "PipelineName" => e.pipeline.as_str().into(),
            "PipelineArn" => e.pipeline_arn.as_str().into(),
            "PipelineExecutionId" => e.id.as_str().into(),
            "PipelineExecutionArn" => e.arn.as_str().into(),
            "StartDateTime" => (e.created.millis() / 1000).into(),
            "CurrentDateTime" => (e.reached().millis() / 1000).into(),
            // The names of a job are its own.
            _ => return None,
        })
    }

    fn property(&self, step: &str, path: &str) -> Option<Value> {
        let run = self.run(step).filter(|run| run.status == StepStatus::Succeeded)?;
        let plan = self.execution.definition.steps.get(run.plan)?;
        match &plan.kind {
            StepKind::Lambda { outputs, .. } | StepKind::Callback { outputs, .. } => {
                let members: serde_json::Map<String, Value> = run
                    .outputs
                    .iter()
                    .filter(|o| !o.stand_in)
                    .map(|o| {
                        let kind =
                            outputs.iter().find(|declared| declared.name == o.name).map_or("String", |d| &d.kind);
                        (o.name.clone(), typed(kind, &o.value))
                    })
                    .collect();
                json_path::find(&json!({"OutputParameters": members}), path).cloned()
            }
            StepKind::Condition { .. } => {
                let outcome = if run.outcome { "True" } else { "False" };
                json_path::find(&json!({"Outcome": outcome}), path).cloned()
            }
            StepKind::RegisterModel { .. } => json_path::find(&json!({"ModelPackageArn": run.job_arn}), path).cloned(),
            StepKind::Job { .. } | StepKind::Check { .. } => {
                let description = jobs::draft(self.execution, run)?;
                json_path::find_named(&description, path).map(|found| resolve_all(found, self))
            }
            StepKind::Fail { .. } | StepKind::Other => None,
        }
    }

    fn property_file(&self, step: &str, file: &str) -> Option<&Value> {
        self.run(step)?.found.as_ref()?.property_files.get(file)
    }

    fn object(&self, uri: &str) -> Option<&Value> {
        self.objects.get(uri)
    }
}

/// A value of a declared type; as text where it is none of that type.
fn typed(kind: &str, text: &str) -> Value {
    let word = text.trim();
    let value = match kind {
        // Whole, however it is spelled.
        "Integer" => word.parse::<i64>().map(Value::from).or_else(|_| word.parse::<f64>().map(Value::from)).ok(),
        "Float" => word.parse::<f64>().map(Value::from).ok(),
        "Boolean" => match word.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true.into()),
            "false" | "0" => Some(false.into()),
            _ => None,
        },
        _ => None,
    };
    value.unwrap_or_else(|| text.into())
}
