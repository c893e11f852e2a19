//! Whether the permissions reach what `--with` names. Each operation is tried on something that is not there: whoever may call
//! it is told so, and nothing changes.

use super::{
    Check,
    facts::{Facts, Tried},
    known::Known,
    pipeline::{failed, not_asked, region_and_account},
};
use crate::{
    backend::{Backend as _, sagemaker::SageMaker},
    iam::{names, permissions::Feature},
    pipelines::{Call, CallError, CallErrorKind, ClientKey, jobs::JobKind},
};

/// The name of what is not there. SageMaker's own execution ids have no dashes.
const ABSENT: &str = "awf-aws-doctor";
/// A group that every account has which ever trained anything.
const GROUP: &str = "/aws/sagemaker/TrainingJobs";

/// Tries every operation of the features that are wanted.
pub async fn gather(facts: &Facts, sagemaker: &SageMaker, client: &ClientKey, caller: &str) -> Vec<Tried> {
    let mut tried = Vec::new();
    for feature in &facts.config.with {
        match feature {
            Feature::Resume => {
                let Some(arn) = absent_execution(facts, caller) else { continue };
                let token = format!("{ABSENT:-<32}");
                let retry = Call::RetryExecution { arn: arn.clone(), token, parallelism: None };
                let update = Call::UpdateExecution { arn, description: ABSENT.to_owned() };
                for call in [retry, update] {
                    tried.push(attempt(*feature, sagemaker, client, call).await);
                }
            }
            Feature::Results => {
                for kind in
                    [JobKind::Training, JobKind::Processing, JobKind::Transform, JobKind::Tuning, JobKind::AutoMl]
                {
                    // As long as an AutoML job's may be, and as all of pipelines begin.
                    let call = Call::DescribeJob { kind, name: format!("pipelines-{ABSENT}") };
                    tried.push(attempt(*feature, sagemaker, client, call).await);
                }
            }
            Feature::Logs => {
                let stream_prefix = format!("pipelines-{ABSENT}/");
                let call = Call::LogTail { group: GROUP.to_owned(), stream_prefix: stream_prefix.clone(), lines: 1 };
                // It finds no stream, so it asks nothing more.
                let streams =
                    Tried { operation: "DescribeLogStreams", ..attempt(*feature, sagemaker, client, call).await };
                let result = sagemaker.read_log(client, GROUP, &stream_prefix).await;
                tried
                    .extend([streams, Tried { feature: *feature, operation: "GetLogEvents", result: allowed(result) }]);
            }
        }
    }
    tried
}

async fn attempt(feature: Feature, sagemaker: &SageMaker, client: &ClientKey, call: Call) -> Tried {
    let operation = call.operation();
    let result = sagemaker.call(client.clone(), call).await.result.map(|_| ());
    Tried { feature, operation, result: allowed(result) }
}

/// Whoever is told that there is no such thing may call the operation.
fn allowed(result: Result<(), CallError>) -> Result<(), CallError> {
    result.or_else(|error| match error.kind {
        CallErrorKind::NotFound | CallErrorKind::Invalid | CallErrorKind::Conflict => Ok(()),
        _ => Err(error),
    })
}

fn absent_execution(facts: &Facts, caller: &str) -> Option<String> {
    let name = names::pipeline(facts.config.pipeline.as_deref()?).ok()?;
    let (region, partition, account) = region_and_account(facts, caller)?;
    Some(format!("arn:{partition}:sagemaker:{region}:{account}:pipeline/{name}/execution/{ABSENT}"))
}

/// RetryPipelineExecution and UpdatePipelineExecution.
pub fn resume(name: &'static str, facts: &Facts, known: &Known) -> Check {
    check(name, Feature::Resume, facts, known)
}

/// DescribeLogStreams and GetLogEvents.
pub fn logs(name: &'static str, facts: &Facts, known: &Known) -> Check {
    check(name, Feature::Logs, facts, known)
}

/// The Describe operations of jobs.
pub fn results(name: &'static str, facts: &Facts, known: &Known) -> Check {
    check(name, Feature::Results, facts, known)
}

fn check(name: &'static str, feature: Feature, facts: &Facts, known: &Known) -> Check {
    let tried: Vec<&Tried> = facts.tried.iter().filter(|one| one.feature == feature).collect();
    let Some(first) = tried.first() else { return not_asked(name, facts) };
    let failures = || tried.iter().filter_map(|one| Some((one.operation, one.result.as_ref().err()?)));
    let is_denied = |error: &CallError| error.kind == CallErrorKind::Denied;
    let denied: Vec<&str> = failures().filter(|(_, error)| is_denied(error)).map(|(operation, _)| operation).collect();
    match failures().find(|(_, error)| is_denied(error)).or_else(|| failures().next()) {
        Some((operation, error)) => {
            let operations = if denied.is_empty() { vec![operation] } else { denied };
            failed(name, &operations, error, facts, known)
        }
        None => {
            let more = match tried.len() - 1 {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            Check::well(name, format!("{}{more} may be called", first.operation))
        }
    }
}
