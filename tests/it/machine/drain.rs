//! The signal: what is awaited, asked, stopped and left before the process ends.

use std::time::Duration;

use awf_aws::{
    input::OnStop,
    pipelines::{Call, CallErrorKind, Status},
    workflow::{Event, LiveExecution, Settings, WorkflowState},
};

use super::world::{World, message, phase, task, with};
use awf_aws::protocol::Phase;

const SECOND: Duration = Duration::from_secs(1);
const ALIVE: WorkflowState = WorkflowState::Alive { started_at: Some(World::START), deadline: None, server_time: None };

/// A world with Kubernetes in it, and so many nodes that run.
fn running(nodes: usize) -> World {
    let mut w = World::with(settings());
    w.workflow = Some(ALIVE);
    for n in 0..nodes {
        w.send(&task(&format!("n{n}"), 0));
    }
    w.pass(Duration::from_secs(600));
    assert_eq!(w.executions.len(), nodes);
    w.asked.clear();
    w.calls.clear();
    w
}

fn settings() -> Settings {
    Settings { kubernetes: true, pod_born: World::START, ..Settings::default() }
}

fn left(w: &World) -> Vec<String> {
    w.machine.left_behind().into_iter().filter(|e| !e.stopping).map(|e| e.arn).collect()
}

fn stops(w: &World) -> usize {
    w.count("StopPipelineExecution")
}

#[test]
fn a_moved_pod_asks_for_12_seconds_stops_nothing_and_leaves_everything() {
    let mut w = running(3);
    let signal = w.now;
    w.handle(Event::Drain);
    for _ in 0..11 {
        w.pass(SECOND);
        assert!(!w.machine.drained(), "it may still turn out that the workflow is over");
    }
    w.pass(SECOND);
    assert!(w.machine.drained());
    let seconds: Vec<u64> = w.asked.iter().map(|at| at.since(signal).as_secs()).collect();
    assert_eq!(seconds, [0, 1, 2, 4, 8, 12]);
    assert_eq!((stops(&w), left(&w).len()), (0, 3));
}

#[test]
fn without_kubernetes_nothing_is_awaited_but_starts() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.handle(Event::Drain);
    assert!(w.machine.drained());
    assert_eq!((w.asked.len(), left(&w).len()), (0, 1));
}

#[test]
fn without_the_right_to_ask_nothing_is_awaited_either() {
    let mut w = running(2);
    w.workflow = Some(WorkflowState::Forbidden);
    w.handle(Event::Drain);
    assert!(w.machine.drained());
    assert_eq!((w.asked.len(), stops(&w), left(&w).len()), (1, 0, 2));
}

#[test]
fn with_nothing_to_stop_nobody_is_asked() {
    let mut w = World::with(settings());
    w.workflow = Some(ALIVE);
    w.ask(&with(task("a", 0), |e| e.on_stop = Some(OnStop::Leave)));
    w.asked.clear();
    w.handle(Event::Drain);
    assert!(w.machine.drained());
    assert_eq!((w.asked.len(), left(&w).len()), (0, 1));
}

#[test]
fn two_hundred_executions_of_a_workflow_that_is_over_are_stopped_sixteen_at_a_time_before_every_other_call() {
    let mut w = running(200);
    w.silent = vec!["StopPipelineExecution"];
    w.workflow = Some(WorkflowState::Gone);
    w.handle(Event::Drain);
    assert_eq!(w.calls.len(), 16, "{:?}", w.calls);
    while !w.unanswered.is_empty() {
        assert!(!w.machine.drained());
        w.answer_open(0);
        assert!(w.unanswered.len() <= 16);
    }
    assert!(w.machine.drained(), "no tick was needed");
    assert!(w.calls.iter().all(|call| matches!(call, Call::StopExecution { .. })));
    assert_eq!(stops(&w), 200);
    assert!(w.executions.iter().all(|e| e.status == Status::Stopping));
    assert_eq!(left(&w), [""; 0]);
    let reply = w.ask(&task("n7", 0));
    assert_eq!((phase(&reply), reply.requeue.as_ref()), (Some(Phase::Failed), None), "{}", message(&reply));
}

#[test]
fn an_end_that_shows_only_seconds_after_the_signal_is_seen() {
    let mut w = running(20);
    w.handle(Event::Drain);
    w.pass(3 * SECOND);
    w.workflow = Some(WorkflowState::Over);
    w.pass(SECOND);
    assert_eq!(stops(&w), 20);
    assert!(!w.machine.drained() || left(&w).is_empty());
    w.pass(8 * SECOND);
    assert!(w.machine.drained());
}

#[test]
fn a_conflict_a_throttle_and_a_lost_answer_are_repeated_and_an_ended_one_is_done() {
    let mut w = running(4);
    w.workflow = Some(WorkflowState::Gone);
    let kinds =
        [CallErrorKind::Conflict, CallErrorKind::Throttled, CallErrorKind::OutcomeUnknown, CallErrorKind::Invalid];
    w.fail("StopPipelineExecution", &kinds);
    w.handle(Event::Drain);
    assert_eq!(stops(&w), 4);
    assert!(!w.machine.drained());
    w.pass(SECOND);
    assert_eq!(stops(&w), 7, "three are repeated");
    assert!(w.machine.drained());
    assert_eq!(left(&w), [""; 0]);
    let tokens: std::collections::BTreeSet<_> = w
        .calls
        .iter()
        .filter_map(|call| match call {
            Call::StopExecution { token, .. } => Some(token.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(tokens.len(), 4, "each execution has its own token, also when its stop is repeated");
}

#[test]
fn a_stop_that_is_denied_is_not_repeated_and_its_execution_is_named() {
    let mut w = running(2);
    w.workflow = Some(WorkflowState::Gone);
    w.fail("StopPipelineExecution", &[CallErrorKind::Denied]);
    w.handle(Event::Drain);
    assert!(w.machine.drained());
    assert_eq!((stops(&w), left(&w).len()), (2, 1));
}

#[test]
fn what_is_to_be_left_is_left_and_exit_handlers_end_only_with_their_workflow() {
    for (state, stopped) in [(WorkflowState::Over, 1), (WorkflowState::Gone, 2)] {
        let mut w = World::with(settings());
        w.workflow = Some(ALIVE);
        w.ask(&task("a", 0));
        w.ask(&with(task("b", 0), |e| e.on_stop = Some(OnStop::Leave)));
        w.ask(&task("wf.onExit", 0));
        w.workflow = Some(state);
        w.handle(Event::Drain);
        w.pass(12 * SECOND);
        assert!(w.machine.drained());
        assert_eq!((stops(&w), left(&w).len()), (stopped, 3 - stopped), "{state:?}");
        assert_eq!(w.executions[1].status, Status::Executing);
    }
}

#[test]
fn a_start_that_comes_back_during_the_drain_is_stopped_or_named_like_the_others() {
    for (state, stopped) in [(WorkflowState::Gone, 1), (ALIVE, 0)] {
        let mut w = World::with(settings());
        w.workflow = Some(ALIVE);
        w.silent = vec!["StartPipelineExecution"];
        w.send(&task("a", 0));
        w.workflow = Some(state);
        w.handle(Event::Drain);
        w.pass(SECOND);
        assert!(!w.machine.drained());
        w.silent.clear();
        w.answer_open(0);
        w.pass(11 * SECOND);
        assert!(w.machine.drained());
        assert_eq!((stops(&w), left(&w).len()), (stopped, 1 - stopped), "{state:?}");
    }
}

#[test]
fn nothing_is_started_and_nothing_is_polled_while_draining() {
    let mut w = running(30);
    w.handle(Event::Drain);
    w.send(&task("late", 0));
    w.pass(60 * SECOND);
    assert_eq!(w.calls, [], "nothing at all");
    assert_eq!(w.executions.len(), 30);
}

#[test]
fn a_workflow_that_was_over_before_the_signal_has_its_stops_finished() {
    let mut w = running(40);
    w.workflow = Some(WorkflowState::Gone);
    // As many at once as two writes a second allow, and what is kept for stops: the others would take seconds.
    w.handle(Event::WorkflowObserved(WorkflowState::Gone));
    assert_eq!(stops(&w), 23);
    w.handle(Event::Drain);
    assert!(w.machine.drained());
    assert_eq!(stops(&w), 40);
}

#[test]
fn what_an_earlier_process_started_is_stopped_although_nobody_asks_for_it_any_more() {
    let mut w = World::with(settings());
    w.workflow = Some(ALIVE);
    w.ask(&task("a", 0));
    w.ask(&with(task("b", 0), |e| e.on_stop = Some(OnStop::Leave)));
    w.ask(&task("wf.onExit", 0));
    w.restart();
    w.workflow = Some(WorkflowState::Over);
    w.ask(&task("cleanup.onExit", 0));
    let statuses: Vec<&Status> = w.executions.iter().map(|e| &e.status).collect();
    assert_eq!(statuses[..3], [&Status::Stopping, &Status::Executing, &Status::Executing]);
    w.workflow = Some(WorkflowState::Gone);
    w.handle(Event::Drain);
    assert!(w.machine.drained());
    assert_eq!(w.executions[2].status, Status::Stopping);
    let arn = w.executions[1].arn.clone();
    assert!(w.machine.left_behind().contains(&LiveExecution { arn, stopping: false }));
}

#[test]
fn a_stop_that_does_not_find_what_was_just_started_is_sent_again() {
    let mut w = World::with(settings());
    w.workflow = Some(ALIVE);
    w.silent = vec!["StartPipelineExecution"];
    w.send(&task("a", 0));
    w.workflow = Some(WorkflowState::Gone);
    w.handle(Event::Drain);
    w.fail("StopPipelineExecution", &[CallErrorKind::NotFound]);
    w.silent.clear();
    w.answer_open(0);
    assert!(!w.machine.drained(), "it runs");
    w.pass(2 * SECOND);
    assert_eq!(w.executions[0].status, Status::Stopping);
    assert!(w.machine.drained());
}

#[test]
fn a_time_out_that_strikes_before_the_process_must_end_is_awaited_and_its_execution_stopped() {
    for (after, awaited) in [(5, true), (21, true), (24, false)] {
        let mut w = World::new();
        w.ask(&with(task("a", 0), |e| e.timeout = Some(600 * SECOND)));
        w.pass((600 - after) * SECOND);
        w.handle(Event::Drain);
        assert_eq!(w.machine.drained(), !awaited, "{after} s before the time-out");
        if awaited {
            w.pass((after + 1) * SECOND);
            assert!(w.machine.drained());
            assert_eq!(w.executions[0].status, Status::Stopping, "{after} s before the time-out");
        }
    }
}
