//! The arguments of StartPipelineExecution: parameters, names, selected steps.
//!
//! Limits: SageMaker's model (2017-07-24), ParameterList, ExecutionName, Description, SelectiveExecutionConfig.

use serde_json::{Map, Value};

use super::{
    InputError,
    arn::is_hyphenated_name,
    digest::canonical_text,
    fields::{Fields, kind_of, scalar_text, shorten},
};

const MAX_PARAMETERS: usize = 200;
const MAX_PARAMETER_NAME: usize = 256;
/// The model allows 0 to 1024, the service refuses 0 (aws/sagemaker-python-sdk#4016).
const MAX_PARAMETER_VALUE: usize = 1024;
const MAX_DISPLAY_NAME: usize = 82;
/// SageMaker's 3,072 less what the plugin's marker needs.
const MAX_DESCRIPTION: usize = 2_800;
const MAX_SELECTED_STEPS: usize = 50;
const MAX_STEP_NAME: usize = 256;

/// Reads `parameters` into names and texts, sorted by name.
pub(super) fn read_parameters(fields: &Fields<'_>) -> Result<Vec<(String, String)>, InputError> {
    const FIELD: &str = "parameters";
    let error = |problem: String| fields.error(FIELD, problem);
    let not_a_map = |what: &str| error(format!("is {what}; it must be a map from parameter name to value"));
    // A map that comes out of a variable arrives as its JSON text.
    let parsed: Map<String, Value>;
    let map = match fields.given(FIELD) {
        None => return Ok(Vec::new()),
        Some(Value::Object(map)) => map,
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(Vec::new()),
        Some(Value::String(text)) => {
            // Not shown: a value in it may be a secret.
            parsed = serde_json::from_str(text).map_err(|_| not_a_map("a text that is no JSON map"))?;
            &parsed
        }
        Some(other) => return Err(not_a_map(kind_of(other))),
    };
    if map.len() > MAX_PARAMETERS {
        return Err(error(format!("has {} entries; SageMaker takes at most {MAX_PARAMETERS}", map.len())));
    }
    let mut parameters = Vec::with_capacity(map.len());
    for (name, value) in map {
        let is_name = (1..=MAX_PARAMETER_NAME).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !is_name {
            return Err(error(format!(
                "has the name `{}`; names are 1 to {MAX_PARAMETER_NAME} letters, digits, `-` and `_`",
                shorten(name)
            )));
        }
        parameters.push((name.clone(), parameter_text(fields, name, value)?));
    }
    parameters.sort();
    Ok(parameters)
}

/// The text that SageMaker gets. A refused value is not shown: it may be a secret.
fn parameter_text(fields: &Fields<'_>, name: &str, value: &Value) -> Result<String, InputError> {
    let error = |problem: String| fields.error(&format!("parameters.{}", shorten(name)), problem);
    if value.is_null() {
        return Err(error("is null; give it a value or leave it out".to_owned()));
    }
    let text = scalar_text(value).unwrap_or_else(|| canonical_text(value));
    match text.chars().count() {
        0 => Err(error("is empty, which SageMaker refuses; give it a value or leave it out".to_owned())),
        1..=MAX_PARAMETER_VALUE => Ok(text),
        long => Err(error(format!("has {long} characters; SageMaker takes at most {MAX_PARAMETER_VALUE}"))),
    }
}

/// Reads `display_name`.
pub(super) fn read_display_name(fields: &Fields<'_>) -> Result<Option<String>, InputError> {
    const FIELD: &str = "display_name";
    let Some(name) = fields.word(FIELD)? else { return Ok(None) };
    if !is_hyphenated_name(&name, MAX_DISPLAY_NAME) {
        let allowed = format!("1 to {MAX_DISPLAY_NAME} letters, digits and inner hyphens");
        return Err(fields.refused(FIELD, &name, &allowed));
    }
    Ok(Some(name))
}

/// Reads `description`. Free text: braces in it are nobody's error.
pub(super) fn read_description(fields: &Fields<'_>) -> Result<Option<String>, InputError> {
    const FIELD: &str = "description";
    let Some(text) = fields.text(FIELD)? else { return Ok(None) };
    // A YAML block ends with a line break that nobody means.
    let text = text.trim();
    // What SageMaker's `.*` does not match.
    if text.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) {
        return Err(fields.refused(FIELD, text, "one line"));
    }
    let length = text.chars().count();
    if length > MAX_DESCRIPTION {
        let problem = format!("has {length} characters; it must be at most {MAX_DESCRIPTION}");
        return Err(fields.error(FIELD, problem));
    }
    Ok((length > 0).then(|| text.to_owned()))
}

/// Reads `selected_steps`: a list, its JSON text, or names with commas between them.
pub(super) fn read_selected_steps(fields: &Fields<'_>) -> Result<Vec<String>, InputError> {
    const FIELD: &str = "selected_steps";
    let names: Vec<String> = match fields.given(FIELD) {
        Some(Value::Array(items)) => step_names(fields, items)?,
        _ => match fields.word(FIELD)? {
            None => Vec::new(),
            Some(text) if text.starts_with('[') => {
                let items: Vec<Value> =
                    serde_json::from_str(&text).map_err(|_| fields.refused(FIELD, &text, "a list of step names"))?;
                step_names(fields, &items)?
            }
            Some(text) => text.split(',').map(|name| name.trim().to_owned()).collect(),
        },
    };
    if names.len() > MAX_SELECTED_STEPS {
        let problem = format!("has {} entries; SageMaker takes at most {MAX_SELECTED_STEPS}", names.len());
        return Err(fields.error(FIELD, problem));
    }
    match names.iter().find(|name| !(1..=MAX_STEP_NAME).contains(&name.chars().count())) {
        Some(bad) => {
            let problem = format!("has the entry `{}`; step names have 1 to {MAX_STEP_NAME} characters", shorten(bad));
            Err(fields.error(FIELD, problem))
        }
        None => Ok(names),
    }
}

fn step_names(fields: &Fields<'_>, items: &[Value]) -> Result<Vec<String>, InputError> {
    let name_of = |item: &Value| {
        let not_a_name = || fields.error("selected_steps", format!("holds {}; it must hold step names", kind_of(item)));
        scalar_text(item).map(|name| name.trim().to_owned()).ok_or_else(not_a_name)
    };
    items.iter().map(name_of).collect()
}
