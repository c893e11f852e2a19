//! The stop of a tracked execution.

use crate::pipelines::{Call, CallError, CallReply, Time};

use super::{
    TrackedExecution,
    presence::LAG,
    stop::{StopAnswer, StopFollows},
};
use crate::workflow::trouble::Trouble;

impl TrackedExecution {
    /// Whether somebody wants it stopped.
    pub fn stop_is_wanted(&self) -> bool {
        self.stop.is_wanted()
    }

    /// What AWS last said to its stop.
    pub fn stop_answer(&self) -> StopAnswer {
        self.stop.answer()
    }

    /// Whether its first stop is on its way.
    pub fn stop_is_fresh(&self) -> bool {
        self.stop.is_fresh()
    }

    /// Whether a stop is wanted that nothing has settled yet, and that has not begun.
    pub fn stop_is_unsettled(&self) -> bool {
        self.stop.is_wanted() && self.stop.answer() == StopAnswer::None && !self.is_stopping()
    }

    /// Why its stop is not taken.
    pub fn stop_trouble(&self) -> Option<&Trouble> {
        self.stop.trouble()
    }

    /// Wants it stopped; whether that is new.
    pub fn want_stop(&mut self, now: Time) -> bool {
        let new = !self.stop.is_wanted() && self.is_live();
        if new {
            self.stop.want(now);
        }
        new
    }

    /// A stop that waits for its next try has no time to wait; whether it does.
    pub fn hurry_stop(&mut self, now: Time) -> bool {
        self.stop.hurry(now)
    }

    /// The stop to send now, if its time has come, and whether it is the first. `began`: when this process did.
    pub fn next_stop(&mut self, began: Time, now: Time) -> Option<(Call, bool)> {
        let runs = self.is_running();
        self.stop.next(self.execution.arn.as_str(), runs, began, now)
    }

    /// Takes in what AWS said to a stop that left at `left`; `draining`: nobody is left to do anything later.
    pub fn stop_answered(
        &mut self,
        result: &Result<CallReply, CallError>,
        draining: bool,
        now: Time,
        left: Time,
    ) -> Option<StopFollows> {
        let just_started = self.started_at.is_some_and(|at| now.since(at) < LAG);
        self.stop.answered(result, just_started, draining, now, left)
    }
}
