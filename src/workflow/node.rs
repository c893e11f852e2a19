//! What the machine remembers: nodes that ask, attempts of a key, executions, pipelines and clients.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use crate::{
    input::{Action, Execute, MockState, OnStop, Task},
    pipelines::{ClientKey, Execution, StartExecution, Step, Time},
    protocol::{ExecuteTemplateReply, NodeResult, Outputs, Phase, go_duration},
};

use super::{
    RequestId,
    definition::PipelineDigest,
    identity::{self, Key, WhenOver},
    report,
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
    /// A request for another pipeline under the same key is refused.
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
    pub rules: Rules,
    /// The whole task, until it has started: then only the rules are needed.
    pub task: Option<Arc<Task>>,
    pub stage: Stage,
    /// Appended to the message: identical nodes, changed arguments.
    pub warning: Option<String>,
    pub trouble: Option<Trouble>,
    /// The execution of an earlier attempt that was looked at once more before starting.
    pub rechecked: Option<Arc<str>>,
    pub timed_out_at: Option<Time>,
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
    /// Keeps `since` when the trouble goes on.
    pub fn extend(slot: &mut Option<Self>, text: &str, denied: bool, now: Time) {
        let since = slot.as_ref().filter(|t| t.denied == denied).map_or(now, |t| t.since);
        *slot = Some(Self { since, last: now, text: text.to_owned(), denied });
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
    /// Known only because a task named its ARN: nothing says yet that this workflow started it.
    pub foreign: bool,
    pub execution: Execution,
    /// When Start returned it to this process.
    pub started_at: Option<Time>,
    /// When a describe or a list last showed it, since Start returned it.
    pub seen: Option<Time>,
    /// When it is looked at next, while it lives.
    pub due: Option<Time>,
    pub describing: bool,
    pub end: EndStage,
    pub steps: Option<Vec<Step>>,
    pub steps_at: Time,
    pub steps_page: Option<Vec<Step>>,
    pub steps_tries: u32,
    pub trouble: Option<Trouble>,
    /// Why its stop is not taken.
    pub stop_trouble: Option<Trouble>,
    pub missing: Option<Missing>,
    /// It is gone for good; the sentence says so.
    pub gone: Option<String>,
    pub stop: Option<StopStage>,
    /// When it was first seen to be stopping.
    pub stop_began: Option<Time>,
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

/// A pipeline as one client calls it.
#[derive(Debug)]
pub struct Pipeline {
    pub client: ClientKey,
    pub account: String,
    pub name: String,
    pub arn: String,
    pub listing: Listing,
    /// When that listing began.
    pub listed_at: Time,
    /// When the last one began that was completed.
    pub complete_at: Option<Time>,
    /// When it is listed again because lists lag behind an earlier process.
    pub settles_at: Option<Time>,
    /// A node names it; others are only looked into for a stop of everything.
    pub named: bool,
    pub workflow_created: Option<Time>,
    /// Live executions by due time, and all live ones.
    pub due: BTreeSet<(Time, Arc<str>)>,
    pub live: HashSet<Arc<str>>,
    pub starting: usize,
    pub round: Option<Round>,
    /// When listing was denied, unless it has worked since.
    pub list_denied: Option<Time>,
    /// Its starts are denied: met by whoever is first in line, true for all behind.
    pub start_denied: Option<Trouble>,
    /// While they are, the next start leaves then.
    pub start_again_at: Time,
    pub digests: HashMap<Option<i64>, DigestSlot>,
}

/// The complete listing that must come before the first start.
#[derive(Debug)]
pub enum Listing {
    /// To be asked for at this time: this page, or all from the first on.
    Wanted {
        at: Time,
        tries: u32,
        page: Option<Page>,
    },
    Running {
        tries: u32,
        page: Page,
    },
    Complete,
    /// Nobody may list: the token alone protects.
    Denied,
    /// The pipeline does not exist, or its listing is refused as invalid.
    Refused {
        text: String,
        at: Time,
    },
}

/// A page of the listing.
#[derive(Clone, Debug)]
pub struct Page {
    /// The first has none.
    pub token: Option<String>,
    pub number: usize,
    pub created_after: Time,
    /// Not only what was created since the last listing.
    pub all: bool,
}

/// A poll round by list that is under way.
#[derive(Debug)]
pub struct Round {
    pub remaining: HashSet<Arc<str>>,
    pub pages: usize,
    pub max_pages: usize,
    pub created_after: Time,
}

/// A shared answer of DescribePipeline.
#[derive(Debug)]
pub enum DigestSlot {
    Asking { trouble: Option<Trouble>, retry_at: Option<Time>, tries: u32 },
    Known { at: Time, digest: PipelineDigest },
    Refused { at: Time, text: String },
}

/// A client's account.
#[derive(Debug, Default)]
pub struct Client {
    pub account: Option<String>,
    pub asking: bool,
    pub retry_at: Option<Time>,
    pub tries: u32,
    pub trouble: Option<Trouble>,
}

/// A `validate` node.
#[derive(Debug)]
pub struct Validation {
    pub desk: Desk,
    pub task: Arc<Task>,
    pub pipeline: usize,
    pub ended: Option<(Time, ExecuteTemplateReply)>,
    pub denied_grace: Duration,
}

/// A `stop` node.
#[derive(Debug)]
pub struct StopNode {
    pub desk: Desk,
    pub task: Arc<Task>,
    pub pipeline: usize,
    /// What has been found to stop, while there may be more.
    pub found: BTreeSet<Arc<str>>,
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
