//! A pipeline's definition, read from the JSON that SageMaker takes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    condition::Condition,
    expression::{Reference, check_operand},
};

/// What a pipeline is made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definition {
    pub parameters: Vec<Parameter>,
    pub steps: Vec<StepPlan>,
}

/// A declared parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub name: String,
    /// `String`, `Integer`, `Float` or `Boolean`.
    pub kind: String,
    pub default: Option<Value>,
    /// Values allowed; empty when all are.
    pub allowed: Vec<String>,
}

/// One step, in the order of the definition.
#[derive(Clone, Debug, PartialEq)]
pub struct StepPlan {
    pub name: String,
    pub display_name: Option<String>,
    pub description: Option<String>,
    pub kind: StepKind,
    /// What the step's job is created with, expressions included; empty for steps without one.
    pub arguments: Value,
    /// Names of the property files that the step writes.
    pub property_files: Vec<String>,
    /// Indexes of the steps that must have succeeded.
    pub after: Vec<usize>,
    /// Runs only when this Condition step had this outcome.
    pub branch: Option<(usize, bool)>,
}

/// What a step does, as far as its metadata shows it.
#[derive(Clone, Debug, PartialEq)]
pub enum StepKind {
    /// A SageMaker job: its metadata member and the resource type in its ARN.
    Job {
        member: &'static str,
        resource: &'static str,
    },
    /// A quality or bias check: a processing job under a metadata member of its own.
    Check {
        member: &'static str,
        check_type: Option<String>,
    },
    RegisterModel {
        group: String,
    },
    Lambda {
        function_arn: String,
        outputs: Vec<Output>,
    },
    Callback {
        queue: String,
        outputs: Vec<Output>,
    },
    Condition {
        /// All must hold for the `IfSteps` to run.
        conditions: Vec<Condition>,
    },
    Fail {
        /// Text, or an expression that gives it.
        message: Value,
    },
    /// A type without metadata here.
    Other,
}

/// A declared output parameter of a Lambda or Callback step.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub name: String,
    /// `String`, `Integer`, `Float` or `Boolean`.
    pub kind: String,
}

impl Definition {
    /// Reads a definition; the error is a sentence as in SageMaker's "Unable to parse pipeline definition. …".
    pub fn parse(text: &str) -> Result<Self, String> {
        let document: Value = serde_json::from_str(text).map_err(|e| format!("Invalid JSON: {e}"))?;
        let steps = match document.get("Steps") {
            Some(Value::Array(steps)) => steps.as_slice(),
            Some(_) => return Err("Expecting start of Json Array at 'Steps'".to_owned()),
            None => return Err("Missing property 'Steps'".to_owned()),
        };
        let mut reader = Reader::default();
        reader.add(steps, None)?;
        let definition = Self { parameters: parameters(&document)?, steps: reader.finish()? };
        definition.check_conditions()?;
        Ok(definition)
    }
}

impl Definition {
    fn check_conditions(&self) -> Result<(), String> {
        let declares = |reference: Reference<'_>| match reference {
            Reference::Parameter(name) => self.parameters.iter().any(|p| p.name == name),
            Reference::PropertyFile { step, file } => {
                self.steps.iter().any(|s| s.name == step && s.property_files.iter().any(|known| known == file))
            }
        };
        for step in &self.steps {
            if let StepKind::Condition { conditions } = &step.kind {
                conditions
                    .iter()
                    .flat_map(Condition::operands)
                    .try_for_each(|operand| check_operand(operand, &declares))?;
            }
        }
        Ok(())
    }
}

fn parameters(document: &Value) -> Result<Vec<Parameter>, String> {
    let Some(declared) = document.get("Parameters") else { return Ok(Vec::new()) };
    let declared = declared.as_array().ok_or("Expecting start of Json Array at 'Parameters'")?;
    declared
        .iter()
        .map(|p| {
            Ok(Parameter {
                name: text(p, "Name").ok_or("A parameter has no Name")?,
                kind: text(p, "Type").unwrap_or_else(|| "String".to_owned()),
                default: p.get("DefaultValue").filter(|v| !v.is_null()).cloned(),
                allowed: p
                    .get("EnumValues")
                    .and_then(Value::as_array)
                    .map(|v| v.iter().map(plain).collect())
                    .unwrap_or_default(),
            })
        })
        .collect()
}

/// A step before its names are resolved to indexes.
struct Draft<'a> {
    json: &'a Value,
    name: String,
    kind: StepKind,
    branch: Option<(usize, bool)>,
}

#[derive(Default)]
struct Reader<'a> {
    drafts: Vec<Draft<'a>>,
}

impl<'a> Reader<'a> {
    fn add(&mut self, steps: &'a [Value], branch: Option<(usize, bool)>) -> Result<(), String> {
        for json in steps {
            let name = text(json, "Name").ok_or("A step has no Name")?;
            let word = text(json, "Type").ok_or_else(|| format!("Step [{name}] has no Type"))?;
            if self.drafts.iter().any(|d| d.name == name) {
                return Err(format!("Duplicate step names: [{name}]"));
            }
            let index = self.drafts.len();
            self.drafts.push(Draft { json, kind: kind(&word, &name, json)?, name, branch });
            for (member, outcome) in [("IfSteps", true), ("ElseSteps", false)] {
                if let Some(inner) = json.pointer(&format!("/Arguments/{member}")).and_then(Value::as_array) {
                    self.add(inner, Some((index, outcome)))?;
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<StepPlan>, String> {
        let index: BTreeMap<&str, usize> = self.drafts.iter().enumerate().map(|(i, d)| (d.name.as_str(), i)).collect();
        let mut plans = Vec::with_capacity(self.drafts.len());
        for draft in &self.drafts {
            let mut names = BTreeSet::new();
            if let Some(explicit) = draft.json.get("DependsOn").and_then(Value::as_array) {
                names.extend(explicit.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            references(draft.json, &mut names);
            let mut after: BTreeSet<usize> = draft.branch.iter().map(|(condition, _)| *condition).collect();
            for name in names {
                match index.get(name.as_str()) {
                    Some(i) => after.insert(*i),
                    None => return Err(format!("Step [{}] depends on [{name}], which does not exist", draft.name)),
                };
            }
            plans.push(StepPlan {
                name: draft.name.clone(),
                display_name: text(draft.json, "DisplayName"),
                description: text(draft.json, "Description"),
                kind: draft.kind.clone(),
                arguments: match draft.kind {
                    StepKind::Job { .. } | StepKind::Check { .. } => {
                        draft.json.get("Arguments").cloned().unwrap_or_default()
                    }
                    _ => Value::Null,
                },
                property_files: named(draft.json, "PropertyFiles", "PropertyFileName").map(str::to_owned).collect(),
                after: after.into_iter().collect(),
                branch: draft.branch,
            });
        }
        acyclic(&plans)?;
        Ok(plans)
    }
}

/// Names of steps that a step's JSON refers to: `{"Get": "Steps.Name.…"}` is a dependency too.
fn references(json: &Value, found: &mut BTreeSet<String>) {
    match json {
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value) {
                    // The steps inside a Condition have their own references.
                    ("IfSteps" | "ElseSteps", _) => {}
                    ("Get", Value::String(path)) => {
                        if let Some(rest) = path.strip_prefix("Steps.") {
                            found.insert(rest.split(['.', '[']).next().unwrap_or(rest).to_owned());
                        }
                    }
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn acyclic(plans: &[StepPlan]) -> Result<(), String> {
    let mut done = vec![false; plans.len()];
    while let Some(i) = (0..plans.len()).find(|i| !done[*i] && plans[*i].after.iter().all(|d| done[*d])) {
        done[i] = true;
    }
    let stuck: Vec<&str> = plans.iter().zip(&done).filter(|(_, done)| !**done).map(|(p, _)| p.name.as_str()).collect();
    if stuck.is_empty() { Ok(()) } else { Err(format!("Cycle detected in steps [{}]", stuck.join(", "))) }
}

fn kind(word: &str, name: &str, json: &Value) -> Result<StepKind, String> {
    let job = |member, resource| StepKind::Job { member, resource };
    let outputs = || {
        let listed = json.get("OutputParameters").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
        let output = |o: &Value| {
            Some(Output {
                name: text(o, "OutputName")?,
                kind: text(o, "OutputType").unwrap_or_else(|| "String".to_owned()),
            })
        };
        listed.iter().filter_map(output).collect()
    };
    Ok(match word {
        "Training" => job("TrainingJob", "training-job"),
        "Processing" => job("ProcessingJob", "processing-job"),
        "Transform" => job("TransformJob", "transform-job"),
        "Tuning" => job("TuningJob", "hyper-parameter-tuning-job"),
        "AutoML" => job("AutoMLJob", "automl-job"),
        "QualityCheck" => StepKind::Check { member: "QualityCheck", check_type: text(json, "CheckType") },
        "ClarifyCheck" => StepKind::Check { member: "ClarifyCheck", check_type: text(json, "CheckType") },
        "Model" => job("Model", "model"),
        "EndpointConfig" => job("EndpointConfig", "endpoint-config"),
        "Endpoint" => job("Endpoint", "endpoint"),
        "RegisterModel" => StepKind::RegisterModel {
            group: json
                .pointer("/Arguments/ModelPackageGroupName")
                .and_then(Value::as_str)
                .map_or_else(|| name.to_ascii_lowercase(), str::to_owned),
        },
        "Lambda" => {
            StepKind::Lambda { function_arn: text(json, "FunctionArn").unwrap_or_default(), outputs: outputs() }
        }
        "Callback" => StepKind::Callback { queue: text(json, "SqsQueueUrl").unwrap_or_default(), outputs: outputs() },
        "Condition" => StepKind::Condition {
            conditions: json.pointer("/Arguments/Conditions").map_or(Ok(Vec::new()), Condition::parse_all)?,
        },
        "Fail" => {
            let message = json.pointer("/Arguments/ErrorMessage").filter(|message| message.as_str() != Some(""));
            StepKind::Fail { message: message.cloned().unwrap_or_else(|| format!("Step {name} failed").into()) }
        }
        _ => StepKind::Other,
    })
}

/// The names of the objects of a list.
fn named<'a>(json: &'a Value, list: &str, name: &'static str) -> impl Iterator<Item = &'a str> {
    let items = json.get(list).and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    items.iter().filter_map(move |item| item.get(name).and_then(Value::as_str))
}

fn text(json: &Value, member: &str) -> Option<String> {
    json.get(member).and_then(Value::as_str).map(str::to_owned)
}

/// A JSON value as a parameter's text: strings as they are, everything else compact.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
