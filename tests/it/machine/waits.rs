//! Nodes that wait long: what they are told, what is asked again before they start, and what never leaves.

use std::time::Duration;

use awf_aws::{
    input::{OnRetry, Task},
    pipelines::{CallErrorKind, Status},
    protocol::Phase,
    workflow::{Event, Settings, WorkflowState},
};

use super::world::{World, message, phase, task, with};

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

/// A fan-out of three, one at a time, in which two run into their time-out while they wait; then the pod moves.
fn timed_out_while_waiting(names: [&str; 3]) -> World {
    let node = |name: &str| with(task(name, 0), |e| (e.timeout, e.max_running) = (Some(40 * SECOND), Some(1)));
    let mut w = World::new();
    for name in names {
        w.send(&node(name));
    }
    w.pass(45 * SECOND);
    w.end(0, Status::Stopped);
    w.pass(15 * SECOND);
    for name in names {
        assert_eq!(phase(&w.ask(&node(name))), Some(Phase::Failed), "{name}");
    }
    w.restart();
    for name in names {
        w.send(&node(name));
    }
    w.pass(60 * SECOND);
    w
}

#[test]
fn a_node_that_timed_out_while_it_waited_is_not_started_by_the_next_pod_when_a_sibling_tells() {
    let w = timed_out_while_waiting(["wf[0].go(0:a)", "wf[0].go(1:b)", "wf[0].go(2:c)"]);
    assert_eq!(w.executions.len(), 1, "Argo keeps ended tasks on its list, and their agent asks again");
}

#[test]
fn a_sibling_that_was_resumed_still_tells_when_both_were_asked_for() {
    let one = |task| with(task, |e| (e.on_retry, e.max_running) = (OnRetry::Resume, Some(1)));
    let first = |attempt| one(task("wf[0].go(0:a)", attempt));
    let second = with(one(task("wf[0].go(1:b)", 0)), |e| e.timeout = Some(40 * SECOND));
    let mut w = World::with(Settings { kubernetes: true, pod_born: World::START, ..Settings::default() });
    w.workflow = Some(WorkflowState::Alive { started_at: Some(World::START), deadline: None, server_time: None });
    w.send(&first(0));
    w.send(&second);
    w.pass(45 * SECOND);
    w.end(0, Status::Failed);
    w.pass(15 * SECOND);
    assert_eq!((phase(&w.ask(&first(0))), phase(&w.ask(&second))), (Some(Phase::Failed), Some(Phase::Failed)));
    w.ask(&first(1));
    w.pass(30 * SECOND);
    w.end(0, Status::Succeeded);
    w.restart();
    w.send(&first(1));
    w.send(&second);
    w.pass(60 * SECOND);
    assert_eq!((w.resumes.len(), w.executions.len()), (1, 1), "the marker of the resume says it, too");
}

#[test]
fn without_a_sibling_nothing_tells_and_it_is_started() {
    let w = timed_out_while_waiting(["wf.one", "wf.two", "wf.three"]);
    assert!(w.executions.len() > 1, "the README names this exception");
}

#[test]
fn siblings_that_began_one_by_one_tell_nothing_of_each_other() {
    let node = |n: u64| with(task(&format!("wf[0].go({n}:x)"), 0), |e| e.timeout = Some(5 * MINUTE));
    let mut w = World::new();
    // A semaphore of Argo's lets one go every two minutes.
    for n in 0..4 {
        w.ask(&node(n));
        w.pass(2 * MINUTE);
    }
    w.restart();
    w.ask(&node(4));
    w.ask(&node(4));
    assert_eq!(w.executions.len(), 5, "it was asked for just now");
}

#[test]
fn a_node_that_argo_hands_out_late_is_not_timed_out_by_a_sibling_of_long_ago() {
    let node = |n: u32| with(task(&format!("wf[0].go({n}:x)"), 0), |e| e.timeout = Some(5 * MINUTE));
    let mut w = World::new();
    w.ask(&node(0));
    w.pass(2 * MINUTE);
    w.restart();
    w.ask(&node(0));
    // Argo's mutex lets the next one go only now.
    w.pass(10 * MINUTE);
    w.ask(&node(1));
    w.pass(SECOND);
    assert_eq!(phase(&w.ask(&node(1))), Some(Phase::Running), "{}", message(&w.ask(&node(1))));
    assert_eq!(w.executions.len(), 2);
}
