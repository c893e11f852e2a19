//! Asking what an end needs to be told in full.

use crate::{
    pace::Urgency,
    pipelines::{CallError, CallReply, Time},
    results::Wanted,
    workflow::{
        effects::{Change, Effects, Purpose, Whose},
        execution::ToAsk,
        notes::Note,
        pipeline::Pipelines,
        slab::ExecutionId,
    },
};

use super::Executions;

impl Executions {
    /// Asks what somebody wants of a known end and nobody has asked yet. When to look again; `None`: all is answered, or done
    /// without.
    pub fn ask_aftermath(
        &mut self,
        id: ExecutionId,
        wanted: &Wanted,
        fx: &mut Effects,
        pipelines: &Pipelines,
    ) -> Option<Time> {
        let ToAsk { calls, again_at } = self.all[id].ask(wanted, fx.settings().logs, fx.now());
        let (listing, pipeline) = (self.all[id].listing(), self.all[id].pipeline());
        for (place, call) in calls {
            // As patient as a poll: what still runs, and whoever starts, goes before.
            let purpose = Purpose::Aftermath { execution: id, listing, place };
            pipelines.call(Urgency::Poll, pipeline, call, purpose, fx);
        }
        again_at
    }

    /// Takes in what was answered to the question at this place about the steps of this listing.
    pub fn aftermath_answered(
        &mut self,
        id: ExecutionId,
        (listing, place): (u32, usize),
        result: Result<CallReply, CallError>,
        fx: &mut Effects,
    ) {
        let tracked = &mut self.all[id];
        if !tracked.is_newest_listing(listing) {
            return;
        }
        if let Some(log) = tracked.answered(place, result, fx.now()) {
            fx.note(Note::JobLog { arn: tracked.arn().to_owned(), log });
        }
        fx.changed(Change::Execution { id, ended: false, whose: Whose::Followers });
    }
}
