//! Continuing the execution that ended instead of starting another: look, mark, retry.
//!
//! ```text
//!   queue ──turn──▶ Looking ──describe, steps──▶ Marking ──UpdatePipelineExecution──▶ Retrying ──RetryPipelineExecution──▶ Following
//!     ▲                │ lives, or may not be            │ refused, denied                 │ outcome unknown
//!     └────────────────┴──────── the table decides ◀─────┴───────── another look ◀─────────┘
//! ```
//!
//! The look says which end it is that is continued: everything that is written and sent follows from it, so whoever does it
//! again, after a crash or in another pod, writes and sends the same. Whether a resume of unknown outcome was carried out
//! shows in the execution itself, which then lives or has run on ([`crate::workflow::identity::Continues`]); if not, it is
//! asked for again with the same token.

use std::time::Duration;

use crate::{
    input::{Action, OnRetry},
    pace::Urgency,
    pipelines::{Call, Status, Time},
    protocol::Phase,
    text::rfc3339,
    workflow::{
        effects::Purpose,
        execution::EndStage,
        identity::{self, Continues, Marker, execution_id},
        report::fit,
        slab::ExecutionId,
        trouble::Trouble,
        world::World,
    },
};

use super::{Attempt, Kin, Stage, advance::Verdict};

mod outcome;

/// A request that may have left is carried out within this time, or never: connections are given up sooner.
const LANDS_WITHIN: Duration = Duration::from_secs(30);
/// What has to be looked at again is, after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How much of a node's message tells why it started anew; the rest is how it is and ends.
const NOTE_MAX: usize = 170;
/// A look is not repeated within this time: who probes for capacity asks every few seconds.
const LOOK_LASTS: Duration = Duration::from_secs(60);
/// A step that does not end although its execution has is waited for so long.
const STEPS_END_WITHIN: Duration = Duration::from_secs(120);

/// A resume on its way.
#[derive(Debug)]
pub struct InFlightResume {
    execution: ExecutionId,
    predecessor: Option<ExecutionId>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Looking,
    Marking(Box<Marker>),
    Retrying,
}

impl InFlightResume {
    /// The execution that is to go on.
    pub fn execution(&self) -> ExecutionId {
        self.execution
    }
}

/// What became of an attempt's resumes so far.
#[derive(Debug, Default)]
pub struct Resumes {
    /// Which execution it does not continue, and why it starts anew instead.
    given_up: Option<(ExecutionId, String)>,
    /// This process wrote the marker: no earlier one can have asked for what it stands for.
    wrote: bool,
    /// When one left last whose outcome is not known.
    in_doubt: Option<Time>,
    /// How many failed in a row, and not before when the next.
    failed: u32,
    again_at: Option<Time>,
    /// Since when answers say that it was done, and looks that it was not.
    contradicted: Option<Time>,
    /// Since when a step of the ended execution is open, and when to look at it again.
    open_step: Option<Time>,
    look_at: Option<Time>,
}

/// Whether something that has to be known before a resume is.
enum Objection {
    None,
    /// To be asked again soon.
    NotYet,
    /// It cannot be resumed; why.
    Because(String),
}

impl Attempt {
    fn resumes(&mut self) -> &mut Resumes {
        self.resumes.get_or_insert_default()
    }

    /// Why it starts anew instead of continuing, as its message says it.
    pub(super) fn not_resumed(&self) -> Option<&str> {
        self.resumes.as_ref()?.given_up.as_ref().map(|(_, why)| why.as_str())
    }

    /// It follows this execution: if that is what it had given up, it was resumed after all.
    pub(super) fn continues_after_all(&mut self, id: ExecutionId) {
        if let Some(resumes) = &mut self.resumes {
            resumes.given_up = resumes.given_up.take().filter(|(given_up, _)| *given_up != id);
        }
    }

    /// Whether a resume may be on its way whose outcome is not known.
    pub(super) fn resume_is_in_doubt(&self, w: &World) -> bool {
        let sent = self.resumes.as_ref().and_then(|resumes| resumes.in_doubt);
        sent.is_some_and(|at| w.fx.now() < at.plus(LANDS_WITHIN))
    }

    /// Whether it continues what failed, as far as it is known.
    pub(super) fn may_resume(&self) -> bool {
        self.rules.on_retry != OnRetry::Restart && self.not_resumed().is_none()
    }

    /// Not before when the next resume is to be tried.
    pub(super) fn resume_rests(&self, w: &World) -> Option<Time> {
        self.resumes.as_ref()?.again_at.filter(|at| *at > w.fx.now())
    }

    /// Which execution it continues rather than start one; nothing at all while a resume may be on its way that would
    /// contradict what it does instead, or when it has ended.
    pub(super) fn chosen_to_resume(
        &mut self,
        after: Option<ExecutionId>,
        w: &mut World,
    ) -> Option<Option<ExecutionId>> {
        let Some(id) = after else { return Some(None) };
        let chosen = self.may_resume().then_some(id);
        if chosen.is_some()
            && let Some(why) = self.objection_by_name(id, w)
        {
            // A start looks once more at what it comes after.
            self.give_up_resume(id, &why, w);
            self.wake_at(w.fx.now(), w);
            return None;
        }
        if (chosen.is_none() || self.may_not_start(w)) && self.resume_may_land(id, w) {
            return None;
        }
        if chosen.is_none()
            && self.rules.on_retry == OnRetry::ResumeOnly
            && let Some((_, why)) = self.resumes().given_up.take()
        {
            // Taken, since the end says it: what stays is said once more, as a warning.
            self.end(Phase::Failed, &why, None, w);
            return None;
        }
        Some(chosen)
    }

    /// Why this execution cannot be resumed, as far as its status and its marker tell.
    fn objection_by_name(&self, id: ExecutionId, w: &World) -> Option<String> {
        let tracked = &w.executions[id];
        if !matches!(tracked.status(), Status::Failed | Status::Stopped) {
            return Some(format!(
                "SageMaker resumes what Failed or was Stopped, and it is {}",
                tracked.status().as_str()
            ));
        }
        if !w.pipelines.are_same(tracked.home(), self.pipeline) {
            return Some("it is of another pipeline, account or region".to_owned());
        }
        let execute = self.execute()?;
        let same = match tracked.work() {
            Some(work) => work == execute.work_digest,
            // What an earlier version has started says less.
            None => tracked.args().is_some_and(|args| args == execute.args_digest),
        };
        let changed = "parameters, version or steps have changed since it was started, and a resume keeps the old ones";
        (!same).then(|| changed.to_owned())
    }

    /// From now on it starts anew, or ends where it may only resume.
    fn give_up_resume(&mut self, id: ExecutionId, why: &str, w: &World) {
        let name = execution_id(w.executions[id].arn());
        let text = match self.rules.on_retry {
            OnRetry::ResumeOnly => format!("execution {name} cannot be resumed, and on_retry is resume-only: {why}"),
            OnRetry::Resume | OnRetry::Restart => {
                fit(&format!("started anew, execution {name} cannot be resumed: {why}"), NOTE_MAX)
            }
        };
        self.resumes().given_up = Some((id, text));
    }

    /// Whether a resume of this end, by this process or one that is gone, may yet be carried out: until then it is looked at
    /// again and again, and nothing is done that it would contradict.
    fn resume_may_land(&mut self, id: ExecutionId, w: &mut World) -> bool {
        let now = w.fx.now();
        let sent = self.resumes.as_ref().and_then(|resumes| resumes.in_doubt);
        let wrote = self.resumes.as_ref().is_some_and(|resumes| resumes.wrote);
        let marked = w.executions[id].awaits_resume().filter(|_| !wrote);
        let marked = marked.map(|continues| w.fx.aws().ours(continues.since));
        let Some(until) = sent.into_iter().chain(marked).max().map(|at| at.plus(LANDS_WITHIN)) else { return false };
        if now >= until {
            return false;
        }
        self.look_again_later(id, w);
        if !matches!(self.stage, Stage::Locating) {
            w.queue.leave(self.id);
            self.set_stage(Stage::Locating, w);
        }
        true
    }

    /// Looks at an ended execution once more after a while.
    fn look_again_later(&mut self, id: ExecutionId, w: &mut World) {
        let now = w.fx.now();
        let at = *self.resumes().look_at.get_or_insert(now.plus(LOOK_AGAIN));
        if now < at {
            self.wake_after(at.since(now), w);
            return;
        }
        self.resumes().look_at = None;
        w.executions.look_afresh(id, &mut w.fx, &w.pipelines);
        self.wake_after(LOOK_AGAIN, w);
    }

    /// Whether it is no longer to be started or resumed: its time is up, or the workflow's.
    fn may_not_start(&self, w: &mut World) -> bool {
        self.dropped.is_some()
            || w.closing.for_node(self.rules.exit_handler).is_some()
            || w.closing.draining().is_some()
            || self.timed_out_waiting(w).is_some()
    }

    /// Its turn has come: first of all the end is looked at that it is to continue.
    pub(super) fn begin_resume(&mut self, id: ExecutionId, predecessor: Option<ExecutionId>, w: &mut World) {
        let resume = InFlightResume { execution: id, predecessor, step: Step::Looking };
        self.set_stage(Stage::Resuming(Box::new(resume)), w);
        self.trouble = None;
        w.executions.hand_over(id, self.pipeline, &mut w.fx);
        let now = w.fx.now();
        let in_doubt = self.resumes().in_doubt;
        let fresh = |at: Time| now < at.plus(LOOK_LASTS) && in_doubt.is_none_or(|sent| at > sent);
        if w.executions[id].confirmed_at().is_some_and(fresh) {
            self.wake_at(now, w);
            return;
        }
        w.executions.look_afresh(id, &mut w.fx, &w.pipelines);
        self.wake_after(LOOK_AGAIN, w);
    }

    /// It looks at the end that it is to continue, and goes on when that is known.
    pub(super) fn resume_on(&mut self, kin: Kin, w: &mut World) {
        let Stage::Resuming(resume) = &self.stage else { return };
        let (id, predecessor) = (resume.execution, resume.predecessor);
        if !matches!(resume.step, Step::Looking) {
            return;
        }
        if self.may_not_start(w) {
            self.land_resume(w);
            self.advance(kin, w);
            return;
        }
        if matches!(w.executions[id].end(), EndStage::Seen | EndStage::Listing) && w.executions[id].gone().is_none() {
            if w.executions[id].end() == EndStage::Seen {
                w.describe(id);
            }
            self.trouble = w.executions[id].trouble().cloned().map(Box::new);
            self.wake_after(LOOK_AGAIN, w);
            return;
        }
        self.trouble = None;
        match self.verdict(kin, w) {
            Some(Verdict::Start { after: Some(after), .. }) if after == id => {}
            None if matches!(self.stage, Stage::Resuming(_)) => {
                self.wake_after(LOOK_AGAIN, w);
                return;
            }
            None => return,
            Some(_) => {
                self.land_resume(w);
                self.advance(kin, w);
                return;
            }
        }
        match self.objection(id, w) {
            Objection::None => self.mark(id, predecessor, w),
            Objection::NotYet => {}
            Objection::Because(why) => {
                self.give_up_resume(id, &why, w);
                self.land_resume(w);
                self.advance(kin, w);
            }
        }
    }

    /// What speaks against a resume of this end now that it was looked at.
    fn objection(&mut self, id: ExecutionId, w: &mut World) -> Objection {
        if let Some(why) = self.objection_by_name(id, w) {
            return Objection::Because(why);
        }
        let Some(ran) = w.executions[id].ran() else {
            let why = "allow sagemaker:ListPipelineExecutionSteps: only its steps tell later whether it has run on";
            return Objection::Because(why.to_owned());
        };
        if ran.is_open() {
            let since = *self.resumes().open_step.get_or_insert(w.fx.now());
            if w.fx.now() >= since.plus(STEPS_END_WITHIN) {
                return Objection::Because("one of its steps does not end".to_owned());
            }
            self.look_again_later(id, w);
            return Objection::NotYet;
        }
        // The next that is open is another.
        self.resumes().open_step = None;
        self.pipeline_changed(id, w)
    }

    /// An execution goes on with the definition it was started with: where the pipeline was changed since, that is hardly what
    /// a retry is for. A pinned version never changes.
    fn pipeline_changed(&mut self, id: ExecutionId, w: &mut World) -> Objection {
        let version = self.execute().and_then(|execute| execute.version);
        if version.is_some() {
            return Objection::None;
        }
        let Some(digest) = w.pipelines.digest(self.pipeline, version, &mut w.fx) else {
            // Where it may not be described, SageMaker has to tell.
            if w.pipelines.digest_trouble(self.pipeline, version).is_some_and(Trouble::is_denial) {
                return Objection::None;
            }
            self.wake_after(Duration::from_secs(1), w);
            return Objection::NotYet;
        };
        let changed = match digest {
            Err(text) => return Objection::Because(text),
            Ok(digest) => digest.last_modified.zip(w.executions[id].execution().created),
        };
        match changed.filter(|(modified, created)| modified > created) {
            Some((modified, _)) => {
                let at = rfc3339(modified).unwrap_or_default();
                Objection::Because(format!("the pipeline was changed at {at}, after its start"))
            }
            None => Objection::None,
        }
    }

    /// Writes whose the execution will be; where that stands there already, asks for the resume at once.
    fn mark(&mut self, id: ExecutionId, predecessor: Option<ExecutionId>, w: &mut World) {
        let Some(task) = self.task.clone() else { return };
        let (Action::Execute(execute), Some(ran)) = (&task.action, w.executions[id].ran()) else { return };
        let (tracked, run) = (&w.executions[id], w.run.stamp());
        if tracked.marked_for(self.key, self.number, run, ran.until).is_some() {
            self.retry(id, predecessor, ran.until, w);
            return;
        }
        let mut marker = Marker::of(&task, &self.key, None, &execute.args_digest, run);
        marker.continues = Some(Continues {
            attempt: tracked.attempt(),
            run: tracked.run(),
            end: ran.until,
            since: w.fx.server_now(),
            origin: tracked.origin(),
        });
        // Of this run alone, where that is known: in the next one its siblings are asked for anew.
        marker.asked = tracked.asked().filter(|_| run.is_some() && tracked.run() == run);
        let arn = tracked.arn().to_owned();
        let call = Call::UpdateExecution { arn, description: marker.describe(execute.description.as_deref()) };
        let resume = InFlightResume { execution: id, predecessor, step: Step::Marking(Box::new(marker)) };
        self.set_stage(Stage::Resuming(Box::new(resume)), w);
        w.call(Urgency::Start, self.pipeline, call, Purpose::Mark(self.id));
    }

    fn retry(&mut self, id: ExecutionId, predecessor: Option<ExecutionId>, end: Time, w: &mut World) {
        // It counts itself. What has no limit may have started since its turn came.
        let max = self.execute().and_then(|execute| execute.max_running);
        if max.is_some_and(|max| w.running_of(self.pipeline) > max) {
            self.set_stage(Stage::Queued { predecessor, resumes: Some(id) }, w);
            let waiter = self.waiter(w);
            w.queue.join(waiter);
            return;
        }
        let arn = w.executions[id].arn().to_owned();
        let token = identity::resume_token(&arn, self.number, end);
        let parallelism = self.execute().and_then(|execute| execute.max_parallel_steps);
        let resume = InFlightResume { execution: id, predecessor, step: Step::Retrying };
        self.set_stage(Stage::Resuming(Box::new(resume)), w);
        let call = Call::RetryExecution { arn, token, parallelism };
        w.call(Urgency::Start, self.pipeline, call, Purpose::Resume(self.id));
    }

    /// The resume is no longer on its way; which one that was.
    pub(super) fn land_resume(&mut self, w: &mut World) -> Option<Box<InFlightResume>> {
        if !matches!(self.stage, Stage::Resuming(_)) {
            return None;
        }
        match self.set_stage(Stage::Locating, w) {
            Stage::Resuming(resume) => Some(resume),
            _ => None,
        }
    }

    /// The process ends: what it looks at is not seen any more.
    pub fn looks_no_more(&mut self, w: &mut World) {
        if matches!(&self.stage, Stage::Resuming(resume) if matches!(resume.step, Step::Looking)) {
            self.land_resume(w);
        }
    }
}
