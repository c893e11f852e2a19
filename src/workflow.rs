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

use std::{sync::Arc, time::Duration};

use crate::{
    input::Task,
    pipelines::{Call, CallEnded, ClientKey, Time},
    protocol::ExecuteTemplateReply,
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
mod pace;
mod pipeline;
pub mod poll_plan;
mod polls;
mod queue;
pub mod report;
pub mod run;
mod settings;
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
pub use notes::{Ended, Note};
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
