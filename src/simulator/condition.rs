//! The conditions of a Condition step: read with the definition, decided when the step runs.
//!
//! The types are those that the SageMaker Python SDK writes (`sagemaker.workflow.conditions`); "and" is the list itself.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::{
    definition::plain,
    expression::{Facts, resolve},
};

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    Compare { how: Comparison, left: Value, right: Value },
    In { value: Value, among: Vec<Value> },
    Not(Box<Condition>),
    Or(Vec<Condition>),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equals,
    GreaterThan,
    GreaterThanOrEqualTo,
    LessThan,
    LessThanOrEqualTo,
}

impl Comparison {
    const ALL: [(&str, Self); 5] = [
        ("Equals", Self::Equals),
        ("GreaterThan", Self::GreaterThan),
        ("GreaterThanOrEqualTo", Self::GreaterThanOrEqualTo),
        ("LessThan", Self::LessThan),
        ("LessThanOrEqualTo", Self::LessThanOrEqualTo),
    ];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, how)| *how == self).map_or("", |(word, _)| word)
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equals => order.is_eq(),
            Self::GreaterThan => order.is_gt(),
            Self::GreaterThanOrEqualTo => order.is_ge(),
            Self::LessThan => order.is_lt(),
            Self::LessThanOrEqualTo => order.is_le(),
        }
    }
}

const TYPES: &str = "Equals, GreaterThan, GreaterThanOrEqualTo, In, LessThan, LessThanOrEqualTo, Not, Or";

impl Condition {
    /// Reads the conditions of a list.
    pub fn parse_all(list: &Value) -> Result<Vec<Self>, String> {
        let list = list.as_array().ok_or("Expecting start of Json Array")?;
        list.iter().map(Self::parse).collect()
    }

    fn parse(json: &Value) -> Result<Self, String> {
        let members = json.as_object().ok_or("Expecting start of Json Object")?;
        let word = plain(member(members, "Type")?);
        let comparison = Comparison::ALL.iter().find(|(known, _)| *known == word);
        let known: &[&str] = match (comparison, word.as_str()) {
            (Some(_), _) => &["LeftValue", "RightValue"],
            (None, "In") => &["QueryValue", "Values"],
            (None, "Not") => &["Condition"],
            (None, "Or") => &["Conditions"],
            _ => {
                return Err(format!(
                    "Model Validation failed: Value '{word}' for 'ConditionType' failed to satisfy enum value set: [{TYPES}]"
                ));
            }
        };
        // The service's words (aws/sagemaker-python-sdk#2746).
        if let Some(strange) = members.keys().find(|m| *m != "Type" && !known.contains(&m.as_str())) {
            return Err(format!("Cannot parse object, unknown property '{strange}'"));
        }
        let value = |name| member(members, name);
        Ok(match (comparison, word.as_str()) {
            (Some((_, how)), _) => {
                Self::Compare { how: *how, left: value("LeftValue")?.clone(), right: value("RightValue")?.clone() }
            }
            (None, "In") => Self::In {
                value: value("QueryValue")?.clone(),
                among: value("Values")?.as_array().ok_or("Expecting start of Json Array")?.clone(),
            },
            (None, "Not") => Self::Not(Box::new(Self::parse(value("Condition")?)?)),
            _ => Self::Or(Self::parse_all(value("Conditions")?)?),
        })
    }

    /// All operands, those of inner conditions included.
    pub fn operands(&self) -> Vec<&Value> {
        match self {
            Self::Compare { left, right, .. } => vec![left, right],
            Self::In { value, among } => std::iter::once(value).chain(among).collect(),
            Self::Not(inner) => inner.operands(),
            Self::Or(all) => all.iter().flat_map(Self::operands).collect(),
        }
    }

    /// Whether it holds; `None` when that hangs on something that is not known. The error says why it cannot be decided at
    /// all.
    fn decide(&self, facts: &dyn Facts) -> Result<Option<bool>, String> {
        match self {
            Self::Compare { how, left, right } => match (resolve(left, facts)?, resolve(right, facts)?) {
                (Some(left), Some(right)) => compare(*how, &left, &right).map(Some),
                _ => Ok(None),
            },
            Self::In { value, among } => {
                let Some(value) = resolve(value, facts)? else { return Ok(None) };
                let mut unknown = false;
                for one in among {
                    match resolve(one, facts)? {
                        Some(one) if order(&one, &value).is_some_and(Ordering::is_eq) => return Ok(Some(true)),
                        Some(_) => {}
                        None => unknown = true,
                    }
                }
                Ok((!unknown).then_some(false))
            }
            Self::Not(inner) => Ok(inner.decide(facts)?.map(|holds| !holds)),
            Self::Or(all) => quantified(all, facts, true),
        }
    }
}

/// Whether all conditions of a step's list hold; `None` when that hangs on something that is not known.
pub fn decide_all(conditions: &[Condition], facts: &dyn Facts) -> Result<Option<bool>, String> {
    quantified(conditions, facts, false)
}

/// The first condition that is `decisive` decides; else an unknown one leaves the whole unknown.
fn quantified(conditions: &[Condition], facts: &dyn Facts, decisive: bool) -> Result<Option<bool>, String> {
    let mut whole = Some(!decisive);
    for condition in conditions {
        match condition.decide(facts)? {
            Some(holds) if holds == decisive => return Ok(Some(decisive)),
            Some(_) => {}
            None => whole = None,
        }
    }
    Ok(whole)
}

fn member<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a Value, String> {
    members.get(name).ok_or_else(|| format!("Missing property '{name}'"))
}

/// Compares as the SDK's local mode does (`sagemaker.local.pipeline`): values of different types are an error. Whole and
/// broken numbers are of one type here.
fn compare(how: Comparison, left: &Value, right: &Value) -> Result<bool, String> {
    let (l, r) = (plain(left), plain(right));
    let (left_type, right_type) = (type_of(left), type_of(right));
    let order = order(left, right).ok_or_else(|| {
        format!(
            "LeftValue [{l}] of type [{left_type}] and RightValue [{r}] of type [{right_type}] are not of the same type"
        )
    })?;
    if how != Comparison::Equals && left.is_boolean() {
        return Err(format!(
            "Condition of type [{}] not supported between [{l}] of type [{left_type}] and [{r}] of type [{right_type}]",
            how.word()
        ));
    }
    Ok(how.holds(order))
}

/// `None` for values of different types.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        _ => None,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "Boolean",
        Value::Number(n) if n.is_f64() => "Float",
        Value::Number(_) => "Integer",
        _ => "String",
    }
}
