//! Whatever the agent sends, reading it answers: a task that keeps its promises, or a sentence.

use awf_aws::{input::Action, protocol::ExecuteTemplateArgs};
use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value, json};

use super::{EXECUTION, read, read_task};

const FIELDS: [&str; 27] = [
    "action",
    "service",
    "account_id",
    "region_name",
    "pipeline_name",
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
    "kind",
    "resource_arn",
];

/// Values that some field takes, so that reading gets past its first rule.
fn plausible() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(""),
        json!(null),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(true),
        json!("true"),
        json!("1h"),
        json!("-1h"),
        json!("stop"),
        json!("leave"),
        json!("resume"),
        json!("success"),
        json!("{{retries}}"),
        json!("{{node.name}}"),
        json!("{{"),
        json!("}}{{"),
        json!("{{é}}"),
        json!("a,b"),
        json!("[1]"),
        json!("{\"a\":1}"),
        json!(EXECUTION),
        json!("arn:"),
        json!("arn:aws:sagemaker:us-west-2:100000000002:pipeline/"),
        json!([]),
        json!({}),
        json!({"A": 1}),
        json!("2026-11-23T11:57:02Z"),
        json!("9999-12-31T23:59:59-23:59"),
        json!("é\u{0}\n"),
        json!("arn:aws:iam::100000000002:role/r"),
        json!(["a", null]),
        json!("\u{1F600}".repeat(400)),
        json!("\u{85}".repeat(400)),
        json!(format!("arn:aws:sagemaker:{}:{}:pipeline/x", "\u{85}".repeat(100), "é".repeat(100))),
        json!(format!("arn:aws{}:sagemaker:us-west-2:100000000002:pipeline/x", "-a".repeat(200))),
        json!({("\u{1F600}".repeat(100)): 1}),
        json!(["\u{1F600}".repeat(300)]),
    ])
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        plausible(),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((".{0,12}", inner), 0..6).prop_map(|items| Value::Object(items.into_iter().collect())),
        ]
    })
}

fn any_input() -> impl Strategy<Value = Map<String, Value>> {
    let name = prop_oneof![8 => prop::sample::select(FIELDS.to_vec()).prop_map(str::to_owned), 1 => ".{0,200}"];
    vec((name, any_json()), 0..8).prop_map(|fields| fields.into_iter().collect())
}

/// A valid input with a few fields replaced by anything.
fn nearly_valid() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(FIELDS.to_vec()).prop_map(str::to_owned);
    let action = prop::sample::select(vec!["validate", "execute", "stop"]);
    (action, vec((name, prop_oneof![3 => plausible(), 1 => any_json()]), 0..4)).prop_map(|(action, changes)| {
        let mut input = json!({"action": action, "account_id": "100000000002", "region_name": "us-west-2",
            "pipeline_name": "MyPipeline"});
        for (name, value) in changes {
            input[name] = value;
        }
        input
    })
}

fn request(input: impl Into<Value>) -> Value {
    json!({"workflow": {"metadata": {"uid": "u"}}, "template": {"plugin": {"awf-aws-plugin": input.into()}}})
}

/// What holds for every answer.
fn check(request: Value) -> Result<(), TestCaseError> {
    let first = read(request.clone());
    prop_assert_eq!(&first, &read(request), "the same request reads differently");
    let task = match first {
        Ok(None) => return Ok(()),
        Err(error) => {
            let text = error.to_string();
            prop_assert!(text.starts_with("malformed plugin input: "), "{}", text);
            prop_assert!(!text.contains(char::is_control), "{:?}", text);
            prop_assert!(text.len() <= 250, "{} bytes: {}", text.len(), text);
            return Ok(());
        }
        Ok(Some(task)) => task,
    };
    prop_assert_eq!(task.account_id.len(), 12);
    let named_otherwise = matches!(task.action, Action::Execute(_)) && task.execution_key.is_some();
    prop_assert_eq!(task.fallback_key.as_ref().map(String::len), (!named_otherwise).then_some(64));
    prop_assert!(task.partition.starts_with("aws"));
    prop_assert!(task.execution_key.as_deref() != Some(""));
    if let Action::Execute(execute) = task.action {
        prop_assert!(execute.parameters.is_sorted());
        prop_assert!(execute.parameters.len() <= 200);
        prop_assert!(execute.parameters.iter().all(|(_, value)| (1..=1024).contains(&value.chars().count())));
        prop_assert!(execute.timeout.is_none_or(|timeout| !timeout.is_zero()));
        prop_assert!(execute.max_running != Some(0));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_input_reads_or_is_refused_with_a_sentence(input in any_input()) {
        check(request(input))?;
    }

    #[test]
    fn a_nearly_valid_input_reads_or_is_refused_with_a_sentence(input in nearly_valid()) {
        check(request(input))?;
    }

    #[test]
    fn any_value_in_place_of_the_input_is_answered(value in any_json()) {
        check(request(value))?;
    }

    #[test]
    fn any_template_is_answered(template in any_json(), plugin in any_json()) {
        let mut body = json!({"workflow": {"metadata": {"uid": "u"}}, "template": template});
        if let Some(template) = body["template"].as_object_mut() {
            template.insert("plugin".to_owned(), plugin);
        }
        if let Ok(args) = serde_json::from_str::<ExecuteTemplateArgs<'_>>(&body.to_string()) {
            prop_assert_eq!(read_task(&args), Ok(None));
        }
    }
}
