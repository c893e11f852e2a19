//! A denied start is its node's own matter until nobody's start is taken any more.

use std::time::Duration;

use awf_aws::{
    pipelines::{Call, CallErrorKind},
    protocol::Phase,
};

use super::world::{World, message, phase, task, with};

const SECOND: Duration = Duration::from_secs(1);
const START: &str = "StartPipelineExecution";

fn nodes(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("n{n:03}")).collect()
}

/// Sends all nodes' first requests and lets time pass, each asking twice a minute.
fn run(w: &mut World, nodes: &[String], time: Duration) {
    let end = w.now.plus(time);
    while w.now < end {
        for node in nodes {
            w.send(&task(node, 0));
        }
        w.pass(10 * SECOND);
    }
}

#[test]
fn one_denied_start_among_two_hundred_costs_the_others_nothing() {
    for kind in [CallErrorKind::Denied, CallErrorKind::Credentials] {
        let mut w = World::new();
        w.fail(START, &[kind]);
        run(&mut w, &nodes(200), 120 * SECOND);
        assert_eq!(w.executions.len(), 200, "{kind:?}: two a second after the first wave, as without a denial");
    }
}

#[test]
fn two_denials_far_apart_end_no_node() {
    let mut w = World::new();
    w.fail(START, &[CallErrorKind::Denied]);
    let nodes = nodes(400);
    run(&mut w, &nodes, 150 * SECOND);
    w.fail(START, &[CallErrorKind::Denied]);
    run(&mut w, &nodes, 120 * SECOND);
    assert_eq!(w.executions.len(), 400);
    for node in &nodes {
        assert_ne!(phase(&w.ask(&task(node, 0))), Some(Phase::Error), "{node}");
    }
}

#[test]
fn where_only_the_first_in_line_is_denied_the_others_pass_it_and_it_alone_ends() {
    let mut w = World::new();
    let version = |start: &awf_aws::pipelines::StartExecution| start.version == Some(7);
    w.deny_starts = Some(Box::new(version));
    let denied = with(task("first", 0), |e| e.version = Some(7));
    w.send(&denied);
    for node in nodes(9) {
        w.send(&task(&node, 0));
    }
    w.pass(20 * SECOND);
    assert_eq!(w.executions.len(), 9, "nine are permitted");
    w.ask(&denied);
    let reply = w.ask(&denied);
    assert_eq!(phase(&reply), Some(Phase::Pending), "{reply:?}");
    assert!(message(&reply).contains("access_denied"), "{}", message(&reply));
    w.pass(120 * SECOND);
    assert_eq!(phase(&w.ask(&denied)), Some(Phase::Error));
    let tries = w.calls.iter().filter(|c| matches!(c, Call::StartExecution(s) if s.version == Some(7))).count();
    assert!((8..=16).contains(&tries), "every ten seconds and once more at the end: {tries}");
}

#[test]
fn a_denial_that_lasts_ends_every_node_once_its_own_start_was_denied_throughout_the_grace() {
    let mut w = World::new();
    w.deny_starts = Some(Box::new(|_| true));
    let nodes = nodes(50);
    for node in &nodes {
        w.send(&task(node, 0));
    }
    w.pass(119 * SECOND);
    assert!(nodes.iter().all(|node| phase(&w.ask(&task(node, 0))) != Some(Phase::Error)), "not before the grace");
    w.pass(120 * SECOND);
    for node in &nodes {
        let reply = w.ask(&task(node, 0));
        assert_eq!(phase(&reply), Some(Phase::Error), "{node}: {}", message(&reply));
        let own = w.starts_of(&task(node, 0));
        assert!(own >= 2, "{node} ended after {own} starts of its own");
    }
    assert!(w.count(START) < 2 * 240, "never faster than ordinary starts: {}", w.count(START));
}

#[test]
fn a_policy_that_was_mended_lets_everybody_start_at_once() {
    let mut w = World::new();
    w.deny_starts = Some(Box::new(|_| true));
    let nodes = nodes(30);
    run(&mut w, &nodes, 100 * SECOND);
    assert_eq!(w.executions.len(), 0);
    w.deny_starts = None;
    run(&mut w, &nodes, 30 * SECOND);
    assert_eq!(w.executions.len(), 30);
}

#[test]
fn two_denials_of_one_node_with_an_hour_of_waiting_between_them_are_two_blips() {
    let mut w = World::new();
    let node = |key: &str| with(task(key, 0), |e| e.max_running = Some(1));
    let key = super::key_of(&node("a")).hex(64);
    w.deny_starts = Some(Box::new(move |start| start.description.contains(&key)));
    w.send(&node("a"));
    w.send(&node("b"));
    w.pass(60 * SECOND);
    w.deny_starts = None;
    w.pass(60 * 60 * SECOND);
    assert_eq!(w.executions.len(), 1, "one of them runs");
    w.ask(&node("a"));
    let waits = message(&w.ask(&node("a")));
    assert!(waits.contains("max_running is 1"), "not the denial of an hour ago: {waits}");
    w.fail(START, &[CallErrorKind::Denied]);
    w.end(0, awf_aws::pipelines::Status::Succeeded);
    w.pass(60 * SECOND);
    w.ask(&node("a"));
    assert_eq!(phase(&w.ask(&node("a"))), Some(Phase::Running));
}
