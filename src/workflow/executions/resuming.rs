//! Executions that go on after they have ended.

use std::time::Duration;

use crate::workflow::{
    effects::{Change, Effects, Whose},
    identity::Marker,
    notes::Note,
    pipeline::Pipelines,
    slab::ExecutionId,
};

use super::Executions;

impl Executions {
    /// An ended execution is looked at before it is resumed: whether it has ended, and what its steps did.
    pub fn look_afresh(&mut self, id: ExecutionId, fx: &mut Effects, pipelines: &Pipelines) {
        self.all[id].look_afresh(fx.now());
        self.describe(id, fx, pipelines);
    }

    /// The same after a moment: what is on its way shows by then.
    pub fn look_afresh_after(&mut self, id: ExecutionId, wait: Duration, fx: &mut Effects) {
        self.all[id].look_afresh(fx.now());
        self.rest(id, wait, fx);
    }

    /// AWS took the marker of a resume that is to come.
    pub fn marked(&mut self, id: ExecutionId, marker: &Marker, fx: &Effects) {
        self.all[id].was_marked(marker, fx.now());
    }

    /// AWS says that an execution goes on: it lives again, and is looked at.
    pub fn resumed(&mut self, id: ExecutionId, fx: &mut Effects) {
        self.all[id].was_resumed(fx.now());
        let (arn, pipeline) = (self.all[id].arn().to_owned(), self.all[id].pipeline());
        self.polls(pipeline).lives(id, false);
        self.look_at(id, fx.now(), fx);
        fx.note(Note::ExecutionResumed { arn });
        fx.changed(Change::Execution { id, ended: false, whose: Whose::Key });
    }
}
