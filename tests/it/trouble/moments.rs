//! Faults that strike at one moment: after the effect, in half-open connections, around deletions, in lists that lag.

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{
    argo::{Plugin, execute, output},
    process::{LOOK, TempDir},
    simulator::{Simulator, quick, slow},
};

const STEPS: &[&str] = &["Train"];

async fn delete_pipeline(simulator: &Simulator) {
    let token = "delete-MyPipeline-0123456789abcdef";
    simulator.expect("DeletePipeline", json!({"PipelineName": "MyPipeline", "ClientRequestToken": token})).await;
}

fn message(reply: &Value) -> &str {
    reply["node"]["message"].as_str().unwrap_or_default()
}

/// The book's only execution: ARN and the number of starts that it answered.
async fn only_execution(simulator: &Simulator) -> (String, u64) {
    let book = simulator.book().await;
    let [execution] = book["executions"].as_array().expect("a list").as_slice() else {
        panic!("not exactly one execution: {book}");
    };
    (execution["arn"].as_str().unwrap_or_default().to_owned(), execution["starts"].as_u64().unwrap_or_default())
}

#[actix_rt::test]
async fn starts_whose_replies_are_lost_are_repeated_until_one_comes_through() {
    let simulator = Simulator::with_pipeline(quick(), STEPS).await;
    // The SDK tries twice itself: this is lost in three calls of ours.
    simulator.faults(json!({"lose_reply": {"StartPipelineExecution": 5}})).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let end = plugin.until_ended(&execute("main", json!({}))).await;
    assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
    let (arn, starts) = only_execution(&simulator).await;
    assert_eq!((output(&end, "execution-arn"), starts), (arn.as_str(), 6));
}

#[actix_rt::test]
async fn throttled_steps_are_listed_again_before_the_end_is_told() {
    let simulator = Simulator::with_pipeline(quick(), STEPS).await;
    simulator.faults(json!({"throttle": {"ListPipelineExecutionSteps": 2}})).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let end = plugin.until_ended(&execute("main", json!({}))).await;
    assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
    assert!(
        output(&end, "status") == "Succeeded" && end["node"]["outputs"]["result"].to_string().contains("Train"),
        "{end}"
    );
}

#[actix_rt::test]
async fn half_open_connections_cost_time_and_nothing_else() {
    let simulator = Simulator::with_pipeline(quick(), STEPS).await;
    let once = json!({"StartPipelineExecution": 1, "DescribePipelineExecution": 1, "ListPipelineExecutionSteps": 1});
    simulator.faults(json!({"hang": once})).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    // Every answer on the way comes within the reply time-out: the helper sees to it.
    let end = plugin.until_ended(&execute("main", json!({}))).await;
    assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
    only_execution(&simulator).await;
}

#[actix_rt::test]
async fn a_token_that_conflicts_after_a_lost_reply_leads_to_the_marker_even_in_a_list_that_lags() {
    let scenario = json!({"faults": {"step_seconds": 0.4, "token_semantics": "conflict", "list_lag_seconds": 1.5}});
    let simulator = Simulator::with_pipeline(scenario, STEPS).await;
    simulator.faults(json!({"lose_reply": {"StartPipelineExecution": 1}})).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let end = plugin.until_ended(&execute("main", json!({}))).await;
    assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
    assert_eq!(output(&end, "execution-arn"), only_execution(&simulator).await.0);
}

#[actix_rt::test]
async fn a_token_mismatch_after_a_lost_reply_leads_to_the_marker() {
    let simulator = Simulator::with_pipeline(quick(), STEPS).await;
    simulator.faults(json!({"lose_reply": {"StartPipelineExecution": "always"}})).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let body = execute("main", json!({}));
    plugin.ask(&body).await;
    simulator.until_executions(1).await;
    let mismatch = json!({"code": "IdempotentParameterMismatchException", "message": "used before"});
    simulator.faults(json!({"lose_reply": null, "errors": {"StartPipelineExecution": mismatch}})).await;
    let end = plugin.until_ended(&body).await;
    assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
    assert_eq!(output(&end, "execution-arn"), only_execution(&simulator).await.0);
}

#[actix_rt::test]
async fn after_a_kill_a_list_that_lags_behind_is_made_up_for_by_the_token() {
    let scenario = json!({"faults": {"step_seconds": 3600, "list_lag_seconds": 3600}});
    let simulator = Simulator::with_pipeline(scenario, STEPS).await;
    let mut plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let body = execute("main", json!({}));
    let before = plugin.until_running(&body).await;
    plugin.kill_and_restart().await;
    assert_eq!(plugin.until_running(&body).await, before);
    assert_eq!(only_execution(&simulator).await, (before, 2));
}

#[actix_rt::test]
async fn a_pipeline_deleted_before_a_start_is_an_error_at_once() {
    let simulator = Simulator::with_pipeline(quick(), STEPS).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    plugin.until_ended(&execute("first", json!({}))).await;
    delete_pipeline(&simulator).await;
    let end = plugin.until_ended(&execute("second", json!({}))).await;
    assert_eq!(end["node"]["phase"], "Error", "{end}");
    assert!(message(&end).starts_with("cannot start, the pipeline does not exist"), "{end}");
}

#[actix_rt::test]
async fn an_execution_deleted_with_its_pipeline_is_an_error_that_says_so() {
    let simulator = Simulator::with_pipeline(slow(), STEPS).await;
    let mut plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let body = execute("main", json!({}));
    plugin.until_running(&body).await;
    // An adopted execution is not so young that it may not be found yet.
    plugin.kill_and_restart().await;
    let arn = plugin.until_running(&body).await;
    // Only a pipeline of which nothing runs can be deleted: it ends and goes while nobody can look.
    let nobody_looks = |how: Value| json!({"deny": {"DescribePipelineExecution": how, "ListPipelineExecutions": how}});
    simulator.faults(nobody_looks(json!("always"))).await;
    let stop = json!({"PipelineExecutionArn": arn, "ClientRequestToken": "stop-0123456789abcdef0123456789abcdef"});
    simulator.expect("StopPipelineExecution", stop).await;
    while simulator.status(&arn).await != "Stopped" {
        sleep(LOOK).await;
    }
    delete_pipeline(&simulator).await;
    simulator.faults(nobody_looks(Value::Null)).await;
    let end = plugin.until_ended(&body).await;
    assert_eq!(end["node"]["phase"], "Error", "{end}");
    assert!(message(&end).contains("the execution or its pipeline was deleted"), "{end}");
}

#[actix_rt::test]
async fn a_denied_web_identity_names_the_trust_policy_and_starts_nothing_until_it_is_mended() {
    let simulator = Simulator::with_pipeline(quick(), STEPS).await;
    simulator.faults(json!({"deny_web_identity": "access_denied"})).await;
    let directory = TempDir::new();
    let token = directory.path().join("token");
    std::fs::write(&token, "a.b.c").expect("the web identity token can be written");
    let role = "arn:aws:iam::100000000002:role/pipelines";
    let file = token.display().to_string();
    let environment = [("AWS_ROLE_ARN", role), ("AWS_WEB_IDENTITY_TOKEN_FILE", file.as_str())];
    let plugin = Plugin::start_with(&simulator.endpoint, &[], &environment).await;
    let body = execute("main", json!({}));
    let told = |reply: &Value| message(reply).contains(&format!("the trust policy of role {role}"));
    let reply = plugin.until(&body, "the trust policy is named", told).await;
    assert_eq!(reply["node"]["phase"], "Running", "{reply}");
    assert!(message(&reply).contains("(since 20"), "{reply}");
    assert!(simulator.executions().await.is_empty());
    simulator.faults(json!({"deny_web_identity": null})).await;
    let end = plugin.until_ended(&body).await;
    assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
    only_execution(&simulator).await;

    simulator.faults(json!({"deny_web_identity": "no_provider"})).await;
    let plugin = Plugin::start_with(&simulator.endpoint, &["--denied-grace=1s"], &environment).await;
    let end = plugin.until_ended(&execute("other", json!({}))).await;
    assert_eq!(end["node"]["phase"], "Error", "{end}");
    assert!(message(&end).contains("no IAM OIDC provider"), "{end}");
}
