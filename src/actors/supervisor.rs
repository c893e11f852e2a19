//! The supervisor: one runner per workflow, kept alive.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use actix::{
    Actor, ActorContext, Addr, Arbiter, ArbiterHandle, AsyncContext, Context, Handler, Message, ResponseFuture,
};
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::{
    Dependencies,
    handle::SupervisorHandle,
    messages::{
        CrashForTest, CrashSupervisorForTest, Drain, Exit, Forget, GetRunner, KeeperExited, Ping, PublishGauges,
        RunnerExited,
    },
    registry::{Registry, registry_key},
    shared_keeper::SharedKeeper,
    workflow_runner::{ExitGuard, WorkflowRunner},
};
use crate::{
    input::WorkflowId,
    metrics::live::SupervisorAlive,
    pipelines::Time,
    workflow::{LiveExecution, Settings},
};

/// So many deaths within [`BUDGET_WINDOW`] are taken for bad luck and answered by a quick respawn.
const BUDGET: usize = 3;
const BUDGET_WINDOW: Duration = Duration::from_secs(600);

/// The wait after the first death; doubled with each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// The wait once the budget is spent: a poisonous workflow may cost a little, not everything, and never gives up.
const PATIENT_BACKOFF: Duration = Duration::from_secs(60);

/// What is known of a workflow besides its runner.
#[derive(Default)]
struct History {
    /// Its runner's, lately.
    deaths: VecDeque<Time>,
    respawning: bool,
    /// Since when it has been followed without a death: runners that were let go count as one. Kept for good, as little as it
    /// is: when Argo hands out the next node nobody knows.
    served_since: Option<Time>,
}

impl History {
    /// Counts a death and says how long to wait before the respawn.
    fn died(&mut self, now: Time) -> Duration {
        self.deaths.retain(|death| now.since(*death) < BUDGET_WINDOW);
        self.deaths.push_back(now);
        match u32::try_from(self.deaths.len()) {
            Ok(deaths) if self.deaths.len() <= BUDGET => FIRST_BACKOFF * 2u32.pow(deaths.saturating_sub(1)),
            _ => {
                // One more than the budget is all that has to be remembered.
                while self.deaths.len() > BUDGET + 1 {
                    self.deaths.pop_front();
                }
                PATIENT_BACKOFF
            }
        }
    }
}

/// The actor that owns all runners. Its death is the process's: whoever waits on the receiver that
/// [`Supervisor::launch`] returns learns of it.
pub struct Supervisor {
    dependencies: Arc<Dependencies>,
    registry: Arc<Registry>,
    histories: HashMap<String, History>,
    generation: u64,
    keeper: Addr<SharedKeeper>,
    _alive: SupervisorAlive,
    /// Dropped with the actor, however it ends; the receiver then resolves.
    _sign_of_death: oneshot::Sender<()>,
}

/// Time to make a runner again.
#[derive(Message)]
#[rtype(result = "()")]
struct Respawn {
    workflow: WorkflowId,
}

impl Supervisor {
    /// Starts the supervisor on the current arbiter. The receiver resolves (with an error) when the supervisor dies.
    pub fn launch(dependencies: Dependencies, reply_timeout: Duration) -> (SupervisorHandle, oneshot::Receiver<()>) {
        let (sign_of_death, death) = oneshot::channel();
        let (clock, metrics) = (dependencies.clock.clone(), dependencies.metrics.clone());
        let registry = Arc::new(Registry::default());
        let registered = registry.clone();
        let supervisor = Self::create(|ctx| {
            let dependencies = Arc::new(dependencies);
            let supervisor = ctx.address().downgrade().recipient();
            Self {
                keeper: SharedKeeper::new(dependencies.clone(), fastrand::u64(..), supervisor).start(),
                _alive: dependencies.metrics.supervisor_lives(),
                dependencies,
                registry: registered,
                histories: HashMap::new(),
                generation: 0,
                _sign_of_death: sign_of_death,
            }
        });
        (SupervisorHandle::new(supervisor, registry, clock, metrics, reply_timeout), death)
    }

    fn spawn(&mut self, workflow: WorkflowId, home: &ArbiterHandle, ctx: &mut Context<Self>) -> Addr<WorkflowRunner> {
        self.generation += 1;
        let guard = ExitGuard::new(workflow.clone(), self.generation, ctx.address().downgrade().recipient());
        tracing::info!(workflow.name = workflow.name, workflow.uid = workflow.uid, "following a workflow");
        let history = self.histories.entry(registry_key(&workflow).into_owned()).or_default();
        let served_since = history.served_since;
        history.served_since = served_since.or_else(|| Some((self.dependencies.clock)()));
        let settings = Settings { served_since, ..self.dependencies.settings.clone() };
        let keeper = (self.generation, self.keeper.clone());
        let (followed, dependencies) = (workflow.clone(), self.dependencies.clone());
        let runner = WorkflowRunner::start_in_arbiter(home, move |_| {
            WorkflowRunner::new(followed, dependencies, settings, keeper, guard)
        });
        self.registry.insert(&workflow, self.generation, runner.clone());
        runner
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;
}

impl Handler<GetRunner> for Supervisor {
    type Result = Option<Addr<WorkflowRunner>>;

    fn handle(&mut self, GetRunner { workflow, home, queued }: GetRunner, ctx: &mut Self::Context) -> Self::Result {
        queued.taken();
        // Two first requests of a workflow can be on their way here at once.
        if let Some(known) = self.registry.runner(&workflow) {
            return Some(known);
        }
        let key = registry_key(&workflow);
        if self.registry.is_draining() || self.histories.get(&*key).is_some_and(|history| history.respawning) {
            return None;
        }
        Some(self.spawn(workflow, &home, ctx))
    }
}

impl Handler<RunnerExited> for Supervisor {
    type Result = ();

    fn handle(&mut self, exited: RunnerExited, ctx: &mut Self::Context) {
        let RunnerExited { workflow, generation, exit } = exited;
        // By a clone of its address, whose one place is always free; where it is gone, the process is about to end.
        let _gone = self.keeper.clone().try_send(Forget { who: generation }).is_err();
        if !self.registry.remove(&workflow, generation) {
            return;
        }
        let (name, uid) = (&workflow.name, &workflow.uid);
        match exit {
            Exit::Retired => {
                tracing::info!(workflow.name = name, workflow.uid = uid, "nothing is open and nobody asks: forgotten");
                return;
            }
            Exit::Stopped if self.registry.is_draining() => {
                tracing::debug!(workflow.name = name, "a runner ended with the server's thread that it lived on");
                return;
            }
            Exit::Stopped | Exit::Panicked => {}
        }
        let history = self.histories.entry(registry_key(&workflow).into_owned()).or_default();
        history.served_since = None;
        let wait = history.died((self.dependencies.clock)());
        history.respawning = true;
        tracing::error!(
            workflow.name = name,
            workflow.uid = uid,
            ?exit,
            respawn_in = ?wait,
            "a workflow's runner died; its executions go on and are found again"
        );
        ctx.notify_later(Respawn { workflow }, wait);
    }
}

impl Handler<Respawn> for Supervisor {
    type Result = ();

    fn handle(&mut self, Respawn { workflow }: Respawn, ctx: &mut Self::Context) {
        if let Some(history) = self.histories.get_mut(&*registry_key(&workflow)) {
            history.respawning = false;
        }
        if !self.registry.is_draining() {
            self.dependencies.metrics.actor_restarted(&workflow);
            // Where it lived may be gone; the thread of the supervisor is the last that goes.
            self.spawn(workflow, &Arbiter::current(), ctx);
        }
    }
}

impl Handler<Ping> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<KeeperExited> for Supervisor {
    type Result = ();

    /// Nothing can leave any more, and nobody knows who waits for what: a new process begins with that.
    fn handle(&mut self, _: KeeperExited, ctx: &mut Self::Context) {
        tracing::error!("the keeper of what workflows share died");
        ctx.stop();
    }
}

impl Handler<PublishGauges> for Supervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: PublishGauges, _: &mut Self::Context) -> Self::Result {
        let asked = self.keeper.send(PublishGauges);
        Box::pin(async move {
            if asked.await.is_err() {
                tracing::debug!("a scrape shows the pace as it was: its keeper is gone");
            }
        })
    }
}

impl Handler<CrashForTest> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: CrashForTest, _: &mut Self::Context) {
        let _gone = self.keeper.clone().try_send(CrashForTest).is_err();
    }
}

impl Handler<Drain> for Supervisor {
    type Result = ResponseFuture<Vec<LiveExecution>>;

    fn handle(&mut self, drain: Drain, _: &mut Self::Context) -> Self::Result {
        self.registry.drain();
        let asked: Vec<_> = self.registry.runners().iter().map(|runner| runner.send(drain.clone())).collect();
        Box::pin(async move {
            // A runner that is dead has nothing to say; its executions are in the log of their start.
            join_all(asked).await.into_iter().filter_map(Result::ok).flatten().collect()
        })
    }
}

impl Handler<CrashSupervisorForTest> for Supervisor {
    type Result = ();

    #[allow(clippy::panic, reason = "this message exists to prove what a panic does")]
    fn handle(&mut self, _: CrashSupervisorForTest, _: &mut Self::Context) {
        panic!("the supervisor was told to crash");
    }
}
