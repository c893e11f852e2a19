//! Digests of what was asked: one spelling for inputs that mean the same.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{
    Execute, InputError,
    fields::{Fields, scalar_text},
    json::{Scalars, write_canonical},
};
use crate::{protocol::Template, text::hex};

/// Fields that two requests of one node may differ in: they say how long, under which name and what to tell, not what to run.
const NOT_IN_KEY: [&str; 6] = ["attempt", "timeout", "on_stop", "on_retry", "display_name", "outputs"];

/// Digits of [`args_digest`] and [`work_digest`]: enough to notice a change, short enough for the marker.
const DIGITS: usize = 12;

/// The fallback key: hex SHA-256 of template name, inputs and the plugin input without [`NOT_IN_KEY`], as compact JSON
/// with sorted keys and all scalars as texts.
///
/// `parameters` and `selected_steps` come as they were understood, so that a map and its JSON text are the same.
pub(super) fn fallback_key(
    template: &Template<'_>,
    fields: &Fields<'_>,
    execute: &Execute,
) -> Result<String, InputError> {
    let mut plain = BTreeMap::new();
    for (name, value) in fields.all_given() {
        // All others are scalars by now.
        let is_known_otherwise = name == "parameters" || name == "selected_steps";
        if let Some(text) = scalar_text(value).filter(|_| !is_known_otherwise && !NOT_IN_KEY.contains(&name)) {
            plain.insert(name, Part::Text(text));
        }
    }
    if !execute.parameters.is_empty() {
        plain.insert("parameters", Part::Map(&execute.parameters));
    }
    if !execute.selected_steps.is_empty() {
        plain.insert("selected_steps", Part::List(&execute.selected_steps));
    }
    let mut hash = Sha256::new_with_prefix("[");
    let mut add = |field: &str, value: Option<&RawValue>, absent: &str| {
        write_canonical(value.map_or(absent, RawValue::get), Scalars::AsTexts, &mut hash)
            .map_err(|error| InputError::new(format!("`template.{field}` cannot be read: {error}")))?;
        hash.update(b",");
        Ok(())
    };
    add("name", template.name, "\"\"")?;
    add("inputs", template.inputs, "{}")?;
    hash_json(&mut hash, &plain)?;
    hash.update(b"]");
    Ok(hex(&hash.finalize()))
}

/// The writer of JSON puts every quote and comma by itself: they are collected before they are hashed.
fn hash_json(hash: &mut Sha256, value: &impl Serialize) -> Result<(), InputError> {
    let json = serde_json::to_vec(value).map_err(|error| InputError::new(format!("cannot be digested: {error}")))?;
    hash.update(json);
    Ok(())
}

/// A value of the plugin input as it was understood.
enum Part<'a> {
    Text(String),
    Map(&'a [(String, String)]),
    List(&'a [String]),
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Map(pairs) => serializer.collect_map(pairs.iter().map(|(name, value)| (name, value))),
            Self::List(items) => serializer.collect_seq(*items),
        }
    }
}

/// What StartPipelineExecution gets from the user, by name.
#[derive(Serialize)]
struct Arguments<'a> {
    description: &'a Option<String>,
    display_name: &'a Option<String>,
    max_parallel_steps: Option<i32>,
    parameters: Part<'a>,
    pipeline: &'a str,
    selected_steps: &'a [String],
    source_execution_arn: &'a Option<String>,
    version: Option<i64>,
}

/// The digest of everything that StartPipelineExecution gets from the user.
pub(super) fn args_digest(pipeline: &str, execute: &Execute) -> Result<String, InputError> {
    let arguments = Arguments {
        description: &execute.description,
        display_name: &execute.display_name,
        max_parallel_steps: execute.max_parallel_steps,
        parameters: Part::Map(&execute.parameters),
        pipeline,
        selected_steps: &execute.selected_steps,
        source_execution_arn: &execute.source_execution_arn,
        version: execute.version,
    };
    short_digest(&arguments)
}

/// What RetryPipelineExecution cannot change, by name.
#[derive(Serialize)]
struct Work<'a> {
    parameters: Part<'a>,
    pipeline: &'a str,
    selected_steps: &'a [String],
    source_execution_arn: &'a Option<String>,
    version: Option<i64>,
}

/// The digest of what an execution keeps for good. How it is shown, and how many of its steps run at once, may change when
/// it is resumed.
pub(super) fn work_digest(pipeline: &str, execute: &Execute) -> Result<String, InputError> {
    short_digest(&Work {
        parameters: Part::Map(&execute.parameters),
        pipeline,
        selected_steps: &execute.selected_steps,
        source_execution_arn: &execute.source_execution_arn,
        version: execute.version,
    })
}

fn short_digest(value: &impl Serialize) -> Result<String, InputError> {
    let mut hash = Sha256::new();
    hash_json(&mut hash, value)?;
    let mut digest = hex(&hash.finalize());
    digest.truncate(DIGITS);
    Ok(digest)
}
