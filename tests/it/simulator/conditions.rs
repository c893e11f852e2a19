//! Which branch a Condition step takes, and what is no condition.

use serde_json::{Value, json};

use super::{World, token};

/// A pipeline that runs Yes or No by these conditions, after a Lambda, a Processing and a Training step.
fn branching(conditions: Value) -> Value {
    json!({
        "Parameters": [
            {"Name": "Word", "Type": "String", "DefaultValue": "b"},
            {"Name": "Count", "Type": "Integer", "DefaultValue": 5},
            {"Name": "Limit", "Type": "Float", "DefaultValue": 0.4},
            {"Name": "Sure", "Type": "Boolean", "DefaultValue": true},
        ],
        "Steps": [
            {"Name": "L", "Type": "Lambda", "FunctionArn": "arn:f", "OutputParameters": [
                {"OutputName": "text", "OutputType": "String"}, {"OutputName": "number", "OutputType": "Integer"},
            ]},
            {"Name": "E", "Type": "Processing", "PropertyFiles": [
                {"PropertyFileName": "Report", "OutputName": "report", "FilePath": "evaluation.json"},
            ]},
            {"Name": "T", "Type": "Training", "Arguments": {"OutputDataConfig": {"S3OutputPath": "s3://models"}}},
            {"Name": "If", "Type": "Condition", "DependsOn": ["L", "E", "T"], "Arguments": {"Conditions": conditions,
                "IfSteps": [{"Name": "Yes", "Type": "Model"}], "ElseSteps": [{"Name": "No", "Type": "Model"}]}},
        ],
    })
}

fn get(path: &str) -> Value {
    json!({"Get": path})
}

fn parameter(name: &str) -> Value {
    get(&format!("Parameters.{name}"))
}

fn report(path: &str) -> Value {
    json!({"Std:JsonGet": {"PropertyFile": get("Steps.E.PropertyFiles.Report"), "Path": path}})
}

fn compare(left: Value, how: &str, right: Value) -> Value {
    json!({"Type": how, "LeftValue": left, "RightValue": right})
}

fn among(value: Value, values: Value) -> Value {
    json!({"Type": "In", "QueryValue": value, "Values": values})
}

fn not(condition: Value) -> Value {
    json!({"Type": "Not", "Condition": condition})
}

fn or(conditions: &[Value]) -> Value {
    json!({"Type": "Or", "Conditions": conditions})
}

fn yes() -> Value {
    compare(json!(1), "Equals", json!(1))
}

fn no() -> Value {
    compare(json!(1), "Equals", json!(2))
}

/// What the scenario says of the steps before the condition.
fn results() -> Value {
    json!({
        "step_seconds": 0,
        "steps": {
            "L": {"outputs": {"text": "good", "number": "3"}},
            "E": {"property_files": {"Report": {"auc": {"value": 0.91}, "folds": [0.5, {"p-value": 0.25}], "best": "b"}}},
            "T": {"metrics": {"validation:auc": 0.75}},
        },
        "objects": {"s3://models/b/result.json": {"Result": 7}},
    })
}

/// The branch taken, or the reason why the Condition step failed.
fn outcome(conditions: Value, faults: Value, parameters: Value) -> String {
    let mut w = World::with_pipeline(faults, branching(conditions));
    let input = json!({"PipelineName": "P", "ClientRequestToken": token("a"), "PipelineParameters": parameters});
    let arn = w.ok(0.0, "StartPipelineExecution", input)["PipelineExecutionArn"].as_str().unwrap().to_owned();
    let steps = w.steps(9.0, &arn);
    let found = |name: &str| steps.iter().find(|s| s["StepName"] == name);
    let condition = found("If").unwrap();
    if condition["StepStatus"] == "Failed" {
        assert_eq!(w.status(9.0, &arn), "Failed");
        assert!(found("Yes").is_none() && found("No").is_none(), "{steps:?}");
        return condition["FailureReason"].as_str().unwrap().to_owned();
    }
    assert_eq!(w.status(9.0, &arn), "Succeeded");
    let word = condition["Metadata"]["Condition"]["Outcome"].as_str().unwrap().to_owned();
    let (taken, other) = if word == "True" { ("Yes", "No") } else { ("No", "Yes") };
    assert!(found(taken).is_some() && found(other).is_none(), "{steps:?}");
    word
}

fn decided(condition: &Value) -> String {
    outcome(json!([condition]), results(), json!([]))
}

#[test]
fn a_condition_compares_what_it_says() {
    let table = [
        (compare(json!(0.3), "GreaterThanOrEqualTo", json!(0.4)), false),
        (compare(json!(0.4), "GreaterThanOrEqualTo", json!(0.4)), true),
        (compare(json!(0.4), "GreaterThan", json!(0.4)), false),
        (compare(json!(5), "GreaterThan", json!(4.5)), true),
        (compare(json!(5), "Equals", json!(5.0)), true),
        (compare(json!(5), "LessThan", json!(5)), false),
        (compare(json!(5), "LessThanOrEqualTo", json!(5)), true),
        (compare(json!("a"), "LessThan", json!("b")), true),
        (compare(json!("a"), "Equals", json!("A")), false),
        (compare(json!(true), "Equals", json!(true)), true),
        (among(json!("a"), json!(["b", "a"])), true),
        (among(json!(3), json!([1, 2])), false),
        (among(json!(1), json!(["1"])), false),
        (not(no()), true),
        (not(yes()), false),
        (or(&[no(), yes()]), true),
        (or(&[no(), no()]), false),
        (not(or(&[no(), not(yes())])), true),
    ];
    for (condition, expected) in table {
        assert_eq!(decided(&condition), if expected { "True" } else { "False" }, "{condition}");
    }
}

#[test]
fn all_conditions_of_the_list_must_hold() {
    for (conditions, expected) in
        [(json!([]), "True"), (json!([yes(), yes()]), "True"), (json!([yes(), no()]), "False")]
    {
        assert_eq!(outcome(conditions.clone(), results(), json!([])), expected, "{conditions}");
    }
}

#[test]
fn parameters_are_compared_by_their_declared_type_and_as_the_execution_overrides_them() {
    let of = |condition: Value, parameters: Value| outcome(json!([condition]), results(), parameters);
    let at_least = || compare(json!(0.3), "GreaterThanOrEqualTo", parameter("Limit"));
    assert_eq!(of(at_least(), json!([])), "False");
    assert_eq!(of(at_least(), json!([{"Name": "Limit", "Value": "0.25"}])), "True");
    let larger = || compare(parameter("Count"), "GreaterThan", json!(9));
    assert_eq!(of(larger(), json!([])), "False");
    assert_eq!(of(larger(), json!([{"Name": "Count", "Value": "10"}])), "True", "as numbers, not as text");
    let sure = || compare(parameter("Sure"), "Equals", json!(true));
    assert_eq!(of(sure(), json!([])), "True");
    assert_eq!(of(sure(), json!([{"Name": "Sure", "Value": "False"}])), "False");
    assert_eq!(of(among(parameter("Word"), json!(["a", "b"])), json!([])), "True");
}

#[test]
fn functions_and_earlier_steps_are_operands() {
    let joined =
        json!({"Std:Join": {"On": "-", "Values": ["a", parameter("Word"), parameter("Count"), report("best")]}});
    let at = |path: &str, uri: Value| json!({"Std:JsonGet": {"S3Uri": uri, "Path": path}});
    let uri = json!({"Std:Join": {"On": "/", "Values": ["s3://models", parameter("Word"), "result.json"]}});
    let table = [
        (compare(joined, "Equals", json!("a-b-5-b")), true),
        (compare(report("auc.value"), "GreaterThan", json!(0.9)), true),
        (compare(report("auc.value"), "LessThan", parameter("Limit")), false),
        (compare(report("$.folds[0]"), "Equals", json!(0.5)), true),
        (compare(report("folds[1]['p-value']"), "Equals", json!(0.25)), true),
        (compare(at("Result", uri), "Equals", json!(7)), true),
        (compare(get("Steps.L.OutputParameters['text']"), "Equals", json!("good")), true),
        (compare(get("Steps.L.OutputParameters['number']"), "GreaterThan", json!(2)), true),
        (compare(get("Steps.T.FinalMetricDataList['validation:auc'].Value"), "LessThan", json!(0.7)), false),
        (compare(get("Steps.T.FinalMetricDataList[0].MetricName"), "Equals", json!("validation:auc")), true),
        (compare(get("Steps.T.TrainingJobStatus"), "Equals", json!("Completed")), true),
        (compare(get("Execution.PipelineName"), "Equals", json!("P")), true),
    ];
    for (condition, expected) in table {
        assert_eq!(decided(&condition), if expected { "True" } else { "False" }, "{condition}");
    }
}

#[test]
fn what_the_scenario_does_not_tell_leaves_the_true_branch_unless_the_rest_decides() {
    let unknown = || compare(report("auc.value"), "LessThan", json!(0.1));
    let nothing = || json!({"step_seconds": 0});
    for (conditions, expected) in [
        (json!([unknown()]), "True"),
        (json!([not(unknown())]), "True"),
        (json!([unknown(), no()]), "False"),
        (json!([not(or(&[unknown(), yes()]))]), "False"),
        (json!([compare(get("Steps.L.OutputParameters['number']"), "Equals", json!(1))]), "True"),
        (json!([compare(get("Steps.T.FinalMetricDataList['x'].Value"), "Equals", json!(1))]), "True"),
    ] {
        assert_eq!(outcome(conditions.clone(), nothing(), json!([])), expected, "{conditions}");
    }
    let told = json!({"step_seconds": 0, "steps": {"If": {"outcome": false}}});
    assert_eq!(
        outcome(json!([yes()]), told, json!([])),
        "False",
        "what the scenario says of the step itself goes first"
    );
}

#[test]
fn a_condition_that_cannot_be_evaluated_fails_its_step() {
    for (condition, part) in [
        (
            compare(json!("5"), "Equals", json!(5)),
            "LeftValue [5] of type [String] and RightValue [5] of type [Integer]",
        ),
        (
            compare(json!(true), "LessThan", json!(false)),
            "of type [LessThan] not supported between [true] of type [Boolean]",
        ),
        (compare(report("auc"), "Equals", json!(1)), "'auc' of property file [Report] of step [E]"),
        (compare(report("nothing.here"), "Equals", json!(1)), "Invalid json path 'nothing.here'"),
    ] {
        let reason = decided(&condition);
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn what_is_no_condition_is_refused_with_the_definition() {
    let mut w = World::new(json!({}));
    for (condition, text) in [
        // The service's words (aws/sagemaker-python-sdk#2746).
        (
            json!({"Type": "Not", "Expression": yes()}),
            "Unable to parse pipeline definition. Cannot parse object, unknown property 'Expression'.",
        ),
        (json!("yes"), "Unable to parse pipeline definition. Expecting start of Json Object."),
        (json!({"Type": "In", "QueryValue": 1, "Values": 1}), "Expecting start of Json Array"),
        (
            json!({"Type": "And", "Conditions": []}),
            "Value 'And' for 'ConditionType' failed to satisfy enum value set: [Equals, GreaterThan, GreaterThanOrEqualTo, \
             In, LessThan, LessThanOrEqualTo, Not, Or]",
        ),
        (json!({"Type": "Equals", "LeftValue": 1}), "Missing property 'RightValue'"),
        (or(&[compare(parameter("Nobody"), "Equals", json!(1))]), "Parameter [Nobody]"),
        (compare(get("Steps.Nobody.X"), "Equals", json!(1)), "[Nobody], which does not exist"),
        (compare(get("Weather.Today"), "Equals", json!(1)), "'Weather.Today'"),
        (compare(get("Execution.Mood"), "Equals", json!(1)), "'Execution.Mood'"),
        (
            json!({"Type": "Equals", "RightValue": 1, "LeftValue": {"Std:JsonGet": {
                "PropertyFile": get("Steps.E.PropertyFiles.Other"), "Path": "a"}}}),
            "property file [Other]",
        ),
        (json!({"Type": "Equals", "RightValue": 1, "LeftValue": {"Std:Upper": {}}}), "unknown property 'Std:Upper'"),
        (json!({"Type": "Equals", "RightValue": 1, "LeftValue": null}), "null"),
    ] {
        let input = json!({"PipelineName": "Q", "PipelineDefinition": branching(json!([condition])).to_string(),
            "ClientRequestToken": token("c"), "RoleArn": "arn:aws:iam::100000000002:role/pipelines"});
        let (code, message) = w.refused(0.0, "CreatePipeline", input);
        assert_eq!(code, "ValidationException");
        assert!(message.contains(text), "{message}");
    }
}
