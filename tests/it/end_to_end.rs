//! The real binary against the simulated AWS, over HTTP, as Argo's agent drives it.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{
    argo::{Plugin, SEED, TOKEN, execute, output, request},
    process::Process,
    python::{python, run_script},
    simulator::{Simulator, failing, quick, slow},
};

const PIPELINE_ARN: &str = "arn:aws:sagemaker:us-west-2:100000000002:pipeline/MyPipeline";
const STEPS: &[&str] = &["Prepare", "Train"];

/// A simulator whose `MyPipeline` never ends during a test, and a plugin.
async fn long_running() -> (Simulator, Plugin) {
    let simulator = Simulator::with_pipeline(slow(), STEPS).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    (simulator, plugin)
}

fn arns(executions: &[(String, String)]) -> BTreeSet<&str> {
    executions.iter().map(|(arn, _)| arn.as_str()).collect()
}

fn message(reply: &Value) -> &str {
    reply["node"]["message"].as_str().unwrap_or_default()
}

#[actix_rt::test]
async fn the_seeds_request_succeeds_with_the_arn_of_a_pipeline_that_boto3_made() {
    let Some(python) = python() else { return };
    let simulator = Simulator::start(quick()).await;
    let endpoint = simulator.endpoint.clone();
    let made =
        actix_rt::task::spawn_blocking(move || run_script(python, "create_pipeline.py", &[&endpoint, "MyPipeline"]));
    assert_eq!(made.await.expect("the script's thread").trim(), PIPELINE_ARN);
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;

    let (status, first) = plugin.post_bytes(SEED.as_bytes()).await;
    assert_eq!(status, 200, "{first}");
    let seed = request(json!({}));
    let reply = plugin.until_ended(&seed).await;
    assert_eq!(reply["node"]["phase"], "Succeeded", "{reply}");
    assert_eq!(output(&reply, "pipeline-arn"), PIPELINE_ARN, "{reply}");
    assert_eq!(output(&reply, "pipeline-status"), "Active", "{reply}");
    assert_eq!(output(&reply, "step-count"), "2", "{reply}");
    assert!(!output(&reply, "last-modified").is_empty(), "{reply}");
    assert_eq!(plugin.until_ended(&seed).await, reply, "a final answer repeats");

    let run = request(json!({"action": "execute"}));
    let reply = plugin.until_ended(&run).await;
    assert_eq!(reply["node"]["phase"], "Succeeded", "{reply}");
}

#[actix_rt::test]
async fn an_execution_shows_its_arn_at_once_and_its_outputs_at_the_end() {
    let simulator = Simulator::with_pipeline(quick(), STEPS).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let body = execute("main", json!({}));

    let asked = Instant::now();
    let first = plugin.until(&body, "the execution's ARN", |reply| !output(reply, "execution-arn").is_empty()).await;
    // The promise is one second; a machine busy with other tests gets three.
    assert!(asked.elapsed() < Duration::from_secs(3), "known after {:?}", asked.elapsed());
    assert_eq!(first["node"]["phase"], "Running", "{first}");
    assert!(first["requeue"].is_string(), "{first}");
    let arn = output(&first, "execution-arn").to_owned();
    assert!(arn.starts_with(&format!("{PIPELINE_ARN}/execution/")), "{first}");

    let end = plugin.until_ended(&body).await;
    assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
    assert_eq!(output(&end, "execution-arn"), arn, "{end}");
    assert!(arn.ends_with(output(&end, "execution-id")) && !output(&end, "execution-id").is_empty(), "{end}");
    assert_eq!(output(&end, "status"), "Succeeded", "{end}");
    assert!(end["node"]["outputs"]["result"].as_str().is_some_and(|digest| digest.contains("Train")), "{end}");
    assert_eq!(plugin.until_ended(&body).await, end, "a final answer repeats");
    assert_eq!(simulator.executions().await.len(), 1);
}

#[actix_rt::test]
async fn two_nodes_of_one_workflow_get_two_executions() {
    let (simulator, plugin) = long_running().await;
    let first = plugin.until_running(&execute("train(0:a)", json!({}))).await;
    let second = plugin.until_running(&execute("train(1:b)", json!({}))).await;
    assert_ne!(first, second);
    assert_eq!(arns(&simulator.executions().await), BTreeSet::from([first.as_str(), second.as_str()]));
}

#[actix_rt::test]
async fn sixty_four_copies_of_one_request_get_one_execution() {
    let (simulator, plugin) = long_running().await;
    let body = execute("main", json!({}));
    let answers = join_all((0..64).map(|_| plugin.ask(&body))).await;
    let arn = plugin.until_running(&body).await;
    for answer in &answers {
        assert!(["", arn.as_str()].contains(&output(answer, "execution-arn")), "{answer}");
    }
    assert_eq!(arns(&simulator.executions().await), BTreeSet::from([arn.as_str()]));
    let (_, metrics) = plugin.ops("/metrics").await;
    let counted = "awf_aws_execute_requests_total{outcome=\"started\"} 1\n";
    assert!(metrics.contains(counted), "one answer told of the start: {metrics}");
}

#[actix_rt::test]
async fn after_sigkill_the_same_request_finds_the_same_execution() {
    let (simulator, mut plugin) = long_running().await;
    let body = execute("main", json!({}));
    let before = plugin.until_running(&body).await;
    plugin.kill_and_restart().await;
    assert_eq!(plugin.until_running(&body).await, before);
    assert_eq!(simulator.executions().await.len(), 1);
}

#[actix_rt::test]
async fn a_start_that_nobody_heard_of_is_found_by_its_marker_alone() {
    let simulator = Simulator::with_pipeline(slow(), STEPS).await;
    simulator.faults(json!({"lose_reply": {"StartPipelineExecution": "always"}})).await;
    let mut plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let body = execute("main", json!({}));
    let unsure = plugin.ask(&body).await;
    assert_eq!(output(&unsure, "execution-arn"), "", "{unsure}");
    simulator.until_executions(1).await;
    plugin.process.kill();
    let tokens_forgotten = json!({"lose_reply": null, "token_semantics": {"forgotten_after_seconds": 0}});
    simulator.faults(tokens_forgotten).await;
    plugin.kill_and_restart().await;
    let arn = plugin.until_running(&body).await;
    assert_eq!(arns(&simulator.executions().await), BTreeSet::from([arn.as_str()]));
}

#[actix_rt::test]
async fn an_execution_that_cannot_be_listed_is_found_by_its_token_alone() {
    let simulator = Simulator::with_pipeline(slow(), STEPS).await;
    simulator.faults(json!({"deny": {"ListPipelineExecutions": "always"}})).await;
    let mut plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let body = execute("main", json!({}));
    let before = plugin.until_running(&body).await;
    plugin.kill_and_restart().await;
    assert_eq!(plugin.until_running(&body).await, before);
}

#[actix_rt::test]
async fn a_lost_reply_to_the_start_costs_no_second_execution() {
    let simulator = Simulator::with_pipeline(slow(), STEPS).await;
    simulator.faults(json!({"lose_reply": {"StartPipelineExecution": 1}})).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let arn = plugin.until_running(&execute("main", json!({}))).await;
    assert_eq!(arns(&simulator.executions().await), BTreeSet::from([arn.as_str()]));
}

#[actix_rt::test]
async fn a_failed_step_is_named_with_its_reason() {
    let simulator = Simulator::with_pipeline(failing("Train", "ClientError: no such image"), STEPS).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let end = plugin.until_ended(&execute("main", json!({}))).await;
    assert_eq!(end["node"]["phase"], "Failed", "{end}");
    assert!(message(&end).contains("Train") && message(&end).contains("no such image"), "{end}");
    assert_eq!(output(&end, "failed-step"), "Train", "{end}");
    assert!(output(&end, "failure-reason").contains("no such image"), "{end}");
    assert_eq!(output(&end, "status"), "Failed", "{end}");
}

#[actix_rt::test]
async fn a_missing_pipeline_is_an_error_at_once() {
    let (simulator, plugin) = long_running().await;
    for action in ["validate", "execute"] {
        let body = execute(action, json!({"action": action, "pipeline_name": "NoSuchPipeline"}));
        let end = plugin.until_ended(&body).await;
        assert_eq!(end["node"]["phase"], "Error", "{end}");
        assert!(message(&end).contains("NoSuchPipeline"), "{end}");
    }
    assert_eq!(simulator.executions().await.len(), 0);
}

#[actix_rt::test]
async fn bad_input_is_explained_and_leaves_what_runs_alone() {
    let (simulator, plugin) = long_running().await;
    let good = execute("main", json!({}));
    let arn = plugin.until_running(&good).await;
    for (field, value) in [
        ("action", json!("exekute")),
        ("account_id", json!("12")),
        ("region_name", json!("")),
        ("pipeline_name", json!("My_Pipeline")),
        ("parameters", json!(["not", "a", "map"])),
        ("timeout", json!("1 day")),
        ("on_stop", json!("perhaps")),
        ("pipline_version", json!(1)),
    ] {
        let reply = plugin.ask(&execute("main", json!({field: value}))).await;
        assert_eq!(reply["node"]["phase"], "Error", "{field}: {reply}");
        assert!(message(&reply).starts_with("malformed plugin input: "), "{field}: {reply}");
        assert!(message(&reply).contains(field), "{field}: {reply}");
    }
    for (body, expected) in [("{", 400), ("[]", 400), ("{}", 400), (r#"{"template":{}}"#, 400)] {
        assert_eq!(plugin.post_bytes(body.as_bytes()).await.0, expected, "{body}");
    }
    assert_eq!(plugin.until_running(&good).await, arn);
    assert_eq!(simulator.executions().await, [(arn, "Executing".to_owned())]);
}

#[actix_rt::test]
async fn action_stop_ends_all_that_the_workflow_runs() {
    let (simulator, plugin) = long_running().await;
    let (first, second) = (execute("a", json!({})), execute("b", json!({})));
    plugin.until_running(&first).await;
    plugin.until_running(&second).await;
    let end = plugin.until_ended(&request(json!({"action": "stop"}))).await;
    assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
    assert!(simulator.executions().await.iter().all(|(_, status)| status == "Stopped"));
    for body in [&first, &second] {
        let node = plugin.until_ended(body).await;
        assert_eq!(node["node"]["phase"], "Failed", "{node}");
        assert_eq!(output(&node, "status"), "Stopped", "{node}");
    }
    let nothing_left = plugin.until_ended(&request(json!({"action": "stop"}))).await;
    assert_eq!(nothing_left["node"]["phase"], "Succeeded", "{nothing_left}");
}

#[actix_rt::test]
async fn action_stop_finds_what_ran_before_a_restart_of_a_pipeline_that_it_does_not_name() {
    let (simulator, mut plugin) = long_running().await;
    simulator.create_pipeline("Other", STEPS).await;
    let other = plugin.until_running(&execute("a", json!({"pipeline_name": "Other"}))).await;
    plugin.kill_and_restart().await;
    let end = plugin.until_ended(&request(json!({"action": "stop"}))).await;
    assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
    assert_eq!(simulator.status(&other).await, "Stopped");
}

#[actix_rt::test]
async fn action_stop_with_a_key_leaves_the_other_nodes_alone() {
    let (simulator, plugin) = long_running().await;
    let first = plugin.until_running(&execute("a", json!({}))).await;
    let second = plugin.until_running(&execute("b", json!({}))).await;
    let end = plugin.until_ended(&request(json!({"action": "stop", "execution_key": "a"}))).await;
    assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
    assert_eq!(simulator.status(&first).await, "Stopped");
    assert_eq!(simulator.status(&second).await, "Executing");
}

#[actix_rt::test]
async fn a_time_out_stops_the_execution_and_fails_the_node() {
    let (simulator, plugin) = long_running().await;
    let body = execute("main", json!({"timeout": "2s"}));
    let arn = plugin.until_running(&body).await;
    let end = plugin.until_ended(&body).await;
    assert_eq!(end["node"]["phase"], "Failed", "{end}");
    assert!(message(&end).contains("2s"), "the message names the time-out: {end}");
    assert_eq!(simulator.status(&arn).await, "Stopped");
}

#[actix_rt::test]
async fn a_retry_starts_a_second_execution_and_the_first_attempt_keeps_its_end() {
    let simulator = Simulator::with_pipeline(failing("Train", "out of luck"), STEPS).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let (first, second) = (execute("main", json!({"attempt": "0"})), execute("main", json!({"attempt": "1"})));
    let end = plugin.until_ended(&first).await;
    assert_eq!(end["node"]["phase"], "Failed", "{end}");
    let retried = plugin.until_ended(&second).await;
    assert_eq!(retried["node"]["phase"], "Failed", "{retried}");
    assert_ne!(output(&retried, "execution-arn"), output(&end, "execution-arn"));
    let asked_again = plugin.until_ended(&first).await;
    assert_eq!(asked_again["node"]["phase"], "Failed", "{asked_again}");
    assert_eq!(simulator.executions().await.len(), 2);
}

#[actix_rt::test]
async fn a_succeeded_execution_is_not_run_again_after_a_restart() {
    let simulator = Simulator::with_pipeline(quick(), STEPS).await;
    let mut plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let body = execute("main", json!({}));
    let before = plugin.until_ended(&body).await;
    plugin.kill_and_restart().await;
    let after = plugin.until_ended(&body).await;
    assert_eq!(output(&after, "execution-arn"), output(&before, "execution-arn"));
    assert_eq!(after["node"]["phase"], "Succeeded", "{after}");
    assert_eq!(simulator.executions().await.len(), 1);
}

#[actix_rt::test]
async fn throttled_polls_do_not_fail_the_node() {
    let simulator = Simulator::with_pipeline(quick(), STEPS).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let body = execute("main", json!({}));
    plugin.until_running(&body).await;
    simulator.faults(json!({"throttle": {"DescribePipelineExecution": 6, "ListPipelineExecutions": 6}})).await;
    let end = plugin.until_ended(&body).await;
    assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
}

#[actix_rt::test]
async fn sigterm_leaves_executions_running_and_logs_each_arn() {
    let (simulator, mut plugin) = long_running().await;
    let mut running = Vec::new();
    for node in ["a", "b"] {
        running.push(plugin.until_running(&execute(node, json!({}))).await);
    }
    plugin.process.terminate();
    let status = plugin.process.ended().await;
    assert_eq!(status.code(), Some(0));
    for arn in running {
        assert!(plugin.process.log().contains(&arn), "{arn} is not in the log");
        assert_eq!(simulator.status(&arn).await, "Executing");
    }
}

#[actix_rt::test]
async fn debug_logs_every_answer_and_every_call_and_no_secret() {
    let simulator = Simulator::with_pipeline(quick(), STEPS).await;
    let keys = [("AWS_ACCESS_KEY_ID", "AKIAACCESSKEY"), ("AWS_SECRET_ACCESS_KEY", "a-key-that-only-aws-knows")];
    let mut plugin = Plugin::start_with(&simulator.endpoint, &["--debug"], &keys).await;
    plugin.until_ended(&execute("main", json!({}))).await;
    plugin.process.terminate();
    plugin.process.ended().await;
    let log = plugin.process.log();
    let line = |words: &[&str]| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
    for outcome in ["started", "succeeded"] {
        assert!(line(&["answered the agent", "sm-pipelines-r58tg", &format!("{outcome:?}")]), "{outcome}:\n{log}");
    }
    for operation in ["StartPipelineExecution", "DescribePipelineExecution", "ListPipelineExecutionSteps"] {
        assert!(line(&["a call ended", "sm-pipelines-r58tg", operation, "us-west-2"]), "{operation}:\n{log}");
    }
    for secret in [TOKEN, "AKIAACCESSKEY", "a-key-that-only-aws-knows"] {
        assert!(!log.contains(secret), "{secret}:\n{log}");
    }
}

#[actix_rt::test]
async fn the_ops_listener_shows_health_and_the_first_metrics() {
    let (_simulator, plugin) = long_running().await;
    plugin.until_running(&execute("main", json!({}))).await;
    assert_eq!(plugin.ops("/healthz").await.0, 200);
    assert_eq!(plugin.ops("/readyz").await.0, 200);
    let (status, text) = plugin.ops("/metrics").await;
    assert_eq!(status, 200);
    for name in
        ["awf_aws_build_info", "awf_aws_execute_requests_total", "awf_aws_execute_request_duration_seconds_bucket"]
    {
        assert!(text.contains(name), "{name} is missing:\n{text}");
    }
    assert!(!text.contains("execution/"), "no ARN in metrics:\n{text}");
}

#[actix_rt::test]
async fn bad_flags_are_all_named_before_anything_is_bound() {
    let directory = crate::support::process::TempDir::new();
    let mut command = crate::support::process::binary("serve", directory.path());
    command.args(["--listen", "nowhere", "--poll-min", "fast", "--log-format", "xml"]);
    let mut process = Process::start("awf-aws serve", &mut command);
    assert_eq!(process.ended().await.code(), Some(64));
    for flag in ["--listen", "--poll-min", "--log-format"] {
        assert!(process.log().contains(flag), "{flag} is not named: {}", process.log());
    }
}
