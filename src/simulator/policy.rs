//! IAM policy documents, as far as trust and permission policies of this subject use them.
//!
//! Anything else is an error when the document is set, never a silent allow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::text::pattern::like;

/// A policy document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Policy {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub statement: Many<Statement>,
}

/// One statement of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Statement {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    pub effect: Effect,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    pub action: Many<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Many<String>>,
    /// Operator, key, values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub condition: BTreeMap<String, BTreeMap<String, Many<String>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    Allow,
    Deny,
}

/// Whom a trust policy is about: `"*"`, or lists by kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Principal {
    Anybody(String),
    Named(BTreeMap<String, Many<String>>),
}

/// JSON's one or many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Many<T> {
    One(T),
    Several(Vec<T>),
}

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl<T> Many<T> {
    fn iter(&self) -> std::slice::Iter<'_, T> {
        match self {
            Self::One(one) => std::slice::from_ref(one).iter(),
            Self::Several(several) => several.iter(),
        }
    }
}

/// What is asked of a policy.
pub struct Asked<'a> {
    /// `sts:AssumeRole`.
    pub action: &'a str,
    /// Of a permission policy; a trust policy has none.
    pub resource: Option<&'a str>,
    /// Kind and name of those that the caller is, for a trust policy.
    pub principals: &'a [(&'a str, String)],
    /// Keys and values of the request's context.
    pub context: &'a [(String, Vec<String>)],
}

/// What a policy says to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// No statement is about it.
    Silent,
    Denied,
}

/// The operators that are understood.
const OPERATORS: [&str; 6] = ["StringEquals", "StringLike", "StringNotEquals", "StringNotLike", "ArnEquals", "ArnLike"];

impl Policy {
    /// A sentence when the document says something that is not understood here.
    pub fn check(&self, is_trust: bool) -> Result<(), String> {
        for statement in self.statement.iter() {
            if statement.principal.is_some() != is_trust {
                let wrong = if is_trust { "lacks a Principal" } else { "must not have a Principal" };
                return Err(format!("MalformedPolicyDocument: the statement {wrong}"));
            }
            if statement.resource.is_some() == is_trust {
                let wrong = if is_trust { "must not have a Resource" } else { "lacks a Resource" };
                return Err(format!("MalformedPolicyDocument: the statement {wrong}"));
            }
            if let Some(Principal::Anybody(word)) = &statement.principal
                && word != "*"
            {
                return Err(format!("MalformedPolicyDocument: invalid principal {word:?}"));
            }
            if let Some(operator) = statement.condition.keys().find(|name| !OPERATORS.contains(&bare(name))) {
                return Err(format!("the simulator knows the conditions {}, not {operator}", OPERATORS.join(", ")));
            }
        }
        Ok(())
    }

    /// A statement that denies wins over all that allow.
    pub fn verdict(&self, asked: &Asked<'_>) -> Verdict {
        let mut verdict = Verdict::Silent;
        for statement in self.statement.iter().filter(|statement| statement.is_about(asked)) {
            match statement.effect {
                Effect::Deny => return Verdict::Denied,
                Effect::Allow => verdict = Verdict::Allowed,
            }
        }
        verdict
    }
}

impl Statement {
    fn is_about(&self, asked: &Asked<'_>) -> bool {
        // Actions are the one thing that IAM compares without regard to case.
        let action = self.action.iter().any(|a| like(&a.to_ascii_lowercase(), &asked.action.to_ascii_lowercase()));
        let resource = match (&self.resource, asked.resource) {
            (Some(patterns), Some(resource)) => patterns.iter().any(|pattern| like(pattern, resource)),
            (None, None) => true,
            _ => false,
        };
        let principal = match &self.principal {
            None | Some(Principal::Anybody(_)) => true,
            Some(Principal::Named(kinds)) => kinds.iter().any(|(kind, names)| {
                let mine = asked.principals.iter().filter(|(of, _)| of == kind);
                mine.into_iter().any(|(_, name)| names.iter().any(|n| n == name || n == "*"))
            }),
        };
        action && resource && principal && self.condition.iter().all(|(o, keys)| holds(o, keys, asked.context))
    }
}

/// The operator without its qualifier: one value of several is all that the simulator's contexts have.
fn bare(operator: &str) -> &str {
    operator.strip_prefix("ForAnyValue:").unwrap_or(operator)
}

fn holds(operator: &str, keys: &BTreeMap<String, Many<String>>, context: &[(String, Vec<String>)]) -> bool {
    keys.iter().all(|(key, wanted)| {
        let given = context.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, values)| values);
        let any = |matches: fn(&str, &str) -> bool| {
            given.is_some_and(|values| values.iter().any(|value| wanted.iter().any(|w| matches(w, value))))
        };
        match bare(operator) {
            "StringEquals" => any(|wanted, value| wanted == value),
            "StringLike" | "ArnEquals" | "ArnLike" => any(like),
            "StringNotEquals" => !any(|wanted, value| wanted == value),
            "StringNotLike" => !any(like),
            _ => false,
        }
    })
}
