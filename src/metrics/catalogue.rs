//! Every metric as data. `/metrics` shows exactly these, the README's table and the dashboards are made from them.
//!
//! Names follow Prometheus' practices (naming, instrumentation): base units, `_total` on counters only, the time of an
//! event and not its age. A sidecar lives for one workflow, so a series costs as often as there are workflows: that is
//! why calls are timed by read and write and not by operation, and buckets are few.

use std::collections::BTreeSet;

use super::{
    family::{Def, Family, Kind, Known},
    labels::{
        Access, Activity, Actor, CallOutcome, Code, End, Label, Level, Mode, Operation, Outcome, Region, Restarted,
        Route, StartFailure, StepEnd, StepType, StopOutcome, Version,
    },
};

use Kind::{Counter, Gauge, Histogram};

/// Most lines that a sidecar's `/metrics` may have in a usual life, failures included.
pub const MOST_SERIES: usize = 200;

pub const BUILD: Def<(Version, Mode)> = Def::new("build_info", Gauge, "Build of the running plugin.");
pub const LOG_MESSAGES: Def<Level> = Def::new("log_messages_total", Counter, "Log messages written.");

pub const REQUESTS: Def<Outcome> =
    Def::new("execute_requests_total", Counter, "template.execute requests answered, by answer.");
/// The top bucket is the agent's own time-out (argo-workflows, workflow/executor/plugins/rpc/plugin.go).
pub const REQUEST_DURATION: Def<()> = Def::new(
    "execute_request_duration_seconds",
    Histogram(&[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0]),
    "Time to answer template.execute.",
);
pub const REQUESTS_IN_FLIGHT: Def<()> =
    Def::new("execute_requests_in_flight", Gauge, "template.execute requests being answered.");
pub const HTTP_REQUESTS: Def<(Route, Code)> =
    Def::new("http_requests_total", Counter, "HTTP requests by route and status.").known(Known::Lazy);

pub const ACTORS: Def<Actor> = Def::new("actors", Gauge, "Live actors.");
pub const MAILBOX: Def<Actor> =
    Def::new("actor_mailbox_messages", Gauge, "Messages waiting, summed over the actors of a kind.");
pub const ACTOR_MESSAGES: Def<Actor> = Def::new("actor_messages_total", Counter, "Messages taken by actors.");
pub const ACTOR_RESTARTS: Def<Restarted> =
    Def::new("actor_restarts_total", Counter, "Actors made again after a panic.");

pub const OPEN_NODES: Def<()> = Def::new("open_nodes", Gauge, "Plugin nodes that have not ended.");
pub const ACTIVE: Def<Activity> = Def::new("active_executions", Gauge, "Executions followed now.");
pub const QUEUE: Def<()> = Def::new("start_queue_places", Gauge, "Nodes in the start queue.");
pub const QUEUE_HEAD: Def<()> = Def::new(
    "start_queue_head_timestamp_seconds",
    Gauge,
    "When the first in the start queue was asked for; absent when nobody waits.",
)
.known(Known::Lazy);
pub const OLDEST_POLL: Def<()> = Def::new(
    "oldest_execution_poll_timestamp_seconds",
    Gauge,
    "Time of the least recent look at an active execution that AWS answered; absent when none is active.",
)
.known(Known::Lazy);
pub const STARTED: Def<()> = Def::new("executions_started_total", Counter, "Executions started by this process.");
pub const RESUMED: Def<()> = Def::new(
    "executions_resumed_total",
    Counter,
    "Executions that had failed or were stopped and that this process resumed (`on_retry`).",
);
pub const ADOPTED: Def<()> = Def::new(
    "executions_adopted_total",
    Counter,
    "Executions of this workflow found running that this process did not start: found again after a restart.",
);
pub const START_FAILURES: Def<StartFailure> =
    Def::new("execution_start_failures_total", Counter, "Starts and resumes that AWS did not take, by reason.");
pub const FINISHED: Def<End> =
    Def::new("executions_finished_total", Counter, "Executions seen to end, by final status; Unknown: it was deleted.");
/// By SageMaker's own times. Runs take minutes to days.
pub const EXECUTION_DURATION: Def<End> = Def::new(
    "execution_duration_seconds",
    Histogram(&[60.0, 300.0, 1800.0, 3600.0, 14_400.0, 86_400.0]),
    "Run time of ended executions by SageMaker's clock.",
)
.known(Known::Ending(&["Succeeded", "Failed"]));
/// 120 is the alert's threshold and therefore a bound.
pub const DETECTION_LAG: Def<()> = Def::new(
    "execution_detection_lag_seconds",
    Histogram(&[1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0]),
    "From an execution's end at SageMaker until the plugin noticed it.",
);
pub const STOPS: Def<StopOutcome> = Def::new("execution_stop_requests_total", Counter, "Stop requests sent.");
pub const STEPS: Def<(StepType, StepEnd)> =
    Def::new("steps_finished_total", Counter, "Steps of ended executions, by type and final status.")
        .known(Known::Lazy);

pub const CALLS: Def<(Operation, CallOutcome)> =
    Def::new("aws_api_calls_total", Counter, "Calls to AWS, retries included, by final outcome.")
        .known(Known::Ending(&["ok", "access_denied"]));
pub const CALL_DURATION: Def<Access> = Def::new(
    "aws_api_call_duration_seconds",
    Histogram(&[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
    "Whole calls to AWS with retries and back-off.",
);
pub const CALL_RETRIES: Def<Operation> =
    Def::new("aws_api_retries_total", Counter, "Attempts of calls to AWS beyond the first.");
pub const CALL_THROTTLES: Def<Operation> =
    Def::new("aws_api_throttles_total", Counter, "Attempts that AWS throttled, whatever became of the call.");
pub const CALLS_WAITING: Def<(Region, Access)> =
    Def::new("aws_calls_waiting", Gauge, "Calls to AWS that wait for the plugin's own pace.").known(Known::Lazy);
pub const PACE: Def<(Region, Access)> = Def::new(
    "aws_rate_limiter_calls_per_second",
    Gauge,
    "How many calls the plugin's own pace lets leave in a second, found by asking.",
)
.known(Known::Lazy);
pub const PACE_WAIT: Def<()> = Def::new(
    "aws_rate_limiter_wait_seconds",
    Histogram(&[0.1, 1.0, 5.0, 15.0, 60.0, 300.0]),
    "How long calls to AWS waited for the plugin's own pace.",
);
pub const CREDENTIALS_REFRESHES: Def<()> =
    Def::new("aws_credentials_refreshes_total", Counter, "Times credentials were asked for, failures included.");
pub const CREDENTIALS_FAILURES: Def<()> =
    Def::new("aws_credentials_failures_total", Counter, "Times credentials were asked for and not given.");
pub const CREDENTIALS_EXPIRY: Def<()> = Def::new(
    "aws_credentials_expiry_timestamp_seconds",
    Gauge,
    "Soonest expiry of the credentials in use; absent when they do not expire.",
)
.known(Known::Lazy);

/// What the crate `prometheus` exports of the process; the prefix `process_` is reserved for it.
const PROCESS: [(&str, Kind, &str); 7] = [
    ("process_cpu_seconds_total", Counter, "Total user and system CPU time spent in seconds."),
    ("process_max_fds", Gauge, "Maximum number of open file descriptors."),
    ("process_open_fds", Gauge, "Number of open file descriptors."),
    ("process_resident_memory_bytes", Gauge, "Resident memory size in bytes."),
    ("process_start_time_seconds", Gauge, "Start time of the process since unix epoch in seconds."),
    ("process_threads", Gauge, "Number of OS threads in the process."),
    ("process_virtual_memory_bytes", Gauge, "Virtual memory size in bytes."),
];

/// The whole catalogue, in the order of the README's table.
pub fn all() -> Vec<Family> {
    let mut all = vec![
        OPEN_NODES.family(),
        ACTIVE.family(),
        QUEUE.family(),
        QUEUE_HEAD.family(),
        OLDEST_POLL.family(),
        STARTED.family(),
        RESUMED.family(),
        ADOPTED.family(),
        START_FAILURES.family(),
        FINISHED.family(),
        EXECUTION_DURATION.family(),
        DETECTION_LAG.family(),
        STOPS.family(),
        STEPS.family(),
        CALLS.family(),
        CALL_DURATION.family(),
        CALL_RETRIES.family(),
        CALL_THROTTLES.family(),
        CALLS_WAITING.family(),
        PACE.family(),
        PACE_WAIT.family(),
        CREDENTIALS_REFRESHES.family(),
        CREDENTIALS_FAILURES.family(),
        CREDENTIALS_EXPIRY.family(),
        REQUESTS.family(),
        REQUEST_DURATION.family(),
        REQUESTS_IN_FLIGHT.family(),
        HTTP_REQUESTS.family(),
        ACTORS.family(),
        MAILBOX.family(),
        ACTOR_MESSAGES.family(),
        ACTOR_RESTARTS.family(),
        LOG_MESSAGES.family(),
        BUILD.family(),
    ];
    all.extend(PROCESS.map(|(name, kind, help)| Family {
        name: name.to_owned(),
        kind,
        help,
        labels: Vec::new(),
        at_start: 1,
        at_most: 1,
    }));
    all
}

/// The README's table. Long lists of values are written out once.
pub fn markdown() -> String {
    let mut table = "| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n".to_owned();
    let mut told = BTreeSet::new();
    for family in all() {
        let labels: Vec<String> = family
            .labels
            .iter()
            .map(|(name, values)| describe(name, values, !told.insert((*name, values.clone()))))
            .collect();
        let (name, kind, help) = (&family.name, family.kind.as_str(), family.help);
        let labels = if labels.is_empty() { String::new() } else { format!(" {}", labels.join("; ")) };
        table.push_str(&format!("| `{name}` | {kind} |{labels} | {help} |\n"));
    }
    table
}

fn describe(name: &str, values: &[&str], told: bool) -> String {
    // Nobody looks up all the regions here.
    if name == Version::NAME || name == Region::NAME || (told && values.len() > 4) {
        return format!("`{name}`");
    }
    format!("`{name}`: {}", values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" "))
}
