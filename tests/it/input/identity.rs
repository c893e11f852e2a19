//! Which node a request is from: execution key, attempt, fallback key; and the digest of what it asks for.

use serde_json::{Value, json};

use super::{execute, read, request, request_in, task};

fn fallback_key(request: Value) -> String {
    read(request).unwrap().unwrap().fallback_key.unwrap()
}

#[test]
fn a_key_is_taken_exactly_as_given() {
    for (given, key) in [
        (json!("train[0].run(0:a b) "), "train[0].run(0:a b) "),
        (json!(" "), " "),
        (json!(5), "5"),
        (json!(true), "true"),
        (json!("käse {not} {{ a variable"), "käse {not} {{ a variable"),
    ] {
        assert_eq!(task(json!({"execution_key": given})).execution_key.as_deref(), Some(key));
    }
    let long = "k".repeat(100_000);
    assert_eq!(task(json!({"execution_key": long})).execution_key, Some(long));
}

#[test]
fn braces_of_the_users_own_are_part_of_a_key() {
    for key in [
        "train[0].run(0:{{y}})",
        "train[0].run(0:{{ item.name }})",
        "{{pod.name}}",
        "{{=node.name}}",
        "{{node.names}}",
        "{{node.name}",
        "{{node.name} }",
        "{node.name}}",
        "{{}}{{",
        "{{retries.x}}",
        "{{workflow.creationTimestamps}}",
    ] {
        assert_eq!(task(json!({"execution_key": key})).execution_key.as_deref(), Some(key));
    }
    // Fast also where there is nothing but braces.
    let braces = "{{node.name".repeat(100_000);
    assert_eq!(task(json!({"execution_key": braces})).execution_key, Some(braces));
    assert_eq!(execute(json!({"selected_steps": "{{y}},b"})).selected_steps, ["{{y}}", "b"]);
}

#[test]
fn an_attempt_that_argo_left_as_it_was_is_the_first() {
    for literal in ["{{retries}}", "{{ retries }}", ""] {
        assert_eq!(task(json!({"attempt": literal})).attempt, 0);
    }
    assert_eq!(task(json!({"attempt": "4294967295"})).attempt, u32::MAX);
}

#[test]
fn a_literal_attempt_beside_a_retry_strategy_is_the_first() {
    // Argo before 3.5.3 puts the literal back into tasks that it has already sent.
    let request = request_in(&json!({"retryStrategy": {"limit": "3"}}), &json!({"attempt": "{{retries}}"}));
    assert_eq!(read(request).unwrap().unwrap().attempt, 0);
}

#[test]
fn a_retry_strategy_with_an_attempt_is_fine() {
    let request = request_in(&json!({"retryStrategy": {"limit": "3"}}), &json!({"attempt": "1"}));
    assert_eq!(read(request).unwrap().unwrap().attempt, 1);
    let none = request_in(&json!({"retryStrategy": null}), &json!({}));
    assert_eq!(read(none).unwrap().unwrap().attempt, 0);
}

#[test]
fn the_fallback_key_is_a_sha256_in_hex() {
    let key = task(json!({})).fallback_key.unwrap();
    assert_eq!(key.len(), 64);
    assert!(key.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{key}");
    // Executions are found again by it after an upgrade of the plugin: it must never change.
    assert_eq!(key, "7c2eb38055766d0fba162f6ece26502a7c42aa5a7a80fee882225a2bb4d08e19");
}

#[test]
fn the_fallback_key_does_not_see_spelling() {
    let one = request_in(
        &json!({"inputs": {"parameters": [{"name": "a", "value": "5", "default": "6"}]}}),
        &json!({"max_running": "5", "parameters": {"A": "1", "B": {"x": 1, "y": 2}}, "selected_steps": "S,T"}),
    );
    let other = request_in(
        &json!({"inputs": {"parameters": [{"default": 6, "value": 5, "name": "a"}]}}),
        &json!({"parameters": r#"{"B": {"y": 2, "x": 1}, "A": 1}"#, "max_running": 5, "selected_steps": ["S", "T"]}),
    );
    assert_eq!(fallback_key(one), fallback_key(other));
}

#[test]
fn the_fallback_key_does_not_see_what_is_no_part_of_the_work() {
    let plain = fallback_key(request(&json!({})));
    for change in [
        json!({"attempt": "3"}),
        json!({"timeout": "1h"}),
        json!({"on_stop": "leave"}),
        json!({"on_retry": "resume"}),
        json!({"display_name": "other"}),
        json!({"outputs": "all"}),
        json!({"kind": "x"}),
        json!({"resource_arn": "y"}),
        json!({"mock_state": ""}),
    ] {
        assert_eq!(fallback_key(request(&change)), plain, "{change}");
    }
    let more = request_in(&json!({"timeout": "1h", "metadata": {"labels": {"a": "b"}}, "inputs": null}), &json!({}));
    assert_eq!(fallback_key(more), plain);
}

#[test]
fn the_fallback_key_tells_different_work_apart() {
    let mut keys = vec![fallback_key(request(&json!({})))];
    for change in [
        json!({"action": "stop"}),
        json!({"action": "stop", "execution_key": "w[0].a"}),
        json!({"account_id": "100000000003"}),
        json!({"region_name": "us-east-1"}),
        json!({"pipeline_name": "Other"}),
        json!({"parameters": {"A": "1"}}),
        json!({"parameters": {"A": "2"}}),
        json!({"parameters": {"A": [1]}}),
        json!({"parameters": {"A": ["1"]}}),
        json!({"pipeline_version_id": 1}),
        json!({"selected_steps": "S"}),
    ] {
        keys.push(fallback_key(request(&change)));
    }
    keys.push(fallback_key(request_in(&json!({"name": "other"}), &json!({}))));
    let item = json!({"inputs": {"parameters": [{"name": "item", "value": "2"}]}});
    keys.push(fallback_key(request_in(&item, &json!({}))));
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all);
}

#[test]
fn the_digest_of_the_arguments_changes_with_what_sagemaker_gets_and_with_nothing_else() {
    let plain = execute(json!({})).args_digest;
    assert_eq!(plain.len(), 12);
    for change in [
        json!({"parameters": {"A": "1"}}),
        json!({"display_name": "d"}),
        json!({"description": "d"}),
        json!({"pipeline_version_id": 1}),
        json!({"max_parallel_steps": 1}),
        json!({"selected_steps": "S"}),
        json!({"pipeline_name": "Other"}),
    ] {
        assert_ne!(execute(change.clone()).args_digest, plain, "{change}");
    }
    for change in [
        json!({"attempt": 1, "execution_key": "k", "timeout": "1h", "on_stop": "leave", "max_running": 1}),
        json!({"on_retry": "resume-only"}),
        json!({"accept_completed_with_failures": true, "outputs": "all", "workflow_created": "2026-11-23T11:57:02Z"}),
        json!({"pipeline_name": "arn:aws:sagemaker:us-west-2:100000000002:pipeline/MyPipeline"}),
    ] {
        assert_eq!(execute(change.clone()).args_digest, plain, "{change}");
    }
    let as_text = execute(json!({"parameters": {"B": "true", "A": "1"}})).args_digest;
    assert_eq!(execute(json!({"parameters": {"A": 1, "B": true}})).args_digest, as_text);
}

#[test]
fn the_digest_of_the_work_changes_with_what_a_resume_cannot_change_and_with_nothing_else() {
    let plain = execute(json!({})).work_digest;
    assert_eq!(plain.len(), 12);
    for change in [
        json!({"parameters": {"A": "1"}}),
        json!({"pipeline_version_id": 1}),
        json!({"selected_steps": "S"}),
        json!({"selected_steps": "S", "source_execution_arn": super::EXECUTION}),
    ] {
        assert_ne!(execute(change.clone()).work_digest, plain, "{change}");
    }
    for change in [
        json!({"display_name": "d", "description": "d", "max_parallel_steps": 1}),
        json!({"attempt": 1, "on_retry": "resume", "on_stop": "leave", "timeout": "1h"}),
    ] {
        assert_eq!(execute(change.clone()).work_digest, plain, "{change}");
    }
}
