//! `on_retry: resume`: the same execution goes on, once for an attempt, and whose it is stands in AWS.

use std::time::Duration;

use awf_aws::{
    input::{OnRetry, Task},
    pipelines::{Call, CallErrorKind, Status, Step, Time},
    protocol::Phase,
    workflow::{Event, Note, Settings, WorkflowState, identity::Marker},
};

use super::world::{World, message, output, phase, task, with};

mod moments;
mod obstacles;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// An attempt of node `a` that continues what failed.
fn again(attempt: u32) -> Task {
    with(task("a", attempt), |e| e.on_retry = OnRetry::Resume)
}

/// The same, or nothing.
fn only(attempt: u32) -> Task {
    with(task("a", attempt), |e| e.on_retry = OnRetry::ResumeOnly)
}

/// Steps of an execution whose last one has just ended so.
fn steps(w: &World, status: &str) -> Vec<Step> {
    let step = |name: &str, status: &str, ended: Time| Step {
        name: name.into(),
        status: status.into(),
        started: Some(ended.minus(SECOND)),
        ended: Some(ended),
        ..Step::default()
    };
    let first = w.executions[0].created.unwrap().plus(SECOND);
    vec![step("Prepare", "Succeeded", first), step("Train", status, w.aws_now())]
}

/// The first execution fails now, at its second step.
fn fails(w: &mut World) {
    w.end(0, Status::Failed);
    w.steps = steps(w, "Failed");
}

/// Asks until the node shows this phase, for at most so long.
fn until(w: &mut World, task: &Task, expected: Phase, most: Duration) -> String {
    let end = w.now.plus(most);
    loop {
        let reply = w.ask(task);
        if phase(&reply) == Some(expected) {
            return message(&reply);
        }
        assert!(w.now < end, "{expected:?} within {most:?}: {reply:?}");
        w.pass(2 * SECOND);
    }
}

/// Attempt 0 has run for five minutes and failed, and Argo knows.
fn failed_once(first: &Task) -> World {
    let mut w = World::new();
    w.ask(first);
    w.pass(5 * MINUTE);
    fails(&mut w);
    until(&mut w, first, Phase::Failed, MINUTE);
    w
}

fn marker(w: &World) -> Marker {
    Marker::parse(w.executions[0].description.as_deref().unwrap()).unwrap()
}

fn resumes(w: &World) -> usize {
    w.resumes.values().sum()
}

fn tokens(w: &World) -> Vec<String> {
    let token = |call: &Call| match call {
        Call::RetryExecution { token, .. } => Some(token.clone()),
        _ => None,
    };
    w.calls.iter().filter_map(token).collect()
}

#[test]
fn a_further_attempt_continues_the_same_execution_and_is_told_so() {
    let mut w = failed_once(&again(0));
    let reply = w.ask(&again(1));
    assert_eq!(phase(&reply), Some(Phase::Running), "{reply:?}");
    assert_eq!(output(&reply, "execution-arn"), Some(w.executions[0].arn.clone()));
    assert_eq!((w.executions.len(), resumes(&w), w.count("StartPipelineExecution")), (1, 1, 1));
    let reply = w.ask(&again(1));
    assert!(message(&reply).contains("resumed after attempt 0"), "{}", message(&reply));
    let order: Vec<&str> =
        w.calls.iter().map(Call::operation).filter(|o| o.starts_with("Update") || o.starts_with("Retry")).collect();
    assert_eq!(order, ["UpdatePipelineExecution", "RetryPipelineExecution"], "whose it is comes first");
    let marker = marker(&w);
    assert_eq!((marker.attempt, marker.continues.unwrap().attempt), (1, 0));
    assert!(w.notes.iter().any(|n| matches!(n, Note::ExecutionResumed { .. })));
    w.end(0, Status::Succeeded);
    until(&mut w, &again(1), Phase::Succeeded, MINUTE);
    assert_eq!(phase(&w.ask(&again(0))), Some(Phase::Failed), "its own end is told every time it is asked");
}

#[test]
fn a_restart_is_what_happens_when_nobody_says_otherwise() {
    let mut w = failed_once(&task("a", 0));
    until(&mut w, &task("a", 1), Phase::Running, MINUTE);
    assert_eq!((w.executions.len(), resumes(&w)), (2, 0));
}

#[test]
fn each_attempt_has_its_own_token_and_a_repeat_the_same() {
    let mut w = failed_once(&again(0));
    w.fail("RetryPipelineExecution", &[CallErrorKind::OutcomeUnknown; 3]);
    until(&mut w, &again(1), Phase::Running, MINUTE);
    w.pass(2 * MINUTE);
    assert_eq!((resumes(&w), w.count("UpdatePipelineExecution")), (1, 1), "the marker stands there already");
    let first = tokens(&w);
    assert_eq!(first.len(), 4);
    assert!(first.iter().all(|token| *token == first[0]), "{first:?}");
    fails(&mut w);
    until(&mut w, &again(1), Phase::Failed, MINUTE);
    until(&mut w, &again(2), Phase::Running, MINUTE);
    assert_ne!(tokens(&w).last(), Some(&first[0]));
    assert_eq!((w.executions.len(), resumes(&w)), (1, 2));
}

#[test]
fn a_resume_whose_reply_is_lost_is_looked_up_and_not_repeated() {
    let mut w = failed_once(&again(0));
    w.lost_replies.push_back("RetryPipelineExecution");
    until(&mut w, &again(1), Phase::Running, MINUTE);
    w.pass(MINUTE);
    assert_eq!((tokens(&w).len(), resumes(&w), w.executions.len()), (1, 1, 1));
}

#[test]
fn a_resume_that_was_lost_and_has_run_and_failed_meanwhile_is_its_attempts_end() {
    let mut w = failed_once(&again(0));
    w.silent = vec!["RetryPipelineExecution"];
    w.send(&again(1));
    w.silent.clear();
    let (call, operation) = w.unanswered[0].clone();
    // It was carried out, and what it began has failed, when its connection breaks.
    w.silent = vec!["DescribePipelineExecution", "ListPipelineExecutions"];
    assert!(matches!(w.answer_of(0), Event::CallEnded { .. }), "{operation:?}");
    w.now = w.now.plus(20 * SECOND);
    fails(&mut w);
    w.silent.clear();
    w.unanswered.push((call, operation));
    w.refuse_unanswered(CallErrorKind::OutcomeUnknown);
    until(&mut w, &again(1), Phase::Failed, MINUTE);
    assert_eq!((tokens(&w).len(), resumes(&w), w.executions.len()), (1, 1, 1));
}

#[test]
fn argo_retry_continues_what_failed_in_the_run_before() {
    let mut w = World::with(Settings { pod_born: World::START, kubernetes: true, ..Settings::default() });
    let begins = |w: &mut World| {
        w.workflow = Some(WorkflowState::Alive { started_at: Some(w.now), deadline: None, server_time: None });
    };
    begins(&mut w);
    w.ask(&again(0));
    w.pass(MINUTE);
    fails(&mut w);
    until(&mut w, &again(0), Phase::Failed, MINUTE);
    for run in 1..4 {
        w.pass(MINUTE);
        begins(&mut w);
        w.restart();
        until(&mut w, &again(0), Phase::Running, MINUTE);
        assert_eq!((w.executions.len(), resumes(&w)), (1, run));
        w.pass(MINUTE);
        // Nor does a process that comes after in the same run resume it again.
        w.restart();
        until(&mut w, &again(0), Phase::Running, MINUTE);
        fails(&mut w);
        until(&mut w, &again(0), Phase::Failed, MINUTE);
        w.restart();
        until(&mut w, &again(0), Phase::Failed, MINUTE);
        assert_eq!((w.executions.len(), resumes(&w)), (1, run));
    }
    let mut all = tokens(&w);
    all.dedup();
    assert_eq!(all.len(), 3, "the runs are told apart");
}

#[test]
fn a_process_that_dies_after_the_marker_leaves_the_resume_to_the_next() {
    let mut w = failed_once(&again(0));
    w.silent = vec!["RetryPipelineExecution"];
    w.send(&again(1));
    assert_eq!((marker(&w).attempt, tokens(&w).len(), resumes(&w)), (1, 1, 0));
    w.silent.clear();
    w.restart();
    until(&mut w, &again(1), Phase::Running, MINUTE);
    assert_eq!((w.executions.len(), resumes(&w), w.count("UpdatePipelineExecution")), (1, 1, 1));
    let all = tokens(&w);
    assert_eq!(all[0], all[1], "another process sends the same token");
}

#[test]
fn a_process_that_dies_before_the_resume_does_not_take_the_end_before_for_its_own() {
    let mut w = failed_once(&again(0));
    w.silent = vec!["RetryPipelineExecution"];
    w.send(&again(1));
    w.silent.clear();
    // The attempt before asks the next process for its end; the attempt itself has none.
    w.restart();
    assert_eq!(phase(&w.ask(&again(0))), Some(Phase::Failed));
    assert_eq!(resumes(&w), 0);
    until(&mut w, &again(1), Phase::Running, MINUTE);
    assert_eq!(resumes(&w), 1);
}

#[test]
fn a_process_that_comes_after_the_resumed_end_tells_it_to_its_attempt_and_to_nobody_else() {
    let mut w = failed_once(&again(0));
    until(&mut w, &again(1), Phase::Running, MINUTE);
    w.pass(MINUTE);
    fails(&mut w);
    w.restart();
    until(&mut w, &again(1), Phase::Failed, MINUTE);
    assert_eq!((resumes(&w), w.executions.len()), (1, 1));
    w.restart();
    until(&mut w, &again(2), Phase::Running, MINUTE);
    assert_eq!((resumes(&w), w.executions.len(), marker(&w).attempt), (2, 1, 2));
    w.restart();
    let text = until(&mut w, &again(1), Phase::Failed, MINUTE);
    assert!(text.contains("superseded by attempt 2"), "its execution runs for another: {text}");
}

#[test]
fn two_pods_resume_once() {
    let mut w = failed_once(&again(0));
    let first = w.machine_of_another_pod();
    until(&mut w, &again(1), Phase::Running, MINUTE);
    w.machine_goes_on(first);
    until(&mut w, &again(1), Phase::Running, MINUTE);
    assert_eq!((w.executions.len(), resumes(&w)), (1, 1));
    // Both look at the end before either writes.
    w.pass(MINUTE);
    fails(&mut w);
    until(&mut w, &again(1), Phase::Failed, MINUTE);
    w.silent = vec!["UpdatePipelineExecution"];
    w.send(&again(2));
    w.pass(SECOND);
    let slow = w.machine_of_another_pod();
    w.silent.clear();
    let late = std::mem::take(&mut w.unanswered);
    until(&mut w, &again(2), Phase::Running, MINUTE);
    w.machine_goes_on(slow);
    w.unanswered = late;
    w.answer_open(0);
    until(&mut w, &again(2), Phase::Running, MINUTE);
    assert_eq!((w.executions.len(), resumes(&w)), (1, 2));
    assert_eq!(marker(&w).attempt, 2);
}

#[test]
fn a_resume_between_another_pods_look_and_its_steps_is_not_taken_for_an_end() {
    for status in [None, Some(Status::Succeeded)] {
        let mut w = failed_once(&again(0));
        w.silent = vec!["RetryPipelineExecution"];
        w.send(&again(1));
        let _first = w.machine_of_another_pod();
        w.silent = vec!["ListPipelineExecutionSteps"];
        w.send(&again(1));
        w.pass(SECOND);
        // The other pod has seen the end; now the resume arrives, and the steps are those of the resumed run.
        assert!(matches!(w.answer_of(0), Event::CallEnded { .. }));
        w.now = w.now.plus(5 * SECOND);
        match status.clone() {
            Some(status) => {
                w.end(0, status);
                w.steps = steps(&w, "Succeeded");
            }
            None => w.steps = steps(&w, "Executing"),
        }
        w.silent.clear();
        w.answer_open(0);
        let expected = if status.is_some() { Phase::Succeeded } else { Phase::Running };
        until(&mut w, &again(1), expected, MINUTE);
        assert_eq!((w.executions.len(), resumes(&w)), (1, 1));
    }
}

#[test]
fn what_was_stopped_is_resumed_too() {
    let mut w = World::new();
    w.ask(&again(0));
    w.pass(MINUTE);
    w.end(0, Status::Stopped);
    w.steps = steps(&w, "Stopped");
    until(&mut w, &again(0), Phase::Failed, MINUTE);
    until(&mut w, &again(1), Phase::Running, MINUTE);
    assert_eq!((w.executions.len(), resumes(&w)), (1, 1));
}

#[test]
fn a_resume_waits_for_capacity_in_the_start_queue() {
    let mut w = failed_once(&again(0));
    w.fail("RetryPipelineExecution", &[CallErrorKind::QuotaExceeded; 3]);
    let text = message(&w.ask(&again(1)));
    assert!(text.starts_with("waiting for SageMaker capacity (0 ahead in this workflow)"), "{text}");
    let other = w.ask(&task("b", 0));
    assert!(message(&other).contains("(1 ahead"), "{other:?}");
    assert_eq!(w.count("StartPipelineExecution"), 1, "nobody overtakes");
    until(&mut w, &again(1), Phase::Running, 2 * MINUTE);
    until(&mut w, &task("b", 0), Phase::Running, MINUTE);
    assert_eq!((w.executions.len(), resumes(&w)), (2, 1));
}

#[test]
fn a_resume_counts_for_max_running() {
    let one = |task: Task| with(task, |e| e.max_running = Some(1));
    let mut w = failed_once(&one(again(0)));
    until(&mut w, &one(again(1)), Phase::Running, MINUTE);
    let reply = w.ask(&one(task("b", 0)));
    assert!(message(&reply).contains("max_running is 1"), "{reply:?}");
    w.pass(5 * MINUTE);
    assert_eq!(w.executions.len(), 1);
}

#[test]
fn a_time_out_counts_from_the_resume() {
    let timed = |attempt| with(again(attempt), |e| e.timeout = Some(10 * MINUTE));
    let mut w = failed_once(&timed(0));
    w.pass(30 * MINUTE);
    until(&mut w, &timed(1), Phase::Running, MINUTE);
    for _ in 0..2 {
        w.pass(4 * MINUTE);
        assert_eq!(w.executions[0].status, Status::Executing);
        // A later process reads in the marker when the attempt began.
        w.restart();
        w.ask(&timed(1));
    }
    w.pass(3 * MINUTE);
    assert_eq!(w.executions[0].status, Status::Stopping);
    w.end(0, Status::Stopped);
    w.steps = steps(&w, "Stopped");
    let text = until(&mut w, &timed(1), Phase::Failed, MINUTE);
    assert!(text.contains("ran into its timeout of 600s"), "{text}");
}

#[test]
fn draining_resumes_nothing_and_awaits_what_has_left() {
    let mut w = failed_once(&again(0));
    w.silent = vec!["UpdatePipelineExecution"];
    w.send(&again(1));
    w.handle(Event::Drain);
    assert!(!w.machine.drained(), "the marker is on its way");
    w.silent.clear();
    w.answer_open(0);
    assert!(w.machine.drained());
    assert_eq!(tokens(&w).len(), 0);
    // One that only looks has nothing to await.
    let mut w = failed_once(&again(0));
    w.silent = vec!["DescribePipelineExecution"];
    w.send(&again(1));
    w.handle(Event::Drain);
    assert!(w.machine.drained());
}

#[test]
fn a_workflow_that_is_over_resumes_nothing_and_stops_what_was_just_resumed() {
    let over = Event::WorkflowObserved(WorkflowState::Over);
    let mut w = failed_once(&again(0));
    w.silent = vec!["UpdatePipelineExecution"];
    w.send(&again(1));
    w.handle(over.clone());
    w.silent.clear();
    w.answer_open(0);
    until(&mut w, &again(1), Phase::Failed, 2 * MINUTE);
    assert_eq!(tokens(&w).len(), 0);
    let mut w = failed_once(&again(0));
    w.silent = vec!["RetryPipelineExecution"];
    w.send(&again(1));
    w.handle(over);
    w.silent.clear();
    w.answer_open(0);
    assert_eq!(w.executions[0].status, Status::Stopping, "it landed after the end");
}

#[test]
fn a_lost_resume_at_the_end_of_the_workflow_is_stopped_when_it_shows() {
    let mut w = failed_once(&again(0));
    w.silent = vec!["RetryPipelineExecution"];
    w.send(&again(1));
    w.handle(Event::WorkflowObserved(WorkflowState::Over));
    let late = w.unanswered.remove(0);
    w.unanswered.push(late.clone());
    w.refuse_unanswered(CallErrorKind::OutcomeUnknown);
    w.silent.clear();
    w.pass(8 * SECOND);
    assert_eq!(phase(&w.ask(&again(1))).filter(|phase| phase.is_terminal()), None, "it may yet land");
    w.unanswered.push(late);
    assert!(matches!(w.answer_of(0), Event::CallEnded { .. }));
    until(&mut w, &again(1), Phase::Failed, MINUTE);
    assert_eq!(w.executions[0].status, Status::Stopping);
}

#[test]
fn a_stale_list_does_not_undo_a_resume() {
    let mut w = failed_once(&again(0));
    let before = w.executions[0].clone();
    w.stale = Some((0, before));
    w.ask(&again(1));
    w.ask(&again(1));
    // Many others run, so that it is looked at in lists.
    for other in 0..30 {
        w.ask(&task(&format!("o{other}"), 0));
    }
    w.pass(50 * SECOND);
    assert!(!w.notes.iter().any(|n| matches!(n, Note::ExecutionFinished { .. }) && resumes(&w) > 1));
    assert_eq!(phase(&w.ask(&again(1))).filter(|phase| phase.is_terminal()), None);
    assert_eq!((tokens(&w).len(), resumes(&w)), (1, 1));
}

#[test]
fn what_somebody_resumed_in_the_console_is_followed() {
    let mut w = failed_once(&again(0));
    w.executions[0].status = Status::Executing;
    w.executions[0].modified = Some(w.aws_now());
    until(&mut w, &again(1), Phase::Running, MINUTE);
    assert_eq!((w.count("UpdatePipelineExecution"), tokens(&w).len(), w.executions.len()), (0, 0, 1));
}
