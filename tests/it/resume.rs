//! `on_retry: resume` of the real binary, over HTTP, against the simulated AWS.

use serde_json::{Value, json};

use crate::support::{
    argo::{Plugin, execute, output},
    simulator::Simulator,
};

const STEPS: &[&str] = &["Prepare", "Train"];

/// `Train` fails so often.
async fn world(fails: u32, flags: &[&str]) -> (Simulator, Plugin) {
    let train = json!({"fail": fails, "reason": "ClientError: out of luck"});
    let scenario = json!({"faults": {"step_seconds": 0.3, "steps": {"Train": train}}});
    let simulator = Simulator::with_pipeline(scenario, STEPS).await;
    let plugin = Plugin::start(&simulator.endpoint, flags).await;
    (simulator, plugin)
}

fn attempt(number: u32, on_retry: &str) -> Value {
    execute("main", json!({"attempt": number.to_string(), "on_retry": on_retry}))
}

fn message(reply: &Value) -> &str {
    reply["node"]["message"].as_str().unwrap_or_default()
}

/// The only execution, as the book has it.
async fn only(simulator: &Simulator) -> Value {
    let book = simulator.book().await;
    let executions = book["executions"].as_array().expect("the book lists executions");
    assert_eq!(executions.len(), 1, "{executions:?}");
    executions[0].clone()
}

#[actix_rt::test]
async fn every_further_attempt_continues_the_same_execution_and_runs_only_what_failed() {
    let (simulator, mut plugin) = world(2, &[]).await;
    let mut arns = Vec::new();
    for (number, phase) in [(0, "Failed"), (1, "Failed"), (2, "Succeeded")] {
        // Each attempt is another process's.
        plugin.kill_and_restart().await;
        let end = plugin.until_ended(&attempt(number, "resume")).await;
        assert_eq!(end["node"]["phase"], phase, "{end}");
        arns.push(output(&end, "execution-arn").to_owned());
        assert_eq!(plugin.until_ended(&attempt(number, "resume")).await, end, "a final answer repeats");
    }
    arns.dedup();
    let execution = only(&simulator).await;
    assert_eq!(arns, [execution["arn"].as_str().unwrap()]);
    assert_eq!(execution["attempts"], json!({"Prepare": 1, "Train": 3}), "what had succeeded is not run again");
    assert_eq!(execution["retries"], 2);
    let (_, metrics) = plugin.ops("/metrics").await;
    assert!(metrics.contains("awf_aws_executions_resumed_total 1\n"), "{metrics}");
    assert!(metrics.contains("awf_aws_executions_started_total 0\n"), "{metrics}");
}

#[actix_rt::test]
async fn a_kill_between_the_resume_and_its_reply_resumes_nothing_twice() {
    for semantics in ["same_arn", "conflict", "mismatch_error"] {
        let (simulator, mut plugin) = world(1, &[]).await;
        simulator.faults(json!({"token_semantics": semantics})).await;
        plugin.until_ended(&attempt(0, "resume")).await;
        simulator.faults(json!({"lose_reply": {"RetryPipelineExecution": 1}})).await;
        plugin.until(&attempt(1, "resume"), "it is asked for", |reply| reply["node"].is_object()).await;
        while only(&simulator).await["retries"] == 0 {
            tokio::time::sleep(crate::support::process::LOOK).await;
        }
        plugin.kill_and_restart().await;
        let end = plugin.until_ended(&attempt(1, "resume")).await;
        assert_eq!(end["node"]["phase"], "Succeeded", "{semantics}: {end}");
        assert_eq!(only(&simulator).await["attempts"], json!({"Prepare": 1, "Train": 2}), "{semantics}");
    }
}

#[actix_rt::test]
async fn a_missing_permission_is_named_and_after_the_grace_it_starts_anew_or_fails() {
    for operation in ["RetryPipelineExecution", "UpdatePipelineExecution"] {
        let (simulator, plugin) = world(1, &["--denied-grace=2s"]).await;
        simulator.faults(json!({"deny": {operation: "always"}})).await;
        plugin.until_ended(&attempt(0, "resume")).await;
        let allow = "allow sagemaker:RetryPipelineExecution and sagemaker:UpdatePipelineExecution";
        let told = |reply: &Value| reply["node"]["phase"] == "Pending" && message(reply).contains(allow);
        plugin.until(&attempt(1, "resume"), "it names the permissions", told).await;
        let end = plugin.until_ended(&attempt(1, "resume")).await;
        assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
        assert!(message(&end).contains("started anew") && message(&end).contains(allow), "{end}");
        assert_eq!(simulator.executions().await.len(), 2);
    }
    let (simulator, plugin) = world(1, &["--denied-grace=1s"]).await;
    simulator.faults(json!({"deny": {"RetryPipelineExecution": "always"}})).await;
    plugin.until_ended(&attempt(0, "resume-only")).await;
    let end = plugin.until_ended(&attempt(1, "resume-only")).await;
    assert_eq!(end["node"]["phase"], "Failed", "{end}");
    assert!(message(&end).contains("on_retry is resume-only"), "{end}");
    only(&simulator).await;
}

#[actix_rt::test]
async fn what_sagemaker_refuses_and_a_changed_pipeline_start_anew_and_say_so() {
    let (simulator, plugin) = world(1, &[]).await;
    plugin.until_ended(&attempt(0, "resume")).await;
    let refusal = json!({"code": "ValidationException", "message": "The execution is too old to be retried"});
    simulator.faults(json!({"errors": {"RetryPipelineExecution": refusal}})).await;
    let end = plugin.until(&attempt(1, "resume"), "it runs", |reply| !output(reply, "execution-arn").is_empty()).await;
    assert!(message(&end).contains("The execution is too old to be retried"), "{end}");
    assert_eq!(simulator.executions().await.len(), 2);

    let (simulator, plugin) = world(1, &[]).await;
    plugin.until_ended(&attempt(0, "resume")).await;
    let definition = json!({"Version": "2020-12-01", "Steps": [{"Name": "Mended", "Type": "Training"}]});
    let change = json!({"PipelineName": "MyPipeline", "PipelineDefinition": definition.to_string()});
    simulator.expect("UpdatePipeline", change).await;
    let end = plugin.until_ended(&attempt(1, "resume")).await;
    assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
    assert!(message(&end).contains("the pipeline was changed at "), "{end}");
    assert_eq!(simulator.executions().await.len(), 2);
}
