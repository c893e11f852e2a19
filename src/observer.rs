//! Whoever can be asked what has become of a workflow, behind one trait: Kubernetes where it may be asked, nobody
//! elsewhere.

use std::{future::Future, pin::Pin, sync::Arc};

use crate::{input::WorkflowId, workflow::WorkflowState};

/// Someone who can be asked what has become of a workflow.
pub trait WorkflowObserver: Send + Sync + 'static {
    /// Asks. Ends within the observer's own time-outs; an answer that cannot be had is [`WorkflowState::Unknown`].
    fn observe(&self, workflow: WorkflowId) -> Pin<Box<dyn Future<Output = WorkflowState> + Send>>;
}

/// The observer as it is handed around.
pub type SharedObserver = Arc<dyn WorkflowObserver>;

/// Nobody can be asked.
#[derive(Clone, Copy, Debug)]
pub struct NoObserver;

impl WorkflowObserver for NoObserver {
    fn observe(&self, _workflow: WorkflowId) -> Pin<Box<dyn Future<Output = WorkflowState> + Send>> {
        Box::pin(std::future::ready(WorkflowState::Unknown))
    }
}
