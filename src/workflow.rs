//! The pure machine of one workflow: events in, commands out. No clock, no I/O, no randomness.

use std::{sync::Arc, time::Duration};

use crate::{
    input::Task,
    pipelines::{Call, CallEnded, ClientKey, Status, Time},
    protocol::ExecuteTemplateReply,
};

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
    /// A [`Command::Call`] came back.
    CallEnded { call: CallId, ended: CallEnded },
    /// The time of the last [`Command::WakeAt`] has come (too early or twice does no harm).
    Tick,
    /// What Kubernetes says of the workflow.
    WorkflowObserved(WorkflowState),
    /// Start nothing more; known ends are still answered.
    Drain,
}

/// What Kubernetes says of the workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkflowState {
    /// Deleted, stopped, completed, or another uid under the name.
    Over,
    Alive {
        started_at: Option<Time>,
        deadline: Option<Time>,
    },
    /// It could not be asked.
    Unknown,
}

/// What the machine wants done.
#[derive(Clone, Debug)]
pub enum Command {
    Answer {
        request: RequestId,
        reply: ExecuteTemplateReply,
    },
    Call {
        call: CallId,
        client: ClientKey,
        operation: Call,
    },
    /// Send [`Event::Tick`] at this time; replaces the one asked for before.
    WakeAt(Time),
    /// Ask Kubernetes and send [`Event::WorkflowObserved`].
    AskKubernetes,
    /// Something worth a log line and a metric.
    Note(Note),
}

/// Facts for logs and metrics.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    ExecutionStarted {
        arn: String,
    },
    ExecutionAdopted {
        arn: String,
    },
    ExecutionFinished {
        arn: String,
        status: Status,
        ran: Option<Duration>,
    },
    StartFailed {
        kind: &'static str,
        message: String,
    },
    StopRequested {
        arn: String,
        ok: bool,
    },
    /// Something an operator should read.
    Warning {
        text: String,
    },
}

/// A live or waiting execution, for draining and gauges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveExecution {
    pub arn: String,
    pub stopping: bool,
}

/// What the machine needs to know besides its events. All durations have the defaults of the command line's flags.
#[derive(Clone, Debug)]
pub struct Settings {
    pub reply_timeout: Duration,
    pub poll_min: Duration,
    pub poll_max: Duration,
    pub stop_wait: Duration,
    pub denied_grace: Duration,
    pub max_running_per_workflow: Option<usize>,
    /// Nodes held at once before further ones get free polls.
    pub max_nodes: usize,
    /// When this run of the workflow began as far as the pod can tell: the token file's age, or the process's.
    pub pod_born: Time,
    /// Whether [`Command::AskKubernetes`] is answered at all.
    pub kubernetes: bool,
    pub workflow_check_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            reply_timeout: Duration::from_secs(1),
            poll_min: Duration::from_secs(5),
            poll_max: Duration::from_secs(30),
            stop_wait: Duration::from_secs(600),
            denied_grace: Duration::from_secs(120),
            max_running_per_workflow: None,
            max_nodes: 20_000,
            pod_born: Time(0),
            kubernetes: false,
            workflow_check_interval: Duration::from_secs(60),
        }
    }
}

/// The machine of one workflow.
pub struct Machine;

impl Machine {
    /// A machine that knows nothing yet.
    pub fn new(_settings: Settings) -> Self {
        Self
    }

    /// Takes one event and says what is to be done about it.
    pub fn handle(&mut self, _event: Event, _now: Time) -> Vec<Command> {
        Vec::new()
    }

    /// Executions that run now.
    pub fn live(&self) -> Vec<LiveExecution> {
        Vec::new()
    }

    /// Whether a Start is on its way whose outcome is awaited.
    pub fn starts_in_flight(&self) -> bool {
        false
    }
}
