//! Many nodes at once: who is answered at once, who is told how many are ahead, and how soon ends are known again after AWS
//! has throttled.

use std::{sync::Arc, time::Duration};

use awf_aws::{
    input::Task,
    pipelines::{Call, CallErrorKind, Status, Step, Time},
    protocol::{ExecuteTemplateReply, Phase},
    rounds::{Seen, Site},
    workflow::Event,
};
use fastrand::Rng;

use super::world::{World, message, output, phase, task, with};

const SECOND: Duration = Duration::from_secs(1);
const START: &str = "StartPipelineExecution";

/// What a request is answered at once; nothing while it is kept.
fn at_once(w: &mut World, task: &Task) -> Option<ExecuteTemplateReply> {
    let request = w.send(task);
    w.replies.remove(&request)
}

fn nodes(count: usize) -> Vec<Task> {
    (0..count).map(|n| task(&format!("n{n:04}"), 0)).collect()
}

#[test]
fn who_waits_for_a_turn_is_answered_at_once_and_whoever_has_one_with_the_started_execution() {
    let (mut w, nodes) = (World::new(), nodes(100));
    let replies: Vec<ExecuteTemplateReply> = nodes.iter().filter_map(|node| at_once(&mut w, node)).collect();
    assert_eq!(replies.len(), 100, "nobody is kept");
    let started = w.executions.len();
    assert!((20..40).contains(&started), "a first wave: {started}");
    for (number, reply) in replies.iter().enumerate() {
        let expected = if number < started { Phase::Running } else { Phase::Pending };
        assert_eq!(phase(reply), Some(expected), "{number}: {}", message(reply));
    }
    let last = replies.last().map(message).unwrap_or_default();
    assert_eq!(last, format!("waiting to start ({} ahead in this workflow)", 99 - started));
}

#[test]
fn a_request_is_kept_while_an_answer_is_on_its_way_and_no_longer() {
    for silent in ["GetCallerIdentity", "ListPipelineExecutions", START, "DescribePipelineExecution"] {
        let mut w = World::new();
        w.silent.push(silent);
        assert_eq!(at_once(&mut w, &task("a", 0)), None, "{silent} is on its way");
        w.silent.clear();
        w.answer_open(0);
        assert_eq!(w.replies.len(), 1, "{silent} has come, and all that follows");
    }
}

#[test]
fn who_waits_for_a_listing_that_waits_for_the_pace_is_answered_at_once() {
    let mut w = World::new();
    w.silent.push("ListPipelineExecutions");
    assert_eq!(at_once(&mut w, &task("a", 0)), None, "it may come at once");
    let (call, _) = w.unanswered[0];
    w.handle(Event::CallWaits { call });
    assert_eq!(w.replies.len(), 1, "it will not");
    w.silent.clear();
    w.answer_open(0);
    assert_eq!(w.ask(&task("a", 0)).node.and_then(|node| node.phase), Some(Phase::Running));
}

#[test]
fn who_waits_for_the_next_try_is_answered_at_once() {
    for failing in ["GetCallerIdentity", "ListPipelineExecutions", START] {
        let mut w = World::new();
        w.fail(failing, &[CallErrorKind::Unreachable; 50]);
        assert!(at_once(&mut w, &task("a", 0)).is_some(), "{failing} failed");
        w.pass(Duration::from_millis(100));
        assert!(at_once(&mut w, &task("a", 0)).is_some(), "{failing} waits for its next try");
    }
}

#[test]
fn who_waits_for_a_limit_is_answered_at_once_however_often_it_asks() {
    let mut w = World::new();
    let nodes: Vec<Task> = nodes(3).into_iter().map(|node| with(node, |e| e.max_running = Some(1))).collect();
    for _ in 0..3 {
        let replies: Vec<_> = nodes.iter().map(|node| at_once(&mut w, node)).collect();
        assert!(replies.iter().all(Option::is_some), "{replies:?}");
        w.pass(Duration::from_secs(61));
    }
    assert_eq!(w.executions.len(), 1);
}

#[test]
fn everybody_is_told_how_many_are_ahead_whoever_leaves() {
    let mut w = World::new();
    w.fail(START, &[CallErrorKind::QuotaExceeded; 10_000]);
    let nodes = nodes(12);
    // Every third gives up after ten seconds.
    let nodes: Vec<Task> = nodes
        .into_iter()
        .enumerate()
        .map(|(n, node)| with(node, |e| e.timeout = (n % 3 == 1).then_some(10 * SECOND)))
        .collect();
    nodes.iter().for_each(|node| drop(w.ask(node)));
    // What ends unstarted is looked for once more.
    w.pass(3 * Duration::from_secs(60));
    let mut told_anew = |node: &Task| {
        w.handle(Event::Unheard { task: Arc::new(node.clone()) });
        w.ask(node)
    };
    let replies = nodes.iter().map(&mut told_anew);
    let waiting: Vec<String> = replies.filter(|r| phase(r) == Some(Phase::Pending)).map(|r| message(&r)).collect();
    assert_eq!(waiting.len(), 8);
    for (ahead, told) in waiting.iter().enumerate() {
        assert!(told.starts_with(&format!("waiting for SageMaker capacity ({ahead} ahead")), "{ahead}: {told}");
    }
}

#[test]
fn pipelines_of_two_accounts_with_one_name_are_looked_at_each_by_itself() {
    let mut w = World::new();
    let elsewhere = Task { account_id: "200000000009".into(), ..task("theirs", 0) };
    w.ask(&elsewhere);
    w.ask(&task("ours", 0));
    assert_eq!(w.executions.len(), 2);
    w.pass(60 * SECOND);
    w.end(1, Status::Succeeded);
    w.pass(60 * SECOND);
    assert_eq!(phase(&w.ask(&task("ours", 0))), Some(Phase::Succeeded));
}

#[test]
fn a_node_that_is_attached_is_told_the_status_and_not_only_that_there_is_something() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.end(0, Status::Stopping);
    // Somebody else's, for all that a list says.
    w.executions[0].description = None;
    w.restart();
    let arn = w.executions[0].arn.clone();
    // From now on it is known how pipelines are spelled.
    w.ask(&task("c", 0));
    let reply = at_once(&mut w, &with(task("b", 0), |e| e.attach = Some(arn)));
    assert_eq!(reply.map(|reply| message(&reply)), Some("Stopping".to_owned()));
}

/// Plays a fault in which every call is throttled with these odds for eight seconds, while eight executions end. Gives how
/// long after the fault the last end is known.
fn recovery(odds: f64, seed: u64) -> Duration {
    let (mut w, nodes, mut random) = (World::new(), nodes(8), Rng::with_seed(seed));
    nodes.iter().for_each(|node| drop(w.ask(node)));
    w.pass(20 * SECOND);
    (0..8).for_each(|number| w.end(number, Status::Succeeded));
    let fault_ends = w.now.plus(8 * SECOND);
    let ended = |w: &World| w.machine.gauges().open_nodes == 0;
    while w.now < fault_ends || !ended(&w) {
        for operation in ["DescribePipelineExecution", "ListPipelineExecutions", "ListPipelineExecutionSteps"] {
            let throttled = w.now < fault_ends && random.f64() < odds;
            w.failures.insert(operation, throttled.then_some(CallErrorKind::Throttled).into_iter().collect());
        }
        w.pass(Duration::from_millis(20));
        assert!(w.now < fault_ends.plus(120 * SECOND), "never, with {odds} and seed {seed}");
    }
    w.now.since(fault_ends)
}

#[test]
fn after_throttling_all_ends_are_known_within_ten_seconds() {
    for odds in [0.3, 0.5, 0.9, 1.0] {
        let slowest = (0..50).map(|seed| recovery(odds, seed)).max().unwrap_or_default();
        assert!(slowest <= 10 * SECOND, "{slowest:?} with {odds}");
    }
}

#[test]
fn a_poll_without_news_sets_no_timer_and_leads_to_nothing() {
    let mut w = World::new();
    w.ask(&task("a", 0));
    w.pass(SECOND);
    let (calls, ticks) = (w.calls.len(), w.ticks);
    let before: Time = w.now;
    for _ in 0..100 {
        assert!(at_once(&mut w, &task("a", 0)).is_some());
    }
    w.handle(Event::Tick);
    w.pass(2 * SECOND);
    assert_eq!((w.calls.len(), w.now.since(before)), (calls, 2 * SECOND));
    assert!(w.ticks <= ticks + 1, "{} ticks", w.ticks - ticks);
}

#[test]
fn what_a_thousand_ended_nodes_say_before_argo_has_read_it_fits_into_a_task_set() {
    for (count, full) in [(40, true), (200, false), (1000, false)] {
        let (mut w, nodes) = (World::new(), nodes(count));
        w.steps = (0..30).map(talkative_step).collect();
        for _ in 0..40 {
            nodes.iter().for_each(|node| drop(at_once(&mut w, node)));
            w.pass(Duration::from_secs(10));
        }
        assert_eq!(w.executions.len(), count);
        (0..count).for_each(|number| w.end(number, Status::Failed));
        w.pass(Duration::from_secs(300));
        let ends: Vec<ExecuteTemplateReply> = nodes.iter().map(|node| w.ask(node)).collect();
        let sizes = ends.iter().map(|end| serde_json::to_string(&end.node.as_ref().unwrap().outputs).unwrap().len());
        let all: usize = sizes.sum();
        assert!(all <= 450 * 1024, "{count} nodes: {all} bytes");
        for end in &ends {
            for name in ["execution-arn", "status", "failed-step", "failure-reason"] {
                assert!(output(end, name).is_some_and(|value| !value.is_empty()), "{count}: no {name} in {end:?}");
            }
            assert_eq!(output(end, "outputs-truncated").is_none(), full, "{count}: {end:?}");
        }
    }
}

/// A step that failed and has much to say.
fn talkative_step(number: usize) -> Step {
    Step {
        name: format!("Step-{number:02}"),
        status: if number == 0 { "Failed".into() } else { "Succeeded".into() },
        kind: Some("Lambda".into()),
        started: Some(World::START.plus(SECOND)),
        ended: Some(World::START.plus(2 * SECOND)),
        failure_reason: (number == 0).then(|| "\"quoted\" reason, ".repeat(50)),
        job_arn: None,
        outputs: vec![("answer".into(), "a".repeat(60))],
        reused: false,
    }
}

#[test]
fn the_first_twenty_are_described_when_they_have_started_and_a_crowd_is_looked_at_by_lists_alone() {
    let mut w = World::new();
    for node in nodes(50) {
        w.send(&node);
    }
    w.pass(40 * SECOND);
    assert_eq!(w.executions.len(), 50);
    let count = |w: &World, operation: &str| w.calls.iter().filter(|call| call.operation() == operation).count();
    assert_eq!(count(&w, "DescribePipelineExecution"), 20);
    let steps = count(&w, "ListPipelineExecutionSteps");
    assert!(steps <= 20, "the steps of a crowd are not listed: {steps}");
    w.end(30, Status::Succeeded);
    w.pass(31 * SECOND);
    assert_eq!(
        phase(&w.ask(&task("n0030", 0))),
        Some(Phase::Succeeded),
        "a list showed the end, a describe confirmed it"
    );
    assert_eq!(count(&w, "DescribePipelineExecution"), 21);
}

#[test]
fn who_starts_a_node_among_others_executions_belongs_to_their_crowd() {
    let mut w = World::new();
    let first = task("a", 0);
    w.send(&first);
    w.pass(5 * SECOND);
    w.calls.clear();
    let site = Site { client: first.client, pipeline: first.pipeline_name };
    w.handle(Event::Seen(Seen { site, shown: vec![], over: None, asked: None, of_others: 20 }));
    w.send(&task("b", 0));
    w.pass(SECOND);
    assert_eq!(w.executions.len(), 2);
    assert_eq!(w.calls.iter().map(Call::operation).collect::<Vec<_>>(), [START]);
}
