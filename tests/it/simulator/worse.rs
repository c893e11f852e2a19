//! What the service does at its worst: stale lists, executions that are not found, slow answers, denials of one version,
//! deletions.

use serde_json::{Value, json};

use super::{World, at, token, two_steps};
use crate::support::simulator::{Simulator, slow};

fn listed_status(w: &mut World, seconds: f64) -> Value {
    let listed = w.ok(seconds, "ListPipelineExecutions", json!({"PipelineName": "P"}));
    listed["PipelineExecutionSummaries"][0]["PipelineExecutionStatus"].clone()
}

#[test]
fn lists_show_statuses_as_they_were() {
    let mut w = World::with_pipeline(json!({"list_stale_seconds": 10}), two_steps());
    let arn = w.start(0.0, "a");
    assert_eq!(w.status(2.0, &arn), "Succeeded");
    assert_eq!(listed_status(&mut w, 5.0), "Executing");
    assert_eq!(listed_status(&mut w, 11.9), "Executing");
    assert_eq!(listed_status(&mut w, 12.0), "Succeeded");
}

#[test]
fn a_failure_shows_in_a_stale_list_only_with_its_status() {
    let faults = json!({"list_stale_seconds": 10, "steps": {"Prepare": {"fail": 1}}});
    let mut w = World::with_pipeline(faults, two_steps());
    w.start(0.0, "a");
    let listed = |w: &mut World, seconds| w.ok(seconds, "ListPipelineExecutions", json!({"PipelineName": "P"}));
    let reason = |listed: &Value| listed["PipelineExecutionSummaries"][0]["PipelineExecutionFailureReason"].is_string();
    assert!(!reason(&listed(&mut w, 5.0)));
    assert!(reason(&listed(&mut w, 11.0)));
}

#[test]
fn a_new_execution_is_not_found_for_a_while() {
    let mut w = World::with_pipeline(json!({"not_found_seconds": 5}), two_steps());
    let arn = w.start(0.0, "a");
    for operation in ["DescribePipelineExecution", "ListPipelineExecutionSteps", "StopPipelineExecution"] {
        let input = json!({"PipelineExecutionArn": arn, "ClientRequestToken": token("s")});
        assert_eq!(w.refused(4.9, operation, input).0, "ResourceNotFound", "{operation}");
    }
    assert_eq!(w.listed(4.9, json!({})).0, std::slice::from_ref(&arn), "lists are another matter");
    assert_eq!(w.status(5.0, &arn), "Succeeded");
}

#[test]
fn a_slow_answer_shows_what_was_when_it_was_asked() {
    let mut w = World::with_pipeline(json!({"slow": {"DescribePipelineExecution": 1}, "slow_ms": 20_000}), two_steps());
    let arn = w.start(0.0, "a");
    let input = json!({"PipelineExecutionArn": arn});
    let late = w.answer(0.5, "DescribePipelineExecution", input.clone());
    assert_eq!((late.latency_ms, &late.result.unwrap()["PipelineExecutionStatus"]), (20_000, &json!("Executing")));
    assert_eq!(w.answer(3.0, "DescribePipelineExecution", input).latency_ms, 0);
}

#[test]
fn starts_of_one_version_are_denied() {
    let mut w = World::with_pipeline(json!({"deny_versions": {"1": 2}}), two_steps());
    let start = |word: &str, version: Value| json!({"PipelineName": "P", "ClientRequestToken": token(word), "PipelineVersionId": version});
    assert_eq!(w.refused(0.0, "StartPipelineExecution", start("a", json!(1))).0, "AccessDeniedException");
    w.ok(0.0, "StartPipelineExecution", start("b", Value::Null));
    assert_eq!(w.refused(1.0, "StartPipelineExecution", start("a", json!(1))).0, "AccessDeniedException");
    w.ok(2.0, "StartPipelineExecution", start("a", json!(1)));
    assert_eq!(w.book.executions().len(), 2);
    let refused = w.book.faults.merged(&json!({"deny_versions": {"first": 1}})).unwrap_err();
    assert!(refused.contains("\"first\" is not the number of a pipeline version"), "{refused}");
}

#[test]
fn a_forgotten_execution_is_gone_from_everywhere_and_leaves_its_room() {
    let mut w = World::with_pipeline(json!({"quota": 1}), two_steps());
    let arn = w.start(0.0, "a");
    assert!(w.book.forget(&arn, at(0.5)));
    assert!(!w.book.forget(&arn, at(0.5)), "there is none any more");
    let input = json!({"PipelineExecutionArn": arn});
    assert_eq!(w.refused(0.5, "DescribePipelineExecution", input).0, "ResourceNotFound");
    assert!(w.listed(0.5, json!({})).0.is_empty());
    assert_ne!(w.start(0.6, "a"), arn, "its token is free, and so is its place");
}

#[test]
fn a_stop_under_an_old_token_does_nothing_also_after_a_retry() {
    let mut w = World::with_pipeline(json!({"step_seconds": 100}), two_steps());
    let arn = w.start(0.0, "a");
    w.stop(1.0, &arn);
    assert_eq!(w.status(2.0, &arn), "Stopped");
    w.ok(3.0, "RetryPipelineExecution", json!({"PipelineExecutionArn": arn, "ClientRequestToken": token("r")}));
    w.stop(4.0, &arn);
    assert_eq!(w.status(6.0, &arn), "Executing", "that stop was carried out before");
    let other = json!({"PipelineExecutionArn": arn, "ClientRequestToken": token("another")});
    w.ok(7.0, "StopPipelineExecution", other);
    assert_eq!(w.status(9.0, &arn), "Stopped");
}

#[actix_rt::test]
async fn the_admin_calls_set_these_faults_and_forget() {
    let simulator = Simulator::with_pipeline(slow(), &["Train"]).await;
    let arn = simulator.start_described("by hand").await;
    let describe = || simulator.call("DescribePipelineExecution", json!({"PipelineExecutionArn": arn}));
    simulator.faults(json!({"not_found_seconds": 3600})).await;
    assert_eq!(describe().await.0, 400);
    simulator.faults(json!({"not_found_seconds": null, "slow": {"*": 1}, "slow_ms": 1})).await;
    assert_eq!(describe().await.0, 200);
    assert_eq!(simulator.forget(&arn).await, 200);
    assert_eq!(describe().await.0, 400);
    assert_eq!(simulator.forget(&arn).await, 400, "there is none any more");
}
