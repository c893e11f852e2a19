//! What has to be true when a round is over.

use std::collections::BTreeSet;

use awf_aws::{demo::agent::NodeStatus, protocol::Phase};
use serde_json::{Value, json};

use super::{
    argo::{Argo, is_live, is_ours},
    plan::{Kind, Node, Plan, STRANGERS, Stranger},
};

/// What a round came to.
#[derive(Debug, Default)]
pub struct Figures {
    pub executions: u64,
    pub stopped: u64,
    pub retried: u64,
    pub resumed: u64,
}

/// One execution an attempt, every node as the book says, nothing stopped that nobody named, and nothing left alive.
pub fn judge(plan: &Plan, argo: &Argo<'_>, book: &Value) -> Result<Figures, String> {
    let executions: Vec<&Value> = book["executions"].as_array().ok_or("the book lists no executions")?.iter().collect();
    let ended = argo.ended.borrow();
    let starts = |node: &Node| matches!(node.kind, Kind::Execute { .. } | Kind::Endless);
    let resumes = |number: usize, attempt: u32| {
        attempt > 0 && matches!(plan.nodes[number].kind, Kind::Execute { resumes: true, .. })
    };
    let attempts = ended.keys().filter(|(number, attempt)| starts(&plan.nodes[*number]) && !resumes(*number, *attempt));
    let attempts = attempts.count();
    // No trouble of a round lasts as long as the grace.
    if let Some(((number, attempt), status)) = ended.iter().find(|(_, status)| status.phase == Phase::Error) {
        return Err(format!("attempt {attempt} of {} ended with {status:?}", plan.nodes[*number].name));
    }
    one_execution_an_attempt(&executions, attempts)?;
    nothing_else_is_stopped(argo, &executions)?;

    let mut seen = BTreeSet::new();
    for ((number, attempt), status) in ended.iter() {
        let node = &plan.nodes[*number];
        let told = || format!("attempt {attempt} of {} ended with {status:?}", node.name);
        let arn = status.output("execution-arn").unwrap_or_default();
        let execution = executions.iter().find(|e| e["arn"] == arn).copied();
        match &node.kind {
            Kind::Stop(_) if status.phase == Phase::Succeeded => {}
            Kind::Stop(_) => return Err(told()),
            Kind::Attached { stranger } => {
                if arn != argo.strangers[*stranger as usize] {
                    return Err(format!("{}, which is not the execution it was attached to", told()));
                }
                if !is_true_of_an_attached(status, *stranger, execution) {
                    return Err(format!("{}, the book says {execution:?}", told()));
                }
            }
            Kind::Execute { resumes: true, .. } => {
                let first = ended.get(&(*number, 0)).and_then(|first| first.output("execution-arn"));
                if first != Some(arn) {
                    return Err(format!("{}, and the first attempt with {first:?}", told()));
                }
                seen.insert(arn);
                let retried = ended.contains_key(&(*number, 1));
                // What the first attempt failed with has gone on since.
                let is_its_own_end =
                    if retried && *attempt == 0 { status.phase == Phase::Failed } else { is_true(status, execution) };
                if !is_its_own_end || !ran_once_more_only_what_failed(execution, retried) {
                    return Err(format!("{}, the book says {execution:?}", told()));
                }
            }
            Kind::Execute { .. } | Kind::Endless => {
                if !is_true(status, execution) {
                    return Err(format!("{}, the book says {execution:?}", told()));
                }
                let own = execution.and_then(|e| e["display_name"].as_str()).unwrap_or_default();
                if !seen.insert(arn) || !own.ends_with(&format!("-{attempt}")) {
                    return Err(format!("{}, and the execution is another's: {own}", told()));
                }
            }
        }
    }

    // A first attempt that was resumed has failed by itself as well.
    let failed = ended.values().filter(|status| status.phase == Phase::Failed).count();
    let stopped = executions.iter().filter(|e| e["status"] == "Stopped").count();
    if failed <= stopped {
        return Err(format!("{failed} nodes failed and {stopped} were stopped: some should have failed by themselves"));
    }
    let retried = ended.keys().filter(|(_, attempt)| *attempt == 1).count() as u64;
    let resumed = executions.iter().filter(|e| e["retries"] != 0).count() as u64;
    Ok(Figures { executions: attempts as u64, stopped: stopped as u64, retried, resumed })
}

/// A resume runs what had failed, once, and nothing that had succeeded.
fn ran_once_more_only_what_failed(execution: Option<&Value>, resumed: bool) -> bool {
    let Some(execution) = execution else { return false };
    let trains = if resumed { 2 } else { 1 };
    execution["retries"] == u64::from(resumed) && execution["attempts"] == json!({"Prepare": 1, "Train": trains})
}

fn one_execution_an_attempt(executions: &[&Value], attempts: usize) -> Result<(), String> {
    let mut named: Vec<&str> =
        executions.iter().filter(|e| is_ours(e)).filter_map(|e| e["display_name"].as_str()).collect();
    named.sort_unstable();
    if named.len() == attempts {
        return Ok(());
    }
    let twice: Vec<&str> = named.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    Err(format!("{} executions for {attempts} attempts; started again: {twice:?}", named.len()))
}

/// Stops are for what a stop node has named, and those have come to their end.
fn nothing_else_is_stopped(argo: &Argo<'_>, executions: &[&Value]) -> Result<(), String> {
    let named = argo.named.borrow();
    for execution in executions {
        let arn = execution["arn"].as_str().unwrap_or_default();
        let stopped = matches!(execution["status"].as_str(), Some("Stopped" | "Stopping"));
        let of = STRANGERS.into_iter().find(|s| argo.strangers[*s as usize] == arn);
        let runs_on = matches!(of, Some(Stranger::OutlivesItsNode | Stranger::OfAnotherWorkflow));
        if stopped && !named.contains(arn) {
            return Err(format!("stopped, and no stop node named it: {execution}"));
        }
        if is_live(execution) != runs_on {
            return Err(format!(
                "{} and it is {}",
                if runs_on { "it should run on," } else { "left alive," },
                execution
            ));
        }
    }
    Ok(())
}

/// Whether a node ended as its execution did.
fn is_true(status: &NodeStatus, execution: Option<&Value>) -> bool {
    let expected = match execution.and_then(|e| e["status"].as_str()) {
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed" | "Stopped") => Phase::Failed,
        _ => return false,
    };
    status.phase == expected
}

fn is_true_of_an_attached(status: &NodeStatus, stranger: Stranger, execution: Option<&Value>) -> bool {
    if stranger == Stranger::OutlivesItsNode {
        return status.phase == Phase::Failed && status.message.contains("left running");
    }
    is_true(status, execution)
}
