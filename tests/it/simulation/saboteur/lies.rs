//! What becomes of a task, a page, an execution, a token.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use awf_aws::{
    input::{Action, Task},
    pipelines::{CallError, CallErrorKind, CallReply, Execution, Status, Time},
    workflow::identity::Marker,
};

use super::Sabotage;
use crate::machine::with;

/// A token of these parts and nothing else.
pub fn token(parts: &[&str]) -> String {
    let mut hash = DefaultHasher::new();
    parts.hash(&mut hash);
    format!("{:064x}", hash.finish())
}

/// A request as the machine hears it.
pub fn told(sabotage: Sabotage, mut task: Task, limit: Option<usize>) -> Task {
    match sabotage {
        Sabotage::AttemptsAlike => Task { attempt: 0, ..task },
        Sabotage::KeysAlike => Task { execution_key: task.execution_key.map(|_| "node".to_owned()), ..task },
        Sabotage::CreatedToTheSecond => {
            let later = |created: Time| created.plus(Duration::from_secs(14 * 60));
            Task { workflow_created: task.workflow_created.map(later), ..task }
        }
        Sabotage::EverythingIsWanted => with(task, |execute| execute.results = execute.results.clone().and_all()),
        Sabotage::LeavesNothing => with(task, |execute| execute.on_stop = None),
        Sabotage::LimitOfThePipeline => {
            if let Action::Execute(execute) = &mut task.action {
                execute.max_running = execute.max_running.into_iter().chain(limit).min();
            }
            task
        }
        _ => task,
    }
}

/// Changes each execution that an answer shows, and removes from a page those that `keep` does not want.
pub fn shown(reply: &mut CallReply, mut keep: impl FnMut(&mut Execution, bool) -> bool) {
    match reply {
        CallReply::Executions { page, .. } => page.retain_mut(|execution| keep(execution, true)),
        // What is looked at by its name is there, whatever is said of it.
        CallReply::Execution(execution) => {
            keep(execution, false);
        }
        _ => {}
    }
}

/// Takes these fields out of an execution's marker.
pub fn forget(execution: &mut Execution, change: impl FnOnce(&mut Marker)) {
    if let Some(description) = &mut execution.description
        && let Some(mut marker) = Marker::parse(description)
    {
        change(&mut marker);
        *description = marker.describe(None);
    }
}

/// The marker of an execution of one of the plugin's processes.
pub fn marker(execution: &Execution) -> Option<Marker> {
    Marker::parse(execution.description.as_deref()?)
}

/// How far on its way an execution is.
pub fn rank(status: &Status) -> u8 {
    match status {
        Status::Executing | Status::Unknown(_) => 0,
        Status::Stopping => 1,
        Status::Stopped | Status::Failed | Status::Succeeded | Status::CompletedWithFailures => 2,
    }
}

/// The error, of another kind.
pub fn like(error: &CallError, kind: CallErrorKind) -> CallError {
    CallError { kind, ..error.clone() }
}
