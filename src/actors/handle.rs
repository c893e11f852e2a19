//! The handle of the actors: all that HTTP sees of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use actix::{Addr, Arbiter, MailboxError};
use futures_util::future::{join, join_all};
use tokio::{sync::oneshot, time::timeout};

use super::{
    messages::{CrashForTest, CrashSupervisorForTest, Drain, Execute, GetRunner, Ping, PublishGauges},
    registry::Registry,
    supervisor::Supervisor,
    workflow_runner::WorkflowRunner,
};
use crate::{
    input::{Task, WorkflowId},
    metrics::{Metrics, labels::Actor},
    pipelines::{Clock, Time},
    protocol::{ExecuteTemplateReply, ReplyText},
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
    pub reply: ReplyText,
    /// Whether this request is the one that started an execution.
    pub started: bool,
}

impl Answered {
    fn free_poll() -> Self {
        Self { reply: ExecuteTemplateReply::free_poll(FREE_POLL).into(), started: false }
    }
}

/// What all clones of a handle share.
struct Shared {
    /// Milliseconds since the epoch, by `clock`.
    last_sign_of_life: AtomicI64,
    clock: Clock,
    metrics: Arc<Metrics>,
    /// Longest time until a request is answered.
    reply_timeout: Duration,
}

/// A handle of the supervisor and its runners; cloning is cheap, and clones go to any thread.
#[derive(Clone)]
pub struct SupervisorHandle {
    supervisor: Addr<Supervisor>,
    registry: Arc<Registry>,
    shared: Arc<Shared>,
}

impl SupervisorHandle {
    /// A handle of a supervisor that counts as alive until its first ping is due.
    pub(super) fn new(
        supervisor: Addr<Supervisor>,
        registry: Arc<Registry>,
        clock: Clock,
        metrics: Arc<Metrics>,
        reply_timeout: Duration,
    ) -> Self {
        let last_sign_of_life = AtomicI64::new(clock().millis());
        let shared = Arc::new(Shared { last_sign_of_life, clock, metrics, reply_timeout });
        Self { supervisor, registry, shared }
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
        let queued = self.shared.metrics.message_queued(Actor::Workflow);
        if runner.try_send(Execute { task, reply, paper: ReplyText::paper(), queued }).is_err() {
            return Ok(Answered::free_poll());
        }
        Ok(answer.await.unwrap_or_else(|_| Answered::free_poll()))
    }

    async fn runner(&self, workflow: &WorkflowId) -> Result<Option<Addr<WorkflowRunner>>, SupervisorError> {
        if !self.supervisor.connected() {
            return Err(SupervisorError::Gone);
        }
        if let Some(known) = self.registry.runner(workflow) {
            return Ok(Some(known));
        }
        let queued = self.shared.metrics.message_queued(Actor::Supervisor);
        match self.supervisor.send(GetRunner { workflow: workflow.clone(), home: Arbiter::current(), queued }).await {
            Ok(runner) => Ok(runner),
            Err(MailboxError::Closed) => Err(SupervisorError::Gone),
            Err(MailboxError::Timeout) => Ok(None),
        }
    }

    /// Whether the supervisor gave a sign of life within the last 30 s.
    pub fn is_alive(&self) -> bool {
        let last = Time::at(self.shared.last_sign_of_life.load(Ordering::Relaxed));
        self.supervisor.connected() && (self.shared.clock)().since(last) <= SILENCE
    }

    /// Whether new work is still begun.
    pub fn is_draining(&self) -> bool {
        self.registry.is_draining()
    }

    /// Notes the supervisor's signs of life for [`Self::is_alive`]; ends with the supervisor.
    pub async fn keep_pinging(self) {
        while self.supervisor.send(Ping).await.is_ok() {
            self.shared.last_sign_of_life.store((self.shared.clock)().millis(), Ordering::Relaxed);
            tokio::time::sleep(PING_INTERVAL).await;
        }
    }

    /// Has every runner tell the metrics how things stand. Who does not answer in time is shown as it was.
    pub async fn publish_gauges(&self) {
        let runners = join_all(self.registry.runners().iter().map(|runner| runner.send(PublishGauges)));
        // The supervisor has the keeper of what they share asked.
        let asked = join(runners, self.supervisor.send(PublishGauges));
        if timeout(GAUGES_TIMEOUT, asked).await.is_err() {
            tracing::warn!("a scrape shows some workflows as they were: their runners are busy");
        }
    }

    /// Starts nothing more from now on. Ends when no start is in flight any more and what the end of a workflow
    /// wants stopped is stopped, at the latest after `grace`, with what still runs.
    pub async fn drain(&self, grace: Duration) -> Result<Vec<LiveExecution>, SupervisorError> {
        self.registry.drain();
        self.supervisor.send(Drain { grace }).await.map_err(|_| SupervisorError::Gone)
    }

    /// Panics a workflow's runner; false when there is none.
    #[doc(hidden)]
    pub fn crash_runner_for_test(&self, workflow: &WorkflowId) -> bool {
        self.registry.runner(workflow).is_some_and(|runner| runner.try_send(CrashForTest).is_ok())
    }

    /// Panics the keeper of what workflows share.
    #[doc(hidden)]
    pub fn crash_keeper_for_test(&self) -> bool {
        self.supervisor.try_send(CrashForTest).is_ok()
    }

    /// Panics the supervisor.
    #[doc(hidden)]
    pub fn crash_supervisor_for_test(&self) -> bool {
        self.supervisor.try_send(CrashSupervisorForTest).is_ok()
    }
}
