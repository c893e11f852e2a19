//! The start queue: who may start next when SageMaker, `max_running` or the pace lets only so many run.
//!
//! First in, first out for each client, whose account has one quota. A client's nodes stand in rows, one for each
//! pipeline, way to begin and limit: what holds one up holds up its row, so nobody walks past ten thousand others to see who
//! is next.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use crate::pipelines::{ClientKey, Time};

use super::{
    key::Key,
    ranks::Ranks,
    room::Room as _,
    slab::{AttemptId, PipelineId},
};

/// A quota is asked again after this long, spread evenly and never growing: other pods compete for it too.
const PROBE_MIN: Duration = Duration::from_secs(5);
const PROBE_SPREAD: Duration = Duration::from_secs(10);

/// A node that is proven not started and wants to.
#[derive(Clone, Debug)]
pub struct Waiter {
    pub node: AttemptId,
    /// Spreads the probes of many processes.
    pub key: Key,
    pub client: ClientKey,
    pub row: Row,
}

/// How a node is to begin. Each needs its own permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Start,
    Resume,
}

/// What holds up those who stand in one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub pipeline: PipelineId,
    pub way: Way,
    pub max_running: Option<usize>,
}

/// A node's place, kept while its start is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spot {
    /// In its row.
    InRow,
    /// Set aside until then: others pass it.
    Aside(Time),
    /// Its start is on its way.
    Away,
}

#[derive(Clone, Debug)]
struct Placed {
    place: usize,
    line: usize,
    row: Row,
    spot: Spot,
}

/// What SageMaker said when it last refused for capacity, and when to ask again.
#[derive(Clone, Debug)]
struct Full {
    text: String,
    probe_at: Time,
    /// Whose start is on its way to find out.
    probing: Option<AttemptId>,
    probes: u64,
}

/// Those of one row, by place.
#[derive(Debug, Default)]
struct Waiters {
    ready: BTreeMap<usize, Waiter>,
    aside: BTreeMap<(Time, usize), Waiter>,
}

impl Waiters {
    fn len(&self) -> usize {
        self.ready.len() + self.aside.len()
    }
}

/// The nodes of one client.
#[derive(Debug)]
struct Line {
    client: ClientKey,
    rows: BTreeMap<Row, Waiters>,
    full: Option<Full>,
    /// Nobody starts before this: whoever is next would meet the same trouble.
    rests_until: Time,
}

impl Line {
    fn of(&self, pipeline: PipelineId, way: Way) -> impl Iterator<Item = &Waiters> {
        let meant = move |row: &Row| (row.pipeline, row.way) == (pipeline, way);
        self.rows.iter().filter(move |(row, _)| meant(row)).map(|(_, waiters)| waiters)
    }
}

/// First in, first out; a node keeps its place when its start is refused.
#[derive(Default)]
pub struct StartQueue {
    /// By client, in the order in which they came.
    lines: Vec<Line>,
    nodes: HashMap<AttemptId, Placed>,
    ranks: Ranks,
    len: usize,
    /// Something changed since it was last asked who is next.
    touched: bool,
}

impl StartQueue {
    /// Puts a node in line; one that was there keeps its place.
    pub fn join(&mut self, waiter: Waiter) {
        self.put(waiter, None);
    }

    /// The same, but until then others pass it: its own start was denied.
    pub fn set_aside(&mut self, waiter: Waiter, until: Time) {
        self.put(waiter, Some(until));
    }

    fn put(&mut self, waiter: Waiter, aside: Option<Time>) {
        let before = self.remove(waiter.node);
        let place = before.map_or_else(|| self.ranks.place(), |placed| placed.place);
        let line = self.line_of(&waiter.client);
        let spot = aside.map_or(Spot::InRow, Spot::Aside);
        self.nodes.insert(waiter.node, Placed { place, line, row: waiter.row, spot });
        self.ranks.join(place);
        self.len += 1;
        self.touched = true;
        let row = self.lines[line].rows.entry(waiter.row).or_default();
        match aside {
            Some(until) => row.aside.insert((until, place), waiter),
            None => row.ready.insert(place, waiter),
        };
    }

    /// Takes a node out for good: it started, ended or is no longer wanted.
    pub fn leave(&mut self, node: AttemptId) {
        self.remove(node);
    }

    fn remove(&mut self, node: AttemptId) -> Option<Placed> {
        let placed = self.nodes.remove(&node)?;
        self.lift(&placed);
        self.nodes.give_back();
        self.touched = true;
        Some(placed)
    }

    /// Takes whoever stands there out of line.
    fn lift(&mut self, placed: &Placed) -> Option<Waiter> {
        let rows = &mut self.lines[placed.line].rows;
        let row = rows.get_mut(&placed.row)?;
        let waiter = match placed.spot {
            Spot::InRow => row.ready.remove(&placed.place),
            Spot::Aside(until) => row.aside.remove(&(until, placed.place)),
            Spot::Away => None,
        }?;
        if row.len() == 0 {
            rows.remove(&placed.row);
        }
        self.ranks.leave(placed.place);
        self.len -= 1;
        Some(waiter)
    }

    fn line_of(&mut self, client: &ClientKey) -> usize {
        let known = self.lines.iter().position(|line| line.client == *client);
        known.unwrap_or_else(|| {
            let rests_until = Time::default();
            self.lines.push(Line { client: client.clone(), rows: BTreeMap::new(), full: None, rests_until });
            self.lines.len() - 1
        })
    }

    fn line(&self, client: &ClientKey) -> Option<&Line> {
        self.lines.iter().find(|line| line.client == *client)
    }

    /// Whether something changed since this was last asked.
    pub fn take_touched(&mut self) -> bool {
        std::mem::take(&mut self.touched)
    }

    /// Whether the node is in line (not while its start is on its way).
    pub fn contains(&self, node: AttemptId) -> bool {
        self.nodes.get(&node).is_some_and(|placed| placed.spot != Spot::Away)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many wait before this node.
    pub fn ahead(&self, node: AttemptId) -> usize {
        self.nodes.get(&node).map_or(0, |placed| self.ranks.before(placed.place) as usize)
    }

    /// How many wait to begin one of a pipeline in this way.
    pub fn waiting_for(&self, pipeline: PipelineId, way: Way) -> usize {
        self.lines.iter().flat_map(|line| line.of(pipeline, way)).map(Waiters::len).sum()
    }

    /// The pipelines that somebody waits for.
    pub fn pipelines(&self) -> Vec<PipelineId> {
        let mut all: Vec<_> = self.lines.iter().flat_map(|line| line.rows.keys().map(|row| row.pipeline)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whose accounts somebody waits for.
    pub fn clients(&self) -> Vec<ClientKey> {
        self.lines.iter().map(|line| line.client.clone()).collect()
    }

    /// Everybody in line, in order.
    pub fn nodes(&self) -> Vec<AttemptId> {
        let mut all: Vec<(usize, AttemptId)> = self
            .nodes
            .iter()
            .filter(|(_, placed)| placed.spot != Spot::Away)
            .map(|(node, p)| (p.place, *node))
            .collect();
        all.sort_unstable();
        all.into_iter().map(|(_, node)| node).collect()
    }

    /// Who waits before all others.
    pub fn first(&self) -> Option<AttemptId> {
        let rows = self.lines.iter().flat_map(|line| line.rows.values());
        let heads = rows.flat_map(|row| {
            let ready = row.ready.first_key_value().map(|(place, waiter)| (*place, waiter.node));
            ready.into_iter().chain(row.aside.iter().map(|((_, place), waiter)| (*place, waiter.node)))
        });
        heads.min().map(|(_, node)| node)
    }

    /// SageMaker's words, while this client's account is full.
    pub fn full(&self, client: &ClientKey) -> Option<&str> {
        self.line(client)?.full.as_ref().map(|full| full.text.as_str())
    }

    /// The next node of a client that may start now, as far as the queue knows. Rows that are `held` are passed over
    /// (their pipeline is denied, or runs as often as it may), and whoever is `doubted`.
    pub fn head(
        &self,
        client: &ClientKey,
        now: Time,
        held: impl Fn(Row) -> bool,
        doubted: impl Fn(&Waiter) -> bool,
    ) -> Option<&Waiter> {
        let line = self.line(client)?;
        let full = line.full.as_ref().is_some_and(|full| full.probing.is_some() || full.probe_at > now);
        // First in, first out: nobody of this account overtakes its head.
        if full || line.rests_until > now {
            return None;
        }
        let rows = line.rows.iter().filter(|(row, _)| !held(**row));
        let heads = rows.filter_map(|(_, waiters)| waiters.ready.iter().find(|(_, waiter)| !doubted(waiter)));
        heads.min_by_key(|(place, _)| **place).map(|(_, waiter)| waiter)
    }

    /// Whoever was set aside until now stands in its row again.
    pub fn bring_back(&mut self, now: Time) {
        for waiters in self.lines.iter_mut().flat_map(|line| line.rows.values_mut()) {
            while let Some(entry) = waiters.aside.first_entry().filter(|entry| entry.key().0 <= now) {
                let ((_, place), waiter) = entry.remove_entry();
                if let Some(placed) = self.nodes.get_mut(&waiter.node) {
                    placed.spot = Spot::InRow;
                }
                waiters.ready.insert(place, waiter);
            }
        }
    }

    /// Takes a node out of line to start it; its place is kept until [`Self::leave`].
    pub fn take(&mut self, node: AttemptId) -> Option<Waiter> {
        let placed = self.nodes.get(&node)?.clone();
        let waiter = self.lift(&placed)?;
        self.nodes.insert(node, Placed { spot: Spot::Away, ..placed });
        if let Some(full) = &mut self.lines[placed.line].full {
            full.probing = Some(node);
        }
        Some(waiter)
    }

    /// The account is full: the node goes back to its place, only the head probes from now on.
    pub fn refused(&mut self, waiter: Waiter, text: &str, now: Time) {
        let (node, line) = (waiter.node, self.line_of(&waiter.client));
        let full = &mut self.lines[line].full;
        // A refusal that comes late, of a start that was sent before, says nothing that the probe will not say better.
        if full.as_ref().is_none_or(|full| full.probing.is_none_or(|prober| prober == node)) {
            let probes = full.as_ref().map_or(0, |full| full.probes + 1);
            let wait = PROBE_MIN + PROBE_SPREAD.mul_f64(waiter.key.spread(probes));
            *full = Some(Full { text: text.to_owned(), probe_at: now.plus(wait), probing: None, probes });
        }
        self.join(waiter);
    }

    /// A start of this client came back with anything but "full": the next may try at once.
    pub fn answered(&mut self, client: &ClientKey, node: AttemptId, started: bool, now: Time) {
        let number = self.line_of(client);
        let line = &mut self.lines[number];
        if let Some(full) = &mut line.full {
            full.probing = full.probing.filter(|prober| *prober != node);
            if started {
                full.probe_at = now;
            }
        }
        if started && line.rows.is_empty() {
            line.full = None;
        }
        self.touched = true;
    }

    /// Nobody of a client starts before this.
    pub fn rest(&mut self, client: &ClientKey, until: Time) {
        let line = self.line_of(client);
        self.lines[line].rests_until = self.lines[line].rests_until.max(until);
    }

    /// Whoever of a pipeline and way was set aside tries again by then.
    pub fn recall(&mut self, pipeline: PipelineId, way: Way, by: Time) {
        let rows = self.lines.iter_mut().flat_map(|line| line.rows.iter_mut());
        for (_, waiters) in rows.filter(|(row, _)| (row.pipeline, row.way) == (pipeline, way)) {
            for ((until, place), waiter) in waiters.aside.split_off(&(by, 0)) {
                let until = until.min(by);
                if let Some(placed) = self.nodes.get_mut(&waiter.node) {
                    placed.spot = Spot::Aside(until);
                }
                waiters.aside.insert((until, place), waiter);
            }
        }
        self.touched = true;
    }

    /// One of our own executions ended: capacity came free.
    pub fn freed(&mut self, client: &ClientKey, now: Time) {
        let line = self.line_of(client);
        if let Some(full) = &mut self.lines[line].full {
            full.probe_at = now;
        }
        self.touched = true;
    }

    /// When [`Self::head`] may have an answer without anything else happening.
    pub fn next_time(&self, now: Time) -> Option<Time> {
        let of_line = |line: &Line| {
            let probe = line.full.as_ref().filter(|full| full.probing.is_none()).map_or(now, |full| full.probe_at);
            let opens = line.rests_until.max(probe);
            let rows = line.rows.values();
            let times = rows.flat_map(|row| {
                let ready = (!row.ready.is_empty()).then_some(opens);
                ready.into_iter().chain(row.aside.first_key_value().map(|((until, _), _)| opens.max(*until)))
            });
            times.filter(|at| *at > now).min()
        };
        self.lines.iter().filter_map(of_line).min()
    }
}
