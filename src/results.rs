//! What the steps of an execution came to, as outputs of a node: names, values, artifacts, and which jobs have to be
//! described for them.
//!
//! | output | of | costs a Describe |
//! |---|---|---|
//! | `<step>-job-name` | every step with a job | no |
//! | `<step>-model-artifacts` | training, tuning and AutoML jobs | yes |
//! | `<step>-metric-<name>` | the same | yes |
//! | `<step>-output-<name>` | processing and transform jobs | yes |
//! | `billable-seconds` | all training, processing and transform jobs together | yes |
//!
//! Models, metrics and outputs are those of steps that succeeded: SageMaker names the place of a result that never came, too.

use std::collections::BTreeSet;

use crate::{
    pipelines::{
        Step,
        jobs::{JobKind, JobResults},
    },
    protocol::{Artifact, S3Artifact},
};

/// Which outputs somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What the template declares, parameters and artifacts alike.
    Declared(BTreeSet<String>),
    /// `outputs: all`.
    All,
}

impl Wanted {
    fn wants(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Declared(names) => names.contains(name),
        }
    }

    /// Whether a name is wanted that begins so.
    fn wants_any(&self, beginning: &str) -> bool {
        match self {
            Self::All => true,
            Self::Declared(names) => {
                names.range(beginning.to_owned()..).next().is_some_and(|n| n.starts_with(beginning))
            }
        }
    }
}

/// The job to describe for a step; `None`: nobody wants what it would tell, or it would tell nothing.
pub fn job_to_describe<'a>(step: &'a Step, wanted: &Wanted) -> Option<(JobKind, &'a str)> {
    let (kind, name) = JobKind::of_arn(step.job_arn.as_deref()?)?;
    let of = |what: &str| output_name(&step.name, what, "");
    let of_result = match kind {
        JobKind::Training | JobKind::Tuning | JobKind::AutoMl => {
            wanted.wants(&of("model-artifacts")) || wanted.wants_any(&of("metric-"))
        }
        JobKind::Processing | JobKind::Transform => wanted.wants_any(&of("output-")),
    };
    let asked = (succeeded(step) && of_result) || (is_billed(step, kind) && wanted.wants(BILLABLE));
    asked.then_some((kind, name))
}

/// A step with its job's results, where they were asked for and told.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    pub step: &'a Step,
    pub job: Option<&'a JobResults>,
}

/// The output parameters, in the order of the steps; a name of SageMaker's may turn into one that was there before.
pub fn parameters(found: &[Found<'_>], wanted: &Wanted) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for Found { step, job } in found {
        if let Some((_, name)) = step.job_arn.as_deref().and_then(JobKind::of_arn) {
            all.push((output_name(&step.name, "job-name", ""), name.to_owned()));
        }
        let Some(job) = job.filter(|_| succeeded(step)) else { continue };
        let places = places(step, job).into_iter().map(|(name, uri)| (name, uri.to_owned()));
        all.extend(places);
        let metric = |(name, value): &(String, f32)| (output_name(&step.name, "metric-", name), value.to_string());
        all.extend(job.metrics.iter().map(metric));
    }
    if let Some(seconds) = billable_seconds(found) {
        all.push((BILLABLE.to_owned(), seconds.to_string()));
    }
    all.retain(|(name, _)| wanted.wants(name));
    all
}

/// The models and outputs as artifacts of Argo's, under the names of their parameters. What lies in the bucket of the
/// workflow's own artifact repository is found with the repository's credentials, all else with those of whoever reads it.
pub fn artifacts(found: &[Found<'_>], wanted: &Wanted, region: &str, repository_bucket: Option<&str>) -> Vec<Artifact> {
    let results = found.iter().filter(|one| succeeded(one.step)).filter_map(|one| Some(places(one.step, one.job?)));
    let wanted = results.flatten().filter(|(name, _)| wanted.wants(name));
    wanted
        .filter_map(|(name, uri)| {
            let (bucket, key) = bucket_and_key(uri)?;
            let s3 = match repository_bucket == Some(bucket) {
                true => S3Artifact::in_repository(key),
                false => S3Artifact::at(bucket, key, region)?,
            };
            Some(Artifact::kept(name, s3))
        })
        .collect()
}

/// Seconds that this execution pays for; absent while no job told any.
fn billable_seconds(found: &[Found<'_>]) -> Option<u64> {
    let own = found.iter().filter(|one| !one.step.reused);
    own.filter_map(|one| one.job?.billable_seconds).reduce(u64::saturating_add)
}

const BILLABLE: &str = "billable-seconds";

/// Names and S3 URIs of what a step made.
fn places<'a>(step: &Step, job: &'a JobResults) -> Vec<(String, &'a str)> {
    let model = job.model_artifacts.iter().map(|uri| (output_name(&step.name, "model-artifacts", ""), uri.as_str()));
    let output = |(name, uri): &'a (String, String)| (output_name(&step.name, "output-", name), uri.as_str());
    model.chain(job.outputs.iter().map(output)).collect()
}

/// A name that Argo takes: `^[-a-zA-Z0-9_]+$`.
fn output_name(step: &str, what: &str, name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    format!("{step}-{what}{name}").chars().map(plain).collect()
}

fn succeeded(step: &Step) -> bool {
    step.status == "Succeeded"
}

/// Whether a step's job is paid for by this execution, and has ended.
fn is_billed(step: &Step, kind: JobKind) -> bool {
    let ended = matches!(step.status.as_str(), "Succeeded" | "Failed" | "Stopped");
    let billed = matches!(kind, JobKind::Training | JobKind::Processing | JobKind::Transform);
    ended && billed && !step.reused
}

fn bucket_and_key(uri: &str) -> Option<(&str, &str)> {
    let (bucket, key) = uri.strip_prefix("s3://")?.split_once('/')?;
    (!bucket.is_empty() && !key.is_empty()).then_some((bucket, key))
}
