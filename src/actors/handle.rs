//! The door to the actors: all that HTTP sees of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use actix::{Addr, MailboxError};
use dashmap::DashMap;
use futures_util::future::join_all;
use tokio::{sync::oneshot, time::timeout};

use super::{
    messages::{CrashForTest, CrashSupervisorForTest, Drain, Execute, GetRunner, Ping, PublishGauges},
    supervisor::Supervisor,
    workflow_runner::WorkflowRunner,
};
use crate::{
    input::{Task, WorkflowId},
    metrics::{Metrics, labels::Actor},
    pipelines::{Clock, Time},
    protocol::ExecuteTemplateReply,
    workflow::LiveExecution,
};

/// What an agent is told when there is nothing to say: come back, nothing was lost.
const FREE_POLL: Duration = Duration::from_secs(15);

/// A supervisor that was silent for longer counts as dead; three of its pings.
const SILENCE: Duration = Duration::from_secs(30);

/// How often the supervisor is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// How long a scrape waits for the runners; Prometheus gives up after 10 s.
const GAUGES_TIMEOUT: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SupervisorError {
    #[error("the supervisor is gone, the plugin is about to restart")]
    Gone,
}

/// An answer, and whether the request started an execution (for the metric).
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    pub reply: ExecuteTemplateReply,
    pub started: bool,
}

impl Answered {
    fn free_poll() -> Self {
        Self { reply: ExecuteTemplateReply::free_poll(FREE_POLL), started: false }
    }
}

/// A runner in the registry.
#[derive(Clone)]
pub struct Registered {
    pub generation: u64,
    pub runner: Addr<WorkflowRunner>,
}

/// What the supervisor and its handles share: the registry is written by the supervisor alone.
pub struct Shared {
    pub registry: DashMap<String, Registered>,
    pub draining: AtomicBool,
    last_sign_of_life: AtomicI64,
    clock: Clock,
    metrics: Arc<Metrics>,
    /// Longest time until a request is answered.
    reply_timeout: Duration,
}

impl Shared {
    pub fn new(clock: Clock, metrics: Arc<Metrics>, reply_timeout: Duration) -> Self {
        let now = clock().0;
        Self {
            registry: DashMap::new(),
            draining: AtomicBool::new(false),
            last_sign_of_life: AtomicI64::new(now),
            clock,
            metrics,
            reply_timeout,
        }
    }
}

/// The cloneable door to the supervisor and its runners.
#[derive(Clone)]
pub struct SupervisorHandle {
    supervisor: Addr<Supervisor>,
    shared: Arc<Shared>,
}

/// What names a workflow: its uid; before Argo v3.4.2 the agent sent none, and one pod serves one workflow.
pub fn registry_key(workflow: &WorkflowId) -> String {
    if workflow.uid.is_empty() { format!("{}/{}", workflow.namespace, workflow.name) } else { workflow.uid.clone() }
}

impl SupervisorHandle {
    pub(super) fn new(supervisor: Addr<Supervisor>, shared: Arc<Shared>) -> Self {
        Self { supervisor, shared }
    }

    /// Answers a task within the reply time-out. Whatever is late, dead or full is answered by a free poll: the
    /// agent asks again and nothing is lost. Only a supervisor that is gone is an error.
    pub async fn execute(&self, task: Arc<Task>) -> Result<Answered, SupervisorError> {
        match timeout(self.shared.reply_timeout, self.ask(task)).await {
            Ok(answered) => answered,
            Err(_) => Ok(Answered::free_poll()),
        }
    }

    async fn ask(&self, task: Arc<Task>) -> Result<Answered, SupervisorError> {
        let Some(runner) = self.runner(&task.workflow).await? else {
            return Ok(Answered::free_poll());
        };
        let (reply, answer) = oneshot::channel();
        // The address is this request's own clone, so it is never full; closed means dead and soon respawned.
        let posted = self.shared.metrics.posted(Actor::Workflow);
        if runner.try_send(Execute { task, reply, posted }).is_err() {
            return Ok(Answered::free_poll());
        }
        Ok(answer.await.unwrap_or_else(|_| Answered::free_poll()))
    }

    async fn runner(&self, workflow: &WorkflowId) -> Result<Option<Addr<WorkflowRunner>>, SupervisorError> {
        if !self.supervisor.connected() {
            return Err(SupervisorError::Gone);
        }
        // The registry's guard must not live across an await.
        let known = self.shared.registry.get(&registry_key(workflow)).map(|entry| entry.runner.clone());
        if known.is_some() {
            return Ok(known);
        }
        let posted = self.shared.metrics.posted(Actor::Supervisor);
        match self.supervisor.send(GetRunner { workflow: workflow.clone(), posted }).await {
            Ok(runner) => Ok(runner),
            Err(MailboxError::Closed) => Err(SupervisorError::Gone),
            Err(MailboxError::Timeout) => Ok(None),
        }
    }

    /// Whether the supervisor gave a sign of life within the last 30 s.
    pub fn is_alive(&self) -> bool {
        let last = Time(self.shared.last_sign_of_life.load(Ordering::Relaxed));
        self.supervisor.connected() && (self.shared.clock)().since(last) <= SILENCE
    }

    /// Whether new work is still begun.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Notes the supervisor's signs of life for [`Self::is_alive`]; ends with the supervisor.
    pub async fn keep_pinging(self) {
        while self.supervisor.send(Ping).await.is_ok() {
            self.shared.last_sign_of_life.store((self.shared.clock)().0, Ordering::Relaxed);
            tokio::time::sleep(PING_INTERVAL).await;
        }
    }

    /// Has every runner tell the metrics how things stand. Who does not answer in time is shown as it was.
    pub async fn publish_gauges(&self) {
        let runners: Vec<_> = self.shared.registry.iter().map(|entry| entry.runner.clone()).collect();
        let asked = join_all(runners.iter().map(|runner| runner.send(PublishGauges)));
        if timeout(GAUGES_TIMEOUT, asked).await.is_err() {
            tracing::warn!("a scrape shows some workflows as they were: their runners are busy");
        }
    }

    /// Starts nothing more from now on. Ends when no start is in flight any more and what the end of a workflow
    /// wants stopped is stopped, at the latest after `grace`, with what still runs.
    pub async fn drain(&self, grace: Duration) -> Result<Vec<LiveExecution>, SupervisorError> {
        self.shared.draining.store(true, Ordering::Relaxed);
        self.supervisor.send(Drain { grace }).await.map_err(|_| SupervisorError::Gone)
    }

    /// Panics a workflow's runner; false when there is none.
    #[doc(hidden)]
    pub fn crash_runner_for_test(&self, workflow: &WorkflowId) -> bool {
        let known = self.shared.registry.get(&registry_key(workflow)).map(|entry| entry.runner.clone());
        known.is_some_and(|runner| runner.try_send(CrashForTest).is_ok())
    }

    /// Panics the supervisor.
    #[doc(hidden)]
    pub fn crash_supervisor_for_test(&self) -> bool {
        self.supervisor.try_send(CrashSupervisorForTest).is_ok()
    }
}
