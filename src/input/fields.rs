//! Reading single fields of a JSON map: absent, scalar in any spelling, or an error that names the field.

use std::borrow::Cow;

use serde_json::{Number, Value, value::RawValue};

use super::{
    InputError,
    json::{members, shallow},
    sentence::shorten,
};
use crate::protocol::{PLUGIN_KEY, Template};

/// The fields that mean something, in the order of the documentation; also what an unknown field is compared with.
pub const KNOWN: [&str; 26] = [
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
    "on_retry",
    "role_arn",
    "external_id",
    "accept_completed_with_failures",
    "outputs",
    "execution_arn",
    "mock",
    "mock_state",
];

/// Fields of the original plugin that are accepted and mean nothing here.
pub const IGNORED: [&str; 2] = ["kind", "resource_arn"];

/// A map of fields. `null` and `""` are absent: a template passes an optional field on as an input with default `""`.
pub(super) struct Fields<'a> {
    /// Scalars as they are; of lists and maps only the kind, empty. A list: there are few, and each is looked up once.
    given: Vec<(&'static str, Value)>,
    /// Lists and maps that mean something.
    raw: Vec<(&'static str, &'a RawValue)>,
    /// Stands before the field's name in errors.
    prefix: &'static str,
}

impl<'a> Fields<'a> {
    /// The plugin input; unknown fields are refused here.
    pub(super) fn of_input(input: &'a RawValue) -> Result<Self, InputError> {
        let mut fields = Self { given: Vec::new(), raw: Vec::new(), prefix: "" };
        // With more fields than are known, an unknown one is among the first.
        let given = members(input.get(), KNOWN.len() + IGNORED.len() + 1)
            .map_err(|error| InputError::new(format!("`{PLUGIN_KEY}` cannot be read: {error}")))?;
        let is_ignored = |name: &str| IGNORED.contains(&name);
        if let Some((unknown, _)) = given.members.iter().find(|(name, _)| !is_known(name) && !is_ignored(name)) {
            let nearest = nearest_known(unknown);
            return Err(InputError::quoting(|room| {
                format!("unknown field `{}`; did you mean `{nearest}`?", shorten(unknown, room))
            }));
        }
        for (name, value) in given.members {
            if let Some(known) = KNOWN.into_iter().find(|known| *known == name) {
                fields.add(known, value)?;
            }
        }
        Ok(fields)
    }

    /// The template around the plugin input: Argo's own fields, of which we read a few.
    pub(super) fn of_template(template: &Template<'a>) -> Result<Self, InputError> {
        let mut fields = Self { given: Vec::new(), raw: Vec::new(), prefix: "template." };
        for (name, value) in [
            ("name", template.name),
            ("retryStrategy", template.retry_strategy),
            ("timeout", template.timeout),
            ("activeDeadlineSeconds", template.active_deadline_seconds),
        ] {
            if let Some(value) = value {
                fields.add(name, value)?;
            }
        }
        Ok(fields)
    }

    fn add(&mut self, name: &'static str, value: &'a RawValue) -> Result<(), InputError> {
        let scalar = shallow(value).map_err(|error| self.error(name, format!("cannot be read: {error}")))?;
        if scalar.is_array() || scalar.is_object() {
            self.raw.push((name, value));
        }
        self.given.push((name, scalar));
        Ok(())
    }

    /// All fields that are given, by name; of lists and maps only the kind.
    pub(super) fn all_given(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.given.iter().filter(|(_, value)| is_given(value)).map(|(name, value)| (*name, value))
    }

    /// The text of a list or a map.
    pub(super) fn structure(&self, name: &str) -> Option<&'a str> {
        self.raw.iter().find(|(known, _)| *known == name).map(|(_, value)| value.get())
    }

    /// The value unless it is absent.
    pub(super) fn given(&self, name: &str) -> Option<&Value> {
        self.given.iter().find(|(given, _)| *given == name).map(|(_, value)| value).filter(|value| is_given(value))
    }

    /// A scalar's text exactly as given.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, InputError> {
        Ok(self.scalar(name)?.map(Cow::into_owned))
    }

    /// As [`Self::text`], without a copy of what may be long.
    fn scalar(&self, name: &str) -> Result<Option<Cow<'_, str>>, InputError> {
        match self.given(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(Cow::Borrowed(text))),
            Some(value) => match scalar_text(value) {
                Some(text) => Ok(Some(Cow::Owned(text))),
                None => Err(self.error(name, format!("is {}; it must be a single value", kind_of(value)))),
            },
        }
    }

    /// A scalar's text without space around it, in which Argo has replaced the variables of our examples.
    pub(super) fn word(&self, name: &str) -> Result<Option<String>, InputError> {
        let Some(text) = self.scalar(name)? else { return Ok(None) };
        if let Some(variable) = unresolved(&text) {
            return Err(self.left_literal(name, variable, ""));
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
        self.quoting(name, |room| format!("is `{}`; it must be {allowed}", shorten(value, room)))
    }

    /// A variable of our examples that came as it was written.
    pub(super) fn left_literal(&self, name: &str, variable: &str, advice: &str) -> InputError {
        self.quoting(name, |room| {
            format!("still holds `{}`, which Argo did not replace{advice}", shorten(variable, room))
        })
    }

    /// "`field` …".
    pub(super) fn error(&self, name: &str, problem: impl AsRef<str>) -> InputError {
        InputError::new(format!("`{}{name}` {}", self.prefix, problem.as_ref()))
    }

    /// As [`Self::error`], of a problem that quotes what it found within the given bytes.
    pub(super) fn quoting(&self, name: &str, problem: impl Fn(usize) -> String) -> InputError {
        InputError::quoting(|room| format!("`{}{name}` {}", self.prefix, problem(room)))
    }
}

fn is_given(value: &Value) -> bool {
    !value.is_null() && value.as_str() != Some("")
}

fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
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
pub(super) fn number_text(number: &Number) -> String {
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

/// The variables of our examples; of the last, in any of Argo's formats. Other braces are the user's text: an item may
/// well be named `{{y}}`.
const OURS: [(&str, bool); 3] = [("node.name", false), ("retries", false), ("workflow.creationTimestamp", true)];

/// The first of our variables that Argo left as it was, braces included.
pub(super) fn unresolved(text: &str) -> Option<&str> {
    // Nearly always: one character is found sooner than two.
    if !text.contains('{') {
        return None;
    }
    text.match_indices("{{").find_map(|(start, braces)| {
        let from = text.get(start..)?;
        let inside = from.get(braces.len()..)?;
        let inner = inside.get(..inside.find(['{', '}'])?)?;
        let is_closed = inside.get(inner.len()..)?.starts_with("}}");
        // Argo trims what is between the braces.
        let word = inner.trim();
        let is_ours = OURS.iter().any(|(name, has_formats)| match word.strip_prefix(name) {
            Some(rest) => rest.is_empty() || (*has_formats && rest.starts_with('.')),
            None => false,
        });
        if is_closed && is_ours { from.get(..inner.len() + 2 * braces.len()) } else { None }
    })
}

/// The known field that someone who wrote `unknown` most likely meant.
fn nearest_known(unknown: &str) -> &'static str {
    // More letters than the longest name has tell nothing.
    const LOOKED_AT: usize = 60;
    let written: String = unknown.chars().take(LOOKED_AT).collect::<String>().to_lowercase().replace(['-', ' '], "_");
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
