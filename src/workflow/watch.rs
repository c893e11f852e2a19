//! The question to Kubernetes: when it is asked, and what its answers mean.
//!
//! | when | why |
//! |---|---|
//! | at the first event, then every few seconds until it answers | when this run of the workflow began: nothing starts before |
//! | every `workflow_check_interval` while anything is live or queued | it may be over |
//! | before a start that waited for long | the same, and a start costs money |
//! | when nobody has asked for long and not all that is known is in AWS | it may be over, and then it is forgotten |
//! | in a rhythm after the signal | whether the pod moved or the workflow is over |

use std::time::Duration;

use crate::{pipelines::Time, text::rfc3339};

use super::{
    WorkflowState,
    effects::{Change, Effects, Timer},
    run::Beginning,
};

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

/// What the rest of the machine has at stake in an answer.
#[derive(Clone, Copy, Debug)]
pub struct Stake {
    /// It is known when this run of the workflow began.
    pub run_is_known: bool,
    /// Nothing is live or queued.
    pub idle: bool,
    /// An answer would change what is stopped before the process ends.
    pub matters: bool,
}

impl Watch {
    /// Looks whether it is time to ask, or past the workflow's deadline. Whether it has been asked in vain for so long that
    /// the pod's birth has to stand in for the run's beginning.
    pub fn look(&mut self, stake: Stake, fx: &mut Effects) -> bool {
        if !fx.settings().kubernetes {
            return false;
        }
        let now = fx.now();
        if let Some(deadline) = self.deadline.filter(|deadline| *deadline <= now) {
            let since = rfc3339(deadline).unwrap_or_default();
            let text = format!("the workflow's activeDeadlineSeconds passed at {since}");
            fx.changed(Change::Over { text, except_exit_handlers: true });
        }
        if let Some(signal) = self.signal {
            self.ask_after_signal(signal, stake.matters, fx);
        } else if self.next.is_none_or(|at| at <= now) {
            self.ask_by_interval(stake, fx);
        }
        let in_vain = !stake.run_is_known && now.since(fx.began()) >= RUN_PATIENCE && self.in_vain >= RUN_TRIES;
        if in_vain {
            fx.warn("Kubernetes does not answer; the pod's birth stands in for the start of the workflow's run");
        }
        in_vain
    }

    fn ask_by_interval(&mut self, stake: Stake, fx: &mut Effects) {
        let interval = fx.settings().workflow_check_interval;
        let at = fx.now().plus(if stake.run_is_known { interval } else { interval.min(EPOCH_AGAIN) });
        self.next = Some(at);
        fx.wake(at, Timer::Workflow);
        if (!stake.run_is_known || !stake.idle || self.asked.is_none()) && !self.awaits_answer(fx.now()) {
            self.ask(fx);
        }
    }

    /// Nothing is open, and whether the workflow goes on decides what has to be remembered.
    pub fn ask_at_rest(&mut self, fx: &mut Effects) {
        if fx.settings().kubernetes && !self.forbidden && !self.awaits_answer(fx.now()) {
            self.ask(fx);
        }
    }

    fn ask(&mut self, fx: &mut Effects) {
        self.asked = Some(fx.now());
        self.open += 1;
        self.in_vain += 1;
        fx.ask_kubernetes();
    }

    /// Whether an answer may still come.
    pub fn awaits_answer(&self, now: Time) -> bool {
        self.open > 0 && self.asked.is_some_and(|at| now < at.plus(GIVEN_UP))
    }

    /// Whether a node that asks since then may start now. One that waited for long may only right after Kubernetes was
    /// asked, whatever it answered short of an end.
    pub fn may_start(&mut self, asked_since: Time, fx: &mut Effects) -> bool {
        let now = fx.now();
        let long = now.since(asked_since) > LONG_WAIT;
        let fresh = self.answered.is_some_and(|at| now.since(at) <= FRESH);
        if !fx.settings().kubernetes || self.forbidden || !long || fresh {
            return true;
        }
        if self.open == 0 {
            self.ask(fx);
        }
        let awaits = self.awaits_answer(now);
        if awaits {
            fx.wake(self.asked.unwrap_or(now).plus(GIVEN_UP), Timer::Queue);
        }
        !awaits
    }

    /// Takes in an answer; what it tells of the run's beginning.
    pub fn observed(&mut self, state: WorkflowState, run_is_known: bool, fx: &mut Effects) -> Option<Beginning> {
        let pod_born = (!run_is_known).then_some(Beginning::PodBorn(fx.settings().pod_born));
        self.open = self.open.saturating_sub(1);
        self.answered = Some(fx.now());
        self.forbidden = state == WorkflowState::Forbidden;
        if state != WorkflowState::Unknown {
            self.in_vain = 0;
        }
        let mut over = |text: &str, except_exit_handlers| {
            fx.changed(Change::Over { text: text.to_owned(), except_exit_handlers });
            None
        };
        match state {
            WorkflowState::Over => over("the workflow was stopped", true),
            WorkflowState::Gone => over("the workflow is over (completed, terminated or deleted)", false),
            WorkflowState::Alive { started_at, deadline, server_time } => {
                if let Some((asked, dated)) = self.asked.zip(server_time) {
                    fx.kubernetes_dated(asked, dated);
                }
                self.deadline = deadline.map(|at| fx.kubernetes().ours(at));
                if let Some(deadline) = self.deadline {
                    fx.wake(deadline.max(fx.now()), Timer::Workflow);
                }
                started_at.map(Beginning::Stamp).or(pod_born)
            }
            WorkflowState::Forbidden => pod_born,
            WorkflowState::Unknown => None,
        }
    }

    /// The pod was told to end: from now on it is asked in the rhythm of [`AFTER_THE_SIGNAL`].
    pub fn signal_came(&mut self, now: Time) {
        self.signal = Some(now);
    }

    fn ask_after_signal(&mut self, signal: Time, matters: bool, fx: &mut Effects) {
        let moments = AFTER_THE_SIGNAL.map(|after| signal.plus(after));
        let due = moments.iter().filter(|at| **at <= fx.now()).count();
        if due > self.asked_since_signal && matters && !self.forbidden {
            self.ask(fx);
        }
        self.asked_since_signal = due;
        if let Some(at) = moments.get(due) {
            fx.wake(*at, Timer::Workflow);
        }
    }

    /// Whether the process may yet learn that the workflow is over.
    pub fn may_learn_more(&self) -> bool {
        !self.forbidden && (self.asked_since_signal < AFTER_THE_SIGNAL.len() || self.open > 0)
    }
}
