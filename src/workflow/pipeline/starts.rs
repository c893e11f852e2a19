//! Denied starts and resumes: until one is taken, the waiting nodes of a pipeline try one by one.

use crate::{
    pipelines::Time,
    workflow::{
        effects::{Effects, Timer},
        queue::Way,
        slab::PipelineId,
        trouble::Trouble,
    },
};

use super::{Pipeline, Pipelines};

/// Whether nodes may begin in one way.
#[derive(Debug, Default)]
pub struct Permits {
    /// The last one that came back was denied: until one is taken, whoever is next tries alone.
    denied: Option<Box<Trouble>>,
    /// When the next one may.
    again_at: Time,
}

impl Pipeline {
    fn permits(&self, way: Way) -> &Permits {
        match way {
            Way::Start => &self.starts,
            Way::Resume => &self.resumes,
        }
    }

    fn permits_mut(&mut self, way: Way) -> &mut Permits {
        match way {
            Way::Start => &mut self.starts,
            Way::Resume => &mut self.resumes,
        }
    }

    /// Why its starts are denied, or its resumes.
    pub fn denied(&self, way: Way) -> Option<&Trouble> {
        self.permits(way).denied.as_deref()
    }

    /// Whether nobody may begin in this way at this time, because the last one was denied.
    pub fn rests(&self, way: Way, now: Time) -> bool {
        let permits = self.permits(way);
        permits.denied.is_some() && permits.again_at > now
    }
}

impl Pipelines {
    /// One was denied: the next may be tried at `again_at`.
    pub fn was_denied(&mut self, id: PipelineId, way: Way, text: &str, again_at: Time, fx: &mut Effects) {
        Trouble::extend(&mut self.all[id].permits_mut(way).denied, text, true, fx.left());
        self.try_again(id, way, again_at, fx);
    }

    /// Where they are denied, one tries at a time.
    pub fn try_again(&mut self, id: PipelineId, way: Way, at: Time, fx: &mut Effects) {
        self.all[id].permits_mut(way).again_at = at;
        fx.wake(at, Timer::Queue);
    }

    /// One came back that was not denied; whether they were.
    pub fn are_taken(&mut self, id: PipelineId, way: Way) -> bool {
        self.all[id].permits_mut(way).denied.take().is_some()
    }
}
