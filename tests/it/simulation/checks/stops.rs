//! Nothing is stopped that should live, and a stop that was taken stops.

use std::collections::{HashMap, HashSet};

use awf_aws::pipelines::{Status, Time};

use super::CLOCKS;
use crate::simulation::{
    plan::{ATTACHED, MINUTE},
    world::World,
};

/// What AWS was asked to stop.
#[derive(Default)]
pub struct Stops {
    /// Stops that it has taken, and when.
    taken: HashMap<String, Time>,
    /// Tokens of stops whose outcome a process was not told.
    unsure: HashSet<String>,
}

impl World {
    /// Nothing is stopped that should live.
    pub(super) fn check_stop(&mut self, arn: &str, token: &str) {
        let revived = self.checks.revived.get(arn).copied();
        // One that is repeated because its outcome was not told may have been carried out before somebody revived it.
        let repeats = self.checks.stops.unsure.contains(token);
        let taken = self.checks.stops.taken.entry(arn.to_owned()).or_insert(self.now);
        if revived.is_some_and(|revived| revived > *taken) && !repeats {
            *taken = self.now;
        }
        if arn == self.elsewhere {
            // Somebody else's is stopped when a stop names it or the node that is attached to it, and never else.
            let asked = |number: usize| self.is_stopped_by_task(number, ATTACHED, false);
            if !(0..self.workflows.len()).any(asked) && !self.is_stopped_by_arn(arn) {
                self.checks.broke("somebody else's execution was stopped, and nobody wanted that");
            }
            return;
        }
        let found = self.book.executions().iter().position(|e| e.arn == arn);
        let Some(started) = found.and_then(|place| self.checks.started[place].clone()) else {
            self.checks.broke(format!("{arn} was stopped, which no workflow has started"));
            return;
        };
        let Some((number, node)) = self.node_of(&started.marker) else { return };
        let (workflow, now) = (&self.workflows[number], self.now);
        let over = self.is_over(number);
        let created = found.and_then(|place| self.book.executions().get(place)).map_or(now, |e| self.began(e));
        let stopped_by_task = self.is_stopped_by_task(number, &workflow.nodes[node].plan.name, true);
        // Any attempt of the node that follows the execution may have run into its time-out.
        let mut attempts = workflow.nodes.iter().filter(|n| n.plan.name == workflow.nodes[node].plan.name);
        let timed_out = attempts.any(|n| {
            let since = n.first_asked.map_or(created, |asked| asked.min(created));
            n.plan.timeout.is_some_and(|timeout| now >= since.plus(timeout).minus(CLOCKS))
        });
        let wanted =
            timed_out || stopped_by_task || self.is_stopped_by_arn(arn) || (over && !workflow.nodes[node].plan.leave);
        if timed_out {
            self.bites.add("node: timed out");
        }
        if !wanted {
            let name = self.workflows[number].nodes[node].plan.name.clone();
            self.checks.broke(format!("{arn} of {name} was stopped, and nobody wanted that"));
        }
    }

    /// A process is not told whether its stop was carried out.
    pub(super) fn stop_is_unsure(&mut self, token: &str) {
        self.checks.stops.unsure.insert(token.to_owned());
    }

    /// When AWS took a stop of this execution.
    pub(super) fn stop_taken(&self, arn: &str) -> Option<Time> {
        let others = self.checks.stopped_by_others.get(arn);
        self.checks.stops.taken.get(arn).into_iter().chain(others).min().copied()
    }

    /// What was stopped goes on: that stop is history.
    pub(super) fn forget_stops(&mut self, arn: &str) {
        self.checks.stops.taken.remove(arn);
        self.checks.stopped_by_others.remove(arn);
    }

    /// A stop that AWS has taken stops: an execution that runs on a minute later was asked in vain.
    pub(super) fn check_stops_took(&mut self) {
        if self.checks.stops.taken.is_empty() {
            return;
        }
        self.bites.add("check: a stop that was taken stops");
        let vain = self.checks.stops.taken.iter().find(|(arn, taken)| {
            let revived = self.checks.revived.get(*arn).is_some_and(|at| at > *taken);
            let mut found = self.book.executions().iter().filter(|e| e.arn == **arn && !e.deleted);
            let runs = found.any(|e| e.status == Status::Executing);
            runs && !revived && self.now.since(**taken) > MINUTE
        });
        if let Some((arn, _)) = vain {
            let text = format!("the stop of {arn} was taken, and it runs on");
            self.checks.broke(text);
        }
    }
}
