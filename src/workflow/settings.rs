//! What the machine of a workflow is told once.

use std::time::Duration;

use crate::pipelines::Time;

/// What the machine needs to know besides its events. All durations have the defaults of the command line's flags.
#[derive(Clone, Debug)]
pub struct Settings {
    pub reply_timeout: Duration,
    pub poll_min: Duration,
    pub poll_max: Duration,
    pub stop_wait: Duration,
    pub denied_grace: Duration,
    pub max_running_per_workflow: Option<usize>,
    /// Open nodes held at once before further ones get free polls.
    pub max_nodes: usize,
    /// For at most so many live executions of the process are there calls for each: its steps while it runs, a describe when
    /// it has started.
    pub crowd: usize,
    /// When this run of the workflow began as far as the pod can tell: the token file's age, or the process's.
    pub pod_born: Time,
    /// Whether [`super::Command::AskKubernetes`] is answered at all.
    pub kubernetes: bool,
    pub workflow_check_interval: Duration,
    /// A workflow of which nothing is open is forgotten when nobody has asked for so long.
    pub forget_after: Duration,
    /// Since when the process has been asked for the workflow, where an earlier machine of it was let go; `None`: since the
    /// machine's first event.
    pub served_since: Option<Time>,
    /// Whether the log of a failed step's job is read.
    pub logs: bool,
    /// So long after [`super::Event::Drain`] the process ends at the latest.
    pub shutdown_grace: Duration,
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
            crowd: 20,
            pod_born: Time::at(0),
            kubernetes: false,
            workflow_check_interval: Duration::from_secs(60),
            forget_after: Duration::from_secs(900),
            served_since: None,
            logs: true,
            shutdown_grace: Duration::from_secs(25),
        }
    }
}
