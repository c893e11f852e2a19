//! From the first request to a running execution, and every way a start can go wrong.

use std::time::Duration;

use awf_aws::{
    input::Action,
    pipelines::{Call, CallErrorKind, Status},
    protocol::Phase,
    workflow::{Event, Note},
};

use super::world::{World, message, output, phase, task, with};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_first_request_starts_and_is_answered_running_with_its_arn() {
    let mut w = World::new();
    let reply = w.ask(&task("a", 0));
    assert_eq!(phase(&reply), Some(Phase::Running));
    assert_eq!(output(&reply, "execution-arn").as_deref(), Some(w.executions[0].arn.as_str()));
    assert!(reply.requeue.is_some());
    assert_eq!(w.now, World::START, "answered at once, not at the end of the reply time-out");
}

#[test]
fn two_nodes_get_two_executions_and_copies_of_one_get_one() {
    let mut w = World::new();
    w.silent = vec!["StartPipelineExecution"];
    for _ in 0..64 {
        w.send(&task("a", 0));
    }
    assert_eq!(w.count("StartPipelineExecution"), 1);
    w.silent.clear();
    w.ask(&task("b", 0));
    assert_eq!(w.count("StartPipelineExecution"), 2);
}

#[test]
fn a_restarted_process_finds_the_execution_by_its_marker_without_starting() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.restart();
    let reply = w.ask(&task("a", 0));
    assert_eq!(output(&reply, "execution-arn").as_deref(), Some(w.executions[0].arn.as_str()));
    assert_eq!((w.count("StartPipelineExecution"), w.executions.len()), (1, 1));
    assert!(w.notes.iter().any(|n| matches!(n, Note::ExecutionAdopted { .. })));
}

#[test]
fn an_execution_that_a_list_shows_before_its_start_comes_back_was_started_and_not_found() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.silent = vec!["StartPipelineExecution"];
    w.send(&task("b", 0));
    let started = w.answer_of(0);
    // Another node has the pipeline listed anew before it starts.
    w.pass(360 * SECOND);
    w.send(&task("c", 0));
    assert_eq!(w.count("StartPipelineExecution"), 3);
    w.handle(started);
    let arn = &w.executions[1].arn;
    let noted =
        |n: &&Note| matches!(n, Note::ExecutionStarted { arn: of } | Note::ExecutionAdopted { arn: of } if of == arn);
    let noted: Vec<&Note> = w.notes.iter().filter(noted).collect();
    assert!(matches!(noted[..], [Note::ExecutionStarted { .. }]), "{noted:?}");
}

#[test]
fn nothing_starts_before_the_listing_is_complete_even_when_a_page_is_throttled() {
    let mut w = World::new();
    w.fail("ListPipelineExecutions", &[CallErrorKind::Throttled, CallErrorKind::OutcomeUnknown]);
    let first = w.ask(&task("a", 0));
    assert_eq!(phase(&first), None, "its past is not known: a free poll");
    assert_eq!(w.count("StartPipelineExecution"), 0);
    w.pass(10 * SECOND);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Running));
    assert_eq!(w.executions.len(), 1);
}

#[test]
fn a_past_that_stays_unknown_is_running_with_the_reason_never_pending() {
    let mut w = World::new();
    w.fail("ListPipelineExecutions", &[CallErrorKind::Unreachable; 50]);
    assert_eq!(phase(&w.ask(&task("a", 0))), None);
    w.pass(6 * SECOND);
    let reply = w.ask(&task("a", 0));
    assert_eq!(phase(&reply), Some(Phase::Running));
    assert!(message(&reply).contains("AWS said connector"), "{}", message(&reply));
}

#[test]
fn a_denied_listing_is_warned_of_and_the_token_alone_protects() {
    let mut w = World::new();
    w.fail("ListPipelineExecutions", &[CallErrorKind::Denied]);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Running));
    assert_eq!(w.notes.iter().filter(|n| matches!(n, Note::Warning { .. })).count(), 1);
}

#[test]
fn a_lost_reply_is_repeated_with_the_same_bytes() {
    let mut w = World::new();
    w.lost_replies.push_back("StartPipelineExecution");
    w.ask(&task("a", 0));
    w.pass(3 * SECOND);
    let starts: Vec<&Call> = w.calls.iter().filter(|c| matches!(c, Call::StartExecution(_))).collect();
    assert_eq!(starts.len(), 2);
    assert_eq!(starts[0], starts[1]);
    assert_eq!(w.executions.len(), 1);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Running));
}

#[test]
fn a_start_in_doubt_says_why_and_since_when() {
    let mut w = World::new();
    w.fail("StartPipelineExecution", &[CallErrorKind::OutcomeUnknown; 5]);
    w.ask(&task("a", 0));
    w.pass(5 * SECOND);
    let text = message(&w.ask(&task("a", 0)));
    assert!(text.contains("with the same token: AWS said outcome_unknown (since 2026-"), "{text}");
}

#[test]
fn a_conflict_makes_it_look_for_the_marker_and_then_follow() {
    let mut w = World::new();
    w.lost_replies.push_back("StartPipelineExecution");
    w.ask(&task("a", 0));
    w.fail("StartPipelineExecution", &[CallErrorKind::Conflict]);
    w.pass(5 * SECOND);
    let reply = w.ask(&task("a", 0));
    assert_eq!(output(&reply, "execution-arn").as_deref(), Some(w.executions[0].arn.as_str()));
    assert_eq!(w.executions.len(), 1);
}

#[test]
fn a_conflict_that_leads_to_nothing_is_an_error_after_five_minutes() {
    let mut w = World::new();
    w.fail("StartPipelineExecution", &[CallErrorKind::TokenMismatch]);
    w.ask(&task("a", 0));
    w.pass(200 * SECOND);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Running));
    w.pass(200 * SECOND);
    let reply = w.ask(&task("a", 0));
    assert_eq!(phase(&reply), Some(Phase::Error), "{reply:?}");
    assert_eq!(w.count("StartPipelineExecution"), 1);
}

#[test]
fn a_refused_start_is_an_error_at_once_with_awss_words() {
    for kind in [CallErrorKind::Invalid, CallErrorKind::NotFound] {
        let mut w = World::new();
        w.fail("StartPipelineExecution", &[kind]);
        let reply = w.ask(&task("a", 0));
        assert_eq!(phase(&reply), Some(Phase::Error));
        assert!(message(&reply).contains(kind.as_str()));
    }
}

#[test]
fn a_throttled_start_is_pending_with_the_reason_and_repeated() {
    let mut w = World::new();
    w.fail("StartPipelineExecution", &[CallErrorKind::Throttled]);
    let reply = w.ask(&task("a", 0));
    assert_eq!(phase(&reply), Some(Phase::Pending));
    assert!(message(&reply).contains("throttles"));
    w.pass(10 * SECOND);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Running));
}

#[test]
fn a_denied_start_explains_itself_at_once_and_ends_after_the_grace() {
    let mut w = World::new();
    w.fail("StartPipelineExecution", &[CallErrorKind::Denied; 100]);
    let reply = w.ask(&task("a", 0));
    assert_eq!(phase(&reply), Some(Phase::Pending));
    assert!(message(&reply).contains("access_denied"));
    w.pass(100 * SECOND);
    assert_ne!(phase(&w.ask(&task("a", 0))), Some(Phase::Error));
    w.pass(40 * SECOND);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Error));
}

#[test]
fn credentials_that_cannot_be_had_are_shown_at_once_and_nothing_starts() {
    let mut w = World::new();
    w.fail("GetCallerIdentity", &[CallErrorKind::Credentials; 100]);
    let reply = w.ask(&task("a", 0));
    assert_eq!(phase(&reply), Some(Phase::Running), "its past is unknown: never Pending");
    assert!(message(&reply).contains("credentials"));
    w.pass(130 * SECOND);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Error));
    assert_eq!(w.count("StartPipelineExecution"), 0);
}

#[test]
fn another_accounts_pipeline_is_called_by_arn() {
    let mut w = World::new();
    w.account = "999999999999".into();
    w.ask(&task("a", 0));
    let spelled = w.calls.iter().find_map(|c| match c {
        Call::StartExecution(start) => Some(start.pipeline.clone()),
        _ => None,
    });
    assert_eq!(spelled.as_deref(), Some("arn:aws:sagemaker:us-west-2:100000000002:pipeline/MyPipeline"));
}

#[test]
fn a_full_account_queues_first_in_first_out_and_only_the_head_probes() {
    let mut w = World::new();
    w.fail("StartPipelineExecution", &[CallErrorKind::QuotaExceeded]);
    let reply = w.ask(&task("a", 0));
    assert_eq!(phase(&reply), Some(Phase::Pending));
    assert!(
        message(&reply).starts_with("waiting for SageMaker capacity (0 ahead in this workflow)"),
        "{}",
        message(&reply)
    );
    let reply = w.ask(&task("b", 0));
    assert!(message(&reply).contains("(1 ahead"), "{}", message(&reply));
    assert_eq!(w.count("StartPipelineExecution"), 1, "b does not probe");
    w.fail("StartPipelineExecution", &[CallErrorKind::QuotaExceeded]);
    w.pass(16 * SECOND);
    w.pass(16 * SECOND);
    assert_eq!(w.executions.len(), 2);
    let first = w.executions[0].description.clone().unwrap();
    assert!(first.contains(&super::key_of(&task("a", 0)).hex(64)), "a was first in line");
}

#[test]
fn max_running_holds_nodes_back_until_one_of_the_workflows_own_ends() {
    let mut w = World::new();
    let node = |key: &str| with(task(key, 0), |e| e.max_running = Some(2));
    for key in ["a", "b", "c", "d"] {
        w.ask(&node(key));
    }
    assert_eq!(w.executions.len(), 2);
    let reply = w.ask(&node("c"));
    assert!(message(&reply).contains("max_running is 2"), "{}", message(&reply));
    w.end(0, Status::Succeeded);
    w.pass(40 * SECOND);
    assert_eq!(w.executions.len(), 3);
}

#[test]
fn a_retry_with_other_arguments_starts_with_them_and_is_not_warned() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.end(0, Status::Failed);
    w.pass(60 * SECOND);
    let retry = with(task("a", 1), |e| e.args_digest = "ffffffffffff".into());
    w.ask(&retry);
    let reply = w.ask(&retry);
    assert_eq!((phase(&reply), w.executions.len()), (Some(Phase::Running), 2));
    assert!(!message(&reply).contains("warning"), "{}", message(&reply));
}

#[test]
fn other_arguments_under_a_key_follow_with_a_warning_and_another_pipeline_is_refused() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    let rendered = with(task("a", 0), |e| e.args_digest = "ffffffffffff".into());
    let reply = w.ask(&rendered);
    assert!(message(&reply).contains("other arguments"), "{}", message(&reply));
    w.restart();
    w.ask(&rendered);
    let reply = w.ask(&rendered);
    assert!(message(&reply).contains("other arguments"), "a new process reads the marker: {}", message(&reply));
    let mut stranger = task("a", 0);
    stranger.pipeline_name = "Other".into();
    let reply = w.ask(&stranger);
    assert_eq!(phase(&reply), Some(Phase::Error));
    assert!(message(&reply).contains("execution_key"));
    assert_eq!(w.executions.len(), 1);
    assert!(w.executions[0].status.is_live());
}

#[test]
fn identical_nodes_without_a_key_share_one_execution_and_are_told_so() {
    let mut w = World::new();
    let mut anonymous = task("", 0);
    anonymous.execution_key = None;
    let reply = w.ask(&anonymous);
    assert!(message(&reply).contains("identical nodes share one execution"), "{}", message(&reply));
}

#[test]
fn draining_starts_nothing_and_still_answers_a_known_end() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.end(0, Status::Succeeded);
    w.pass(10 * SECOND);
    w.handle(Event::Drain);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Succeeded));
    let reply = w.ask(&task("b", 0));
    assert_eq!((phase(&reply), reply.requeue.as_deref()), (None, Some("15s")));
    assert_eq!(w.executions.len(), 1);
}

#[test]
fn attaching_follows_the_named_execution_and_starts_nothing() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    let arn = w.executions[0].arn.clone();
    let attached = with(task("b", 0), |e| e.attach = Some(arn.clone()));
    assert_eq!(output(&w.ask(&attached), "execution-arn"), Some(arn));
    w.end(0, Status::Succeeded);
    w.pass(10 * SECOND);
    assert_eq!(phase(&w.ask(&attached)), Some(Phase::Succeeded));
    assert_eq!(w.executions.len(), 1);
}

#[test]
fn a_mock_answers_without_aws() {
    let mut w = World::new();
    let mut mock = task("a", 0);
    mock.action = Action::Mock(awf_aws::input::MockState::Running);
    let reply = w.ask(&mock);
    assert_eq!((phase(&reply), reply.requeue.as_deref()), (Some(Phase::Running), Some("1m0s")));
    assert!(w.calls.is_empty());
}

#[test]
fn a_forged_marker_is_followed_and_told_of_when_sagemaker_says_who_started_the_execution() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.executions[0].started_by = Some("arn:aws:sagemaker:us-west-2:100000000002:user-profile/d-1/mallory".into());
    w.restart();
    w.ask(&task("a", 0));
    w.pass(20 * SECOND);
    w.ask(&task("a", 0));
    let told = message(&w.ask(&task("a", 0)));
    assert!(told.contains("its marker is this node's, but mallory started it in Studio"), "{told}");
    w.end(0, Status::Succeeded);
    w.pass(60 * SECOND);
    assert!(message(&w.ask(&task("a", 0))).contains("mallory"), "also in the end");
    let warned =
        |n: &&Note| matches!(n, Note::Warning { text } if text.contains("user-profile/d-1/mallory started it"));
    assert_eq!(w.notes.iter().filter(warned).count(), 1);
}
