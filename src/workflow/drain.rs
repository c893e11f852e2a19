//! The process is told to end: nothing more starts, starts in flight are awaited, and what the end of the workflow
//! wants stopped is stopped before every other call.

use std::sync::Arc;

use crate::pipelines::{Call, Status};

use super::{LiveExecution, Machine, Purpose, node::StopAnswer};

/// So many stops are on their way at once, whatever the pace: they are the last calls of the process, and what AWS
/// throttles is repeated. At 200 ms a call that is 80 stops a second, the account's limit permitting.
pub const STOPS_AT_ONCE: usize = 16;

impl Machine {
    pub(super) fn drain(&mut self) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        // Starts that have not left yet never do; those on their way are awaited by whoever drains.
        let unsent = self.outbox.withdraw(|waiting| matches!(waiting.operation, Call::StartExecution(_)));
        for call in unsent {
            if let Some(Purpose::Start { key, attempt }) = self.calls.remove(&call) {
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
        self.draining && self.starts_in_flight == 0 && !self.stops_are_open() && !self.awaits_verdict()
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
