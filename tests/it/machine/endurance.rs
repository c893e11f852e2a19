//! What long trouble, restarts and odd orders must not do: nodes without end, second starts, growing timers.

use std::time::Duration;

use awf_aws::{
    pipelines::{CallErrorKind, Status},
    protocol::Phase,
};

use super::world::{World, message, phase, task, with};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_time_out_stops_an_execution_that_may_never_be_described() {
    let mut w = World::new();
    w.fail("DescribePipelineExecution", &[CallErrorKind::Denied; 5000]);
    let node = with(task("a", 0), |e| e.timeout = Some(10 * MINUTE));
    w.ask(&node);
    w.pass(9 * MINUTE);
    assert_eq!(w.executions[0].status, Status::Executing);
    w.pass(2 * MINUTE);
    assert_eq!(w.executions[0].status, Status::Stopping);
    w.pass(11 * MINUTE);
    assert_eq!(phase(&w.ask(&node)), Some(Phase::Failed));
}

#[test]
fn a_time_out_ends_a_node_whose_region_cannot_be_reached() {
    let mut w = World::new();
    w.fail("GetCallerIdentity", &[CallErrorKind::Unreachable; 5000]);
    let node = with(task("a", 0), |e| e.timeout = Some(10 * MINUTE));
    w.ask(&node);
    w.pass(9 * MINUTE);
    assert_eq!(phase(&w.ask(&node)), Some(Phase::Running));
    w.pass(2 * MINUTE);
    let end = w.ask(&node);
    assert_eq!(phase(&end), Some(Phase::Failed));
    assert!(message(&end).starts_with("timed out after 600s; whether"), "{}", message(&end));
    assert!(message(&end).contains("AWS said connector"), "{}", message(&end));
}
