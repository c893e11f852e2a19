//! Stopping executions.

use crate::{
    pace::Urgency,
    pipelines::{CallError, CallReply},
    workflow::{
        effects::{Change, Effects, Purpose, Timer, Whose},
        execution::STOP_LOOK,
        notes::Note,
        pipeline::Pipelines,
        slab::ExecutionId,
    },
};

use super::Executions;

impl Executions {
    /// Wants an execution stopped; once is enough.
    pub fn want_stop(&mut self, id: ExecutionId, fx: &mut Effects, pipelines: &Pipelines) {
        if self.all[id].want_stop(fx.now()) {
            self.send_stop(id, fx, pipelines);
        }
    }

    /// Sends a wanted stop when its time has come.
    fn send_stop(&mut self, id: ExecutionId, fx: &mut Effects, pipelines: &Pipelines) {
        let Some((call, first)) = self.all[id].next_stop(fx.began(), fx.now()) else { return };
        let client = pipelines[self.all[id].pipeline()].client();
        let sent = fx.call(Urgency::Stop, client, call, Purpose::Stop(id));
        if first {
            fx.first_stop(sent);
        }
    }

    /// Takes in what AWS said to a stop.
    pub fn stop_answered(
        &mut self,
        id: ExecutionId,
        result: Result<CallReply, CallError>,
        draining: bool,
        fx: &mut Effects,
    ) {
        let tracked = &mut self.all[id];
        let arn = tracked.arn().to_owned();
        let Some(follows) = tracked.stop_answered(&result, draining, fx.now(), fx.left()) else { return };
        fx.wake(follows.again_at, Timer::Execution(id));
        fx.note(Note::StopRequested { arn: arn.clone(), ok: result.is_ok() });
        if let Err(error) = result {
            fx.warn(format!("stopping {arn}: {}", error.message));
        }
        if follows.look {
            self.look_at(id, fx.now().plus(STOP_LOOK), fx);
        }
        fx.changed(Change::Execution { id, ended: false, whose: Whose::Followers });
    }

    /// An execution's own timer: steps that must be listed again, a stop that must be sent again.
    pub fn woken(&mut self, id: ExecutionId, fx: &mut Effects, pipelines: &Pipelines) {
        if self.all[id].steps_are_wanted() {
            self.list_steps(id, fx, pipelines);
        }
        self.send_stop(id, fx, pipelines);
    }

    /// The process ends: stops that wait for their next try have no time to wait.
    pub fn hurry_stops(&mut self, fx: &mut Effects, pipelines: &Pipelines) {
        for id in self.all.ids() {
            if self.all[id].hurry_stop(fx.now()) {
                self.send_stop(id, fx, pipelines);
            }
        }
    }

    /// Whether a stop that is wanted is not settled.
    pub fn stops_are_open(&self) -> bool {
        self.live().any(|id| self.all[id].stop_is_unsettled())
    }
}
