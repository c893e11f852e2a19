//! Values in a definition that are known only when an execution runs: references (`Get`), `Std:Join` and `Std:JsonGet`.

use serde_json::{Map, Value};

use super::{definition::plain, json_path};

/// Variables of an execution that a definition may refer to (`sagemaker.workflow.execution_variables`).
pub const VARIABLES: [&str; 8] = [
    "StartDateTime",
    "CurrentDateTime",
    "PipelineName",
    "PipelineArn",
    "PipelineExecutionId",
    "PipelineExecutionArn",
    "TrainingJobName",
    "ProcessingJobName",
];

/// What an expression is resolved from; `None` for what nobody knows.
pub trait Facts {
    /// A parameter's value, of its declared type.
    fn parameter(&self, name: &str) -> Option<Value>;
    /// One of [`VARIABLES`].
    fn variable(&self, name: &str) -> Option<Value>;
    /// A property of a step that has ended.
    fn property(&self, step: &str, path: &str) -> Option<Value>;
    /// The content of a property file of a step.
    fn property_file(&self, step: &str, file: &str) -> Option<&Value>;
    /// The content of a JSON file in S3.
    fn object(&self, uri: &str) -> Option<&Value>;
}

/// The value of a literal or an expression; `None` when it hangs on something that is not known.
pub fn resolve(expression: &Value, facts: &dyn Facts) -> Result<Option<Value>, String> {
    match function(expression) {
        None => Ok(Some(expression.clone())),
        Some(Function::Get(path)) => Ok(get(path, facts)),
        Some(Function::Join(members)) => join(members, facts),
        Some(Function::JsonGet(members)) => json_get(members, facts),
    }
}

/// A document with all its expressions resolved; what is not known stays as it is written.
pub fn resolve_all(document: &Value, facts: &dyn Facts) -> Value {
    if function(document).is_some() {
        return resolve(document, facts).ok().flatten().unwrap_or_else(|| document.to_string().into());
    }
    match document {
        Value::Object(members) => members.iter().map(|(name, v)| (name.clone(), resolve_all(v, facts))).collect(),
        Value::Array(items) => items.iter().map(|v| resolve_all(v, facts)).collect(),
        literal => literal.clone(),
    }
}

/// Text of which parts may not be known: those are shown as they are written.
pub fn text(expression: &Value, facts: &dyn Facts) -> Result<String, String> {
    if let Some(Function::Join(members)) = function(expression) {
        let (on, values) = join_parts(members);
        let parts: Result<Vec<String>, String> = values.iter().map(|v| text(v, facts)).collect();
        return Ok(parts?.join(on));
    }
    Ok(plain(&resolve(expression, facts)?.unwrap_or_else(|| expression.clone())))
}

enum Function<'a> {
    Get(&'a str),
    Join(&'a Value),
    JsonGet(&'a Value),
}

fn function(json: &Value) -> Option<Function<'_>> {
    let members = json.as_object().filter(|members| members.len() == 1)?;
    let (name, value) = members.iter().next()?;
    match name.as_str() {
        "Get" => value.as_str().map(Function::Get),
        "Std:Join" => Some(Function::Join(value)),
        "Std:JsonGet" => Some(Function::JsonGet(value)),
        _ => None,
    }
}

/// A sentence when this is no operand of a condition. `declares` tells whether there is such a parameter, or such a property
/// file of a step.
pub fn check_operand(operand: &Value, declares: &dyn Fn(Reference<'_>) -> bool) -> Result<(), String> {
    let members = match operand {
        Value::Object(members) => members,
        Value::Array(_) | Value::Null => return Err(format!("Invalid value {operand} in a condition")),
        _ => return Ok(()),
    };
    match function(operand) {
        Some(Function::Get(path)) => check_reference(path, declares),
        Some(Function::Join(inner)) => join_parts(inner).1.iter().try_for_each(|value| check_operand(value, declares)),
        Some(Function::JsonGet(inner)) => {
            if !inner.get("Path").is_some_and(Value::is_string) {
                return Err("Missing property 'Path'".to_owned());
            }
            match (inner.get("PropertyFile").and_then(file_of), inner.get("S3Uri")) {
                (Some((step, file)), None) if declares(Reference::PropertyFile { step, file }) => Ok(()),
                (Some((step, file)), None) => Err(format!("Step [{step}] has no property file [{file}]")),
                (None, Some(uri)) => check_operand(uri, declares),
                _ => Err("Std:JsonGet takes a property file of a step or an S3Uri".to_owned()),
            }
        }
        None => Err(format!("Cannot parse object, unknown property '{}'", first(members))),
    }
}

/// What an operand refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    Parameter(&'a str),
    PropertyFile { step: &'a str, file: &'a str },
}

fn check_reference(path: &str, declares: &dyn Fn(Reference<'_>) -> bool) -> Result<(), String> {
    match path.split_once('.') {
        Some(("Parameters", name)) if declares(Reference::Parameter(name)) => Ok(()),
        Some(("Parameters", name)) => Err(format!("Parameter [{name}] is not defined in the pipeline definition")),
        Some(("Execution", name)) if VARIABLES.contains(&name) => Ok(()),
        // That the step exists is looked at with its other dependencies.
        Some(("Steps", _)) => Ok(()),
        _ => Err(format!("Invalid reference '{path}'")),
    }
}

fn first(members: &Map<String, Value>) -> &str {
    members.keys().next().map_or("", String::as_str)
}

fn get(path: &str, facts: &dyn Facts) -> Option<Value> {
    match path.split_once('.')? {
        ("Parameters", name) => facts.parameter(name),
        ("Execution", name) => facts.variable(name),
        ("Steps", rest) => {
            let (step, path) = rest.split_at(rest.find(['.', '['])?);
            facts.property(step, path)
        }
        _ => None,
    }
}

fn join(members: &Value, facts: &dyn Facts) -> Result<Option<Value>, String> {
    let (on, values) = join_parts(members);
    let mut parts = Vec::with_capacity(values.len());
    for value in values {
        let Some(part) = resolve(value, facts)? else { return Ok(None) };
        parts.push(plain(&part));
    }
    Ok(Some(parts.join(on).into()))
}

fn join_parts(members: &Value) -> (&str, &[Value]) {
    let values = members.get("Values").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    (members.get("On").and_then(Value::as_str).unwrap_or(""), values)
}

/// Step and name in `{"Get": "Steps.<step>.PropertyFiles.<name>"}`.
fn file_of(reference: &Value) -> Option<(&str, &str)> {
    let Some(Function::Get(path)) = function(reference) else { return None };
    path.strip_prefix("Steps.")?.split_once(".PropertyFiles.")
}

fn json_get(members: &Value, facts: &dyn Facts) -> Result<Option<Value>, String> {
    let path = members.get("Path").and_then(Value::as_str).unwrap_or("");
    let (document, place) = match (members.get("PropertyFile").and_then(file_of), members.get("S3Uri")) {
        (Some((step, file)), _) => {
            (facts.property_file(step, file), format!("property file [{file}] of step [{step}]"))
        }
        (None, Some(uri)) => {
            let Some(uri) = resolve(uri, facts)?.as_ref().map(plain) else { return Ok(None) };
            (facts.object(&uri), uri)
        }
        _ => return Ok(None),
    };
    let Some(document) = document else { return Ok(None) };
    match json_path::find(document, path) {
        None => Err(format!("Invalid json path '{path}': there is nothing in {place}")),
        Some(Value::Object(_) | Value::Array(_) | Value::Null) => {
            Err(format!("'{path}' of {place} is not a string, number or boolean"))
        }
        Some(value) => Ok(Some(value.clone())),
    }
}
