//! The digests by which executions are found again: what every version of the plugin computes for the same request.

use std::collections::BTreeMap;

use awf_aws::{
    input::{IGNORED, read_task},
    protocol::ExecuteTemplateArgs,
};
use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{execute, read, request, request_in, task};

/// The fallback key by its definition, on a tree of values. Slow and hungry, and therefore only here.
fn by_definition(template: &Value, parameters: &[(String, String)], selected_steps: &[String]) -> String {
    let mut plain = template["plugin"]["awf-aws-plugin"].as_object().cloned().unwrap_or_default();
    for name in ["attempt", "timeout", "on_stop", "on_retry", "display_name", "outputs", "parameters", "selected_steps"]
    {
        plain.remove(name);
    }
    plain.retain(|name, value| !IGNORED.contains(&name.as_str()) && !value.is_null() && *value != json!(""));
    if !parameters.is_empty() {
        plain.insert("parameters".to_owned(), parameters.iter().cloned().map(|(n, v)| (n, Value::String(v))).collect());
    }
    if !selected_steps.is_empty() {
        plain.insert("selected_steps".to_owned(), json!(selected_steps));
    }
    let inputs = template.get("inputs").filter(|inputs| !inputs.is_null()).cloned().unwrap_or_else(|| json!({}));
    let name = template.get("name").cloned().unwrap_or_else(|| json!(""));
    hex(&canonical(json!([name, inputs, plain])).to_string())
}

/// Keys sorted, scalars as texts.
fn canonical(value: Value) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Array(items) => items.into_iter().map(canonical).collect(),
        Value::Object(map) => {
            let sorted: BTreeMap<String, Value> = map.into_iter().map(|(name, item)| (name, canonical(item))).collect();
            sorted.into_iter().collect()
        }
        Value::Number(number) => match number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0) {
            Some(whole) if whole.abs() < EXACT => json!((whole as i64).to_string()),
            _ => json!(number.to_string()),
        },
        Value::Bool(flag) => json!(flag.to_string()),
        other => other,
    }
}

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Executions are found again by these after an upgrade of the plugin: no line here may ever change.
#[test]
fn the_digests_of_the_first_version_are_those_of_every_version() {
    let rich = request_in(
        &json!({"inputs": {"parameters": [
            {"name": "count", "value": "5", "default": 6.0, "enum": [1, 2.5, true, null, -0.0, 1e300]},
            {"name": "it\"em\n", "value": "é\u{1F600}\u{7f}\u{1}", "z": {"b": {}, "a": [], "\u{e9}": 1, "\"": 2, "\u{1}": 3}},
        ]}}),
        &json!({
            "parameters": {"B": {"y": [1.0, "x"], "a": null}, "A": 1, "C": true, "D": 2.0},
            "selected_steps": ["Train", 7], "max_running": 3.0, "pipeline_version_id": "2", "kind": {"any": 1},
            "description": "Nightly\n", "execution_key": "", "on_stop": "leave", "timeout": "1h", "attempt": 3,
        }),
    );
    let read = read(rich).unwrap().unwrap();
    assert_eq!(
        read.fallback_key.as_deref().unwrap(),
        "e009968593eda475ef034dcab2cd633b7cfacdf15a3c061abbe665ee56d65215"
    );
    assert_eq!(super::execute_of(read).args_digest, "f2a26185c212");
    for (changes, fallback_key, args_digest) in [
        (json!({}), "7c2eb38055766d0fba162f6ece26502a7c42aa5a7a80fee882225a2bb4d08e19", "80b0aeb16e00"),
        (
            json!({"parameters": {"Depth": 6, "Rate": 0.1, "Big": u64::MAX}}),
            "516e4fd189160b9ca70d4fc4711ca4a98aee61ccfef21f7d1a6d9d9f2ee6ff4d",
            "ad18175a6254",
        ),
        (
            json!({"parameters": r#"{"L": [3, {"b": 1, "a": "\u00e9"}]}"#, "selected_steps": "S, T"}),
            "741ec26ffdf66eb9351805ad1f977b53313be4b88e0170a7f83a1e08b0c24b98",
            "2c8e0e904c75",
        ),
        (
            json!({"display_name": "d", "description": "é | x", "max_parallel_steps": 4}),
            "6369698f5b2bd11b6c457d52b68a633cd274e511b09b06c9b40443885ed0a392",
            "4155490bd3ad",
        ),
    ] {
        let context = changes.to_string();
        assert_eq!(task(changes.clone()).fallback_key.as_deref(), Some(fallback_key), "{context}");
        assert_eq!(execute(changes).args_digest, args_digest, "{context}");
    }
}

fn read_inputs(inputs: &str) -> Result<String, String> {
    let body = request_in(&json!({"inputs": "INPUTS"}), &json!({})).to_string().replace("\"INPUTS\"", inputs);
    let args: ExecuteTemplateArgs<'_> = serde_json::from_str(&body).unwrap();
    read_task(&args).map(|task| task.unwrap().fallback_key.unwrap()).map_err(|error| error.to_string())
}

#[test]
fn the_last_of_equal_keys_counts() {
    for (twice, once) in [
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
        (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{"\n":1,"a":0,"\u000a":2}"#, r#"{"\n":2,"a":0}"#),
        (r#"{ "é" : [ 1 , 2.0 ] , "\u00e9" : true }"#, r#"{"é":"true"}"#),
    ] {
        assert_eq!(read_inputs(twice), read_inputs(once), "{twice}");
    }
    assert_ne!(read_inputs(r#"{"a":1,"a":2}"#), read_inputs(r#"{"a":1}"#));
    let parameters = |text: &str| execute(json!({"parameters": text})).parameters;
    assert_eq!(parameters(r#"{"A":1,"B":{"x":1,"x":2},"A":3}"#), parameters(r#"{"A":3,"B":{"x":2}}"#));
}

#[test]
fn inputs_that_cannot_be_read_are_told_by_their_field() {
    let nested = |open: &str, close: &str, levels: usize| format!("{}0{}", open.repeat(levels), close.repeat(levels));
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        assert!(read_inputs(&nested(open, close, 64)).is_ok());
        for levels in [65, 1_000] {
            let refused = read_inputs(&nested(open, close, levels)).unwrap_err();
            let sentence = "malformed plugin input: `template.inputs` cannot be read: more than 64 levels";
            assert!(refused.starts_with(sentence), "{refused}");
        }
    }
    let refused = read_inputs(r#"{"a":1e999}"#).unwrap_err();
    assert!(refused.contains("`template.inputs` cannot be read: number out of range"), "{refused}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = || prop_oneof![".{0,8}", "[a-c\"\\\\\u{1}é]{0,3}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-1000..1000).prop_map(|n| Value::from(f64::from(n) / 4.0)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::from),
            vec((text(), inner), 0..8).prop_map(|items| Value::Object(items.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fallback_key_is_its_definition_for_any_inputs(inputs in any_json(), name in ".{0,12}") {
        let request = request_in(&json!({"inputs": inputs, "name": name}), &json!({"max_running": 2.0, "kind": [1]}));
        let expected = by_definition(&sent(&request)["template"], &[], &[]);
        prop_assert_eq!(read(request).unwrap().unwrap().fallback_key, Some(expected));
    }

    #[test]
    fn the_fallback_key_is_its_definition_for_any_parameters(values in vec(any_json(), 0..6), spaced in any::<bool>()) {
        let short = values.into_iter().filter(|value| !value.is_null() && *value != json!(""));
        let parameters: Map<String, Value> = short.enumerate().map(|(i, value)| (format!("p{}", 9 - i), value)).collect();
        let (given, met) = match spaced {
            true => {
                let text = serde_json::to_string_pretty(&parameters).unwrap();
                (json!(text), serde_json::from_str(&text).unwrap())
            }
            false => (json!(parameters), sent(&json!(parameters))),
        };
        let request = request(&json!({"parameters": given, "selected_steps": "S,T"}));
        if let Ok(Some(task)) = read(request.clone()) {
            let texts = super::execute_of(task.clone()).parameters;
            let steps = ["S".to_owned(), "T".to_owned()];
            prop_assert_eq!(Some(by_definition(&request["template"], &texts, &steps)), task.fallback_key);
            for (name, text) in &texts {
                let value = &met[name];
                if value.is_array() || value.is_object() {
                    prop_assert_eq!(text, &sorted(value).to_string());
                }
            }
        }
    }
}

/// What arrives of a request: some numbers differ in their last digit after their way through text.
fn sent(request: &Value) -> Value {
    serde_json::from_str(&request.to_string()).unwrap()
}

/// Keys sorted, scalars as they are: the text of a parameter that is a list or a map.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(map) => {
            map.iter().map(|(n, v)| (n.clone(), sorted(v))).collect::<BTreeMap<_, _>>().into_iter().collect()
        }
        other => other.clone(),
    }
}
