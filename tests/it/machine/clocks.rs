//! Clocks that disagree: the pod's, AWS's and Kubernetes'. They may cost waiting, and nothing else.

use std::time::Duration;

use awf_aws::{
    input::Task,
    pipelines::{Status, Time},
    protocol::Phase,
    workflow::{Settings, WorkflowState},
};

use super::world::{World, message, output, phase, task};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const MINUTES: i64 = 60_000;

/// Where AWS's and Kubernetes' clocks stand against the pod's.
const SKEWS: [(i64, i64); 7] = [
    (0, 0),
    (0, 90_000),
    (0, 10 * MINUTES),
    (0, -10 * MINUTES),
    (10 * MINUTES, 0),
    (-10 * MINUTES, 0),
    (-10 * MINUTES, 10 * MINUTES),
];

/// A workflow whose run began ten seconds ago, by Kubernetes' clock.
fn world((aws, kubernetes): (i64, i64), asks: bool) -> World {
    let mut w = World::with(Settings { pod_born: World::START, kubernetes: asks, ..Settings::default() });
    (w.aws_ahead, w.kubernetes_ahead) = (aws, kubernetes);
    run_begins(&mut w);
    w
}

/// By Kubernetes' clock, ten seconds before now.
fn run_begins(w: &mut World) {
    let started_at = Some(Time::at(w.now.millis() + w.kubernetes_ahead - 10_000));
    w.workflow = Some(WorkflowState::Alive { started_at, deadline: None, server_time: None });
}

/// A node of a workflow that was created with its run.
fn node(w: &World, attempt: u32) -> Task {
    Task { workflow_created: Some(Time::at(World::START.millis() + w.kubernetes_ahead - 10_000)), ..task("a", attempt) }
}

#[test]
fn a_pipeline_that_fails_quickly_runs_once_for_an_attempt_whatever_the_clocks_show() {
    for skew in SKEWS {
        for asks in [true, false] {
            let mut w = world(skew, asks);
            let node = node(&w, 0);
            w.ask(&node);
            w.pass(2 * SECOND);
            w.end(0, Status::Failed);
            for _ in 0..20 {
                w.pass(30 * SECOND);
                assert_eq!(phase(&w.ask(&node)), Some(Phase::Failed), "{skew:?} {asks}");
            }
            // Nor does a process that comes after.
            w.restart();
            w.ask(&node);
            w.pass(10 * SECOND);
            assert_eq!(phase(&w.ask(&node)), Some(Phase::Failed), "{skew:?} {asks}");
            assert_eq!(w.executions.len(), 1, "{skew:?} {asks}");
        }
    }
}

#[test]
fn a_restarted_process_adopts_what_runs_whatever_the_clocks_show() {
    for skew in SKEWS {
        let mut w = world(skew, true);
        let node = node(&w, 0);
        w.ask(&node);
        w.pass(20 * MINUTE);
        w.restart();
        w.tokens.clear();
        w.ask(&node);
        w.pass(10 * SECOND);
        w.ask(&node);
        assert_eq!(output(&w.ask(&node), "execution-arn"), Some(w.executions[0].arn.clone()), "{skew:?}");
        assert_eq!(w.executions.len(), 1, "{skew:?}");
    }
}

#[test]
fn an_argo_retry_right_after_the_failure_runs_the_attempt_again_whatever_the_clocks_show() {
    for skew in SKEWS {
        let mut w = world(skew, true);
        let node = node(&w, 0);
        w.ask(&node);
        w.pass(20 * SECOND);
        w.end(0, Status::Failed);
        w.pass(MINUTE);
        assert_eq!(phase(&w.ask(&node)), Some(Phase::Failed));
        // The pod is gone, and the next is there within seconds.
        w.now = w.now.plus(15 * SECOND);
        run_begins(&mut w);
        w.restart();
        w.ask(&node);
        w.pass(10 * SECOND);
        w.ask(&node);
        assert_eq!(phase(&w.ask(&node)), Some(Phase::Running), "{skew:?}");
        assert_eq!(w.executions.len(), 2, "{skew:?}");
    }
}

#[test]
fn a_clock_that_jumps_in_mid_run_starts_nothing_again() {
    for jump in [10 * MINUTES, -10 * MINUTES] {
        let mut w = world((0, 0), true);
        let node = node(&w, 0);
        w.ask(&node);
        w.pass(20 * SECOND);
        w.end(0, Status::Failed);
        w.pass(MINUTE);
        w.kubernetes_ahead = jump;
        w.restart();
        w.ask(&node);
        w.pass(10 * SECOND);
        assert_eq!(phase(&w.ask(&node)), Some(Phase::Failed), "{jump}");
        w.aws_ahead = jump;
        w.restart();
        w.ask(&node);
        w.pass(10 * SECOND);
        assert_eq!(phase(&w.ask(&node)), Some(Phase::Failed), "{jump}");
        assert_eq!(w.executions.len(), 1, "{jump}");
    }
}

#[test]
fn a_failure_that_may_be_an_earlier_runs_says_when_a_retry_will_run_it_again() {
    let mut w = world((0, 0), false);
    let node = node(&w, 0);
    w.ask(&node);
    w.pass(20 * SECOND);
    w.end(0, Status::Failed);
    w.pass(5 * MINUTE);
    w.restart();
    w.ask(&node);
    w.pass(10 * SECOND);
    let reply = w.ask(&node);
    assert_eq!(phase(&reply), Some(Phase::Failed));
    let says = "it ended before this agent pod began: if this is argo retry, repeat it 15 minutes after that end";
    assert!(message(&reply).contains(says), "{}", message(&reply));
    w.pass(11 * MINUTE);
    w.restart();
    w.ask(&node);
    w.pass(10 * SECOND);
    w.ask(&node);
    assert_eq!(phase(&w.ask(&node)), Some(Phase::Running), "and then it does");
}

#[test]
fn the_workflows_deadline_is_read_by_kubernetes_clock() {
    for kubernetes in [10 * MINUTES, -10 * MINUTES] {
        let mut w = world((0, kubernetes), true);
        let deadline = Some(Time::at(w.now.millis() + kubernetes + 5 * MINUTES));
        w.workflow = Some(WorkflowState::Alive { started_at: Some(w.now), deadline, server_time: None });
        w.ask(&node(&w, 0));
        w.pass(4 * MINUTE + 50 * SECOND);
        assert_eq!(w.executions[0].status, Status::Executing, "{kubernetes}");
        w.pass(20 * SECOND);
        assert_eq!(w.executions[0].status, Status::Stopping, "{kubernetes}");
    }
}

#[test]
fn an_answer_read_late_does_not_move_aws_clock() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.silent = vec!["DescribePipelineExecution"];
    w.pass(10 * SECOND);
    let node = super::with(task("b", 0), |e| e.timeout = Some(10 * MINUTE));
    w.silent.push("ListPipelineExecutions");
    // The process stands still for five minutes with an answer in its socket.
    let dated = w.now;
    w.now = w.now.plus(5 * MINUTE);
    w.answer_open_dated(0, dated);
    w.silent.clear();
    w.ask(&node);
    let created = w.executions[1].created;
    w.pass(9 * MINUTE);
    assert_eq!((w.executions[1].status.clone(), created), (Status::Executing, w.executions[1].created));
    w.pass(2 * MINUTE);
    assert_eq!(w.executions[1].status, Status::Stopping);
}
