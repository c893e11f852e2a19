//! What a start's answer lets us know: started, certainly not started, or perhaps.

use std::time::Duration;

use crate::{
    pipelines::{CallError, CallErrorKind, CallReply},
    protocol::Phase,
    workflow::{
        client::RETRY_MOST,
        effects::backoff,
        executions::Starter,
        identity::Marker,
        notes::Note,
        queue::Way,
        trouble::{CallSite, Disposition, Trouble, disposition},
        world::World,
    },
};

use super::{
    Attempt, InFlightStart, Stage,
    start::{DENIED_AGAIN, denied_pause, waiting_for},
};

impl Attempt {
    /// Takes in what a start was answered. Whether it has to look again at once.
    pub fn start_answered(&mut self, result: Result<CallReply, CallError>, w: &mut World) -> bool {
        let client = w.pipelines[self.pipeline].client().clone();
        match result {
            Ok(CallReply::Started { arn }) => {
                w.queue.answered(&client, self.id, true, w.fx.now());
                self.started(&arn, w);
                false
            }
            Ok(_) => {
                self.start_uncertain("SageMaker's answer to the start names no execution", w);
                false
            }
            Err(error) => {
                if error.kind != CallErrorKind::QuotaExceeded {
                    w.queue.answered(&client, self.id, false, w.fx.now());
                }
                w.fx.note(Note::StartFailed {
                    key: self.key,
                    attempt: self.number,
                    kind: error.kind.as_str(),
                    message: error.message.clone(),
                });
                self.start_failed(&error, w)
            }
        }
    }

    fn started(&mut self, arn: &str, w: &mut World) {
        let start = self.landed(w);
        self.are_taken(Way::Start, w);
        w.queue.leave(self.id);
        let marker = start.and_then(|start| Marker::parse(&start.args.description));
        let starter = Starter { key: self.key, attempt: self.number, pipeline: self.pipeline };
        let (id, new) = w.executions.started(starter, arn, marker.as_ref(), &mut w.fx);
        self.set_stage(Stage::Following(id), w);
        self.trouble = None;
        self.denied = None;
        if new {
            self.conversation.note_start();
        }
        self.stop_latecomer(id, w);
        w.executions.first_look(id, &mut w.fx, &mut w.pipelines);
    }

    fn start_failed(&mut self, error: &CallError, w: &mut World) -> bool {
        let Stage::Starting(start) = &self.stage else { return false };
        let site = if start.uncertain { CallSite::Repeat } else { CallSite::Start };
        match disposition(error.kind, site) {
            Disposition::SameBytes => self.start_uncertain(&error.message, w),
            Disposition::Search => {
                let replaces = self.landed(w).and_then(|start| start.predecessor);
                self.search(true, replaces, &error.message, w);
            }
            Disposition::Refuse => {
                self.landed(w);
                let text = match error.kind {
                    CallErrorKind::NotFound => format!("cannot start, the pipeline does not exist: {}", error.message),
                    _ => format!("SageMaker refuses the start: {}", error.message),
                };
                self.end(Phase::Error, &text, None, w);
            }
            otherwise => {
                if let Some(start) = self.landed(w) {
                    return self.requeue(*start, error, otherwise, w);
                }
            }
        }
        false
    }

    /// Certainly not started: back to its place in the queue.
    fn requeue(&mut self, start: InFlightStart, error: &CallError, disposition: Disposition, w: &mut World) -> bool {
        if self.task.is_none() {
            return false;
        }
        self.trouble = None;
        self.set_stage(Stage::Queued { predecessor: start.predecessor, resumes: None }, w);
        match disposition {
            Disposition::Queue => {
                self.lacks_capacity(&error.message, w);
                false
            }
            Disposition::Mend => {
                self.met_denial(&error.message, w);
                self.set_aside(&error.message, w);
                true
            }
            _ => {
                self.back_in_line("start", error, w);
                true
            }
        }
    }

    /// Refused for capacity: back to its place in the queue, whose head probes from now on.
    pub(super) fn lacks_capacity(&mut self, text: &str, w: &mut World) {
        // Whoever is refused for capacity may begin.
        self.are_taken(self.way(), w);
        self.denied = None;
        let waiter = self.waiter(w);
        w.queue.refused(waiter, text, w.fx.now());
    }

    /// Certainly not done, and neither refused nor denied: back to its place in the queue, which waits a moment as a
    /// whole, since whoever is next would meet the same.
    pub(super) fn back_in_line(&mut self, what: &str, error: &CallError, w: &mut World) {
        let text = match error.kind {
            CallErrorKind::Throttled => format!("AWS throttles the {what}, it is repeated: {}", error.message),
            CallErrorKind::Unreachable => format!("AWS cannot be reached, the {what} is repeated: {}", error.message),
            _ => format!("the {what} is repeated: {}", error.message),
        };
        Trouble::extend(&mut self.trouble, &text, false, w.fx.left());
        let waiter = self.waiter(w);
        w.queue.rest(&waiter.client, w.fx.now().plus(backoff(1, RETRY_MOST)));
        w.queue.join(waiter);
    }

    /// Its own start or resume was denied; `text`: as its node is told.
    pub(super) fn met_denial(&mut self, text: &str, w: &World) {
        let (now, grace) = (w.fx.now(), self.rules.denied_grace);
        if self.denied_turn.is_some_and(|turn| now > turn.plus(grace)) {
            // It waited for something else meanwhile: this is another denial.
            self.denied = None;
        }
        Trouble::extend(&mut self.denied, text, true, w.fx.left());
    }

    /// The denial may be its own matter (a condition on the version, say) or everybody's: it keeps its place, and the next
    /// one tries. `text`: what the others wait for.
    pub(super) fn set_aside(&mut self, text: &str, w: &mut World) {
        let (now, way, waiter) = (w.fx.now(), self.way(), self.waiter(w));
        w.queue.join(waiter.clone());
        let waiting = waiting_for(self.pipeline, way, w);
        let pause = denied_pause(self.pipeline, way, w);
        w.pipelines.was_denied(self.pipeline, way, text, now.plus(pause), &mut w.fx);
        let since = self.denied.as_ref().map_or(now, |denied| denied.since().max(self.asked_since()));
        // Everybody else has had a turn by then; the last try comes when the grace is over.
        let last_try = since.plus(self.rules.denied_grace).since(now);
        let wait = DENIED_AGAIN.max(pause * waiting).min(last_try).max(Duration::from_secs(1));
        let aside_until = now.plus(wait);
        self.denied_turn = Some(aside_until);
        w.queue.set_aside(waiter, aside_until);
    }

    /// One of this pipeline came back that was not denied: the others need not try one by one.
    pub(super) fn are_taken(&self, way: Way, w: &mut World) {
        if w.pipelines.are_taken(self.pipeline, way) {
            w.queue.recall(self.pipeline, way, w.fx.now().plus(DENIED_AGAIN));
        }
    }

    fn start_uncertain(&mut self, text: &str, w: &mut World) {
        let now = w.fx.now();
        Trouble::extend(&mut self.trouble, text, false, w.fx.left());
        self.repeat_at(|tries| now.plus(backoff(tries.saturating_sub(1), RETRY_MOST)), w);
    }
}
