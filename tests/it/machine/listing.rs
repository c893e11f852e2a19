//! Lists that lag, fail, are denied for a while, or bring what nobody waited for any more.

use std::time::Duration;

use awf_aws::{
    input::Task,
    pipelines::{Call, CallErrorKind, Execution, PipelineSummary, Status},
    protocol::Phase,
    workflow::{Event, Note, Settings, WorkflowState},
};

use super::{
    stops::stop,
    world::{World, message, output, phase, task, with},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const LIST: &str = "ListPipelineExecutions";
const ALIVE: WorkflowState = WorkflowState::Alive { started_at: Some(World::START), deadline: None, server_time: None };

/// An execution that an earlier process has started a moment ago, and that no list shows yet.
fn started_unlisted() -> (World, Execution) {
    let mut w = World::with(Settings { kubernetes: true, pod_born: World::START, ..Settings::default() });
    w.workflow = Some(ALIVE);
    w.ask(&task("a", 0));
    w.restart();
    let unlisted = w.executions.remove(0);
    (w, unlisted)
}

#[test]
fn a_start_that_is_listed_late_is_stopped_although_its_workflow_was_over_before() {
    let (mut w, unlisted) = started_unlisted();
    w.workflow = Some(WorkflowState::Over);
    assert!(w.ask(&task("a", 0)).requeue.is_some());
    w.pass(30 * SECOND);
    w.executions.push(unlisted);
    w.pass(40 * SECOND);
    assert_eq!(w.executions[0].status, Status::Stopping);
    let reply = w.ask(&task("a", 0));
    assert_eq!(phase(&reply), Some(Phase::Failed));
    assert!(output(&reply, "execution-arn").is_some(), "{}", message(&reply));
}

#[test]
fn a_start_that_is_listed_late_is_stopped_by_the_stop_task_before_it() {
    for key in [None, Some("a")] {
        let (mut w, unlisted) = started_unlisted();
        let said = phase(&w.ask(&stop(key, None)));
        // What is named by its key is waited for; everything may be nothing.
        assert_eq!(said, Some(if key.is_some() { Phase::Running } else { Phase::Succeeded }));
        w.executions.push(unlisted);
        w.pass(70 * SECOND);
        assert_eq!(w.executions[0].status, Status::Stopping);
        w.end(0, Status::Stopped);
        w.pass(20 * SECOND);
        let said = w.ask(&stop(key, None));
        assert_eq!(phase(&said), Some(Phase::Succeeded), "{}", message(&said));
    }
}

#[test]
fn a_retry_that_another_pod_starts_after_a_stop_task_is_left_alone() {
    let mut w = World::new();
    w.ask(&stop(Some("a"), None));
    w.pass(30 * SECOND);
    let here = w.machine_of_another_pod();
    w.ask(&task("a", 1));
    w.machine_goes_on(here);
    w.pass(5 * MINUTE);
    assert_eq!(w.executions[0].status, Status::Executing);
}

#[test]
fn a_retry_follows_what_another_pod_started_just_after_the_node_had_ended_here_unstarted() {
    let mut w = World::new();
    let node = |attempt| with(task("a", attempt), |execute| execute.timeout = Some(MINUTE));
    w.fail("StartPipelineExecution", &[CallErrorKind::QuotaExceeded; 5000]);
    w.ask(&node(0));
    w.pass(MINUTE + SECOND);
    assert_eq!(phase(&w.ask(&node(0))), Some(Phase::Failed));
    w.failures.clear();
    // Its time counts from its own first request.
    let here = w.machine_of_another_pod();
    assert_eq!(phase(&w.ask(&node(0))), Some(Phase::Running));
    w.machine_goes_on(here);
    w.pass(10 * SECOND);
    w.ask(&node(1));
    w.pass(30 * SECOND);
    let reply = w.ask(&node(1));
    assert_eq!(output(&reply, "execution-arn"), Some(w.executions[0].arn.clone()), "{}", message(&reply));
    assert_eq!(w.executions.len(), 1);
}

#[test]
fn a_drain_waits_for_a_list_that_has_to_be_asked_for_again() {
    let (mut w, unlisted) = started_unlisted();
    w.executions.push(unlisted);
    w.fail(LIST, &[CallErrorKind::Throttled]);
    w.send(&task("a", 0));
    w.workflow = Some(WorkflowState::Gone);
    w.handle(Event::Drain);
    assert!(!w.machine.drained());
    w.pass(20 * SECOND);
    assert_eq!(w.executions[0].status, Status::Stopping);
    assert!(w.machine.drained());
}

#[test]
fn a_stop_of_everything_stops_what_is_known_before_it_has_looked_for_the_rest() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.fail("ListPipelines", &[CallErrorKind::Throttled; 100]);
    w.ask(&stop(None, None));
    assert_eq!(w.executions[0].status, Status::Stopping);
    w.end(0, Status::Stopped);
    w.pass(MINUTE);
    w.failures.clear();
    w.pass(MINUTE);
    assert_eq!(message(&w.ask(&stop(None, None))), "the execution has ended");
}

#[test]
fn a_strangers_pipeline_that_cannot_be_listed_does_not_hold_up_a_stop_for_ever() {
    let mut w = World::new();
    w.ask(&stop(Some("none"), None));
    w.pipelines.push(PipelineSummary { name: "Strange".into(), last_started: None });
    w.fail(LIST, &[CallErrorKind::OutcomeUnknown; 5000]);
    assert_eq!(phase(&w.ask(&stop(None, None))), Some(Phase::Running));
    w.pass(MINUTE);
    let reply = w.ask(&stop(None, None));
    assert_eq!(phase(&reply), Some(Phase::Succeeded));
    assert_eq!(message(&reply), "nothing to stop; executions of Strange could not be listed");
}

#[test]
fn an_end_is_told_while_the_pipeline_is_listed_again_for_others() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.fail("StartPipelineExecution", &[CallErrorKind::QuotaExceeded; 5000]);
    w.ask(&task("b", 0));
    w.fail(LIST, &[CallErrorKind::Throttled; 5000]);
    w.pass(6 * MINUTE);
    w.end(0, Status::Succeeded);
    w.pass(MINUTE);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Succeeded));
    assert!(w.count("StartPipelineExecution") > 2, "while another waits");
}

#[test]
fn a_node_whose_listing_is_renewed_in_vain_says_why_and_ends_while_others_start() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.pass(6 * MINUTE);
    w.fail(LIST, &[CallErrorKind::Credentials; 5000]);
    w.ask(&task("b", 0));
    let reply = w.ask(&task("b", 0));
    assert_eq!(phase(&reply), Some(Phase::Pending));
    assert!(message(&reply).contains("AWS said credentials"), "{}", message(&reply));
    w.pass(3 * MINUTE);
    assert_eq!(phase(&w.ask(&task("b", 0))), Some(Phase::Error));
    assert_eq!(w.executions.len(), 1);
}

#[test]
fn a_pipeline_that_cannot_be_listed_does_not_hold_up_another() {
    let mut w = World::new();
    let other = Task { pipeline_name: "Other".into(), ..task("c", 0) };
    w.ask(&Task { execution_key: Some("d".into()), ..other.clone() });
    w.ask(&task("a", 0));
    w.pass(4 * MINUTE);
    // The other pipeline is listed a minute later than this one.
    w.ask(&other);
    w.pass(2 * MINUTE);
    w.fail(LIST, &[CallErrorKind::OutcomeUnknown; 6]);
    w.ask(&task("b", 0));
    w.pass(40 * SECOND);
    let third = Task { execution_key: Some("e".into()), ..other };
    w.ask(&third);
    w.pass(SECOND);
    assert_eq!(phase(&w.ask(&third)), Some(Phase::Running));
}

#[test]
fn what_was_revived_while_its_next_attempt_waited_is_followed() {
    let mut w = World::new();
    w.lists_say_when = false;
    w.ask(&task("a", 0));
    w.end(0, Status::Failed);
    w.pass(MINUTE);
    w.fail("StartPipelineExecution", &[CallErrorKind::QuotaExceeded; 5000]);
    w.ask(&task("a", 1));
    w.pass(20 * MINUTE);
    w.end(0, Status::Executing);
    w.pass(6 * MINUTE);
    w.failures.clear();
    w.pass(MINUTE);
    assert_eq!(w.executions.len(), 1, "no second live execution");
    assert_eq!(output(&w.ask(&task("a", 1)), "execution-arn"), Some(w.executions[0].arn.clone()));
}

#[test]
fn a_start_that_is_searched_for_in_vain_neither_spins_nor_outlasts_its_time_out() {
    let mut w = World::new();
    w.ask(&task("b", 0));
    w.fail("StartPipelineExecution", &[CallErrorKind::OutcomeUnknown; 5000]);
    let node = with(task("a", 0), |e| e.timeout = Some(120 * MINUTE));
    w.ask(&node);
    w.fail(LIST, &[CallErrorKind::OutcomeUnknown; 5000]);
    for _ in 0..90 {
        w.pass(MINUTE);
        w.send(&node);
    }
    let before = w.ticks;
    w.pass(10 * MINUTE);
    assert!(w.ticks - before < 600, "{} ticks in ten minutes", w.ticks - before);
    w.pass(25 * MINUTE);
    assert_eq!(phase(&w.ask(&node)), Some(Phase::Failed));
}

#[test]
fn an_unstarted_node_of_a_stopped_workflow_ends_although_nothing_can_be_listed() {
    let mut w = World::with(Settings { kubernetes: true, pod_born: World::START, ..Settings::default() });
    w.workflow = Some(ALIVE);
    w.ask(&task("a", 0));
    w.fail(LIST, &[CallErrorKind::Unreachable; 5000]);
    w.workflow = Some(WorkflowState::Over);
    w.pass(2 * MINUTE);
    assert!(w.ask(&task("b", 0)).requeue.is_some());
    w.pass(11 * MINUTE);
    let reply = w.ask(&task("b", 0));
    assert_eq!(phase(&reply), Some(Phase::Failed), "{}", message(&reply));
}

#[test]
fn a_later_page_that_is_always_invalid_is_asked_for_ever_more_rarely() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.add_strangers(150);
    w.restart();
    w.silent = vec![LIST];
    w.send(&task("a", 0));
    w.calls.clear();
    for _ in 0..600 {
        if !w.unanswered.is_empty() {
            w.answer_open(0);
        }
        if !w.unanswered.is_empty() {
            w.fail(LIST, &[CallErrorKind::Invalid]);
            w.answer_open(0);
        }
        w.pass(SECOND);
    }
    assert!((40..120).contains(&w.count(LIST)), "{} pages in ten minutes", w.count(LIST));
}

/// The tokens of the pages that were asked for.
fn pages(w: &World) -> Vec<Option<String>> {
    let token = |call: &Call| match call {
        Call::ListExecutions { next_token, .. } => Some(next_token.clone()),
        _ => None,
    };
    w.calls.iter().filter_map(token).collect()
}

#[test]
fn a_page_that_was_throttled_is_asked_for_again_and_not_the_pages_before_it() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.add_strangers(250);
    w.restart();
    w.calls.clear();
    w.silent = vec![LIST];
    w.send(&task("a", 0));
    w.answer_open(0);
    w.fail(LIST, &[CallErrorKind::Throttled]);
    w.answer_open(0);
    w.silent.clear();
    w.pass(10 * SECOND);
    assert_eq!(pages(&w), [None, Some("100"), Some("100"), Some("200")].map(|t| t.map(str::to_owned)));
    assert_eq!(output(&w.ask(&task("a", 0)), "execution-arn"), Some(w.executions[0].arn.clone()));
}

#[test]
fn what_is_listed_again_is_only_what_came_since() {
    let mut w = World::new();
    w.fail("StartPipelineExecution", &[CallErrorKind::QuotaExceeded; 5000]);
    w.ask(&task("a", 0));
    w.calls.clear();
    w.pass(60 * MINUTE);
    let since = |call: &Call| match call {
        Call::ListExecutions { created_after, .. } => *created_after,
        _ => None,
    };
    let times: Vec<_> = w.calls.iter().filter_map(since).collect();
    assert!((10..15).contains(&times.len()), "{} listings in an hour", times.len());
    assert!(times.windows(2).all(|pair| pair[1] >= pair[0]), "{times:?}");
    assert!(times.last().is_some_and(|last| *last > World::START.plus(45 * MINUTE)), "{times:?}");
}

#[test]
fn lists_that_were_denied_for_a_while_are_used_again() {
    let mut w = World::new();
    let nodes: Vec<Task> = (0..30).map(|n| task(&format!("n{n}"), 0)).collect();
    w.fail(LIST, &[CallErrorKind::Denied]);
    nodes.iter().for_each(|node| drop(w.ask(node)));
    w.pass(20 * MINUTE);
    w.calls.clear();
    w.pass(5 * MINUTE);
    let (lists, describes) = (w.count(LIST), w.count("DescribePipelineExecution"));
    assert!(lists > 5 && describes == 0, "{lists} lists, {describes} describes");
}

#[test]
fn a_list_that_lags_behind_a_describe_undoes_no_end() {
    let mut w = World::new();
    for n in 0..12 {
        w.ask(&task(&format!("n{n}"), 0));
    }
    w.pass(MINUTE);
    let before = w.executions[0].clone();
    w.end(0, Status::Failed);
    let ended = w.executions[0].clone();
    w.pass(MINUTE);
    assert_eq!(phase(&w.ask(&task("n0", 0))), Some(Phase::Failed));
    let finished = |w: &World| w.notes.iter().filter(|n| matches!(n, Note::ExecutionFinished { .. })).count();
    assert_eq!(finished(&w), 1);
    // Lists still show it as it was; a describe would not.
    w.stale = Some((0, before));
    w.pass(20 * SECOND);
    assert!(w.machine.live().iter().all(|e| e.arn != ended.arn), "it is not live again");
    w.stale = None;
    w.pass(5 * MINUTE);
    assert_eq!(finished(&w), 1, "its end is noted once");
}

#[test]
fn an_answer_that_was_long_on_its_way_undoes_no_end() {
    let mut w = World::new();
    w.silent = vec!["DescribePipelineExecution"];
    for n in 0..12 {
        w.send(&task(&format!("n{n}"), 0));
    }
    w.pass(SECOND);
    assert_eq!(w.unanswered.len(), 12);
    let slow = w.answer_of(0);
    w.silent.clear();
    while !w.unanswered.is_empty() {
        w.answer_open(0);
    }
    w.end(0, Status::Succeeded);
    // The others' rounds are lists, and its end shows there.
    w.pass(MINUTE);
    let finished = |w: &World| w.notes.iter().filter(|n| matches!(n, Note::ExecutionFinished { .. })).count();
    assert_eq!(finished(&w), 1);
    w.handle(slow);
    w.pass(MINUTE);
    assert_eq!(phase(&w.ask(&task("n0", 0))), Some(Phase::Succeeded));
    assert_eq!(finished(&w), 1, "its end is noted once");
}

#[test]
fn a_retry_waits_until_it_is_known_whether_a_list_shows_its_earlier_execution_revived() {
    const START: &str = "StartPipelineExecution";
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.end(0, Status::Failed);
    w.pass(2 * MINUTE);
    w.fail(START, &[CallErrorKind::QuotaExceeded; 5000]);
    w.ask(&task("a", 1));
    // Somebody retries it in the console while the next attempt waits for capacity; a list shows that first.
    w.end(0, Status::Executing);
    w.silent = vec!["DescribePipelineExecution"];
    w.pass(6 * MINUTE);
    assert_eq!(w.unanswered.len(), 1, "it is asked after");
    w.failures.clear();
    w.pass(MINUTE);
    assert_eq!(w.executions.len(), 1, "nothing starts beside what may run");
    w.silent.clear();
    w.answer_open(0);
    w.pass(10 * SECOND);
    w.ask(&task("a", 1));
    assert_eq!(output(&w.ask(&task("a", 1)), "execution-arn"), Some(w.executions[0].arn.clone()));
    assert_eq!(w.executions.len(), 1);
}

#[test]
fn what_hinders_one_pipelines_listing_is_told_to_its_own_nodes_and_to_them_alone() {
    let of = |key: &str, pipeline: &str| {
        let mut task = task(key, 0);
        task.pipeline_name = pipeline.into();
        task
    };
    let mut w = World::new();
    w.fail(LIST, &[CallErrorKind::Unreachable; 4]);
    w.ask(&of("a", "One"));
    // Tried after 0, 1, 3 and 7 seconds; the next try is far.
    w.pass(8 * SECOND);
    assert_eq!(phase(&w.ask(&of("b", "Two"))), Some(Phase::Running), "the other pipeline is listed");
    w.pass(SECOND);
    let hindered = w.ask(&of("a", "One"));
    assert!(message(&hindered).contains("connector"), "{}", message(&hindered));
    w.silent.push(LIST);
    w.ask(&of("c", "Three"));
    w.pass(7 * SECOND);
    let waiting = w.ask(&of("c", "Three"));
    assert_eq!(message(&waiting), "looking for an earlier execution of this node");
}
