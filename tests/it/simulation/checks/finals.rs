//! When all is over: whatever Argo still wanted has ended as the book says.

use std::{collections::BTreeMap, time::Duration};

use awf_aws::{pipelines::Status, protocol::Phase};

use super::World;
use crate::simulation::{
    argo::Node,
    plan::{SECOND, Work},
};

impl World {
    pub fn final_checks(&mut self) -> Result<(), String> {
        let mut broken = Vec::new();
        for number in 0..self.workflows.len() {
            let workflow = &self.workflows[number];
            if !workflow.is_gone() {
                let open: Vec<_> = workflow.nodes.iter().filter(|n| n.ended.is_none() && !n.unwanted).collect();
                broken.push(format!("workflow {number} never ends; open: {open:?}"));
            }
            let mut newest: BTreeMap<&str, usize> = BTreeMap::new();
            for (place, node) in workflow.nodes.iter().enumerate().filter(|(_, n)| !n.unwanted) {
                let known = newest.entry(&node.plan.name).or_insert(place);
                let other = &workflow.nodes[*known];
                if (node.run, node.attempt) > (other.run, other.attempt) {
                    *known = place;
                }
            }
            broken.extend(self.left_running(number));
            let mut judged = false;
            for place in newest.into_values() {
                let node = &self.workflows[number].nodes[place];
                broken.extend(self.retried_wrongly(number, node));
                let went_on = node.ended.as_ref().and_then(|end| end.arn.as_ref());
                if !went_on.is_some_and(|arn| self.went_on(arn, (number, place))) {
                    broken.extend(self.ended_wrongly(number, node));
                }
                judged |= node.run > 0 && node.ended.is_some() && self.knows_its_run(number);
            }
            if judged {
                self.bites.add("check: a failed node runs again after argo retry");
            }
        }
        broken.extend(self.unnoted_start());
        if broken.is_empty() { Ok(()) } else { Err(broken.join("; ")) }
    }

    /// After `argo retry` a node that had failed is tried again, where Kubernetes says when the new run began.
    fn retried_wrongly(&self, number: usize, node: &Node) -> Option<String> {
        if node.plan.work != Work::Execute {
            return None;
        }
        let workflow = &self.workflows[number];
        let knows =
            self.knows_its_run(number) && self.plan.quiet() && self.plan.workflows[number].troubles.frozen.is_none();
        let end = node.ended.as_ref().filter(|end| end.phase == Phase::Failed && !end.message.contains("workflow"))?;
        let arn = end.arn.as_ref()?;
        let execution = self.book.executions().iter().find(|e| e.arn == *arn)?;
        // A clock that jumps leaves room for minutes, others for seconds: the API server says its time.
        let slack = if self.plan.troubles.clocks.jump.is_some() { Duration::from_secs(1240) } else { 40 * SECOND };
        let old = !execution.status.is_live() && execution.modified < workflow.started_at.minus(slack);
        let revived = self.checks.revived.contains_key(arn);
        (knows && node.run > 0 && old && !revived)
            .then(|| format!("{} was told the end of the workflow's earlier run", node.plan.name))
    }

    fn ended_wrongly(&self, number: usize, node: &Node) -> Option<String> {
        let end = node.ended.as_ref()?;
        let deleted =
            self.checks.deleted_keys.contains(&node.key) || self.checks.deleted_pipelines.contains(node.plan.pipeline);
        if self.may_start_twice(number) || node.plan.work != Work::Execute || deleted {
            return None;
        }
        let executions = self.executions_of(&node.key);
        let newest = match &end.arn {
            Some(arn) => executions.iter().find(|e| e.arn == *arn),
            None => executions.iter().max_by_key(|e| e.created),
        };
        if newest.is_some_and(|e| self.checks.revived.contains_key(&e.arn)) {
            return None;
        }
        let accepts = |status: &Status| {
            *status == Status::Succeeded || (node.plan.accept && *status == Status::CompletedWithFailures)
        };
        let denied = ["not authorized", "expired"].iter().any(|text| end.message.contains(text));
        let moved = end.message.contains("already used by this workflow");
        let wrong = match (end.phase, newest) {
            (Phase::Succeeded, _) => !executions.iter().any(|e| accepts(&e.status)),
            (Phase::Failed, Some(execution)) => {
                let unsure = ["left running", "its execution goes on", "timed out"];
                // An agent that asks again for a node that a stop task ended finds a process that knows nothing of it.
                let asked_again = end.message.contains("a stop task");
                let lost = end.arn.is_none() && (self.lists_were_denied(number) || asked_again);
                accepts(&execution.status) && !lost && !unsure.iter().any(|text| end.message.contains(text))
            }
            (Phase::Failed, None) => {
                !["timed out", "workflow", "a stop task"].iter().any(|text| end.message.contains(text))
            }
            // Whether a denial had lasted was judged when it was told.
            (Phase::Error, _) => !(denied || moved || self.may_lose_sight(number)),
            _ => true,
        };
        wrong.then(|| {
            let status = newest.map(|e| &e.status);
            format!("{} attempt {} ended {end:?}, the book says {status:?}", node.plan.name, node.attempt)
        })
    }
}
