//! The set-up of an AWS role as data: who may use it, what it may do, and the service account that leads to it.
//!
//! | what | by |
//! |---|---|
//! | who may use it | [`trust::Trust`]: a service account (IRSA or EKS Pod Identity), or another role |
//! | what it may do | [`permissions::Permissions`]: what the plugin calls for an action, and nothing else |
//! | what leads to it | [`account::Account`]: the workflow's service account with all that Argo's agent needs |
//!
//! Every name in here has been read by [`names`], so a policy that exists is well formed. `awf-aws iam` prints them;
//! `awf-aws doctor` prints the one that is missing.

use serde_json::Value;

pub mod account;
pub mod names;
pub mod permissions;
pub mod trust;

/// The version of the policy language; the only one without surprises.
const LANGUAGE: &str = "2012-10-17";

/// What is printed.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    Policy(Value),
    Manifest(String),
}

impl Document {
    /// As it goes into a file.
    pub fn text(&self) -> String {
        match self {
            Self::Policy(policy) => pretty(policy),
            Self::Manifest(text) => text.clone(),
        }
    }
}

/// A policy as people write it, with the newline at its end.
pub fn pretty(policy: &Value) -> String {
    format!("{policy:#}\n")
}
