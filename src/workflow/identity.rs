//! Who a node is: the token of its start, the name it is shown by, and what a request for it gets.

use std::sync::Arc;

use crate::{
    input::{Action, OnRetry, Task},
    pipelines::{Status, Time},
    text::hex,
};

use super::run::Run;

pub use super::{
    key::{Key, arn_key, execution_id},
    known::Known,
    marker::{Continues, Marker, WhenOver},
};

use super::key::digest;

/// The ClientRequestToken of a start: the same for every repeat, and nothing in it depends on what this process saw. A node
/// that resumes has one execution for all its attempts, and one token: where lists are denied, a later attempt finds by it what
/// an earlier one has started. What it starts instead of one that cannot be resumed has that one for its predecessor.
pub fn start_token(task: &Task, key: &Key, predecessor: Option<&str>) -> String {
    let attempt = if resumes(task) { 0 } else { task.attempt };
    hex(&digest(&[
        "start",
        &task.account_id,
        &task.client.region,
        &task.pipeline_name.to_ascii_lowercase(),
        &task.workflow.uid,
        &key.hex(64),
        &attempt.to_string(),
        predecessor.unwrap_or(""),
    ]))
}

/// Whether further attempts of a node continue its execution.
pub fn resumes(task: &Task) -> bool {
    matches!(&task.action, Action::Execute(execute) if execute.on_retry != OnRetry::Restart)
}

/// The ClientRequestToken of a stop: the same for each repeat of one in a process. A console retry revives a stopped
/// execution under its ARN; were the token the same for ever, AWS could take the next stop for a repeat of the first.
/// That of two processes' stops one is refused does no harm: only what executes can be stopped.
pub fn stop_token(arn: &str, process_began: Time, series: u32) -> String {
    hex(&digest(&["stop", arn, &process_began.millis().to_string(), &series.to_string()]))
}

/// The ClientRequestToken of a resume: of the execution, the attempt that continues it, and the end that it continues, which
/// tells the runs of the workflow apart, too. All of it stands in AWS, so every process computes the same.
pub fn resume_token(arn: &str, attempt: u32, end: Time) -> String {
    hex(&digest(&["resume", &arn_key(arn), &attempt.to_string(), &end.millis().to_string()]))
}

/// The display name of a start whose user gave none: `<workflow, sanitised, 40 at most>-<12 hex>-<attempt>`.
pub fn display_name(task: &Task, key: &Key) -> String {
    let mut name = String::with_capacity(64);
    for c in task.workflow.name.chars().take(40) {
        let c = if c.is_ascii_alphanumeric() { c } else { '-' };
        if !(c == '-' && (name.is_empty() || name.ends_with('-'))) {
            name.push(c);
        }
    }
    let name = name.trim_end_matches('-');
    let name = if name.is_empty() { "workflow" } else { name };
    format!("{name}-{}-{}", key.hex(12), task.attempt)
}

/// What a request for (key, attempt) gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This live execution is the node's.
    Follow(Arc<str>),
    /// It is being stopped since an earlier run of the workflow: wait for its end, then decide again.
    AwaitEnd(Arc<str>),
    /// The node ended with this execution.
    Report(Arc<str>),
    /// Look once more (a console retry revives executions); still ended: start.
    RecheckThenStart { arn: Arc<str>, predecessor: Option<Arc<str>> },
    Start {
        predecessor: Option<Arc<str>>,
        /// The newest end, of an earlier run of the workflow.
        after: Option<Arc<str>>,
    },
    /// A later attempt of the node exists.
    Superseded(u32),
}

/// The table of the contract's section 5, over everything known of one key.
///
/// `run` is the workflow's run of now; `newest_asked` the highest attempt anybody asked for.
pub fn decide(known: &[Known], attempt: u32, newest_asked: u32, run: &Run) -> Decision {
    let before_run = |k: &Known| run.comes_after(k);
    // Whatever this attempt has started before is replaced, else the token would be that one's again. It need not have
    // ended before the epoch: what lived on into this run counts too.
    let predecessor = || {
        let own = known.iter().filter(|k| k.origin == attempt && k.same_pipeline && !k.status.is_live());
        own.max_by_key(|k| k.created).map(|k| k.arn.clone())
    };
    let own_end = || {
        known.iter().filter(|k| k.attempt == attempt && !k.status.is_live() && !before_run(k)).max_by_key(|k| k.created)
    };
    // A live one outranks whatever is newer by the clock: two must never be live.
    let Some(newest) = known.iter().max_by_key(|k| (k.status.is_live(), k.created, &k.arn)) else {
        return if newest_asked > attempt {
            Decision::Superseded(newest_asked)
        } else {
            Decision::Start { predecessor: None, after: None }
        };
    };
    let newest_of_epoch = known
        .iter()
        .filter(|k| k.status.is_live() || !before_run(k))
        .filter(|k| run.has_started(k))
        .map(|k| k.attempt)
        .max();
    let newest_attempt = newest_of_epoch.unwrap_or(0).max(newest_asked);
    if attempt < newest_attempt
        && let Some(own) = own_end()
    {
        return Decision::Report(own.arn.clone());
    }
    // What it ended with was continued by a later attempt, and tells its own end no more.
    if attempt < newest.attempt && newest.resumed && run.has_started(newest) {
        return Decision::Superseded(newest_attempt);
    }
    if newest.status.is_live() {
        let stopping_since_before = newest.status == Status::Stopping && before_run(newest);
        return if stopping_since_before {
            Decision::AwaitEnd(newest.arn.clone())
        } else {
            Decision::Follow(newest.arn.clone())
        };
    }
    if newest.status == Status::Succeeded {
        return Decision::Report(newest.arn.clone());
    }
    if attempt < newest_attempt {
        return Decision::Superseded(newest_attempt);
    }
    if before_run(newest) {
        return Decision::Start { predecessor: predecessor(), after: Some(newest.arn.clone()) };
    }
    // Of this run and this attempt: it is the node's end, also when a late pod started an earlier attempt after it.
    let of_this_run = |k: &&Known| run.has_started(k);
    if let Some(own) = own_end().filter(|own| own.arn == newest.arn || of_this_run(own)) {
        return Decision::Report(own.arn.clone());
    }
    Decision::RecheckThenStart { arn: newest.arn.clone(), predecessor: predecessor() }
}
