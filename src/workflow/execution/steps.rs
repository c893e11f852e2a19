//! The steps of an execution: now and then while it runs, once for its end, and not kept longer than needed.

use std::time::Duration;

use crate::{
    pipelines::{CallError, Step, Time},
    workflow::{
        effects::backoff,
        notes::Ended,
        trouble::{CallSite, Disposition, disposition},
    },
};

use super::{EndStage, TrackedExecution};

/// Steps of a running execution are listed this often.
const STEPS_EVERY: Duration = Duration::from_secs(30);
/// An end is told without its steps after so many failed listings.
const STEPS_TRIES: u32 = 4;

/// What is known of them.
#[derive(Debug, Default)]
pub struct Steps {
    /// Dropped when the last node that needs them has ended: twenty take 12 KiB.
    listed: Option<Vec<Step>>,
    /// When they were last asked for.
    asked_at: Time,
    /// The pages so far of the listing under way.
    pages: Option<Vec<Step>>,
    /// Counts the listings: an answer to an earlier one, begun while the execution still ran, says nothing of its end.
    listing: u32,
    tries: u32,
}

impl Steps {
    /// All of them, if they were listed.
    pub fn listed(&self) -> Option<&[Step]> {
        self.listed.as_deref()
    }

    /// They are not needed any more.
    pub fn forget(&mut self) {
        (self.listed, self.pages) = (None, None);
    }
}

impl TrackedExecution {
    /// Whether they are to be listed while it runs.
    pub fn steps_are_due(&self, now: Time) -> bool {
        now.since(self.steps.asked_at) >= STEPS_EVERY
    }

    /// Whether its end waits for a listing that is not under way.
    pub fn steps_are_wanted(&self) -> bool {
        self.end == EndStage::Listing && self.steps.pages.is_none()
    }

    /// Its end was described: what was listed while it ran is no longer true.
    pub fn explain(&mut self) {
        self.end = EndStage::Listing;
        self.steps.tries = 0;
        self.steps.forget();
        self.history.steps_are_asked(self.execution.modified);
        self.aftermath.forget();
    }

    /// Steps are asked for, from the first page on; the listing's number, unless one is under way.
    pub fn begin_steps(&mut self, now: Time) -> Option<u32> {
        if self.steps.pages.is_some() {
            return None;
        }
        self.steps.pages = Some(Vec::new());
        self.steps.listing += 1;
        self.steps.asked_at = now;
        Some(self.steps.listing)
    }

    /// Whether an answer belongs to the newest listing. Another was begun before the execution ended, or was revived: the
    /// one that counts is under way.
    pub fn is_newest_listing(&self, listing: u32) -> bool {
        self.steps.listing == listing
    }

    /// The newest listing's number: what is asked about its steps is asked about them alone.
    pub fn listing(&self) -> u32 {
        self.steps.listing
    }

    /// Takes in a page of them; `last`: there are no more. Whether they show that it has ended, and only a describe is
    /// missing.
    pub fn steps_came(&mut self, page: Vec<Step>, last: bool, now: Time) -> bool {
        self.steps.pages.get_or_insert_default().extend(page);
        self.steps.asked_at = now;
        if !last {
            return false;
        }
        self.steps.listed = self.steps.pages.take();
        let (steps, created) = (self.steps.listed.as_deref().unwrap_or_default(), self.execution.created);
        match self.end {
            EndStage::Listing => {
                self.end = EndStage::Known;
                if let Some(again_at) = self.history.steps_are_listed(steps, created, now) {
                    self.doubt_end(now);
                    self.rest(again_at);
                }
                false
            }
            EndStage::Live => {
                let ended = self.history.steps_show_new_end(steps, created);
                self.rests_until = self.rests_until.filter(|_| !ended);
                ended
            }
            EndStage::Seen | EndStage::Known | EndStage::Told => false,
        }
    }

    /// Takes in that they could not be listed: when the end's are to be asked for again, or that it has to do without.
    pub fn steps_failed(&mut self, error: &CallError, now: Time) -> StepsFailed {
        self.steps.pages = None;
        self.steps.tries += 1;
        if self.end != EndStage::Listing {
            return StepsFailed::NoMatter;
        }
        let hopeless = disposition(error.kind, CallSite::Steps) == Disposition::Without;
        if hopeless || (self.steps.tries >= STEPS_TRIES && !self.history.needs_steps()) {
            self.end = EndStage::Known;
            return StepsFailed::WithoutThem;
        }
        StepsFailed::AgainAt(now.plus(backoff(self.steps.tries - 1, Duration::from_secs(10))))
    }

    /// How it ended, once that is confirmed; `ours` tells our time of AWS's.
    pub fn explained(&self, ours: impl Fn(Time) -> Time) -> Option<Ended> {
        let execution = (self.end == EndStage::Known).then_some(&self.execution)?;
        Some(Ended {
            status: execution.status.clone(),
            ran: execution.modified.zip(self.began()).map(|(end, start)| end.since(start)),
            at: execution.modified.map(ours),
            steps: self.steps.listed().unwrap_or_default().iter().map(|s| (s.kind.clone(), s.status.clone())).collect(),
        })
    }

    /// Nobody waits for the steps of this ended execution any more.
    pub fn drop_steps(&mut self) {
        match self.end {
            EndStage::Known => {
                self.steps.listed = None;
                self.aftermath.forget();
                self.end = EndStage::Told;
            }
            // What was listed while it ran, or asked of an end that has to be looked at again.
            EndStage::Seen => {
                self.steps.forget();
                self.aftermath.forget();
            }
            EndStage::Live | EndStage::Listing | EndStage::Told => {}
        }
    }
}

/// What a failed listing of steps leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepsFailed {
    NoMatter,
    AgainAt(Time),
    /// The end is told without them.
    WithoutThem,
}
