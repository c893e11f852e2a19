//! The pure machine of one workflow: events in, commands out. No clock, no I/O, no randomness.
//!
//! [`Machine::handle`] takes one [`Event`] and returns [`Command`]s. The house has floors; a module uses those below it and
//! none above (`tests/it/floors.rs`), and every field has one owner, whose methods alone change it:
//!
//! | floor | module | what it owns or decides |
//! |---|---|---|
//! | the spine | `machine` | the order of an event, the tables of answers, timers and changes |
//! | nodes | `nodes` | which nodes there are, and who looks when something changed |
//! | | `attempt`, `validation`, `stop_node` | one node each: what it waits for, what it does next, what it is told |
//! | the world | `world` | what follows, asked together |
//! | | `executions`, `execution`, `polls` | what AWS showed of executions: looks, ends, steps, stops |
//! | | `pipeline`, `client` | accounts, listings, digests, denied starts |
//! | | `watch`, [`run`], `closing`, `siblings` | what Kubernetes says, which run this is, why nothing more starts, what markers tell |
//! | | `queue`, `tally`, `rest` | whose turn it is to start, how many are open, whether nobody asks |
//! | effects | `effects`, `outbox` | time, calls, timers, commands, and changes that somebody has to look at |
//! | tables | [`identity`], [`trouble`], [`report`] | pure tables and texts |
//!
//! Nobody calls up. An owner that changes says so (`effects::Change`), and the spine lets those look whom it concerns,
//! until nothing changes any more. Every step is *level-triggered*: a node looks at what is known now and does what
//! follows, so an event that comes twice, late or not at all (a timer follows) leads to the same place.

use std::{sync::Arc, time::Duration};

use crate::{
    input::Task,
    pace::{self, LaneKey},
    pipelines::{Call, CallEnded, ClientKey, Time},
    protocol::Reply,
    rounds::{Seen, Site, Wanted},
};

mod attempt;
mod client;
mod clocks;
mod closing;
mod conversation;
mod definition;
mod drain;
mod effects;
mod execution;
mod executions;
mod gauges;
mod group;
pub mod identity;
mod key;
mod known;
mod machine;
mod marker;
mod nodes;
mod notes;
mod outbox;
mod pipeline;
mod polls;
mod queue;
mod ranks;
pub mod report;
mod rest;
mod room;
pub mod run;
mod settings;
mod shown;
mod siblings;
mod slab;
mod stop_node;
mod tally;
pub mod trouble;
mod validation;
mod watch;
mod world;

pub use definition::PipelineDigest;
pub use gauges::Gauges;
#[doc(hidden)]
pub use gauges::Held;
pub use group::Group;
pub use machine::Machine;
pub use notes::{Ended, JobLines, Note};
pub use settings::Settings;

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
    /// A [`Command::Call`] for a page of a listing has to wait for the pace.
    CallWaits { call: CallId },
    /// What the governor says to a [`Command::Pace`], then or later.
    Paced { lane: LaneKey, answer: pace::Answer },
    /// The time of the last [`Command::WakeAt`] has come (too early or twice does no harm).
    Tick,
    /// What lists show of the workflow's executions, and the end of a [`Command::Look`].
    Seen(Seen),
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
        reply: Reply,
        /// Whether an execution was started since the node was last answered (for the metric).
        started: bool,
    },
    Call {
        call: CallId,
        client: ClientKey,
        operation: Call,
        /// It took a turn of its lane's pace: a throttle of it says that the pace is too fast.
        paced: bool,
        /// How long it waited for its turn (for the metric).
        waited: Duration,
    },
    /// Ask the governor, which answers by [`Event::Paced`].
    Pace { lane: LaneKey, request: pace::Request },
    /// Have these executions of a pipeline looked at, or, where they have just started, known to whoever looks:
    /// [`Event::Seen`] tells what lists show, and when that is all.
    Look { site: Site, wanted: Vec<Wanted>, server_now: Time },
    /// Send [`Event::Tick`] at this time; replaces the one asked for before.
    WakeAt(Time),
    /// Ask Kubernetes and send [`Event::WorkflowObserved`].
    AskKubernetes,
    /// Something worth a log line and a metric.
    Note(Note),
    /// Nothing of the workflow is open, nobody has asked for long, and what is known is in AWS or the workflow gone: the
    /// machine can be thrown away. Another one ([`Settings::served_since`]) finds everything again when somebody asks.
    Retire,
}

/// A live or waiting execution, for draining and gauges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveExecution {
    pub arn: String,
    pub stopping: bool,
}
