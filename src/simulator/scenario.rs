//! What a simulation starts from: accounts, pipelines and faults, as a JSON file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{faults::Faults, iam::Iam};

/// The account of access keys that say nothing else.
pub const DEFAULT_ACCOUNT: &str = "100000000002";

/// The start of a simulation. Everything has a default, so `{}` is a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Random parts of identifiers follow from it: the same calls give the same ARNs.
    pub seed: u64,
    /// The account of access keys that are not in `access_keys` and were not issued by the simulated STS.
    pub default_account: String,
    /// Access key id to account.
    pub access_keys: BTreeMap<String, String>,
    pub pipelines: Vec<ScenarioPipeline>,
    pub faults: Faults,
    /// Absent: every role can be assumed, and may do everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iam: Option<Iam>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            seed: 0,
            default_account: DEFAULT_ACCOUNT.to_owned(),
            access_keys: BTreeMap::new(),
            pipelines: Vec::new(),
            faults: Faults::default(),
            iam: None,
        }
    }
}

/// A pipeline that exists from the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioPipeline {
    pub name: String,
    pub region: String,
    /// Absent: the default account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The pipeline definition, as an object or as its JSON text.
    pub definition: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
}

impl ScenarioPipeline {
    /// The definition as the text that DescribePipeline shows.
    pub fn definition_text(&self) -> String {
        match &self.definition {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

impl Scenario {
    /// Reads a scenario's JSON text; the error is a sentence with line and column.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scenario: Self = serde_json::from_str(text).map_err(|e| format!("not a scenario: {e}"))?;
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), String> {
        self.faults.check()?;
        self.iam.iter().try_for_each(Iam::check)?;
        let accounts = self
            .access_keys
            .values()
            .chain(std::iter::once(&self.default_account))
            .chain(self.pipelines.iter().filter_map(|p| p.account.as_ref()));
        for account in accounts {
            if !is_account(account) {
                return Err(format!("account {account:?} is not 12 digits"));
            }
        }
        Ok(())
    }
}

/// Whether this is an AWS account id.
pub fn is_account(word: &str) -> bool {
    word.len() == 12 && word.bytes().all(|b| b.is_ascii_digit())
}
