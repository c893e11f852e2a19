//! The pure machine of one workflow: events in, commands out. No clock, no I/O, no randomness.
//!
//! [`Machine::handle`] takes one [`Event`] and returns [`Command`]s. What it does with an event is split by subject,
//! in the order in which a node meets them:
//!
//! | module | subject |
//! |---|---|
//! | `requests` | a request comes in, is parked, and is answered from what is known |
//! | `locating`, `listing` | before a start: the account, and one complete listing that finds earlier executions |
//! | `starting`, `start_outcome`, `searching` | the table of [`identity`], the start [`queue`], and what a start's answer lets us know |
//! | `polling`, `steps`, `missing` | rounds ([`poll_plan`]), ends and their steps, executions that are gone |
//! | `questions`, `survey` | `validate` and `stop` nodes, and what a stop of everything has to find first |
//! | [`trouble`] | the table of what a failed call leads to, which all of them consult |
//! | [`run`], `clocks`, [`siblings`] | which run of the workflow this is, whose clock says so, what other nodes' markers tell |
//! | `watch` | what Kubernetes says of the workflow, and when it is asked |
//! | `ending` | time-outs, stops, the end of the workflow |
//! | `drain` | the end of the process |
//!
//! Every step is *level-triggered*: `Machine::advance` looks at what is known now and does what follows, so an event
//! that comes twice, late or not at all (a timer follows) leads to the same place.

use std::{
    collections::BTreeSet,
    hash::{BuildHasherDefault, DefaultHasher},
    sync::Arc,
    time::Duration,
};

use crate::{
    input::Task,
    pipelines::{Call, CallEnded, ClientKey, Status, Time},
    protocol::ExecuteTemplateReply,
};

mod clocks;
mod definition;
mod drain;
mod ending;
mod gauges;
mod held;
pub mod identity;
mod listing;
mod locating;
mod missing;
mod node;
mod notes;
mod pace;
mod pipeline;
pub mod poll_plan;
mod polling;
mod questions;
pub mod queue;
pub mod report;
mod requests;
pub mod run;
mod sabotage;
mod searching;
mod settings;
pub mod siblings;
mod start_outcome;
mod starting;
mod steps;
mod survey;
pub mod trouble;
mod watch;

pub use definition::PipelineDigest;
pub use gauges::{Ended, Gauges};
#[doc(hidden)]
pub use held::Held;
pub use notes::Note;
#[doc(hidden)]
pub use sabotage::Sabotage;
pub use settings::Settings;

use clocks::Clock;
use identity::Key;
use node::{Family, NodeRef, StopNode, Tracked, Validation};
use pace::{Outbox, Priority, Waiting};
use pipeline::{Client, Pipeline};
use queue::StartQueue;
use run::{Beginning, RunKnown};
use siblings::Siblings;
use survey::Survey;
use watch::Watch;

/// A map that is walked in the same order in every process: what the machine does depends on its events alone, and a
/// failing simulation can be replayed. Keys are hashes, ARNs and numbers of our own: nobody can flood it.
type HashMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<DefaultHasher>>;
type HashSet<T> = std::collections::HashSet<T, BuildHasherDefault<DefaultHasher>>;

/// Names one parked request of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names one call on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What the machine is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// The agent asks for a task. Exactly one [`Command::Answer`] follows, within the reply time-out if ticks come.
    Requested { request: RequestId, task: Arc<Task> },
    /// An answer for this task reached nobody: the next poll gets everything again.
    Unheard { task: Arc<Task> },
    /// A [`Command::Call`] came back.
    CallEnded { call: CallId, ended: CallEnded },
    /// The time of the last [`Command::WakeAt`] has come (too early or twice does no harm).
    Tick,
    /// What Kubernetes says of the workflow.
    WorkflowObserved(WorkflowState),
    /// The process is told to end: start nothing more, and see to what the workflow's end wants stopped. Known ends
    /// are still answered; [`Machine::drained`] says when all is done.
    Drain,
}

/// What Kubernetes says of the workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkflowState {
    /// Being stopped: nothing goes on but its exit handlers.
    Over,
    /// Completed, terminated, deleted, or another uid under the name: not even exit handlers go on.
    Gone,
    Alive {
        started_at: Option<Time>,
        deadline: Option<Time>,
        /// The API server's own clock when it answered (its `Date` header).
        server_time: Option<Time>,
    },
    /// There is no right to ask.
    Forbidden,
    /// It could not be asked.
    Unknown,
}

/// What the machine wants done.
#[derive(Clone, Debug)]
pub enum Command {
    Answer {
        request: RequestId,
        reply: ExecuteTemplateReply,
        /// Whether an execution was started since the node was last answered (for the metric).
        started: bool,
    },
    Call {
        call: CallId,
        client: ClientKey,
        operation: Call,
        /// How long it waited for the pace (for the metric).
        waited: Duration,
    },
    /// Send [`Event::Tick`] at this time; replaces the one asked for before.
    WakeAt(Time),
    /// Ask Kubernetes and send [`Event::WorkflowObserved`].
    AskKubernetes,
    /// Something worth a log line and a metric.
    Note(Note),
}

/// A live or waiting execution, for draining and gauges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveExecution {
    pub arn: String,
    pub stopping: bool,
}

/// The machine of one workflow.
pub struct Machine {
    settings: Settings,
    now: Time,
    /// When the call left whose answer is being taken in.
    answers_left: Time,
    out: Vec<Command>,
    /// What each call is for, and when it left.
    calls: HashMap<CallId, (Purpose, Time)>,
    last_call: u64,
    outbox: Outbox,
    timers: BTreeSet<(Time, Timer)>,
    woken_for: Option<Time>,
    clients: HashMap<ClientKey, Client>,
    pipelines: Vec<Pipeline>,
    families: HashMap<Key, Family>,
    executions: HashMap<Arc<str>, Tracked>,
    validations: HashMap<Key, Validation>,
    stops: HashMap<Key, StopNode>,
    /// What a stop of everything has to know first.
    surveys: HashMap<ClientKey, Survey>,
    queue: StartQueue,
    /// When it was last looked whether its pipelines have to be listed again.
    queue_listed_at: Time,
    /// What a queued start replaces.
    predecessors: HashMap<(Key, u32), Option<String>>,
    /// The workflow's uid, from its first task.
    uid: Option<String>,
    open_nodes: usize,
    /// That there are too many was said.
    too_many_told: bool,
    starts_in_flight: usize,
    /// Since when.
    draining: Option<Time>,
    /// Why nothing more is started.
    closed: Option<Closed>,
    run: RunKnown,
    siblings: Siblings,
    first_event: Option<Time>,
    watch: Watch,
    /// Stops that have never left, and when one last waited so.
    first_stops: HashSet<CallId>,
    stops_held_at: Time,
    /// Stops that left and did not come back.
    stops_in_flight: usize,
    aws_clock: Clock,
    /// The API server's; the workflow's times are by it.
    kubernetes_clock: Clock,
}

/// Why the workflow starts nothing more.
#[derive(Clone, Debug)]
struct Closed {
    text: String,
    /// Nodes of exit handlers may still start.
    except_exit_handlers: bool,
    /// What runs is stopped, too, also what nobody asks for.
    stops: bool,
    since: Time,
}

/// What a call on its way is for.
#[derive(Clone, Debug)]
enum Purpose {
    Identity(ClientKey),
    Digest {
        pipeline: usize,
        version: Option<i64>,
    },
    Listing {
        pipeline: usize,
    },
    Survey {
        pipeline: usize,
    },
    Start {
        key: Key,
        attempt: u32,
    },
    Describe(Arc<str>),
    Round {
        pipeline: usize,
    },
    /// The page of this listing of the execution's steps.
    Steps {
        arn: Arc<str>,
        listing: u32,
    },
    Stop(Arc<str>),
}

/// What a timer is for. A timer that comes too often does no harm.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Node(NodeRef),
    Client(ClientKey),
    Listing(usize),
    Refresh(usize),
    Digest(usize),
    Poll(usize),
    Execution(Arc<str>),
    Queue,
    Outbox,
    Workflow,
}

impl Machine {
    /// A machine that knows nothing yet.
    pub fn new(settings: Settings) -> Self {
        let mut run = RunKnown::default();
        if !settings.kubernetes {
            run.learn(Beginning::PodBorn(settings.pod_born));
        }
        Self {
            settings,
            now: Time::default(),
            answers_left: Time::default(),
            out: Vec::new(),
            calls: HashMap::default(),
            last_call: 0,
            outbox: Outbox::default(),
            timers: BTreeSet::new(),
            woken_for: None,
            clients: HashMap::default(),
            pipelines: Vec::new(),
            families: HashMap::default(),
            executions: HashMap::default(),
            validations: HashMap::default(),
            stops: HashMap::default(),
            surveys: HashMap::default(),
            queue: StartQueue::default(),
            queue_listed_at: Time::default(),
            predecessors: HashMap::default(),
            uid: None,
            open_nodes: 0,
            too_many_told: false,
            starts_in_flight: 0,
            draining: None,
            closed: None,
            run,
            siblings: Siblings::default(),
            first_event: None,
            watch: Watch::default(),
            first_stops: HashSet::default(),
            stops_held_at: Time::default(),
            stops_in_flight: 0,
            aws_clock: Clock::default(),
            kubernetes_clock: Clock::default(),
        }
    }

    /// Takes one event and says what is to be done about it. `now` never runs backwards.
    pub fn handle(&mut self, event: Event, now: Time) -> Vec<Command> {
        self.now = self.now.max(now);
        if self.first_event.is_none() {
            self.first_event = Some(self.now);
            self.watch_workflow();
        }
        match event {
            Event::Requested { request, task } => self.requested(request, task),
            Event::Unheard { task } => self.unheard(&task),
            Event::CallEnded { call, ended } => self.call_ended(call, ended),
            Event::Tick => self.woken_for = None,
            Event::WorkflowObserved(state) => self.workflow_observed(state),
            Event::Drain => self.drain(),
        }
        self.run_timers();
        self.start_next();
        self.release_calls();
        self.set_alarm();
        std::mem::take(&mut self.out)
    }

    /// Executions that run now.
    pub fn live(&self) -> Vec<LiveExecution> {
        let live = self.pipelines.iter().flat_map(|p| &p.live);
        live.filter_map(|arn| self.executions.get(arn))
            .map(|t| LiveExecution { arn: t.execution.arn.clone(), stopping: t.execution.status == Status::Stopping })
            .collect()
    }

    /// Whether a start is on its way whose outcome is awaited.
    pub fn starts_in_flight(&self) -> bool {
        self.starts_in_flight > 0
    }

    fn call_ended(&mut self, call: CallId, ended: CallEnded) {
        // A reply that comes twice finds nothing: its purpose is gone.
        let Some((purpose, sent)) = self.calls.remove(&call) else { return };
        self.answers_left = sent;
        if let Some(dated) = ended.server_time {
            self.aws_clock.compare(sent, self.now, dated);
        }
        match purpose {
            Purpose::Identity(client) => self.account_answered(&client, ended.result),
            Purpose::Digest { pipeline, version } => self.digest_answered(pipeline, version, ended.result),
            Purpose::Survey { pipeline } => self.survey_answered(pipeline, ended.result),
            Purpose::Listing { pipeline } => self.listing_answered(pipeline, ended.result),
            Purpose::Start { key, attempt } => self.start_answered(key, attempt, ended.result),
            Purpose::Describe(arn) => self.describe_answered(&arn, sent, ended.result),
            Purpose::Round { pipeline } => self.round_answered(pipeline, ended.result),
            Purpose::Steps { arn, listing } => self.steps_answered(&arn, listing, ended.result),
            Purpose::Stop(arn) => {
                self.stops_in_flight = self.stops_in_flight.saturating_sub(1);
                self.stop_answered(&arn, ended.result);
            }
        }
    }

    /// Puts a call in line; it leaves when the pace allows.
    fn call(&mut self, priority: Priority, client: ClientKey, operation: Call, purpose: Purpose) {
        self.last_call += 1;
        let call = CallId(self.last_call);
        self.calls.insert(call, (purpose, self.now));
        self.outbox.push(priority, Waiting { call, client, operation, since: self.now });
    }

    fn release_calls(&mut self) {
        let slots = drain::STOPS_AT_ONCE.saturating_sub(self.stops_in_flight);
        let (free, next) = if self.draining.is_some() {
            self.outbox.release_last(self.now, slots)
        } else {
            self.outbox.release(self.now)
        };
        for Waiting { call, client, operation, since } in free {
            self.first_stops.remove(&call);
            self.calls.entry(call).and_modify(|(_, sent)| *sent = self.now);
            self.stops_in_flight += usize::from(matches!(operation, Call::StopExecution { .. }));
            self.out.push(Command::Call { call, client, operation, waited: self.now.since(since) });
        }
        if let Some(at) = next {
            self.timers.insert((at, Timer::Outbox));
        }
        if !self.first_stops.is_empty() {
            self.stops_held_at = self.now;
        }
    }

    fn run_timers(&mut self) {
        while let Some((at, timer)) = self.timers.first().cloned() {
            if at > self.now {
                break;
            }
            self.timers.pop_first();
            match timer {
                Timer::Node(node) => self.node_woken(node),
                Timer::Client(client) => self.ask_account(&client),
                Timer::Listing(pipeline) => self.list_next(pipeline),
                Timer::Refresh(pipeline) => self.list_once_settled(pipeline),
                Timer::Digest(pipeline) => self.ask_digests(pipeline),
                Timer::Poll(pipeline) => self.poll(pipeline),
                Timer::Execution(arn) => self.execution_woken(&arn),
                Timer::Workflow => self.watch_workflow(),
                Timer::Queue | Timer::Outbox => {}
            }
        }
    }

    /// Asks for one tick at the earliest timer; only when that changed.
    fn set_alarm(&mut self) {
        if let Some(at) = self.queue.next_time(self.now) {
            self.timers.insert((at, Timer::Queue));
        }
        let Some(at) = self.timers.first().map(|(at, _)| *at) else { return };
        if self.woken_for != Some(at) {
            self.woken_for = Some(at);
            self.out.push(Command::WakeAt(at));
        }
    }

    fn wake_node(&mut self, node: NodeRef, at: Time) {
        self.timers.insert((at, Timer::Node(node)));
    }

    fn node_woken(&mut self, node: NodeRef) {
        match node {
            NodeRef::Execute(key, attempt) => {
                if let Some(a) = self.families.get_mut(&key).and_then(|f| f.attempts.get_mut(&attempt)) {
                    // Its timer is still set when something else woke the node.
                    a.wake = a.wake.filter(|at| *at > self.now);
                }
                self.advance(key, attempt);
            }
            NodeRef::Validate(key) => self.advance_validation(key),
            NodeRef::Stop(key) => self.advance_stop(key),
        }
        self.answer_parked(node);
    }

    /// A throttle slows the pace of its client.
    fn note_throttle(&mut self, client: &ClientKey, write: bool) {
        self.outbox.throttled(client, write, self.now);
    }

    fn warn(&mut self, text: impl Into<String>) {
        self.out.push(Command::Note(Note::Warning { text: text.into() }));
    }

    /// Our clock's time as AWS's.
    fn server_now(&self) -> Time {
        self.aws_clock.theirs(self.now)
    }
}

/// Waits 1, 2, 4, … seconds, `most` at the most.
fn backoff(tries: u32, most: Duration) -> Duration {
    Duration::from_secs(1_u64 << tries.min(10)).min(most)
}
