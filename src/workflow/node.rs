//! What the machine remembers: nodes that ask, attempts of a key, executions, pipelines and clients.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use crate::{
    input::{Action, Execute, MockState, OnStop, Task},
    pipelines::{Execution, StartExecution, Step, Time},
    protocol::{ExecuteTemplateReply, NodeResult, Outputs, Phase, go_duration},
};

use super::{
    HashSet, RequestId,
    identity::{self, Key, WhenOver},
    report,
    siblings::Group,
};

/// Beyond this many live executions a node's message changes at most every [`MESSAGE_REST`].
pub const CROWD: usize = 20;
const MESSAGE_REST: Duration = Duration::from_secs(300);

/// Which node an event or a timer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeRef {
    Execute(Key, u32),
    Validate(Key),
    Stop(Key),
}

impl NodeRef {
    /// The node that a task asks for; a mocked one has none.
    pub fn of(task: &Task) -> Result<Self, MockState> {
        match &task.action {
            Action::Mock(state) => Err(*state),
            Action::Validate { .. } => Ok(Self::Validate(Key::of_question(task))),
            Action::Stop { .. } => Ok(Self::Stop(Key::of_question(task))),
            Action::Execute(_) => Ok(Self::Execute(Key::of_execution(task), task.attempt)),
        }
    }

    /// The key, for jitter.
    pub fn key(&self) -> Key {
        match self {
            Self::Execute(key, _) | Self::Validate(key) | Self::Stop(key) => *key,
        }
    }
}

/// What a node would be told now.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// `None`: nothing can be said yet (a free poll).
    pub phase: Option<Phase>,
    pub message: String,
    pub outputs: Option<Outputs>,
    /// Nothing better is about to come within the reply time-out.
    pub settled: bool,
}

impl View {
    /// A view that may be sent at once.
    pub fn settled(phase: Phase, message: impl Into<String>, outputs: Option<Outputs>) -> Self {
        Self { phase: Some(phase), message: message.into(), outputs, settled: true }
    }

    /// A view that may soon be outdone.
    pub fn passing(phase: Option<Phase>, message: impl Into<String>) -> Self {
        Self { phase, message: message.into(), outputs: None, settled: false }
    }
}

/// A node's conversation with the agent.
#[derive(Debug)]
pub struct Desk {
    pub asked_since: Time,
    pub parked: Vec<(RequestId, Time)>,
    /// An execution was started, and no answer has said so yet.
    pub started: bool,
    last: Option<Sent>,
    answers: u64,
}

#[derive(Debug)]
struct Sent {
    with_message: u64,
    without_message: u64,
    at: Time,
    requeue: Duration,
    message_at: Time,
}

impl Desk {
    /// A node that asks for the first time.
    pub fn new(now: Time) -> Self {
        Self { asked_since: now, parked: Vec::new(), started: false, last: None, answers: 0 }
    }

    /// Whether the node was ever told a phase, not only to come back.
    pub fn told(&self) -> bool {
        self.last.is_some()
    }

    /// The last answer was not heard: the next one says everything.
    pub fn forget_told(&mut self) {
        self.last = None;
    }

    /// The reply for a view; remembers what was told, so that a poll without news costs Argo nothing.
    pub fn reply(&mut self, view: View, key: Key, open: usize, live: usize, now: Time) -> ExecuteTemplateReply {
        let node = NodeResult {
            phase: view.phase,
            message: if view.phase.is_some() { report::message(&view.message) } else { String::new() },
            outputs: view.outputs,
        };
        if view.phase.is_some_and(Phase::is_terminal) {
            return ExecuteTemplateReply { node: Some(node), requeue: None };
        }
        self.answers += 1;
        let requeue = report::requeue(now.since(self.asked_since), open, key.spread(self.answers));
        if view.phase.is_none() {
            return ExecuteTemplateReply::free_poll(requeue);
        }
        let (with_message, without_message) = fingerprints(&node);
        let news = match &self.last {
            None => true,
            Some(last) => {
                // Earlier than promised: the reply was lost or the agent is new. It gets everything again.
                let resend = now < last.at.plus(last.requeue.mul_f64(0.8));
                let only_message = last.without_message == without_message;
                let rests = live > CROWD && now < last.message_at.plus(MESSAGE_REST);
                let same = last.with_message == with_message || (only_message && rests);
                resend || !same
            }
        };
        // What was kept back was not told: it is news still when the rest is over.
        let (with_message, message_at) = match &self.last {
            Some(last) if !news => (last.with_message, last.message_at),
            _ => (with_message, now),
        };
        self.last = Some(Sent { with_message, without_message, at: now, requeue, message_at });
        if news {
            ExecuteTemplateReply { node: Some(node), requeue: Some(go_duration(requeue)) }
        } else {
            ExecuteTemplateReply::free_poll(requeue)
        }
    }
}

fn fingerprints(node: &NodeResult) -> (u64, u64) {
    let mut hash = DefaultHasher::new();
    node.phase.hash(&mut hash);
    for parameter in node.outputs.iter().flat_map(|o| &o.parameters) {
        (&parameter.name, &parameter.value).hash(&mut hash);
    }
    let without = hash.finish();
    node.message.hash(&mut hash);
    (hash.finish(), without)
}

/// Everything known of one key.
#[derive(Debug)]
pub struct Family {
    /// The pipeline that the key is for, as its newest client calls it; a request for another is refused.
    pub pipeline: usize,
    pub template_name: Option<String>,
    /// By attempt, the digest of the arguments of its execution, else of its first request.
    pub args_digests: Vec<(u32, String)>,
    /// ARNs of the executions of this key.
    pub executions: Vec<Arc<str>>,
    /// Boxed: a map's node has room for eleven, and most nodes have one attempt.
    pub attempts: BTreeMap<u32, Box<Attempt>>,
}

impl Family {
    /// A key of which nothing is known yet.
    pub fn new(pipeline: usize) -> Self {
        Self {
            pipeline,
            template_name: None,
            args_digests: Vec::new(),
            executions: Vec::new(),
            attempts: BTreeMap::new(),
        }
    }

    /// The digest of an attempt's arguments.
    pub fn args_digest(&self, attempt: u32) -> Option<&str> {
        self.args_digests.iter().find(|(number, _)| *number == attempt).map(|(_, digest)| digest.as_str())
    }
}

/// One attempt of a node: what Argo polls.
#[derive(Debug)]
pub struct Attempt {
    pub desk: Desk,
    /// The pipeline as its own client calls it: another attempt may come with another role.
    pub pipeline: usize,
    pub rules: Rules,
    /// The whole task, until it has started: then only the rules are needed.
    pub task: Option<Arc<Task>>,
    pub stage: Stage,
    /// Appended to the message: identical nodes, changed arguments.
    pub warning: Option<String>,
    pub trouble: Option<Trouble>,
    /// Its own start was denied, every time it was sent since then. What others meet ends no node.
    pub denied: Option<Trouble>,
    /// When it was to be tried again after the last denial.
    pub denied_turn: Option<Time>,
    /// The execution of an earlier attempt that was looked at once more before starting.
    pub rechecked: Option<Arc<str>>,
    pub timed_out_at: Option<Time>,
    /// When a stop task named it before it could start: it no longer does.
    pub dropped: Option<Time>,
    /// The timer that is set.
    pub wake: Option<Time>,
}

/// The part of a task that matters after the start.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub timeout: Option<Duration>,
    pub stop_when_over: bool,
    pub accept_completed_with_failures: bool,
    pub attached: bool,
    /// May start after the workflow is over (an exit handler's node).
    pub exit_handler: bool,
    pub denied_grace: Duration,
    /// Which nodes Argo hands out together with it.
    pub group: Option<Group>,
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
            exit_handler: identity::is_exit_handler(task),
            denied_grace,
            group: task.execution_key.as_deref().and_then(Group::of),
        }
    }
}

/// Trouble with AWS: since when, and its text.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub since: Time,
    /// When it was last met.
    last: Time,
    pub text: String,
    /// Whether the cause is a permission or the credentials.
    pub denied: bool,
}

impl Trouble {
    /// Takes in what a call met that left then; keeps `since` when the trouble goes on. When the answer was read says
    /// nothing: a process that stood still reads what was true before.
    pub fn extend(slot: &mut Option<Self>, text: &str, denied: bool, left: Time) {
        let since = slot.as_ref().filter(|t| t.denied == denied).map_or(left, |t| t.since);
        *slot = Some(Self { since, last: left, text: text.to_owned(), denied });
    }

    /// Whether this denial is final for a node that asks since `asked`: it was met again after the grace. Time alone
    /// proves nothing, a process that stood still has not tried.
    pub fn outlasted(&self, asked: Time, grace: Duration) -> bool {
        self.denied && self.last >= self.since.max(asked).plus(grace)
    }
}

/// Where an attempt is.
#[derive(Debug)]
pub enum Stage {
    /// Its past is not known: account, epoch or listing are missing.
    Locating,
    /// Proven not started; in the start queue.
    Queued,
    Starting(Box<Flight>),
    /// The outcome of its start is looked for by marker.
    Searching {
        since: Time,
        next: Time,
        tries: u32,
        token_used: bool,
        text: String,
    },
    Following(Arc<str>),
    Ended(Box<ExecuteTemplateReply>),
}

/// A start on its way, repeated byte for byte until its outcome is known.
#[derive(Debug)]
pub struct Flight {
    pub args: StartExecution,
    pub predecessor: Option<String>,
    pub first_sent: Time,
    pub tries: u32,
    /// It may have been done.
    pub uncertain: bool,
    /// The call that is out, or when to send it again.
    pub retry_at: Option<Time>,
}

/// One execution of this workflow.
#[derive(Debug)]
pub struct Tracked {
    pub key: Key,
    pub attempt: u32,
    pub pipeline: usize,
    /// What becomes of it at the workflow's end when no node follows it.
    pub when_over: WhenOver,
    /// Which run of the workflow started it, as its marker says.
    pub run: Option<Time>,
    /// This process has seen it execute: whatever it ends as, it ends in this run.
    pub witnessed: bool,
    /// Whoever started it instead of us, although it carries our marker; told once.
    pub stranger: Option<String>,
    /// Known only because a task named its ARN: nothing says yet that this workflow started it.
    pub foreign: bool,
    /// Nodes that were attached to it by its ARN, under whatever key.
    pub attached: BTreeSet<(Key, u32)>,
    pub execution: Execution,
    /// When Start returned it to this process.
    pub started_at: Option<Time>,
    /// When a describe or a list last showed it, since Start returned it.
    pub seen: Option<Time>,
    /// A list shows it live although it has ended: until a describe tells, nothing of its key starts.
    pub doubted: bool,
    /// When it was first seen as far on its way as it is: an answer asked for before that is of an earlier moment.
    pub progressed_at: Time,
    /// When it is looked at next, while it lives.
    pub due: Option<Time>,
    pub describing: bool,
    /// The last look failed: not before this the next, whoever wants it.
    pub rests_until: Option<Time>,
    pub end: EndStage,
    /// Dropped when the last node that needs them has ended: twenty take 12 KiB.
    pub steps: Option<Vec<Step>>,
    pub steps_at: Time,
    pub steps_page: Option<Vec<Step>>,
    /// Counts the listings: an answer to an earlier one, begun while the execution still ran, says nothing of its end.
    pub steps_listing: u32,
    pub steps_tries: u32,
    pub trouble: Option<Trouble>,
    /// Why its stop is not taken.
    pub stop_trouble: Option<Trouble>,
    pub missing: Option<Missing>,
    /// It is gone for good; the sentence says so.
    pub gone: Option<String>,
    pub stop: Option<StopStage>,
    /// Which stop it is: a new one when an earlier was taken and the execution runs all the same.
    pub stop_series: u32,
    /// When it was first seen to be stopping.
    pub stop_began: Option<Time>,
}

impl Tracked {
    /// What its node is told of a marker that is not ours.
    pub fn warning(&self) -> Option<String> {
        let who = self.stranger.as_deref()?.rsplit('/').next()?;
        Some(format!("its marker is this node's, but {} started it in Studio", report::fit(who, 63)))
    }
}

/// What of an ended execution is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndStage {
    Live,
    /// A list showed its end; a describe must confirm it.
    Seen,
    /// Described; its steps are being listed.
    Listing,
    Known,
    /// Known and told; its steps were dropped and are listed again for whoever still asks.
    Told,
}

impl EndStage {
    /// Whether a describe has shown the end, and nothing is missing that could still change a decision.
    pub fn is_certain(self) -> bool {
        matches!(self, Self::Listing | Self::Known | Self::Told)
    }
}

/// Answers of "not found" in a row.
#[derive(Clone, Debug)]
pub struct Missing {
    pub since: Time,
    pub answers: u32,
    /// The node's end, should it be gone.
    pub text: String,
}

/// A stop that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct StopStage {
    pub tries: u32,
    /// When to send it (again); `None` while a call is out or after it was taken.
    pub send_at: Option<Time>,
    pub answer: StopAnswer,
}

/// What AWS last said to a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopAnswer {
    /// Nothing that settles it.
    None,
    Taken,
    /// It had ended already, or is not there.
    NothingToStop,
    /// It will be refused again.
    Refused,
}

/// A `validate` node.
#[derive(Debug)]
pub struct Validation {
    pub desk: Desk,
    /// Until it has succeeded.
    pub task: Option<Arc<Task>>,
    pub pipeline: usize,
    pub ended: Option<(Time, ExecuteTemplateReply)>,
    pub denied_grace: Duration,
}

/// What a `stop` node stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopScope {
    Everything,
    /// What was started under this key.
    Of(Key),
    /// The execution with this ARN.
    Execution(String),
}

impl StopScope {
    /// Reads it from a task; nothing for one that is no `stop`.
    pub fn of(task: &Task) -> Option<(Self, Option<Duration>)> {
        let Action::Stop { execution_arn, timeout } = &task.action else { return None };
        let scope = match (execution_arn, &task.execution_key) {
            (Some(arn), _) => Self::Execution(arn.clone()),
            (None, Some(name)) => Self::Of(Key::named(&task.workflow.uid, name)),
            (None, None) => Self::Everything,
        };
        Some((scope, *timeout))
    }
}

/// A `stop` node.
#[derive(Debug)]
pub struct StopNode {
    pub desk: Desk,
    pub names: StopScope,
    pub timeout: Option<Duration>,
    pub pipeline: usize,
    /// What has been found to stop, while there may be more.
    pub found: BTreeSet<Arc<str>>,
    /// Nothing was found, and it waits for what an earlier process may have started: what is created later is another's.
    pub settles: bool,
    /// What it stops, and since when, once that is known.
    pub targets: Option<Vec<Arc<str>>>,
    /// Why there may be more.
    pub gap: Option<String>,
    /// Which of them have not ended.
    pub open: HashSet<Arc<str>>,
    pub stopping_since: Option<Time>,
    /// The timer that is set.
    pub wake: Option<Time>,
    pub ended: Option<ExecuteTemplateReply>,
    pub denied_grace: Duration,
}
