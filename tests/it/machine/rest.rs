//! A workflow is forgotten when nothing of it is open and nobody asks, and found again.

use std::{sync::Arc, time::Duration};

use awf_aws::{
    pipelines::{CallErrorKind, Status},
    protocol::Phase,
    workflow::{Event, Settings, WorkflowState},
};

use super::{
    stops::stop,
    world::{World, phase, task, with},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A workflow whose only node has ended and was told so.
fn ended() -> World {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.end(0, Status::Failed);
    w.pass(10 * SECOND);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Failed));
    w
}

#[test]
fn a_workflow_that_nobody_asks_for_is_forgotten_and_its_ends_are_found_again() {
    let mut w = ended();
    let told = w.ask(&task("a", 0));
    w.pass(14 * MINUTE);
    assert_eq!(w.forgotten, 0);
    w.pass(2 * MINUTE);
    assert_eq!(w.forgotten, 1);
    let described = w.count("DescribePipelineExecution");
    assert_eq!(w.ask(&task("a", 0)), told);
    assert!(w.count("DescribePipelineExecution") > described, "it knew nothing any more");
    assert_eq!(phase(&w.ask(&task("a", 1))), Some(Phase::Running), "a retry starts its own");
    assert_eq!(w.executions.len(), 2);
    assert!(w.executions[1].description.as_ref().unwrap().contains("attempt=1 "));
}

#[test]
fn every_request_puts_it_off() {
    let mut w = ended();
    for _ in 0..12 {
        w.pass(10 * MINUTE);
        w.ask(&task("a", 0));
    }
    assert_eq!(w.forgotten, 0);
    w.pass(16 * MINUTE);
    assert_eq!(w.forgotten, 1);
}

#[test]
fn an_end_that_nobody_was_told_is_kept_for_an_hour() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.end(0, Status::Succeeded);
    w.pass(59 * MINUTE);
    assert_eq!(w.forgotten, 0);
    w.pass(20 * MINUTE);
    assert_eq!(w.forgotten, 1, "no agent is left");
}

#[test]
fn an_end_whose_telling_was_not_heard_is_not_told() {
    let mut w = ended();
    w.handle(Event::Unheard { task: Arc::new(task("a", 0)) });
    w.pass(50 * MINUTE);
    assert_eq!(w.forgotten, 0);
    w.ask(&task("a", 0));
    w.pass(16 * MINUTE);
    assert_eq!(w.forgotten, 1);
}

#[test]
fn what_is_open_is_not_forgotten() {
    type Opens = fn(&mut World);
    let opens: [(&str, Opens); 9] = [
        ("a running execution", |w| {
            w.ask(&task("b", 0));
        }),
        ("a node that waits for its start", |w| {
            w.fail("StartPipelineExecution", &[CallErrorKind::QuotaExceeded; 1000]);
            w.ask(&task("b", 0));
        }),
        ("an execution that was left running when its node's time was up", |w| {
            w.ask(&task("b", 0));
            let attached = |e: &mut awf_aws::input::Execute, arn: &str| {
                (e.attach, e.timeout) = (Some(arn.to_owned()), Some(MINUTE));
            };
            let arn = w.executions[1].arn.clone();
            w.executions[1].description = None;
            let node = with(task("c", 0), |e| attached(e, &arn));
            w.restart();
            w.ask(&node);
            w.pass(2 * MINUTE);
            assert_eq!(phase(&w.ask(&node)), Some(Phase::Failed));
        }),
        ("a stop that has no end", |w| {
            w.ask(&with(task("b", 0), |e| e.timeout = Some(MINUTE)));
            w.pass(2 * MINUTE);
        }),
        ("that a stop task stopped everything", |w| {
            w.ask(&stop(None, None));
            w.pass(3 * MINUTE);
            assert_eq!(phase(&w.ask(&stop(None, None))), Some(Phase::Succeeded));
        }),
        ("what a stop task of one key found", |w| {
            w.ask(&stop(Some("a"), None));
            w.pass(3 * MINUTE);
            assert_eq!(phase(&w.ask(&stop(Some("a"), None))), Some(Phase::Succeeded));
        }),
        ("a node that ended without an execution", |w| {
            w.fail("StartPipelineExecution", &[CallErrorKind::Invalid]);
            assert_eq!(phase(&w.ask(&task("b", 0))), Some(Phase::Error));
        }),
        ("what lists do not show", |w| {
            w.pass(10 * MINUTE);
            w.fail("ListPipelineExecutions", &[CallErrorKind::Denied; 100]);
            w.ask(&task("b", 0));
            w.end(1, Status::Succeeded);
            w.pass(MINUTE);
            assert_eq!(phase(&w.ask(&task("b", 0))), Some(Phase::Succeeded));
        }),
        ("the end of the process", |w| w.handle(Event::Drain)),
    ];
    for (what, open) in opens {
        let mut w = ended();
        open(&mut w);
        w.pass(24 * 60 * MINUTE);
        assert_eq!(w.forgotten, 0, "{what}");
    }
}

/// A workflow of which Kubernetes can be asked, and which goes on.
fn watched() -> World {
    let mut w = World::with(Settings { pod_born: World::START, kubernetes: true, ..Settings::default() });
    w.workflow = Some(WorkflowState::Alive { started_at: Some(World::START), deadline: None, server_time: None });
    w
}

#[test]
fn a_workflow_that_is_gone_is_forgotten_with_all_that_only_its_machine_knew() {
    let mut w = watched();
    w.fail("StartPipelineExecution", &[CallErrorKind::Invalid]);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Error));
    w.pass(60 * MINUTE);
    assert_eq!(w.forgotten, 0, "an agent that comes again would have it started");
    w.workflow = Some(WorkflowState::Gone);
    w.pass(31 * MINUTE);
    assert_eq!(w.forgotten, 1);
}

#[test]
fn a_node_that_argo_hands_out_after_a_long_silence_has_all_its_time() {
    let node = |n: u32| with(task(&format!("wf[0].go({n}:x)"), 0), |e| e.timeout = Some(5 * MINUTE));
    let mut w = World::new();
    w.ask(&node(0));
    w.end(0, Status::Succeeded);
    w.pass(MINUTE);
    w.ask(&node(0));
    // A mutex of Argo's went to another workflow meanwhile.
    w.pass(20 * MINUTE);
    assert_eq!(w.forgotten, 1);
    assert_eq!(phase(&w.ask(&node(1))), Some(Phase::Running));
    assert_eq!(w.executions.len(), 2);
}

#[test]
fn a_stopped_workflow_is_forgotten_once_not_even_exit_handlers_go_on() {
    for (state, forgotten) in [(WorkflowState::Over, 0), (WorkflowState::Gone, 1)] {
        let mut w = watched();
        w.ask(&task("a", 0));
        w.workflow = Some(state);
        w.pass(2 * MINUTE);
        w.end(0, Status::Stopped);
        w.pass(MINUTE);
        w.ask(&task("a", 0));
        w.pass(60 * MINUTE);
        assert_eq!(w.forgotten, forgotten, "{state:?}");
    }
}
