//! An execution that goes on under its ARN after it has ended.

use crate::{
    pipelines::{Status, Time},
    workflow::{
        group::Group,
        key::{Key, arn_key},
        known::Known,
        marker::{Continues, Marker},
    },
};

use super::{EndStage, TrackedExecution, history::Ran, presence::Presence};

impl TrackedExecution {
    /// As the table of decisions looks at it. `server_now`: now, by AWS's clock.
    pub fn known(&self, server_now: Time) -> Known {
        let runs = self.is_live();
        let (attempt, run) = self.history.owner(runs);
        let created = self.began().unwrap_or(server_now);
        let modified = self.stop.began().or(self.execution.modified).unwrap_or(created);
        Known {
            arn: arn_key(self.arn()),
            attempt,
            origin: self.history.begun_by(),
            status: self.execution.status.clone(),
            created,
            modified: self.history.end_before_marker(runs).unwrap_or(modified),
            run,
            witnessed: self.witnessed,
            resumed: self.history.went_on(runs),
            same_pipeline: true,
        }
    }

    /// The attempt that it runs for, or that ended with it.
    pub fn attempt(&self) -> u32 {
        self.history.owner(self.is_live()).0
    }

    /// Which run of the workflow that attempt is of.
    pub fn run(&self) -> Option<Time> {
        self.history.owner(self.is_live()).1
    }

    /// The attempt that it was started for.
    pub fn origin(&self) -> u32 {
        self.history.begun_by()
    }

    /// When the node that it was started for was first asked for, and the node's group.
    pub fn asked(&self) -> Option<(Group, Time)> {
        self.history.asked()
    }

    /// When the attempt began that it runs for: at its creation, or when it was resumed.
    pub fn began(&self) -> Option<Time> {
        self.history.on_since(self.is_live()).or(self.execution.created)
    }

    /// The attempt whose end it continues.
    pub fn resumed_after(&self) -> Option<u32> {
        self.history.continued().filter(|_| self.history.went_on(self.is_live())).map(|continues| continues.attempt)
    }

    /// The end that its marker's attempt is to continue, and has not.
    pub fn awaits_resume(&self) -> Option<Continues> {
        self.history.left_to_continue(self.is_live())
    }

    fn end_is_known(&self) -> bool {
        matches!(self.end, EndStage::Known | EndStage::Told)
    }

    /// Whether it has ended, and only its steps tell whose end that is.
    pub fn is_undecided(&self) -> bool {
        !self.is_live() && self.gone().is_none() && self.history.depends_on_steps() && !self.end_is_known()
    }

    /// What its steps did up to its end, where that is known.
    pub fn ran(&self) -> Option<Ran> {
        self.history.what_ran().filter(|_| self.end_is_known())
    }

    /// The digest of what it keeps for good, as its marker says.
    pub fn work(&self) -> Option<&str> {
        self.work.as_deref()
    }

    /// A describe shows its end: whether that is the one whose steps are known, so that they need not be listed again.
    pub fn confirms_end(&mut self, now: Time) -> bool {
        let confirmed = self.history.is_confirmed(self.execution.modified, now);
        if confirmed {
            self.end = if self.steps().is_some() { EndStage::Known } else { EndStage::Told };
        }
        confirmed
    }

    /// When a look, its steps and another look last showed the same end.
    pub fn confirmed_at(&self) -> Option<Time> {
        self.history.last_confirmed().filter(|_| !self.is_live())
    }

    /// Its end, and what its steps did up to it, are looked at once more before it is resumed.
    pub fn look_afresh(&mut self, now: Time) {
        self.doubt_end(now);
        self.history.steps_will_decide();
    }

    /// The marker of a resume that is to come, for this end: that of an attempt that wrote it before is the same again.
    pub fn marked_for(&self, key: Key, attempt: u32, run: Option<Time>, end: Time) -> Option<Continues> {
        self.history.written_for(attempt, run, end).filter(|_| self.key == key)
    }

    /// AWS took this marker.
    pub fn was_marked(&mut self, marker: &Marker, now: Time) {
        self.learn(marker);
        self.learn_args(marker);
        self.history.wrote(marker, now);
    }

    /// AWS says that it goes on for its marker's attempt: now, or since a repeat's first try. Only a describe tells.
    pub fn was_resumed(&mut self, now: Time) {
        self.history.goes_on(now);
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
