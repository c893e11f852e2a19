//! What keeps an execution from being resumed: another starts, or the node fails where it may only resume.

use awf_aws::{
    input::{OnRetry, Task},
    pipelines::{Call, CallErrorKind, Status},
    protocol::Phase,
};

use super::{
    super::{
        stops::stop,
        world::{World, message, task, with},
    },
    MINUTE, SECOND, again, failed_once, fails, only, resumes, steps, until,
};

#[test]
fn what_is_started_anew_never_finds_the_token_of_what_was_resumed() {
    let mut w = failed_once(&again(0));
    // Attempt 1 starts anew, its execution goes on as attempt 2, and in the next run attempt 1 starts anew again.
    let other = |attempt: u32, work: &str| with(again(attempt), |e| e.work_digest = work.repeat(12));
    until(&mut w, &other(1, "1"), Phase::Running, MINUTE);
    w.end(1, Status::Failed);
    w.steps = steps(&w, "Failed");
    until(&mut w, &other(1, "1"), Phase::Failed, MINUTE);
    until(&mut w, &other(2, "1"), Phase::Running, MINUTE);
    assert_eq!((w.executions.len(), resumes(&w)), (2, 1));
    w.end(1, Status::Failed);
    w.steps = steps(&w, "Failed");
    until(&mut w, &other(2, "1"), Phase::Failed, MINUTE);
    w.pass(20 * MINUTE);
    for (attempt, executions) in [(0, 3), (1, 4), (2, 5)] {
        w.restart();
        let node = other(attempt, &attempt.to_string().replace('1', "3"));
        until(&mut w, &node, Phase::Running, MINUTE);
        assert_eq!(w.executions.len(), executions, "attempt {attempt}");
        w.end(executions - 1, Status::Failed);
        w.steps = steps(&w, "Failed");
        until(&mut w, &node, Phase::Failed, MINUTE);
    }
}

#[test]
fn where_lists_are_denied_a_later_process_finds_what_was_resumed_by_its_token() {
    let denied = |w: &mut World| w.fail("ListPipelineExecutions", &[CallErrorKind::Denied; 500]);
    let mut w = World::new();
    denied(&mut w);
    w.ask(&again(0));
    w.pass(5 * MINUTE);
    fails(&mut w);
    until(&mut w, &again(0), Phase::Failed, MINUTE);
    until(&mut w, &again(1), Phase::Running, MINUTE);
    w.restart();
    until(&mut w, &again(1), Phase::Running, MINUTE);
    assert_eq!((w.executions.len(), resumes(&w)), (1, 1));
}

#[test]
fn what_a_stop_task_named_by_its_arn_before_it_was_found_is_resumed() {
    let mut w = failed_once(&again(0));
    w.restart();
    let arn = w.executions[0].arn.clone();
    until(&mut w, &stop(None, Some(arn)), Phase::Succeeded, MINUTE);
    until(&mut w, &again(1), Phase::Running, MINUTE);
    assert_eq!((w.executions.len(), resumes(&w)), (1, 1), "its marker says what it was started with");
}

/// What keeps an execution from being resumed, and what the node is told of it.
type Obstacle = (&'static str, fn(&mut World), fn(Task) -> Task, &'static str);

const OBSTACLES: [Obstacle; 7] = [
    (
        "it completed with failures",
        |w| w.end(0, Status::CompletedWithFailures),
        |task| task,
        "SageMaker resumes what Failed or was Stopped, and it is CompletedWithFailures",
    ),
    (
        "other parameters",
        |_| (),
        |task| with(task, |e| e.work_digest = "ffffffffffff".into()),
        "parameters, version or steps have changed since it was started",
    ),
    ("another definition", |w| w.pipeline_changed = w.now, |task| task, "the pipeline was changed at 2026-"),
    (
        "steps that nobody may list",
        |w| w.fail("ListPipelineExecutionSteps", &[CallErrorKind::Denied; 50]),
        |task| task,
        "allow sagemaker:ListPipelineExecutionSteps",
    ),
    (
        "a marker that SageMaker does not take",
        |w| w.fail("UpdatePipelineExecution", &[CallErrorKind::Invalid; 5]),
        |task| task,
        "AWS said validation",
    ),
    (
        "a resume that SageMaker does not take",
        |w| w.fail("RetryPipelineExecution", &[CallErrorKind::Invalid; 5]),
        |task| task,
        "AWS said validation",
    ),
    (
        "a permission",
        |w| w.fail("RetryPipelineExecution", &[CallErrorKind::Denied; 100]),
        |task| task,
        "allow sagemaker:RetryPipelineExecution and sagemaker:UpdatePipelineExecution",
    ),
];

#[test]
fn what_cannot_be_resumed_is_started_anew_and_says_why() {
    for (what, obstacle, change, why) in OBSTACLES {
        let mut w = failed_once(&again(0));
        obstacle(&mut w);
        let further = change(again(1));
        let text = until(&mut w, &further, Phase::Running, 4 * MINUTE);
        assert_eq!((w.executions.len(), resumes(&w)), (2, 0), "{what}");
        assert!(text.contains("started anew") && text.contains(why), "{what}: {text}");
        w.end(1, Status::Succeeded);
        let text = until(&mut w, &further, Phase::Succeeded, MINUTE);
        assert!(text.contains("started anew"), "{what}: in the end, too: {text}");
    }
}

#[test]
fn resume_only_fails_where_it_cannot_resume_and_starts_nothing() {
    for (what, obstacle, change, why) in OBSTACLES {
        let mut w = failed_once(&only(0));
        obstacle(&mut w);
        let text = until(&mut w, &change(only(1)), Phase::Failed, 4 * MINUTE);
        assert_eq!((w.executions.len(), resumes(&w)), (1, 0), "{what}");
        assert!(text.contains("on_retry is resume-only") && text.contains(why), "{what}: {text}");
        assert_eq!(text.matches("cannot be resumed").count(), 1, "{what}: said once: {text}");
    }
}

#[test]
fn a_name_or_a_parallelism_that_changes_is_no_obstacle() {
    let mut w = failed_once(&again(0));
    let changed = with(again(1), |e| {
        e.args_digest = "ffffffffffff".into();
        e.description = Some("second try".into());
        e.max_parallel_steps = Some(3);
    });
    until(&mut w, &changed, Phase::Running, MINUTE);
    assert_eq!((w.executions.len(), resumes(&w)), (1, 1));
    assert!(w.executions[0].description.as_deref().unwrap().starts_with("second try | awf-aws/1 "));
    let parallelism = |call: &Call| matches!(call, Call::RetryExecution { parallelism: Some(3), .. });
    assert!(w.calls.iter().any(parallelism));
    assert!(!message(&w.ask(&changed)).contains("warning"));
}

#[test]
fn a_pinned_version_does_not_change_with_its_pipeline() {
    let pinned = |attempt| with(again(attempt), |e| e.version = Some(3));
    let mut w = failed_once(&pinned(0));
    w.pipeline_changed = w.now;
    until(&mut w, &pinned(1), Phase::Running, MINUTE);
    assert_eq!((w.executions.len(), resumes(&w)), (1, 1));
}

#[test]
fn a_denial_is_shown_at_once_and_may_be_mended_within_the_grace() {
    let mut w = failed_once(&again(0));
    w.fail("RetryPipelineExecution", &[CallErrorKind::Denied; 4]);
    let text = message(&w.ask(&again(1)));
    assert!(text.contains("allow sagemaker:RetryPipelineExecution and sagemaker:UpdatePipelineExecution"), "{text}");
    until(&mut w, &again(1), Phase::Running, 2 * MINUTE);
    assert_eq!((w.executions.len(), resumes(&w)), (1, 1));
}

#[test]
fn a_step_that_has_not_ended_is_waited_for() {
    let mut w = failed_once(&again(0));
    w.steps[1].status = "Stopping".into();
    w.steps[1].ended = None;
    w.ask(&again(1));
    w.pass(20 * SECOND);
    assert_eq!((w.count("UpdatePipelineExecution"), w.executions.len()), (0, 1));
    w.steps[1].status = "Stopped".into();
    w.steps[1].ended = Some(w.aws_now());
    until(&mut w, &again(1), Phase::Running, MINUTE);
    assert_eq!((w.executions.len(), resumes(&w)), (1, 1));
    assert!(w.count("ListPipelineExecutionSteps") < 20, "with a pause between the looks");
}

#[test]
fn steps_that_fail_to_be_listed_for_a_while_are_listed_in_the_end() {
    let mut w = failed_once(&again(0));
    w.fail("ListPipelineExecutionSteps", &[CallErrorKind::Throttled; 12]);
    until(&mut w, &again(1), Phase::Running, 3 * MINUTE);
    assert_eq!((w.executions.len(), resumes(&w)), (1, 1));
}

#[test]
fn a_conflict_that_every_look_contradicts_is_believed_in_the_end() {
    let mut w = failed_once(&again(0));
    w.fail("RetryPipelineExecution", &[CallErrorKind::Conflict; 200]);
    until(&mut w, &again(1), Phase::Running, MINUTE);
    assert_eq!(w.executions.len(), 1, "not known is not never started");
    w.pass(8 * MINUTE);
    until(&mut w, &again(1), Phase::Running, MINUTE);
    assert_eq!((w.executions.len(), resumes(&w)), (2, 0));
}

#[test]
fn two_conflicts_with_a_long_wait_for_capacity_between_them_are_two_blips() {
    let mut w = failed_once(&again(0));
    w.fail("RetryPipelineExecution", &[CallErrorKind::Conflict]);
    w.fail("RetryPipelineExecution", &[CallErrorKind::QuotaExceeded; 60]);
    w.fail("RetryPipelineExecution", &[CallErrorKind::Conflict]);
    w.ask(&again(1));
    w.pass(20 * MINUTE);
    assert_eq!((w.executions.len(), resumes(&w), w.count("RetryPipelineExecution")), (1, 1, 63));
}

#[test]
fn two_steps_that_are_open_for_a_while_are_not_one_that_does_not_end() {
    let mut w = failed_once(&again(0));
    w.fail("RetryPipelineExecution", &[CallErrorKind::QuotaExceeded; 40]);
    let ended = w.steps[1].clone();
    // Long enough for the second to be met when its turn comes, which looks once a minute.
    for open in [20 * SECOND, 90 * SECOND] {
        (w.steps[1].status, w.steps[1].ended) = ("Stopping".into(), None);
        w.ask(&again(1));
        w.pass(open);
        w.steps[1] = ended.clone();
        w.pass(3 * MINUTE);
    }
    w.pass(10 * MINUTE);
    assert_eq!((w.executions.len(), resumes(&w)), (1, 1));
}

#[test]
fn why_the_node_failed_does_not_give_way_to_why_it_was_started_anew() {
    let mut w = failed_once(&again(0));
    let other = with(again(1), |e| e.work_digest = "ffffffffffff".into());
    until(&mut w, &other, Phase::Running, MINUTE);
    w.end(1, Status::Failed);
    w.steps = steps(&w, "Failed");
    let reason = format!("AlgorithmError: {} ExitCode 1", "no such column in the table; ".repeat(4).trim());
    w.steps[1].failure_reason = Some(reason.clone());
    let text = until(&mut w, &other, Phase::Failed, MINUTE);
    assert!(text.contains(&reason), "{text}");
    assert!(text.contains("warning: started anew, execution 000000000001 cannot be resumed"), "{text}");
}

#[test]
fn resumes_that_are_denied_take_turns_and_leave_others_their_starts() {
    let nodes: Vec<String> = (0..80).map(|n| format!("n{n:02}")).collect();
    let node = |name: &str, attempt| with(task(name, attempt), |e| e.on_retry = OnRetry::Resume);
    let mut w = World::new();
    for name in &nodes {
        w.send(&node(name, 0));
    }
    w.pass(2 * MINUTE);
    assert_eq!(w.executions.len(), nodes.len());
    (0..nodes.len()).for_each(|number| w.end(number, Status::Failed));
    w.steps = steps(&w, "Failed");
    for name in &nodes {
        until(&mut w, &node(name, 0), Phase::Failed, 2 * MINUTE);
    }
    w.fail("RetryPipelineExecution", &[CallErrorKind::Denied; 10_000]);
    for name in &nodes {
        w.send(&node(name, 1));
    }
    w.pass(20 * SECOND);
    let others = (0..10).map(|n| task(&format!("o{n}"), 0));
    let asked: Vec<String> = others.map(|other| message(&w.ask(&other))).collect();
    assert!(!asked.concat().contains("Retry"), "theirs are permitted: {asked:?}");
    w.pass(20 * SECOND);
    assert_eq!(w.count("StartPipelineExecution"), nodes.len() + 10, "they are started");
    let denied = w.count("RetryPipelineExecution");
    w.pass(60 * SECOND);
    let denied = w.count("RetryPipelineExecution") - denied;
    assert!((20..=130).contains(&denied), "never faster than ordinary starts: {denied}");
    w.pass(5 * MINUTE);
    assert_eq!(w.executions.len(), 2 * nodes.len() + 10, "in the end each is started anew");
}

#[test]
fn a_token_that_an_earlier_attempt_has_used_is_explained_by_its_execution() {
    for kind in [CallErrorKind::TokenMismatch, CallErrorKind::Conflict] {
        let mut w = failed_once(&again(0));
        w.restart();
        // Who may not list has nothing but the node's one token.
        w.fail("ListPipelineExecutions", &[CallErrorKind::Denied]);
        w.fail("StartPipelineExecution", &[kind]);
        w.ask(&again(1));
        for _ in 0..100 {
            w.pass(SECOND);
            w.ask(&again(1));
        }
        assert_eq!(
            (resumes(&w), w.executions.len()),
            (1, 1),
            "{kind:?}: {} lists, {:?}",
            w.count("ListPipelineExecutions"),
            w.ask(&again(1))
        );
        w.end(0, Status::Succeeded);
        until(&mut w, &again(1), Phase::Succeeded, MINUTE);
        assert_eq!(w.count("StartPipelineExecution"), 2, "{kind:?}");
    }
}
