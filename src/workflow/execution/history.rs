//! Whose an execution is and was: its attempt, and the end of an earlier one that it continues.

use std::time::Duration;

use crate::{
    pipelines::{Step, Time},
    workflow::{
        group::Group,
        marker::{Continues, Marker},
    },
};

/// Lists may show the end before a resume for so long, and for a moment describes may, too.
const LISTS_LAG: Duration = Duration::from_secs(60);
/// An end that may be the one before is looked at again after this long at the earliest.
const END_AGAIN: Duration = Duration::from_secs(2);

/// When an end is looked at again that may be the one before: after a moment, then less and less often.
fn look_again(since: Time, now: Time) -> Time {
    now.plus(now.since(since).max(END_AGAIN)).min(since.plus(LISTS_LAG))
}

/// What its markers and its steps have told of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct History {
    /// The attempt that the marker names, and its run of the workflow.
    attempt: u32,
    run: Option<Time>,
    /// Which end that attempt continues.
    continues: Option<Continues>,
    /// When the node that it was started for was first asked for, and the node's group.
    asked: Option<(Group, Time)>,
    /// When the describe left that told the marker, or we wrote it.
    told_at: Option<Time>,
    /// What its steps did up to its newest known end; absent where they could not be listed.
    ran: Option<Ran>,
    /// AWS has said that this end is resumed for its marker's attempt, or a describe has shown it live with that marker.
    taken: Option<Time>,
    /// LastModifiedTime of the describe that its end's steps were listed after.
    listed_at: Option<Time>,
    /// Another describe has to show the same before they are believed; when it last did.
    confirms: bool,
    confirmed_at: Option<Time>,
    /// Since when an end is shown although steps that have run on since the end before are open.
    open_since: Option<Time>,
    /// When this process heard that it was resumed, or saw that it was.
    resumed_at: Option<Time>,
    /// A describe has shown an end since: its steps tell whether that is another than the one before.
    end_shown: bool,
    /// What is done next depends on its steps.
    steps_decide: bool,
    /// Describes that left before this tell of an earlier moment.
    looks_from: Time,
}

/// What the steps of an ended execution did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The last time that stands in any of them; without steps, the creation.
    pub until: Time,
    /// When the last of those that have not ended began.
    open: Option<Time>,
}

impl Ran {
    fn through(steps: &[Step], created: Time) -> Self {
        let times = steps.iter().flat_map(|step| [step.started, step.ended]).flatten();
        let open = |step: &&Step| !matches!(step.status.as_str(), "Succeeded" | "Failed" | "Stopped");
        let began = steps.iter().filter(open).map(|step| step.started.unwrap_or(created));
        Self { until: times.max().unwrap_or(created), open: began.max() }
    }

    /// Whether one of them has not ended.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

impl History {
    /// Nothing is known but the attempt that it was started for.
    pub fn begun_for(attempt: u32) -> Self {
        Self { attempt, ..Self::default() }
    }

    /// Which end its marker's attempt continues.
    pub fn continued(&self) -> Option<Continues> {
        self.continues
    }

    /// When the node that it was started for was first asked for, as its markers have told.
    pub fn asked(&self) -> Option<(Group, Time)> {
        self.asked
    }

    /// Whether its marker's attempt goes on from an earlier one's end: it runs (`runs`), or something has run since that
    /// end. Where its steps cannot be listed, what is in doubt counts as run: another run costs money and another retry
    /// nothing.
    pub fn went_on(&self, runs: bool) -> bool {
        let Some(continues) = self.continues else { return false };
        let ran_since = || self.ran.is_none_or(|ran| ran.until > continues.end);
        runs || self.taken == Some(continues.end) || ran_since()
    }

    /// The end that its marker's attempt is to continue, and has not.
    pub fn left_to_continue(&self, runs: bool) -> Option<Continues> {
        self.continues.filter(|_| !self.went_on(runs))
    }

    /// The attempt that it runs for or that ended with it, and its run of the workflow.
    pub fn owner(&self, runs: bool) -> (u32, Option<Time>) {
        self.left_to_continue(runs).map_or((self.attempt, self.run), |continues| (continues.attempt, continues.run))
    }

    /// The attempt that it was started for.
    pub fn begun_by(&self) -> u32 {
        self.continues.map_or(self.attempt, |continues| continues.origin)
    }

    /// When it went on last, if it did.
    pub fn on_since(&self, runs: bool) -> Option<Time> {
        self.continues.filter(|_| self.went_on(runs)).map(|continues| continues.since)
    }

    /// When it ended, where its marker is of a resume that has not happened: writing that moved LastModifiedTime. A marker
    /// of another run than the end's says that it is an earlier run's, as whoever wrote it has found.
    pub fn end_before_marker(&self, runs: bool) -> Option<Time> {
        let continues = self.left_to_continue(runs)?;
        let earlier = continues.run.zip(self.run).is_some_and(|(its, ours)| its != ours);
        Some(if earlier { Time::at(i64::MIN) } else { continues.end })
    }

    /// Whether only its steps tell whose its end is.
    pub fn depends_on_steps(&self) -> bool {
        self.continues.is_some_and(|continues| self.taken != Some(continues.end))
    }

    /// Whether a failed listing of its steps is repeated for as long as it takes: something is decided by them.
    pub fn needs_steps(&self) -> bool {
        self.steps_decide || self.depends_on_steps()
    }

    /// What its steps did.
    pub fn what_ran(&self) -> Option<Ran> {
        self.ran
    }

    /// Whether lists may still show the end before its resume.
    pub fn went_on_just_now(&self, now: Time) -> bool {
        self.resumed_at.is_some_and(|at| now < at.plus(LISTS_LAG))
    }

    /// A describe shows an end: if that may be the one before its resume, it is not believed, and looked at again then.
    pub fn may_be_end_before(&mut self, now: Time) -> Option<Time> {
        let at = self.resumed_at.filter(|_| self.went_on_just_now(now))?;
        self.end_shown = true;
        // The minute has to pass where nothing has run since.
        Some(look_again(at, now))
    }

    /// Its steps were listed while it counts as running: whether they show that an end that was not believed is another.
    pub fn steps_show_new_end(&mut self, steps: &[Step], created: Option<Time>) -> bool {
        let ran = Ran::through(steps, created.unwrap_or_default());
        let newer = self.continues.is_some_and(|continues| ran.until > continues.end);
        let shown = self.end_shown && newer && !ran.is_open();
        if shown {
            (self.end_shown, self.resumed_at) = (false, None);
        }
        shown
    }

    /// Takes in a marker.
    pub fn read_marker(&mut self, marker: &Marker) {
        self.attempt = marker.attempt;
        self.run = marker.run;
        self.continues = marker.continues;
        self.asked = marker.asked;
    }

    /// Its marker is seen again; `left`: by a describe that left then. Lists lag, and the end that a marker continues is
    /// always later than the one of the marker before. Whether it is another marker.
    pub fn read_again(&mut self, marker: &Marker, left: Option<Time>) -> bool {
        let end = |continues: Option<Continues>| continues.map(|continues| continues.end);
        let newer = match left {
            // Just after a resume a describe may lag as well.
            Some(left) if self.went_on_just_now(left) && end(marker.continues) < end(self.continues) => false,
            Some(left) => self.told_at.is_none_or(|told| left >= told),
            None => self.told_at.is_none() || end(marker.continues) > end(self.continues),
        };
        if !newer {
            return false;
        }
        let other = marker.continues != self.continues;
        if other {
            // Two may continue one end, when the first came to nothing: what was taken was the first one's.
            self.taken = None;
        }
        self.read_marker(marker);
        self.told_at = left.or(self.told_at);
        other
    }

    /// AWS took this marker.
    pub fn wrote(&mut self, marker: &Marker, now: Time) {
        self.read_marker(marker);
        (self.told_at, self.taken) = (Some(now), None);
    }

    /// What its marker continues, if it is of this attempt and run, and continues this end.
    pub fn written_for(&self, attempt: u32, run: Option<Time>, end: Time) -> Option<Continues> {
        let same = self.attempt == attempt && self.run == run;
        self.continues.filter(|continues| same && continues.end == end)
    }

    /// AWS says that it goes on.
    pub fn goes_on(&mut self, now: Time) {
        self.shows_life();
        (self.resumed_at, self.end_shown) = (Some(now), false);
        self.steps_decide = false;
        self.look_from(now);
    }

    /// A describe shows it live whose end a describe has shown: it was resumed, by whomever.
    pub fn is_revived(&mut self, now: Time) {
        self.resumed_at = Some(now);
    }

    /// A describe shows it live: for its marker's attempt.
    pub fn shows_life(&mut self) {
        (self.confirmed_at, self.end_shown, self.open_since) = (None, false, None);
        self.taken = self.continues.map(|continues| continues.end).or(self.taken);
    }

    /// Only a describe that leaves from now on tells how the execution is.
    pub fn look_from(&mut self, now: Time) {
        self.confirmed_at = None;
        self.looks_from = now;
    }

    /// Something is decided by what its steps did.
    pub fn steps_will_decide(&mut self) {
        self.steps_decide = true;
    }

    /// Whether a describe that left then is of an earlier moment.
    pub fn is_before(&self, left: Time) -> bool {
        left < self.looks_from
    }

    /// Its end's steps are about to be listed, after a describe that showed this LastModifiedTime.
    pub fn steps_are_asked(&mut self, modified: Option<Time>) {
        self.ran = None;
        self.confirms = false;
        self.listed_at = modified;
    }

    /// Its end's steps were listed. Somebody may have resumed it between the describe and that, or just before, so that the
    /// describe still showed the end before: when another has to show the same end, because something is decided by them.
    pub fn steps_are_listed(&mut self, steps: &[Step], created: Option<Time>, now: Time) -> Option<Time> {
        let ran = Ran::through(steps, created.unwrap_or_default());
        self.ran = Some(ran);
        self.confirms = self.steps_decide || self.has_run_on(ran);
        let open = self.seems_to_run_on();
        self.open_since = open.then(|| self.open_since.unwrap_or(now));
        match self.open_since.filter(|since| now < since.plus(LISTS_LAG)) {
            Some(since) => {
                // What runs has not ended, and the same describe again would not tell more.
                self.confirms = false;
                Some(look_again(since, now))
            }
            None => self.confirms.then_some(now),
        }
    }

    /// Whether its steps have run on since the end that its marker continues; or whether one runs that began after the end
    /// that a describe showed before they were listed: whoever resumed it meanwhile is another, whose marker is not known yet.
    fn has_run_on(&self, ran: Ran) -> bool {
        let since_the_end_before = self.continues.is_some_and(|c| self.taken != Some(c.end) && ran.until > c.end);
        since_the_end_before || ran.open.zip(self.listed_at).is_some_and(|(began, end)| began > end)
    }

    /// Whether its steps have run on since, and one of them still does: what was taken for its end is the one before.
    pub fn seems_to_run_on(&self) -> bool {
        self.ran.is_some_and(|ran| ran.is_open() && self.has_run_on(ran))
    }

    /// Whether an end is shown of what seems to run.
    pub fn seems_to_run(&self) -> bool {
        self.open_since.is_some()
    }

    /// A describe shows its end with this LastModifiedTime: whether that is the one whose steps are known.
    pub fn is_confirmed(&mut self, modified: Option<Time>, now: Time) -> bool {
        let confirmed = std::mem::take(&mut self.confirms) && self.listed_at == modified;
        if confirmed {
            self.confirmed_at = Some(now);
        }
        confirmed
    }

    /// When a look, its steps and another look last showed the same end.
    pub fn last_confirmed(&self) -> Option<Time> {
        self.confirmed_at
    }
}
