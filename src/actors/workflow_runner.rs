//! The runner of one workflow: carries out what the machine decides and tells it what came of it.
//!
//! No decision is made here. The runner's memory is a cache: the truth is in AWS, and a runner that died is replaced
//! by one that knows nothing and finds everything again.

use std::{collections::HashMap, sync::Arc};

use actix::{
    Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, ResponseFuture, SpawnHandle, WeakRecipient,
};
use tokio::sync::oneshot;

use super::{
    Dependencies,
    handle::Answered,
    messages::{
        CallAnswered, CallCameBack, CrashForTest, Drain, Execute, Exit, Lister, LookAsked, Paced, PageAsked, PageShown,
        PageWaits, PublishGauges, RunnerExited, SeenByList, TurnsAsked, WorkflowObserved,
    },
    shared_keeper::{RunnerId, SharedKeeper},
};
use crate::{
    backend::{SharedBackend, carry_out},
    input::{Task, WorkflowId},
    metrics::{facts::CallMade, labels::Actor as Kind, live::WorkflowGauges},
    pace::LaneKey,
    pipelines::{Call, CallErrorKind, ClientKey, Time},
    rounds::Page,
    workflow::{CallId, Command, Event, LiveExecution, Machine, Note, RequestId, Settings, WorkflowState},
};

/// Tells the supervisor when its runner is dropped: on a stop, and while unwinding from a panic.
pub struct ExitGuard {
    workflow: WorkflowId,
    generation: u64,
    supervisor: WeakRecipient<RunnerExited>,
    retired: bool,
}

impl ExitGuard {
    /// Tells of the end of this generation of a workflow's runners; nobody, where the supervisor is gone by then.
    pub fn new(workflow: WorkflowId, generation: u64, supervisor: WeakRecipient<RunnerExited>) -> Self {
        Self { workflow, generation, supervisor, retired: false }
    }
}

impl Drop for ExitGuard {
    #[allow(clippy::disallowed_methods, reason = "a drop cannot await; without a supervisor the process ends anyway")]
    fn drop(&mut self) {
        if let Some(supervisor) = self.supervisor.upgrade() {
            let exit = if std::thread::panicking() {
                Exit::Panicked
            } else if self.retired {
                Exit::Retired
            } else {
                Exit::Stopped
            };
            supervisor.do_send(RunnerExited { workflow: self.workflow.clone(), generation: self.generation, exit });
        }
    }
}

/// When the machine wants to be woken. The timer may stand earlier than the wish (it is then set again), never later:
/// moving a wish back costs nothing.
#[derive(Default)]
struct Alarm {
    wanted: Option<Time>,
    armed: Option<(Time, SpawnHandle)>,
}

/// Who waits for the answer about a task.
struct Asker {
    task: Arc<Task>,
    reply: oneshot::Sender<Answered>,
    paper: Vec<u8>,
}

/// The actor of one workflow.
pub struct WorkflowRunner {
    workflow: WorkflowId,
    dependencies: Arc<Dependencies>,
    backend: SharedBackend,
    /// Who keeps what workflows share, and under which name this one is known there.
    keeper: (RunnerId, Addr<SharedKeeper>),
    machine: Box<Machine>,
    /// Requests that wait for the machine's answer.
    parked: foldhash::HashMap<RequestId, Asker>,
    /// Whose answers came too late; the machine is yet to be told.
    unheard: Vec<Arc<Task>>,
    next_request: u64,
    alarm: Alarm,
    gauges: WorkflowGauges,
    /// When the end of an execution was noticed that is not yet explained.
    noticed: HashMap<String, Time>,
    /// Who waits for the drain's end.
    drains: Vec<oneshot::Sender<Vec<LiveExecution>>>,
    exit: ExitGuard,
}

/// The alarm rings.
#[derive(Message)]
#[rtype(result = "()")]
struct WakeUp;

/// The drain's grace is over.
#[derive(Message)]
#[rtype(result = "()")]
struct DrainDue;

impl WorkflowRunner {
    /// A runner with a machine that knows nothing yet.
    pub fn new(
        workflow: WorkflowId,
        dependencies: Arc<Dependencies>,
        settings: Settings,
        keeper: (RunnerId, Addr<SharedKeeper>),
        exit: ExitGuard,
    ) -> Self {
        let named = dependencies.backend.of_workflow(&workflow.name);
        Self {
            backend: named.unwrap_or_else(|| dependencies.backend.clone()),
            workflow,
            keeper,
            machine: Box::new(Machine::new(settings)),
            parked: foldhash::HashMap::default(),
            unheard: Vec::new(),
            next_request: 0,
            alarm: Alarm::default(),
            gauges: dependencies.metrics.workflow_gauges(),
            noticed: HashMap::new(),
            drains: Vec::new(),
            dependencies,
            exit,
        }
    }

    fn now(&self) -> Time {
        (self.dependencies.clock)()
    }

    /// Tells the machine and does what it says.
    fn step(&mut self, event: Event, ctx: &mut Context<Self>) {
        for command in self.machine.handle(event, self.now()) {
            self.carry_out(command, ctx);
        }
        // Not in between: the commands of one event belong together.
        while let Some(task) = self.unheard.pop() {
            for command in self.machine.handle(Event::Unheard { task }, self.now()) {
                self.carry_out(command, ctx);
            }
        }
        if !self.drains.is_empty() && self.machine.drained() {
            self.drained();
        }
    }

    fn carry_out(&mut self, command: Command, ctx: &mut Context<Self>) {
        match command {
            Command::Answer { request, reply, started } => {
                if let Some(asker) = self.parked.remove(&request)
                    && asker.reply.send(Answered { reply: reply.written_on(asker.paper), started }).is_err()
                {
                    tracing::debug!(workflow.name = self.workflow.name, "an answer came too late for its request");
                    self.unheard.push(asker.task);
                }
            }
            Command::Call { call, client, operation, paced, waited } => match Page::of(&client, &operation) {
                Some(page) => self.ask_for_page(call, page, ctx),
                None => {
                    self.dependencies.metrics.call_left(waited);
                    self.call(call, client, operation, paced, ctx);
                }
            },
            Command::Pace { lane, request } => {
                let (who, keeper) = &self.keeper;
                let asked = TurnsAsked { who: *who, runner: ctx.address(), lane, request };
                if keeper.clone().try_send(asked).is_err() {
                    tracing::debug!("turns were asked for, and their keeper is gone");
                }
            }
            Command::Look { site, wanted, server_now } => {
                let (who, keeper) = &self.keeper;
                let (uid, runner) = (self.workflow.uid.clone(), ctx.address());
                let asked = LookAsked { who: *who, uid, runner, site, wanted, server_now };
                if keeper.clone().try_send(asked).is_err() {
                    tracing::debug!("executions were to be looked at, and the keeper of the rounds is gone");
                }
            }
            Command::WakeAt(time) => {
                self.alarm.wanted = Some(time);
                self.arm(ctx);
            }
            Command::AskKubernetes => self.observe(ctx),
            Command::Note(note) => self.record(&note),
            Command::Retire => {
                // Whoever asks at this moment gets a free poll.
                self.exit.retired = true;
                ctx.stop();
            }
        }
    }

    fn record(&mut self, note: &Note) {
        let metrics = &self.dependencies.metrics;
        let node = match note {
            Note::ExecutionStarted { arn }
            | Note::ExecutionResumed { arn }
            | Note::ExecutionAdopted { arn }
            | Note::ExecutionChanged { arn, .. }
            | Note::ExecutionFinished { arn, .. }
            | Note::ExecutionGone { arn }
            | Note::ExecutionExplained { arn, .. }
            | Note::JobLog { arn, .. }
            | Note::StopRequested { arn, .. } => self.machine.node_of(arn),
            Note::StartFailed { key, attempt, .. } | Note::NodeEnded { key, attempt, .. } => Some((*key, *attempt)),
            Note::Warning { .. } => None,
        };
        metrics.noted(&self.workflow, note, node);
        match note {
            Note::ExecutionFinished { arn, .. } => {
                self.noticed.insert(arn.clone(), self.now());
            }
            Note::ExecutionExplained { arn, ended } => {
                if let Some(noticed) = self.noticed.remove(arn) {
                    self.dependencies.metrics.execution_explained(ended, noticed);
                }
            }
            _ => {}
        }
    }

    /// Makes the call beside the runner, which hears of it as a message; a panic in it is an unknown outcome ([`carry_out`]).
    /// `paced`: the keeper is to hear how it was answered.
    fn call(&self, call: CallId, client: ClientKey, operation: Call, paced: bool, ctx: &Context<Self>) {
        let (dependencies, backend) = (self.dependencies.clone(), self.backend.clone());
        let (lane, keeper) = (LaneKey::of(&client, &operation).filter(|_| paced), self.keeper.1.clone());
        let workflow = self.workflow.name.clone();
        let runner = ctx.address();
        actix::spawn(async move {
            let name = operation.operation();
            let (region, write) = (client.region.clone(), operation.is_write());
            let began = (dependencies.clock)();
            let ended = carry_out(backend, client, operation).await;
            let took = (dependencies.clock)().since(began);
            let made = CallMade { operation: name, write, region, took };
            dependencies.metrics.call_ended(&workflow, &made, &ended);
            if let Some(lane) = lane {
                let throttled = ended.result.as_ref().is_err_and(|error| error.kind == CallErrorKind::Throttled);
                if keeper.try_send(CallAnswered { lane, sent: began, throttled }).is_err() {
                    tracing::debug!(operation = name, "a call came back, and the keeper of its lane is gone");
                }
            }
            let queued = dependencies.metrics.message_queued(Kind::Workflow);
            if runner.send(CallCameBack { call, ended, queued }).await.is_err() {
                tracing::debug!(operation = name, "a call came back to a dead runner");
            }
        });
    }

    /// Has the keeper ask for a page: others may want it, too.
    fn ask_for_page(&self, call: CallId, page: Page, ctx: &Context<Self>) {
        let (who, keeper) = &self.keeper;
        let lister = Lister { workflow: self.workflow.name.clone(), backend: self.backend.clone() };
        let asked = PageAsked { who: *who, runner: ctx.address(), lister, call, page };
        if keeper.clone().try_send(asked).is_err() {
            tracing::debug!("a page was asked for, and the keeper of the listings is gone");
        }
    }

    fn observe(&self, ctx: &Context<Self>) {
        let observer = self.dependencies.observer.clone();
        let workflow = self.workflow.clone();
        let runner = ctx.address();
        actix::spawn(async move {
            // In a task of its own: a question that panics is one without an answer.
            let seen = tokio::spawn(async move { observer.observe(workflow).await });
            let state = seen.await.unwrap_or(WorkflowState::Unknown);
            if runner.send(WorkflowObserved(state)).await.is_err() {
                tracing::debug!("a workflow's state came back to a dead runner");
            }
        });
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let Some(wanted) = self.alarm.wanted else { return };
        if let Some((armed, timer)) = self.alarm.armed {
            if armed <= wanted {
                return;
            }
            ctx.cancel_future(timer);
        }
        let timer = ctx.notify_later(WakeUp, wanted.since(self.now()));
        self.alarm.armed = Some((wanted, timer));
    }

    fn drained(&mut self) {
        let left = self.machine.left_behind();
        for waiting in self.drains.drain(..) {
            if waiting.send(left.clone()).is_err() {
                tracing::debug!("nobody waits for the drain any more");
            }
        }
    }
}

impl Actor for WorkflowRunner {
    type Context = Context<Self>;
}

impl Handler<Execute> for WorkflowRunner {
    type Result = ();

    fn handle(&mut self, Execute { task, reply, paper, queued }: Execute, ctx: &mut Self::Context) {
        queued.taken();
        // Who has given up asks again, and then it counts.
        if reply.is_closed() {
            return;
        }
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.parked.insert(request, Asker { task: task.clone(), reply, paper });
        self.step(Event::Requested { request, task }, ctx);
    }
}

impl Handler<CallCameBack> for WorkflowRunner {
    type Result = ();

    fn handle(&mut self, CallCameBack { call, ended, queued }: CallCameBack, ctx: &mut Self::Context) {
        queued.taken();
        self.step(Event::CallEnded { call, ended }, ctx);
    }
}

impl Handler<PageWaits> for WorkflowRunner {
    type Result = ();

    fn handle(&mut self, PageWaits(call): PageWaits, ctx: &mut Self::Context) {
        self.step(Event::CallWaits { call }, ctx);
    }
}

impl Handler<PageShown> for WorkflowRunner {
    type Result = ();

    fn handle(&mut self, PageShown { call, ended, queued }: PageShown, ctx: &mut Self::Context) {
        queued.taken();
        self.step(Event::CallEnded { call, ended: Arc::unwrap_or_clone(ended) }, ctx);
    }
}

impl Handler<Paced> for WorkflowRunner {
    type Result = ();

    fn handle(&mut self, Paced { lane, answer }: Paced, ctx: &mut Self::Context) {
        self.step(Event::Paced { lane, answer }, ctx);
    }
}

impl Handler<SeenByList> for WorkflowRunner {
    type Result = ();

    fn handle(&mut self, SeenByList(seen): SeenByList, ctx: &mut Self::Context) {
        self.step(Event::Seen(seen), ctx);
    }
}

impl Handler<WorkflowObserved> for WorkflowRunner {
    type Result = ();

    fn handle(&mut self, WorkflowObserved(state): WorkflowObserved, ctx: &mut Self::Context) {
        self.step(Event::WorkflowObserved(state), ctx);
    }
}

impl Handler<WakeUp> for WorkflowRunner {
    type Result = ();

    fn handle(&mut self, _: WakeUp, ctx: &mut Self::Context) {
        self.alarm.armed = None;
        if self.alarm.wanted.is_some_and(|wanted| wanted <= self.now()) {
            self.alarm.wanted = None;
            self.step(Event::Tick, ctx);
        } else {
            self.arm(ctx);
        }
    }
}

impl Handler<PublishGauges> for WorkflowRunner {
    type Result = ();

    fn handle(&mut self, _: PublishGauges, _: &mut Self::Context) {
        self.gauges.set(self.machine.gauges());
    }
}

impl Handler<Drain> for WorkflowRunner {
    type Result = ResponseFuture<Vec<LiveExecution>>;

    fn handle(&mut self, Drain { grace }: Drain, ctx: &mut Self::Context) -> Self::Result {
        let (done, end) = oneshot::channel();
        self.drains.push(done);
        ctx.notify_later(DrainDue, grace);
        self.step(Event::Drain, ctx);
        Box::pin(async move { end.await.unwrap_or_default() })
    }
}

impl Handler<DrainDue> for WorkflowRunner {
    type Result = ();

    fn handle(&mut self, _: DrainDue, _: &mut Self::Context) {
        if self.machine.starts_in_flight() && !self.drains.is_empty() {
            tracing::warn!(workflow.name = self.workflow.name, "a start is left in flight: its outcome is unknown");
        }
        self.drained();
    }
}

impl Handler<CrashForTest> for WorkflowRunner {
    type Result = ();

    #[allow(clippy::panic, reason = "this message exists to prove what a panic does")]
    fn handle(&mut self, _: CrashForTest, _: &mut Self::Context) {
        panic!("the runner was told to crash");
    }
}
