//! Whose turn it is to start.

use std::time::Duration;

use crate::{
    pipelines::ClientKey,
    workflow::{
        effects::Timer,
        queue::{Row, Waiter},
        world::World,
    },
};

use super::Nodes;

/// How often it is looked whether a pipeline with waiting nodes has to be listed again.
const RELIST_EVERY: Duration = Duration::from_secs(5);

impl Nodes {
    /// Starts whoever may start now, and asks for a turn for whoever is next.
    pub fn start_next(&mut self, w: &mut World) {
        if w.closing.draining().is_some() {
            return;
        }
        w.queue.bring_back(w.fx.now());
        for client in w.queue.clients() {
            let waits = self.start_next_of(&client, w);
            w.fx.head_waits(&client, waits);
        }
        self.list_for_waiters(w);
        if let Some(at) = w.queue.next_time(w.fx.now()) {
            w.fx.wake(at, Timer::Queue);
        }
    }

    /// Starts the nodes of one client for which there are turns; whether one more could start.
    fn start_next_of(&mut self, client: &ClientKey, w: &mut World) -> bool {
        while let Some(head) = self.next_start(client, w) {
            if !w.fx.has_turn_for_start(client) {
                return true;
            }
            if let Some(waiter) = w.queue.take(head.node) {
                self.attempts[waiter.node].start(waiter, w);
                w.fx.release(false);
            }
        }
        false
    }

    /// The next node of a client that nothing but the pace keeps from starting.
    fn next_start(&self, client: &ClientKey, w: &mut World) -> Option<Waiter> {
        let now = w.fx.now();
        if w.fx.settings().max_running_per_workflow.is_some_and(|max| w.running_in_all() >= max) {
            return None;
        }
        let held = |row: Row| {
            let pipeline = &w.pipelines[row.pipeline];
            pipeline.rests(row.way, now)
                || pipeline.listing().fails()
                || row.max_running.is_some_and(|max| w.running_of(row.pipeline) >= max)
        };
        let head = w.queue.head(client, now, held, |waiter| w.executions.are_doubted(&waiter.key))?.clone();
        let has_past = !w.executions.of_key(&head.key).is_empty();
        let (asked, retry) = (self.attempts[head.node].asked_since(), self.attempts[head.node].number() > 0);
        // What ended here before it could start may have started just then in another pod. Its retry looks once more.
        let lags_until = if retry { w.lags_until().max(asked) } else { w.lags_until() };
        let fresh = w.pipelines.is_freshly_listed(head.row.pipeline, has_past, lags_until, &mut w.fx);
        (fresh && w.watch.may_start(asked, &mut w.fx)).then_some(head)
    }

    /// Who waits behind others is not told Pending for long while another pod has started it.
    fn list_for_waiters(&mut self, w: &mut World) {
        if w.queue.is_empty() {
            return;
        }
        let again_at = self.waiting_listed_at.plus(RELIST_EVERY);
        if again_at > w.fx.now() {
            w.fx.wake(again_at, Timer::Queue);
            return;
        }
        self.waiting_listed_at = w.fx.now();
        let lags_until = w.lags_until();
        for pipeline in w.queue.pipelines() {
            w.pipelines.is_freshly_listed(pipeline, false, lags_until, &mut w.fx);
        }
    }
}
