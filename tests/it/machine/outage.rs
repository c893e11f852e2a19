//! Twenty minutes without credentials: what runs goes on, and is told to.

use std::time::Duration;

use awf_aws::{
    input::Task,
    pipelines::{CallErrorKind, Status},
    protocol::Phase,
};

use super::world::{World, message, phase, task};

const MINUTE: Duration = Duration::from_secs(60);
const OPERATIONS: [&str; 6] = [
    "GetCallerIdentity",
    "DescribePipeline",
    "DescribePipelineExecution",
    "ListPipelineExecutions",
    "ListPipelineExecutionSteps",
    "StartPipelineExecution",
];

fn out_of_order(w: &mut World, kind: CallErrorKind) {
    for operation in OPERATIONS {
        w.fail(operation, &[kind; 20_000]);
    }
}

/// What every node shows, each asked twice a minute for so long.
fn watch(w: &mut World, nodes: &[Task], time: Duration, mut look: impl FnMut(&Task, Option<Phase>, String)) {
    let end = w.now.plus(time);
    while w.now < end {
        for node in nodes {
            let reply = w.ask(node);
            look(node, phase(&reply), message(&reply));
        }
        w.pass(MINUTE / 2);
    }
}

#[test]
fn an_outage_of_sts_ends_no_node_whose_execution_lives() {
    // One node is described, sixty are listed.
    for (count, kind) in [
        (1, CallErrorKind::Unreachable),
        (60, CallErrorKind::Unreachable),
        // The credentials have expired, and STS refuses new ones.
        (1, CallErrorKind::Credentials),
        (60, CallErrorKind::Credentials),
    ] {
        let mut w = World::new();
        let nodes: Vec<Task> = (0..count).map(|n| task(&format!("n{n:02}"), 0)).collect();
        watch(&mut w, &nodes, 2 * MINUTE, |_, _, _| {});
        assert_eq!(w.executions.len(), count);
        out_of_order(&mut w, kind);
        let mut told = false;
        watch(&mut w, &nodes, 20 * MINUTE, |node, phase, text| {
            assert!(phase.is_none_or(|phase| phase == Phase::Running), "{kind:?} {node:?}: {phase:?} {text}");
            told |= text.contains("the execution goes on, but AWS cannot be asked");
            assert!(text.len() <= 250, "{text}");
        });
        assert!(told, "{kind:?}: nobody is told");
        w.failures.clear();
        (0..count).for_each(|n| w.end(n, Status::Succeeded));
        w.pass(2 * MINUTE);
        for node in &nodes {
            assert_eq!(phase(&w.ask(node)), Some(Phase::Succeeded), "{kind:?}");
        }
        assert_eq!(w.executions.len(), count, "nothing was started again");
    }
}

#[test]
fn a_plugin_that_is_restarted_in_the_middle_of_an_outage_finds_its_execution_after_it() {
    let mut w = World::new();
    let node = [task("a", 0)];
    watch(&mut w, &node, 2 * MINUTE, |_, _, _| {});
    out_of_order(&mut w, CallErrorKind::Unreachable);
    watch(&mut w, &node, 10 * MINUTE, |_, _, _| {});
    w.restart();
    watch(&mut w, &node, 10 * MINUTE, |_, phase, text| {
        assert!(phase.is_none_or(|phase| phase == Phase::Running), "{phase:?} {text}");
    });
    w.failures.clear();
    w.pass(5 * MINUTE);
    w.end(0, Status::Succeeded);
    w.pass(2 * MINUTE);
    assert_eq!(phase(&w.ask(&node[0])), Some(Phase::Succeeded));
    assert_eq!(w.executions.len(), 1);
}

#[test]
fn who_waits_to_start_waits_through_an_outage_of_sts_and_starts_after_it() {
    let mut w = World::new();
    let nodes: Vec<Task> = (0..5).map(|n| task(&format!("n{n}"), 0)).collect();
    out_of_order(&mut w, CallErrorKind::Unreachable);
    watch(&mut w, &nodes, 20 * MINUTE, |_, phase, text| {
        assert!(phase.is_none_or(|phase| matches!(phase, Phase::Running | Phase::Pending)), "{phase:?} {text}");
    });
    assert!(w.executions.is_empty());
    w.failures.clear();
    w.pass(2 * MINUTE);
    assert_eq!(w.executions.len(), 5);
}
