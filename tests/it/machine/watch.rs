//! When Kubernetes is asked, and what its answers mean for starts.

use std::time::Duration;

use awf_aws::{
    input::{OnStop, Task},
    pipelines::{CallErrorKind, Status},
    protocol::Phase,
    workflow::{Event, Settings, WorkflowState},
};

use super::world::{World, message, phase, task, with};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const ALIVE: WorkflowState = WorkflowState::Alive { started_at: Some(World::START), deadline: None, server_time: None };

fn world() -> World {
    World::with(Settings { kubernetes: true, pod_born: World::START, ..Settings::default() })
}

#[test]
fn until_kubernetes_answers_it_is_asked_every_few_seconds_and_nothing_starts() {
    let mut w = world();
    w.workflow = Some(WorkflowState::Unknown);
    w.ask(&task("a", 0));
    w.pass(20 * SECOND);
    assert!((4..=6).contains(&w.asked.len()), "{}", w.asked.len());
    assert_eq!(w.count("StartPipelineExecution"), 0);
    w.workflow = Some(ALIVE);
    w.pass(6 * SECOND);
    assert_eq!(w.count("StartPipelineExecution"), 1);
    w.asked.clear();
    w.pass(10 * MINUTE);
    assert!((9..=11).contains(&w.asked.len()), "once a minute: {}", w.asked.len());
}

#[test]
fn without_the_right_to_ask_the_pods_birth_stands_in_at_once() {
    let mut w = world();
    w.workflow = Some(WorkflowState::Forbidden);
    let reply = w.ask(&task("a", 0));
    assert_eq!(phase(&reply), Some(Phase::Running), "{}", message(&reply));
    assert_eq!(w.count("StartPipelineExecution"), 1);
}

#[test]
fn nobody_is_asked_while_nothing_lives_or_waits() {
    let mut w = world();
    w.workflow = Some(ALIVE);
    w.ask(&task("a", 0));
    w.end(0, Status::Succeeded);
    w.pass(2 * MINUTE);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Succeeded));
    w.asked.clear();
    w.pass(10 * MINUTE);
    assert_eq!(w.asked, []);
}

#[test]
fn a_deadline_that_passed_is_not_a_reason_to_ask_without_pause() {
    let mut w = world();
    let deadline = World::START.plus(5 * MINUTE);
    w.workflow =
        Some(WorkflowState::Alive { started_at: Some(World::START), deadline: Some(deadline), server_time: None });
    w.ask(&task("a", 0));
    w.pass(4 * MINUTE);
    assert_eq!(w.executions[0].status, Status::Executing);
    w.pass(MINUTE);
    assert_eq!(w.executions[0].status, Status::Stopping);
    let reply = w.ask(&task("a", 0));
    assert_eq!(phase(&reply), Some(Phase::Failed));
    assert!(message(&reply).contains("activeDeadlineSeconds"), "{}", message(&reply));
    w.asked.clear();
    w.pass(10 * MINUTE);
    assert!(w.asked.len() <= 11, "{} questions in ten minutes", w.asked.len());
}

/// A node that has waited for half a minute behind a full account, asked for at the given state of the workflow.
fn long_wait(state: Option<WorkflowState>) -> World {
    let mut w = world();
    w.workflow = Some(ALIVE);
    w.fail("StartPipelineExecution", &[CallErrorKind::QuotaExceeded; 3]);
    w.ask(&task("a", 0));
    while !w.failures["StartPipelineExecution"].is_empty() {
        w.pass(SECOND);
    }
    w.fail("StartPipelineExecution", &[CallErrorKind::QuotaExceeded; 100]);
    w.pass(31 * SECOND);
    // However the probes are spread: the next one finds no fresh answer.
    w.asked.clear();
    let mut answered = w.now;
    while w.now < answered.plus(11 * SECOND) {
        w.pass(SECOND);
        if !w.asked.is_empty() {
            w.asked.clear();
            answered = w.now;
        }
    }
    w.failures.clear();
    w.workflow = state;
    w
}

#[test]
fn a_start_that_waited_for_long_is_preceded_by_a_question() {
    let mut w = long_wait(Some(ALIVE));
    w.pass(16 * SECOND);
    assert_eq!((w.executions.len(), w.asked.is_empty()), (1, false));
}

#[test]
fn and_does_not_happen_when_the_workflow_is_over() {
    let mut w = long_wait(Some(WorkflowState::Over));
    w.pass(16 * SECOND);
    assert_eq!(w.executions.len(), 0);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Failed));
}

#[test]
fn but_happens_when_nobody_answers() {
    let mut w = long_wait(None);
    while w.asked.is_empty() {
        w.pass(SECOND);
    }
    assert_eq!(w.executions.len(), 0);
    w.pass(16 * SECOND);
    assert_eq!(w.executions.len(), 1);
}

#[test]
fn a_node_of_a_stopped_workflow_that_is_asked_for_later_fails_too() {
    let mut w = world();
    w.workflow = Some(ALIVE);
    w.ask(&with(task("a", 0), |e| e.on_stop = Some(OnStop::Leave)));
    w.restart();
    w.workflow = Some(WorkflowState::Over);
    assert!(w.ask(&task("b", 0)).requeue.is_some(), "lists lag: an earlier process may have started it just now");
    w.pass(MINUTE);
    let reply = w.ask(&task("b", 0));
    assert_eq!(phase(&reply), Some(Phase::Failed), "{}", message(&reply));
    let reply = w.ask(&with(task("a", 0), |e| e.on_stop = Some(OnStop::Leave)));
    assert_eq!(phase(&reply), Some(Phase::Failed), "{}", message(&reply));
    assert!(message(&reply).contains("left running"), "{}", message(&reply));
    assert_eq!(w.executions[0].status, Status::Executing);
}

/// A node whose execution runs, and whose workflow is stopped just then, unseen yet.
fn stopped_unseen(on_stop: OnStop) -> (World, Task) {
    let mut w = world();
    w.workflow = Some(ALIVE);
    let task = with(task("a", 0), |e| e.on_stop = Some(on_stop));
    w.ask(&task);
    w.pass(MINUTE);
    w.workflow = Some(WorkflowState::Over);
    (w, task)
}

#[test]
fn an_execution_that_ended_just_before_the_workflow_is_told_as_it_ended() {
    for on_stop in [OnStop::Stop, OnStop::Leave] {
        let (mut w, task) = stopped_unseen(on_stop);
        w.end(0, Status::Succeeded);
        // The look that would have shown it comes after the word that the workflow is over.
        w.handle(Event::WorkflowObserved(WorkflowState::Over));
        w.pass(2 * SECOND);
        let reply = w.ask(&task);
        assert_eq!(phase(&reply), Some(Phase::Succeeded), "{on_stop:?}: {}", message(&reply));
    }
}

#[test]
fn the_node_of_a_stopped_workflow_ends_when_the_stop_is_taken() {
    let (mut w, task) = stopped_unseen(OnStop::Stop);
    w.silent = vec!["StopPipelineExecution"];
    w.pass(MINUTE);
    assert!(w.ask(&task).requeue.is_some(), "its end is not certain");
    w.silent.clear();
    w.answer_open(0);
    let reply = w.ask(&task);
    assert_eq!(phase(&reply), Some(Phase::Failed));
    assert!(message(&reply).contains("is being stopped"), "{}", message(&reply));
}

#[test]
fn a_stop_that_is_denied_is_said_with_the_end_of_the_workflow_and_tried_on() {
    let (mut w, task) = stopped_unseen(OnStop::Stop);
    w.fail("StopPipelineExecution", &[CallErrorKind::Denied]);
    w.pass(MINUTE);
    let reply = w.ask(&task);
    assert_eq!(phase(&reply), Some(Phase::Failed));
    let told = "its execution goes on, it cannot be stopped: AWS said access_denied";
    assert!(message(&reply).contains(told), "{}", message(&reply));
    w.pass(MINUTE);
    assert_eq!(w.executions[0].status, Status::Stopping, "the stop is tried on");
}

#[test]
fn a_stop_that_nobody_answers_keeps_its_node_for_ten_minutes() {
    for on_stop in [OnStop::Stop, OnStop::Leave] {
        let (mut w, task) = stopped_unseen(on_stop);
        w.fail("StopPipelineExecution", &[CallErrorKind::Unreachable; 1000]);
        w.fail("DescribePipelineExecution", &[CallErrorKind::Unreachable; 1000]);
        w.pass(9 * MINUTE);
        let reply = w.ask(&task);
        assert_eq!(phase(&reply), Some(Phase::Running), "{on_stop:?}: {}", message(&reply));
        assert!(message(&reply).contains("AWS said connector"), "{}", message(&reply));
        w.pass(2 * MINUTE);
        let reply = w.ask(&task);
        assert_eq!(phase(&reply), Some(Phase::Failed), "{on_stop:?}: {}", message(&reply));
        assert!(message(&reply).contains("the workflow was stopped; its execution "), "{}", message(&reply));
    }
}
