//! `awf-aws doctor`: what of a set-up is wrong, and the policy, manifest or command that makes it right.
//!
//! [`gather`] looks at the pod, at AWS and at the cluster and writes down [`facts::Facts`]; it judges nothing. Each check is a
//! function from those facts to a [`Check`]; it looks at nothing. The order is that of [`crate::config::doctor::CHECKS`]: what
//! comes first explains what fails after it.

use serde_json::Value;

use crate::{
    backend::sagemaker::SageMaker,
    config::doctor::{CHECKS, DoctorConfig, ON_DEMAND},
    pipelines::Time,
};

pub mod account;
pub mod argo;
pub mod facts;
pub mod features;
pub mod gather;
pub mod known;
pub mod pipeline;
pub mod pod;
pub mod report;
pub mod sts;

use facts::{Facts, Link};
use known::Known;
use report::Report;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Well,
    Broken,
    /// It could not be looked at; usually because whoever looks has no right to.
    Unknown,
    /// Not asked for, or of no use after what failed before.
    Skipped,
}

/// One check with what it saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// One of [`CHECKS`].
    pub name: &'static str,
    pub verdict: Verdict,
    /// One line.
    pub saw: String,
    pub fix: Option<Fix>,
}

impl Check {
    fn well(name: &'static str, saw: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Well, saw: saw.into(), fix: None }
    }

    fn skipped(name: &'static str, saw: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Skipped, saw: saw.into(), fix: None }
    }

    fn unknown(name: &'static str, saw: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Unknown, saw: saw.into(), fix: None }
    }

    fn broken(name: &'static str, saw: impl Into<String>, fix: Fix) -> Self {
        Self { name, verdict: Verdict::Broken, saw: saw.into(), fix: Some(fix) }
    }
}

/// What to change, ready to be applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fix {
    /// What is to be done, and where.
    pub say: String,
    pub documents: Vec<Document>,
    /// In their order.
    pub commands: Vec<String>,
}

impl Fix {
    fn say(text: impl Into<String>) -> Self {
        Self { say: text.into(), ..Self::default() }
    }

    fn policy(mut self, title: impl Into<String>, policy: Value) -> Self {
        self.documents.push(Document { title: title.into(), content: Content::Policy(policy) });
        self
    }

    fn manifest(mut self, title: impl Into<String>, manifest: impl Into<String>) -> Self {
        self.documents.push(Document { title: title.into(), content: Content::Manifest(manifest.into()) });
        self
    }

    fn command(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }
}

/// A policy or a manifest with what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub title: String,
    pub content: Content,
}

/// JSON for AWS, or YAML for Kubernetes.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Policy(Value),
    Manifest(String),
}

/// Looks, judges, and says what is wrong.
pub async fn run(config: DoctorConfig, sagemaker: &SageMaker, link: Link, now: Time) -> Report {
    Report { checks: judge(&gather::facts(config, sagemaker, link, now).await) }
}

/// Every check that is wanted, in order.
pub fn judge(facts: &Facts) -> Vec<Check> {
    let known = Known::of(facts);
    let all = [
        pod::variables,
        pod::token_file,
        pod::token_claims,
        pod::region,
        sts::credentials,
        sts::caller,
        sts::role,
        pipeline::describe,
        pipeline::list,
        features::resume,
        features::logs,
        features::results,
        pod::argo_token,
        argo::access,
        argo::controller_right,
        argo::executor_plugins,
        argo::config_map,
        account::service_account,
    ];
    CHECKS
        .into_iter()
        .zip(all)
        .filter(|(name, _)| {
            let feature = ON_DEMAND.into_iter().find(|(check, _)| check == name);
            feature.is_none_or(|(_, feature)| facts.config.with.contains(&feature))
        })
        .map(|(name, check)| match facts.config.skip.contains(name) {
            true => Check::skipped(name, "left out by --skip"),
            false => check(name, facts, &known),
        })
        .collect()
}
