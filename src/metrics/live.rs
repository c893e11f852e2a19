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
    family::{Changes, Counter, Gauge, Moment},
    labels::{Activity, Actor, Label, Level},
};
use crate::{pipelines::Time, workflow::Gauges};

/// What the whole process is doing now.
#[derive(Clone)]
pub struct Board(Arc<Shared>);

struct Shared {
    workflows: Mutex<HashMap<u64, Gauges>>,
    /// When the credentials of each client expire.
    expiries: Mutex<HashMap<u64, Time>>,
    next: AtomicU64,
    supervisors: AtomicI64,
    waiting: [AtomicI64; 2],
    taken: Counter<Actor>,
}

impl Board {
    pub(super) fn new(registry: &Registry, changes: &Changes) -> Result<Self, Error> {
        let board = Self(Arc::new(Shared {
            workflows: Mutex::default(),
            expiries: Mutex::default(),
            next: AtomicU64::new(0),
            supervisors: AtomicI64::new(0),
            waiting: [AtomicI64::new(0), AtomicI64::new(0)],
            taken: Counter::new(&catalogue::ACTOR_MESSAGES, registry, changes)?,
        }));
        registry.register(Box::new(Gatherer::new(board.clone())?))?;
        Ok(board)
    }

    fn number(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    fn workflows(&self) -> MutexGuard<'_, HashMap<u64, Gauges>> {
        self.0.workflows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expiries(&self) -> MutexGuard<'_, HashMap<u64, Time>> {
        self.0.expiries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One workflow's place on the board; given back when dropped, also by a panic.
pub struct Share {
    board: Board,
    number: u64,
}

impl Share {
    pub(super) fn new(board: &Board) -> Self {
        let share = Self { board: board.clone(), number: board.number() };
        share.tell(Gauges::default());
        share
    }

    /// Says how things stand in this workflow.
    pub fn tell(&self, gauges: Gauges) {
        self.board.workflows().insert(self.number, gauges);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.board.workflows().remove(&self.number);
    }
}

/// One client's credentials; no longer counted when dropped.
#[derive(Debug)]
pub struct Expiry {
    board: Board,
    number: u64,
}

impl Expiry {
    pub(super) fn new(board: &Board) -> Self {
        Self { board: board.clone(), number: board.number() }
    }

    /// They were given anew, to this time or for ever.
    pub fn set(&self, at: Option<Time>) {
        let mut expiries = self.board.expiries();
        match at {
            Some(at) => expiries.insert(self.number, at),
            None => expiries.remove(&self.number),
        };
    }
}

impl Drop for Expiry {
    fn drop(&mut self) {
        self.board.expiries().remove(&self.number);
    }
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Board")
    }
}

/// The supervisor lives as long as this.
pub struct Alive(Board);

impl Alive {
    pub(super) fn new(board: &Board) -> Self {
        board.0.supervisors.fetch_add(1, Ordering::Relaxed);
        Self(board.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.0.supervisors.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A message in an actor's mailbox, from its sending until it is taken, or thrown away with the actor.
pub struct Posted {
    board: Board,
    actor: Actor,
}

impl Posted {
    pub(super) fn new(board: &Board, actor: Actor) -> Self {
        board.0.waiting[actor as usize].fetch_add(1, Ordering::Relaxed);
        Self { board: board.clone(), actor }
    }

    /// The actor has it.
    pub fn taken(self) {
        self.board.0.taken.inc(self.actor);
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        self.board.0.waiting[self.actor as usize].fetch_sub(1, Ordering::Relaxed);
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

/// Asks the board when Prometheus asks.
struct Gatherer {
    board: Board,
    active: Gauge<Activity>,
    open_nodes: Gauge<()>,
    queue: Gauge<()>,
    calls_waiting: Gauge<()>,
    actors: Gauge<Actor>,
    mailbox: Gauge<Actor>,
    queue_head: Moment,
    oldest_poll: Moment,
    expiry: Moment,
}

impl Gatherer {
    fn new(board: Board) -> Result<Self, Error> {
        Ok(Self {
            board,
            active: Gauge::unregistered(&catalogue::ACTIVE)?,
            open_nodes: Gauge::unregistered(&catalogue::OPEN_NODES)?,
            queue: Gauge::unregistered(&catalogue::QUEUE)?,
            calls_waiting: Gauge::unregistered(&catalogue::CALLS_WAITING)?,
            actors: Gauge::unregistered(&catalogue::ACTORS)?,
            mailbox: Gauge::unregistered(&catalogue::MAILBOX)?,
            queue_head: Moment::unregistered(&catalogue::QUEUE_HEAD)?,
            oldest_poll: Moment::unregistered(&catalogue::OLDEST_POLL)?,
            expiry: Moment::unregistered(&catalogue::CREDENTIALS_EXPIRY)?,
        })
    }

    fn parts(&self) -> [&dyn Collector; 9] {
        [
            self.active.collector(),
            self.open_nodes.collector(),
            self.queue.collector(),
            self.calls_waiting.collector(),
            self.actors.collector(),
            self.mailbox.collector(),
            self.queue_head.collector(),
            self.oldest_poll.collector(),
            self.expiry.collector(),
        ]
    }

    fn refresh(&self) {
        let workflows = self.board.workflows();
        let sum = |of: fn(&Gauges) -> usize| as_gauge(workflows.values().map(of).sum());
        let first = |of: fn(&Gauges) -> Option<Time>| workflows.values().filter_map(of).min().map(seconds);
        self.active.set(Activity::Executing, sum(|g| g.executing));
        self.active.set(Activity::Stopping, sum(|g| g.stopping));
        self.open_nodes.set((), sum(|g| g.open_nodes));
        self.queue.set((), sum(|g| g.queued));
        self.calls_waiting.set((), sum(|g| g.calls_waiting));
        self.queue_head.set(first(|g| g.queue_head_since));
        self.oldest_poll.set(first(|g| g.oldest_poll));
        self.actors.set(Actor::Workflow, as_gauge(workflows.len()));
        drop(workflows);
        self.actors.set(Actor::Supervisor, self.board.0.supervisors.load(Ordering::Relaxed));
        for actor in Actor::ALL {
            self.mailbox.set(*actor, self.board.0.waiting[*actor as usize].load(Ordering::Relaxed));
        }
        self.expiry.set(self.board.expiries().values().min().copied().map(seconds));
    }
}

impl Collector for Gatherer {
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
    let millis = time.0 as f64;
    millis / 1000.0
}
