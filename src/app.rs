//! The composition root: builds everything from a configuration, runs it, and takes it down in order.
//!
//! The order of the end (SIGTERM, SIGINT), under one deadline: readiness off, no new starts; starts in flight are
//! awaited; Kubernetes is asked whether the workflow is over, and if it is, what it started is stopped; what still runs
//! is logged and left running; Prometheus gets time to fetch the last values; answers under way go out; exit 0. A second signal ends the process at once.

use std::{
    io, mem,
    net::{SocketAddr, TcpListener},
    path::Path,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_web::{App, HttpServer, dev::Server, http::KeepAlive, web};
use futures_util::future::{OptionFuture, join};
use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    sync::{OnceCell, oneshot},
    time::{Instant, sleep, timeout},
};

use crate::{
    actors::{Dependencies, Supervisor, SupervisorHandle},
    backend::{Backend, SharedBackend, sagemaker::SageMaker},
    config::{Config, KubernetesConfig, ServiceAccount, doctor::DoctorConfig, orphans::OrphansConfig},
    doctor::{self, facts::Link},
    http::{self, AppState, auth::Token},
    kubernetes::{ConnectError, Kubernetes},
    metrics::Metrics,
    observer::{NoObserver, SharedObserver},
    orphans::{self, Report},
    pace,
    pipelines::{Call, CallEnded, ClientKey, Clock, Time},
    simulator::{self, book::Book, scenario::Scenario},
    telemetry,
    workflow::Settings,
};

/// How a listener treats its connections.
struct ListenerSettings {
    workers: usize,
    /// How many may be open at once, for each worker; the others wait in the kernel's queue. actix lets in one more
    /// than it is told.
    connections: usize,
    /// How long the first head of a connection may take.
    head_timeout: Duration,
    keep_alive: KeepAlive,
}

/// The agent's listener. Two workers, whatever the node's cores: the sidecar has a fifth of one.
const API: ListenerSettings = ListenerSettings {
    workers: 2,
    // actix's own; only the same pod reaches this listener.
    connections: 25_600,
    // actix's default of 5 s answers a slow agent with a 408, which fails the node.
    head_timeout: Duration::from_secs(60),
    // Longer than Go's 90 s for idle connections: the agent closes first, and no request races our closing.
    keep_alive: KeepAlive::Timeout(Duration::from_secs(120)),
};

/// The operators' listener, which is open to the whole cluster. actix has no setting for the size of a head; it takes up to
/// 128 KiB (actix-http, h1/decoder.rs, MAX_BUFFER_SIZE), so all heads together are 8 MiB at most.
const OPS: ListenerSettings = ListenerSettings {
    workers: 1,
    connections: 63,
    // A scrape or a probe sends its head at once. Whoever does not makes room: 500 of them are gone after 16 s, before
    // three probes of the kubelet have failed.
    head_timeout: Duration::from_secs(2),
    // actix times the first head of a connection only, so there is no second one.
    keep_alive: KeepAlive::Disabled,
};

/// How long answers under way have to go out at the end; the reply time-out and a little. Part of the grace.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Why the process ends by a fault.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("unable to listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("unable to wait for signals: {0}")]
    Signals(io::Error),
    #[error("unable to set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("unable to begin the scenario: {0}")]
    Scenario(String),
    #[error("Kubernetes cannot be asked, so nothing can be judged (--kubeconfig names a cluster): {0}")]
    Kubernetes(#[from] ConnectError),
    #[error("the supervisor died")]
    SupervisorDied,
    #[error("the API server ended")]
    ServerEnded,
    #[error("the server failed: {0}")]
    Server(io::Error),
}

/// The wall clock as it was at the start, moved on by the runtime's own clock: never backwards, and paused where a
/// test pauses the runtime.
pub fn wall_clock() -> Clock {
    let at_start = time_of(SystemTime::now());
    let start = Instant::now();
    Arc::new(move || at_start.plus(start.elapsed()))
}

fn time_of(system: SystemTime) -> Time {
    Time::at(0).plus(system.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Runs the plugin until a signal or a fault ends it. The process must end with it.
pub fn run(config: Config) -> Result<(), AppError> {
    block_on(async move {
        let metrics = Arc::new(Metrics::new()?.with_log(telemetry::written()));
        let backend = Arc::new(LazySageMaker::new(metrics.clone()));
        actix_web::rt::spawn(backend.clone().connect());
        let observer = observer(&config.kubernetes, config.argo_controller_account.clone()).await;
        Service::start_measured(&config, backend, observer, wall_clock(), metrics)?
            .until_signal(Shutdown::of(&config))
            .await
    })
}

/// Who can be asked what has become of a workflow; without anybody the plugin goes on. Where somebody can, the rights of
/// Argo's controller are looked at beside everything else.
async fn observer(config: &KubernetesConfig, controller: Option<ServiceAccount>) -> Option<SharedObserver> {
    let kubeconfig = match config {
        KubernetesConfig::Off => return None,
        KubernetesConfig::InCluster => None,
        KubernetesConfig::Kubeconfig(file) => Some(file.as_path()),
    };
    match Kubernetes::connect(kubeconfig).await {
        Ok(kubernetes) => {
            if let Some(ServiceAccount { namespace, name }) = controller {
                let asked = kubernetes.clone();
                actix_web::rt::spawn(async move { asked.check_controller(&namespace, &name).await });
            }
            Some(Arc::new(kubernetes))
        }
        Err(error @ ConnectError::NoServiceAccount(_)) => {
            tracing::info!(%error, "Kubernetes is not asked whether a workflow is over");
            None
        }
        Err(error) => {
            tracing::error!(%error, "Kubernetes is not asked whether a workflow is over");
            None
        }
    }
}

/// The SDK, connected while the listeners open: to learn its region it may ask an instance metadata service that is not
/// there, which takes seconds. Calls wait for it; requests do not.
#[derive(Clone)]
struct LazySageMaker {
    sagemaker: Arc<OnceCell<SageMaker>>,
    metrics: Arc<Metrics>,
    /// Whose calls these are.
    workflow: Option<Arc<str>>,
}

impl LazySageMaker {
    fn new(metrics: Arc<Metrics>) -> Self {
        Self { sagemaker: Arc::default(), metrics, workflow: None }
    }

    async fn connect(self: Arc<Self>) {
        self.connected().await;
    }

    async fn connected(&self) -> &SageMaker {
        self.sagemaker.get_or_init(|| SageMaker::connect(self.metrics.clone())).await
    }
}

impl Backend for LazySageMaker {
    fn call(&self, client: ClientKey, call: Call) -> Pin<Box<dyn Future<Output = CallEnded> + Send>> {
        let lazy = self.clone();
        Box::pin(async move {
            let sagemaker = lazy.connected().await;
            match lazy.workflow.as_deref().and_then(|name| sagemaker.of_workflow(name)) {
                Some(named) => named.call(client, call).await,
                None => sagemaker.call(client, call).await,
            }
        })
    }

    fn of_workflow(&self, name: &str) -> Option<SharedBackend> {
        Some(Arc::new(Self { workflow: Some(name.into()), ..self.clone() }))
    }
}

/// Looks for executions that were left behind, and stops them when that is asked for.
pub fn run_orphans(config: &OrphansConfig) -> Result<Report, AppError> {
    block_on(async {
        let kubernetes = Kubernetes::connect(config.kubeconfig.as_deref()).await?;
        let backend = Arc::new(SageMaker::connect(Arc::new(Metrics::new()?)).await);
        Ok(orphans::run(config, backend, Arc::new(kubernetes), wall_clock()()).await)
    })
}

/// Checks the set-up that the process finds itself in.
pub fn run_doctor(config: DoctorConfig) -> Result<doctor::report::Report, AppError> {
    block_on(async {
        let sagemaker = SageMaker::connect(Arc::new(Metrics::new()?)).await;
        let kubeconfig = match &config.kubernetes {
            KubernetesConfig::Off => return Ok(doctor::run(config, &sagemaker, Link::Off, wall_clock()()).await),
            KubernetesConfig::InCluster => None,
            KubernetesConfig::Kubeconfig(file) => Some(file.as_path()),
        };
        let link = match Kubernetes::connect(kubeconfig).await {
            Ok(kubernetes) => Link::Connected(kubernetes),
            Err(error @ ConnectError::NoServiceAccount(_)) => Link::NotMounted(error.to_string()),
            Err(error) => Link::Failed(error.to_string()),
        };
        Ok(doctor::run(config, &sagemaker, link, wall_clock()()).await)
    })
}

/// Runs the simulator until a signal ends it. The process must end with it.
pub fn run_simulator(listen: SocketAddr, scenario: Scenario) -> Result<(), AppError> {
    block_on(async move {
        let listener = bind(listen)?;
        let mut signals = Signals::new()?;
        let clock = wall_clock();
        let book = Book::new(scenario, clock()).map_err(AppError::Scenario)?;
        let server = simulator::serve(listener, simulator::shared(book), clock)
            .map_err(|source| listen_error(listen, source))?;
        tracing::info!(%listen, "the simulated SageMaker is listening");
        select! {
            ended = server => ended.map_err(AppError::Server),
            () = signals.next() => Ok(()),
        }
    })
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let system = actix_web::rt::System::new();
    let result = system.block_on(work);
    // Dropping the runtime waits for look-ups of names that hang, and the process is about to end.
    mem::forget(system);
    result
}

/// The running plugin.
pub struct Service {
    /// For tests, which ask without HTTP.
    pub supervisor: SupervisorHandle,
    metrics: Arc<Metrics>,
    /// Where the agent is served; the port is known even where 0 was asked for.
    pub api_address: SocketAddr,
    /// `None`: the port could not be had, and the plugin goes on without.
    pub ops_address: Option<SocketAddr>,
    supervisor_death: oneshot::Receiver<()>,
    signals: Signals,
    api: Server,
    ops: Option<Server>,
}

impl Service {
    /// Binds both listeners and starts the actors on the current arbiter. Without an observer nobody is asked what has
    /// become of a workflow.
    pub fn start(
        config: &Config,
        backend: SharedBackend,
        observer: Option<SharedObserver>,
        clock: Clock,
    ) -> Result<Self, AppError> {
        Self::start_measured(config, backend, observer, clock, Arc::new(Metrics::new()?))
    }

    /// The same with metrics that the backend writes, too.
    pub fn start_measured(
        config: &Config,
        backend: SharedBackend,
        observer: Option<SharedObserver>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, AppError> {
        // First, so that no signal ends a process that already answers without its drain.
        let signals = Signals::new()?;
        let token = Arc::new(Token::new(config.token_file.clone()));
        if config.token_file.is_none() {
            tracing::warn!("serving without a token: whoever reaches the port may use these AWS credentials");
        }
        if !token.is_readable() {
            tracing::error!(file = ?config.token_file, "unable to read Argo's token: every request is answered 403");
        }
        let api_listener = bind(config.listen)?;
        let ops_listener = bind(config.ops_listen)
            .inspect_err(|error| tracing::error!(%error, "no metrics and probes; the plugin goes on"))
            .ok();

        let settings = Settings { kubernetes: observer.is_some(), ..settings(config, &clock) };
        let observer = observer.unwrap_or_else(|| Arc::new(NoObserver));
        let pace = pace::Settings {
            most_reads: f64::from(config.max_reads_per_second),
            most_writes: f64::from(config.max_writes_per_second),
            ..pace::Settings::default()
        };
        let dependencies = Dependencies { backend, observer, clock, metrics: metrics.clone(), settings, pace };
        let (supervisor, supervisor_death) = Supervisor::launch(dependencies, config.reply_timeout);
        actix_web::rt::spawn(supervisor.clone().keep_pinging());

        let state = web::Data::new(AppState {
            supervisor: supervisor.clone(),
            token,
            allowed_roles: config.allowed_roles.as_slice().into(),
            reread: Arc::default(),
            metrics: metrics.clone(),
        });
        let api_address = local_address(&api_listener, config.listen)?;
        let api = server(api_listener, &API, http::api, state.clone())
            .map_err(|source| listen_error(config.listen, source))?;
        let (ops, ops_address) = match ops_listener {
            None => (None, None),
            Some(listener) => {
                let address = local_address(&listener, config.ops_listen)?;
                let server = server(listener, &OPS, http::ops, state)
                    .map_err(|source| listen_error(config.ops_listen, source))?;
                (Some(server), Some(address))
            }
        };
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            api = %api_address,
            ops = ops_address.map(tracing::field::display),
            "listening"
        );
        Ok(Self { supervisor, metrics, api_address, ops_address, supervisor_death, signals, api, ops })
    }

    /// Serves until a signal comes, then drains; ends early by a fault.
    pub async fn until_signal(self, shutdown: Shutdown) -> Result<(), AppError> {
        let mut signals = self.signals;
        let api_handle = self.api.handle();
        let mut api = actix_web::rt::spawn(self.api);
        let ops_handle = self.ops.as_ref().map(Server::handle);
        if let Some(ops) = self.ops {
            actix_web::rt::spawn(ops);
        }
        let mut supervisor_death = self.supervisor_death;
        select! {
            () = signals.next() => {}
            _ = &mut supervisor_death => return Err(AppError::SupervisorDied),
            _ = &mut api => return Err(AppError::ServerEnded),
        }
        tracing::info!(grace = ?shutdown.grace, "draining; a second signal ends the process at once");
        let last_will = async {
            let work = shutdown.grace.saturating_sub(LAST_ANSWERS);
            let linger = sleep(shutdown.linger.min(work));
            leave_running(&self.supervisor, work).await?;
            // The time for it began with the signal, so both share one deadline.
            select! {
                () = self.metrics.scraped() => {}
                () = linger => tracing::debug!("no scrape came in time for the last values"),
            }
            join(api_handle.stop(true), OptionFuture::from(ops_handle.map(|ops| ops.stop(true)))).await;
            Ok(())
        };
        select! {
            result = last_will => result,
            () = signals.next() => {
                tracing::warn!("a second signal: ending at once");
                Ok(())
            }
        }
    }
}

/// How long the end of the process may take, from the signal on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// All of it.
    pub grace: Duration,
    /// Of that, what is waited for Prometheus to fetch the last values.
    pub linger: Duration,
}

impl Shutdown {
    /// As configured.
    pub fn of(config: &Config) -> Self {
        Self { grace: config.shutdown_grace, linger: config.metrics_linger }
    }
}

/// Waits for the runners' last work and names what is left running.
async fn leave_running(supervisor: &SupervisorHandle, grace: Duration) -> Result<(), AppError> {
    // The runners keep the deadline themselves; twice of it would mean that one of them hangs.
    match timeout(grace + Duration::from_secs(1), supervisor.drain(grace)).await {
        Ok(Ok(live)) => {
            let (stopping, left): (Vec<_>, Vec<_>) = live.iter().partition(|execution| execution.stopping);
            for execution in &left {
                tracing::warn!(execution.arn, "left running");
            }
            tracing::info!(left = left.len(), stopping = stopping.len(), "drained");
            Ok(())
        }
        Ok(Err(_)) => Err(AppError::SupervisorDied),
        Err(_) => {
            tracing::error!("the drain hangs; ending without the list of what is left running");
            Ok(())
        }
    }
}

fn settings(config: &Config, clock: &Clock) -> Settings {
    Settings {
        reply_timeout: config.reply_timeout,
        poll_min: config.poll_min,
        poll_max: config.poll_max,
        stop_wait: config.stop_wait,
        denied_grace: config.denied_grace,
        logs: config.logs,
        workflow_check_interval: config.workflow_check_interval,
        forget_after: config.forget_after,
        max_running_per_workflow: config.max_running_per_workflow,
        shutdown_grace: config.shutdown_grace.saturating_sub(LAST_ANSWERS),
        pod_born: config.token_file.as_deref().and_then(modified).unwrap_or_else(|| clock()),
        ..Settings::default()
    }
}

fn modified(file: &Path) -> Option<Time> {
    file.metadata().ok()?.modified().ok().map(time_of)
}

/// A server on a listener, up to the time it is told to stop.
fn server(
    listener: TcpListener,
    settings: &ListenerSettings,
    routes: fn(&mut web::ServiceConfig),
    state: web::Data<AppState>,
) -> io::Result<Server> {
    let server = HttpServer::new(move || App::new().app_data(state.clone()).configure(routes))
        .workers(settings.workers)
        .max_connections(settings.connections)
        .client_request_timeout(settings.head_timeout)
        .keep_alive(settings.keep_alive)
        .shutdown_timeout(LAST_ANSWERS.as_secs())
        .disable_signals()
        .listen(listener)?
        .run();
    Ok(server)
}

fn bind(address: SocketAddr) -> Result<TcpListener, AppError> {
    TcpListener::bind(address).map_err(|source| listen_error(address, source))
}

fn local_address(listener: &TcpListener, asked: SocketAddr) -> Result<SocketAddr, AppError> {
    listener.local_addr().map_err(|source| listen_error(asked, source))
}

fn listen_error(address: SocketAddr, source: io::Error) -> AppError {
    AppError::Listen { address, source }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, AppError> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(AppError::Signals)?,
            interrupt: signal(SignalKind::interrupt()).map_err(AppError::Signals)?,
        })
    }

    async fn next(&mut self) {
        select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
