//! The process is told to end: nothing more starts, starts in flight are awaited, and what the end of the workflow
//! wants stopped is stopped before every other call.

use std::{sync::Arc, time::Duration};

use crate::pipelines::{Call, Status, Time};

use super::{
    LiveExecution, Machine, Purpose,
    node::{Stage, StopAnswer, Tracked},
};

/// So many stops are on their way at once, whatever the pace: they are the last calls of the process, and what AWS
/// throttles is repeated. At 200 ms a call that is 80 stops a second, the account's limit permitting.
pub const STOPS_AT_ONCE: usize = 16;
/// What is left of the grace when a time-out strikes has to do for its stop.
const A_STOP_TAKES: Duration = Duration::from_secs(3);

impl Machine {
    pub(super) fn drain(&mut self) {
        if self.draining.is_some() {
            return;
        }
        self.draining = Some(self.now);
        // Starts that have not left yet never do; those on their way are awaited by whoever drains.
        let unsent = self.outbox.withdraw(|waiting| matches!(waiting.operation, Call::StartExecution(_)));
        for call in unsent {
            if let Some((Purpose::Start { key, attempt }, _)) = self.calls.remove(&call) {
                self.unsend_start(key, attempt);
            }
        }
        // Stops that wait for their next try have no time to wait.
        let waiting: Vec<Arc<str>> = self
            .executions
            .iter_mut()
            .filter_map(|(arn, t)| Some((arn, t.stop.as_mut()?)))
            .filter(|(_, stop)| stop.answer == StopAnswer::None && stop.send_at.is_some())
            .map(|(arn, stop)| {
                stop.send_at = Some(self.now);
                arn.clone()
            })
            .collect();
        for arn in waiting {
            self.send_stop(&arn);
        }
        self.signal_came();
    }

    /// Whether the process may end: no start is in flight, nothing is left to be stopped, and no answer of Kubernetes
    /// would change that.
    pub fn drained(&self) -> bool {
        let done = self.starts_in_flight == 0 && !self.stops_are_open() && !self.awaits_verdict();
        self.draining.is_some_and(|since| done && !self.times_out_before_the_end(since))
    }

    /// Whether a running execution's time is up before the process has to end. Argo counts a time-out from its own sight
    /// of the node, fails it and ends the pod some seconds before we would have stopped the execution; nobody else would.
    fn times_out_before_the_end(&self, since: Time) -> bool {
        let end = since.plus(self.settings.shutdown_grace.saturating_sub(A_STOP_TAKES));
        let attempts = self.families.iter().flat_map(|(key, f)| f.attempts.iter().map(move |(n, a)| (*key, *n, a)));
        attempts.filter(|(_, _, a)| a.rules.timeout.is_some()).any(|(key, number, attempt)| {
            let Stage::Following(arn) = &attempt.stage else { return false };
            let stops = attempt.rules.stop_when_over || !attempt.rules.attached;
            let runs = stops && self.executions.get(arn).is_some_and(|t| t.stop.is_none() && is_running(t));
            runs && self.deadline(key, number, Some(arn)).is_some_and(|(at, _)| at <= end)
        })
    }

    fn stops_are_open(&self) -> bool {
        let open = |arn: &Arc<str>| {
            self.executions.get(arn).is_some_and(|t| {
                let wanted = t.stop.is_some_and(|stop| stop.answer == StopAnswer::None);
                wanted && t.execution.status != Status::Stopping
            })
        };
        // What an earlier process started is stopped too, as soon as it is listed.
        let looks = self.stops_what_runs() && self.still_looks();
        looks || self.pipelines.iter().flat_map(|p| &p.live).any(open)
    }

    /// What runs on when the process ends now.
    pub fn left_behind(&self) -> Vec<LiveExecution> {
        let live = self.pipelines.iter().flat_map(|p| &p.live).filter_map(|arn| self.executions.get(arn));
        live.filter_map(|t| {
            let answer = t.stop.map_or(StopAnswer::None, |stop| stop.answer);
            let stopping = answer == StopAnswer::Taken || t.execution.status == Status::Stopping;
            (answer != StopAnswer::NothingToStop).then(|| LiveExecution { arn: t.execution.arn.clone(), stopping })
        })
        .collect()
    }
}

/// Whether an execution goes on unless it is stopped.
fn is_running(tracked: &Tracked) -> bool {
    tracked.execution.status.is_live() && tracked.execution.status != Status::Stopping
}
