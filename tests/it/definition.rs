//! `validate` against a pipeline's definition: it refuses what SageMaker refuses at the start, and nothing else.

use awf_aws::{pipelines::PipelineDescription, workflow::PipelineDigest};
use serde_json::{Value, json};

use crate::support::{
    argo::{Plugin, execute},
    simulator::{Simulator, quick},
};

/// Parameters as the SageMaker Python SDK writes them.
fn declared() -> Value {
    json!([
        {"Name": "Count", "Type": "Integer", "DefaultValue": 1},
        {"Name": "Rate", "Type": "Float", "DefaultValue": 0.5},
        {"Name": "Spot", "Type": "Boolean", "DefaultValue": true},
        {"Name": "Text", "Type": "String", "DefaultValue": ""},
        {"Name": "Size", "Type": "String", "DefaultValue": "m", "EnumValues": ["s", "m", "l"]},
        {"Name": "Fleet", "Type": "Integer", "DefaultValue": 1, "EnumValues": [1, 2]},
        {"Name": "Share", "Type": "Float", "DefaultValue": 0.5, "EnumValues": [0.5, 1.0]},
    ])
}

fn digest(definition: &Value) -> PipelineDigest {
    PipelineDigest::of(&PipelineDescription {
        arn: "arn:aws:sagemaker:us-west-2:100000000002:pipeline/MyPipeline".to_owned(),
        status: "Active".to_owned(),
        last_modified: None,
        definition: definition.to_string(),
    })
}

/// What is certainly wrong: name, value, and the words that explain it.
const WRONG: [(&str, &str, &str); 12] = [
    ("Count", "two", "the pipeline declares it as Integer"),
    ("Count", "1.5", "the pipeline declares it as Integer"),
    ("Count", "1,000", "the pipeline declares it as Integer"),
    ("Count", "true", "the pipeline declares it as Integer"),
    ("Rate", "x", "the pipeline declares it as Float"),
    ("Rate", "0,5", "the pipeline declares it as Float"),
    ("Spot", "maybe", "the pipeline declares it as Boolean"),
    ("Spot", "2", "the pipeline declares it as Boolean"),
    ("Size", "xl", "the pipeline allows s, m, l"),
    ("Size", "M", "the pipeline allows s, m, l"),
    ("Fleet", "3", "the pipeline allows 1, 2"),
    ("Share", "0.7", "the pipeline allows 0.5, 1.0"),
];

/// What is right, or what nobody knows to be wrong.
const RIGHT: [(&str, &str); 16] = [
    ("Count", "2"),
    ("Count", "-7"),
    ("Count", "1.0"),
    ("Count", "99999999999999999999"),
    ("Rate", "1"),
    ("Rate", "1e-05"),
    ("Spot", "true"),
    ("Spot", "True"),
    ("Spot", "FALSE"),
    ("Spot", "1"),
    ("Text", "two"),
    ("Text", "maybe"),
    ("Size", "l"),
    ("Fleet", "2"),
    ("Fleet", "2.0"),
    ("Share", "1"),
];

fn given(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

#[test]
fn a_value_of_another_type_or_outside_the_allowed_ones_is_refused() {
    let digest = digest(&json!({"Parameters": declared(), "Steps": [{}, {}]}));
    assert_eq!(digest.step_count, 2);
    for (name, value, objection) in WRONG {
        let refused = digest.check(&given(name, value)).unwrap_err();
        assert_eq!(refused, format!("parameters.{name} is `{value}`; {objection}"));
    }
    for (name, value) in RIGHT {
        assert_eq!(digest.check(&given(name, value)), Ok(()), "{name}={value}");
    }
}

#[test]
fn what_this_version_does_not_know_of_a_declaration_refuses_nothing() {
    for declared in [
        json!({"Name": "P", "DefaultValue": 1}),
        json!({"Name": "P", "Type": "Duration", "DefaultValue": 1}),
        json!({"Name": "P", "Type": 7, "DefaultValue": null}),
        json!({"Name": "P", "Type": "String", "DefaultValue": 1, "EnumValues": null}),
        json!({"Name": "P", "Type": "String", "DefaultValue": 1, "EnumValues": "a"}),
        json!({"Name": "P", "Type": "String", "DefaultValue": 1, "EnumValues": []}),
    ] {
        let digest = digest(&json!({"Parameters": [declared, {"Type": "Integer"}, 5]}));
        assert_eq!(digest.parameters.len(), 1, "{declared}");
        assert_eq!(digest.check(&given("P", "anything")), Ok(()), "{declared}");
        assert_eq!(digest.check(&[]), Ok(()), "{declared}");
    }
    for none in [json!("x"), json!([]), json!({}), json!({"Steps": {}, "Parameters": "P"})] {
        let digest = digest(&none);
        assert_eq!((digest.step_count, digest.parameters.len()), (0, 0), "{none}");
    }
}

#[test]
fn a_refusal_fits_a_nodes_message_and_keeps_what_is_allowed() {
    let many: Vec<String> = (0..300).map(|i| format!("ml.m5.{i}xlarge")).collect();
    let name = "N".repeat(256);
    let parameters = json!([{"Name": name, "Type": "String", "DefaultValue": "a", "EnumValues": many}]);
    let digest = digest(&json!({"Parameters": parameters}));
    let refused = digest.check(&given(&name, &"é".repeat(1024))).unwrap_err();
    assert!(refused.len() <= 250, "{} bytes: {refused}", refused.len());
    assert!(refused.contains("the pipeline allows ml.m5.0xlarge, ") && refused.ends_with("(300 in all)"), "{refused}");
    let unknown: Vec<(String, String)> = (0..200).map(|i| (format!("unknown-{i}"), String::new())).collect();
    let refused = digest.check(&unknown).unwrap_err();
    assert!(refused.len() <= 250, "{} bytes: {refused}", refused.len());
    assert!(refused.contains("(200 in all); it declares NNN"), "{refused}");
}

#[actix_rt::test]
async fn validate_and_the_start_agree_on_every_value() {
    let simulator = Simulator::start(quick()).await;
    let definition = json!({"Version": "2020-12-01", "Parameters": declared(), "Steps": []});
    let create = json!({
        "PipelineName": "MyPipeline", "PipelineDefinition": definition.to_string(),
        "ClientRequestToken": "c".repeat(32), "RoleArn": "arn:aws:iam::100000000002:role/pipelines",
    });
    simulator.expect("CreatePipeline", create).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let rows = WRONG.iter().map(|(name, value, _)| (*name, *value, false));
    for (row, (name, value, is_right)) in rows.chain(RIGHT.iter().map(|(n, v)| (*n, *v, true))).enumerate() {
        let parameters = json!({name: value});
        let validate = execute("", json!({"action": "validate", "parameters": parameters}));
        let validated = plugin.until_ended(&validate).await;
        assert_eq!(validated["node"]["phase"] == "Succeeded", is_right, "{name}={value}: {validated}");
        let start = json!({
            "PipelineName": "MyPipeline", "ClientRequestToken": format!("start-{row:0>32}"),
            "PipelineParameters": [{"Name": name, "Value": value}],
        });
        let (status, started) = simulator.call("StartPipelineExecution", start).await;
        assert_eq!(status == 200, is_right, "{name}={value}: {started}");
        if !is_right {
            let message = validated["node"]["message"].as_str().unwrap();
            assert!(message.contains(name) && message.contains(value), "{message}");
            assert_eq!(started["__type"], "ValidationException", "{started}");
        }
    }
}
