//! The start queue: who may start next when SageMaker or `max_running` lets only so many run.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use crate::pipelines::{ClientKey, Time};

use super::{
    key::Key,
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
    pub pipeline: PipelineId,
    pub max_running: Option<usize>,
    /// Not before this, and nobody of its client either (after a throttle).
    pub not_before: Time,
    /// Until then others pass it: its own start was denied.
    pub aside_until: Time,
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

/// First in, first out; a node keeps its place when its start is refused.
#[derive(Default)]
pub struct StartQueue {
    line: BTreeMap<u64, Waiter>,
    places: HashMap<AttemptId, u64>,
    sequence: u64,
    full: HashMap<ClientKey, Full>,
}

impl StartQueue {
    /// Puts a node in line; one that is in line already keeps its place.
    pub fn join(&mut self, waiter: Waiter) {
        let place = *self.places.entry(waiter.node).or_insert_with(|| {
            self.sequence += 1;
            self.sequence
        });
        self.line.insert(place, waiter);
    }

    /// Takes a node out for good: it started, ended or is no longer wanted.
    pub fn leave(&mut self, node: AttemptId) {
        if let Some(place) = self.places.remove(&node) {
            self.line.remove(&place);
        }
    }

    /// Whether the node is in line (not while its start is on its way).
    pub fn contains(&self, node: AttemptId) -> bool {
        self.places.get(&node).is_some_and(|place| self.line.contains_key(place))
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// How many wait before this node.
    pub fn ahead(&self, node: AttemptId) -> usize {
        self.places.get(&node).map_or(0, |place| self.line.range(..*place).count())
    }

    /// SageMaker's words, while this client's account is full.
    pub fn full(&self, client: &ClientKey) -> Option<&str> {
        self.full.get(client).map(|full| full.text.as_str())
    }

    /// The next node that may start now. Who is `held` is passed over (its pipeline is denied or runs as often as it may);
    /// `has_room` says whether the pace lets a start of this client leave at once. A start waits here and not in the outbox: here its
    /// node can still be ended, and nobody behind it passes when the account turns out to be full.
    pub fn head(
        &self,
        now: Time,
        held: impl Fn(&Waiter) -> bool,
        has_room: impl Fn(&ClientKey) -> bool,
    ) -> Option<&Waiter> {
        let mut blocked: Vec<&ClientKey> = Vec::new();
        for waiter in self.line.values() {
            if blocked.contains(&&waiter.client) || waiter.aside_until > now || held(waiter) {
                continue;
            }
            let full = self.full.get(&waiter.client).is_some_and(|f| f.probing.is_some() || f.probe_at > now);
            if full || waiter.not_before > now || !has_room(&waiter.client) {
                // First in, first out: nobody of this account overtakes its head.
                blocked.push(&waiter.client);
                continue;
            }
            return Some(waiter);
        }
        None
    }

    /// Takes a node out of line to start it; its place is kept until [`Self::leave`].
    pub fn take(&mut self, head: &Waiter) -> Option<Waiter> {
        let place = self.places.get(&head.node)?;
        let waiter = self.line.remove(place)?;
        if let Some(full) = self.full.get_mut(&waiter.client) {
            full.probing = Some(waiter.node);
        }
        Some(waiter)
    }

    /// The account is full: the node goes back to its place, only the head probes from now on.
    pub fn refused(&mut self, waiter: Waiter, text: &str, now: Time) {
        let node = waiter.node;
        // A refusal that comes late, of a start that was sent before, says nothing that the probe will not say better.
        if self.full.get(&waiter.client).is_none_or(|full| full.probing.is_none_or(|prober| prober == node)) {
            let probes = self.full.get(&waiter.client).map_or(0, |full| full.probes + 1);
            let wait = PROBE_MIN + PROBE_SPREAD.mul_f64(waiter.key.spread(probes));
            let full = Full { text: text.to_owned(), probe_at: now.plus(wait), probing: None, probes };
            self.full.insert(waiter.client.clone(), full);
        }
        self.join(waiter);
    }

    /// A start of this client came back with anything but "full": the next may try at once.
    pub fn answered(&mut self, client: &ClientKey, node: AttemptId, started: bool, now: Time) {
        if let Some(full) = self.full.get_mut(client) {
            full.probing = full.probing.filter(|prober| *prober != node);
            if started {
                full.probe_at = now;
            }
        }
        if started && !self.line.values().any(|w| &w.client == client) {
            self.full.remove(client);
        }
    }

    /// Whoever was set aside among these tries again by then.
    pub fn recall(&mut self, by: Time, whom: impl Fn(&Waiter) -> bool) {
        for waiter in self.line.values_mut().filter(|w| whom(w)) {
            waiter.aside_until = waiter.aside_until.min(by);
        }
    }

    /// One of our own executions ended: capacity came free.
    pub fn freed(&mut self, client: &ClientKey, now: Time) {
        if let Some(full) = self.full.get_mut(client) {
            full.probe_at = now;
        }
    }

    /// Everybody in line, in order.
    pub fn waiters(&self) -> impl Iterator<Item = &Waiter> {
        self.line.values()
    }

    /// When [`Self::head`] may have an answer without anything else happening.
    pub fn next_time(&self, now: Time) -> Option<Time> {
        self.line
            .values()
            .map(|w| {
                let probe =
                    self.full.get(&w.client).filter(|f| f.probing.is_none()).map_or(w.not_before, |f| f.probe_at);
                w.not_before.max(probe).max(w.aside_until)
            })
            .filter(|at| *at > now)
            .min()
    }
}
