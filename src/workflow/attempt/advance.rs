//! The table of [`identity`] carried out: follow, report, or start.

use std::{sync::Arc, time::Duration};

use crate::{
    input::{Action, OnRetry},
    pipelines::Status,
    protocol::Phase,
    workflow::{
        executions::Starter,
        identity::{self, Decision, Known},
        pipeline::Located,
        slab::ExecutionId,
        world::World,
    },
};

use super::{Attempt, Kin, Stage};

/// Who waits for another attempt's start, or for an execution to be seen, looks again after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The table's answer, about executions as they are named here.
pub(super) enum Verdict {
    Follow(ExecutionId),
    AwaitEnd(ExecutionId),
    Report(ExecutionId),
    Start {
        /// The newest end, if there is one.
        after: Option<ExecutionId>,
        predecessor: Option<ExecutionId>,
        /// That end is to be looked at once more before.
        recheck: bool,
    },
    Superseded {
        by: u32,
        /// What is to be said where the newest end may be an earlier run's after all.
        doubt: Option<&'static str>,
    },
}

impl Attempt {
    /// Looks at what is known and does what follows.
    pub fn advance(&mut self, kin: Kin, w: &mut World) {
        match self.stage {
            Stage::Ended(_) => return,
            Stage::Starting(_) => {
                self.repeat_start(w);
                return;
            }
            Stage::Resuming(_) => {
                self.resume_on(kin, w);
                return;
            }
            Stage::Locating | Stage::Queued { .. } | Stage::Searching(_) | Stage::Following(_) => {}
        }
        if self.rules.attached {
            self.advance_attached(kin, w);
        } else {
            match w.locate(self.pipeline) {
                Located::NotYet => self.wait_located(kin, w),
                Located::Refused(text) => match self.followed() {
                    Some(id) => self.report(id, kin, w),
                    None => self.end(Phase::Error, &text, None, w),
                },
                Located::Ready => self.decide(kin, w),
            }
        }
    }

    /// An attached attempt follows the execution it names.
    fn advance_attached(&mut self, kin: Kin, w: &mut World) {
        let named = match self.task.as_deref().map(|task| &task.action) {
            Some(Action::Execute(execute)) => execute.attach.as_deref(),
            _ => None,
        };
        let namer = Starter { key: self.key, attempt: self.number, pipeline: self.pipeline };
        let id = match named {
            Some(arn) => Some(w.executions.track_foreign(namer, arn, &mut w.fx)),
            None => self.followed(),
        };
        if let Some(id) = id {
            w.executions.attach(id, self.id, self.rules.stop_when_over);
            self.report(id, kin, w);
        }
    }

    fn decide(&mut self, kin: Kin, w: &mut World) {
        match self.verdict(kin, w) {
            None => {}
            Some(Verdict::Follow(id)) => self.follow(id, kin, w),
            Some(Verdict::AwaitEnd(id)) => self.await_end(id, kin, w),
            Some(Verdict::Report(id)) => self.report(id, kin, w),
            // A resume looks for itself when its turn has come.
            Some(Verdict::Start { after, predecessor, recheck: true }) if !self.may_resume() => {
                self.recheck(after, predecessor, kin, w);
            }
            Some(Verdict::Start { after, predecessor, .. }) => {
                self.want_start(predecessor, after, kin, w);
            }
            Some(Verdict::Superseded { by, doubt }) => {
                self.warning = doubt.map(str::to_owned).or(self.warning.take());
                self.end(Phase::Failed, &format!("superseded by attempt {by}"), None, w);
            }
        }
    }

    /// What the table says of what is known; nothing while something is missing, which is then seen to.
    pub(super) fn verdict(&mut self, kin: Kin, w: &mut World) -> Option<Verdict> {
        let run = w.run()?;
        let of_key = || w.executions.of_key(&self.key).iter().copied();
        let unseen = of_key().any(|id| w.executions[id].is_uncertain());
        if let Some(id) = self.followed().filter(|_| unseen) {
            self.follow(id, kin, w);
            return None;
        }
        if kin.other_start || unseen {
            // One start at a time under a key: what it yields decides for the others.
            self.wake_after(LOOK_AGAIN, w);
            return None;
        }
        // Lists do not say when an execution ended or its stop began, and the table asks in which run of the workflow that
        // was: a describe tells. And whose end it is that may have been resumed, its steps tell.
        let vague: Vec<ExecutionId> =
            of_key().filter(|id| w.executions[*id].is_vague() || w.executions[*id].is_undecided()).collect();
        if !vague.is_empty() {
            for id in vague {
                if self.followed() == Some(id) && w.executions[id].is_undecided() {
                    self.report(id, kin, w);
                } else {
                    self.look_first(id, kin, w);
                }
            }
            return None;
        }
        let own = of_key().filter(|id| w.executions[*id].attempt() == self.number);
        if let Some(text) = own.filter_map(|id| w.executions[id].gone()).next().map(str::to_owned) {
            self.end(Phase::Error, &text, None, w);
            return None;
        }
        let ids: Vec<ExecutionId> = of_key().filter(|id| w.executions[*id].gone().is_none()).collect();
        let known: Vec<Known> = ids.iter().map(|id| self.known(*id, w)).collect();
        // By place and not by name: an ARN is AWS's word.
        let id_of = |arn: &str| ids.iter().zip(&known).find(|(_, k)| *k.arn == *arn).map(|(id, _)| *id);
        let about = |arn: &str| id_of(arn).expect("the table decides about what it was shown");
        let each = |arn: Option<Arc<str>>| arn.as_deref().map(about);
        // A node that resumes has one chain of executions for all its attempts.
        let chain = || {
            let ended = ids.iter().zip(&known).filter(|(_, k)| k.same_pipeline && !k.status.is_live());
            ended.max_by_key(|(_, k)| (k.created, &k.arn)).map(|(id, _)| *id)
        };
        let resumes = self.rules.on_retry != OnRetry::Restart;
        let replaced = |own: Option<Arc<str>>| if resumes { chain() } else { each(own) };
        Some(match identity::decide(&known, self.number, kin.newest_asked, &run) {
            Decision::Follow(arn) => Verdict::Follow(about(&arn)),
            Decision::AwaitEnd(arn) => Verdict::AwaitEnd(about(&arn)),
            Decision::Report(arn) => Verdict::Report(about(&arn)),
            Decision::RecheckThenStart { arn, predecessor } => {
                Verdict::Start { after: Some(about(&arn)), predecessor: replaced(predecessor), recheck: true }
            }
            Decision::Start { predecessor, after } => {
                Verdict::Start { after: each(after), predecessor: replaced(predecessor), recheck: false }
            }
            Decision::Superseded(by) => {
                let newest = known.iter().max_by_key(|k| (k.status.is_live(), k.created, &k.arn));
                let doubtful = newest.is_some_and(|k| !k.status.is_live() && run.may_come_after(k));
                Verdict::Superseded { by, doubt: doubtful.then(|| run.doubt()) }
            }
        })
    }

    /// An execution as the table looks at it for this node.
    fn known(&self, id: ExecutionId, w: &World) -> Known {
        let same_pipeline = w.pipelines.are_same(w.executions[id].home(), self.pipeline);
        let mut known = Known { same_pipeline, ..w.known(id) };
        if self.rules.accept_completed_with_failures && known.status == Status::CompletedWithFailures {
            // A success to it: not to be run again, nor to be resumed.
            known.status = Status::Succeeded;
        }
        known
    }

    /// An earlier attempt's execution may have been revived in the console: look once more before starting another.
    fn recheck(&mut self, after: Option<ExecutionId>, predecessor: Option<ExecutionId>, kin: Kin, w: &mut World) {
        let Some(id) = after else { return };
        if self.rechecked != Some(id) {
            self.rechecked = Some(id);
            w.executions.doubt_end(id, w.fx.now());
        } else if w.executions[id].end().is_certain() {
            self.want_start(predecessor, after, kin, w);
            return;
        }
        // Until a describe comes back nothing is decided; one that failed is repeated.
        self.look_first(id, kin, w);
    }
}
