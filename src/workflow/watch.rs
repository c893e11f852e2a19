//! The question to Kubernetes: when it is asked, and what its answers mean.
//!
//! | when | why |
//! |---|---|
//! | at the first event, then every few seconds until it answers | when this run of the workflow began: nothing starts before |
//! | every `workflow_check_interval` while anything is live or queued | it may be over |
//! | before a start that waited for long | the same, and a start costs money |
//! | in a rhythm after the signal | whether the pod moved or the workflow is over |

use std::time::Duration;

use crate::pipelines::Time;

use super::{Command, Machine, Sabotage, Timer, WorkflowState, queue::Waiter, run::Beginning};

/// For so long a failing Kubernetes is waited for before the pod's birth stands in.
const RUN_PATIENCE: Duration = Duration::from_secs(120);
/// And so often it is asked: the time alone proves nothing, a process that stood still has not asked.
const RUN_TRIES: u32 = 6;
/// Until the beginning of the run is known, nothing starts: that is worth a question every few seconds.
const EPOCH_AGAIN: Duration = Duration::from_secs(5);
/// A start that waited for longer than this is preceded by a question.
const LONG_WAIT: Duration = Duration::from_secs(30);
/// An answer this young need not be asked for again: a hundred starts may wait.
const FRESH: Duration = Duration::from_secs(10);
/// A question without an answer is given up after this long; whoever asks has shorter time-outs.
const GIVEN_UP: Duration = Duration::from_secs(15);
/// When it is asked after the signal. That a workflow is over can be visible a moment after its pod was told to end.
const AFTER_THE_SIGNAL: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(12),
];

/// What is known of the conversation.
#[derive(Debug, Default)]
pub struct Watch {
    /// The next question by the interval.
    next: Option<Time>,
    asked: Option<Time>,
    answered: Option<Time>,
    /// Questions without an answer yet.
    open: usize,
    /// How often it was asked since it last said something.
    in_vain: u32,
    deadline: Option<Time>,
    /// When the signal came, and how many of its questions were asked.
    signal: Option<Time>,
    asked_since_signal: usize,
    forbidden: bool,
}

impl Machine {
    /// Looks whether it is time to ask, or past the workflow's deadline.
    pub(super) fn watch_workflow(&mut self) {
        if !self.settings.kubernetes {
            return;
        }
        let now = self.now;
        if let Some(deadline) = self.watch.deadline.filter(|deadline| *deadline <= now) {
            let since = crate::text::rfc3339(deadline).unwrap_or_default();
            self.close(&format!("the workflow's activeDeadlineSeconds passed at {since}"), true);
        }
        if self.watch.signal.is_some() {
            self.ask_after_signal();
        } else if self.watch.next.is_none_or(|at| at <= now) {
            self.ask_by_interval();
        }
        let first = self.first_event.unwrap_or(now);
        if !self.run.is_known() && now.since(first) >= RUN_PATIENCE && self.watch.in_vain >= RUN_TRIES {
            self.warn("Kubernetes does not answer; the pod's birth stands in for the start of the workflow's run");
            self.pod_born_stands_in();
        }
    }

    fn ask_by_interval(&mut self) {
        let interval = self.settings.workflow_check_interval;
        let unknown = !self.run.is_known();
        let at = self.now.plus(if unknown { interval.min(EPOCH_AGAIN) } else { interval });
        self.watch.next = Some(at);
        self.timers.insert((at, Timer::Workflow));
        let idle = self.queue.is_empty() && self.pipelines.iter().all(|p| p.live.is_empty());
        if (unknown || !idle || self.watch.asked.is_none()) && !self.awaits_answer() {
            self.ask();
        }
    }

    fn ask(&mut self) {
        self.watch.asked = Some(self.now);
        self.watch.open += 1;
        self.watch.in_vain += 1;
        self.out.push(Command::AskKubernetes);
    }

    fn awaits_answer(&self) -> bool {
        self.watch.open > 0 && self.watch.asked.is_some_and(|at| self.now < at.plus(GIVEN_UP))
    }

    /// Whether a node may start now. One that waited for long may only right after Kubernetes was asked, whatever it
    /// answered short of an end.
    pub(super) fn may_start(&mut self, waiter: &Waiter) -> bool {
        let since =
            self.families.get(&waiter.key).and_then(|f| f.attempts.get(&waiter.attempt)).map(|a| a.desk.asked_since);
        let long = since.is_some_and(|since| self.now.since(since) > LONG_WAIT);
        let fresh = self.watch.answered.is_some_and(|at| self.now.since(at) <= FRESH);
        if !self.settings.kubernetes || self.watch.forbidden || !long || fresh {
            return true;
        }
        if self.watch.open == 0 {
            self.ask();
        }
        if self.awaits_answer() {
            let given_up = self.watch.asked.unwrap_or(self.now).plus(GIVEN_UP);
            self.timers.insert((given_up, Timer::Queue));
            return false;
        }
        true
    }

    pub(super) fn workflow_observed(&mut self, state: WorkflowState) {
        let state = if self.sabotaged(Sabotage::StopOnAlive) { WorkflowState::Over } else { state };
        self.watch.open = self.watch.open.saturating_sub(1);
        self.watch.answered = Some(self.now);
        self.watch.forbidden = state == WorkflowState::Forbidden;
        if state != WorkflowState::Unknown {
            self.watch.in_vain = 0;
        }
        match state {
            WorkflowState::Over => self.close("the workflow was stopped", true),
            WorkflowState::Gone => self.close("the workflow is over (completed, terminated or deleted)", false),
            WorkflowState::Alive { started_at, deadline, server_time } => {
                if let Some((asked, dated)) = self.watch.asked.zip(server_time) {
                    self.kubernetes_clock.compare(asked, self.now, dated);
                }
                self.watch.deadline = deadline.map(|at| self.kubernetes_clock.ours(at));
                if let Some(deadline) = self.watch.deadline {
                    self.timers.insert((deadline.max(self.now), Timer::Workflow));
                }
                match started_at {
                    Some(at) => self.learn_run(Beginning::Stamp(at)),
                    None if !self.run.is_known() => self.pod_born_stands_in(),
                    None => {}
                }
            }
            WorkflowState::Forbidden if !self.run.is_known() => self.pod_born_stands_in(),
            WorkflowState::Forbidden | WorkflowState::Unknown => {}
        }
    }

    /// The pod was told to end: asks at once and then in the rhythm of [`AFTER_THE_SIGNAL`].
    pub(super) fn signal_came(&mut self) {
        self.watch.signal = Some(self.now);
        self.watch_workflow();
    }

    fn ask_after_signal(&mut self) {
        let Some(signal) = self.watch.signal else { return };
        let moments = AFTER_THE_SIGNAL.map(|after| signal.plus(after));
        let due = moments.iter().filter(|at| **at <= self.now).count();
        if due > self.watch.asked_since_signal && self.answer_matters() {
            self.ask();
        }
        self.watch.asked_since_signal = due;
        if let Some(at) = moments.get(due) {
            self.timers.insert((*at, Timer::Workflow));
        }
    }

    /// Whether an answer would change what is stopped before the process ends.
    fn answer_matters(&self) -> bool {
        let may_be_stopped = || {
            let mut live = self.pipelines.iter().flat_map(|p| &p.live);
            live.any(|arn| self.stops_when_gone(arn) && self.executions.get(arn).is_some_and(|t| t.stop.is_none()))
        };
        !self.watch.forbidden && (self.starts_in_flight > 0 || may_be_stopped() || self.still_looks())
    }

    /// Whether the end of the drain has to wait for an answer.
    pub(super) fn awaits_verdict(&self) -> bool {
        let more = self.watch.asked_since_signal < AFTER_THE_SIGNAL.len() || self.watch.open > 0;
        self.settings.kubernetes && more && self.answer_matters()
    }
}
