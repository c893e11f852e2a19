//! Whose turn it is to start.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    pipelines::ClientKey,
    workflow::{effects::Timer, queue::Waiter, slab::PipelineId, world::World},
};

use super::Nodes;

/// How often it is looked whether a pipeline with waiting nodes has to be listed again.
const RELIST_EVERY: Duration = Duration::from_secs(5);

impl Nodes {
    /// Starts whoever may start now.
    pub fn start_next(&mut self, w: &mut World) {
        if w.closing.draining().is_some() {
            return;
        }
        // What waits to leave goes first, stops above all.
        w.fx.release(false);
        while let Some(waiter) = self.next_start(w) {
            self.attempts[waiter.node].start(waiter, w);
            w.fx.release(false);
        }
        let clients: BTreeSet<&ClientKey> = w.queue.waiters().map(|waiter| &waiter.client).collect();
        let times = clients.into_iter().map(|client| w.fx.write_time(client));
        if let Some(at) = times.filter(|at| *at > w.fx.now()).min() {
            w.fx.wake(at, Timer::Queue);
        }
        self.list_for_waiters(w);
        if let Some(at) = w.queue.next_time(w.fx.now()) {
            w.fx.wake(at, Timer::Queue);
        }
    }

    /// Takes the next node out of line that may start now.
    fn next_start(&self, w: &mut World) -> Option<Waiter> {
        let now = w.fx.now();
        if w.fx.settings().max_running_per_workflow.is_some_and(|max| w.running_in_all() >= max) {
            return None;
        }
        let held = |waiter: &Waiter| {
            let pipeline = &w.pipelines[waiter.pipeline];
            pipeline.start_rests(now)
                || pipeline.listing().fails()
                || w.executions.are_doubted(&waiter.key)
                || waiter.max_running.is_some_and(|max| w.running_of(waiter.pipeline) >= max)
        };
        let has_room = |client: &ClientKey| w.fx.write_time(client) <= now;
        let head = w.queue.head(now, held, has_room)?.clone();
        let has_past = !w.executions.of_key(&head.key).is_empty();
        let (asked, retry) = (self.attempts[head.node].asked_since(), self.attempts[head.node].number() > 0);
        // What ended here before it could start may have started just then in another pod. Its retry looks once more.
        let lags_until = if retry { w.lags_until().max(asked) } else { w.lags_until() };
        let fresh = w.pipelines.is_freshly_listed(head.pipeline, has_past, lags_until, &mut w.fx);
        (fresh && w.watch.may_start(asked, &mut w.fx)).then(|| w.queue.take(&head)).flatten()
    }

    /// Who waits behind others is not told Pending for long while another pod has started it.
    fn list_for_waiters(&mut self, w: &mut World) {
        if self.waiting_listed_at.plus(RELIST_EVERY) > w.fx.now() {
            return;
        }
        self.waiting_listed_at = w.fx.now();
        let waiting: BTreeSet<PipelineId> = w.queue.waiters().map(|waiter| waiter.pipeline).collect();
        let lags_until = w.lags_until();
        for pipeline in waiting {
            w.pipelines.is_freshly_listed(pipeline, false, lags_until, &mut w.fx);
        }
    }
}
