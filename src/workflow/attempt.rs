//! One attempt of an `execute` node: what Argo polls.
//!
//! | module | subject |
//! |---|---|
//! | `view` | what it would be told now, and telling it |
//! | `end` | its end, and when its time is up |
//! | `over` | time-outs that have struck, and the end of the workflow |
//! | `follow` | following an execution, and reporting its end |
//! | `locate` | waiting for what is not known, searching for what may have started |
//! | `start` | queueing, starting, repeating a start |
//! | `outcome` | what a start's answer lets us know |
//! | `resume` | continuing the execution that ended: look, mark, retry |
//! | `advance` | the table of [`super::identity`] carried out: follow, report, or start |

use std::{sync::Arc, time::Duration};

use crate::{
    input::{Action, Execute, OnRetry, OnStop, Task},
    pipelines::{StartExecution, Time},
    protocol::ReplyText,
    results::Wanted,
};

use super::{
    RequestId,
    conversation::Conversation,
    effects::{Change, Effects, NodeRef, Timer},
    group::Group,
    key::Key,
    marker::is_exit_handler,
    queue::{Row, Waiter, Way},
    slab::{AttemptId, ExecutionId, PipelineId},
    trouble::Trouble,
    world::World,
};

mod advance;
mod end;
mod follow;
mod locate;
mod outcome;
mod over;
mod resume;
mod start;
mod view;

use resume::{InFlightResume, Resumes};

/// One attempt of a node.
#[derive(Debug)]
pub struct Attempt {
    id: AttemptId,
    key: Key,
    number: u32,
    conversation: Conversation,
    /// The pipeline as its own client calls it: another attempt may come with another role.
    pipeline: PipelineId,
    rules: Rules,
    /// Which results of the steps it is to be told, if any, until it has ended.
    wanted: Option<Box<Wanted>>,
    /// The digest of its first request's arguments.
    args: Box<str>,
    /// The whole task, until it has started: then only the rules are needed.
    task: Option<Arc<Task>>,
    stage: Stage,
    /// Appended to the message: identical nodes, changed arguments.
    warning: Option<String>,
    trouble: Option<Box<Trouble>>,
    /// Its own start was denied, every time it was sent since then. What others meet ends no node.
    denied: Option<Box<Trouble>>,
    /// When it was to be tried again after the last denial.
    denied_turn: Option<Time>,
    /// What became of its resumes; few have any.
    resumes: Option<Box<Resumes>>,
    /// The execution of an earlier attempt that was looked at once more before starting.
    rechecked: Option<ExecutionId>,
    timed_out_at: Option<Time>,
    /// When a stop task named it before it could start: it no longer does.
    dropped: Option<Time>,
    /// It has ended and no execution shows how: nobody but this machine knows.
    untraced: bool,
    /// The timer that is set.
    wake: Option<Time>,
}

/// The part of a task that matters after the start.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    timeout: Option<Duration>,
    stop_when_over: bool,
    accept_completed_with_failures: bool,
    attached: bool,
    on_retry: OnRetry,
    /// May start after the workflow is over (an exit handler's node).
    exit_handler: bool,
    denied_grace: Duration,
    /// Which nodes Argo hands out together with it.
    group: Option<Group>,
}

impl Rules {
    /// Reads them from a task's arguments.
    pub fn of(task: &Task, execute: &Execute, denied_grace: Duration) -> Self {
        let attached = execute.attach.is_some();
        Self {
            timeout: execute.timeout,
            // What we only attached to is somebody else's, unless the user says otherwise.
            stop_when_over: match execute.on_stop {
                Some(on_stop) => on_stop == OnStop::Stop,
                None => !attached,
            },
            accept_completed_with_failures: execute.accept_completed_with_failures,
            attached,
            on_retry: execute.on_retry,
            exit_handler: is_exit_handler(task),
            denied_grace,
            group: task.execution_key.as_deref().and_then(Group::of),
        }
    }
}

fn wanted(task: &Task) -> Option<Box<Wanted>> {
    match &task.action {
        Action::Execute(execute) if !execute.results.is_nothing() => Some(Box::new(execute.results.clone())),
        _ => None,
    }
}

/// A task as it is kept: a copy, so that what thousands of waiting nodes hold lies where the machine keeps everything else,
/// and what follows a start takes the place that its task leaves. The request's own was made by another thread, and most
/// allocators keep such memory apart: that of 10,000 tasks was never used again (`memory` in the README's benchmark).
fn kept(task: &Task) -> Arc<Task> {
    Arc::new(task.clone())
}

/// Where an attempt is.
#[derive(Debug)]
enum Stage {
    /// Its past is not known: account, epoch or listing are missing.
    Locating,
    /// Proven not started; in the start queue.
    Queued {
        /// The execution that its start replaces.
        predecessor: Option<ExecutionId>,
        /// The one that is continued instead.
        resumes: Option<ExecutionId>,
    },
    Starting(Box<InFlightStart>),
    Resuming(Box<InFlightResume>),
    /// The outcome of its start is looked for by marker.
    Searching(Box<Search>),
    Following(ExecutionId),
    Ended(ReplyText),
}

/// A start on its way, repeated byte for byte until its outcome is known.
#[derive(Debug)]
struct InFlightStart {
    args: StartExecution,
    predecessor: Option<ExecutionId>,
    first_sent: Time,
    tries: u32,
    /// It may have been done.
    uncertain: bool,
    /// When to send it again; `None` while the call is out.
    retry_at: Option<Time>,
}

/// A search by marker for what may have started.
#[derive(Debug)]
struct Search {
    since: Time,
    next: Time,
    tries: u32,
    /// AWS says that the token was used, so something did start.
    token_used: bool,
    /// What the start would have replaced.
    replaces: Option<ExecutionId>,
    text: String,
}

/// What an attempt has to know of the others of its key.
#[derive(Clone, Copy, Debug)]
pub struct Kin {
    /// The highest attempt that anybody asked for.
    pub newest_asked: u32,
    /// Another one is being started, or its start's outcome is looked for.
    pub other_start: bool,
}

impl Attempt {
    /// An attempt that is asked for the first time.
    pub fn new(
        id: AttemptId,
        key: Key,
        pipeline: PipelineId,
        rules: Rules,
        task: &Arc<Task>,
        args: &str,
        now: Time,
    ) -> Self {
        Self {
            id,
            key,
            number: task.attempt,
            conversation: Conversation::new(now),
            pipeline,
            rules,
            wanted: wanted(task),
            args: args.into(),
            task: Some(kept(task)),
            stage: Stage::Locating,
            warning: None,
            trouble: None,
            denied: None,
            denied_turn: None,
            resumes: None,
            rechecked: None,
            timed_out_at: None,
            dropped: None,
            untraced: false,
            wake: None,
        }
    }

    /// Its node's key.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Its number among the attempts of its key.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The pipeline as its own client calls it.
    pub fn pipeline(&self) -> PipelineId {
        self.pipeline
    }

    /// The digest of its first request's arguments.
    pub fn args(&self) -> &str {
        &self.args
    }

    /// When it was first asked for.
    pub fn asked_since(&self) -> Time {
        self.conversation.asked_since()
    }

    /// Its place among nodes that look at the same time.
    pub fn turn(&self) -> (Time, Option<RequestId>) {
        self.conversation.turn()
    }

    /// Whether it has come to its end.
    pub fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }

    /// Whether nobody but this machine knows that it has ended.
    pub fn is_untraced(&self) -> bool {
        self.untraced
    }

    /// Whether its end was told.
    pub fn end_is_told(&self) -> bool {
        self.conversation.end_is_told()
    }

    /// Whether its past is not known yet.
    pub fn is_locating(&self) -> bool {
        matches!(self.stage, Stage::Locating)
    }

    /// Whether it waits in the start queue.
    pub fn is_queued(&self) -> bool {
        matches!(self.stage, Stage::Queued { .. })
    }

    /// Whether it is being started or resumed, or its start's outcome is looked for.
    pub fn is_starting(&self) -> bool {
        matches!(self.stage, Stage::Starting(_) | Stage::Resuming(_) | Stage::Searching(_))
    }

    /// Whether its start is on its way.
    pub fn is_being_started(&self) -> bool {
        matches!(self.stage, Stage::Starting(_))
    }

    /// Whether it is being resumed.
    pub fn is_resuming(&self) -> bool {
        matches!(self.stage, Stage::Resuming(_))
    }

    /// Whether it may yet start something.
    pub fn may_start(&self) -> bool {
        !matches!(self.stage, Stage::Following(_) | Stage::Ended(_))
    }

    /// The execution that it follows.
    pub fn followed(&self) -> Option<ExecutionId> {
        match self.stage {
            Stage::Following(id) => Some(id),
            _ => None,
        }
    }

    /// Whether its execution is stopped at the workflow's end.
    pub fn stops_when_over(&self) -> bool {
        self.rules.stop_when_over
    }

    /// Whether its execution's time-out stops it.
    pub fn stops_in_time(&self) -> bool {
        self.rules.timeout.is_some() && (self.rules.stop_when_over || !self.rules.attached)
    }

    /// Whether it still holds its task although it has ended.
    pub fn holds_task_after_end(&self) -> bool {
        self.is_ended() && self.task.is_some()
    }

    /// A list shows the execution that it is starting, before the start has come back.
    pub fn start_shows(&mut self) {
        self.conversation.note_start();
    }

    /// A request comes in; it is answered when there is something to say.
    pub fn park(&mut self, request: RequestId, fx: &Effects) {
        self.conversation.park(request, fx);
    }

    /// The last answer was not heard.
    pub fn unheard(&mut self) {
        self.conversation.forget_told();
    }

    /// It is asked for again: takes the task, where that is needed, and the warning that the request deserves.
    pub fn asked_again(&mut self, task: &Arc<Task>, warning: Option<String>) {
        self.warning = warning.or(self.warning.take());
        if self.is_locating() && self.task.is_none() {
            self.task = Some(kept(task));
        }
    }

    /// The first request deserves a warning.
    pub fn warn(&mut self, warning: Option<String>) {
        self.warning = warning;
    }

    /// Its timer has come; another is still set when something else woke it.
    pub fn woken(&mut self, now: Time) {
        self.wake = self.wake.filter(|at| *at > now);
    }

    /// A stop task names its key: unless it has started it never will. Whether it has to look at that.
    pub fn drop_unstarted(&mut self, now: Time) -> bool {
        let waits = matches!(self.stage, Stage::Locating | Stage::Queued { .. }) && !self.rules.attached;
        if waits {
            self.dropped.get_or_insert(now);
        }
        waits
    }

    /// The one place where the stage changes, and with it what is counted of it. Gives the stage before.
    fn set_stage(&mut self, stage: Stage, w: &mut World) -> Stage {
        debug_assert!(!self.is_ended(), "an end is final");
        let before = std::mem::replace(&mut self.stage, stage);
        let on_its_way = |stage: &Stage| matches!(stage, Stage::Starting(_) | Stage::Resuming(_));
        if on_its_way(&before) {
            w.tally.start_landed(self.pipeline);
        }
        if on_its_way(&self.stage) {
            w.tally.start_sent(self.pipeline);
        }
        if matches!(before, Stage::Resuming(_)) && !matches!(self.stage, Stage::Resuming(_)) {
            // Whatever it found: the next may ask whether the account has room.
            let client = w.pipelines[self.pipeline].client().clone();
            w.queue.answered(&client, self.id, false, w.fx.now());
        }
        if self.is_ended() {
            w.tally.node_ended(w.fx.now());
        }
        if let Stage::Following(id) = before
            && self.followed() != Some(id)
        {
            w.fx.changed(Change::Released(id));
        }
        before
    }

    /// What is to be executed, until it has started.
    fn execute(&self) -> Option<&Execute> {
        match &self.task.as_deref()?.action {
            Action::Execute(execute) => Some(execute),
            _ => None,
        }
    }

    /// How it is to begin.
    fn way(&self) -> Way {
        match self.stage {
            Stage::Queued { resumes: Some(_), .. } | Stage::Resuming(_) => Way::Resume,
            _ => Way::Start,
        }
    }

    /// Its place in the queue's words.
    fn waiter(&self, w: &World) -> Waiter {
        let max_running = self.execute().and_then(|execute| execute.max_running);
        Waiter {
            node: self.id,
            key: self.key,
            client: w.pipelines[self.pipeline].client().clone(),
            row: Row { pipeline: self.pipeline, way: self.way(), max_running },
        }
    }

    /// Looks again at this time.
    fn wake_at(&self, at: Time, w: &mut World) {
        w.fx.wake(at, Timer::Node(NodeRef::Execute(self.id)));
    }

    /// Looks again after a while; once is enough, however often it is looked at meanwhile.
    fn wake_after(&mut self, after: Duration, w: &mut World) {
        let (now, at) = (w.fx.now(), w.fx.now().plus(after));
        if self.wake.is_none_or(|wake| wake > at || wake <= now) {
            self.wake = Some(at);
            self.wake_at(at, w);
        }
    }
}
