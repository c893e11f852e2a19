//! What the steps of an execution came to, as outputs of a node: names, values, artifacts, and which jobs have to be
//! described for them.
//!
//! | output | of | costs a Describe |
//! |---|---|---|
//! | `<step>-job-name` | every step with a job | no |
//! | `<step>-model-artifacts` | training, tuning and AutoML jobs | yes |
//! | `<step>-metric-<name>` | the same | yes |
//! | | conditions: `outcome`; checks: `violation-report`, `calculated-statistics`, `calculated-constraints` | no |
//! | `<step>-output-<name>` | processing and transform jobs | yes |
//! | `billable-seconds` | all training, processing and transform jobs together | yes |
//!
//! Models, metrics and outputs are those of steps that succeeded: SageMaker names the place of a result that never came, too.

use std::{collections::BTreeSet, ops::Bound};

use crate::{
    pipelines::{
        Step,
        jobs::{JobKind, JobResults},
    },
    protocol::{Artifact, Outputs, S3Artifact},
};

/// Which results somebody waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    all: bool,
    parameters: BTreeSet<String>,
    artifacts: BTreeSet<String>,
}

impl Wanted {
    /// What a template declares; of its parameters those are kept that some executions have and others have not, of its
    /// artifacts those that may be results.
    pub fn declared(parameters: impl IntoIterator<Item = String>, artifacts: impl IntoIterator<Item = String>) -> Self {
        Self {
            all: false,
            parameters: parameters.into_iter().filter(|name| may_be_missed(name)).collect(),
            artifacts: artifacts.into_iter().filter(|name| may_be_result(name)).collect(),
        }
    }

    /// `outputs: all`: every parameter there is, whether it is declared or not.
    pub fn and_all(self) -> Self {
        Self { all: true, ..self }
    }

    /// Whether nobody wants anything.
    pub fn is_nothing(&self) -> bool {
        !self.all && self.parameters.is_empty() && self.artifacts.is_empty()
    }

    /// Whether the template declares a parameter of this name.
    pub fn declares(&self, name: &str) -> bool {
        self.parameters.contains(name)
    }

    /// What was declared and is not among these outputs.
    pub fn missing(&self, outputs: &Outputs) -> Vec<&str> {
        let told = |name: &&String| outputs.parameters.iter().any(|parameter| parameter.name == **name);
        let given = |name: &&String| outputs.artifacts.iter().any(|artifact| artifact.name == **name);
        let parameters = self.parameters.iter().filter(|name| !told(name));
        let artifacts = self.artifacts.iter().filter(|name| !given(name));
        parameters.chain(artifacts.filter(|name| !self.parameters.contains(*name))).map(String::as_str).collect()
    }

    fn wants_parameter(&self, name: &str) -> bool {
        self.all || self.declares(name)
    }

    fn wants(&self, name: &str) -> bool {
        self.wants_parameter(name) || self.artifacts.contains(name)
    }

    /// Whether a name is wanted that begins so.
    fn wants_any(&self, beginning: &str) -> bool {
        let begins = |names: &BTreeSet<String>| {
            names
                .range::<str, _>((Bound::Included(beginning), Bound::Unbounded))
                .next()
                .is_some_and(|name| name.starts_with(beginning))
        };
        self.all || begins(&self.parameters) || begins(&self.artifacts)
    }
}

/// Step names have up to 256 characters, those of metrics 255.
const LONGEST_NAME: usize = 600;

/// What every execution tells of itself, and every failure. Nobody misses them, and ten thousand nodes declare them.
const ALWAYS_TOLD: [&str; 8] = [
    "execution-arn",
    "execution-id",
    "status",
    "console-url",
    "failed-step",
    "failure-reason",
    "logs-url",
    "logs-tail",
];

/// Whether an output parameter of this name depends on what the pipeline's steps do: the results of its jobs, and whatever
/// Lambda and Callback steps call theirs.
fn may_be_missed(name: &str) -> bool {
    name.len() <= LONGEST_NAME && !ALWAYS_TOLD.contains(&name)
}

/// Whether an artifact of this name may be a result of a step.
fn may_be_result(name: &str) -> bool {
    let ends = [JOB_NAME, MODEL].iter().any(|end| name.strip_suffix(end).is_some_and(|step| step.ends_with('-')));
    let parts = || [METRIC, OUTPUT].iter().any(|part| name.contains(&format!("-{part}")));
    name.len() <= LONGEST_NAME && (name == BILLABLE || ends || parts())
}

/// The job to describe for a step; `None`: nobody wants what it would tell, or it would tell nothing.
pub fn job_to_describe<'a>(step: &'a Step, wanted: &Wanted) -> Option<(JobKind, &'a str)> {
    let (kind, name) = JobKind::of_arn(step.job_arn.as_deref()?)?;
    let of = |what: &str| output_name(&step.name, what, "");
    let of_result = match kind {
        JobKind::Training | JobKind::Tuning | JobKind::AutoMl => {
            wanted.wants(&of(MODEL)) || wanted.wants_any(&of(METRIC))
        }
        JobKind::Processing | JobKind::Transform => wanted.wants_any(&of(OUTPUT)),
    };
    let asked = (succeeded(step) && of_result) || (is_billed(step, kind) && wanted.wants_parameter(BILLABLE));
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
            all.push((output_name(&step.name, JOB_NAME, ""), name.to_owned()));
        }
        if !tells_outputs(step) {
            let found = |(name, value): &(String, String)| (output_name(&step.name, METRIC, name), value.clone());
            all.extend(step.outputs.iter().map(found));
        }
        let Some(job) = job.filter(|_| succeeded(step)) else { continue };
        let places = places(step, job).into_iter().map(|(name, uri)| (name, uri.to_owned()));
        all.extend(places);
        let metric = |(name, value): &(String, f32)| (output_name(&step.name, METRIC, name), value.to_string());
        all.extend(job.metrics.iter().map(metric));
    }
    if let Some(seconds) = billable_seconds(found) {
        all.push((BILLABLE.to_owned(), seconds.to_string()));
    }
    all.retain(|(name, _)| wanted.wants_parameter(name));
    all
}

/// Whether a step tells output parameters of the user's own, which need nobody's wish: `<step>-<name>`.
pub fn tells_outputs(step: &Step) -> bool {
    !matches!(step.kind.as_deref(), Some("Condition" | "QualityCheck" | "ClarifyCheck"))
}

/// The models and outputs that are wanted as artifacts of Argo's, under the names of their parameters. They are found with the
/// credentials of whoever reads them, in the region of the execution, where SageMaker's buckets have to be.
pub fn artifacts(found: &[Found<'_>], wanted: &Wanted, region: &str) -> Vec<Artifact> {
    let results = found.iter().filter(|one| succeeded(one.step)).filter_map(|one| Some(places(one.step, one.job?)));
    let wanted = results.flatten().filter(|(name, _)| wanted.artifacts.contains(name));
    wanted
        .filter_map(|(name, uri)| {
            let (bucket, key) = bucket_and_key(uri)?;
            Some(Artifact::kept(name, S3Artifact::at(bucket, key, region)?))
        })
        .collect()
}

/// Seconds that this execution pays for; absent while no job told any.
fn billable_seconds(found: &[Found<'_>]) -> Option<u64> {
    let own = found.iter().filter(|one| !one.step.reused);
    own.filter_map(|one| one.job?.billable_seconds).reduce(u64::saturating_add)
}

/// The parts of names.
const BILLABLE: &str = "billable-seconds";
const JOB_NAME: &str = "job-name";
const MODEL: &str = "model-artifacts";
const METRIC: &str = "metric-";
const OUTPUT: &str = "output-";

/// Names and S3 URIs of what a step made.
fn places<'a>(step: &Step, job: &'a JobResults) -> Vec<(String, &'a str)> {
    let model = job.model_artifacts.iter().map(|uri| (output_name(&step.name, MODEL, ""), uri.as_str()));
    let output = |(name, uri): &'a (String, String)| (output_name(&step.name, OUTPUT, name), uri.as_str());
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
