//! Nodes that wait long: what they are told, what is asked again before they start, and what never leaves.

use std::time::Duration;

use awf_aws::{
    input::Task,
    pipelines::{CallErrorKind, Status},
    protocol::Phase,
    workflow::{Event, Settings, WorkflowState},
};

use super::world::{World, message, phase, task};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

const START: &str = "StartPipelineExecution";

#[test]
fn a_process_that_stood_still_during_a_denial_tries_again_before_it_gives_up() {
    let mut w = World::new();
    w.fail(START, &[CallErrorKind::Denied]);
    w.ask(&task("a", 0));
    w.now = w.now.plus(10 * MINUTE);
    w.handle(Event::Tick);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Running));
}

#[test]
fn a_denial_that_was_mended_does_not_end_a_node_that_now_waits_for_capacity() {
    let mut w = World::new();
    w.fail(START, &[CallErrorKind::Denied]);
    w.fail(START, &[CallErrorKind::QuotaExceeded; 100]);
    w.ask(&task("a", 0));
    w.pass(5 * MINUTE);
    let reply = w.ask(&task("a", 0));
    assert_eq!(phase(&reply), Some(Phase::Pending), "{}", message(&reply));
    assert!(message(&reply).starts_with("waiting for SageMaker capacity"), "{}", message(&reply));
}

#[test]
fn who_waits_behind_others_is_followed_once_another_pod_has_started_it() {
    let mut w = World::new();
    let behind = Task { pipeline_name: "Other".into(), ..task("b", 0) };
    w.fail("StartPipelineExecution", &[CallErrorKind::QuotaExceeded; 1000]);
    w.ask(&task("a", 0));
    assert_eq!(phase(&w.ask(&behind)), Some(Phase::Pending));
    // The other pod's process, of the same workflow.
    let here = w.machine_of_another_pod();
    w.failures.clear();
    w.ask(&behind);
    assert_eq!(w.executions.len(), 1);
    w.fail("StartPipelineExecution", &[CallErrorKind::QuotaExceeded; 1000]);
    w.machine_goes_on(here);
    w.pass(6 * MINUTE);
    let reply = w.ask(&behind);
    assert_eq!(phase(&reply), Some(Phase::Running), "{}", message(&reply));
}

#[test]
fn a_start_that_waited_long_is_preceded_by_a_fresh_listing() {
    let mut w = World::new();
    w.fail(START, &[CallErrorKind::QuotaExceeded; 100]);
    w.ask(&task("a", 0));
    assert_eq!(w.count("ListPipelineExecutions"), 1);
    w.pass(6 * MINUTE);
    assert_eq!(w.count("ListPipelineExecutions"), 2, "once in five minutes, not with every probe");
}

#[test]
fn what_waits_for_the_pace_never_starts_once_the_workflow_is_over() {
    let mut w = World::with(Settings { pod_born: World::START, kubernetes: true, ..Settings::default() });
    w.send(&task("first", 0));
    w.handle(Event::WorkflowObserved(WorkflowState::Alive {
        started_at: Some(World::START),
        deadline: None,
        server_time: None,
    }));
    for n in 0..100 {
        w.send(&task(&format!("n{n}"), 0));
    }
    let sent = w.count(START);
    assert!((10..40).contains(&sent), "a first wave at once, the others wait: {sent}");
    w.handle(Event::WorkflowObserved(WorkflowState::Over));
    w.pass(5 * MINUTE);
    assert_eq!(w.count(START), sent);
    assert!(w.executions.iter().all(|e| !e.status.is_live() || e.status == Status::Stopping));
}

#[test]
fn a_full_account_is_asked_by_the_first_in_line_alone_however_many_wait_for_the_pace() {
    let mut w = World::new();
    w.silent.push(START);
    for n in 0..100 {
        w.send(&task(&format!("n{n}"), 0));
    }
    let sent = w.count(START);
    w.silent.clear();
    w.fail(START, &[CallErrorKind::QuotaExceeded; 1000]);
    w.refuse_unanswered(CallErrorKind::QuotaExceeded);
    w.pass(MINUTE);
    let probes = w.count(START) - sent;
    assert!((3..=13).contains(&probes), "every 5 to 15 s: {probes} in a minute");
}

#[test]
fn a_failure_after_the_pod_moved_is_reported_and_not_run_again_although_lists_do_not_say_when() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.pass(4 * 60 * MINUTE);
    w.end(0, Status::Failed);
    w.lists_say_when = false;
    w.restart();
    w.ask(&task("a", 0));
    w.pass(SECOND);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Failed));
    assert_eq!(w.executions.len(), 1);
}

#[test]
fn an_uncertain_start_that_met_a_full_account_is_tried_again_instead_of_given_up() {
    let mut w = World::new();
    w.fail(START, &[CallErrorKind::OutcomeUnknown]);
    w.fail(START, &[CallErrorKind::QuotaExceeded; 40]);
    w.ask(&task("a", 0));
    w.pass(30 * MINUTE);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Running));
    assert_eq!(w.executions.len(), 1);
}
