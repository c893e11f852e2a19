//! A pipeline that the SageMaker Python SDK wrote runs as its parameters, and the results of its steps, say.
//!
//! `tests/python/sdk_definition.py` made the definition; the simulator is told only what the steps would have found out.

use serde_json::{Value, json};

use super::{World, token};

const DEFINITION: &str = include_str!("sdk/definition.json");

/// The scenario: an evaluation's report, a Lambda's answer. The Callback step waits.
fn found_out(auc: f64, verdict: &str, votes: u32) -> Value {
    json!({"step_seconds": 1, "steps": {
        "EvaluateModel": {"property_files": {"Report": {
            "binary_classification_metrics": {"auc": {"value": auc}}, "drift": [{"p-value": 0.02}],
        }}},
        "TellPeople": {"outputs": {"verdict": verdict, "votes": votes.to_string()}},
    }})
}

fn started(faults: Value, parameters: Value) -> (World, String) {
    let mut w = World::with_pipeline(faults, serde_json::from_str(DEFINITION).unwrap());
    let input = json!({"PipelineName": "P", "ClientRequestToken": token("a"), "PipelineParameters": parameters});
    let arn = w.ok(0.0, "StartPipelineExecution", input)["PipelineExecutionArn"].as_str().unwrap().to_owned();
    (w, arn)
}

/// Frees the waiting Callback step with this answer.
fn approve(w: &mut World, seconds: f64, arn: &str, approved: &str) {
    let steps = w.steps(seconds, arn);
    let ask = steps.iter().find(|s| s["StepName"] == "AskForApproval").unwrap();
    let input = json!({"CallbackToken": ask["Metadata"]["Callback"]["CallbackToken"],
                       "OutputParameters": [{"Name": "approved", "Value": approved}]});
    w.ok(seconds, "SendPipelineExecutionStepSuccess", input);
}

fn ran(w: &mut World, seconds: f64, arn: &str) -> Vec<String> {
    let mut names: Vec<String> =
        w.steps(seconds, arn).iter().map(|s| s["StepName"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn failure(w: &mut World, seconds: f64, arn: &str) -> String {
    let steps = w.steps(seconds, arn);
    let failed = steps.iter().find(|s| s["StepStatus"] == "Failed").unwrap();
    assert_eq!(failed["FailureReason"], failed["Metadata"]["Fail"]["ErrorMessage"]);
    failed["FailureReason"].as_str().unwrap().to_owned()
}

const FIRST: [&str; 3] = ["EvaluateModel", "PrepareData", "WhetherGood"];

fn with_first(more: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = FIRST.iter().chain(more).map(|name| (*name).to_owned()).collect();
    all.sort();
    all
}

#[test]
fn a_good_and_approved_model_is_released() {
    let (mut w, arn) = started(found_out(0.91, "good", 0), json!([]));
    assert_eq!(w.status(9.0, &arn), "Executing", "somebody has to approve it");
    approve(&mut w, 9.0, &arn, "true");
    assert_eq!(w.status(30.0, &arn), "Succeeded");
    let more = [
        "AskForApproval",
        "Model-CreateModel",
        "Release-RegisterModel",
        "ScoreAll",
        "TellPeople",
        "TrainModel",
        "WhetherApproved",
        "WhetherToTune",
    ];
    assert_eq!(ran(&mut w, 30.0, &arn), with_first(&more));
}

#[test]
fn a_model_below_the_threshold_fails_the_execution_with_the_pipelines_own_words() {
    let (mut w, arn) = started(found_out(0.3, "good", 0), json!([]));
    assert_eq!(w.status(9.0, &arn), "Failed");
    assert_eq!(failure(&mut w, 9.0, &arn), "auc 0.3 is below 0.4");
    let all = ran(&mut w, 9.0, &arn);
    assert_eq!(all, with_first(&["TooBad", "TrainModel", "WhetherToTune"]), "nobody is told, nothing is released");
}

#[test]
fn the_executions_own_parameters_decide() {
    let lower = json!([{"Name": "Threshold", "Value": "0.25"}, {"Name": "Stage", "Value": "live"}]);
    let (mut w, arn) = started(found_out(0.3, "poor", 2), lower);
    assert_eq!(w.status(9.0, &arn), "Executing", "0.3 is enough now");
    approve(&mut w, 9.0, &arn, "true");
    assert_eq!(w.status(9.0, &arn), "Failed", "but the verdict is poor, and two votes are not more than two");
    assert_eq!(failure(&mut w, 9.0, &arn), "rejected on stage live with auc 0.3");

    let (mut w, arn) = started(found_out(0.3, "poor", 3), json!([{"Name": "Threshold", "Value": "0.25"}]));
    approve(&mut w, 9.0, &arn, "false");
    assert_eq!(w.status(9.0, &arn), "Failed", "three votes are, but it was not approved");

    let (mut w, arn) = started(found_out(0.91, "good", 0), json!([{"Name": "Rounds", "Value": "101"}]));
    assert_eq!(w.status(9.0, &arn), "Failed");
    assert_eq!(failure(&mut w, 9.0, &arn), "auc 0.91 is below 0.4", "too many rounds end in the same step");
}

#[test]
fn a_tuned_model_is_not_trained_as_well() {
    let (mut w, arn) = started(found_out(0.3, "good", 0), json!([{"Name": "Tune", "Value": "true"}]));
    let all = ran(&mut w, 9.0, &arn);
    assert!(all.contains(&"TuneModel".to_owned()) && !all.contains(&"TrainModel".to_owned()), "{all:?}");
}
