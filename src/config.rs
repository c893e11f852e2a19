//! Flags, environment and defaults, validated before anything binds. The only reader of the environment.
//!
//! clap takes every value as text, so that *all* bad values can be named at once and in one style: whoever mends a
//! manifest should not have to roll it out once per mistake.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use tracing_subscriber::filter::Targets;

use crate::protocol::parse_go_duration;

pub mod doctor;
pub mod iam;
pub mod orphans;

/// What is logged when nobody asks for more: not how the HTTP server counts its threads, nor that there is no instance
/// metadata service where none is expected.
const USUAL_LOG: &str = "info,actix_server=warn,aws_config::imds=error";

/// `serve`'s flags as they were given; [`Config`] is what they mean.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Where Argo's agent finds the plugin; loopback, since both share a pod
    #[arg(long, env = "AWF_AWS_LISTEN", default_value = "127.0.0.1:7492", value_name = "ADDRESS:PORT")]
    pub listen: String,
    /// Another port for the API only; the address stays that of --listen
    #[arg(long, env = "AWF_AWS_PORT", value_name = "PORT")]
    pub port: Option<String>,
    /// Where metrics and probes are served
    #[arg(long, env = "AWF_AWS_OPS_LISTEN", default_value = "0.0.0.0:7493", value_name = "ADDRESS:PORT")]
    pub ops_listen: String,
    /// The file with the token that Argo's agent sends
    #[arg(long, env = "AWF_AWS_TOKEN_FILE", default_value = "/var/run/argo/token", value_name = "FILE")]
    pub token_file: String,
    /// Serve requests without a token; never where others can reach the port
    #[arg(long, env = "AWF_AWS_NO_AUTH", default_value = "false", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, value_name = "true|false")]
    pub no_auth: String,
    /// Longest time until a request is answered, whatever AWS does
    #[arg(long, env = "AWF_AWS_REPLY_TIMEOUT", default_value = "1s", value_name = "DURATION")]
    pub reply_timeout: String,
    /// Shortest time between two looks at a running execution
    #[arg(long, env = "AWF_AWS_POLL_MIN", default_value = "5s", value_name = "DURATION")]
    pub poll_min: String,
    /// Longest time between two looks at a running execution
    #[arg(long, env = "AWF_AWS_POLL_MAX", default_value = "30s", value_name = "DURATION")]
    pub poll_max: String,
    /// Time from SIGTERM to the end of the process; below the pod's own grace period of 30s
    #[arg(long, env = "AWF_AWS_SHUTDOWN_GRACE", default_value = "25s", value_name = "DURATION")]
    pub shutdown_grace: String,
    /// Of that, how long Prometheus may take to fetch the last values, when it ever fetched any; 0s: exit at once
    #[arg(long, env = "AWF_AWS_METRICS_LINGER", default_value = "20s", value_name = "DURATION")]
    pub metrics_linger: String,
    /// How long the end of a stopped execution is awaited
    #[arg(long, env = "AWF_AWS_STOP_WAIT", default_value = "10m", value_name = "DURATION")]
    pub stop_wait: String,
    /// How long a denial before the start is taken as passing
    #[arg(long, env = "AWF_AWS_DENIED_GRACE", default_value = "2m", value_name = "DURATION")]
    pub denied_grace: String,
    /// Whether Kubernetes is asked if a workflow is over: auto (when a service account is mounted, or --kubeconfig names
    /// a cluster) or off
    ///
    /// Where it is not asked, when this run of the workflow began is guessed: 15 minutes before the agent pod. So an `argo
    /// retry` within 15 minutes of a failure gets that failure again, and a pod that moves more than 15 minutes after a
    /// failure that Argo had not yet taken up runs that attempt again. assets/plugin/with-kubernetes may ask.
    #[arg(long, env = "AWF_AWS_KUBERNETES", default_value = "auto", value_name = "auto|off")]
    pub kubernetes: String,
    /// The cluster to ask, instead of the one the pod runs in
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<String>,
    /// The service account of Argo's controller, whose right to write task sets is checked at the start where Kubernetes
    /// may be asked; empty: not checked
    #[arg(long, env = "AWF_AWS_ARGO_CONTROLLER_ACCOUNT", default_value = "argo:argo", value_name = "NAMESPACE:NAME")]
    pub argo_controller_account: String,
    /// How often Kubernetes is asked while anything runs or waits
    #[arg(long, env = "AWF_AWS_WORKFLOW_CHECK_INTERVAL", default_value = "60s", value_name = "DURATION")]
    pub workflow_check_interval: String,
    /// A workflow of which nothing runs or waits is forgotten when the agent has not asked for so long; asked again, it is
    /// found again in AWS
    #[arg(long, env = "AWF_AWS_FORGET_AFTER", default_value = "15m", value_name = "DURATION")]
    pub forget_after: String,
    /// At most so many executions at once from one workflow, of all its pipelines [default: no limit]
    #[arg(long, env = "AWF_AWS_MAX_RUNNING_PER_WORKFLOW", value_name = "NUMBER")]
    pub max_running_per_workflow: Option<String>,
    /// No more calls a second that only read, to one account and region, even if AWS takes more; the plugin finds by asking
    /// how many AWS takes
    #[arg(long, env = "AWF_AWS_MAX_READS_PER_SECOND", default_value = "50", value_name = "NUMBER")]
    pub max_reads_per_second: String,
    /// The same for starts and stops
    #[arg(long, env = "AWF_AWS_MAX_WRITES_PER_SECOND", default_value = "50", value_name = "NUMBER")]
    pub max_writes_per_second: String,
    /// Patterns of the roles that workflows may name in role_arn, with commas between them and * for any text
    /// [default: only roles of the task's account_id]
    #[arg(long, env = "AWF_AWS_ALLOWED_ROLES", value_name = "PATTERNS")]
    pub allowed_roles: Option<String>,
    /// Whether the last lines of a failed step's job are read from CloudWatch Logs: on or off
    #[arg(long, env = "AWF_AWS_LOGS", default_value = "on", value_name = "on|off")]
    pub logs: String,
    #[command(flatten)]
    pub log: LogArgs,
}

/// What is logged, and how.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// Log every answer to the agent and every call to AWS
    #[arg(long, env = "AWF_AWS_DEBUG", default_value = "false", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, value_name = "true|false")]
    pub debug: String,
    /// How log lines are written: text or json
    #[arg(long, env = "AWF_AWS_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: String,
    /// Which log lines are written: `level` or `target=level`, several with commas between; wins over --debug
    #[arg(long, env = "RUST_LOG", value_name = "FILTER")]
    pub log_filter: Option<String>,
}

/// A valid configuration of `serve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the agent is served.
    pub listen: SocketAddr,
    /// Where metrics and probes are served.
    pub ops_listen: SocketAddr,
    /// `None`: requests are served without a token.
    pub token_file: Option<PathBuf>,
    /// Longest time until a request of the agent's is answered.
    pub reply_timeout: Duration,
    /// Shortest time between two looks at a running execution.
    pub poll_min: Duration,
    /// Longest time between two looks at a running execution.
    pub poll_max: Duration,
    /// All the time that the end of the process may take, from the signal on.
    pub shutdown_grace: Duration,
    /// Of that, how long Prometheus is waited for.
    pub metrics_linger: Duration,
    /// How long the end of an execution that was told to stop is waited for.
    pub stop_wait: Duration,
    /// How long a start that AWS denies is tried again before its node ends.
    pub denied_grace: Duration,
    pub kubernetes: KubernetesConfig,
    /// `None`: its rights are not checked.
    pub argo_controller_account: Option<ServiceAccount>,
    /// How often Kubernetes is asked about a workflow that has something running or queued.
    pub workflow_check_interval: Duration,
    /// After so long without a request a workflow of which nothing is open is forgotten.
    pub forget_after: Duration,
    /// `None`: only a task's own `max_running` counts.
    pub max_running_per_workflow: Option<usize>,
    /// Calls a second that only read, to one account and region.
    pub max_reads_per_second: u16,
    /// Starts and stops a second, to one account and region.
    pub max_writes_per_second: u16,
    /// Empty: only roles of the task's own account.
    pub allowed_roles: Vec<String>,
    /// Whether the log of a failed step's job is read.
    pub logs: bool,
    pub log: LogConfig,
}

/// Which cluster is asked what has become of a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubernetesConfig {
    Off,
    /// The pod's own, when a service account is mounted.
    InCluster,
    Kubeconfig(PathBuf),
}

/// A service account of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    pub namespace: String,
    pub name: String,
}

/// A valid configuration of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// As `RUST_LOG`: directives of tracing-subscriber's Targets.
    pub filter: String,
    pub format: LogFormat,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Every bad value, one sentence each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "awf-aws: bad configuration, nothing was started")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl Config {
    /// Says what the flags mean, or names everything that is wrong with them.
    pub fn from_args(args: ServeArgs) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let p = &mut problems;

        let listen = address(p, "--listen (AWF_AWS_LISTEN)", &args.listen);
        let port = given(args.port.as_deref()).map(|text| port(p, "--port (AWF_AWS_PORT)", text));
        let ops_listen = address(p, "--ops-listen (AWF_AWS_OPS_LISTEN)", &args.ops_listen);
        let no_auth = switch(p, "--no-auth (AWF_AWS_NO_AUTH)", &args.no_auth);
        if args.token_file.is_empty() {
            p.push("--token-file (AWF_AWS_TOKEN_FILE): is empty; name a file, or use --no-auth".to_owned());
        }

        // The agent gives up after 30 s; an answer that takes longer than 20 s risks to be lost on the way.
        let reply_timeout =
            duration(p, "--reply-timeout (AWF_AWS_REPLY_TIMEOUT)", &args.reply_timeout, ms(50), secs(20));
        let poll_min = duration(p, "--poll-min (AWF_AWS_POLL_MIN)", &args.poll_min, ms(100), secs(3600));
        let poll_max = duration(p, "--poll-max (AWF_AWS_POLL_MAX)", &args.poll_max, ms(100), secs(3600));
        let shutdown_grace =
            duration(p, "--shutdown-grace (AWF_AWS_SHUTDOWN_GRACE)", &args.shutdown_grace, secs(0), secs(3600));
        let metrics_linger =
            duration(p, "--metrics-linger (AWF_AWS_METRICS_LINGER)", &args.metrics_linger, secs(0), secs(3600));
        let stop_wait = duration(p, "--stop-wait (AWF_AWS_STOP_WAIT)", &args.stop_wait, secs(0), secs(86_400));
        let denied_grace =
            duration(p, "--denied-grace (AWF_AWS_DENIED_GRACE)", &args.denied_grace, secs(0), secs(86_400));
        let kubernetes = kubernetes(p, &args.kubernetes, args.kubeconfig.as_deref());
        let argo_controller_account = given(Some(&args.argo_controller_account))
            .map(|text| service_account(p, "--argo-controller-account (AWF_AWS_ARGO_CONTROLLER_ACCOUNT)", text));
        let workflow_check_interval = duration(
            p,
            "--workflow-check-interval (AWF_AWS_WORKFLOW_CHECK_INTERVAL)",
            &args.workflow_check_interval,
            ms(100),
            secs(3600),
        );
        let forget_after =
            duration(p, "--forget-after (AWF_AWS_FORGET_AFTER)", &args.forget_after, secs(1), secs(86_400));
        let max_running_per_workflow = given(args.max_running_per_workflow.as_deref())
            .and_then(|text| count(p, "--max-running-per-workflow (AWF_AWS_MAX_RUNNING_PER_WORKFLOW)", text));
        let max_reads_per_second =
            rate(p, "--max-reads-per-second (AWF_AWS_MAX_READS_PER_SECOND)", &args.max_reads_per_second);
        let max_writes_per_second =
            rate(p, "--max-writes-per-second (AWF_AWS_MAX_WRITES_PER_SECOND)", &args.max_writes_per_second);
        let allowed_roles = roles(p, "--allowed-roles (AWF_AWS_ALLOWED_ROLES)", args.allowed_roles.as_deref());
        let logs = match args.logs.trim() {
            "on" => Some(true),
            "off" => Some(false),
            other => {
                p.push(format!("--logs (AWF_AWS_LOGS): {other:?} is not one of on, off"));
                None
            }
        };
        let log = args.log.validate(p);

        if let (Some(min), Some(max)) = (poll_min, poll_max)
            && min > max
        {
            p.push(format!("--poll-min: {} is longer than --poll-max {}", args.poll_min.trim(), args.poll_max.trim()));
        }
        let listen = match (listen, port) {
            (Some(listen), Some(Some(port))) => Some(SocketAddr::new(listen.ip(), port)),
            (listen, _) => listen,
        };
        if let (Some(api), Some(ops)) = (listen, ops_listen)
            && collide(api, ops)
        {
            p.push(format!("--listen and --ops-listen: both take port {}", api.port()));
        }

        let config = || {
            Some(Self {
                listen: listen?,
                ops_listen: ops_listen?,
                token_file: (!no_auth?).then(|| PathBuf::from(args.token_file)),
                reply_timeout: reply_timeout?,
                poll_min: poll_min?,
                poll_max: poll_max?,
                shutdown_grace: shutdown_grace?,
                metrics_linger: metrics_linger?,
                stop_wait: stop_wait?,
                denied_grace: denied_grace?,
                kubernetes: kubernetes?,
                argo_controller_account: argo_controller_account.flatten(),
                workflow_check_interval: workflow_check_interval?,
                forget_after: forget_after?,
                max_running_per_workflow,
                max_reads_per_second: max_reads_per_second?,
                max_writes_per_second: max_writes_per_second?,
                allowed_roles,
                logs: logs?,
                log: log?,
            })
        };
        if problems.is_empty() { config().ok_or(ConfigError(problems)) } else { Err(ConfigError(problems)) }
    }
}

impl LogArgs {
    /// Says what the flags mean; problems are added to `problems`.
    pub fn validate(&self, problems: &mut Vec<String>) -> Option<LogConfig> {
        let debug = switch(problems, "--debug (AWF_AWS_DEBUG)", &self.debug);
        let format = match self.log_format.trim() {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            other => {
                problems.push(format!("--log-format (AWF_AWS_LOG_FORMAT): {other:?} is not one of text, json"));
                None
            }
        };
        let given = given(self.log_filter.as_deref());
        if let Some(text) = given
            && let Some(why) = no_filter(text)
        {
            problems.push(format!("--log-filter (RUST_LOG): {text:?} is not a filter: {why}"));
            return None;
        }
        // The SDK's own lines below warnings may show requests; they have to be asked for by name.
        let usual = if debug? { format!("{USUAL_LOG},awf_aws=debug") } else { USUAL_LOG.to_owned() };
        let filter = given.map_or(usual, str::to_owned);
        Some(LogConfig { filter, format: format? })
    }
}

/// Why this is no filter of log lines.
fn no_filter(text: &str) -> Option<String> {
    if text.contains(['[', ']', '{', '}']) {
        return Some("lines are not told apart by spans or fields; allowed are `level` and `target=level`".to_owned());
    }
    text.parse::<Targets>().err().map(|error| error.to_string())
}

/// Where this binary is: the demo starts it again.
pub fn executable() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// Where temporary files go.
pub fn temporary_directory() -> PathBuf {
    std::env::temp_dir()
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// An optional value; an empty variable is how manifests switch one off.
fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap = |a: IpAddr, b: IpAddr| a == b || a.is_unspecified() || b.is_unspecified();
    a.port() == b.port() && a.port() != 0 && overlap(a.ip(), b.ip())
}

fn address(problems: &mut Vec<String>, name: &str, text: &str) -> Option<SocketAddr> {
    let parsed = text.trim().parse().ok();
    if parsed.is_none() {
        problems.push(format!("{name}: {text:?} is not an IP address with a port, such as 127.0.0.1:7492"));
    }
    parsed
}

fn port(problems: &mut Vec<String>, name: &str, text: &str) -> Option<u16> {
    let parsed = text.trim().parse().ok();
    if parsed.is_none() {
        problems.push(format!("{name}: {text:?} is not a port; allowed are 0 (any free one) to 65535"));
    }
    parsed
}

fn count(problems: &mut Vec<String>, name: &str, text: &str) -> Option<usize> {
    let parsed = text.trim().parse().ok().filter(|n| *n >= 1);
    if parsed.is_none() {
        problems.push(format!("{name}: {text:?} is not a whole number of at least 1"));
    }
    parsed
}

fn rate(problems: &mut Vec<String>, name: &str, text: &str) -> Option<u16> {
    let parsed = text.trim().parse().ok().filter(|n| (1..=1000).contains(n));
    if parsed.is_none() {
        problems.push(format!("{name}: {text:?} is not a whole number of calls a second from 1 to 1000"));
    }
    parsed
}

/// A pattern that can match no role's ARN would refuse every role in silence.
fn roles(problems: &mut Vec<String>, name: &str, text: Option<&str>) -> Vec<String> {
    let patterns: Vec<String> =
        given(text).into_iter().flat_map(|text| text.split(',')).map(|p| p.trim().to_owned()).collect();
    let (partition, service) = ("arn:", ":iam:");
    for pattern in &patterns {
        if !pattern.starts_with('*')
            && !(pattern.starts_with(partition) && (pattern.contains(service) || pattern.contains('*')))
        {
            problems.push(format!(
                "{name}: {pattern:?} is not a pattern of role ARNs, such as arn:aws:iam::111122223333:role/team-*"
            ));
        }
    }
    patterns
}

fn kubernetes(problems: &mut Vec<String>, switch: &str, kubeconfig: Option<&str>) -> Option<KubernetesConfig> {
    match switch.trim() {
        "off" => Some(KubernetesConfig::Off),
        "auto" => Some(match given(kubeconfig) {
            Some(file) => KubernetesConfig::Kubeconfig(PathBuf::from(file)),
            None => KubernetesConfig::InCluster,
        }),
        other => {
            problems.push(format!("--kubernetes (AWF_AWS_KUBERNETES): {other:?} is not one of auto, off"));
            None
        }
    }
}

fn service_account(problems: &mut Vec<String>, flag: &str, text: &str) -> Option<ServiceAccount> {
    // A namespace has no dot, a name may (RFC 1123); both become part of a command that the log prints.
    let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let fits = |text: &str, max: usize| (1..=max).contains(&text.len()) && text.chars().all(name);
    let account = text.split_once(':').filter(|(space, own)| fits(space, 63) && !space.contains('.') && fits(own, 253));
    if account.is_none() {
        problems.push(format!("{flag}: {text:?} is not a namespace and a service account in it, such as argo:argo"));
    }
    account.map(|(namespace, name)| ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
}

fn switch(problems: &mut Vec<String>, name: &str, text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" | "" => Some(false),
        _ => {
            problems.push(format!("{name}: {text:?} is not one of true, false"));
            None
        }
    }
}

fn duration(problems: &mut Vec<String>, name: &str, text: &str, min: Duration, max: Duration) -> Option<Duration> {
    match parse_go_duration(text) {
        Some(d) if (min..=max).contains(&d) => Some(d),
        Some(_) => {
            problems.push(format!("{name}: {text:?} is out of range; allowed are {min:?} to {max:?}"));
            None
        }
        None => {
            problems.push(format!("{name}: {text:?} is not a duration; write it like 500ms, 30s, 10m or 1h30m"));
            None
        }
    }
}
