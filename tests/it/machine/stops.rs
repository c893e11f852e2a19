//! `stop` nodes: one key, one execution, or everything.

use std::time::Duration;

use awf_aws::{
    input::{Action, Task},
    pipelines::{Call, CallErrorKind, PipelineSummary, Status, Time},
    protocol::Phase,
    workflow::{Settings, WorkflowState},
};

use super::world::{World, message, phase, task, with};

const MINUTE: Duration = Duration::from_secs(60);

/// A `stop` task: of a key, of an execution, or of everything.
pub fn stop(key: Option<&str>, arn: Option<String>) -> awf_aws::input::Task {
    let mut stop = task("", 0);
    stop.execution_key = key.map(str::to_owned);
    stop.fallback_key = Some(format!("{key:?}{arn:?}"));
    stop.action = Action::Stop { execution_arn: arn, timeout: None };
    stop
}

#[test]
fn a_stop_task_stops_one_key_or_everything_and_succeeds_when_they_have_ended() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.ask(&task("b", 0));
    assert_eq!(phase(&w.ask(&stop(Some("a"), None))), Some(Phase::Running));
    assert_eq!((&w.executions[0].status, &w.executions[1].status), (&Status::Stopping, &Status::Executing));
    w.end(0, Status::Stopped);
    w.pass(MINUTE);
    assert_eq!(phase(&w.ask(&stop(Some("a"), None))), Some(Phase::Succeeded));
    w.ask(&stop(None, None));
    assert_eq!(w.executions[1].status, Status::Stopping);
    let late = w.ask(&task("c", 0));
    assert_eq!(phase(&late), Some(Phase::Failed), "the workflow starts nothing more");
    w.end(1, Status::Failed);
    w.pass(MINUTE);
    assert_eq!(phase(&w.ask(&stop(None, None))), Some(Phase::Succeeded), "whatever the end");
}

#[test]
fn a_stop_in_a_fresh_process_finds_what_runs_by_its_marker() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.restart();
    w.ask(&stop(None, None));
    assert_eq!(w.executions[0].status, Status::Stopping);
}

/// A fresh process of a workflow that runs another pipeline than the one that its stop task names.
fn stop_elsewhere(last_started: Option<Time>) -> World {
    let mut w = World::new();
    w.ask(&Task { pipeline_name: "Other".into(), ..task("a", 0) });
    w.pipelines = vec![
        PipelineSummary { name: "MyPipeline".into(), last_started: None },
        PipelineSummary { name: "Other".into(), last_started },
    ];
    w.restart();
    w
}

#[test]
fn a_stop_of_everything_finds_what_runs_of_pipelines_that_no_node_has_named() {
    for last_started in [None, Some(World::START)] {
        let mut w = stop_elsewhere(last_started);
        assert_eq!(phase(&w.ask(&stop(None, None))), Some(Phase::Running));
        assert_eq!(w.executions[0].status, Status::Stopping);
        w.end(0, Status::Stopped);
        w.pass(Duration::from_secs(10));
        let reply = w.ask(&stop(None, None));
        assert_eq!((phase(&reply), message(&reply).as_str()), (Some(Phase::Succeeded), "the execution has ended"));
    }
}

#[test]
fn a_pipeline_that_ran_last_before_the_workflow_was_created_is_not_listed() {
    let mut w = stop_elsewhere(Some(World::START.minus(Duration::from_secs(20 * 60))));
    w.calls.clear();
    w.ask(&stop(None, None));
    assert_eq!(w.count("ListPipelineExecutions"), 1, "its own");
}

#[test]
fn a_stop_of_everything_waits_out_trouble_and_says_when_pipelines_may_not_be_listed() {
    let mut w = stop_elsewhere(None);
    w.fail("ListPipelines", &[CallErrorKind::Throttled, CallErrorKind::Unreachable]);
    let reply = w.ask(&stop(None, None));
    assert!(message(&reply).contains("AWS said throttled"), "{}", message(&reply));
    w.pass(Duration::from_secs(10));
    assert_eq!(w.executions[0].status, Status::Stopping);

    let mut w = stop_elsewhere(None);
    w.fail("ListPipelines", &[CallErrorKind::Denied]);
    let reply = w.ask(&stop(None, None));
    assert_eq!(phase(&reply), Some(Phase::Succeeded));
    let told = "nothing to stop; only pipelines that nodes have named were looked at: ListPipelines is refused \
                (access_denied), allow sagemaker:ListPipelines";
    assert!(message(&reply).contains(told), "{}", message(&reply));
}

#[test]
fn stops_that_wait_for_the_pace_are_not_given_up() {
    let kubernetes = Settings { kubernetes: true, pod_born: World::START, ..Settings::default() };
    let mut w = World::with(Settings { stop_wait: MINUTE, ..kubernetes });
    w.workflow = Some(WorkflowState::Alive { started_at: Some(World::START), deadline: None, server_time: None });
    let nodes: Vec<Task> = (0..240).map(|n| task(&format!("n{n}"), 0)).collect();
    for node in &nodes {
        w.send(node);
    }
    w.pass(15 * MINUTE);
    assert_eq!(w.executions.len(), nodes.len());
    // Two stops a second take longer than the end of a stop is awaited.
    w.workflow = Some(WorkflowState::Over);
    w.ask(&stop(None, None));
    for _ in 0..20 {
        w.pass(MINUTE / 6);
        for node in &nodes {
            w.send(node);
        }
        w.send(&stop(None, None));
        let now = w.now;
        for execution in w.executions.iter_mut().filter(|e| e.status == Status::Stopping) {
            if execution.modified.is_some_and(|at| now.since(at) >= MINUTE / 3) {
                execution.status = Status::Stopped;
            }
        }
    }
    let ends = w.replies.values().filter(|reply| reply.requeue.is_none()).map(message);
    let unsaid = ends.into_iter().find(|text| text.contains("goes on") || text.contains("not ended"));
    assert_eq!(unsaid, None);
    assert!(w.executions.iter().all(|e| e.status == Status::Stopped));
}

#[test]
fn stops_that_nobody_answers_are_given_up_however_many_repeat() {
    let mut w = World::with(Settings { kubernetes: true, pod_born: World::START, ..Settings::default() });
    w.workflow = Some(WorkflowState::Alive { started_at: Some(World::START), deadline: None, server_time: None });
    for n in 0..60 {
        w.send(&task(&format!("n{n}"), 0));
    }
    w.pass(5 * MINUTE);
    w.fail("StopPipelineExecution", &[CallErrorKind::Unreachable; 50_000]);
    w.workflow = Some(WorkflowState::Over);
    w.pass(14 * MINUTE);
    let end = w.ask(&task("n7", 0));
    assert_eq!(phase(&end), Some(Phase::Failed), "{}", message(&end));
    assert!(
        message(&end).contains("its execution goes on, it cannot be stopped: AWS said connector"),
        "{}",
        message(&end)
    );
}

#[test]
fn nothing_to_stop_is_a_success() {
    let mut w = World::new();
    let reply = w.ask(&stop(None, None));
    assert_eq!(phase(&reply), Some(Phase::Succeeded));
    assert_eq!(message(&reply), "nothing to stop");
}

#[test]
fn a_stop_that_was_taken_and_has_no_effect_is_sent_under_another_token() {
    let mut w = World::new();
    w.ask(&with(task("a", 0), |e| e.timeout = Some(Duration::from_secs(600))));
    // The service takes this process's first stop for a repeat of one that it knows, from before a revival.
    w.ignored_stops = 1;
    w.pass(Duration::from_secs(640));
    let tokens: Vec<&String> = w
        .calls
        .iter()
        .filter_map(|c| if let Call::StopExecution { token, .. } = c { Some(token) } else { None })
        .collect();
    assert_eq!(tokens.len(), 2, "{tokens:?}");
    assert_ne!(tokens[0], tokens[1]);
    assert_eq!(w.executions[0].status, Status::Stopping);
}

#[test]
fn an_execution_whose_arn_is_spelled_in_other_case_is_the_same() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.restart();
    let lower = w.executions[0].arn.to_ascii_lowercase();
    assert_ne!(lower, w.executions[0].arn);
    let attached = with(task("b", 0), |e| e.attach = Some(lower.clone()));
    w.ask(&attached);
    w.ask(&task("a", 0));
    w.pass(Duration::from_secs(10));
    assert_eq!(w.machine.live().len(), 1, "one execution, not two");
    assert_eq!(phase(&w.ask(&stop(None, Some(lower)))), Some(Phase::Running));
    assert_eq!(w.executions[0].status, Status::Stopping);
}

#[test]
fn what_was_stopped_and_retried_between_two_looks_is_stopped_again_at_its_time_out() {
    let mut w = World::new();
    let node = with(task("a", 0), |e| e.timeout = Some(30 * MINUTE));
    w.ask(&node);
    // Somebody stops it in the console, a look shows that, and it is retried before the next.
    w.end(0, Status::Stopping);
    w.pass(MINUTE);
    w.end(0, Status::Executing);
    w.pass(31 * MINUTE);
    assert_eq!(w.count("StopPipelineExecution"), 1);
    assert_eq!(w.executions[0].status, Status::Stopping);
}

#[test]
fn a_check_and_a_stop_of_the_same_inputs_are_two_nodes() {
    let mut w = World::new();
    let mut check = task("a", 0);
    check.action = awf_aws::input::Action::Validate { parameters: vec![], version: None };
    assert_eq!(phase(&w.ask(&check)), Some(Phase::Error), "a parameter without default is missing");
    let mut stop = stop(Some("a"), None);
    stop.fallback_key = check.fallback_key.clone();
    assert_eq!(phase(&w.ask(&stop)), Some(Phase::Running), "it looks for what is to be stopped");
}
