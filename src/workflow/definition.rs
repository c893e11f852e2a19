//! What `validate` needs of a pipeline's definition, and the check of given parameters against it.

use serde_json::Value;

use crate::{
    pipelines::{PipelineDescription, Time},
    protocol::{Outputs, Parameter},
};

/// A pipeline's definition, digested: the definition itself (up to 1 MiB) is never kept nor answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineDigest {
    pub arn: String,
    pub status: String,
    pub last_modified: Option<Time>,
    pub step_count: usize,
    /// Declared parameters in their order, and whether each has a default.
    pub parameters: Vec<(String, bool)>,
}

impl PipelineDigest {
    /// Digests a description; a definition that is no JSON object counts as one without steps and parameters.
    pub fn of(description: &PipelineDescription) -> Self {
        let definition: Value = serde_json::from_str(&description.definition).unwrap_or_default();
        let list = |name: &str| definition.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        Self {
            arn: description.arn.clone(),
            status: description.status.clone(),
            last_modified: description.last_modified,
            step_count: list("Steps").len(),
            parameters: list("Parameters")
                .iter()
                .filter_map(|p| Some((p.get("Name")?.as_str()?.to_owned(), p.get("DefaultValue").is_some())))
                .collect(),
        }
    }

    /// Whether an execution with these parameters could start; if not, a sentence that says what to change.
    pub fn check(&self, given: &[(String, String)]) -> Result<(), String> {
        if self.status != "Active" {
            return Err(format!("the pipeline's status is {}, it must be Active", self.status));
        }
        let names = || self.parameters.iter().map(|(name, _)| name.as_str());
        let unknown: Vec<&str> =
            given.iter().map(|(name, _)| name.as_str()).filter(|name| !names().any(|n| n == *name)).collect();
        if !unknown.is_empty() {
            let declared =
                if self.parameters.is_empty() { "none".to_owned() } else { names().collect::<Vec<_>>().join(", ") };
            return Err(format!(
                "parameters: the pipeline does not declare {}; it declares {declared}",
                unknown.join(", ")
            ));
        }
        let missing: Vec<&str> = self
            .parameters
            .iter()
            .filter(|(name, default)| !default && !given.iter().any(|(g, _)| g == name))
            .map(|(name, _)| name.as_str())
            .collect();
        if !missing.is_empty() {
            return Err(format!("parameters: the pipeline needs {}, which has no default", missing.join(", ")));
        }
        Ok(())
    }

    /// The outputs of a successful `validate`.
    pub fn outputs(&self) -> Outputs {
        let mut parameters = vec![
            Parameter { name: "pipeline-arn".to_owned(), value: self.arn.clone() },
            Parameter { name: "pipeline-status".to_owned(), value: self.status.clone() },
        ];
        if let Some(text) = self.last_modified.and_then(rfc3339) {
            parameters.push(Parameter { name: "last-modified".to_owned(), value: text });
        }
        parameters.push(Parameter { name: "step-count".to_owned(), value: self.step_count.to_string() });
        Outputs { parameters, result: None }
    }
}

/// A time as RFC 3339 in UTC, to the second.
pub fn rfc3339(time: Time) -> Option<String> {
    let at = time::OffsetDateTime::from_unix_timestamp(time.0.div_euclid(1000)).ok()?;
    at.format(&time::format_description::well_known::Rfc3339).ok()
}
