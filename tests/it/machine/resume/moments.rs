//! What AWS still shows just after a resume, and what the next attempt makes of a resume that moved nothing.

use awf_aws::{
    pipelines::{CallErrorKind, Execution, Status, Step},
    protocol::Phase,
    workflow::{Event, Note},
};

use super::{
    super::world::{World, message, phase, task},
    MINUTE, SECOND, again, failed_once, fails, only, resumes, steps, until,
};

/// Attempt 1 resumes, and the first describe after that is not answered yet; how the execution was before its marker, and
/// before its resume.
fn resumed_and_not_yet_seen() -> (World, [Execution; 2]) {
    let mut w = failed_once(&again(0));
    let unmarked = w.executions[0].clone();
    w.silent = vec!["RetryPipelineExecution"];
    w.send(&again(1));
    let marked = w.executions[0].clone();
    assert_ne!(marked.description, unmarked.description);
    w.silent = vec!["DescribePipelineExecution"];
    w.answer_open(0);
    assert_eq!(resumes(&w), 1);
    (w, [unmarked, marked])
}

#[test]
fn the_end_before_that_a_describe_still_shows_is_nobodys_end() {
    for (before, step) in [(0, "Failed"), (1, "Failed"), (1, "Executing")] {
        let (mut w, earlier) = resumed_and_not_yet_seen();
        let lives = std::mem::replace(&mut w.executions[0], earlier[before].clone());
        if step == "Executing" {
            w.steps[1].status = step.into();
            w.steps[1].started = Some(w.aws_now());
            w.steps[1].ended = None;
        }
        w.silent.clear();
        w.answer_open(0);
        let reply = w.ask(&again(1));
        assert_eq!(phase(&reply).filter(|phase| phase.is_terminal()), None, "{before} {step}: {reply:?}");
        w.executions[0] = lives;
        w.pass(5 * SECOND);
        let reply = w.ask(&again(1));
        assert!(!message(&reply).contains("Failed"), "{before} {step}: {reply:?}");
        assert!(!w.notes.iter().skip_while(|note| !matches!(note, Note::ExecutionResumed { .. })).any(finished));
        w.pass(5 * MINUTE);
        w.end(0, Status::Succeeded);
        until(&mut w, &again(1), Phase::Succeeded, MINUTE);
        assert_eq!((w.executions.len(), resumes(&w), w.count("RetryPipelineExecution")), (1, 1, 1), "{before} {step}");
    }
}

fn finished(note: &Note) -> bool {
    matches!(note, Note::ExecutionFinished { .. })
}

#[test]
fn the_end_before_another_pods_resume_is_nobodys_end_while_a_step_runs() {
    let mut w = failed_once(&again(0));
    let first = w.machine_of_another_pod();
    until(&mut w, &again(1), Phase::Running, MINUTE);
    w.machine_goes_on(first);
    let lives = w.executions[0].clone();
    w.executions[0].status = Status::Failed;
    (w.steps[1].status, w.steps[1].started, w.steps[1].ended) = ("Executing".into(), Some(w.aws_now()), None);
    let looks = w.count("DescribePipelineExecution");
    for _ in 0..10 {
        let reply = w.ask(&again(1));
        assert_eq!(phase(&reply).filter(|phase| phase.is_terminal()), None, "{reply:?}");
        w.pass(2 * SECOND);
    }
    assert!(w.count("DescribePipelineExecution") - looks < 10, "less and less often");
    w.executions[0] = lives;
    w.pass(MINUTE);
    w.end(0, Status::Succeeded);
    until(&mut w, &again(1), Phase::Succeeded, MINUTE);
    assert_eq!((w.executions.len(), resumes(&w), w.count("RetryPipelineExecution")), (1, 1, 1));
}

#[test]
fn an_end_just_after_a_resume_is_told_at_once_where_its_steps_have_run_on() {
    for status in [Status::Failed, Status::Stopped] {
        let (mut w, _) = resumed_and_not_yet_seen();
        w.now = w.now.plus(2 * SECOND);
        w.end(0, status.clone());
        w.steps = steps(&w, status.as_str());
        w.silent.clear();
        w.answer_open(0);
        until(&mut w, &again(1), Phase::Failed, 3 * SECOND);
        assert_eq!(resumes(&w), 1);
    }
}

#[test]
fn where_nothing_has_run_since_the_resume_the_end_is_told_after_a_minute() {
    let (mut w, _) = resumed_and_not_yet_seen();
    w.end(0, Status::Stopped);
    w.silent.clear();
    w.answer_open(0);
    let looks = w.count("DescribePipelineExecution");
    w.pass(50 * SECOND);
    assert_eq!(phase(&w.ask(&again(1))).filter(|phase| phase.is_terminal()), None);
    until(&mut w, &again(1), Phase::Failed, 15 * SECOND);
    assert!(w.count("DescribePipelineExecution") - looks < 10, "less and less often");
}

#[test]
fn a_resume_that_moved_no_step_does_not_make_the_next_one_look_done() {
    let mut w = failed_once(&again(0));
    until(&mut w, &again(1), Phase::Running, MINUTE);
    w.end(0, Status::Stopped);
    until(&mut w, &again(1), Phase::Failed, 2 * MINUTE);
    // Its marker is written, and the resume itself has to wait.
    w.fail("RetryPipelineExecution", &[CallErrorKind::Throttled; 2]);
    until(&mut w, &again(2), Phase::Running, MINUTE);
    assert_eq!((w.executions.len(), resumes(&w)), (1, 2));
}

#[test]
fn a_marker_of_another_pod_that_nobody_has_resumed_yet_leaves_the_resume_to_its_attempt() {
    let mut w = failed_once(&again(0));
    until(&mut w, &again(1), Phase::Running, MINUTE);
    w.end(0, Status::Stopped);
    until(&mut w, &again(1), Phase::Failed, 2 * MINUTE);
    let first = w.machine_of_another_pod();
    w.silent = vec!["RetryPipelineExecution"];
    w.send(&again(2));
    w.pass(5 * SECOND);
    assert_eq!((w.count("UpdatePipelineExecution"), resumes(&w)), (2, 1));
    // That pod dies before its resume leaves.
    w.unanswered.clear();
    w.silent.clear();
    w.machine_goes_on(first);
    until(&mut w, &again(2), Phase::Running, MINUTE);
    assert_eq!((w.executions.len(), resumes(&w), w.count("UpdatePipelineExecution")), (1, 2, 2));
}

#[test]
fn a_resume_that_is_refused_because_it_was_done_is_followed_and_nothing_else_is_said() {
    for task in [again, only] {
        let mut w = failed_once(&task(0));
        w.silent = vec!["RetryPipelineExecution"];
        w.send(&task(1));
        w.silent.clear();
        // The SDK's first try timed out, and its second one meets what the first has begun.
        let sent = w.unanswered[0].clone();
        assert!(matches!(w.answer_of(0), Event::CallEnded { .. }));
        w.unanswered.push(sent);
        w.refuse_unanswered(CallErrorKind::Invalid);
        for _ in 0..10 {
            let reply = w.ask(&task(1));
            let message = reply.node.map(|node| node.message).unwrap_or_default();
            assert!(!message.contains("cannot be resumed"), "{message}");
            w.pass(3 * SECOND);
        }
        w.end(0, Status::Succeeded);
        let text = until(&mut w, &task(1), Phase::Succeeded, MINUTE);
        assert!(!text.contains("warning"), "{text}");
        assert_eq!((w.executions.len(), resumes(&w)), (1, 1));
    }
}

#[test]
fn an_attempt_before_the_resumed_one_is_told_that_its_end_may_be_an_earlier_runs() {
    let hint = "if this is argo retry, repeat it 15 minutes after that end";
    let mut w = failed_once(&again(0));
    until(&mut w, &again(1), Phase::Running, MINUTE);
    w.pass(MINUTE);
    w.restart();
    let text = until(&mut w, &again(0), Phase::Failed, MINUTE);
    assert!(text.contains("superseded by attempt 1") && !text.contains(hint), "it runs: {text}");
    until(&mut w, &again(1), Phase::Running, MINUTE);
    fails(&mut w);
    until(&mut w, &again(1), Phase::Failed, MINUTE);
    w.pass(5 * MINUTE);
    w.restart();
    let text = until(&mut w, &again(0), Phase::Failed, MINUTE);
    assert!(text.contains("superseded by attempt 1") && text.contains(hint), "{text}");
}

#[test]
fn a_stale_list_does_not_undo_what_somebody_has_resumed_in_the_console() {
    let mut w = failed_once(&again(0));
    let before = w.executions[0].clone();
    w.executions[0].status = Status::Executing;
    w.executions[0].modified = Some(w.aws_now());
    until(&mut w, &again(1), Phase::Running, MINUTE);
    let finished = |w: &World| w.notes.iter().filter(|n| matches!(n, Note::ExecutionFinished { .. })).count();
    assert_eq!(finished(&w), 1);
    w.stale = Some((0, before));
    // Many others run, so that it is looked at in lists.
    for other in 0..30 {
        w.ask(&task(&format!("o{other}"), 0));
    }
    w.pass(40 * SECOND);
    assert_eq!(finished(&w), 1, "a describe has shown it live, and lists lag");
    assert_eq!(phase(&w.ask(&again(1))).filter(|phase| phase.is_terminal()), None);
}

#[test]
fn an_end_whose_steps_were_listed_after_somebody_had_resumed_it_is_not_told() {
    let (mut w, node) = (World::new(), task("a", 0));
    w.ask(&node);
    w.pass(5 * MINUTE);
    fails(&mut w);
    w.silent = vec!["ListPipelineExecutionSteps"];
    w.pass(40 * SECOND);
    assert_eq!(w.unanswered.len(), 1, "its end was described, and its steps are being listed");
    let now = w.aws_now();
    w.executions[0].status = Status::Executing;
    w.executions[0].modified = Some(now);
    w.steps[1] = Step { status: "Executing".into(), started: Some(now), ended: None, ..w.steps[1].clone() };
    w.pass(SECOND);
    w.silent.clear();
    w.answer_open(0);
    assert_eq!(phase(&w.ask(&node)).filter(|phase| phase.is_terminal()), None, "one of them runs since");
    w.pass(10 * SECOND);
    w.end(0, Status::Succeeded);
    w.steps = steps(&w, "Succeeded");
    until(&mut w, &node, Phase::Succeeded, 2 * MINUTE);
}
