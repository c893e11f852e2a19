//! Argo's Workflow and WorkflowTemplate as far as the demo plays them: parameters, templates, and the substitution of
//! `{{…}}` in them. Facts: argo-workflows v4.1.2, workflow/common/util.go and util/template/simple_template.go.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::protocol::PLUGIN_KEY;

/// Values of the simple tags: `workflow.name`, `inputs.parameters.x`, …
pub type Variables = BTreeMap<String, String>;

/// Why a manifest cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("not YAML: {0}")]
    Yaml(String),
    #[error("no Workflow or WorkflowTemplate in it")]
    NoWorkflow,
    #[error("it refers to WorkflowTemplate {0:?}; the demo has only its own, sagemaker-pipelines")]
    UnknownReference(String),
    #[error("template {0:?} is not defined")]
    UnknownTemplate(String),
    #[error("{template}: no value for input parameter {parameter:?}")]
    MissingInput { template: String, parameter: String },
    #[error("{template}: {what} is not played by the demo")]
    Unsupported { template: String, what: String },
    #[error("{template}: {what}")]
    Malformed { template: String, what: String },
}

/// A workflow ready to be played.
#[derive(Clone, Debug, Default)]
pub struct Definition {
    /// `metadata.name`, or `metadata.generateName` without its dash.
    pub name: String,
    pub entrypoint: String,
    /// The exit handler's template.
    pub on_exit: Option<String>,
    /// Workflow parameters in the order of the manifest; `None` has no value yet.
    pub parameters: Vec<(String, Option<String>)>,
    /// Of `spec.workflowTemplateRef`: whose templates are used.
    pub template_ref: Option<String>,
    templates: BTreeMap<String, Value>,
}

impl Definition {
    /// Reads the first Workflow or WorkflowTemplate of a YAML text.
    pub fn parse(yaml: &str) -> Result<Self, TemplateError> {
        let manifest = documents(yaml)?
            .into_iter()
            .find(|d| matches!(d["kind"].as_str(), Some("Workflow" | "WorkflowTemplate" | "ClusterWorkflowTemplate")))
            .ok_or(TemplateError::NoWorkflow)?;
        let (metadata, spec) = (&manifest["metadata"], &manifest["spec"]);
        let generated = metadata["generateName"].as_str().map(|n| n.trim_end_matches('-'));
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Self {
            name: metadata["name"].as_str().or(generated).unwrap_or("workflow").to_owned(),
            entrypoint: text(&spec["entrypoint"]).unwrap_or_default(),
            on_exit: text(&spec["onExit"]),
            parameters: named(&spec["arguments"]["parameters"])
                .map(|(name, p)| (name.to_owned(), p.get("value").map(scalar)))
                .collect(),
            template_ref: text(&spec["workflowTemplateRef"]["name"]),
            templates: named(&spec["templates"]).map(|(name, t)| (name.to_owned(), t.clone())).collect(),
        })
    }

    /// This workflow with what it leaves out taken from the WorkflowTemplate it refers to.
    pub fn over(mut self, base: &Self) -> Self {
        if self.entrypoint.is_empty() {
            self.entrypoint.clone_from(&base.entrypoint);
        }
        self.on_exit = self.on_exit.or_else(|| base.on_exit.clone());
        for (name, value) in &base.parameters {
            if !self.parameters.iter().any(|(own, _)| own == name) {
                self.parameters.push((name.clone(), value.clone()));
            }
        }
        for (name, template) in &base.templates {
            self.templates.entry(name.clone()).or_insert_with(|| template.clone());
        }
        self
    }

    /// Gives a workflow parameter a value; `false` when there is none of that name.
    pub fn set_parameter(&mut self, name: &str, value: &str) -> bool {
        let found = self.parameters.iter_mut().find(|(own, _)| own == name);
        found.map(|(_, own)| *own = Some(value.to_owned())).is_some()
    }

    /// A template by its name.
    pub fn template(&self, name: &str) -> Result<&Value, TemplateError> {
        self.templates.get(name).ok_or_else(|| TemplateError::UnknownTemplate(name.to_owned()))
    }

    /// The templates by name.
    pub fn templates(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.templates.iter().map(|(name, template)| (name.as_str(), template))
    }

    /// Gives a field of a template's plugin input a value; `None` when there is no such template, or it asks no plugin.
    pub fn set_plugin_field(&mut self, template: &str, field: &str, value: &str) -> Option<()> {
        let input = self.templates.get_mut(template)?.pointer_mut(&format!("/plugin/{PLUGIN_KEY}"))?;
        input.as_object_mut()?.insert(field.to_owned(), value.into());
        Some(())
    }

    /// Runs every step that leads to `template` once for each item of a JSON list, as `withParam` does.
    /// Returns how many steps were changed.
    pub fn fan_out(&mut self, template: &str, items: &Value) -> usize {
        let mut changed = 0;
        for steps in self.templates.values_mut().filter_map(|t| t.get_mut("steps")).filter_map(Value::as_array_mut) {
            for step in steps.iter_mut().filter_map(Value::as_array_mut).flatten() {
                if step["template"] == template {
                    step["withParam"] = Value::String(items.to_string());
                    changed += 1;
                }
            }
        }
        changed
    }
}

/// All documents of a YAML text as JSON; empty ones are left out.
pub fn documents(yaml: &str) -> Result<Vec<Value>, TemplateError> {
    yaml_serde::Deserializer::from_str(yaml)
        .map(Value::deserialize)
        .filter(|document| !matches!(document, Ok(Value::Null)))
        .collect::<Result<_, _>>()
        .map_err(|error| TemplateError::Yaml(error.to_string()))
}

/// The elements of a list of objects that have a name.
pub fn named(list: &Value) -> impl Iterator<Item = (&str, &Value)> {
    list.as_array().into_iter().flatten().filter_map(|item| Some((item["name"].as_str()?, item)))
}

/// A scalar as Argo turns it into a string; lists and objects as compact JSON.
pub fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Replaces `{{name}}` in a text. Unknown tags stay as they are, as in Argo; so do `{{=expressions}}`.
pub fn substitute_text(text: &str, variables: &Variables) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tag_and_after)) = rest.split_once("{{") {
        done.push_str(before);
        let Some((tag, after)) = tag_and_after.split_once("}}") else {
            rest = &rest[before.len()..];
            break;
        };
        match variables.get(tag.trim()) {
            Some(value) => done.push_str(value),
            None => {
                done.push_str("{{");
                done.push_str(tag);
                done.push_str("}}");
            }
        }
        rest = after;
    }
    done.push_str(rest);
    done
}

/// Replaces `{{name}}` in every string of a value; the result of a tag is a string always.
pub fn substitute(value: &Value, variables: &Variables) -> Value {
    match value {
        Value::String(text) => Value::String(substitute_text(text, variables)),
        Value::Array(items) => items.iter().map(|item| substitute(item, variables)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| (name.clone(), substitute(field, variables))).collect()
        }
        other => other.clone(),
    }
}

/// Whether a tag is left in a text.
pub fn has_tag(text: &str) -> bool {
    text.split_once("{{").is_some_and(|(_, after)| after.contains("}}"))
}

/// A template as it goes over the wire before substitution: with the fields that are always there, and its inputs' values.
pub fn on_the_wire(template: &Value, inputs: &[(String, String)]) -> Value {
    let mut wire = Map::new();
    wire.insert("name".to_owned(), template["name"].clone());
    for always in ["inputs", "outputs", "metadata"] {
        wire.insert(always.to_owned(), template.get(always).cloned().unwrap_or_else(|| json!({})));
    }
    for (name, field) in template.as_object().into_iter().flatten() {
        wire.entry(name.clone()).or_insert_with(|| field.clone());
    }
    if let Some(parameters) = wire["inputs"].get_mut("parameters").and_then(Value::as_array_mut) {
        for parameter in parameters {
            let value = inputs.iter().find(|(name, _)| parameter["name"] == **name);
            if let Some((_, value)) = value {
                parameter["value"] = Value::String(value.clone());
            }
        }
    }
    Value::Object(wire)
}
