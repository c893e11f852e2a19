//! How an execution goes: steps, branches, stops.

use serde_json::{Value, json};

use super::{T0, World, token, two_steps};

#[test]
fn steps_run_in_the_order_of_their_dependencies_as_time_passes() {
    let mut w = World::with_pipeline(json!({}), two_steps());
    let arn = w.start(0.0, "a");
    assert_eq!(w.step_states(0.0, &arn), ["Prepare Executing"]);
    assert_eq!(w.step_states(1.5, &arn), ["Prepare Succeeded", "Train Executing"]);
    assert_eq!(w.status(1.999, &arn), "Executing");
    assert_eq!(w.status(2.0, &arn), "Succeeded");
    let train = &w.steps(2.0, &arn)[1];
    let job = train["Metadata"]["TrainingJob"]["Arn"].as_str().unwrap();
    assert!(job.starts_with("arn:aws:sagemaker:eu-west-1:100000000002:training-job/pipelines-"), "{job}");
}

#[test]
fn times_do_not_depend_on_when_one_looks() {
    let mut w = World::with_pipeline(json!({}), two_steps());
    let arn = w.start(0.0, "a");
    let shown = w.describe(500.0, &arn);
    assert_eq!(shown["LastModifiedTime"], json!((T0 + 2000) as f64 / 1000.0));
    let train = &w.steps(500.0, &arn)[1];
    assert_eq!((&train["StartTime"], &train["EndTime"]), (&json!(1_795_000_001.0), &json!(1_795_000_002.0)));
}

#[test]
fn references_to_other_steps_are_dependencies() {
    let definition = json!({"Steps": [
        {"Name": "Use", "Type": "Training", "Arguments": {"Data": [{"Get": "Steps.Make.ProcessingOutputConfig"}]}},
        {"Name": "Make", "Type": "Processing"},
    ]});
    let mut w = World::with_pipeline(json!({}), definition);
    let arn = w.start(0.0, "a");
    assert_eq!(w.step_states(0.0, &arn), ["Make Executing"]);
}

#[test]
fn a_failed_step_fails_the_execution_and_nothing_runs_after_it() {
    let mut w =
        World::with_pipeline(json!({"steps": {"Prepare": {"fail": 1, "reason": "ClientError: no data"}}}), two_steps());
    let arn = w.start(0.0, "a");
    let shown = w.describe(10.0, &arn);
    assert_eq!(shown["PipelineExecutionStatus"], "Failed");
    assert_eq!(shown["FailureReason"], "Step failure: One or multiple steps failed.");
    let steps = w.steps(10.0, &arn);
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0]["FailureReason"], "ClientError: no data");
    let next = w.start(10.0, "b");
    assert_eq!(w.status(12.0, &next), "Succeeded", "only the next run of the step fails");
}

#[test]
fn a_handled_failure_ends_completed_with_failures() {
    let mut w = World::with_pipeline(json!({"steps": {"Prepare": {"fail": "always", "handled": true}}}), two_steps());
    let arn = w.start(0.0, "a");
    assert_eq!(w.status(2.0, &arn), "CompletedWithFailures");
    assert_eq!(w.step_states(2.0, &arn), ["Prepare Failed", "Train Succeeded"]);
}

#[test]
fn a_fail_step_always_fails_with_its_message() {
    let definition = json!({"Steps": [{"Name": "No", "Type": "Fail", "Arguments": {"ErrorMessage": "too bad"}}]});
    let mut w = World::with_pipeline(json!({}), definition);
    let arn = w.start(0.0, "a");
    assert_eq!(w.status(0.0, &arn), "Failed");
    let step = &w.steps(0.0, &arn)[0];
    assert_eq!(
        (&step["FailureReason"], &step["Metadata"]["Fail"]["ErrorMessage"]),
        (&json!("too bad"), &json!("too bad"))
    );
}

#[test]
fn a_condition_runs_one_of_its_branches() {
    let definition = json!({"Steps": [{"Name": "If", "Type": "Condition", "Arguments": {
        "Conditions": [], "IfSteps": [{"Name": "Yes", "Type": "Model"}], "ElseSteps": [{"Name": "No", "Type": "Model"}],
    }}]});
    for (outcome, word, ran) in [(true, "True", "Yes"), (false, "False", "No")] {
        let mut w = World::with_pipeline(json!({"steps": {"P/If": {"outcome": outcome}}}), definition.clone());
        let arn = w.start(0.0, "a");
        assert_eq!(w.status(1.0, &arn), "Succeeded");
        assert_eq!(w.step_states(1.0, &arn), ["If Succeeded".to_owned(), format!("{ran} Succeeded")]);
        assert_eq!(w.steps(1.0, &arn)[0]["Metadata"]["Condition"]["Outcome"], word);
    }
}

#[test]
fn lambda_and_register_model_show_what_they_made_when_done() {
    let definition = json!({"Steps": [
        {"Name": "Tell", "Type": "Lambda", "FunctionArn": "arn:aws:lambda:eu-west-1:1:function:f",
         "OutputParameters": [{"OutputName": "ticket", "OutputType": "String"}]},
        {"Name": "Register", "Type": "RegisterModel", "Arguments": {"ModelPackageGroupName": "models"}},
    ]});
    let mut w = World::with_pipeline(json!({"steps": {"Tell": {"outputs": {"ticket": "T-1"}}}}), definition);
    let arn = w.start(0.0, "a");
    assert!(w.steps(0.5, &arn)[1].get("Metadata").is_none());
    let steps = w.steps(1.0, &arn);
    assert_eq!(steps[0]["Metadata"]["Lambda"]["OutputParameters"], json!([{"Name": "ticket", "Value": "T-1"}]));
    let package = steps[1]["Metadata"]["RegisterModel"]["Arn"].as_str().unwrap();
    assert!(package.contains(":model-package/models/"), "{package}");
}

#[test]
fn parallelism_limits_the_steps_that_run_at_once() {
    let steps: Vec<Value> = (0..4).map(|i| json!({"Name": format!("S{i}"), "Type": "Training"})).collect();
    let mut w = World::with_pipeline(json!({}), json!({"Steps": steps}));
    let input = json!({"PipelineName": "P", "ClientRequestToken": token("a"),
                       "ParallelismConfiguration": {"MaxParallelExecutionSteps": 2}});
    let arn = w.ok(0.0, "StartPipelineExecution", input)["PipelineExecutionArn"].as_str().unwrap().to_owned();
    assert_eq!(w.steps(0.5, &arn).len(), 2);
    assert_eq!(w.status(1.5, &arn), "Executing");
    assert_eq!(w.status(2.0, &arn), "Succeeded");
}

#[test]
fn stopping_takes_its_time_and_a_finished_execution_cannot_be_stopped() {
    let mut w = World::with_pipeline(json!({"step_seconds": 60, "stop_seconds": 2}), two_steps());
    let arn = w.start(0.0, "a");
    w.stop(5.0, &arn);
    assert_eq!(w.status(5.0, &arn), "Stopping");
    assert_eq!(w.step_states(5.0, &arn), ["Prepare Stopping"]);
    w.stop(6.0, &arn);
    let other = json!({"PipelineExecutionArn": arn, "ClientRequestToken": token("other")});
    let text = "Only pipelines with 'Executing' status can be stopped".to_owned();
    assert_eq!(
        w.refused(6.0, "StopPipelineExecution", other.clone()),
        ("ValidationException".to_owned(), text.clone())
    );
    assert_eq!(w.status(7.0, &arn), "Stopped");
    assert_eq!(w.step_states(7.0, &arn), ["Prepare Stopped"]);
    assert_eq!(w.refused(8.0, "StopPipelineExecution", other), ("ValidationException".to_owned(), text));
}

#[test]
fn a_stop_waits_for_a_lambda_step() {
    let definition = json!({"Steps": [{"Name": "L", "Type": "Lambda", "FunctionArn": "arn:f"}]});
    for (script, end) in [(json!({"seconds": 30}), "Stopped"), (json!({"seconds": 30, "fail": "always"}), "Failed")] {
        let mut w = World::with_pipeline(json!({"steps": {"L": script}}), definition.clone());
        let arn = w.start(0.0, "a");
        w.stop(5.0, &arn);
        assert_eq!(w.status(29.0, &arn), "Stopping");
        assert_eq!(w.status(30.0, &arn), end);
    }
}

#[test]
fn a_callback_step_blocks_a_stop_until_it_is_freed() {
    let definition = json!({"Steps": [{"Name": "C", "Type": "Callback", "SqsQueueUrl": "https://q"}]});
    let mut w = World::with_pipeline(json!({}), definition);
    let arn = w.start(0.0, "a");
    w.stop(5.0, &arn);
    assert_eq!(w.status(1_000_000.0, &arn), "Stopping");
    let free = w.steps(1_000_000.0, &arn)[0]["Metadata"]["Callback"]["CallbackToken"].clone();
    assert_eq!(free.as_str().unwrap().len(), 10);
    let input = json!({"CallbackToken": free, "OutputParameters": [{"Name": "x", "Value": "1"}]});
    assert_eq!(
        w.ok(1_000_001.0, "SendPipelineExecutionStepSuccess", input.clone())["PipelineExecutionArn"],
        json!(arn)
    );
    assert_eq!(w.status(1_000_001.0, &arn), "Stopped");
    assert_eq!(w.refused(1_000_002.0, "SendPipelineExecutionStepSuccess", input).0, "ResourceNotFound");
}

#[test]
fn a_freed_callback_goes_on_with_its_outputs_or_fails() {
    let definition = json!({"Steps": [
        {"Name": "C", "Type": "Callback", "SqsQueueUrl": "https://q"},
        {"Name": "After", "Type": "Training", "DependsOn": ["C"]},
    ]});
    let mut w = World::with_pipeline(json!({}), definition);
    let (good, bad) = (w.start(0.0, "a"), w.start(0.0, "b"));
    let waiting = |w: &mut World, arn: &str| w.steps(9.0, arn)[0]["Metadata"]["Callback"]["CallbackToken"].clone();
    let (t1, t2) = (waiting(&mut w, &good), waiting(&mut w, &bad));
    w.ok(
        9.0,
        "SendPipelineExecutionStepSuccess",
        json!({"CallbackToken": t1, "OutputParameters": [{"Name": "x", "Value": "1"}]}),
    );
    w.ok(9.0, "SendPipelineExecutionStepFailure", json!({"CallbackToken": t2, "FailureReason": "said no"}));
    assert_eq!(w.step_states(9.5, &good), ["C Succeeded", "After Executing"]);
    assert_eq!(w.steps(9.5, &good)[0]["Metadata"]["Callback"]["OutputParameters"][0]["Value"], "1");
    assert_eq!(w.status(9.5, &bad), "Failed");
    assert_eq!(w.steps(9.5, &bad)[0]["FailureReason"], "said no");
}
