//! What `validate` needs of a pipeline's definition, and the check of given parameters against it.

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{
    pipelines::{PipelineDescription, Time},
    protocol::{Outputs, Parameter},
    text::{cut, rfc3339},
};

/// How much of a refused value, and of a list of allowed ones, a message shows.
const SHOWN_VALUE: usize = 40;
const SHOWN_LIST: usize = 90;

/// A pipeline's definition, digested: the definition itself (up to 1 MiB) is never kept nor answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineDigest {
    pub arn: String,
    pub status: String,
    pub last_modified: Option<Time>,
    pub step_count: usize,
    /// Declared parameters in their order.
    pub parameters: Vec<Declared>,
}

/// A parameter as the definition declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    pub name: String,
    pub has_default: bool,
    pub kind: Kind,
    /// The values that are allowed, as texts; empty when all are.
    pub allowed: Vec<String>,
}

/// The types of parameters: SageMaker Python SDK, ParameterTypeEnum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Also what this version does not know.
    String,
    Integer,
    Float,
    Boolean,
}

impl Kind {
    /// The definition's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::Integer => "Integer",
            Self::Float => "Float",
            Self::Boolean => "Boolean",
        }
    }

    /// Whether a text may be of this type.
    ///
    /// SageMaker takes every value as a text and documents no spelling. What is known: its Python SDK sends `str(value)`,
    /// so `True` is a Boolean and `1e-05` a Float. Refused is only what no reading could take.
    fn may_be(self, text: &str) -> bool {
        let number = || text.trim().parse::<f64>();
        match self {
            Self::String => true,
            Self::Integer => number().is_ok_and(|number| number.fract() == 0.0),
            Self::Float => number().is_ok(),
            Self::Boolean => truth(text).is_some(),
        }
    }

    /// Whether two texts may be the same value.
    fn may_equal(self, one: &str, other: &str) -> bool {
        let number = |text: &str| text.trim().parse::<f64>().ok();
        one == other
            || match self {
                Self::String => false,
                Self::Integer | Self::Float => number(one).is_some_and(|n| number(other) == Some(n)),
                Self::Boolean => truth(one) == truth(other),
            }
    }
}

fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

impl Declared {
    /// Reads one item of `Parameters`; `None` when it has no name.
    fn of(json: &RawValue) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Item<'a> {
            name: String,
            #[serde(borrow)]
            r#type: Option<&'a RawValue>,
            #[serde(default, deserialize_with = "is_there")]
            default_value: bool,
            #[serde(borrow)]
            enum_values: Option<&'a RawValue>,
        }

        fn is_there<'de, D: Deserializer<'de>>(json: D) -> Result<bool, D::Error> {
            IgnoredAny::deserialize(json).map(|_| true)
        }

        let item: Item<'_> = serde_json::from_str(json.get()).ok()?;
        let kind = match item.r#type.map(RawValue::get) {
            Some("\"Integer\"") => Kind::Integer,
            Some("\"Float\"") => Kind::Float,
            Some("\"Boolean\"") => Kind::Boolean,
            _ => Kind::String,
        };
        let allowed: Vec<&RawValue> =
            item.enum_values.and_then(|list| serde_json::from_str(list.get()).ok()).unwrap_or_default();
        let allowed = allowed.into_iter().map(text_of).collect();
        Some(Self { name: item.name, has_default: item.default_value, kind, allowed })
    }

    /// What is wrong with a value; the words begin behind "parameters.name is `value`; ".
    fn objection(&self, value: &str) -> Option<String> {
        if !self.kind.may_be(value) {
            return Some(format!("the pipeline declares it as {}", self.kind.as_str()));
        }
        let is_allowed = self.allowed.is_empty() || self.allowed.iter().any(|one| self.kind.may_equal(one, value));
        (!is_allowed).then(|| format!("the pipeline allows {}", listed(&self.allowed)))
    }
}

/// A JSON value as a parameter's text: strings as they are, everything else as it is written.
fn text_of(json: &RawValue) -> String {
    serde_json::from_str(json.get()).unwrap_or_else(|_| json.get().to_owned())
}

/// As many words as a message has room for, and how many there are when these are not all.
fn listed(words: &[String]) -> String {
    let mut shown = String::new();
    for (at, word) in words.iter().enumerate() {
        let word = cut(word, SHOWN_VALUE);
        if at > 0 && shown.len() + word.len() > SHOWN_LIST {
            return format!("{shown}, … ({} in all)", words.len());
        }
        if at > 0 {
            shown.push_str(", ");
        }
        shown.push_str(word);
    }
    shown
}

impl PipelineDigest {
    /// Digests a description; a definition that is no JSON object counts as one without steps and parameters.
    pub fn of(description: &PipelineDescription) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Definition<'a> {
            #[serde(borrow)]
            steps: Option<&'a RawValue>,
            #[serde(borrow)]
            parameters: Option<&'a RawValue>,
        }

        let definition: Definition<'_> = serde_json::from_str(&description.definition).unwrap_or_default();
        let steps: Option<Vec<IgnoredAny>> = definition.steps.and_then(|list| serde_json::from_str(list.get()).ok());
        let parameters: Vec<&RawValue> =
            definition.parameters.and_then(|list| serde_json::from_str(list.get()).ok()).unwrap_or_default();
        Self {
            arn: description.arn.clone(),
            status: description.status.clone(),
            last_modified: description.last_modified,
            step_count: steps.map_or(0, |steps| steps.len()),
            parameters: parameters.into_iter().filter_map(Declared::of).collect(),
        }
    }

    /// Whether an execution with these parameters could start; if not, a sentence that says what to change.
    pub fn check(&self, given: &[(String, String)]) -> Result<(), String> {
        if self.status != "Active" {
            return Err(format!("the pipeline's status is {}, it must be Active", self.status));
        }
        let declared = |name: &str| self.parameters.iter().find(|parameter| parameter.name == name);
        let unknown: Vec<String> =
            given.iter().filter(|(name, _)| declared(name).is_none()).map(|(name, _)| name.clone()).collect();
        if !unknown.is_empty() {
            let names: Vec<String> = self.parameters.iter().map(|parameter| parameter.name.clone()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { listed(&names) };
            return Err(format!("parameters: the pipeline does not declare {}; it declares {names}", listed(&unknown)));
        }
        let is_given = |name: &str| given.iter().any(|(given, _)| given == name);
        let needed = self.parameters.iter().filter(|p| !p.has_default && !is_given(&p.name));
        let missing: Vec<String> = needed.map(|parameter| parameter.name.clone()).collect();
        if !missing.is_empty() {
            return Err(format!("parameters: the pipeline needs {}, which has no default", listed(&missing)));
        }
        for (name, value) in given {
            if let Some(objection) = declared(name).and_then(|declared| declared.objection(value)) {
                let name = cut(name, SHOWN_VALUE);
                let shown = cut(value, SHOWN_VALUE);
                let dots = if shown.len() < value.len() { "…" } else { "" };
                return Err(format!("parameters.{name} is `{shown}{dots}`; {objection}"));
            }
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
        Outputs { parameters, ..Outputs::default() }
    }
}
