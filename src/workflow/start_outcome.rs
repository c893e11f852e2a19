//! What a start's answer lets us know: started, certainly not started, or perhaps.

use std::time::Duration;

use crate::{
    pipelines::{CallError, CallErrorKind, CallReply, Execution, Status},
    protocol::Phase,
};

use super::{
    Machine, Note, Sabotage, Timer, backoff,
    identity::{Key, Marker, WhenOver, arn_key},
    node::{NodeRef, Stage, Trouble},
    queue::Waiter,
    starting::max_running,
    trouble::{Place, Reaction, reaction},
};

const RETRY_MOST: Duration = Duration::from_secs(15);
/// A denied start is tried again after this long at the earliest, and at the end of the grace.
const DENIED_AGAIN: Duration = Duration::from_secs(10);
/// Where starts are denied, the next one tries after this long at the earliest: the pace of ordinary starts.
const DENIED_SOONEST: Duration = Duration::from_millis(500);
/// How often each waiting node tries within the grace, if there are few.
const TURNS_IN_THE_GRACE: u32 = 4;

impl Machine {
    pub(super) fn start_answered(&mut self, key: Key, number: u32, result: Result<CallReply, CallError>) {
        let Some(pipeline) = self.attempt(key, number).map(|a| a.pipeline) else { return };
        let Some(client) = self.pipelines.get(pipeline).map(|p| p.client.clone()) else { return };
        match result {
            Ok(CallReply::Started { arn }) => {
                self.queue.answered(&client, (key, number), true, self.now);
                self.started(key, number, pipeline, arn);
            }
            Ok(_) => self.start_uncertain(key, number, "SageMaker's answer to the start names no execution"),
            Err(error) => {
                if error.kind != CallErrorKind::QuotaExceeded {
                    self.queue.answered(&client, (key, number), false, self.now);
                }
                if error.kind == CallErrorKind::Throttled {
                    self.note_throttle(&client, true);
                }
                self.out.push(super::Command::Note(Note::StartFailed {
                    key,
                    attempt: number,
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
        self.starts_are_taken(pipeline);
        let marker = flight.and_then(|flight| Marker::parse(&flight.args.description));
        let when_over = marker.as_ref().map_or(WhenOver::Stop, |marker| marker.when_over);
        self.queue.leave(key, number);
        self.predecessors.remove(&(key, number));
        let spelled = arn;
        let arn = arn_key(&spelled);
        let new = !self.executions.contains_key(&arn);
        if new {
            let execution = Execution {
                arn: spelled.clone(),
                status: Status::Executing,
                created: None,
                modified: None,
                description: None,
                failure_reason: None,
                started_by: None,
            };
            self.track(key, number, pipeline, execution, None);
            self.out.push(super::Command::Note(Note::ExecutionStarted { arn: spelled }));
        } else if let Some(marker) = marker.as_ref().filter(|_| self.executions.get(&arn).is_some_and(|t| t.foreign)) {
            self.bring_home(&arn, marker);
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
            attempt.denied = None;
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
        let (now, left) = (self.now, self.answers_left);
        let Some(attempt) = self.attempt_mut(key, number) else { return };
        let pipeline = attempt.pipeline;
        let Some(task) = attempt.task.clone() else { return };
        attempt.stage = Stage::Queued;
        attempt.trouble = None;
        self.predecessors.insert((key, number), flight.predecessor);
        let Some(client) = self.pipelines.get(pipeline).map(|p| p.client.clone()) else { return };
        let max_running = max_running(&task);
        let waiter = Waiter { key, attempt: number, client, pipeline, max_running, not_before: now, aside_until: now };
        match reaction {
            Reaction::Queue => {
                // Whoever is refused for capacity may start.
                self.starts_are_taken(pipeline);
                if let Some(attempt) = self.attempt_mut(key, number) {
                    attempt.denied = None;
                }
                if self.sabotaged(Sabotage::LosesItsPlace) {
                    self.queue.leave(key, number);
                }
                let client = waiter.client.clone();
                self.queue.refused(waiter, &error.message, now);
                self.tell_waiters(|w| w.client == client);
            }
            Reaction::Mend => self.set_aside(waiter, &error),
            _ => {
                let text = match error.kind {
                    CallErrorKind::Throttled => format!("AWS throttles the start, it is repeated: {}", error.message),
                    CallErrorKind::Unreachable => {
                        format!("AWS cannot be reached, the start is repeated: {}", error.message)
                    }
                    _ => error.message.clone(),
                };
                if let Some(attempt) = self.attempt_mut(key, number) {
                    Trouble::extend(&mut attempt.trouble, &text, false, left);
                }
                // The queue waits a moment as a whole: whoever is next would meet the same.
                self.queue.join(Waiter { not_before: now.plus(backoff(1, RETRY_MOST)), ..waiter });
                self.advance(key, number);
            }
        }
    }

    /// Its start was denied, which may be its own matter (a condition on the version, say) or everybody's: it keeps its
    /// place, and the next one tries.
    fn set_aside(&mut self, waiter: Waiter, error: &CallError) {
        let (now, left, pipeline) = (self.now, self.answers_left, waiter.pipeline);
        let (key, number) = (waiter.key, waiter.attempt);
        self.queue.join(waiter.clone());
        let waiting = self.waiting_for(pipeline);
        let pause = self.denied_pause(pipeline);
        let all_wait = self.sabotaged(Sabotage::DenialHoldsAll);
        let Some(p) = self.pipelines.get_mut(pipeline) else { return };
        Trouble::extend(&mut p.start_denied, &error.message, true, left);
        p.start_again_at = now.plus(if all_wait { DENIED_AGAIN } else { pause });
        self.timers.insert((p.start_again_at, Timer::Queue));
        let shared = p.start_denied.clone().filter(|_| all_wait);
        let Some(attempt) = self.attempt_mut(key, number) else { return };
        let grace = attempt.rules.denied_grace;
        if attempt.denied_turn.is_some_and(|turn| now > turn.plus(grace)) {
            // It waited for something else meanwhile: this is another denial.
            attempt.denied = None;
        }
        Trouble::extend(&mut attempt.denied, &error.message, true, left);
        attempt.denied = shared.or(attempt.denied.take());
        let since = attempt.denied.as_ref().map_or(now, |t| t.since.max(attempt.desk.asked_since));
        // Everybody else has had a turn by then; the last try comes when the grace is over.
        let last_try = since.plus(attempt.rules.denied_grace).since(now);
        let wait = DENIED_AGAIN.max(pause * waiting).min(last_try).max(Duration::from_secs(1));
        let aside_until = if all_wait { now } else { now.plus(wait) };
        attempt.denied_turn = Some(aside_until);
        self.queue.join(Waiter { aside_until, ..waiter });
        self.advance(key, number);
        self.tell_waiters(|w| w.pipeline == pipeline);
    }

    /// A start of this pipeline came back that was not denied: the others need not try one by one.
    fn starts_are_taken(&mut self, pipeline: usize) {
        if self.sabotaged(Sabotage::DenialHoldsAll) {
            return;
        }
        let was_denied = self.pipelines.get_mut(pipeline).and_then(|p| p.start_denied.take()).is_some();
        if was_denied {
            self.queue.recall(self.now.plus(DENIED_AGAIN), |w| w.pipeline == pipeline);
        }
    }

    fn waiting_for(&self, pipeline: usize) -> u32 {
        u32::try_from(self.queue.waiters().filter(|w| w.pipeline == pipeline).count()).unwrap_or(u32::MAX)
    }

    /// How long after a denied start the next of the same pipeline is sent: in the grace each of the waiting nodes gets
    /// its turn several times, as far as half a second between two allows.
    pub(super) fn denied_pause(&self, pipeline: usize) -> Duration {
        let turns = self.waiting_for(pipeline).max(1).saturating_mul(TURNS_IN_THE_GRACE);
        (self.settings.denied_grace / turns).clamp(DENIED_SOONEST, DENIED_AGAIN)
    }

    /// What one start met concerns others that wait: they are told at once.
    fn tell_waiters(&mut self, whom: impl Fn(&Waiter) -> bool) {
        let nodes: Vec<NodeRef> =
            self.queue.waiters().filter(|w| whom(w)).map(|w| NodeRef::Execute(w.key, w.attempt)).collect();
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
        let (now, left) = (self.now, self.answers_left);
        let Some(attempt) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&number)) else { return };
        Trouble::extend(&mut attempt.trouble, text, false, left);
        let Stage::Starting(flight) = &mut attempt.stage else { return };
        flight.uncertain = true;
        let at = now.plus(backoff(flight.tries.saturating_sub(1), RETRY_MOST));
        flight.retry_at = Some(at);
        self.wake_node(NodeRef::Execute(key, number), at);
    }
}
