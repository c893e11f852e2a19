//! One execution: what AWS has shown of it, and what that means.

use std::collections::BTreeMap;

use crate::pipelines::{Execution, Status, Step, Time};

use super::{
    key::Key,
    marker::{Marker, WhenOver},
    report,
    shown::Shown,
    slab::{AttemptId, PipelineId},
    trouble::Trouble,
};

mod aftermath;
mod history;
mod presence;
mod resuming;
mod steps;
mod stop;
mod stopping;

pub use aftermath::ToAsk;
pub use presence::Absence;
pub use steps::StepsFailed;
pub use stop::{STOP_LOOK, StopAnswer};

use aftermath::Aftermath;
use history::History;
use presence::Presence;
use steps::Steps;
use stop::Stop;

/// An execution that the workflow started, found or was told of.
#[derive(Debug)]
pub struct TrackedExecution {
    key: Key,
    /// Through which pipeline, and so by which client, it is asked after and stopped.
    pipeline: PipelineId,
    /// Of which it is: as it was started or found, whoever's role asks after it now.
    home: PipelineId,
    /// What becomes of it at the workflow's end when no node follows it.
    when_over: WhenOver,
    /// The digests of the arguments it was started with, and of what of them it keeps for good, as its marker says.
    args: Option<Box<str>>,
    work: Option<Box<str>>,
    /// Whose it is, of the attempts of its key, and was.
    history: History,
    /// This process has seen it execute: whatever it ends as, it ends in this run.
    witnessed: bool,
    /// Whoever started it instead of us, although it carries our marker; told once.
    stranger: Option<Box<str>>,
    /// Known only because a task named its ARN: nothing says yet that this workflow started it.
    foreign: bool,
    /// Nodes that were attached to it by its ARN, under whatever key, and whether they stop it.
    attached: BTreeMap<AttemptId, bool>,
    execution: Shown,
    /// When Start returned it to this process.
    started_at: Option<Time>,
    presence: Presence,
    /// A list shows it live although it has ended: until a describe tells, nothing of its key starts.
    doubted: bool,
    /// When it was first seen as far on its way as it is: an answer asked for before that is of an earlier moment.
    progressed_at: Time,
    describing: bool,
    /// The last look failed: not before this the next, whoever wants it.
    rests_until: Option<Time>,
    /// Why it cannot be looked at.
    trouble: Option<Box<Trouble>>,
    end: EndStage,
    steps: Steps,
    aftermath: Aftermath,
    stop: Stop,
}

/// What of an ended execution is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndStage {
    Live,
    /// A list showed its end; a describe must confirm it.
    Seen,
    /// Described; its steps are being listed.
    Listing,
    Known,
    /// Known and told; its steps were dropped and are listed again for whoever still asks.
    Told,
}

impl EndStage {
    /// Whether a describe has shown the end, and nothing is missing that could still change a decision.
    pub fn is_certain(self) -> bool {
        matches!(self, Self::Listing | Self::Known | Self::Told)
    }
}

/// What a look at an execution changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Observed {
    /// A list shows an earlier moment than what is known.
    Outdated,
    /// A describe shows an end that may be the one before its resume: its steps tell, and another look then.
    TooSoon(Time),
    News {
        /// It was not seen before.
        first: bool,
        was_live: bool,
        /// It runs, in another way than before.
        turned: bool,
        /// Somebody else started it, which was not known.
        stranger: Option<String>,
    },
}

impl TrackedExecution {
    /// An execution of this key and attempt that is not known yet.
    pub fn new(key: Key, attempt: u32, pipeline: PipelineId, execution: Shown, now: Time) -> Self {
        let live = execution.status.is_live();
        let stop_began = execution.modified.filter(|_| execution.status == Status::Stopping);
        Self {
            key,
            pipeline,
            home: pipeline,
            when_over: WhenOver::Leave,
            args: None,
            work: None,
            history: History::begun_for(attempt),
            witnessed: false,
            stranger: None,
            foreign: false,
            attached: BTreeMap::new(),
            execution,
            started_at: None,
            presence: Presence::seen(now),
            doubted: false,
            progressed_at: now,
            describing: false,
            rests_until: None,
            trouble: None,
            end: if live { EndStage::Live } else { EndStage::Seen },
            steps: Steps::default(),
            aftermath: Aftermath::default(),
            stop: Stop::new(stop_began),
        }
    }

    /// The key of the node that it belongs to.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Through which pipeline it is asked after and stopped.
    pub fn pipeline(&self) -> PipelineId {
        self.pipeline
    }

    /// The pipeline that it is an execution of.
    pub fn home(&self) -> PipelineId {
        self.home
    }

    /// As AWS showed it last.
    pub fn execution(&self) -> &Shown {
        &self.execution
    }

    /// Its ARN as AWS spells it.
    pub fn arn(&self) -> &str {
        self.execution.arn.as_str()
    }

    /// Its status as it was seen last.
    pub fn status(&self) -> &Status {
        &self.execution.status
    }

    /// Whether it can still change.
    pub fn is_live(&self) -> bool {
        self.execution.status.is_live()
    }

    /// Whether it is being stopped.
    pub fn is_stopping(&self) -> bool {
        self.execution.status == Status::Stopping
    }

    /// Whether it goes on unless it is stopped.
    pub fn is_running(&self) -> bool {
        self.is_live() && !self.is_stopping()
    }

    /// Whether it runs, or may.
    pub fn is_open(&self) -> bool {
        self.presence.gone().is_none() && (self.is_live() || self.seen().is_none())
    }

    /// What of its end is known.
    pub fn end(&self) -> EndStage {
        self.end
    }

    /// When Start returned it to this process.
    pub fn started_at(&self) -> Option<Time> {
        self.started_at
    }

    /// What becomes of it at the workflow's end when no node follows it.
    pub fn when_over(&self) -> WhenOver {
        self.when_over
    }

    /// The digest of the arguments in its marker.
    pub fn args(&self) -> Option<&str> {
        self.args.as_deref()
    }

    /// Whether only a task's word names it.
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Whether a list contradicts what is known of it.
    pub fn is_doubted(&self) -> bool {
        self.doubted
    }

    /// Whether a describe is on its way.
    pub fn is_described(&self) -> bool {
        self.describing
    }

    /// Why it cannot be looked at.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_deref()
    }

    /// Why it cannot be stopped, else why it cannot be looked at.
    pub fn any_trouble(&self) -> Option<&Trouble> {
        self.stop.trouble().or(self.trouble.as_deref())
    }

    /// The nodes that were attached to it by its ARN.
    pub fn attached(&self) -> impl Iterator<Item = AttemptId> {
        self.attached.keys().copied()
    }

    /// Whether "everything" takes it in: not what a node was only attached to, unless its `on_stop` says so.
    pub fn is_ours_to_stop(&self) -> bool {
        !self.foreign || self.attached.values().any(|stops| *stops)
    }

    /// Whether lists do not say when it ended or its stop began, and that matters.
    pub fn is_vague(&self) -> bool {
        let matters = !matches!(self.execution.status, Status::Executing | Status::Succeeded);
        matters && self.execution.modified.is_none() && self.presence.gone().is_none()
    }

    /// What its node is told of a marker that is not ours.
    pub fn warning(&self) -> Option<String> {
        let who = self.stranger.as_deref()?.rsplit('/').next()?;
        Some(format!("its marker is this node's, but {} started it in Studio", report::fit(who, 63)))
    }

    /// A node is attached to it; `stops`: and stops it.
    pub fn attach(&mut self, node: AttemptId, stops: bool) {
        self.attached.insert(node, stops);
    }

    /// Takes in what its marker says of whose it is.
    pub fn learn(&mut self, marker: &Marker) {
        self.key = marker.key;
        self.when_over = marker.when_over;
        self.foreign = false;
        self.history.read_marker(marker);
    }

    /// Its marker says what it was started with.
    pub fn learn_args(&mut self, marker: &Marker) {
        self.args = Some(marker.args.as_str().into());
        self.work = marker.work.as_deref().map(Into::into);
    }

    /// It was started of this pipeline, or found in its list.
    pub fn is_of(&mut self, pipeline: PipelineId) {
        self.home = pipeline;
    }

    /// Nothing but a task's word is known of it.
    pub fn is_named_only(&mut self) {
        self.presence = Presence::default();
        self.foreign = true;
    }

    /// Start returned it. The token may have found an older execution: only a describe tells.
    pub fn was_started(&mut self, when_over: WhenOver, now: Time) {
        self.presence = Presence::default();
        self.started_at = Some(now);
        self.when_over = when_over;
    }

    /// It is asked after and stopped through another client from now on.
    pub fn hand_over(&mut self, to: PipelineId) {
        self.pipeline = to;
    }

    /// A node wants to be sure of its end before it starts another: by a describe that leaves from now on.
    pub fn doubt_end(&mut self, now: Time) {
        self.end = EndStage::Seen;
        self.history.look_from(now);
    }

    /// The last look failed: until this time there is no other.
    pub fn rest(&mut self, until: Time) {
        self.rests_until = Some(until);
    }

    /// Until when it is not to be looked at.
    pub fn rests(&self, now: Time) -> Option<Time> {
        self.rests_until.filter(|at| *at > now)
    }

    /// A describe leaves; whether none was on its way.
    pub fn begin_describe(&mut self) -> bool {
        !std::mem::replace(&mut self.describing, true)
    }

    /// The describe came back.
    pub fn describe_came_back(&mut self) {
        self.describing = false;
    }

    /// A look failed.
    pub fn in_trouble(&mut self, text: &str, denied: bool, left: Time) {
        Trouble::extend(&mut self.trouble, text, denied, left);
    }

    /// Whether a describe that left then and shows this is of an earlier moment than what is known by now.
    pub fn is_outdated(&self, left: Time, status: &Status) -> bool {
        let earlier = left < self.progressed_at && rank(status) < rank(&self.execution.status);
        earlier || self.history.is_before(left)
    }

    /// Takes in what a describe (`described`, which left at `left`) or a list says of it.
    pub fn observe(&mut self, shown: Execution, described: bool, now: Time, left: Time) -> Observed {
        let was_live = self.is_live();
        let was_stopping = self.is_stopping();
        let goes_back = rank(&shown.status) < rank(&self.execution.status);
        let first = !self.presence.see(now);
        // A list may show for long what a describe no longer finds.
        self.rests_until = self.rests_until.filter(|_| !described);
        self.trouble = None;
        // A list may show for a while the end that was resumed, and so may a describe for a moment.
        let end_before = matches!(shown.status, Status::Failed | Status::Stopped) && was_live;
        if !described && (goes_back || end_before && self.history.went_on_just_now(now)) {
            return Observed::Outdated;
        }
        if end_before && let Some(again_at) = self.history.may_be_end_before(now) {
            return Observed::TooSoon(again_at);
        }
        self.doubted = false;
        let live = shown.status.is_live();
        let same = self.execution.status == shown.status;
        if rank(&shown.status) > rank(&self.execution.status) {
            self.progressed_at = now;
        }
        self.execution.is_spelled(&shown.arn);
        self.execution.status = shown.status;
        self.witnessed |= described && self.is_running();
        let marker = shown.description.as_deref().and_then(Marker::parse);
        if let Some(marker) = marker.filter(|marker| marker.key == self.key) {
            if self.history.read_again(&marker, described.then_some(left)) {
                self.learn_args(&marker);
                if !live && self.history.seems_to_run_on() {
                    // Its steps were listed before it was known that somebody has resumed it.
                    self.doubt_end(now);
                }
            } else if self.work.is_none() && matches!(self.execution.status, Status::Failed | Status::Stopped) {
                // Only what may be resumed is asked for it: ten thousand live ones count.
                self.work = marker.work.as_deref().map(Into::into);
            }
        }
        if described && live {
            self.history.shows_life();
            // Only describes tell when something ended.
            if !was_live && self.execution.modified.is_some() {
                self.history.is_revived(now);
            }
        }
        self.execution.created = shown.created.or(self.execution.created);
        let stranger = shown.started_by.filter(|_| !self.foreign && self.stranger.is_none());
        self.stranger = self.stranger.take().or_else(|| stranger.as_deref().map(Into::into));
        // Lists do not say when a status changed: what was known belongs to the status before.
        self.execution.modified = shown.modified.or(self.execution.modified.filter(|_| described || same));
        let resumed = described && was_stopping && self.execution.status == Status::Executing;
        if live && (!was_live || resumed) {
            self.stop.revived();
        }
        match self.execution.status {
            Status::Stopping => self.stop.has_begun(self.execution.modified),
            // Revived in the console: that stop is history.
            Status::Executing => self.stop.is_history(),
            _ => {}
        }
        if shown.failure_reason.is_some() {
            self.execution.failure_reason = shown.failure_reason.map(Into::into);
        }
        self.end = match self.end {
            _ if live => EndStage::Live,
            EndStage::Live => EndStage::Seen,
            known => known,
        };
        Observed::News { first, was_live, turned: !same && live, stranger }
    }

    /// Lists lag: what one shows of an earlier moment undoes nothing. Only a describe tells of a revival, and for that it
    /// is asked (`true`) once lists have had the time to show the end; `None`: there is nothing to ask.
    pub fn doubt(&mut self, lists_lag: std::time::Duration, now: Time, server_now: Time) -> Option<bool> {
        let just_ended = self.execution.modified.is_some_and(|end| server_now.since(end) < lists_lag);
        if self.is_live() {
            // Stopped and retried between two looks, perhaps.
            return Some(now.since(self.progressed_at) >= lists_lag || self.history.went_on_just_now(now));
        }
        if self.end == EndStage::Seen && self.history.seems_to_run() {
            return Some(true);
        }
        let asks = !just_ended && self.end != EndStage::Seen;
        if asks {
            self.end = EndStage::Seen;
            self.doubted = true;
        }
        asks.then_some(true)
    }

    /// How much is held of its steps and of what was asked about their jobs.
    pub fn holds(&self) -> usize {
        self.steps().map_or(0, <[_]>::len) + self.aftermath.len()
    }

    /// Its steps, as far as they were listed.
    pub fn steps(&self) -> Option<&[Step]> {
        self.steps.listed()
    }
}

/// How far on its way an execution is.
fn rank(status: &Status) -> u8 {
    match status {
        Status::Executing | Status::Unknown(_) => 0,
        Status::Stopping => 1,
        Status::Stopped | Status::Failed | Status::Succeeded | Status::CompletedWithFailures => 2,
    }
}
