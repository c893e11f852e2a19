//! What failed is asked for again in its time, and a process that stood still counts from when it looked.

use std::time::Duration;

use awf_aws::{
    pipelines::{CallErrorKind, Status},
    protocol::Phase,
};

use super::{
    stop,
    world::{World, message, phase, task, with},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DESCRIBE: &str = "DescribePipelineExecution";

#[test]
fn an_end_that_a_list_shows_and_a_describe_is_denied_is_described_in_its_time_and_not_at_once_again() {
    let mut w = World::new();
    w.lists_say_when = false;
    for node in ["a", "b", "c", "d"] {
        w.ask(&task(node, 0));
    }
    w.pass(MINUTE);
    w.end(0, Status::Failed);
    w.fail(DESCRIBE, &[CallErrorKind::Denied; 1000]);
    let before = w.count(DESCRIBE);
    w.pass(MINUTE);
    let looks = w.count(DESCRIBE) - before;
    assert!((1..30).contains(&looks), "{looks} describes in a minute");
    w.failures.clear();
    w.pass(MINUTE);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Failed));
}

#[test]
fn one_denied_answer_that_a_process_reads_after_it_stood_still_ends_no_node() {
    let mut w = World::new();
    w.silent.push("GetCallerIdentity");
    w.send(&task("a", 0));
    w.fail("GetCallerIdentity", &[CallErrorKind::Credentials; 2]);
    w.answer_open(0);
    w.pass(2 * SECOND);
    let answered = w.answer_of(0);
    // SIGSTOP, and thirteen minutes later SIGCONT: only then the answer is read.
    w.now = w.now.plus(13 * MINUTE);
    w.handle(answered);
    w.silent.clear();
    w.pass(MINUTE);
    assert_eq!(phase(&w.ask(&task("a", 0))), Some(Phase::Running), "{}", message(&w.ask(&task("a", 0))));
    assert_eq!(w.executions.len(), 1);
}

#[test]
fn a_search_for_what_may_have_started_ends_with_a_look_also_in_a_process_that_stood_still() {
    let mut w = World::new();
    w.lost_replies.push_back("StartPipelineExecution");
    w.fail("StartPipelineExecution", &[]);
    w.send(&task("a", 0));
    w.fail("StartPipelineExecution", &[CallErrorKind::TokenMismatch]);
    // What it has started is in no list yet.
    let unlisted = w.executions.pop().unwrap();
    w.pass(5 * SECOND);
    w.now = w.now.plus(15 * MINUTE);
    w.executions.push(unlisted);
    w.pass(MINUTE);
    let reply = w.ask(&task("a", 0));
    assert_eq!(phase(&reply), Some(Phase::Running), "{}", message(&reply));
    assert_eq!(w.executions.len(), 1);
}

#[test]
fn an_execution_of_two_attempts_ago_that_was_revived_in_the_console_is_followed_and_not_started_beside() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.end(0, Status::Stopped);
    w.pass(10 * MINUTE);
    w.ask(&task("a", 0));
    w.ask(&task("a", 1));
    w.pass(20 * MINUTE);
    // Somebody retries the first while the second runs. Another node's start has the new ones listed, and only them.
    w.executions[0].status = Status::Executing;
    w.ask(&task("b", 0));
    w.pass(MINUTE);
    w.end(1, Status::Failed);
    w.pass(MINUTE);
    w.ask(&task("a", 1));
    w.ask(&task("a", 2));
    w.pass(MINUTE);
    assert_eq!(
        w.executions.len(),
        3,
        "a, its retry and b: {:?}",
        w.executions.iter().map(|e| &e.status).collect::<Vec<_>>()
    );
}

#[test]
fn a_waiting_node_that_another_pod_has_started_does_not_end_as_not_started() {
    let waits = with(task("a", 0), |e| {
        e.max_running = Some(1);
        e.timeout = Some(10 * MINUTE);
    });
    let mut w = World::new();
    w.ask(&with(task("b", 0), |e| e.max_running = Some(1)));
    w.ask(&waits);
    w.pass(8 * MINUTE);
    let here = w.machine_of_another_pod();
    w.end(0, Status::Succeeded);
    w.ask(&waits);
    assert_eq!(w.executions.len(), 2, "the other pod starts it");
    w.machine_goes_on(here);
    w.silent.push(DESCRIBE);
    w.pass(3 * MINUTE);
    let said = message(&w.ask(&waits));
    assert!(!said.contains("before it could start"), "{said}");
}

#[test]
fn a_stop_of_a_key_says_nothing_to_stop_only_when_an_earlier_process_can_have_started_nothing() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    let unlisted = w.executions.pop().unwrap();
    w.restart();
    assert_eq!(phase(&w.ask(&stop(Some("a"), None))), Some(Phase::Running));
    w.executions.push(unlisted);
    w.pass(70 * SECOND);
    assert_eq!(w.executions[0].status, Status::Stopping);
    w.end(0, Status::Stopped);
    w.pass(20 * SECOND);
    assert_eq!(message(&w.ask(&stop(Some("a"), None))), "the execution has ended");
}
