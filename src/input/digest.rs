//! Digests of what was asked: one spelling for inputs that mean the same.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    Execute,
    fields::{IGNORED, scalar_text},
};

/// Fields that two requests of one node may differ in: they say how long and under which name, not what to run.
const NOT_IN_KEY: [&str; 4] = ["attempt", "timeout", "on_stop", "display_name"];

/// Digits of [`args_digest`]: enough to notice a change, short enough for the marker.
const ARGS_DIGITS: usize = 12;

/// The fallback key: hex SHA-256 of template name, inputs and the plugin input without [`NOT_IN_KEY`].
///
/// `parameters` and `selected_steps` come as they were understood, so that a map and its JSON text are the same.
pub(super) fn fallback_key(
    template: &Map<String, Value>,
    input: &Map<String, Value>,
    parameters: &[(String, String)],
    selected_steps: &[String],
) -> String {
    let mut plain = Map::new();
    for (name, value) in input {
        let is_absent = value.is_null() || value.as_str() == Some("");
        let is_known_otherwise = name == "parameters" || name == "selected_steps";
        if !is_absent
            && !is_known_otherwise
            && !NOT_IN_KEY.contains(&name.as_str())
            && !IGNORED.contains(&name.as_str())
        {
            plain.insert(name.clone(), value.clone());
        }
    }
    if !parameters.is_empty() {
        plain.insert("parameters".to_owned(), as_map(parameters));
    }
    if !selected_steps.is_empty() {
        plain.insert("selected_steps".to_owned(), json!(selected_steps));
    }
    let inputs = template.get("inputs").filter(|inputs| !inputs.is_null()).cloned().unwrap_or_else(|| json!({}));
    let name = template.get("name").cloned().unwrap_or_else(|| json!(""));
    hex(&canonical_text(&scalars_as_texts(json!([name, inputs, plain]))))
}

/// The digest of everything that StartPipelineExecution gets from the user.
pub(super) fn args_digest(pipeline: &str, execute: &Execute) -> String {
    let arguments = json!({
        "pipeline": pipeline,
        "parameters": as_map(&execute.parameters),
        "display_name": execute.display_name,
        "description": execute.description,
        "version": execute.version,
        "max_parallel_steps": execute.max_parallel_steps,
        "selected_steps": execute.selected_steps,
        "source_execution_arn": execute.source_execution_arn,
    });
    let mut digest = hex(&canonical_text(&arguments));
    digest.truncate(ARGS_DIGITS);
    digest
}

/// Compact JSON with the keys of every map sorted.
pub(super) fn canonical_text(value: &Value) -> String {
    sorted(value).to_string()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Object(map) => {
            let by_name: BTreeMap<&String, Value> = map.iter().map(|(name, item)| (name, sorted(item))).collect();
            Value::Object(by_name.into_iter().map(|(name, item)| (name.clone(), item)).collect())
        }
        scalar => scalar.clone(),
    }
}

/// `5` and `"5"` are the same input: Argo makes texts of what it substitutes.
fn scalars_as_texts(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(scalars_as_texts).collect()),
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(name, item)| (name, scalars_as_texts(item))).collect())
        }
        scalar => scalar_text(&scalar).map_or(Value::Null, Value::String),
    }
}

fn as_map(pairs: &[(String, String)]) -> Value {
    Value::Object(pairs.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect())
}

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
