//! Time-outs that have struck, and the end of the workflow, as one attempt meets them.

use crate::{
    pipelines::Time,
    protocol::Phase,
    workflow::{
        execution::StopAnswer,
        report::{self, spoken},
        siblings::is_new,
        slab::ExecutionId,
        trouble::Trouble,
        world::World,
    },
};

use super::{Attempt, Stage};

impl Attempt {
    /// Stops a live execution whose time is up, and gives its stop a limit.
    pub(super) fn check_timeout(&mut self, id: ExecutionId, w: &mut World) {
        let Some((at, timeout)) = self.deadline(Some(id), w) else { return };
        let now = w.fx.now();
        if now < at {
            self.wake_at(at, w);
            return;
        }
        // A time that is up is only believed of an execution that was seen live: it may have ended long ago. One that
        // cannot be seen for so long is taken for live, else it would run for ever.
        let tracked = &w.executions[id];
        let grace = w.fx.settings().denied_grace;
        // While draining nothing is looked at any more, and what this process has just started runs.
        let just_started = w.closing.draining().is_some() && tracked.started_at().is_some();
        let blind = tracked.trouble().is_some_and(|trouble| now >= trouble.since().plus(grace));
        if tracked.seen().is_none() && !just_started && !blind {
            return;
        }
        let since = *self.timed_out_at.get_or_insert(now);
        if !self.stops_in_time() {
            let text = format!("timed out after {}; the execution it was attached to is left running", spoken(timeout));
            self.end(Phase::Failed, &text, Some(id), w);
            return;
        }
        w.want_stop(id);
        let until = w.fx.stop_limit(since);
        if now < until {
            // It may move: one timer is enough.
            self.wake_after(until.since(now), w);
            return;
        }
        let trouble = w.executions[id].stop_trouble();
        let why = trouble.map_or("a Callback step blocks it".to_owned(), |t| report::fit(t.text(), 150));
        let (timeout, wait) = (spoken(timeout), spoken(w.fx.settings().stop_wait));
        let text = format!("timed out after {timeout}; its stop has not ended within {wait} ({why})");
        self.end(Phase::Failed, &text, Some(id), w);
    }

    /// Ends a node that is not to start since then, as soon as it is certain that no other process has started it: what an
    /// earlier one did just before it died is not in the lists yet. Meanwhile it does not start.
    pub fn end_unstarted(&mut self, text: &str, since: Time, w: &mut World) {
        let asked = self.asked_since();
        let new = is_new(asked, &w.fx);
        let after = if new { since } else { since.max(w.lags_until()) };
        let limit = after.max(asked).plus(w.fx.settings().stop_wait);
        if w.is_listed_after(self.pipeline, after) || w.fx.now() >= limit {
            let blind = w.pipelines[self.pipeline].listing().is_denied() && !new;
            let but = if blind {
                "; an execution that an earlier process started is not known, lists are denied"
            } else {
                ""
            };
            self.end(Phase::Failed, &format!("{text}{but}"), None, w);
            return;
        }
        self.wake_after(limit.since(w.fx.now()), w);
        w.queue.leave(self.id);
        self.set_stage(Stage::Locating, w);
    }

    /// The workflow is over: it ends, or waits for what becomes of its execution.
    pub fn workflow_is_over(&mut self, w: &mut World) {
        if let Some(id) = self.followed() {
            if !self.rules.stop_when_over {
                w.describe(id);
            }
            self.stop_if_over(id, w);
        } else if self.is_queued()
            && let Some(closed) = w.closing.for_node(self.rules.exit_handler).cloned()
        {
            self.end_unstarted(closed.text(), w.fx.now(), w);
        }
    }

    /// After the workflow's end: a live execution is stopped, and its node ends as soon as it is certain what becomes
    /// of the execution. One that has ended is told as it ended, once that is explained.
    pub(super) fn stop_if_over(&mut self, id: ExecutionId, w: &mut World) {
        let Some(closed) = w.closing.over().filter(|closed| closed.holds_for(self.rules.exit_handler)).cloned() else {
            return;
        };
        if !w.executions[id].is_live() {
            return;
        }
        if self.rules.stop_when_over {
            w.want_stop(id);
        }
        let patience = w.fx.stop_limit(closed.since().max(self.asked_since()));
        match self.fate(id, closed.since(), patience, w) {
            Some(fate) => self.end(Phase::Failed, &format!("{}; {fate}", closed.text()), Some(id), w),
            None => self.wake_after(patience.since(w.fx.now()), w),
        }
    }

    /// What becomes of an execution that was live when its workflow's end became known. It may have ended since its
    /// last look, and then its node is told that end: nothing is said before AWS has answered, or until `patience`.
    fn fate(&self, id: ExecutionId, closed: Time, patience: Time, w: &World) -> Option<String> {
        let tracked = &w.executions[id];
        let goes_on = |trouble: Option<&Trouble>| {
            let why = trouble.map_or("no stop of it was taken".to_owned(), |t| report::fit(t.text(), 150));
            format!("its execution goes on, {why}")
        };
        let out_of_patience = w.fx.now() >= patience;
        if !self.rules.stop_when_over {
            return (out_of_patience || tracked.seen() >= Some(closed))
                .then(|| "its execution is left running".to_owned());
        }
        if tracked.is_stopping() {
            return Some("its execution is being stopped".to_owned());
        }
        match tracked.stop_answer() {
            StopAnswer::Taken => Some("its execution is being stopped".to_owned()),
            // Its next look tells how it ended.
            StopAnswer::NothingToStop if !out_of_patience => None,
            StopAnswer::Refused => Some(goes_on(tracked.stop_trouble())),
            StopAnswer::None | StopAnswer::NothingToStop => out_of_patience.then(|| goes_on(tracked.any_trouble())),
        }
    }

    /// A start that landed after the workflow's end, or after a stop task: its execution is stopped before anything
    /// else is known of it.
    pub(super) fn stop_latecomer(&self, id: ExecutionId, w: &mut World) {
        if self.rules.stop_when_over && w.closing.for_node(self.rules.exit_handler).is_some() {
            w.want_stop(id);
        }
    }
}
