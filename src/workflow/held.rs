//! What a machine still holds of nodes that have ended: tests of its memory look here.

use super::{
    Machine,
    node::{EndStage, Stage},
};

/// What is held for ended nodes besides their answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Tasks of nodes that have ended.
    pub tasks: usize,
    /// Steps of executions that have ended and that no node waits for.
    pub steps: usize,
}

impl Machine {
    /// Counts it.
    #[doc(hidden)]
    pub fn held(&self) -> Held {
        let attempts = self.families.values().flat_map(|family| family.attempts.values());
        let tasks = attempts.filter(|a| matches!(a.stage, Stage::Ended(_)) && a.task.is_some()).count();
        let ended = self.executions.iter().filter(|(arn, t)| {
            let told = !t.execution.status.is_live() && !self.is_followed(arn);
            // What is about to be asked for again goes with the answer.
            told && !t.describing && t.end != EndStage::Listing
        });
        Held { tasks, steps: ended.map(|(_, t)| t.steps.as_ref().map_or(0, Vec::len)).sum() }
    }
}
