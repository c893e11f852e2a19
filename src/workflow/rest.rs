//! When nobody has asked for anything of a workflow for long. If nothing of it is open either, and all that its machine knows
//! is in AWS or the workflow is gone, it is forgotten; whoever asks later finds everything again, as after a restart.

use std::time::Duration;

use crate::pipelines::Time;

use super::effects::{Effects, Timer};

/// It is not looked more often than this, whatever the settings say.
const LEAST: Duration = Duration::from_secs(1);

/// After such a silence no agent comes back, who comes back after 72 s at the latest (`report::requeue`), or after the 5
/// minutes that the kubelet lets a container rest: not even for an end that was never told.
pub const NOBODY_IS_LEFT: Duration = Duration::from_secs(3600);

/// When somebody last asked.
#[derive(Debug, Default)]
pub struct Rest {
    asked: Option<Time>,
}

impl Rest {
    /// Somebody asks. The timer of the first request follows those after it: one is enough.
    pub fn asked(&mut self, fx: &mut Effects) {
        if self.asked.replace(fx.now()).is_none() {
            fx.wake(fx.now().plus(fx.settings().forget_after), Timer::Rest);
        }
    }

    /// The timer has come: for how long nobody has asked, if that is long enough. It is set again in any case, for what is open
    /// now may not be open then.
    pub fn silence(&self, fx: &mut Effects) -> Option<Duration> {
        let (now, after) = (fx.now(), fx.settings().forget_after);
        let silence = now.since(self.asked?);
        let next = after.checked_sub(silence).filter(|rest| !rest.is_zero()).unwrap_or(after);
        fx.wake(now.plus(next.max(LEAST)), Timer::Rest);
        (silence >= after).then_some(silence)
    }
}
