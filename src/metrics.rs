//! Metrics: what is measured, and how it gets out.
//!
//! | module | holds |
//! |---|---|
//! | [`catalogue`] | every metric as data: name, type, help, labels, buckets |
//! | [`labels`] | the values of labels, all of them enums |
//! | [`family`] | what an entry of the catalogue is, and the typed handles to write it |
//! | [`facts`] | one method per fact: the metric and the log line beside it |
//! | [`live`] | what is now, gathered at the scrape |
//! | [`scrapes`] | whether a scrape has seen everything |
//!
//! Nothing here is global: a registry belongs to a process, or to a test.

use prometheus::{Error, Registry, TextEncoder, process_collector::ProcessCollector};
use tokio::time::Instant;

use crate::pace::{Direction, LaneKey};

pub mod catalogue;
pub mod facts;
pub mod family;
pub mod labels;
pub mod live;
pub mod scrapes;

use family::{Changes, Counter, Gauge, Histogram};
use labels::{
    Access, Actor, CallOutcome, Code, End, Label, Level, Mode, Operation, Outcome, Region, Restarted, Route,
    StartFailure, StepEnd, StepType, StopOutcome, Version,
};
use live::{CredentialsExpiry, LaneState, LiveState, LogCounts, QueuedMessage, SupervisorAlive, WorkflowGauges};
use scrapes::{Scrape, Scrapes};

/// The metrics of one process, in a registry of their own.
pub struct Metrics {
    registry: Registry,
    changes: Changes,
    scrapes: Scrapes,
    live: LiveState,
    requests: Requests,
    executions: Executions,
    aws: Aws,
    restarts: Counter<Restarted>,
    log: Counter<Level>,
    log_counts: Option<&'static LogCounts>,
}

/// What the agent and others ask.
struct Requests {
    answered: Counter<Outcome>,
    duration: Histogram<()>,
    in_flight: Gauge<()>,
    http: Counter<(Route, Code)>,
}

/// What becomes of executions.
struct Executions {
    started: Counter<()>,
    resumed: Counter<()>,
    adopted: Counter<()>,
    start_failures: Counter<StartFailure>,
    finished: Counter<End>,
    duration: Histogram<End>,
    detection_lag: Histogram<()>,
    stops: Counter<StopOutcome>,
    steps: Counter<(StepType, StepEnd)>,
}

/// What AWS is asked.
struct Aws {
    calls: Counter<(Operation, CallOutcome)>,
    call_duration: Histogram<Access>,
    retries: Counter<Operation>,
    throttles: Counter<Operation>,
    pace_wait: Histogram<()>,
    refreshes: Counter<()>,
    credential_failures: Counter<()>,
}

impl Metrics {
    /// Registers everything. An error is a mistake in the catalogue (two equal names) and ends the start of the
    /// process.
    pub fn new() -> Result<Self, Error> {
        let registry = Registry::new();
        let changes = Changes::default();
        // Scrapes are requests, too: were they changes, no scrape would ever have seen the last one.
        let unwatched = Changes::default();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Gauge::new(&catalogue::BUILD, &registry)?.set((Version, Mode::Sidecar), 1);
        Ok(Self {
            live: LiveState::new(&registry, &unwatched)?,
            requests: Requests {
                answered: Counter::new(&catalogue::REQUESTS, &registry, &changes)?,
                duration: Histogram::new(&catalogue::REQUEST_DURATION, &registry, &changes)?,
                in_flight: Gauge::new(&catalogue::REQUESTS_IN_FLIGHT, &registry)?,
                http: Counter::new(&catalogue::HTTP_REQUESTS, &registry, &unwatched)?,
            },
            executions: Executions {
                started: Counter::new(&catalogue::STARTED, &registry, &changes)?,
                resumed: Counter::new(&catalogue::RESUMED, &registry, &changes)?,
                adopted: Counter::new(&catalogue::ADOPTED, &registry, &changes)?,
                start_failures: Counter::new(&catalogue::START_FAILURES, &registry, &changes)?,
                finished: Counter::new(&catalogue::FINISHED, &registry, &changes)?,
                duration: Histogram::new(&catalogue::EXECUTION_DURATION, &registry, &changes)?,
                detection_lag: Histogram::new(&catalogue::DETECTION_LAG, &registry, &changes)?,
                stops: Counter::new(&catalogue::STOPS, &registry, &changes)?,
                steps: Counter::new(&catalogue::STEPS, &registry, &changes)?,
            },
            aws: Aws {
                calls: Counter::new(&catalogue::CALLS, &registry, &changes)?,
                call_duration: Histogram::new(&catalogue::CALL_DURATION, &registry, &changes)?,
                retries: Counter::new(&catalogue::CALL_RETRIES, &registry, &changes)?,
                throttles: Counter::new(&catalogue::CALL_THROTTLES, &registry, &changes)?,
                pace_wait: Histogram::new(&catalogue::PACE_WAIT, &registry, &changes)?,
                refreshes: Counter::new(&catalogue::CREDENTIALS_REFRESHES, &registry, &changes)?,
                credential_failures: Counter::new(&catalogue::CREDENTIALS_FAILURES, &registry, &changes)?,
            },
            restarts: Counter::new(&catalogue::ACTOR_RESTARTS, &registry, &changes)?,
            log: Counter::new(&catalogue::LOG_MESSAGES, &registry, &unwatched)?,
            log_counts: None,
            scrapes: Scrapes::default(),
            changes,
            registry,
        })
    }

    /// Counts the log's lines, too.
    pub fn with_log(self, counts: &'static LogCounts) -> Self {
        Self { log_counts: Some(counts), ..self }
    }

    /// The text format 0.0.4 of Prometheus.
    pub fn encode(&self) -> Result<String, Error> {
        if let Some(counts) = self.log_counts {
            Level::ALL.iter().for_each(|level| self.log.set(*level, counts.count(*level)));
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// A scrape begins; whoever has answered it says so.
    pub fn scrape_began(&self) -> Scrape<'_> {
        self.scrapes.began(&self.changes)
    }

    /// Waits for a scrape that began after the last change; not at all when nobody ever scraped.
    pub async fn scraped(&self) {
        self.scrapes.complete(&self.changes).await;
    }

    /// Begins to time a `template.execute` request; however it ends, its duration is counted.
    pub fn request_began(&self) -> RequestTimer<'_> {
        self.requests.in_flight.add((), 1);
        RequestTimer { metrics: self, began: Instant::now(), outcome: None }
    }

    /// A request was answered, by whichever listener.
    pub fn http_answered(&self, route: Route, status: u16) {
        self.requests.http.inc((route, Code::of(status)));
    }

    /// A workflow's place among what is gathered at a scrape.
    pub fn workflow_gauges(&self) -> WorkflowGauges {
        WorkflowGauges::new(&self.live)
    }

    /// How fast each lane is, and how many calls wait for it.
    pub fn lanes<'a>(&self, lanes: impl Iterator<Item = (&'a LaneKey, f64, usize)>) {
        self.live.set_lanes(lanes.map(|(key, calls_per_second, waiting)| {
            let access = if key.direction == Direction::Write { Access::Write } else { Access::Read };
            LaneState { labels: (Region::of(&key.region), access), calls_per_second, waiting }
        }));
    }

    /// The place of one client's credentials.
    pub fn credentials_expiry(&self) -> CredentialsExpiry {
        CredentialsExpiry::new(&self.live)
    }

    /// The supervisor lives until this is dropped.
    pub fn supervisor_lives(&self) -> SupervisorAlive {
        SupervisorAlive::new(&self.live)
    }

    /// A message is put into an actor's mailbox.
    pub fn message_queued(&self, actor: Actor) -> QueuedMessage {
        QueuedMessage::new(&self.live, actor)
    }
}

/// Times one request; counts when dropped, so that no way out is forgotten.
pub struct RequestTimer<'a> {
    metrics: &'a Metrics,
    began: Instant,
    outcome: Option<Outcome>,
}

impl RequestTimer<'_> {
    /// Says how the request was answered.
    pub fn answered(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for RequestTimer<'_> {
    fn drop(&mut self) {
        let requests = &self.metrics.requests;
        requests.in_flight.add((), -1);
        requests.duration.observe((), self.began.elapsed().as_secs_f64());
        if let Some(outcome) = self.outcome {
            requests.answered.inc(outcome);
        }
    }
}
