//! What a start's answer lets us know: started, certainly not started, or perhaps.

use std::{sync::Arc, time::Duration};

use crate::{
    pipelines::{CallError, CallErrorKind, CallReply, Execution, Status},
    protocol::Phase,
};

use super::{
    Machine, Note, Sabotage, Timer, backoff,
    identity::{Key, Marker, WhenOver},
    node::{NodeRef, Stage, Trouble},
    queue::Waiter,
    trouble::{Place, Reaction, reaction},
};

const RETRY_MOST: Duration = Duration::from_secs(15);
/// A denied start is tried again after this long, and at the end of the grace.
pub(super) const DENIED_AGAIN: Duration = Duration::from_secs(10);

impl Machine {
    pub(super) fn start_answered(&mut self, key: Key, number: u32, result: Result<CallReply, CallError>) {
        let Some((pipeline, client)) =
            self.families.get(&key).and_then(|f| Some((f.pipeline, self.pipelines.get(f.pipeline)?.client.clone())))
        else {
            return;
        };
        match result {
            Ok(CallReply::Started { arn }) => {
                self.queue.answered(&client, true, self.now);
                self.started(key, number, pipeline, arn);
            }
            Ok(_) => self.start_uncertain(key, number, "SageMaker's answer to the start names no execution"),
            Err(error) => {
                if error.kind != CallErrorKind::QuotaExceeded {
                    self.queue.answered(&client, false, self.now);
                }
                if error.kind == CallErrorKind::Throttled {
                    self.note_throttle(&client, true);
                }
                self.out.push(super::Command::Note(Note::StartFailed {
                    kind: error.kind.as_str(),
                    message: error.message.clone(),
                }));
                self.start_failed(key, number, error);
            }
        }
        self.answer_parked(NodeRef::Execute(key, number));
    }

    fn started(&mut self, key: Key, number: u32, pipeline: usize, arn: String) {
        let flight = self.landed(key, number);
        let marker = flight.and_then(|flight| Marker::parse(&flight.args.description));
        let when_over = marker.map_or(WhenOver::Stop, |marker| marker.when_over);
        self.queue.leave(key, number);
        self.predecessors.remove(&(key, number));
        let arn: Arc<str> = arn.into();
        let new = !self.executions.contains_key(&arn);
        if new {
            let execution = Execution {
                arn: arn.to_string(),
                status: Status::Executing,
                created: None,
                modified: None,
                description: None,
                failure_reason: None,
            };
            self.track(key, number, pipeline, execution, None);
            self.out.push(super::Command::Note(Note::ExecutionStarted { arn: arn.to_string() }));
        } else if self.executions.get(&arn).is_some_and(|t| t.foreign) {
            self.bring_home(&arn, key, number, when_over);
        }
        if let Some(tracked) = self.executions.get_mut(&arn) {
            // The token may have found an older execution: only a describe tells.
            tracked.seen = None;
            tracked.started_at = Some(self.now);
            tracked.when_over = when_over;
        }
        if let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) {
            attempt.stage = Stage::Following(arn.clone());
            attempt.trouble = None;
            attempt.desk.started |= new;
        }
        self.stop_latecomer(key, number, &arn);
        self.describe(&arn);
    }

    fn start_failed(&mut self, key: Key, number: u32, error: CallError) {
        let uncertain = match self.families.get(&key).and_then(|f| f.attempts.get(&number)).map(|a| &a.stage) {
            Some(Stage::Starting(flight)) => flight.uncertain,
            _ => return,
        };
        match reaction(error.kind, if uncertain { Place::Repeat } else { Place::Start }) {
            Reaction::SameBytes => self.start_uncertain(key, number, &error.message),
            Reaction::Search => {
                self.landed(key, number);
                self.search(key, number, true, &error.message);
            }
            Reaction::Refuse => {
                self.landed(key, number);
                let text = match error.kind {
                    CallErrorKind::NotFound => format!("cannot start, the pipeline does not exist: {}", error.message),
                    _ => format!("SageMaker refuses the start: {}", error.message),
                };
                self.end_attempt(key, number, Phase::Error, &text, None);
            }
            otherwise => self.requeue_start(key, number, error, otherwise),
        }
    }

    /// Certainly not started: back to its place in the queue.
    fn requeue_start(&mut self, key: Key, number: u32, error: CallError, reaction: Reaction) {
        let Some(flight) = self.landed(key, number) else { return };
        let now = self.now;
        let Some(family) = self.families.get_mut(&key) else { return };
        let pipeline = family.pipeline;
        let Some(attempt) = family.attempts.get_mut(&number) else { return };
        let Some(task) = attempt.task.clone() else { return };
        attempt.stage = Stage::Queued;
        attempt.trouble = None;
        let asked = attempt.desk.asked_since;
        let grace = attempt.rules.denied_grace;
        self.predecessors.insert((key, number), flight.predecessor);
        let max_running = self.max_running(&task);
        let waiter =
            Waiter { key, attempt: number, client: task.client.clone(), pipeline, max_running, not_before: now };
        if reaction != Reaction::Mend
            && let Some(p) = self.pipelines.get_mut(pipeline)
        {
            p.start_denied = None;
        }
        if reaction == Reaction::Queue {
            if self.sabotaged(Sabotage::LosesItsPlace) {
                self.queue.leave(key, number);
            }
            self.queue.refused(waiter, &error.message, now);
            self.tell_waiters(&task.client);
            return;
        }
        // The queue waits a moment as a whole: whoever is next would meet the same.
        if reaction == Reaction::Mend {
            let Some(p) = self.pipelines.get_mut(pipeline) else { return };
            Trouble::extend(&mut p.start_denied, &error.message, true, now);
            let final_try = p.start_denied.as_ref().map_or(now, |t| t.since.max(asked).plus(grace));
            let wait = DENIED_AGAIN.min(final_try.since(now)).max(Duration::from_secs(1));
            p.start_again_at = now.plus(wait);
            self.timers.insert((now.plus(wait), Timer::Queue));
            self.queue.join(waiter);
            self.advance_waiters(pipeline);
            return;
        }
        let text = match error.kind {
            CallErrorKind::Throttled => format!("AWS throttles the start, it is repeated: {}", error.message),
            CallErrorKind::Unreachable => format!("AWS cannot be reached, the start is repeated: {}", error.message),
            _ => error.message.clone(),
        };
        if let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) {
            Trouble::extend(&mut attempt.trouble, &text, false, now);
        }
        self.queue.join(Waiter { not_before: now.plus(backoff(1, RETRY_MOST)), ..waiter });
        self.advance(key, number);
    }

    /// What one start met concerns all that wait for the same pipeline.
    fn advance_waiters(&mut self, pipeline: usize) {
        let nodes: Vec<(Key, u32)> =
            self.queue.waiters().filter(|w| w.pipeline == pipeline).map(|w| (w.key, w.attempt)).collect();
        for (key, number) in nodes {
            self.advance(key, number);
        }
    }

    /// Nodes behind a full account learn it at once.
    fn tell_waiters(&mut self, client: &crate::pipelines::ClientKey) {
        let nodes: Vec<NodeRef> =
            self.queue.waiters().filter(|w| w.client == *client).map(|w| NodeRef::Execute(w.key, w.attempt)).collect();
        for node in nodes {
            self.answer_parked(node);
        }
    }

    fn start_uncertain(&mut self, key: Key, number: u32, text: &str) {
        if self.sabotaged(Sabotage::UnknownIsFailure) {
            self.landed(key, number);
            self.end_attempt(key, number, Phase::Error, text, None);
            return;
        }
        let now = self.now;
        let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) else { return };
        Trouble::extend(&mut attempt.trouble, text, false, now);
        let Stage::Starting(flight) = &mut attempt.stage else { return };
        flight.uncertain = true;
        let at = now.plus(backoff(flight.tries.saturating_sub(1), RETRY_MOST));
        flight.retry_at = Some(at);
        self.wake_node(NodeRef::Execute(key, number), at);
    }
}
