//! Reading single fields of a JSON map: absent, scalar in any spelling, or an error that names the field.

use serde_json::{Map, Number, Value};

use super::InputError;

/// The fields that mean something, in the order of the documentation; also what an unknown field is compared with.
pub const KNOWN: [&str; 24] = [
    "action",
    "service",
    "account_id",
    "region_name",
    "pipeline_name",
    "parameters",
    "execution_key",
    "attempt",
    "workflow_created",
    "display_name",
    "description",
    "pipeline_version_id",
    "max_parallel_steps",
    "selected_steps",
    "source_execution_arn",
    "max_running",
    "timeout",
    "on_stop",
    "role_arn",
    "external_id",
    "accept_completed_with_failures",
    "execution_arn",
    "mock",
    "mock_state",
];

/// Fields of the original plugin that are accepted and mean nothing here.
pub const IGNORED: [&str; 2] = ["kind", "resource_arn"];

/// How much of a refused value an error shows: enough to recognise it in a message of 250 bytes.
const SHOWN_CHARS: usize = 60;

/// A map of fields. `null` and `""` are absent: a template passes an optional field on as an input with default `""`.
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    /// Stands before the field's name in errors.
    prefix: &'static str,
}

impl<'a> Fields<'a> {
    /// The plugin input; unknown fields are refused here.
    pub(super) fn of_input(map: &'a Map<String, Value>) -> Result<Self, InputError> {
        match map.keys().find(|name| !KNOWN.contains(&name.as_str()) && !IGNORED.contains(&name.as_str())) {
            Some(unknown) => {
                let nearest = nearest_known(unknown);
                Err(InputError(format!("unknown field `{}`; did you mean `{nearest}`?", shorten(unknown))))
            }
            None => Ok(Self { map, prefix: "" }),
        }
    }

    /// The template around the plugin input: Argo's own fields, of which we read a few.
    pub(super) fn of_template(map: &'a Map<String, Value>) -> Self {
        Self { map, prefix: "template." }
    }

    /// The value unless it is absent.
    pub(super) fn given(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null() && value.as_str() != Some(""))
    }

    /// A scalar's text exactly as given.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, InputError> {
        self.given(name)
            .map(|value| {
                scalar_text(value)
                    .ok_or_else(|| self.error(name, format!("is {}; it must be a single value", kind_of(value))))
            })
            .transpose()
    }

    /// A scalar's text without space around it, in which Argo has replaced every variable.
    pub(super) fn word(&self, name: &str) -> Result<Option<String>, InputError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        if let Some(variable) = unresolved(&text) {
            let problem = format!("still holds `{}`, which Argo did not replace", shorten(variable));
            return Err(self.error(name, problem));
        }
        let word = text.trim();
        Ok((!word.is_empty()).then(|| word.to_owned()))
    }

    /// A word that must be there; `allowed` completes "it must be".
    pub(super) fn required(&self, name: &str, allowed: &str) -> Result<String, InputError> {
        self.word(name)?.ok_or_else(|| self.error(name, format!("is missing; it must be {allowed}")))
    }

    /// One of a closed set of words.
    pub(super) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, InputError> {
        let Some(word) = self.word(name)? else { return Ok(None) };
        match choices.iter().find(|(choice, _)| *choice == word) {
            Some((_, value)) => Ok(Some(*value)),
            None => Err(self.refused(name, &word, &choice_list(choices))),
        }
    }

    /// As [`Self::choice`], of a field that must be there.
    pub(super) fn required_choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<T, InputError> {
        self.choice(name, choices)?
            .ok_or_else(|| self.error(name, format!("is missing; it must be {}", choice_list(choices))))
    }

    /// `true` or `false`; absent is `false`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, InputError> {
        let Some(word) = self.word(name)? else { return Ok(false) };
        // A boolean that went through a Python or Helm template comes as `True`.
        match word.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.refused(name, &word, "`true` or `false`")),
        }
    }

    /// A whole number not below `min` that fits `T`.
    pub(super) fn whole<T: TryFrom<i64>>(&self, name: &str, min: i64) -> Result<Option<T>, InputError> {
        let Some(word) = self.word(name)? else { return Ok(None) };
        let number = word.parse::<i64>().ok().filter(|n| *n >= min).and_then(|n| T::try_from(n).ok());
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(self.refused(name, &word, &format!("a whole number, {min} or more"))),
        }
    }

    /// "`field` is `value`; it must be …".
    pub(super) fn refused(&self, name: &str, value: &str, allowed: &str) -> InputError {
        self.error(name, format!("is `{}`; it must be {allowed}", shorten(value)))
    }

    /// "`field` …".
    pub(super) fn error(&self, name: &str, problem: impl AsRef<str>) -> InputError {
        InputError(format!("`{}{name}` {}", self.prefix, problem.as_ref()))
    }
}

fn choice_list<T>(choices: &[(&str, T)]) -> String {
    let words: Vec<String> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// A string, number or boolean as text; `None` for anything else.
pub(super) fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number_text(number)),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Kubernetes turns `5.0` into `5`, so a body that did not pass through it reads the same.
fn number_text(number: &Number) -> String {
    // Below 2^53 every whole number is exact in a float.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT => (float as i64).to_string(),
        _ => number.to_string(),
    }
}

/// What a value is, with its article.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// The first template variable that Argo left as it was, braces included.
pub(super) fn unresolved(text: &str) -> Option<&str> {
    let start = text.find("{{")?;
    let from = text.get(start..)?;
    let end = from.find("}}")?;
    from.get(..end + 2)
}

/// A value as an error shows it: one line, at most 60 characters.
pub(super) fn shorten(text: &str) -> String {
    let mut shown = String::new();
    for (position, c) in text.chars().enumerate() {
        if position == SHOWN_CHARS {
            shown.push('…');
            break;
        }
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// The known field that someone who wrote `unknown` most likely meant.
fn nearest_known(unknown: &str) -> &'static str {
    let written: String = unknown.chars().take(SHOWN_CHARS).collect::<String>().to_lowercase().replace(['-', ' '], "_");
    let mut best = (KNOWN[0], -1.0);
    for known in KNOWN {
        // `version` means `pipeline_version_id`, which no distance of letters would tell.
        let is_its_word = known.split('_').any(|word| word == written) || known.starts_with(&format!("{written}_"));
        let score = strsim::jaro_winkler(&written, known) + if is_its_word { 0.5 } else { 0.0 };
        if score > best.1 {
            best = (known, score);
        }
    }
    best.0
}
