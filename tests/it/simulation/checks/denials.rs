//! A node ends in error for a denial only when it was denied again and again throughout the grace.

use std::{collections::HashMap, time::Duration};

use awf_aws::{
    pipelines::{Call, CallError, CallErrorKind, CallReply, Time},
    protocol::Phase,
};

use super::{Process, World};
use crate::simulation::argo::{Ended, NodeId};

/// `--denied-grace`, less the longest way back of an answer (30 s) and the rounding of clocks.
const GRACE: Duration = Duration::from_secs(85);

/// Denials in a row.
#[derive(Clone, Copy, Debug)]
struct Denied {
    first: Time,
    last: Time,
    times: u32,
}

#[derive(Default)]
pub struct Denials {
    /// Of a node's own start; of what comes before every start.
    rows: HashMap<(Process, Option<NodeId>), Denied>,
    /// Nodes whose start was ever denied, and when last.
    ever: HashMap<(usize, NodeId), Time>,
}

impl World {
    /// This start is about to be denied.
    pub fn start_was_denied(&mut self, _process: Process, workflow: usize, node: NodeId) {
        self.checks.denials.ever.insert((workflow, node), self.now);
    }

    pub(super) fn was_denied_before(&self, workflow: usize, node: NodeId) -> bool {
        self.checks.denials.ever.contains_key(&(workflow, node))
    }

    /// When a start of this node was last denied.
    pub(super) fn last_denied(&self, workflow: usize, node: NodeId) -> Option<Time> {
        self.checks.denials.ever.get(&(workflow, node)).copied()
    }

    pub(super) fn note_denials(&mut self, process: Process, call: &Call, result: &Result<CallReply, CallError>) {
        let who = match call {
            Call::StartExecution(_) | Call::UpdateExecution { .. } | Call::RetryExecution { .. } => {
                match self.node_of_start(call) {
                    Some((_, node)) => Some(node),
                    None => return,
                }
            }
            Call::GetCallerIdentity
            | Call::DescribePipeline { .. }
            | Call::ListExecutions { .. }
            | Call::ListPipelines { .. } => None,
            _ => return,
        };
        let now = self.now;
        match result {
            Err(error) if matches!(error.kind, CallErrorKind::Denied | CallErrorKind::Credentials) => {
                let row = Denied { first: now, last: now, times: 0 };
                let row = self.checks.denials.rows.entry((process, who)).or_insert(row);
                row.last = now;
                row.times += 1;
            }
            // What is answered, were it with "full", is not denied.
            Err(error) if !matches!(error.kind, CallErrorKind::QuotaExceeded | CallErrorKind::NotFound) => {}
            _ => {
                if who.is_some() {
                    self.checks.denials.rows.remove(&(process, who));
                }
            }
        }
    }

    /// Whether this was denied again throughout the grace.
    pub(super) fn check_lasting(&self, process: Process, who: Option<NodeId>) -> bool {
        let row = self.checks.denials.rows.get(&(process, who));
        row.is_some_and(|row| row.times >= 2 && row.last.since(row.first) >= GRACE)
    }

    pub(super) fn check_lasting_of_any(&self, workflow: usize) -> bool {
        let mut rows = self.checks.denials.rows.iter().filter(|((process, _), _)| process.0.0 == workflow);
        rows.any(|(_, row)| row.times >= 2 && row.last.since(row.first) >= GRACE)
    }

    pub(super) fn check_denial(&mut self, process: Process, node: NodeId, end: &Ended) {
        let denied = ["not authorized", "token", "expired"].iter().any(|text| end.message.contains(text));
        // Tokens are named in other sentences, too.
        if end.phase != Phase::Error || !denied || end.message.contains("not known whether") {
            return;
        }
        self.bites.add("check: error only after a lasting denial");
        if !self.check_lasting(process, Some(node)) && !self.check_lasting(process, None) {
            let name = self.workflows[process.0.0].nodes[node].plan.name.clone();
            let row = self.checks.denials.rows.get(&(process, Some(node)));
            let text = format!("{name} ended {end:?}, and its own start was not denied throughout the grace: {row:?}");
            self.checks.broke(text);
        }
    }
}
