//! The composition root: builds everything from a configuration, runs it, and takes it down in order.
//!
//! The order of the end (SIGTERM, SIGINT): readiness off, no new starts; starts in flight are awaited; what still
//! runs is logged and left running; answers under way go out; exit 0. A second signal ends the process at once.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_web::{App, HttpServer, dev::Server, web};
use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::{Instant, timeout},
};

use crate::{
    actors::{Clock, NoObserver, Supervisor, SupervisorHandle, Surroundings},
    backend::{SharedBackend, sagemaker::SageMaker},
    config::Config,
    http::{self, Doors, auth::Token},
    metrics::Metrics,
    pipelines::Time,
    simulator,
    workflow::Settings,
};

/// Two, whatever the node's cores: the sidecar has a fifth of one.
const API_WORKERS: usize = 2;

/// actix's default of 5 s answers a slow agent with a 408, which fails the node.
const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Longer than Go's 90 s for idle connections: the agent closes first, and no request races our closing.
const KEEP_ALIVE: Duration = Duration::from_secs(120);

/// Seconds that answers under way have to go out at the end; the reply time-out and a little.
const LAST_ANSWERS: u64 = 2;

/// Why the process ends by a fault.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("unable to listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("unable to wait for signals: {0}")]
    Signals(io::Error),
    #[error("unable to set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
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
    Time(0).plus(system.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Runs the plugin until a signal or a fault ends it.
pub fn run(config: Config) -> Result<(), AppError> {
    actix_web::rt::System::new().block_on(async move {
        let backend = Arc::new(SageMaker::connect().await);
        Service::start(&config, backend, wall_clock())?.until_signal(config.shutdown_grace).await
    })
}

/// Runs the simulator until a signal ends it.
pub fn run_simulator(listen: SocketAddr, scenario: simulator::Scenario) -> Result<(), AppError> {
    actix_web::rt::System::new().block_on(async move {
        let listener = bind(listen)?;
        let mut signals = Signals::new()?;
        let server = simulator::serve(listener, scenario, wall_clock());
        select! {
            ended = server => ended.map_err(AppError::Server),
            () = signals.next() => Ok(()),
        }
    })
}

/// The running plugin.
pub struct Service {
    pub supervisor: SupervisorHandle,
    pub api_address: SocketAddr,
    /// `None`: the port could not be had, and the plugin goes on without.
    pub ops_address: Option<SocketAddr>,
    supervisor_death: oneshot::Receiver<()>,
    signals: Signals,
    api: Server,
    ops: Option<Server>,
}

impl Service {
    /// Binds both doors and starts the actors on the current arbiter.
    pub fn start(config: &Config, backend: SharedBackend, clock: Clock) -> Result<Self, AppError> {
        // First, so that no signal ends a process that already answers without its drain.
        let signals = Signals::new()?;
        let metrics = Arc::new(Metrics::new()?);
        let token = Arc::new(Token::new(config.token_file.clone()));
        if !token.is_readable() {
            tracing::error!(file = ?config.token_file, "unable to read Argo's token: every request is answered 403");
        }
        let api_listener = bind(config.listen)?;
        let ops_listener = bind(config.ops_listen)
            .inspect_err(|error| tracing::error!(%error, "no metrics and probes; the plugin goes on"))
            .ok();

        let settings = settings(config, &clock);
        let surroundings =
            Surroundings { backend, observer: Arc::new(NoObserver), clock, metrics: metrics.clone(), settings };
        let (supervisor, supervisor_death) = Supervisor::launch(surroundings, config.reply_timeout);
        actix_web::rt::spawn(supervisor.clone().keep_pinging());

        let doors = web::Data::new(Doors { supervisor: supervisor.clone(), token, metrics });
        let api_address = local_address(&api_listener, config.listen)?;
        let api = api_server(api_listener, doors.clone()).map_err(|source| listen_error(config.listen, source))?;
        let (ops, ops_address) = match ops_listener {
            None => (None, None),
            Some(listener) => {
                let address = local_address(&listener, config.ops_listen)?;
                let server = ops_server(listener, doors).map_err(|source| listen_error(config.ops_listen, source))?;
                (Some(server), Some(address))
            }
        };
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            api = %api_address,
            ops = ops_address.map(tracing::field::display),
            "listening"
        );
        Ok(Self { supervisor, api_address, ops_address, supervisor_death, signals, api, ops })
    }

    /// Serves until a signal comes, then drains; ends early by a fault.
    pub async fn until_signal(self, grace: Duration) -> Result<(), AppError> {
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
        tracing::info!(grace = ?grace, "draining; a second signal ends the process at once");
        let last_will = async {
            leave_running(&self.supervisor, grace).await?;
            api_handle.stop(true).await;
            if let Some(ops) = ops_handle {
                ops.stop(true).await;
            }
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

/// Waits for the starts in flight and names what is left running.
async fn leave_running(supervisor: &SupervisorHandle, grace: Duration) -> Result<(), AppError> {
    // The runners keep the deadline themselves; twice of it would mean that one of them hangs.
    match timeout(grace + Duration::from_secs(1), supervisor.drain(grace)).await {
        Ok(Ok(live)) => {
            for execution in &live {
                tracing::warn!(execution.arn, execution.stopping, "left running");
            }
            tracing::info!(executions = live.len(), "drained");
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
    // The rest of the reply time-out is for the way there and back, so that the machine's answer wins over the
    // free poll that says less.
    let reply_timeout = config.reply_timeout.mul_f64(0.8);
    Settings {
        reply_timeout,
        poll_min: config.poll_min,
        poll_max: config.poll_max,
        stop_wait: config.stop_wait,
        denied_grace: config.denied_grace,
        max_running_per_workflow: config.max_running_per_workflow,
        pod_born: config.token_file.as_deref().and_then(modified).unwrap_or_else(|| clock()),
        ..Settings::default()
    }
}

fn modified(file: &Path) -> Option<Time> {
    file.metadata().ok()?.modified().ok().map(time_of)
}

fn api_server(listener: TcpListener, doors: web::Data<Doors>) -> io::Result<Server> {
    let server = HttpServer::new(move || App::new().app_data(doors.clone()).configure(http::api))
        .workers(API_WORKERS)
        .client_request_timeout(REQUEST_HEAD_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(LAST_ANSWERS)
        .disable_signals()
        .listen(listener)?
        .run();
    Ok(server)
}

fn ops_server(listener: TcpListener, doors: web::Data<Doors>) -> io::Result<Server> {
    let server = HttpServer::new(move || App::new().app_data(doors.clone()).configure(http::ops))
        .workers(1)
        .client_request_timeout(REQUEST_HEAD_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(LAST_ANSWERS)
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
