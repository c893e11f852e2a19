//! What long trouble, restarts and odd orders must not do: nodes without end, second starts, growing timers.

use std::{sync::Arc, time::Duration};

use awf_aws::{
    input::{Action, OnStop},
    pipelines::{CallErrorKind, Status},
    protocol::Phase,
    workflow::{Event, Note, Settings, WorkflowState},
};

use super::stops::stop;
use super::world::{World, message, output, phase, task, with};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_time_out_stops_an_execution_that_may_never_be_described() {
    let mut w = World::new();
    w.fail("DescribePipelineExecution", &[CallErrorKind::Denied; 5000]);
    let node = with(task("a", 0), |e| e.timeout = Some(10 * MINUTE));
    w.ask(&node);
    w.pass(9 * MINUTE);
    assert_eq!(w.executions[0].status, Status::Executing);
    w.pass(2 * MINUTE);
    assert_eq!(w.executions[0].status, Status::Stopping);
    w.pass(11 * MINUTE);
    assert_eq!(phase(&w.ask(&node)), Some(Phase::Failed));
}

#[test]
fn a_time_out_ends_a_node_whose_region_cannot_be_reached() {
    let mut w = World::new();
    w.fail("GetCallerIdentity", &[CallErrorKind::Unreachable; 5000]);
    let node = with(task("a", 0), |e| e.timeout = Some(10 * MINUTE));
    w.ask(&node);
    w.pass(9 * MINUTE);
    assert_eq!(phase(&w.ask(&node)), Some(Phase::Running));
    w.pass(2 * MINUTE);
    let end = w.ask(&node);
    assert_eq!(phase(&end), Some(Phase::Failed));
    assert!(message(&end).starts_with("timed out after 600s; whether"), "{}", message(&end));
    assert!(message(&end).contains("AWS said connector"), "{}", message(&end));
}

#[test]
fn an_execution_that_another_node_attached_to_first_is_still_found_by_the_node_that_started_it() {
    for (listed, token_known) in [(true, false), (true, true), (false, true)] {
        let mut w = World::new();
        w.ask(&task("a", 0));
        let arn = w.executions[0].arn.clone();
        w.restart();
        if !listed {
            w.fail("ListPipelineExecutions", &[CallErrorKind::Denied; 5000]);
        }
        if !token_known {
            w.tokens.clear();
        }
        let attached = with(task("b", 0), |e| e.attach = Some(arn.clone()));
        assert_eq!(phase(&w.ask(&attached)), Some(Phase::Running));
        w.pass(10 * SECOND);
        for _ in 0..5 {
            assert_eq!(output(&w.ask(&task("a", 0)), "execution-arn"), Some(arn.clone()));
        }
        assert_eq!(w.executions.len(), 1, "no second start");
        assert!(w.count("StartPipelineExecution") <= 2, "no endless starts");
        w.end(0, Status::Succeeded);
        w.pass(MINUTE);
        assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Succeeded));
        w.pass(MINUTE);
        assert_eq!(phase(&w.ask(&attached)), Some(Phase::Succeeded));
    }
}

#[test]
fn a_long_outage_with_many_requests_does_not_multiply_the_wake_ups() {
    for node in [task("a", 0), stop(None, None)] {
        let mut w = World::new();
        w.fail("ListPipelineExecutions", &[CallErrorKind::Unreachable; 5000]);
        for _ in 0..100 {
            w.send(&node);
            w.pass(Duration::from_millis(1_337));
        }
        w.pass(MINUTE);
        let before = w.ticks;
        w.pass(10 * MINUTE);
        assert!(w.ticks - before < 300, "{} ticks in ten minutes", w.ticks - before);
    }
}

#[test]
fn a_date_of_whole_seconds_does_not_multiply_the_time_outs_timers() {
    let mut w = World::new();
    let node = with(task("a", 0), |e| e.timeout = Some(60 * MINUTE));
    w.ask(&node);
    w.pass(10 * SECOND);
    // For this process the time-out runs from the creation, in AWS's time.
    w.restart();
    w.send(&node);
    // Answers come at all parts of a second.
    w.silent = vec!["DescribePipelineExecution"];
    for _ in 0..1000 {
        w.pass(Duration::from_millis(3_137));
        if !w.unanswered.is_empty() {
            w.answer_open(0);
        }
    }
    w.now = World::START.plus(59 * MINUTE);
    w.pass(55 * SECOND);
    let before = w.ticks;
    w.pass(10 * SECOND);
    assert!(w.ticks - before < 40, "{} ticks around the time-out", w.ticks - before);
    assert_eq!(w.executions[0].status, Status::Stopping);
}

#[test]
fn an_end_that_is_being_explained_is_told_although_the_workflow_is_over() {
    let mut w = World::with(Settings { kubernetes: true, pod_born: World::START, ..Settings::default() });
    w.handle(Event::WorkflowObserved(WorkflowState::Alive {
        started_at: Some(World::START),
        deadline: None,
        server_time: None,
    }));
    w.ask(&task("a", 0));
    w.pass(10 * SECOND);
    w.silent = vec!["ListPipelineExecutionSteps"];
    w.end(0, Status::Succeeded);
    w.pass(MINUTE);
    w.handle(Event::WorkflowObserved(WorkflowState::Over));
    w.silent.clear();
    while !w.unanswered.is_empty() {
        w.answer_open(0);
    }
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Succeeded));
}

#[test]
fn in_a_crowd_a_change_of_the_message_is_told_after_its_rest() {
    let mut w = World::new();
    for n in 0..25 {
        w.send(&task(&format!("n{n}"), 0));
    }
    w.pass(2 * MINUTE);
    w.ask(&task("n0", 0));
    assert_eq!(phase(&w.ask(&task("n0", 0))), Some(Phase::Running), "earlier than promised");
    w.fail("ListPipelineExecutions", &[CallErrorKind::Unreachable; 5000]);
    w.fail("DescribePipelineExecution", &[CallErrorKind::Unreachable; 5000]);
    w.pass(2 * MINUTE);
    assert_eq!(phase(&w.ask(&task("n0", 0))), None, "its message rests");
    w.pass(4 * MINUTE);
    let told = w.ask(&task("n0", 0));
    assert!(message(&told).contains("AWS cannot be asked"), "{told:?}");
    w.pass(2 * MINUTE);
    assert_eq!(phase(&w.ask(&task("n0", 0))), None, "and once is enough");
}

#[test]
fn an_answer_that_nobody_heard_is_told_again() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.pass(MINUTE);
    assert_eq!(phase(&w.ask(&task("a", 0))), None, "it was told");
    w.handle(Event::Unheard { task: Arc::new(task("a", 0)) });
    w.pass(MINUTE);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Running));
}

#[test]
fn a_stop_node_ends_when_its_executions_do_not() {
    for (timeout, denied, limit) in
        [(None, false, 10 * MINUTE), (Some(2 * MINUTE), false, 2 * MINUTE), (None, true, 10 * MINUTE)]
    {
        let mut w = World::new();
        if denied {
            w.fail("StopPipelineExecution", &[CallErrorKind::Denied; 5000]);
        }
        w.ask(&task("a", 0));
        let mut node = stop(None, None);
        node.action = Action::Stop { execution_arn: None, timeout };
        w.ask(&node);
        w.pass(limit - 10 * SECOND);
        assert_ne!(phase(&w.ask(&node)), Some(Phase::Failed));
        w.pass(20 * SECOND);
        let end = w.ask(&node);
        assert_eq!(phase(&end), Some(Phase::Failed), "{timeout:?}");
        let why = if denied { "access_denied" } else { "a Callback step can block" };
        assert!(message(&end).starts_with("execution 000000000001 has not ended within"), "{}", message(&end));
        assert!(message(&end).contains(why), "{}", message(&end));
    }
}

#[test]
fn a_stop_node_with_a_time_out_does_not_look_for_executions_for_ever() {
    let mut w = World::new();
    w.fail("GetCallerIdentity", &[CallErrorKind::Unreachable; 5000]);
    let mut node = stop(None, None);
    node.action = Action::Stop { execution_arn: None, timeout: Some(5 * MINUTE) };
    w.ask(&node);
    w.pass(6 * MINUTE);
    let end = w.ask(&node);
    assert_eq!(phase(&end), Some(Phase::Failed));
    assert!(message(&end).contains("AWS said connector"), "{}", message(&end));
}

#[test]
fn a_stop_of_everything_spares_what_a_node_was_only_attached_to() {
    for (on_stop, spared) in [(None, true), (Some(OnStop::Leave), true), (Some(OnStop::Stop), false)] {
        let mut w = World::new();
        w.ask(&task("a", 0));
        // Somebody else's: without this workflow's marker.
        w.executions[0].description = None;
        w.restart();
        w.tokens.clear();
        w.ask(&task("own", 0));
        let arn = w.executions[0].arn.clone();
        let attached = with(task("b", 0), |e| {
            e.attach = Some(arn);
            e.on_stop = on_stop;
        });
        w.ask(&attached);
        w.ask(&stop(None, None));
        assert_eq!(w.executions[0].status == Status::Executing, spared, "{on_stop:?}");
        assert_eq!(w.executions[1].status, Status::Stopping);
    }
}

#[test]
fn an_execution_that_appears_again_counts_again() {
    let mut w = World::new();
    for n in 0..15 {
        w.ask(&task(&format!("n{n}"), 0));
    }
    w.pass(5 * MINUTE);
    let lost = w.executions.remove(0);
    w.pass(10 * MINUTE);
    assert_eq!(phase(&w.ask(&task("n0", 0))), Some(Phase::Error));
    w.executions.insert(0, lost.clone());
    w.pass(2 * MINUTE);
    assert_eq!(output(&w.ask(&task("n0", 1)), "execution-arn"), Some(lost.arn));
    assert_eq!(w.executions.len(), 15, "no second live execution");
}

#[test]
fn a_page_token_that_has_become_invalid_ends_no_node() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.add_strangers(150);
    w.restart();
    w.silent = vec!["ListPipelineExecutions"];
    w.send(&task("a", 0));
    w.answer_open(0);
    w.fail("ListPipelineExecutions", &[CallErrorKind::Invalid]);
    w.answer_open(0);
    w.silent.clear();
    w.pass(10 * SECOND);
    assert_eq!(output(&w.ask(&task("a", 0)), "execution-arn"), Some(w.executions[0].arn.clone()));
    assert_eq!(w.count("StartPipelineExecution"), 1);
}

#[test]
fn an_execution_that_was_found_under_another_role_is_its_nodes() {
    let mut w = World::new();
    w.ask(&task("b", 0));
    w.restart();
    let mut with_role = task("a", 0);
    with_role.client.role_arn = Some("arn:aws:iam::100000000002:role/run".into());
    w.ask(&with_role);
    let reply = w.ask(&task("b", 0));
    assert_eq!(phase(&reply), Some(Phase::Running), "{}", message(&reply));
    assert_eq!(output(&reply, "execution-arn"), Some(w.executions[0].arn.clone()));
    assert_eq!(w.executions.len(), 2);
}

#[test]
fn an_end_that_a_list_shows_first_is_not_dated_by_the_last_look() {
    let mut w = World::new();
    w.lists_say_when = false;
    w.ask(&task("a", 0));
    w.pass(60 * MINUTE);
    w.restart();
    // Behind a full account another node waits: its pipeline is listed every five minutes.
    w.fail("StartPipelineExecution", &[CallErrorKind::QuotaExceeded; 5000]);
    w.ask(&task("a", 0));
    w.ask(&task("b", 0));
    w.pass(MINUTE);
    w.fail("DescribePipelineExecution", &[CallErrorKind::Unreachable; 5000]);
    w.end(0, Status::Failed);
    for _ in 0..50 {
        w.pass(10 * SECOND);
        w.send(&task("a", 0));
    }
    w.failures.clear();
    w.pass(MINUTE);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Failed), "it ended in this run, and is not run again");
    assert_eq!(w.executions.len(), 2);
}

#[test]
fn a_revived_execution_can_be_stopped_again() {
    let mut w = World::new();
    let node = |attempt: u32| with(task("a", attempt), |e| e.timeout = Some(10 * MINUTE));
    w.ask(&node(0));
    w.pass(11 * MINUTE);
    w.end(0, Status::Stopped);
    w.pass(MINUTE);
    assert_eq!(phase(&w.ask(&node(0))), Some(Phase::Failed));
    w.end(0, Status::Executing);
    w.ask(&node(1));
    assert_eq!(output(&w.ask(&node(1)), "execution-arn"), Some(w.executions[0].arn.clone()));
    w.pass(11 * MINUTE);
    assert_eq!(w.executions[0].status, Status::Stopping);
}

#[test]
fn stops_that_are_denied_for_long_leave_the_pace_to_others() {
    let mut w = World::new();
    w.fail("StopPipelineExecution", &[CallErrorKind::Denied; 5000]);
    w.ask(&with(task("a", 0), |e| e.timeout = Some(10 * MINUTE)));
    w.pass(10 * MINUTE);
    w.calls.clear();
    w.pass(60 * MINUTE);
    assert!((10..25).contains(&w.count("StopPipelineExecution")), "{} tries", w.count("StopPipelineExecution"));
}

#[test]
fn one_node_too_many_waits_until_another_has_ended_and_the_log_says_so_once() {
    let mut w = World::with(Settings { pod_born: World::START, max_nodes: 2, ..Settings::default() });
    w.ask(&task("a", 0));
    w.ask(&task("b", 0));
    for _ in 0..3 {
        assert_eq!(phase(&w.ask(&task("c", 0))), None, "a free poll");
    }
    let told =
        |w: &World| w.notes.iter().filter(|n| matches!(n, Note::Warning { text } if text.contains("2 nodes"))).count();
    assert_eq!(told(&w), 1);
    w.end(0, Status::Succeeded);
    w.pass(MINUTE);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Succeeded));
    assert_eq!(phase(&w.ask(&task("c", 0))), Some(Phase::Running), "ended nodes do not count");
    w.ask(&task("d", 0));
    assert_eq!(told(&w), 2, "and again when it happens again");
}
