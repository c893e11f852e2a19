//! What a node tells after the end, over HTTP: every output of the README's table, and each permission missing in turn.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    readme::{quoted, rows},
    support::{
        argo::{Plugin, execute, output, request},
        python::{judges, run_script},
        simulator::Simulator,
    },
};

const RAISED: &str = "ValueError: Input contains NaN, infinity or a value too large for dtype('float64').";
const POOR: &str = "AlgorithmError: , exit code: 1";

/// One pipeline with a step of each kind that tells something.
fn steps() -> Value {
    let check = json!({"ProcessingOutputConfig": {"Outputs": [
        {"OutputName": "quality_check_output", "S3Output": {"S3Uri": "s3://data/check"}},
    ]}});
    json!([
        {"Name": "Train", "Type": "Training", "Arguments": {
            "OutputDataConfig": {"S3OutputPath": "s3://models/a"}, "ResourceConfig": {"InstanceCount": 3},
        }},
        {"Name": "Process", "Type": "Processing", "Arguments": {"ProcessingOutputConfig": {"Outputs": [
            {"OutputName": "train", "S3Output": {"S3Uri": "s3://data/train"}},
        ]}}},
        {"Name": "Transform", "Type": "Transform", "Arguments": {"TransformOutput": {"S3OutputPath": "s3://scores/"}}},
        {"Name": "Tune", "Type": "Tuning", "Arguments": {
            "TrainingJobDefinition": {"OutputDataConfig": {"S3OutputPath": "s3://tuned/"}},
        }},
        {"Name": "Auto", "Type": "AutoML", "Arguments": {"OutputDataConfig": {"S3OutputPath": "s3://auto"}}},
        {"Name": "Check", "Type": "QualityCheck", "CheckType": "DATA_QUALITY", "Arguments": check},
        {"Name": "If", "Type": "Condition", "Arguments": {
            "Conditions": [{"Type": "Equals", "LeftValue": 1, "RightValue": 1}], "IfSteps": [], "ElseSteps": [],
        }},
        {"Name": "Tell", "Type": "Lambda", "Arguments": {},
         "FunctionArn": "arn:aws:lambda:us-west-2:100000000002:function:tell", "OutputParameters": [
            {"OutputName": "score", "OutputType": "Float"},
        ]},
        {"Name": "Register", "Type": "RegisterModel", "Arguments": {"ModelPackageGroupName": "churn"}},
    ])
}

async fn simulator(faults: Value) -> Simulator {
    let definition = json!({"Version": "2020-12-01", "Parameters": [], "Steps": steps()});
    Simulator::start(json!({
        "faults": faults,
        "pipelines": [{"name": "MyPipeline", "region": "us-west-2", "definition": definition}],
    }))
    .await
}

fn succeeding() -> Value {
    json!({"step_seconds": 0.1, "steps": {
        "Train": {"metrics": {"validation:auc": 0.91}}, "Tune": {"metrics": {"auc": 0.8}},
        "Auto": {"metrics": {"F1": 0.7}}, "Tell": {"outputs": {"score": "0.5"}},
    }})
}

fn failing(step: &str, reason: &str) -> Value {
    json!({"step_seconds": 0.1, "steps": {step: {"fail": "always", "reason": reason}}})
}

/// An `execute` of a node whose template declares this.
fn declaring(node: &str, parameters: &[&str], artifacts: &[&str]) -> Value {
    let mut body = execute(node, json!({}));
    let supplied = |name: &&str| json!({"name": name, "valueFrom": {"supplied": {}}});
    let placed = |name: &&str| json!({"name": name, "path": "/unused"});
    body["template"]["outputs"] = json!({
        "parameters": parameters.iter().map(supplied).collect::<Vec<_>>(),
        "artifacts": artifacts.iter().map(placed).collect::<Vec<_>>(),
    });
    body
}

fn names(reply: &Value) -> BTreeSet<String> {
    let parameters = reply["node"]["outputs"]["parameters"].as_array();
    parameters.into_iter().flatten().filter_map(|p| Some(p["name"].as_str()?.to_owned())).collect()
}

fn message(reply: &Value) -> &str {
    reply["node"]["message"].as_str().unwrap_or_default()
}

/// How often the simulator was asked for an operation.
async fn calls(simulator: &Simulator, operation: &str) -> u64 {
    simulator.book().await["calls"][operation].as_u64().unwrap_or_default()
}

/// An output as the README's table names it.
fn kind(name: &str) -> &str {
    const PARTS: [(&str, &str); 4] = [
        ("-model-artifacts", "<step>-model-artifacts"),
        ("-job-name", "<step>-job-name"),
        ("-metric-", "<step>-metric-<name>"),
        ("-output-", "<step>-output-<name>"),
    ];
    let known = PARTS.iter().find(|(part, _)| name.contains(part)).map(|(_, kind)| *kind);
    known.unwrap_or(if name == "Tell-score" { "<step>-<name>" } else { name })
}

#[actix_rt::test]
async fn every_output_of_the_readme_is_told_and_no_other() {
    let simulator = simulator(succeeding()).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let first = plugin
        .until(&execute("all", json!({"outputs": "all"})), "a link", |reply| !output(reply, "console-url").is_empty())
        .await;
    assert_eq!(first["node"]["phase"], "Running", "{first}");
    let end = plugin.until_ended(&execute("all", json!({"outputs": "all"}))).await;
    assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
    assert!(message(&end).ends_with("9 steps"), "{end}");
    for (name, value) in [
        ("Train-metric-validation-auc", "0.91"),
        ("Process-output-train", "s3://data/train"),
        ("Transform-output-transform", "s3://scores/"),
        ("Tune-metric-auc", "0.8"),
        ("Auto-metric-F1", "0.7"),
        ("If-metric-outcome", "True"),
        ("Check-metric-calculated-statistics", "s3://data/check/statistics.json"),
        ("Tell-score", "0.5"),
        // A begun second of three instances, and of one each for three others.
        ("billable-seconds", "6"),
    ] {
        assert_eq!(output(&end, name), value, "{name}: {end}");
    }
    for (step, place) in [("Train", "s3://models/a/"), ("Tune", "s3://tuned/"), ("Auto", "s3://auto/")] {
        let (model, job) =
            (output(&end, &format!("{step}-model-artifacts")), output(&end, &format!("{step}-job-name")));
        assert!(model.starts_with(&format!("{place}{job}")) && model.ends_with("/model.tar.gz"), "{model}");
    }
    assert!(end["node"]["outputs"]["result"].is_string(), "{end}");

    let validated = plugin.until_ended(&request(json!({"action": "validate"}))).await;
    simulator.faults(failing("Check", POOR)).await;
    let failed = plugin.until_ended(&execute("failed", json!({"outputs": "all"}))).await;
    let mut told: BTreeSet<String> = [&first, &end, &validated, &failed].into_iter().flat_map(names).collect();
    // Those need an Argo with a thousand nodes, and the digest is no parameter.
    told.extend(["outputs-truncated", "outputs.result"].map(str::to_owned));
    assert!(told.contains("Check-metric-violation-report"), "{failed}");
    let told: BTreeSet<&str> = told.iter().map(|name| kind(name)).collect();
    let table = rows("Outputs");
    let table: Vec<&Vec<String>> = table.iter().filter(|row| row.len() == 3).collect();
    let listed: BTreeSet<&str> = table.iter().flat_map(|row| quoted(&row[0])).collect();
    assert_eq!(told, listed);
}

#[actix_rt::test]
async fn a_node_that_declares_nothing_costs_no_call_more() {
    let simulator = simulator(succeeding()).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let end = plugin.until_ended(&declaring("a", &["execution-arn", "status"], &["report"])).await;
    assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
    for operation in ["DescribeTrainingJob", "DescribeProcessingJob", "DescribeLogStreams", "GetLogEvents"] {
        assert_eq!(calls(&simulator, operation).await, 0, "{operation}");
    }
}

#[actix_rt::test]
async fn the_last_words_of_every_type_of_job_are_told() {
    // AutoML's log names no exception: SageMaker's reason stays.
    for (step, group, reason, last) in [
        ("Train", "TrainingJobs", RAISED, RAISED),
        ("Process", "ProcessingJobs", RAISED, RAISED),
        ("Transform", "TransformJobs", RAISED, RAISED),
        ("Tune", "TrainingJobs", RAISED, RAISED),
        ("Auto", "AutoMLJobs", POOR, "The data has no column of that name"),
        ("Check", "ProcessingJobs", RAISED, RAISED),
    ] {
        let simulator = simulator(failing(step, POOR)).await;
        let plugin = Plugin::start(&simulator.endpoint, &[]).await;
        let end = plugin.until_ended(&execute("a", json!({}))).await;
        assert_eq!(message(&end), format!("Failed at step {step} (Failed): {reason}"), "{end}");
        assert!(output(&end, "logs-tail").ends_with(last), "{step}: {end}");
        assert!(output(&end, "logs-tail").len() <= 1024, "{end}");
        assert_eq!(output(&end, "failure-reason"), POOR, "{end}");
        let group = format!("log-group/$252Faws$252Fsagemaker$252F{group}");
        assert!(output(&end, "logs-url").contains(&group), "{step}: {end}");
        assert_eq!(calls(&simulator, "GetLogEvents").await, 1, "{step}: read once");
        assert_eq!(plugin.until_ended(&execute("a", json!({}))).await, end, "a final answer repeats");
        let own = plugin.process.log();
        assert!(own.contains("a failed job wrote") && own.contains(last), "{own}");
    }
}

#[actix_rt::test]
async fn a_secret_in_a_log_is_masked_wherever_it_is_told() {
    let mut faults = failing("Train", POOR);
    faults["steps"]["Train"]["logs"] =
        json!(["password=hunter2", "OSError: cannot log in with token=abcdef0123456789"]);
    let simulator = simulator(faults).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let end = plugin.until_ended(&execute("a", json!({}))).await;
    assert!(output(&end, "logs-tail").contains("password=[redacted]"), "{end}");
    for text in [end.to_string(), plugin.process.log()] {
        assert!(!text.contains("hunter2") && !text.contains("abcdef0123456789"), "{text}");
    }
}

#[actix_rt::test]
async fn without_a_permission_for_logs_a_sentence_names_it_and_nothing_else_changes() {
    for operation in ["DescribeLogStreams", "GetLogEvents"] {
        let mut faults = failing("Train", POOR);
        faults["deny"] = json!({operation: "always"});
        let simulator = simulator(faults).await;
        let plugin = Plugin::start(&simulator.endpoint, &[]).await;
        let end = plugin.until_ended(&execute("a", json!({}))).await;
        assert_eq!(end["node"]["phase"], "Failed", "{end}");
        assert!(
            message(&end).starts_with(&format!("Failed at step Train (Failed): {POOR}; its log could not be read")),
            "{end}"
        );
        assert!(message(&end).contains(&format!("logs:{operation}")), "{end}");
        let tail = output(&end, "logs-tail");
        assert!(tail.contains(&format!("logs:{operation}")), "{tail}");
        assert_eq!(output(&end, "failure-reason"), POOR, "{end}");
        assert!(!output(&end, "logs-url").is_empty(), "{end}");
    }
    // Nobody asks, nobody is denied.
    let simulator = simulator(failing("Train", POOR)).await;
    let plugin = Plugin::start(&simulator.endpoint, &["--logs=off"]).await;
    let end = plugin.until_ended(&execute("a", json!({}))).await;
    assert_eq!(message(&end), format!("Failed at step Train (Failed): {POOR}"));
    assert_eq!((output(&end, "logs-tail"), calls(&simulator, "DescribeLogStreams").await), ("", 0), "{end}");
}

#[actix_rt::test]
async fn without_a_permission_for_results_the_node_ends_all_the_same_and_says_what_is_missing() {
    for (operation, missing, other) in [
        ("DescribeTrainingJob", "Train-model-artifacts", "Process-output-train"),
        ("DescribeProcessingJob", "Process-output-train", "Train-model-artifacts"),
        ("DescribeTransformJob", "Transform-output-transform", "Train-model-artifacts"),
        ("DescribeHyperParameterTuningJob", "Tune-metric-auc", "Train-model-artifacts"),
        ("DescribeAutoMLJobV2", "Auto-model-artifacts", "Train-model-artifacts"),
    ] {
        let mut faults = succeeding();
        faults["deny"] = json!({operation: "always"});
        let simulator = simulator(faults).await;
        let plugin = Plugin::start(&simulator.endpoint, &[]).await;
        let end = plugin.until_ended(&declaring("a", &[missing, other], &[missing])).await;
        assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
        let words = format!("without {missing}: {operation} failed: ");
        assert!(message(&end).contains(&words) && message(&end).contains(&format!("sagemaker:{operation}")), "{end}");
        assert_eq!((output(&end, missing), end["node"]["outputs"].get("artifacts")), ("", None), "{end}");
        assert!(!output(&end, other).is_empty(), "{end}");
    }
}

#[actix_rt::test]
async fn after_sigkill_the_ended_execution_is_asked_again_and_tells_the_same() {
    let simulator = simulator(succeeding()).await;
    let mut plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let body = declaring("a", &["Train-model-artifacts", "billable-seconds"], &["Process-output-train"]);
    let end = plugin.until_ended(&body).await;
    assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
    plugin.kill_and_restart().await;
    assert_eq!(plugin.until_ended(&body).await["node"]["outputs"], end["node"]["outputs"]);
}

/// Argo's types, as the Hera SDK generates them from Argo's API: a field that they do not know does not survive them.
#[actix_rt::test]
async fn declared_artifacts_are_argos_own_and_say_where_they_lie() {
    let simulator = simulator(succeeding()).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let end =
        plugin.until_ended(&declaring("a", &[], &["Train-model-artifacts", "Process-output-train", "other"])).await;
    let artifacts = end["node"]["outputs"]["artifacts"].as_array().expect("artifacts");
    assert_eq!(artifacts.len(), 2, "{end}");
    let named = |name: &str| artifacts.iter().find(|artifact| artifact["name"] == name).expect("it was declared");
    let model = named("Train-model-artifacts");
    assert_eq!(model["s3"]["bucket"], "models", "{end}");
    let key = model["s3"]["key"].as_str().expect("a key");
    assert!(key.starts_with("a/pipelines-") && key.ends_with("/output/model.tar.gz"), "{key}");
    assert_eq!(model["s3"]["endpoint"], "s3.us-west-2.amazonaws.com");
    assert_eq!(named("Process-output-train")["s3"]["key"], "train");
    let Some(python) = judges() else { return };
    let outputs = end["node"]["outputs"].to_string();
    let judged = actix_rt::task::spawn_blocking(move || run_script(python, "check_outputs.py", &[&outputs]));
    assert_eq!(judged.await.expect("the script's thread").trim(), "2 artifacts");
}
