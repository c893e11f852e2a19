//! What is now: gathered when Prometheus asks, from what each runner last told of itself.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use prometheus::{
    Error, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use super::{
    catalogue,
    family::{Changes, Counter, FloatGauge, Gauge, TimeGauge},
    labels::{Access, Activity, Actor, Label, Level, Region},
};
use crate::{pipelines::Time, workflow::Gauges};

/// What the whole process is doing now.
#[derive(Clone)]
pub struct LiveState(Arc<Shared>);

struct Shared {
    workflows: Mutex<HashMap<u64, Gauges>>,
    /// Calls a second and calls that wait, as the keeper of the pace last told.
    lanes: Mutex<Vec<LaneState>>,
    /// When the credentials of each client expire.
    expiries: Mutex<HashMap<u64, Time>>,
    next: AtomicU64,
    supervisors: AtomicI64,
    waiting: [AtomicI64; 2],
    taken: Counter<Actor>,
}

impl LiveState {
    pub(super) fn new(registry: &Registry, changes: &Changes) -> Result<Self, Error> {
        let live = Self(Arc::new(Shared {
            workflows: Mutex::default(),
            lanes: Mutex::default(),
            expiries: Mutex::default(),
            next: AtomicU64::new(0),
            supervisors: AtomicI64::new(0),
            waiting: [AtomicI64::new(0), AtomicI64::new(0)],
            taken: Counter::new(&catalogue::ACTOR_MESSAGES, registry, changes)?,
        }));
        registry.register(Box::new(LiveCollector::new(live.clone())?))?;
        Ok(live)
    }

    fn number(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    fn workflows(&self) -> MutexGuard<'_, HashMap<u64, Gauges>> {
        self.0.workflows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how fast the lanes are, and how many calls wait for them; those of several accounts count together.
    pub(super) fn set_lanes(&self, lanes: impl Iterator<Item = LaneState>) {
        let mut sums: Vec<LaneState> = Vec::new();
        for lane in lanes {
            match sums.iter_mut().find(|sum| sum.labels == lane.labels) {
                Some(sum) => {
                    sum.calls_per_second += lane.calls_per_second;
                    sum.waiting += lane.waiting;
                }
                None => sums.push(lane),
            }
        }
        *self.lanes() = sums;
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<LaneState>> {
        self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expiries(&self) -> MutexGuard<'_, HashMap<u64, Time>> {
        self.0.expiries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How things stand in a lane of calls to AWS.
pub(super) struct LaneState {
    pub labels: (Region, Access),
    pub calls_per_second: f64,
    pub waiting: usize,
}

/// One workflow's gauges, as its runner last told them; gone when dropped, also by a panic.
pub struct WorkflowGauges {
    live: LiveState,
    number: u64,
}

impl WorkflowGauges {
    pub(super) fn new(live: &LiveState) -> Self {
        let gauges = Self { live: live.clone(), number: live.number() };
        gauges.set(Gauges::default());
        gauges
    }

    /// Says how things stand in this workflow.
    pub fn set(&self, gauges: Gauges) {
        self.live.workflows().insert(self.number, gauges);
    }
}

impl Drop for WorkflowGauges {
    fn drop(&mut self) {
        self.live.workflows().remove(&self.number);
    }
}

/// One client's credentials; no longer counted when dropped.
#[derive(Debug)]
pub struct CredentialsExpiry {
    live: LiveState,
    number: u64,
}

impl CredentialsExpiry {
    pub(super) fn new(live: &LiveState) -> Self {
        Self { live: live.clone(), number: live.number() }
    }

    /// They were given anew, to this time or for ever.
    pub fn set(&self, at: Option<Time>) {
        let mut expiries = self.live.expiries();
        match at {
            Some(at) => expiries.insert(self.number, at),
            None => expiries.remove(&self.number),
        };
    }
}

impl Drop for CredentialsExpiry {
    fn drop(&mut self) {
        self.live.expiries().remove(&self.number);
    }
}

impl std::fmt::Debug for LiveState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LiveState")
    }
}

/// The supervisor lives as long as this.
pub struct SupervisorAlive(LiveState);

impl SupervisorAlive {
    pub(super) fn new(live: &LiveState) -> Self {
        live.0.supervisors.fetch_add(1, Ordering::Relaxed);
        Self(live.clone())
    }
}

impl Drop for SupervisorAlive {
    fn drop(&mut self) {
        self.0.0.supervisors.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A message in an actor's mailbox, from its sending until it is taken, or thrown away with the actor.
pub struct QueuedMessage {
    live: LiveState,
    actor: Actor,
}

impl QueuedMessage {
    pub(super) fn new(live: &LiveState, actor: Actor) -> Self {
        live.0.waiting[actor as usize].fetch_add(1, Ordering::Relaxed);
        Self { live: live.clone(), actor }
    }

    /// The actor has it.
    pub fn taken(self) {
        self.live.0.taken.inc(self.actor);
    }
}

impl Drop for QueuedMessage {
    fn drop(&mut self) {
        self.live.0.waiting[self.actor as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts the log's lines for the process; the log is one, too.
#[derive(Debug, Default)]
pub struct LogCounts([AtomicU64; 3]);

impl LogCounts {
    /// Nothing was logged yet.
    pub const fn new() -> Self {
        Self([AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)])
    }

    /// A line was written.
    pub fn written(&self, level: Level) {
        self.0[level as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self, level: Level) -> u64 {
        self.0[level as usize].load(Ordering::Relaxed)
    }
}

/// Gathers the live state when Prometheus asks.
struct LiveCollector {
    live: LiveState,
    active: Gauge<Activity>,
    open_nodes: Gauge<()>,
    queue: Gauge<()>,
    calls_waiting: Gauge<(Region, Access)>,
    pace: FloatGauge<(Region, Access)>,
    actors: Gauge<Actor>,
    mailbox: Gauge<Actor>,
    queue_head: TimeGauge,
    oldest_poll: TimeGauge,
    expiry: TimeGauge,
}

impl LiveCollector {
    fn new(live: LiveState) -> Result<Self, Error> {
        Ok(Self {
            live,
            active: Gauge::unregistered(&catalogue::ACTIVE)?,
            open_nodes: Gauge::unregistered(&catalogue::OPEN_NODES)?,
            queue: Gauge::unregistered(&catalogue::QUEUE)?,
            calls_waiting: Gauge::unregistered(&catalogue::CALLS_WAITING)?,
            pace: FloatGauge::unregistered(&catalogue::PACE)?,
            actors: Gauge::unregistered(&catalogue::ACTORS)?,
            mailbox: Gauge::unregistered(&catalogue::MAILBOX)?,
            queue_head: TimeGauge::unregistered(&catalogue::QUEUE_HEAD)?,
            oldest_poll: TimeGauge::unregistered(&catalogue::OLDEST_POLL)?,
            expiry: TimeGauge::unregistered(&catalogue::CREDENTIALS_EXPIRY)?,
        })
    }

    fn parts(&self) -> [&dyn Collector; 10] {
        [
            self.active.collector(),
            self.open_nodes.collector(),
            self.queue.collector(),
            self.calls_waiting.collector(),
            self.pace.collector(),
            self.actors.collector(),
            self.mailbox.collector(),
            self.queue_head.collector(),
            self.oldest_poll.collector(),
            self.expiry.collector(),
        ]
    }

    fn refresh(&self) {
        let workflows = self.live.workflows();
        let sum = |of: fn(&Gauges) -> usize| as_gauge(workflows.values().map(of).sum());
        let first = |of: fn(&Gauges) -> Option<Time>| workflows.values().filter_map(of).min().map(seconds);
        self.active.set(Activity::Executing, sum(|g| g.executing));
        self.active.set(Activity::Stopping, sum(|g| g.stopping));
        self.open_nodes.set((), sum(|g| g.open_nodes));
        self.queue.set((), sum(|g| g.queued));
        self.queue_head.set(first(|g| g.queue_head_since));
        self.oldest_poll.set(first(|g| g.oldest_poll));
        self.actors.set(Actor::Workflow, as_gauge(workflows.len()));
        drop(workflows);
        for lane in self.live.lanes().iter() {
            self.pace.set(lane.labels, lane.calls_per_second);
            self.calls_waiting.set(lane.labels, as_gauge(lane.waiting));
        }
        self.actors.set(Actor::Supervisor, self.live.0.supervisors.load(Ordering::Relaxed));
        for actor in Actor::ALL {
            self.mailbox.set(*actor, self.live.0.waiting[*actor as usize].load(Ordering::Relaxed));
        }
        self.expiry.set(self.live.expiries().values().min().copied().map(seconds));
    }
}

impl Collector for LiveCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.refresh();
        // A family without series would be encoded as an error.
        let families = self.parts().into_iter().flat_map(Collector::collect);
        families.filter(|family| !family.get_metric().is_empty()).collect()
    }
}

fn as_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn seconds(time: Time) -> f64 {
    // Milliseconds since 1970 fit a double exactly for the next 280,000 years.
    #[allow(clippy::cast_precision_loss, reason = "see above")]
    let millis = time.millis() as f64;
    millis / 1000.0
}
