//! An execution that goes on under its ARN after it has ended: whose it is now, as its marker and its steps tell.

use std::time::Duration;

use crate::{
    pipelines::{Status, Step, Time},
    workflow::{
        key::Key,
        marker::{Continues, Marker},
    },
};

use super::{EndStage, TrackedExecution, presence::Presence};

/// Lists may show the end before a resume for so long.
const LISTS_LAG: Duration = Duration::from_secs(60);

/// Whose it is, besides what it was started for.
#[derive(Clone, Copy, Debug, Default)]
pub struct History {
    /// Which end the attempt continues that the marker names.
    continues: Option<Continues>,
    /// When the describe left that told the marker, or we wrote it.
    told_at: Option<Time>,
    /// What its steps did up to its newest known end; absent where they could not be listed.
    ran: Option<Ran>,
    /// AWS has said that this end is resumed, or a describe has shown it live with a marker that continues this end.
    taken: Option<Time>,
    /// LastModifiedTime of the describe that its end's steps were listed after.
    listed_at: Option<Time>,
    /// Another describe has to show the same before they are believed; when it last did.
    confirms: bool,
    confirmed_at: Option<Time>,
    /// When this process heard so.
    resumed_at: Option<Time>,
    /// What is done next depends on its steps.
    steps_decide: bool,
    /// Describes that left before this tell of an earlier moment.
    looks_from: Time,
}

impl History {
    /// Only a describe that leaves from now on tells how the execution is.
    pub fn look_from(&mut self, now: Time) {
        self.confirmed_at = None;
        self.looks_from = now;
    }

    /// Whether a describe that left then is of an earlier moment.
    pub fn is_before(&self, left: Time) -> bool {
        left < self.looks_from
    }
}

/// What the steps of an ended execution did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The last time that stands in any of them; without steps, the creation.
    pub until: Time,
    /// One of them has not ended.
    pub open: bool,
}

impl Ran {
    fn of(steps: &[Step], created: Time) -> Self {
        let times = steps.iter().flat_map(|step| [step.started, step.ended]).flatten();
        let open = |step: &Step| !matches!(step.status.as_str(), "Succeeded" | "Failed" | "Stopped");
        Self { until: times.max().unwrap_or(created), open: steps.iter().any(open) }
    }
}

impl TrackedExecution {
    /// The attempt that it runs for, or that ended with it.
    pub fn attempt(&self) -> u32 {
        self.awaits_resume().map_or(self.attempt, |continues| continues.attempt)
    }

    /// The attempt that it was started for.
    pub fn origin(&self) -> u32 {
        self.history.continues.map_or(self.attempt, |continues| continues.origin)
    }

    /// Which run of the workflow that attempt is of.
    pub fn run(&self) -> Option<Time> {
        self.awaits_resume().map_or(self.run, |continues| continues.run)
    }

    /// When the attempt began that it runs for: at its creation, or when it was resumed.
    pub fn began(&self) -> Option<Time> {
        let resumed = self.history.continues.filter(|_| self.is_resumed());
        resumed.map(|continues| continues.since).or(self.execution.created)
    }

    /// Whether its marker's attempt continues an earlier one's end: it runs, or something has run since that end. Where
    /// its steps cannot be listed, what is in doubt counts as run: another run costs money and another retry nothing.
    pub fn is_resumed(&self) -> bool {
        let Some(continues) = self.history.continues else { return false };
        let ran_since = || self.history.ran.is_none_or(|ran| ran.until > continues.end);
        self.is_live() || self.history.taken == Some(continues.end) || ran_since()
    }

    /// The end that its marker's attempt is to continue, and has not.
    pub fn awaits_resume(&self) -> Option<Continues> {
        self.history.continues.filter(|_| !self.is_resumed())
    }

    /// When it ended, where its marker is of a resume that has not happened: writing that moved LastModifiedTime. A marker
    /// of another run than the end's says that it is an earlier run's, as whoever wrote it has found.
    pub(super) fn end_awaiting_resume(&self) -> Option<Time> {
        let continues = self.awaits_resume()?;
        let earlier = continues.run.zip(self.run).is_some_and(|(its, ours)| its != ours);
        Some(if earlier { Time(i64::MIN) } else { continues.end })
    }

    /// The attempt whose end it continues.
    pub fn resumed_after(&self) -> Option<u32> {
        self.history.continues.filter(|_| self.is_resumed()).map(|continues| continues.attempt)
    }

    /// Whether it has ended, and only its steps tell whose end that is.
    pub fn is_undecided(&self) -> bool {
        let Some(continues) = self.history.continues else { return false };
        let known = matches!(self.end, EndStage::Known | EndStage::Told);
        !self.is_live() && self.gone().is_none() && self.history.taken != Some(continues.end) && !known
    }

    /// Whether a failed listing of its steps is repeated for as long as it takes: something is decided by them.
    pub(super) fn decides_by_steps(&self) -> bool {
        let untold = |continues: Continues| self.history.taken != Some(continues.end);
        self.history.steps_decide || self.history.continues.is_some_and(untold)
    }

    /// What its steps did up to its end, where that is known.
    pub fn ran(&self) -> Option<Ran> {
        self.history.ran.filter(|_| matches!(self.end, EndStage::Known | EndStage::Told))
    }

    /// The digest of what it keeps for good, as its marker says.
    pub fn work(&self) -> Option<&str> {
        self.work.as_deref()
    }

    /// Whether lists may still show the end before its resume.
    pub(super) fn is_just_resumed(&self, now: Time) -> bool {
        self.is_live() && self.history.resumed_at.is_some_and(|at| now < at.plus(LISTS_LAG))
    }

    /// Its end's steps are about to be listed.
    pub(super) fn forget_what_ran(&mut self) {
        self.history.ran = None;
        self.history.confirms = false;
        self.history.listed_at = self.execution.modified;
    }

    /// Its end's steps were listed. Somebody may have resumed it between the describe and that: where something is decided
    /// by them, another describe has to show the same end.
    pub(super) fn learn_what_ran(&mut self, now: Time) {
        let created = self.execution.created.unwrap_or_default();
        self.history.ran = self.steps.listed().map(|steps| Ran::of(steps, created));
        let History { continues, ran, taken, steps_decide, .. } = self.history;
        let ran_on = continues.zip(ran).is_some_and(|(c, ran)| taken != Some(c.end) && ran.until > c.end);
        if steps_decide || ran_on {
            self.history.confirms = true;
            self.doubt_end(now);
        }
    }

    /// A describe shows its end: whether that is the one whose steps are known, so that they need not be listed again.
    pub fn confirms_end(&mut self, now: Time) -> bool {
        let confirmed = std::mem::take(&mut self.history.confirms) && self.history.listed_at == self.execution.modified;
        if confirmed {
            self.history.confirmed_at = Some(now);
            self.end = if self.steps.listed().is_some() { EndStage::Known } else { EndStage::Told };
        }
        confirmed
    }

    /// When a look, its steps and another look last showed the same end.
    pub fn confirmed_at(&self) -> Option<Time> {
        self.history.confirmed_at.filter(|_| !self.is_live())
    }

    /// A describe shows it live: for its marker's attempt.
    pub(super) fn is_seen_live(&mut self) {
        self.history.confirmed_at = None;
        self.history.taken = self.history.continues.map(|continues| continues.end).or(self.history.taken);
    }

    pub(super) fn learn_attempt(&mut self, marker: &Marker) {
        self.attempt = marker.attempt;
        self.run = marker.run;
        self.history.continues = marker.continues;
    }

    /// Its marker is seen again; `left`: by a describe that left then. Lists lag, and the end that a marker continues is
    /// always later than the one of the marker before.
    pub(super) fn learn_again(&mut self, marker: &Marker, left: Option<Time>) {
        let end = |continues: Option<Continues>| continues.map(|continues| continues.end);
        let newer = match left {
            Some(left) => self.history.told_at.is_none_or(|told| left >= told),
            None => self.history.told_at.is_none() || end(marker.continues) > end(self.history.continues),
        };
        if !newer {
            return;
        }
        if marker.continues != self.history.continues {
            self.learn_args(marker);
        } else if matches!(self.execution.status, Status::Failed | Status::Stopped) && self.work.is_none() {
            // Only what may be resumed is asked for it: ten thousand live ones count.
            self.work = marker.work.as_deref().map(Into::into);
        }
        self.learn_attempt(marker);
        self.history.told_at = left.or(self.history.told_at);
    }

    /// Its end, and what its steps did up to it, are looked at once more before it is resumed.
    pub fn look_afresh(&mut self, now: Time) {
        self.doubt_end(now);
        self.history.steps_decide = true;
    }

    /// The marker of a resume that is to come, for this end: that of an attempt that wrote it before is the same again.
    pub fn marked_for(&self, key: Key, attempt: u32, run: Option<Time>, end: Time) -> Option<Continues> {
        let same = self.key == key && self.attempt == attempt && self.run == run;
        self.history.continues.filter(|continues| same && continues.end == end)
    }

    /// AWS took this marker.
    pub fn was_marked(&mut self, marker: &Marker, now: Time) {
        self.learn(marker);
        self.learn_args(marker);
        self.history.told_at = Some(now);
    }

    /// AWS says that it goes on for its marker's attempt: now, or since a repeat's first try. Only a describe tells.
    pub fn was_resumed(&mut self, now: Time) {
        self.history.taken = self.history.continues.map(|continues| continues.end);
        self.history.resumed_at = Some(now);
        self.history.look_from(now);
        self.history.steps_decide = false;
        self.execution.status = Status::Executing;
        self.execution.modified = None;
        self.execution.failure_reason = None;
        self.presence = Presence::default();
        self.started_at = Some(now);
        self.progressed_at = now;
        self.doubted = false;
        self.end = EndStage::Live;
        self.steps.forget();
        self.stop.revived();
        self.stop.is_history();
    }
}
