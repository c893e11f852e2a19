//! Polling, ends, retries and time-outs.

use std::time::Duration;

use awf_aws::{
    input::{Action, OnRetry},
    pipelines::{CallErrorKind, Status, Step},
    protocol::Phase,
    workflow::{
        Event, Settings, WorkflowState,
        trouble::{CallSite, Disposition, disposition},
    },
};

use super::{
    stops::stop,
    world::{World, message, output, phase, task, with},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn failed_step() -> Step {
    Step {
        name: "Train".into(),
        status: "Failed".into(),
        kind: Some("TrainingJob".into()),
        job_arn: Some("arn:aws:sagemaker:us-west-2:1:training-job/pipelines-abc-Train".into()),
        failure_reason: Some("ClientError: no such bucket".into()),
        ..Step::default()
    }
}

#[test]
fn an_end_is_told_with_outputs_and_told_again_whenever_asked() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.end(0, Status::Succeeded);
    w.pass(10 * SECOND);
    let reply = w.ask(&task("a", 0));
    assert_eq!((phase(&reply), &reply.requeue), (Some(Phase::Succeeded), &None));
    assert_eq!(output(&reply, "status").as_deref(), Some("Succeeded"));
    let digest = reply.node.as_ref().unwrap().outputs.as_ref().unwrap().result.clone().unwrap();
    serde_json::from_str::<serde_json::Value>(&digest).unwrap();
    w.pass(10 * MINUTE);
    assert_eq!(w.ask(&task("a", 0)), reply);
}

#[test]
fn a_failure_names_the_step_the_reason_and_where_the_logs_are() {
    let mut w = World::new();
    w.steps = vec![failed_step()];
    w.ask(&task("a", 0));
    w.end(0, Status::Failed);
    w.pass(10 * SECOND);
    let reply = w.ask(&task("a", 0));
    assert_eq!(phase(&reply), Some(Phase::Failed));
    assert!(message(&reply).contains("Train") && message(&reply).contains("no such bucket"));
    assert_eq!(output(&reply, "failed-step").as_deref(), Some("Train"));
    assert!(output(&reply, "logs-url").unwrap().contains("TrainingJobs"));
}

#[test]
fn every_status_has_its_phase() {
    for (status, accept, expected) in [
        (Status::Succeeded, false, Phase::Succeeded),
        (Status::Failed, true, Phase::Failed),
        (Status::Stopped, true, Phase::Failed),
        (Status::CompletedWithFailures, false, Phase::Failed),
        (Status::CompletedWithFailures, true, Phase::Succeeded),
    ] {
        let mut w = World::new();
        let node = with(task("a", 0), |e| e.accept_completed_with_failures = accept);
        w.ask(&node);
        w.end(0, status.clone());
        w.pass(10 * SECOND);
        assert_eq!(phase(&w.ask(&node)), Some(expected), "{status:?}");
    }
}

#[test]
fn a_retry_attempt_looks_once_more_and_then_starts_its_own() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.end(0, Status::Failed);
    w.pass(10 * SECOND);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Failed));
    assert_eq!(phase(&w.ask(&task("a", 1))), Some(Phase::Running));
    assert_eq!(w.executions.len(), 2);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Failed), "the first attempt keeps its end");
}

#[test]
fn a_retry_after_a_console_revival_follows_what_was_revived() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.end(0, Status::Failed);
    w.pass(10 * SECOND);
    w.ask(&task("a", 0));
    w.end(0, Status::Executing);
    let reply = w.ask(&task("a", 1));
    assert_eq!(output(&reply, "execution-arn").as_deref(), Some(w.executions[0].arn.as_str()));
    assert_eq!(w.executions.len(), 1);
}

#[test]
fn after_argo_retry_a_failed_execution_is_replaced_once_however_often_the_process_restarts() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.end(0, Status::Failed);
    // The new run's pod is born an hour later.
    w.now = w.now.plus(60 * MINUTE);
    for _ in 0..3 {
        w.restart();
        assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Running));
        assert_eq!(w.executions.len(), 2);
    }
    assert!(w.executions[1].description.as_ref().unwrap().contains("pred=000000000001"));
}

#[test]
fn no_trouble_ends_a_node_whose_execution_lives_and_the_message_tells_of_it() {
    for kind in [
        CallErrorKind::Throttled,
        CallErrorKind::OutcomeUnknown,
        CallErrorKind::Unreachable,
        CallErrorKind::Denied,
        CallErrorKind::Credentials,
    ] {
        let mut w = World::new();
        w.ask(&task("a", 0));
        w.fail("DescribePipelineExecution", &[kind; 5000]);
        w.pass(60 * MINUTE);
        let reply = w.ask(&task("a", 0));
        assert_eq!(phase(&reply), Some(Phase::Running));
        assert!(message(&reply).contains("the execution goes on"), "{}", message(&reply));
        w.failures.clear();
        w.end(0, Status::Succeeded);
        w.pass(10 * MINUTE);
        assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Succeeded), "{kind:?}");
    }
}

#[test]
fn a_list_that_fails_for_its_own_reasons_is_replaced_by_describes_and_other_trouble_is_waited_out() {
    for kind in [
        CallErrorKind::Throttled,
        CallErrorKind::OutcomeUnknown,
        CallErrorKind::Unreachable,
        CallErrorKind::QuotaExceeded,
        CallErrorKind::Credentials,
        CallErrorKind::Denied,
        CallErrorKind::NotFound,
        CallErrorKind::Invalid,
        CallErrorKind::Conflict,
        CallErrorKind::TokenMismatch,
    ] {
        let mut w = World::new();
        for n in 0..15 {
            w.ask(&task(&format!("n{n}"), 0));
        }
        w.pass(5 * MINUTE);
        w.fail("ListPipelineExecutions", &[kind; 5000]);
        for n in 0..15 {
            w.end(n, Status::Succeeded);
        }
        w.pass(2 * MINUTE);
        let reply = w.ask(&task("n7", 0));
        if disposition(kind, CallSite::Round) == Disposition::Without {
            assert_eq!(phase(&reply), Some(Phase::Succeeded), "{kind:?}: {}", message(&reply));
            continue;
        }
        assert_eq!(phase(&reply), Some(Phase::Running), "{kind:?}: {}", message(&reply));
        assert!(message(&reply).contains("the execution goes on, but AWS cannot be asked"), "{}", message(&reply));
        w.failures.clear();
        w.pass(10 * MINUTE);
        assert_eq!(phase(&w.ask(&task("n7", 0))), Some(Phase::Succeeded), "{kind:?}");
    }
}

#[test]
fn a_deleted_execution_is_an_error_only_after_three_answers_over_two_minutes() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.pass(5 * MINUTE);
    w.executions.clear();
    w.pass(MINUTE);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Running));
    w.pass(4 * MINUTE);
    let reply = w.ask(&task("a", 0));
    assert_eq!(phase(&reply), Some(Phase::Error));
    assert!(message(&reply).contains("deleted"));
}

#[test]
fn an_execution_that_is_still_listed_is_not_gone_however_often_it_is_not_found() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.fail("DescribePipelineExecution", &[CallErrorKind::NotFound; 5000]);
    w.pass(60 * MINUTE);
    w.ask(&task("a", 0));
    let resent = w.ask(&task("a", 0));
    assert_eq!(phase(&resent), Some(Phase::Running), "{}", message(&resent));
    w.failures.clear();
    w.end(0, Status::Succeeded);
    w.pass(MINUTE);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Succeeded));
}

#[test]
fn a_list_that_knows_no_such_pipeline_proves_at_once_that_an_execution_is_gone() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.pass(5 * MINUTE);
    w.executions.clear();
    w.fail("ListPipelineExecutions", &[CallErrorKind::NotFound]);
    w.pass(31 * SECOND);
    let reply = w.ask(&task("a", 0));
    assert_eq!(phase(&reply), Some(Phase::Error), "{}", message(&reply));
    assert!(message(&reply).contains("deleted"));
}

#[test]
fn where_nobody_may_list_the_answers_alone_prove_that_an_execution_is_gone() {
    let mut w = World::new();
    w.fail("ListPipelineExecutions", &[CallErrorKind::Denied]);
    w.ask(&task("a", 0));
    w.pass(5 * MINUTE);
    w.executions.clear();
    w.pass(4 * MINUTE);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Error));
}

#[test]
fn a_stop_that_is_denied_says_so_at_its_time_out_and_when_it_is_given_up() {
    let mut w = World::new();
    let node = with(task("a", 0), |e| e.timeout = Some(10 * MINUTE));
    w.fail("StopPipelineExecution", &[CallErrorKind::Denied; 5000]);
    w.ask(&node);
    w.pass(11 * MINUTE);
    let reply = w.ask(&node);
    assert_eq!(phase(&reply), Some(Phase::Running));
    assert!(
        message(&reply).contains("it cannot be stopped: AWS said access_denied (since 2026"),
        "{}",
        message(&reply)
    );
    w.pass(10 * MINUTE);
    let end = w.ask(&node);
    assert_eq!(phase(&end), Some(Phase::Failed));
    assert!(message(&end).contains("has not ended within 600s (it cannot be stopped"), "{}", message(&end));
}

#[test]
fn an_execution_to_be_looked_at_while_it_is_being_described_does_not_spin_the_rounds() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.silent.push("DescribePipelineExecution");
    w.pass(MINUTE);
    // A stop wants a look; the describe of the round is still out.
    w.ask(&stop(None, None));
    w.pass(MINUTE);
    assert_eq!(w.executions[0].status, Status::Stopping);
}

#[test]
fn a_poll_without_news_is_free_and_an_early_one_gets_everything_again() {
    let mut w = World::new();
    let first = w.ask(&task("a", 0));
    let resent = w.ask(&task("a", 0));
    assert_eq!(phase(&resent), Some(Phase::Running), "earlier than promised: the reply was lost");
    assert_eq!(first.node, resent.node);
    w.pass(MINUTE);
    let poll = w.ask(&task("a", 0));
    assert_eq!(phase(&poll), None);
    assert!(poll.requeue.is_some());
}

#[test]
fn a_time_out_stops_the_execution_and_the_node_fails() {
    let mut w = World::new();
    let node = with(task("a", 0), |e| e.timeout = Some(10 * MINUTE));
    w.ask(&node);
    w.pass(11 * MINUTE);
    assert_eq!(w.executions[0].status, Status::Stopping);
    assert_eq!(phase(&w.ask(&node)), Some(Phase::Running));
    w.end(0, Status::Stopped);
    w.pass(MINUTE);
    let reply = w.ask(&node);
    assert_eq!(phase(&reply), Some(Phase::Failed));
    assert!(message(&reply).contains("timeout"), "{}", message(&reply));
}

#[test]
fn a_stop_that_a_callback_step_blocks_is_awaited_ten_minutes() {
    let mut w = World::new();
    let node = with(task("a", 0), |e| e.timeout = Some(MINUTE));
    w.ask(&node);
    w.pass(10 * MINUTE);
    assert_eq!(phase(&w.ask(&node)), Some(Phase::Running));
    w.pass(2 * MINUTE);
    let reply = w.ask(&node);
    assert_eq!(phase(&reply), Some(Phase::Failed), "{reply:?}");
}

#[test]
fn an_execution_that_had_ended_is_reported_as_it_ended_however_late() {
    let mut w = World::new();
    let node = with(task("a", 0), |e| e.timeout = Some(10 * MINUTE));
    w.ask(&node);
    w.end(0, Status::Succeeded);
    w.restart();
    w.now = w.now.plus(60 * MINUTE);
    assert_eq!(phase(&w.ask(&node)), Some(Phase::Succeeded));
}

#[test]
fn a_node_that_waits_too_long_never_starts() {
    let mut w = World::new();
    w.fail("StartPipelineExecution", &[CallErrorKind::QuotaExceeded; 1000]);
    let node = with(task("a", 0), |e| e.timeout = Some(MINUTE));
    w.ask(&node);
    w.pass(2 * MINUTE);
    let reply = w.ask(&node);
    assert_eq!(phase(&reply), Some(Phase::Failed));
    assert!(message(&reply).contains("before it could start"));
    assert!(w.executions.is_empty());
}

#[test]
fn when_the_workflow_is_over_executions_are_stopped_and_nodes_fail_without_requeue() {
    let mut w = World::with(Settings { kubernetes: true, pod_born: World::START, ..Settings::default() });
    w.handle(Event::WorkflowObserved(WorkflowState::Alive {
        started_at: Some(World::START),
        deadline: None,
        server_time: None,
    }));
    w.ask(&task("a", 0));
    w.ask(&task("wf.onExit", 0));
    w.handle(Event::WorkflowObserved(WorkflowState::Over));
    assert_eq!((&w.executions[0].status, &w.executions[1].status), (&Status::Stopping, &Status::Executing));
    let reply = w.ask(&task("a", 0));
    assert_eq!((phase(&reply), reply.requeue), (Some(Phase::Failed), None));
    assert_eq!(phase(&w.ask(&task("x.onExit", 0))), Some(Phase::Running));
    w.pass(MINUTE);
    assert_eq!(phase(&w.ask(&task("b", 0))), Some(Phase::Failed));
}

#[test]
fn an_end_that_a_node_accepts_is_its_result_in_the_next_run_too() {
    for on_retry in [OnRetry::Restart, OnRetry::Resume, OnRetry::ResumeOnly] {
        let node =
            |accepts| with(task("a", 0), |e| (e.on_retry, e.accept_completed_with_failures) = (on_retry, accepts));
        let mut w = World::new();
        w.ask(&node(true));
        w.end(0, Status::CompletedWithFailures);
        // Its node had ended with the workflow meanwhile, and so argo retry asks for it again.
        w.pass(30 * MINUTE);
        w.restart();
        w.ask(&node(true));
        w.pass(10 * SECOND);
        let reply = w.ask(&node(true));
        assert_eq!((phase(&reply), w.executions.len()), (Some(Phase::Succeeded), 1), "{on_retry:?}: {reply:?}");
        // Who does not accept it tries again, as far as that may be.
        w.restart();
        w.ask(&node(false));
        w.pass(10 * SECOND);
        assert_eq!(w.executions.len(), if on_retry == OnRetry::ResumeOnly { 1 } else { 2 }, "{on_retry:?}");
    }
}

#[test]
fn executions_that_started_one_after_the_other_share_lists_too() {
    let mut w = World::new();
    for n in 0..150 {
        w.send(&task(&format!("n{n}"), 0));
        w.pass(Duration::from_millis(700));
    }
    w.pass(15 * MINUTE);
    w.calls.clear();
    w.pass(5 * MINUTE);
    assert!(w.calls.len() <= 10 * (150 / 100 + 2), "{} calls in ten rounds", w.calls.len());
}

#[test]
fn many_executions_cost_a_page_of_the_list_each_hundred() {
    let mut w = World::new();
    for n in 0..1000 {
        w.send(&task(&format!("n{n}"), 0));
    }
    w.pass(15 * MINUTE);
    assert_eq!(w.executions.len(), 1000);
    let before = w.calls.len();
    w.pass(31 * SECOND);
    let calls = w.calls.len() - before;
    assert!(calls <= 2 * (1000 / 100 + 2), "{calls} calls in about one round");
}

fn validate(parameters: &[(&str, &str)]) -> awf_aws::input::Task {
    let mut validate = task("", 0);
    validate.execution_key = None;
    validate.fallback_key = Some(format!("{parameters:?}"));
    let parameters = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    validate.action = Action::Validate { parameters, version: None };
    validate
}

#[test]
fn validate_checks_parameters_and_answers_a_digest() {
    let mut w = World::new();
    let reply = w.ask(&validate(&[("Depth", "5")]));
    assert_eq!(phase(&reply), Some(Phase::Succeeded));
    assert_eq!(output(&reply, "step-count").as_deref(), Some("1"));
    let missing = w.ask(&validate(&[]));
    assert_eq!(
        (phase(&missing), message(&missing)),
        (Some(Phase::Error), "parameters: the pipeline needs Depth, which has no default".into())
    );
    assert!(
        message(&w.ask(&validate(&[("Depth", "5"), ("Deth", "5")])))
            .contains("does not declare Deth; it declares Depth, Size")
    );
    assert_eq!(w.count("DescribePipeline"), 1, "the digest is shared");
}

#[test]
fn trouble_while_validating_is_pending_and_a_missing_pipeline_an_error() {
    let mut w = World::new();
    w.fail("DescribePipeline", &[CallErrorKind::Throttled, CallErrorKind::NotFound]);
    assert_eq!(phase(&w.ask(&validate(&[("Depth", "5")]))), Some(Phase::Pending));
    w.pass(5 * SECOND);
    assert_eq!(phase(&w.ask(&validate(&[("Depth", "5")]))), Some(Phase::Error));
}
