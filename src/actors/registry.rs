//! The registry: which runner follows which workflow. The supervisor writes it; every handle reads it, from any thread.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicBool, Ordering},
};

use actix::Addr;
use dashmap::DashMap;

use super::workflow_runner::WorkflowRunner;
use crate::input::WorkflowId;

/// What names a workflow: its uid; before Argo v3.4.2 the agent sent none, and one pod serves one workflow.
pub fn registry_key(workflow: &WorkflowId) -> Cow<'_, str> {
    let WorkflowId { namespace, name, uid } = workflow;
    if uid.is_empty() { format!("{namespace}/{name}").into() } else { uid.into() }
}

/// A runner and which of all that were made it is.
struct Registered {
    generation: u64,
    runner: Addr<WorkflowRunner>,
}

/// The runners by workflow, and whether new ones are still made. Only addresses are given out, never a guard of the map:
/// one that lived across an await could block the supervisor.
#[derive(Default)]
pub struct Registry {
    runners: DashMap<String, Registered>,
    draining: AtomicBool,
}

impl Registry {
    /// The runner of a workflow.
    pub fn runner(&self, workflow: &WorkflowId) -> Option<Addr<WorkflowRunner>> {
        self.runners.get(&*registry_key(workflow)).map(|entry| entry.runner.clone())
    }

    /// All runners.
    pub fn runners(&self) -> Vec<Addr<WorkflowRunner>> {
        self.runners.iter().map(|entry| entry.runner.clone()).collect()
    }

    /// Adds a workflow's runner in place of an earlier one.
    pub fn insert(&self, workflow: &WorkflowId, generation: u64, runner: Addr<WorkflowRunner>) {
        self.runners.insert(registry_key(workflow).into_owned(), Registered { generation, runner });
    }

    /// Takes a runner out. False when it was not there, or a later one has taken its place.
    pub fn remove(&self, workflow: &WorkflowId, generation: u64) -> bool {
        self.runners.remove_if(&*registry_key(workflow), |_, entry| entry.generation == generation).is_some()
    }

    /// Whether the plugin begins nothing new any more.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Nothing new from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}
