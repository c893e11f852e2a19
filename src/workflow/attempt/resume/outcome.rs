//! What AWS says to the marker and to the resume.

use std::time::Duration;

use crate::{
    pipelines::{CallError, CallErrorKind, CallReply},
    protocol::Phase,
    workflow::{
        attempt::{Attempt, Stage},
        client::RETRY_MOST,
        effects::backoff,
        identity::execution_id,
        notes::Note,
        queue::Way,
        report::spoken,
        slab::ExecutionId,
        trouble::{CallSite, Disposition, disposition},
        world::World,
    },
};

use super::Step;

/// An answer that every look contradicts (Conflict, and nothing has run) is believed after this long.
const CONTRADICTED_FOR: Duration = Duration::from_secs(300);
/// What may be on its way shows after this long, as a rule.
const LANDS: Duration = Duration::from_secs(2);
/// What a role lacks that may not resume.
const ALLOW: &str = "allow sagemaker:RetryPipelineExecution and sagemaker:UpdatePipelineExecution";

impl Attempt {
    /// Takes in whether the marker was written. Whether it has to look again at once.
    pub fn mark_answered(&mut self, result: Result<CallReply, CallError>, w: &mut World) -> bool {
        let Stage::Resuming(resume) = &self.stage else { return false };
        let (id, predecessor) = (resume.execution, resume.predecessor);
        let Step::Marking(marker) = &resume.step else { return false };
        let error = match result {
            Ok(_) => {
                let Some(end) = marker.continues.map(|continues| continues.end) else { return false };
                w.executions.marked(id, marker, &w.fx);
                self.resumes().wrote = true;
                if self.may_not_start(w) {
                    self.land_resume(w);
                    return true;
                }
                self.retry(id, predecessor, end, w);
                return false;
            }
            Err(error) => error,
        };
        self.note_refusal(&error, w);
        match disposition(error.kind, CallSite::Mark) {
            Disposition::Mend => self.resume_denied(id, &error, w),
            Disposition::Refuse => {
                self.give_up_resume(id, &error.message, w);
                self.land_resume(w);
            }
            // The same marker may be written twice.
            _ => self.resume_failed(&error, w),
        }
        true
    }

    /// Takes in what AWS said to the resume. Whether it has to look again at once.
    pub fn resume_answered(&mut self, result: Result<CallReply, CallError>, w: &mut World) -> bool {
        let Stage::Resuming(resume) = &self.stage else { return false };
        let id = resume.execution;
        let error = match result {
            Ok(_) => {
                self.resumed(id, w);
                return false;
            }
            Err(error) => error,
        };
        self.note_refusal(&error, w);
        let now = w.fx.now();
        let disposition = disposition(error.kind, CallSite::Resume);
        if disposition != Disposition::Search {
            // Minutes of anything else between two of them are not minutes of contradiction.
            self.resumes().contradicted = None;
        }
        match disposition {
            Disposition::Queue => {
                let Some(resume) = self.land_resume(w) else { return false };
                self.set_stage(Stage::Queued { predecessor: resume.predecessor, resumes: Some(id) }, w);
                self.lacks_capacity(&error.message, w);
                return false;
            }
            Disposition::Mend => self.resume_denied(id, &error, w),
            Disposition::Refuse => {
                // It may be refused because it goes on.
                self.give_up_resume(id, &error.message, w);
                self.look_before_more(id, w);
            }
            Disposition::Look => {
                self.resumes().in_doubt = Some(now);
                self.fail_resume(w);
                self.look_before_more(id, w);
            }
            Disposition::Search => {
                let since = *self.resumes().contradicted.get_or_insert(now);
                if now >= since.plus(CONTRADICTED_FOR) {
                    let lasted = spoken(CONTRADICTED_FOR);
                    self.give_up_resume(id, &format!("it does not go on, for {lasted} AWS says: {}", error.message), w);
                }
                self.resumes().in_doubt = Some(now);
                self.fail_resume(w);
                self.look_before_more(id, w);
            }
            _ => self.resume_failed(&error, w),
        }
        true
    }

    fn note_refusal(&self, error: &CallError, w: &mut World) {
        let (kind, message) = (error.kind.as_str(), error.message.clone());
        w.fx.note(Note::StartFailed { key: self.key, attempt: self.number, kind, message });
    }

    /// AWS says that the execution goes on.
    fn resumed(&mut self, id: ExecutionId, w: &mut World) {
        let client = w.pipelines[self.pipeline].client().clone();
        w.queue.answered(&client, self.id, true, w.fx.now());
        self.are_taken(Way::Resume, w);
        w.queue.leave(self.id);
        w.executions.resumed(id, &mut w.fx);
        self.set_stage(Stage::Following(id), w);
        (self.trouble, self.denied, self.resumes) = (None, None, None);
        self.conversation.note_start();
        self.stop_latecomer(id, w);
        w.describe(id);
    }

    /// Whatever is done next, what has become of the execution is looked at before.
    fn look_before_more(&mut self, id: ExecutionId, w: &mut World) {
        self.land_resume(w);
        self.rechecked = Some(id);
        w.executions.look_afresh_after(id, LANDS, &mut w.fx);
    }

    fn fail_resume(&mut self, w: &World) {
        let now = w.fx.now();
        let resumes = self.resumes();
        resumes.again_at = Some(now.plus(backoff(resumes.failed, RETRY_MOST)));
        resumes.failed += 1;
    }

    /// Certainly not done, and not refused: back to its place in the queue.
    fn resume_failed(&mut self, error: &CallError, w: &mut World) {
        let Some(resume) = self.land_resume(w) else { return };
        self.fail_resume(w);
        self.set_stage(Stage::Queued { predecessor: resume.predecessor, resumes: Some(resume.execution) }, w);
        self.back_in_line("resume", error, w);
    }

    /// It is denied: shown at once, tried again, and given up when the grace is over. Without credentials a start would
    /// meet the same.
    fn resume_denied(&mut self, id: ExecutionId, error: &CallError, w: &mut World) {
        let grace = self.rules.denied_grace;
        let (own, everybodys) = match error.kind {
            CallErrorKind::Denied => {
                let id = execution_id(w.executions[id].arn());
                let why = format!("{ALLOW}: {}", error.message);
                (format!("execution {id} cannot be resumed, {why}"), why)
            }
            _ => (error.message.clone(), error.message.clone()),
        };
        let Some(resume) = self.land_resume(w) else { return };
        self.met_denial(&own, w);
        if self.denied.as_ref().is_some_and(|denied| denied.outlasted(self.asked_since(), grace)) {
            self.denied = None;
            let lasted = spoken(grace);
            if error.kind == CallErrorKind::Denied {
                self.give_up_resume(id, &format!("{ALLOW} (for {lasted}): {}", error.message), w);
            } else {
                self.end(Phase::Error, &format!("{own} (for {lasted})"), None, w);
            }
            return;
        }
        self.set_stage(Stage::Queued { predecessor: resume.predecessor, resumes: Some(resume.execution) }, w);
        self.set_aside(&everybodys, w);
    }
}
