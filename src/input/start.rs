//! The arguments of StartPipelineExecution: parameters, names, selected steps.
//!
//! Limits: SageMaker's model (2017-07-24), ParameterList, ExecutionName, Description, SelectiveExecutionConfig.

use std::{borrow::Cow, io};

use serde_json::{Value, value::RawValue};

use super::{
    InputError,
    arn::is_hyphenated_name,
    fields::{Fields, kind_of, scalar_text},
    json::{Scalars, items, members, shallow, write_canonical},
    sentence::shorten,
};

const MAX_PARAMETERS: usize = 200;
const MAX_PARAMETER_NAME: usize = 256;
/// The model allows 0 to 1024, the service refuses 0 (aws/sagemaker-python-sdk#4016).
const MAX_PARAMETER_VALUE: usize = 1024;
/// Its characters in bytes, and one byte more.
const LONGEST_VALUE: usize = 4 * MAX_PARAMETER_VALUE + 1;
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
    let (map, what) = match fields.given(FIELD) {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(Vec::new()),
        // Not shown: a value in it may be a secret.
        Some(Value::String(text)) => (text.as_str(), "a text that is no JSON map"),
        Some(Value::Object(_)) => (fields.structure(FIELD).unwrap_or_default(), "a map that cannot be read"),
        Some(other) => return Err(not_a_map(kind_of(other))),
    };
    let given = members(map, MAX_PARAMETERS).map_err(|_| not_a_map(what))?;
    if given.excess > 0 {
        let count = given.members.len() + given.excess;
        return Err(error(format!("has {count} entries; SageMaker takes at most {MAX_PARAMETERS}")));
    }
    let mut parameters = Vec::with_capacity(given.members.len());
    for (name, value) in given.members {
        let is_name = (1..=MAX_PARAMETER_NAME).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !is_name {
            return Err(fields.quoting(FIELD, |room| {
                let name = shorten(&name, room);
                format!("has the name `{name}`; names are 1 to {MAX_PARAMETER_NAME} letters, digits, `-` and `_`")
            }));
        }
        let text = parameter_text(fields, &name, value)?;
        parameters.push((name, text));
    }
    parameters.sort();
    Ok(parameters)
}

/// The text that SageMaker gets. A refused value is not shown: it may be a secret.
fn parameter_text(fields: &Fields<'_>, name: &str, value: &RawValue) -> Result<String, InputError> {
    let error = |problem: String| fields.error(&format!("parameters.{}", shorten(name, usize::MAX)), problem);
    let unreadable = |cause: serde_json::Error| error(format!("cannot be read: {cause}"));
    let too_long =
        |length: &str| error(format!("has {length} characters; SageMaker takes at most {MAX_PARAMETER_VALUE}"));
    let given = shallow(value).map_err(unreadable)?;
    let text = match scalar_text(&given) {
        Some(text) => text,
        None if given.is_null() => return Err(error("is null; give it a value or leave it out".to_owned())),
        None => {
            let mut text = Short(Vec::new());
            // Text that is nearly all space is none that anybody writes.
            if value.get().len() > 16 * LONGEST_VALUE {
                return Err(too_long(&format!("more than {MAX_PARAMETER_VALUE}")));
            }
            match write_canonical(value.get(), Scalars::AsGiven, &mut text) {
                Err(_) if text.is_full() => return Err(too_long(&format!("more than {MAX_PARAMETER_VALUE}"))),
                Err(cause) => return Err(unreadable(cause)),
                Ok(()) => String::from_utf8(text.0).map_err(|_| error("is no text".to_owned()))?,
            }
        }
    };
    match text.chars().count() {
        0 => Err(error("is empty, which SageMaker refuses; give it a value or leave it out".to_owned())),
        1..=MAX_PARAMETER_VALUE => Ok(text),
        long => Err(too_long(&long.to_string())),
    }
}

/// Text that is refused beyond the longest that a parameter may have.
struct Short(Vec<u8>);

impl Short {
    fn is_full(&self) -> bool {
        self.0.len() >= LONGEST_VALUE
    }
}

impl io::Write for Short {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = LONGEST_VALUE.saturating_sub(self.0.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.0.extend_from_slice(taken);
        // Nothing taken is "no room left".
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
    let too_many = |count: usize| {
        fields.error(FIELD, format!("has {count} entries; SageMaker takes at most {MAX_SELECTED_STEPS}"))
    };
    let list = match fields.given(FIELD) {
        Some(Value::Array(_)) => Cow::Borrowed(fields.structure(FIELD).unwrap_or_default()),
        _ => match fields.word(FIELD)? {
            None => return Ok(Vec::new()),
            Some(text) => Cow::Owned(text),
        },
    };
    let names: Vec<String> = if list.starts_with('[') {
        let (items, count) =
            items(&list, MAX_SELECTED_STEPS).map_err(|_| fields.refused(FIELD, &list, "a list of step names"))?;
        let names = items.into_iter().map(|item| step_name(fields, item)).collect::<Result<_, _>>()?;
        if count > MAX_SELECTED_STEPS {
            return Err(too_many(count));
        }
        names
    } else {
        let count = list.matches(',').count() + 1;
        if count > MAX_SELECTED_STEPS {
            return Err(too_many(count));
        }
        list.split(',').map(|name| name.trim().to_owned()).collect()
    };
    match names.iter().find(|name| !(1..=MAX_STEP_NAME).contains(&name.chars().count())) {
        Some(bad) => Err(fields.quoting(FIELD, |room| {
            format!("has the entry `{}`; step names have 1 to {MAX_STEP_NAME} characters", shorten(bad, room))
        })),
        None => Ok(names),
    }
}

fn step_name(fields: &Fields<'_>, item: &RawValue) -> Result<String, InputError> {
    const FIELD: &str = "selected_steps";
    let item = shallow(item).map_err(|error| fields.error(FIELD, format!("cannot be read: {error}")))?;
    let not_a_name = || fields.error(FIELD, format!("holds {}; it must hold step names", kind_of(&item)));
    scalar_text(&item).map(|name| name.trim().to_owned()).ok_or_else(not_a_name)
}
