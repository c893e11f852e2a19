//! Attempts of one node that come with different roles, and limits over several pipelines.

use std::time::Duration;

use awf_aws::{
    input::{OnRetry, Task},
    pipelines::{CallErrorKind, Status},
    protocol::Phase,
    workflow::Settings,
};

use super::world::{World, message, output, phase, task, with};

const SECOND: Duration = Duration::from_secs(1);
const ROLE: &str = "arn:aws:iam::100000000002:role/run";

fn with_role(key: &str, attempt: u32) -> Task {
    let mut task = task(key, attempt);
    task.client.role_arn = Some(ROLE.into());
    task
}

#[test]
fn a_retry_with_a_role_is_started_by_that_role_and_holds_up_nobody() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.end(0, Status::Failed);
    w.pass(60 * SECOND);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Failed));
    // A full account first: the retry has to wait, and its refusal has to be its own role's.
    w.fail("StartPipelineExecution", &[CallErrorKind::QuotaExceeded]);
    w.ask(&with_role("a", 1));
    w.pass(30 * SECOND);
    assert_eq!(phase(&w.ask(&with_role("a", 1))), Some(Phase::Running));
    assert_eq!(w.clients_of("StartPipelineExecution").last().and_then(|c| c.role_arn.as_deref()), Some(ROLE));
    let reply = w.ask(&with_role("b", 0));
    assert_eq!(phase(&reply), Some(Phase::Running), "{}", message(&reply));
    assert_eq!(w.executions.len(), 3);
}

#[test]
fn an_execution_that_a_retry_with_another_role_takes_over_is_followed_by_that_role() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.pass(30 * SECOND);
    // Argo gave the attempt up (its time-out on Pending nodes, say); the next comes with the role that was missing.
    let reply = w.ask(&with_role("a", 1));
    w.pass(10 * SECOND);
    assert_eq!(
        output(&reply, "execution-arn").or(output(&w.ask(&with_role("a", 1)), "execution-arn")),
        Some(w.executions[0].arn.clone())
    );
    w.calls_by.clear();
    w.pass(60 * SECOND);
    let polls = w.clients_of("DescribePipelineExecution");
    assert!(!polls.is_empty() && polls.iter().all(|c| c.role_arn.as_deref() == Some(ROLE)), "{polls:?}");
    w.end(0, Status::Succeeded);
    w.pass(60 * SECOND);
    assert_eq!(phase(&w.ask(&with_role("a", 1))), Some(Phase::Succeeded));
    assert_eq!(w.executions.len(), 1);
}

#[test]
fn what_the_same_node_has_started_of_another_pipeline_does_not_change_its_token() {
    for on_retry in [OnRetry::Restart, OnRetry::Resume] {
        let node = |attempt, pipeline: &str| {
            let task = with(task("a", attempt), |e| e.on_retry = on_retry);
            Task { pipeline_name: pipeline.into(), ..task }
        };
        let mut w = World::new();
        w.ask(&node(0, "MyPipeline"));
        w.end(0, Status::Failed);
        w.pass(60 * SECOND);
        w.restart();
        // Its template names another by now, and this process learns of the first one only when it has taken the attempt in.
        w.silent = vec!["ListPipelineExecutions"];
        w.send(&node(1, "Other"));
        w.send(&task("b", 0));
        w.silent.clear();
        w.answer_open(1);
        w.answer_open(0);
        w.pass(10 * SECOND);
        let running = |w: &World| w.executions.iter().filter(|e| e.arn.contains("/Other/")).count();
        assert_eq!((running(&w), w.resumes.len()), (1, 0), "{on_retry:?}");
        // The next process cannot list: the token is all it has.
        w.restart();
        w.fail("ListPipelineExecutions", &[CallErrorKind::Denied; 100]);
        let reply = w.ask(&node(1, "Other"));
        w.pass(10 * SECOND);
        assert_eq!((phase(&reply), running(&w)), (Some(Phase::Running), 1), "{on_retry:?}");
    }
}

#[test]
fn the_workflows_limit_counts_all_its_pipelines() {
    let settings = Settings { pod_born: World::START, max_running_per_workflow: Some(3), ..Settings::default() };
    let mut w = World::with(settings);
    let of = |pipeline: &str, n: usize| Task { pipeline_name: pipeline.into(), ..task(&format!("{pipeline}{n}"), 0) };
    for n in 0..3 {
        w.send(&of("One", n));
        w.send(&of("Other", n));
    }
    w.pass(30 * SECOND);
    assert_eq!(w.executions.len(), 3);
    w.ask(&of("Other", 2));
    let reply = w.ask(&of("Other", 2));
    assert!(
        message(&reply).contains("3 executions of this workflow run, --max-running-per-workflow is 3"),
        "{reply:?}"
    );
    w.end(0, Status::Succeeded);
    w.pass(60 * SECOND);
    assert_eq!(w.executions.len(), 4);
}

#[test]
fn a_retry_looks_at_the_earlier_execution_by_its_own_role_and_never_waits_for_ever() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.end(0, Status::Failed);
    w.pass(60 * SECOND);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Failed));
    w.calls_by.clear();
    w.ask(&with_role("a", 1));
    w.pass(20 * SECOND);
    assert_eq!(w.executions.len(), 2);
    let looks = w.clients_of("DescribePipelineExecution");
    assert!(looks.iter().all(|c| c.role_arn.as_deref() == Some(ROLE)), "the earlier role may be gone: {looks:?}");
    // And where nobody may look, that is said, and the node's time still counts.
    w.end(1, Status::Failed);
    w.pass(60 * SECOND);
    w.fail("DescribePipelineExecution", &[CallErrorKind::Denied; 5000]);
    let node = with(with_role("a", 2), |e| e.timeout = Some(300 * SECOND));
    w.ask(&node);
    w.pass(30 * SECOND);
    w.ask(&node);
    let told = w.ask(&node);
    assert!(message(&told).contains("access_denied"), "{told:?}");
    w.pass(300 * SECOND);
    assert_eq!(phase(&w.ask(&node)), Some(Phase::Failed));
}
