//! The plugin input: what a request becomes, rule by rule. What is refused is in [`refusals`].

#![allow(clippy::unwrap_used, clippy::unwrap_in_result, clippy::panic)]

mod digests;
mod identity;
mod lengths;
mod properties;
mod refusals;
mod roles;

use std::time::Duration;

use awf_aws::{
    input::{Action, Execute, InputError, MockState, OnRetry, OnStop, Task, WorkflowId, read_task},
    pipelines::Time,
    protocol::ExecuteTemplateArgs,
    results::Wanted,
};
use serde_json::{Map, Value, json};

use crate::support::argo::SEED;

const EXECUTION: &str = "arn:aws:sagemaker:us-west-2:100000000002:pipeline/mypipeline/execution/4wemqw2sucgh";

/// A request for `execute` with some fields of the input set; `null` takes a field away.
fn request(changes: &Value) -> Value {
    let mut input = json!({
        "action": "execute",
        "account_id": "100000000002",
        "pipeline_name": "MyPipeline",
        "region_name": "us-west-2",
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => input.as_object_mut().unwrap().remove(name),
            value => input.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    json!({
        "workflow": {"metadata": {"name": "train-7xk2p", "namespace": "ml", "uid": "5d5c1a3e"}},
        "template": {"name": "run", "inputs": {}, "outputs": {}, "metadata": {}, "plugin": {"awf-aws-plugin": input}},
    })
}

/// [`request`] with fields of the template around the input set.
fn request_in(template: &Value, changes: &Value) -> Value {
    let mut request = request(changes);
    for (name, value) in template.as_object().unwrap() {
        request["template"][name] = value.clone();
    }
    request
}

fn read(request: Value) -> Result<Option<Task>, InputError> {
    read_task(&serde_json::from_str::<ExecuteTemplateArgs<'_>>(&request.to_string()).unwrap())
}

fn task(changes: Value) -> Task {
    read(request(&changes)).unwrap().unwrap()
}

fn execute_of(task: Task) -> Execute {
    match task.action {
        Action::Execute(execute) => *execute,
        other => panic!("not an execute: {other:?}"),
    }
}

fn execute(changes: Value) -> Execute {
    execute_of(task(changes))
}

fn refusal(request: Value) -> String {
    read(request).unwrap_err().to_string()
}

fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_first_request_is_a_valid_validate_task() {
    let args: ExecuteTemplateArgs<'_> = serde_json::from_str(SEED).unwrap();
    let task = read_task(&args).unwrap().unwrap();
    let workflow = WorkflowId {
        uid: "27c01e7c-9d93-450f-a001-c64d649aac99".to_owned(),
        name: "sm-pipelines-r58tg".to_owned(),
        namespace: "argo".to_owned(),
    };
    assert_eq!(task.workflow, workflow);
    assert_eq!(task.template_name, "validate_pipeline");
    assert_eq!(task.client.region, "us-west-2");
    assert_eq!((&task.client.role_arn, &task.client.external_id), (&None, &None));
    assert_eq!((task.account_id.as_str(), task.partition), ("100000000002", "aws"));
    assert_eq!(task.pipeline_name, "MyPipeline");
    assert_eq!(task.pipeline_arn(), "arn:aws:sagemaker:us-west-2:100000000002:pipeline/MyPipeline");
    assert_eq!((task.execution_key, task.attempt), (None, 0));
    assert_eq!(task.action, Action::Validate { parameters: vec![], version: None });
}

#[test]
fn a_template_of_any_name_is_served() {
    // Argo refuses some of them in what is applied today; older clusters hold them, and the seed's request has one.
    for name in ["validate_pipeline", "validate-pipeline", "Validate.Pipeline 2", "-x", "überprüfen", &"x".repeat(200)]
    {
        let mut request: Value = serde_json::from_str(SEED).unwrap();
        request["template"]["name"] = json!(name);
        assert_eq!(read(request).unwrap().unwrap().template_name, name);
    }
}

#[test]
fn a_template_without_our_key_is_not_ours() {
    for template in [
        json!({}),
        json!({"plugin": {}}),
        json!({"plugin": {"slack": {"action": "execute"}}}),
        json!({"plugin": null}),
        json!({"plugin": "awf-aws-plugin"}),
        json!({"plugin": ["awf-aws-plugin"]}),
        json!({"name": "t", "http": {"url": "x"}}),
    ] {
        // Not even the missing uid matters then.
        let request = json!({"workflow": {"metadata": {}}, "template": template});
        assert_eq!(read(request.clone()), Ok(None), "{request}");
    }
}

#[test]
fn an_execute_without_options_has_none() {
    let expected = Execute {
        parameters: vec![],
        display_name: None,
        description: None,
        version: None,
        max_parallel_steps: None,
        selected_steps: vec![],
        source_execution_arn: None,
        max_running: None,
        timeout: None,
        on_stop: None,
        on_retry: OnRetry::Restart,
        accept_completed_with_failures: false,
        results: Wanted::default(),
        attach: None,
        args_digest: execute(json!({})).args_digest,
        work_digest: execute(json!({})).work_digest,
    };
    assert_eq!(execute(json!({})), expected);
}

#[test]
fn of_what_the_template_declares_the_results_of_steps_are_kept() {
    let declares =
        |outputs: Value| execute_of(read(request_in(&json!({"outputs": outputs}), &json!({}))).unwrap().unwrap());
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let supplied = |name: &str| json!({"name": name, "valueFrom": {"supplied": {}}});
    let read = declares(json!({
        "parameters": [supplied("execution-arn"), supplied("Train-model-artifacts"), supplied("Train-metric-auc"), {"value": "x"}, {"name": "known-to-argo", "value": "x"}, supplied("logs-url")],
        "artifacts": [{"name": "Prep-output-train", "path": "/x"}, {"name": "report"}],
        "exitCode": "0",
    }));
    let expected =
        Wanted::declared(names(&["Train-model-artifacts", "Train-metric-auc"]), names(&["Prep-output-train"]));
    assert_eq!(read.results, expected);
    for nothing in [json!(null), json!({}), json!({"parameters": null, "artifacts": []})] {
        assert!(declares(nothing.clone()).results.is_nothing(), "{nothing}");
    }
    let all = execute(json!({"outputs": "all"}));
    assert_eq!(all.results, Wanted::default().and_all());
    assert_eq!(execute(json!({"outputs": "declared"})).results, Wanted::default());
}

#[test]
fn every_field_is_read_from_text() {
    let task = task(json!({
        "kind": "whatever", "resource_arn": ["ignored"],
        "service": "amazon_sagemaker_pipelines",
        "parameters": {"MaxDepth": "6", "Bucket": "s3://b"},
        "execution_key": "train-7xk2p[0].run(0:a b)", "attempt": "2",
        "workflow_created": "2026-11-23T11:57:02Z",
        "display_name": "nightly-1", "description": "Nightly | run {{x}}\n",
        "pipeline_version_id": "3", "max_parallel_steps": "4",
        "selected_steps": "Train, Evaluate", "source_execution_arn": EXECUTION,
        "max_running": "5", "timeout": "1h30m", "on_stop": "leave", "on_retry": "restart",
        "role_arn": "arn:aws:iam::200000000003:role/team/Run@ml", "external_id": "ab:1",
        "accept_completed_with_failures": "true", "outputs": "all", "execution_arn": EXECUTION,
        "mock": "false", "mock_state": "running",
    }));
    assert_eq!(task.execution_key.as_deref(), Some("train-7xk2p[0].run(0:a b)"));
    assert_eq!(task.attempt, 2);
    assert_eq!(task.workflow_created, Some(Time::at(1_795_435_022_000)));
    assert_eq!(task.client.role_arn.as_deref(), Some("arn:aws:iam::200000000003:role/team/Run@ml"));
    assert_eq!(task.client.external_id.as_deref(), Some("ab:1"));
    let expected = Execute {
        parameters: pairs(&[("Bucket", "s3://b"), ("MaxDepth", "6")]),
        display_name: Some("nightly-1".to_owned()),
        description: Some("Nightly | run {{x}}".to_owned()),
        version: Some(3),
        max_parallel_steps: Some(4),
        selected_steps: vec!["Train".to_owned(), "Evaluate".to_owned()],
        source_execution_arn: Some(EXECUTION.to_owned()),
        max_running: Some(5),
        timeout: Some(Duration::from_secs(5_400)),
        on_stop: Some(OnStop::Leave),
        on_retry: OnRetry::Restart,
        accept_completed_with_failures: true,
        results: Wanted::default().and_all(),
        attach: Some(EXECUTION.to_owned()),
        args_digest: String::new(),
        work_digest: String::new(),
    };
    let read = execute_of(task);
    assert_eq!(read.args_digest.len(), 12);
    assert_eq!(Execute { args_digest: String::new(), work_digest: String::new(), ..read }, expected);
}

#[test]
fn numbers_and_booleans_are_read_like_their_text() {
    let as_text = json!({"account_id": "100000000002", "attempt": "1", "pipeline_version_id": "7",
        "max_parallel_steps": "2", "max_running": "3", "accept_completed_with_failures": "true", "mock": "false",
        "execution_key": "5", "parameters": {"Depth": "6", "Rate": "0.1", "On": "true", "Even": "5"}});
    let as_values = json!({"account_id": 100_000_000_002_u64, "attempt": 1, "pipeline_version_id": 7,
        "max_parallel_steps": 2, "max_running": 3.0, "accept_completed_with_failures": true, "mock": false,
        "execution_key": 5, "parameters": {"Depth": 6, "Rate": 0.1, "On": true, "Even": 5.0}});
    assert_eq!(task(as_text), task(as_values));
}

#[test]
fn empty_text_and_null_are_absent_where_a_field_is_optional() {
    let mut empty = Map::new();
    for name in [
        "service",
        "parameters",
        "execution_key",
        "attempt",
        "workflow_created",
        "display_name",
        "description",
        "pipeline_version_id",
        "max_parallel_steps",
        "selected_steps",
        "source_execution_arn",
        "max_running",
        "timeout",
        "on_stop",
        "on_retry",
        "role_arn",
        "external_id",
        "accept_completed_with_failures",
        "execution_arn",
        "mock",
        "mock_state",
    ] {
        empty.insert(name.to_owned(), json!(""));
    }
    assert_eq!(task(Value::Object(empty.clone())), task(json!({})));
    let mut nulls = request(&json!({}));
    for name in empty.keys() {
        nulls["template"]["plugin"]["awf-aws-plugin"][name] = Value::Null;
    }
    assert_eq!(read(nulls).unwrap().unwrap(), task(json!({})));
    assert_eq!(task(json!({"timeout": " ", "description": "\n", "parameters": " "})).action, task(json!({})).action);
}

#[test]
fn the_partition_follows_from_the_region() {
    for (region, partition) in [
        ("us-west-2", "aws"),
        ("eu-central-1", "aws"),
        ("ap-southeast-7", "aws"),
        ("mx-central-1", "aws"),
        ("cn-north-1", "aws-cn"),
        ("cn-northwest-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eu-isoe-west-1", "aws-iso-e"),
        ("us-isof-south-1", "aws-iso-f"),
        ("eusc-de-east-1", "aws-eusc"),
    ] {
        let task = task(json!({"region_name": region}));
        assert_eq!((task.partition, task.client.region.as_str()), (partition, region));
        let arn = format!("arn:{partition}:sagemaker:{region}:100000000002:pipeline/MyPipeline");
        assert_eq!(task.pipeline_arn(), arn);
        assert_eq!(self::task(json!({"region_name": region, "pipeline_name": arn})).pipeline_name, "MyPipeline");
    }
}

#[test]
fn a_pipelines_arn_is_the_same_as_its_name() {
    let by_arn = task(json!({"pipeline_name": "arn:aws:sagemaker:us-west-2:100000000002:pipeline/MyPipeline"}));
    let by_name = task(json!({}));
    assert_eq!(by_arn.pipeline_name, by_name.pipeline_name);
    assert_eq!(by_arn.action, by_name.action);
    for name in ["a", "0", "A--b", &"x".repeat(256)] {
        assert_eq!(task(json!({"pipeline_name": name})).pipeline_name, name);
    }
}

#[test]
fn an_execution_of_an_older_pipeline_is_its_own_although_its_arn_is_in_lower_case() {
    // SageMaker wrote ARNs in lower case until 2023; the pipeline kept the name that it was given.
    for arn in
        [EXECUTION, &EXECUTION.replace("mypipeline", "MyPipeline"), &EXECUTION.replace("mypipeline", "MYPIPELINE")]
    {
        let read = execute(json!({"execution_arn": arn, "source_execution_arn": arn, "selected_steps": "S"}));
        assert_eq!((read.attach.as_deref(), read.source_execution_arn.as_deref()), (Some(arn), Some(arn)));
    }
    let by_arn = json!({
        "pipeline_name": "arn:aws:sagemaker:us-west-2:100000000002:pipeline/mypipeline",
        "execution_arn": EXECUTION.replace("mypipeline", "MyPipeline"),
    });
    assert!(execute(by_arn).attach.is_some());
}

#[test]
fn parameters_become_texts_sorted_by_name() {
    let given = json!({
        "b_2": [1, "x", {"k": null}], "a-1": {"z": 1, "a": [true]}, "Text": " kept as it is\n", "N": -3, "F": 1.5,
        "Big": 18_446_744_073_709_551_615_u64, "No": false, "Braces": "{{not argo's}}",
    });
    let expected = pairs(&[
        ("Big", "18446744073709551615"),
        ("Braces", "{{not argo's}}"),
        ("F", "1.5"),
        ("N", "-3"),
        ("No", "false"),
        ("Text", " kept as it is\n"),
        ("a-1", r#"{"a":[true],"z":1}"#),
        ("b_2", r#"[1,"x",{"k":null}]"#),
    ]);
    assert_eq!(execute(json!({"parameters": given})).parameters, expected);
    // A map that came through a variable is a text.
    assert_eq!(execute(json!({"parameters": given.to_string()})).parameters, expected);
    let validate = task(json!({"action": "validate", "parameters": given, "pipeline_version_id": 2}));
    assert_eq!(validate.action, Action::Validate { parameters: expected, version: Some(2) });
}

#[test]
fn parameters_may_reach_their_limits() {
    let many: Map<String, Value> = (0..200).map(|i| (format!("p{i}"), json!(i))).collect();
    assert_eq!(execute(json!({"parameters": many})).parameters.len(), 200);
    // Characters are counted, not bytes.
    let (name, value) = ("n".repeat(256), "é".repeat(1024));
    let mut longest = Map::new();
    longest.insert(name.clone(), json!(value));
    assert_eq!(execute(json!({"parameters": longest})).parameters, vec![(name, value)]);
}

#[test]
fn texts_may_reach_their_limits() {
    let read = execute(json!({"display_name": "d".repeat(82), "description": "é".repeat(2800)}));
    assert_eq!(read.display_name.map(|name| name.len()), Some(82));
    assert_eq!(read.description.map(|text| text.chars().count()), Some(2800));
    let role = json!({"role_arn": "arn:aws:iam::100000000002:role/r", "external_id": "x".repeat(1224)});
    assert_eq!(task(role).client.external_id.map(|id| id.len()), Some(1224));
    let steps: Vec<String> = (0..50).map(|i| format!("s{i}")).collect();
    assert_eq!(execute(json!({"selected_steps": steps})).selected_steps.len(), 50);
}

#[test]
fn selected_steps_are_a_list_or_its_text() {
    for given in [json!(["Train", "7"]), json!(["Train", 7]), json!(r#"["Train", "7"]"#), json!(" Train ,7")] {
        assert_eq!(execute(json!({"selected_steps": given})).selected_steps, ["Train", "7"], "{given}");
    }
    for none in [json!([]), json!("[]"), json!("")] {
        assert_eq!(execute(json!({"selected_steps": none})).selected_steps, [""; 0], "{none}");
    }
}

#[test]
fn the_shortest_timeout_wins() {
    let shortest = |template: Value, input: Value| {
        execute_of(read(request_in(&template, &input)).unwrap().unwrap()).timeout.map(|timeout| timeout.as_secs())
    };
    let own = json!({"timeout": "1h"});
    assert_eq!(shortest(json!({}), json!({})), None);
    assert_eq!(shortest(json!({}), own.clone()), Some(3_600));
    assert_eq!(shortest(json!({"timeout": "30m"}), own.clone()), Some(1_800));
    assert_eq!(shortest(json!({"timeout": "2h"}), own.clone()), Some(3_600));
    assert_eq!(shortest(json!({"timeout": "2h"}), json!({})), Some(7_200));
    assert_eq!(shortest(json!({"activeDeadlineSeconds": 60}), own.clone()), Some(60));
    assert_eq!(shortest(json!({"activeDeadlineSeconds": "61", "timeout": "62s"}), own.clone()), Some(61));
    assert_eq!(shortest(json!({"activeDeadlineSeconds": null, "timeout": ""}), own), Some(3_600));
}

#[test]
fn the_workflows_creation_is_read_in_any_offset() {
    for (text, milliseconds) in [
        ("2026-11-23T11:57:02Z", 1_795_435_022_000),
        ("2026-11-23T13:57:02.25+02:00", 1_795_435_022_250),
        ("1970-01-01T00:00:00Z", 0),
    ] {
        for action in ["execute", "stop", "validate"] {
            let created = task(json!({"action": action, "workflow_created": text})).workflow_created;
            assert_eq!(created, Some(Time::at(milliseconds)), "{action}");
        }
    }
}

#[test]
fn stop_takes_an_execution_a_key_or_nothing() {
    let by_arn = task(json!({"action": "stop", "execution_arn": EXECUTION}));
    assert_eq!(by_arn.action, Action::Stop { execution_arn: Some(EXECUTION.to_owned()), timeout: None });
    let by_key = task(json!({"action": "stop", "execution_key": "w[0].run"}));
    assert_eq!(by_key.action, Action::Stop { execution_arn: None, timeout: None });
    assert_eq!(by_key.execution_key.as_deref(), Some("w[0].run"));
    // One set of arguments for all three actions does no harm.
    let with_rest = json!({"action": "stop", "parameters": {"a": 1}, "timeout": "1h", "display_name": "d"});
    assert_eq!(task(with_rest).action, Action::Stop { execution_arn: None, timeout: Some(Duration::from_secs(3_600)) });
}

#[test]
fn a_mock_ends_as_its_state_says_whatever_the_action() {
    for action in ["validate", "execute", "stop"] {
        for (state, expected) in [
            (json!("success"), MockState::Success),
            (json!("running"), MockState::Running),
            (json!("error"), MockState::Error),
            (json!(""), MockState::Success),
        ] {
            let task = task(json!({"action": action, "mock": true, "mock_state": state}));
            assert_eq!(task.action, Action::Mock(expected));
        }
        assert_eq!(task(json!({"action": action, "mock": "True"})).action, Action::Mock(MockState::Success));
    }
    assert_eq!(task(json!({"mock": false, "mock_state": "error"})).action, task(json!({})).action);
}

#[test]
fn on_stop_is_what_the_user_said_or_nothing() {
    assert_eq!(execute(json!({"on_stop": "stop"})).on_stop, Some(OnStop::Stop));
    assert_eq!(execute(json!({"on_stop": "leave"})).on_stop, Some(OnStop::Leave));
    assert_eq!(execute(json!({})).on_stop, None);
}

#[test]
fn on_retry_is_a_restart_unless_the_user_says_otherwise() {
    assert_eq!(execute(json!({})).on_retry, OnRetry::Restart);
    assert_eq!(execute(json!({"on_retry": "resume"})).on_retry, OnRetry::Resume);
    assert_eq!(execute(json!({"on_retry": "resume-only"})).on_retry, OnRetry::ResumeOnly);
    let attached = json!({"on_retry": "restart", "execution_arn": EXECUTION});
    assert_eq!(execute(attached).on_retry, OnRetry::Restart, "an attached node has nothing to resume");
}
