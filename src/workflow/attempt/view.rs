//! What an attempt would be told now, and telling it.

use std::time::Duration;

use crate::{
    pipelines::{Status, Time},
    protocol::Phase,
    workflow::{
        conversation::{Telling, View},
        effects::Subject,
        key::execution_id,
        report,
        slab::ExecutionId,
        world::World,
    },
};

use super::{Attempt, InFlightResume, Stage};

/// A node whose past is not known says so after this long; before that the answer usually comes.
const PATIENCE: Duration = Duration::from_secs(5);

impl Attempt {
    /// Answers who waits for it, as far as there is something to say; when to look at the others.
    pub fn answer(&mut self, w: &mut World) -> Option<Time> {
        let telling = self.telling(w);
        let awaited = !telling.is_settled() && self.expects_news(w);
        self.conversation.answer(telling, awaited, self.key, w.crowd(), &mut w.fx)
    }

    /// Whether something is on its way that may change what it would be told.
    fn expects_news(&self, w: &World) -> bool {
        let listed = || w.is_coming(self.pipeline);
        match &self.stage {
            Stage::Ended(_) => false,
            Stage::Following(id) => w.fx.is_coming(&Subject::Execution(*id)) || w.executions.is_looked_at(*id),
            Stage::Starting(_) => w.fx.is_coming(&Subject::Start(self.id)),
            Stage::Resuming(resume) => {
                let looks = [Subject::Start(self.id), Subject::Execution(resume.execution())];
                listed() || looks.iter().any(|subject| w.fx.is_coming(subject))
            }
            Stage::Locating | Stage::Searching(_) => {
                let looks = |id: &ExecutionId| w.fx.is_coming(&Subject::Execution(*id));
                listed() || w.executions.of_key(&self.key).iter().any(looks)
            }
            Stage::Queued { .. } => listed() || w.fx.head_may_start(w.pipelines[self.pipeline].client()),
        }
    }

    fn telling(&self, w: &World) -> Telling {
        let mut view = match &self.stage {
            Stage::Ended(reply) => return Telling::End(reply.clone()),
            Stage::Following(id) => followed(*id, w),
            Stage::Queued { .. } | Stage::Resuming(_) if self.resume_is_in_doubt(w) => {
                self.view_unknown("it is not known whether its execution was resumed; looking, then asking again", w)
            }
            Stage::Resuming(resume) => self.view_resuming(resume, w),
            Stage::Locating => self.view_locating(w),
            Stage::Queued { .. } => self.view_queued(w),
            Stage::Starting(start) if start.uncertain => self.view_uncertain(w),
            Stage::Starting(_) => View::passing(Some(Phase::Pending), "starting"),
            Stage::Searching(search) => {
                self.view_unknown(&format!("looking for an execution that may have started: {}", search.text), w)
            }
        };
        let stranger = self.followed().and_then(|id| w.executions[id].warning());
        if let Some(warning) = stranger.as_deref().or(self.note()).filter(|_| view.phase.is_some()) {
            view.message = format!("{}; warning: {warning}", view.message);
        }
        Telling::Now(view)
    }

    /// Before the past is known: nothing for a moment, then `Running` with the reason, since it may run for hours.
    fn view_unknown(&self, text: &str, w: &World) -> View {
        let long = w.fx.now() >= self.asked_since().plus(PATIENCE);
        if long || self.conversation.told() {
            View::settled(Phase::Running, text, None)
        } else {
            View::passing(None, text)
        }
    }

    fn view_uncertain(&self, w: &World) -> View {
        let mut text = "it is not known whether it started; repeating the start with the same token".to_owned();
        if let Some(trouble) = &self.trouble {
            text = format!("{text}: {}", trouble.told(text.len() + 2));
        }
        self.view_unknown(&text, w)
    }

    fn view_resuming(&self, resume: &InFlightResume, w: &World) -> View {
        let id = execution_id(w.executions[resume.execution()].arn());
        let mut text = format!("resuming execution {id}");
        match &self.trouble {
            Some(trouble) => {
                text.push_str(": ");
                text.push_str(&trouble.told(text.len()));
                View::settled(Phase::Pending, text, None)
            }
            None => View::passing(Some(Phase::Pending), text),
        }
    }

    /// What its message says besides.
    pub(super) fn note(&self) -> Option<&str> {
        // While it is looked at once more, it may yet show that it goes on.
        self.not_resumed().filter(|_| !self.is_locating()).or(self.warning.as_deref())
    }

    /// Whether a note is why it had been started anew, which matters less than how it has ended.
    pub(super) fn is_old_news(&self, note: &str) -> bool {
        self.not_resumed() == Some(note)
    }

    fn view_locating(&self, w: &World) -> View {
        match w.pipelines.locating_trouble(self.pipeline).or(self.trouble.as_deref()) {
            // A denial is for the user to mend: it is shown at once.
            Some(trouble) if trouble.is_denial() => View::settled(Phase::Running, trouble.told(0), None),
            Some(trouble) => {
                let text = "looking for an earlier execution: ";
                self.view_unknown(&format!("{text}{}", trouble.told(text.len())), w)
            }
            None => self.view_unknown("looking for an earlier execution of this node", w),
        }
    }

    fn view_queued(&self, w: &World) -> View {
        // A denial that was not met again when its turn had come is not what the node waits for.
        let denied = self.denied.as_deref().filter(|_| self.denied_turn >= Some(w.fx.now()));
        let own = denied.or(self.trouble.as_deref());
        if let Some(trouble) = own.or_else(|| w.pipelines.starting_trouble(self.pipeline, self.way())) {
            return View::settled(Phase::Pending, trouble.told(0), None);
        }
        let ahead = w.queue.ahead(self.id);
        if let Some(text) = w.queue.full(w.pipelines[self.pipeline].client()) {
            let text = format!("waiting for SageMaker capacity ({ahead} ahead in this workflow): {text}");
            return View::settled(Phase::Pending, text, None);
        }
        match w.limit_reached(self.pipeline, self.execute().and_then(|execute| execute.max_running)) {
            Some(limit) => {
                let text = format!("waiting: {limit} ({ahead} ahead in this workflow)");
                View::settled(Phase::Pending, text, None)
            }
            None => View::passing(Some(Phase::Pending), format!("waiting to start ({ahead} ahead in this workflow)")),
        }
    }
}

fn followed(id: ExecutionId, w: &World) -> View {
    let tracked = &w.executions[id];
    let status = tracked.status();
    if tracked.seen().is_none() && tracked.trouble().is_none() {
        let mut view = View::passing(Some(Phase::Running), report::running_message(&Status::Executing, None));
        view.outputs = Some(report::running_outputs(tracked.arn(), &Status::Executing, w.output_room()));
        return view;
    }
    // Those of a crowd are not listed again.
    let steps = tracked.steps().filter(|_| !w.executions.is_crowd(&w.fx));
    let mut text = report::running_message(status, steps);
    if let Some(attempt) = tracked.resumed_after() {
        text.push_str(&format!(", resumed after attempt {attempt}"));
    }
    if let Some(trouble) = tracked.any_trouble() {
        text = format!("{}; the execution goes on, but ", report::fit(&text, 80));
        text.push_str(&trouble.told(text.len()));
    }
    View {
        phase: Some(Phase::Running),
        message: text,
        outputs: Some(report::running_outputs(tracked.arn(), status, w.output_room())),
        // An end that is known but not yet explained takes a describe and the steps; a stop that was just sent ends the node
        // as soon as it is taken.
        settled: tracked.is_live() && !(w.closing.over().is_some() && tracked.stop_is_fresh()),
    }
}
