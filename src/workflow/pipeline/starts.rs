//! Denied starts: until one is taken, the waiting nodes of a pipeline try one by one.

use crate::{
    pipelines::Time,
    workflow::{
        effects::{Effects, Timer},
        slab::PipelineId,
        trouble::Trouble,
    },
};

use super::Pipelines;

impl Pipelines {
    /// A start was denied: the next may be tried at `again_at`.
    pub fn start_was_denied(&mut self, id: PipelineId, text: &str, again_at: Time, fx: &mut Effects) {
        Trouble::extend(&mut self.all[id].start_denied, text, true, fx.left());
        self.start_again(id, again_at, fx);
    }

    /// Where starts are denied, one tries at a time.
    pub fn start_again(&mut self, id: PipelineId, at: Time, fx: &mut Effects) {
        self.all[id].start_again_at = at;
        fx.wake(at, Timer::Queue);
    }

    /// A start came back that was not denied; whether they were.
    pub fn starts_are_taken(&mut self, id: PipelineId) -> bool {
        self.all[id].start_denied.take().is_some()
    }
}
