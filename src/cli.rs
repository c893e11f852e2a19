//! The command line: which subcommand, and what its end means as an exit code.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done: drained after a signal, or help was asked for |
//! | 1 | `orphans`: some are left; `doctor`: something is broken; `demo`: a node did not end as expected |
//! | 64 | bad usage (`EX_USAGE`), for `demo` also a template it cannot play: nothing was bound, nothing was started |
//! | 70 | internal fault (`EX_SOFTWARE`): the kubelet starts the container again. `orphans`, `doctor`: not all could be seen |
//! | 130, 143 | `demo`: interrupted by SIGINT or SIGTERM |

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    app::{self, AppError},
    config::{
        self, Config, ConfigError, LogArgs, ServeArgs,
        doctor::{DoctorArgs, DoctorConfig, Variables},
        iam::{self, IamCommand},
        orphans::{OrphansArgs, OrphansConfig},
    },
    demo::{self, DemoArgs, stage::Paths},
    metrics::catalogue,
    monitoring, simulator, telemetry,
};

const USAGE: u8 = 64;
const INTERNAL: u8 = 70;

/// Argo Workflows executor plugin that runs Amazon SageMaker pipelines
#[derive(Debug, Parser)]
#[command(name = "awf-aws", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    serve: ServeArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve Argo's agent (the default without a subcommand)
    Serve(Box<ServeArgs>),
    /// Run a simulated SageMaker that any AWS client can be pointed at
    #[command(long_about = simulator::HELP)]
    Simulator(SimulatorArgs),
    /// Find executions that run although their workflow is over, and stop them with --stop
    ///
    /// Prints one line for each. Exit code 0: there are none, or all are stopped; 1: some are left; 70: not everything
    /// could be looked at. Never touches what is wanted, what cannot be judged, and what has `on_stop: leave`.
    Orphans(Box<OrphansArgs>),
    /// Write the dashboards and the table of metrics that belong to this version
    #[command(subcommand)]
    Monitoring(MonitoringCommand),
    /// Check the set-up from the pod's variables to Argo's rights, and print what mends what is broken
    ///
    /// Best run in the plugin's container: kubectl exec -n ml POD -c awf-aws -- /awf-aws doctor --region R --pipeline P. With a
    /// kubeconfig it looks at Argo as well. Nothing is changed. Exit code 0: all is well; 1: something is broken; 70: nothing
    /// is, but not everything could be looked at.
    Doctor(Box<DoctorArgs>),
    /// Print what an AWS role for the plugin needs: who may use it, what it may do, which service account leads to it
    #[command(subcommand)]
    Iam(IamCommand),
    /// Play one workflow from start to end, without AWS, Kubernetes or Argo
    Demo(DemoArgs),
}

#[derive(Debug, Subcommand)]
enum MonitoringCommand {
    /// Write Grafana's dashboards, one JSON file each
    Dashboards {
        /// Where to
        directory: PathBuf,
    },
    /// Print all metrics as a Markdown table
    Metrics,
}

#[derive(Debug, Args)]
struct SimulatorArgs {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:4599", value_name = "ADDRESS:PORT")]
    listen: String,
    /// Scenario to begin with: a JSON file
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

/// Runs the program the command line asks for.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help that cannot be printed (a closed pipe) is nobody's problem.
            error.print().unwrap_or_default();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        None => serve(cli.serve),
        Some(Command::Serve(args)) => serve(*args),
        Some(Command::Simulator(args)) => simulate(&args),
        Some(Command::Orphans(args)) => find_orphans(*args),
        Some(Command::Monitoring(command)) => write_monitoring(&command),
        Some(Command::Doctor(args)) => examine(*args),
        Some(Command::Iam(command)) => print_iam(command),
        Some(Command::Demo(args)) => play(&args),
    }
}

fn serve(args: ServeArgs) -> ExitCode {
    let config = match Config::from_args(args) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    telemetry::init(&config.log);
    finish(app::run(config))
}

fn write_monitoring(command: &MonitoringCommand) -> ExitCode {
    let written = match command {
        MonitoringCommand::Dashboards { directory } => monitoring::write(directory),
        MonitoringCommand::Metrics => io::stdout().write_all(catalogue::markdown().as_bytes()),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("awf-aws: {error}");
            ExitCode::from(INTERNAL)
        }
    }
}

fn examine(args: DoctorArgs) -> ExitCode {
    let config = match DoctorConfig::from_args(args, Variables::read()) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    telemetry::init(&config.log);
    let json = config.json;
    match app::run_doctor(config) {
        Ok(report) => {
            let text = if json { format!("{:#}\n", report.json()) } else { report.text() };
            // A closed pipe has read enough; the exit code still counts.
            io::stdout().write_all(text.as_bytes()).unwrap_or_default();
            ExitCode::from(report.exit_code())
        }
        Err(error) => finish(Err(error)),
    }
}

fn print_iam(command: IamCommand) -> ExitCode {
    match iam::document(command) {
        Ok(document) => {
            // A closed pipe has read enough.
            io::stdout().write_all(document.text().as_bytes()).unwrap_or_default();
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&error),
    }
}

fn simulate(args: &SimulatorArgs) -> ExitCode {
    let mut problems = Vec::new();
    let listen = args.listen.parse::<SocketAddr>();
    if listen.is_err() {
        problems.push(format!("--listen: {:?} is not an address with a port, such as 127.0.0.1:4599", args.listen));
    }
    let scenario = match &args.scenario {
        None => None,
        Some(path) => fs::read_to_string(path)
            .map_err(|error| problems.push(format!("--scenario: cannot read {}: {error}", path.display())))
            .ok(),
    };
    let scenario = simulator::scenario::Scenario::parse(scenario.as_deref().unwrap_or("{}"))
        .map_err(|error| problems.push(format!("--scenario: {error}")))
        .ok();
    let log = args.log.validate(&mut problems);
    match (listen, scenario, log) {
        (Ok(listen), Some(scenario), Some(log)) if problems.is_empty() => {
            telemetry::init(&log);
            finish(app::run_simulator(listen, scenario))
        }
        _ => refuse(&ConfigError(problems)),
    }
}

fn find_orphans(args: OrphansArgs) -> ExitCode {
    let config = match OrphansConfig::from_args(args) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    telemetry::init(&config.log);
    match app::run_orphans(&config) {
        Ok(report) => {
            let mut out = io::stdout().lock();
            // Who closes the pipe has read enough; the exit code still counts.
            let written = report.lines(config.json).iter().try_for_each(|line| writeln!(out, "{line}"));
            drop(written);
            report.problems.iter().for_each(|problem| eprintln!("awf-aws orphans: {problem}"));
            ExitCode::from(report.exit_code())
        }
        Err(error) => finish(Err(error)),
    }
}

fn play(args: &DemoArgs) -> ExitCode {
    match config::executable() {
        Ok(executable) => demo::run(args, &Paths { executable, temporary_directory: config::temporary_directory() }),
        Err(error) => {
            eprintln!("awf-aws demo: cannot find this binary: {error}");
            ExitCode::from(INTERNAL)
        }
    }
}

fn refuse(error: &ConfigError) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(USAGE)
}

fn finish(result: Result<(), AppError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "ended by a fault");
            ExitCode::from(INTERNAL)
        }
    }
}
