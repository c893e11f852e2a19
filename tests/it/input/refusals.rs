//! What is refused, and in which words: one row per rule.

use serde_json::{Map, Value, json};

use super::{EXECUTION, execute, read, refusal, request, request_in};

/// Checks a row: the whole sentence, which must fit a node's message.
fn assert_refused(request: Value, sentence: &str) {
    let text = refusal(request);
    assert_eq!(text, format!("malformed plugin input: {sentence}"));
    assert!(text.len() <= 250, "{} bytes: {text}", text.len());
}

fn assert_rows(rows: &[(Value, &str)]) {
    for (changes, sentence) in rows {
        assert_refused(request(changes), sentence);
    }
}

#[test]
fn an_input_must_be_a_map() {
    for (input, kind) in [
        (json!(null), "null"),
        (json!([]), "a list"),
        (json!("x"), "a text"),
        (json!(1), "a number"),
        (json!(true), "a boolean"),
    ] {
        let request =
            json!({"workflow": {"metadata": {"uid": "u"}}, "template": {"plugin": {"awf-aws-plugin": input}}});
        assert_refused(request, &format!("`awf-aws-plugin` is {kind}; it must be a map with `action` and so on"));
    }
}

#[test]
fn a_workflow_without_uid_names_the_argo_version_that_sends_it() {
    let mut request = request(&json!({}));
    request["workflow"]["metadata"]["uid"] = json!("");
    assert_refused(
        request,
        "the request has no `workflow.metadata.uid`, without which executions cannot be told apart; \
         Argo sends it from version 3.4.2 on",
    );
}

#[test]
fn an_unknown_field_names_the_nearest_known_one() {
    for (unknown, nearest) in [
        ("pipelinename", "pipeline_name"),
        ("pipelineName", "pipeline_name"),
        ("pipeline", "pipeline_name"),
        ("region", "region_name"),
        ("account", "account_id"),
        ("accountId", "account_id"),
        ("parameter", "parameters"),
        ("params", "parameters"),
        ("executionKey", "execution_key"),
        ("key", "execution_key"),
        ("role", "role_arn"),
        ("version", "pipeline_version_id"),
        ("max-running", "max_running"),
        ("time_out", "timeout"),
        ("steps", "selected_steps"),
        ("onStop", "on_stop"),
        ("Action", "action"),
    ] {
        let mut changes = Map::new();
        changes.insert(unknown.to_owned(), json!("x"));
        let sentence = format!("unknown field `{unknown}`; did you mean `{nearest}`?");
        assert_refused(request(&Value::Object(changes)), &sentence);
    }
}

#[test]
fn required_fields_are_asked_for() {
    let action = "`action` is missing; it must be `validate`, `execute` or `stop`";
    let account = "`account_id` is missing; it must be 12 digits";
    let region = "`region_name` is missing; it must be an AWS region's code such as `us-west-2`";
    let pipeline = "`pipeline_name` is missing; \
                    it must be a pipeline's ARN or its name: 1 to 256 letters, digits and inner hyphens";
    for (field, sentence) in
        [("action", action), ("account_id", account), ("region_name", region), ("pipeline_name", pipeline)]
    {
        for absent in [json!(null), json!(""), json!("  ")] {
            let mut changes = Map::new();
            changes.insert(field.to_owned(), absent);
            assert_refused(request(&Value::Object(changes)), sentence);
        }
    }
}

#[test]
fn words_outside_a_closed_set_are_refused() {
    assert_rows(&[
        (json!({"action": "start"}), "`action` is `start`; it must be `validate`, `execute` or `stop`"),
        (json!({"action": "Execute"}), "`action` is `Execute`; it must be `validate`, `execute` or `stop`"),
        (json!({"action": ["execute"]}), "`action` is a list; it must be a single value"),
        (json!({"service": "glue"}), "`service` is `glue`; it must be `amazon_sagemaker_pipelines`"),
        (json!({"on_retry": "continue"}), "`on_retry` is `continue`; it must be `restart`, `resume` or `resume-only`"),
        (
            json!({"on_retry": "resume", "execution_arn": EXECUTION}),
            "`on_retry` does not go with `execution_arn`: what a node is attached to is not its own to resume",
        ),
        (json!({"on_stop": "wait"}), "`on_stop` is `wait`; it must be `stop` or `leave`"),
        (json!({"mock": "yes"}), "`mock` is `yes`; it must be `true` or `false`"),
        (
            json!({"mock": true, "mock_state": "failed"}),
            "`mock_state` is `failed`; it must be `success`, `running` or `error`",
        ),
        (
            json!({"accept_completed_with_failures": 1}),
            "`accept_completed_with_failures` is `1`; it must be `true` or `false`",
        ),
        (json!({"on_stop": {"a": 1}}), "`on_stop` is a map; it must be a single value"),
    ]);
}

#[test]
fn an_account_is_twelve_digits() {
    assert_rows(&[
        (
            json!({"account_id": 12_345_678_901_u64}),
            "`account_id` is `12345678901`, 11 digits; it must be 12 digits: \
             YAML takes leading zeros from a number, so write it in quotes",
        ),
        (
            json!({"account_id": "12345678901"}),
            "`account_id` is `12345678901`, 11 digits; it must be 12 digits: \
             YAML takes leading zeros from a number, so write it in quotes",
        ),
        (json!({"account_id": "1000000000021"}), "`account_id` is `1000000000021`; it must be 12 digits"),
        (json!({"account_id": "10000000000a"}), "`account_id` is `10000000000a`; it must be 12 digits"),
        (json!({"account_id": "1000-0000-0002"}), "`account_id` is `1000-0000-0002`; it must be 12 digits"),
        (json!({"account_id": -10_000_000_000_i64}), "`account_id` is `-10000000000`; it must be 12 digits"),
    ]);
}

#[test]
fn a_region_is_spelled_like_one() {
    for region in [
        "us",
        "us-west",
        "US-West-2",
        "us_west_2",
        "us-west-2a",
        "us-west-222",
        "us-west-2.evil.example",
        "us--2",
        "a-west-2",
        "us-west-2-3-4",
        "2-west-2",
        "us west 2",
        "us-gov-west-north-1",
        "üs-west-2",
    ] {
        let sentence = format!("`region_name` is `{region}`; it must be an AWS region's code such as `us-west-2`");
        assert_refused(request(&json!({"region_name": region})), &sentence);
    }
}

#[test]
fn a_pipelines_name_is_one() {
    let allowed = "it must be a pipeline's ARN or its name: 1 to 256 letters, digits and inner hyphens";
    for name in [
        "my_pipeline",
        "-a",
        "a-",
        "a.b",
        "a/b",
        "ä",
        "arn:aws:sagemaker",
        "arn:aws:s3:us-west-2:100000000002:pipeline/A",
        "arn:aws:sagemaker:us-west-2:100000000002:model/A",
        "arn:aws:sagemaker:us-west-2:100000000002:pipeline/",
        "arn:foo:sagemaker:us-west-2:100000000002:pipeline/A",
    ] {
        let shown: String = name.chars().take(60).collect();
        let cut = if shown == name { "" } else { "…" };
        let sentence = format!("`pipeline_name` is `{shown}{cut}`; {allowed}");
        assert_refused(request(&json!({"pipeline_name": name})), &sentence);
    }
    let sentence = format!("`pipeline_name` is `{}…`; {allowed}", "x".repeat(60));
    assert_refused(request(&json!({"pipeline_name": "x".repeat(257)})), &sentence);
}

#[test]
fn a_pipelines_arn_agrees_with_account_and_region() {
    assert_rows(&[
        (
            json!({"pipeline_name": "arn:aws:sagemaker:us-west-2:222222222222:pipeline/MyPipeline"}),
            "`pipeline_name` is in account `222222222222`, but `account_id` is `100000000002`",
        ),
        (
            json!({"pipeline_name": "arn:aws:sagemaker:us-west-2:aws:pipeline/MyPipeline"}),
            "`pipeline_name` is in account `aws`, but `account_id` is `100000000002`",
        ),
        (
            json!({"pipeline_name": "arn:aws:sagemaker:eu-west-1:100000000002:pipeline/MyPipeline"}),
            "`pipeline_name` is in region `eu-west-1`, but `region_name` is `us-west-2`",
        ),
        (
            json!({"pipeline_name": "arn:aws-cn:sagemaker:us-west-2:100000000002:pipeline/MyPipeline"}),
            "`pipeline_name` is in partition `aws-cn`, but `region_name` `us-west-2` is in `aws`",
        ),
        (
            json!({"pipeline_name": EXECUTION}),
            "`pipeline_name` is the ARN of an execution, which belongs into `execution_arn`",
        ),
    ]);
}

#[test]
fn an_executions_arn_agrees_with_the_pipeline() {
    let arn = |place: &str, rest: &str| format!("arn:aws:sagemaker:{place}:pipeline/{rest}");
    let here = "us-west-2:100000000002";
    for field in ["execution_arn", "source_execution_arn"] {
        for (arn, problem) in [
            (
                arn("us-west-2:222222222222", "MyPipeline/execution/a1"),
                "is in account `222222222222`, but `account_id` is `100000000002`",
            ),
            (
                arn("eu-west-1:100000000002", "MyPipeline/execution/a1"),
                "is in region `eu-west-1`, but `region_name` is `us-west-2`",
            ),
            (arn(here, "Other/execution/a1"), "is of pipeline `Other`, but `pipeline_name` is `MyPipeline`"),
        ] {
            let mut changes = Map::new();
            changes.insert(field.to_owned(), json!(arn));
            changes.insert("selected_steps".to_owned(), json!("S"));
            assert_refused(request(&Value::Object(changes)), &format!("`{field}` {problem}"));
        }
        for bad in
            [arn(here, "MyPipeline"), arn(here, "MyPipeline/execution/"), arn(here, "M/execution/a/b"), "a1".to_owned()]
        {
            let mut changes = Map::new();
            changes.insert(field.to_owned(), json!(bad));
            let text = refusal(request(&Value::Object(changes)));
            assert!(text.starts_with(&format!("malformed plugin input: `{field}` is `")), "{text}");
            assert!(
                text.ends_with("it must be an execution's ARN (`arn:aws:sagemaker:…:pipeline/NAME/execution/ID`)"),
                "{text}"
            );
        }
    }
    let other_case = arn(here, "MYPIPELINE/execution/a1");
    assert_eq!(execute(json!({"execution_arn": other_case})).attach, Some(other_case));
}

#[test]
fn an_execution_does_not_go_with_validate() {
    assert_rows(&[(
        json!({"action": "validate", "execution_arn": EXECUTION}),
        "`execution_arn` does not go with `action` `validate`, only with `execute` and `stop`",
    )]);
}

#[test]
fn parameters_are_a_map_within_sagemakers_limits() {
    let long_name = "n".repeat(257);
    let names =
        |name: &str| format!("`parameters` has the name `{name}`; names are 1 to 256 letters, digits, `-` and `_`");
    let many: Map<String, Value> = (0..201).map(|i| (format!("p{i}"), json!(1))).collect();
    assert_rows(&[
        (json!({"parameters": ["A=1"]}), "`parameters` is a list; it must be a map from parameter name to value"),
        (json!({"parameters": 5}), "`parameters` is a number; it must be a map from parameter name to value"),
        (
            json!({"parameters": "A=1"}),
            "`parameters` is a text that is no JSON map; it must be a map from parameter name to value",
        ),
        (
            json!({"parameters": "[1]"}),
            "`parameters` is a text that is no JSON map; it must be a map from parameter name to value",
        ),
        (json!({"parameters": many}), "`parameters` has 201 entries; SageMaker takes at most 200"),
        (json!({"parameters": {"a b": 1}}), &names("a b")),
        (json!({"parameters": {"": 1}}), &names("")),
        (json!({"parameters": {"a.b\n": 1}}), &names("a.b\\n")),
        (json!({"parameters": {(long_name.as_str()): 1}}), &names(&format!("{}…", "n".repeat(60)))),
        (
            json!({"parameters": {"A": ""}}),
            "`parameters.A` is empty, which SageMaker refuses; give it a value or leave it out",
        ),
        (json!({"parameters": {"A": null}}), "`parameters.A` is null; give it a value or leave it out"),
        (
            json!({"parameters": {"A": "v".repeat(1025)}}),
            "`parameters.A` has 1025 characters; SageMaker takes at most 1024",
        ),
    ]);
}

#[test]
fn names_and_descriptions_fit_sagemaker() {
    let display_name =
        |shown: &str| format!("`display_name` is `{shown}`; it must be 1 to 82 letters, digits and inner hyphens");
    assert_rows(&[
        (json!({"display_name": "a_b"}), &display_name("a_b")),
        (json!({"display_name": "-a"}), &display_name("-a")),
        (json!({"display_name": "d".repeat(83)}), &display_name(&format!("{}…", "d".repeat(60)))),
        (json!({"description": "a\nb"}), "`description` is `a\\nb`; it must be one line"),
        (json!({"description": "a\u{2028}b"}), "`description` is `a\u{2028}b`; it must be one line"),
        (json!({"description": "d".repeat(2801)}), "`description` has 2801 characters; it must be at most 2800"),
        (json!({"description": ["a"]}), "`description` is a list; it must be a single value"),
    ]);
}

#[test]
fn counts_are_whole_numbers() {
    for (field, min) in [("attempt", 0), ("max_running", 1), ("max_parallel_steps", 1), ("pipeline_version_id", 1)] {
        for (value, shown) in [
            (json!(min - 1), (min - 1).to_string()),
            (json!("1.5"), "1.5".to_owned()),
            (json!("many"), "many".to_owned()),
            (json!(true), "true".to_owned()),
            (json!("99999999999999999999"), "99999999999999999999".to_owned()),
        ] {
            let mut changes = Map::new();
            changes.insert(field.to_owned(), value);
            let sentence = format!("`{field}` is `{shown}`; it must be a whole number, {min} or more");
            assert_refused(request(&Value::Object(changes)), &sentence);
        }
    }
    assert_rows(&[
        (
            json!({"max_parallel_steps": 2_147_483_648_u32}),
            "`max_parallel_steps` is `2147483648`; it must be a whole number, 1 or more",
        ),
        (json!({"attempt": "4294967296"}), "`attempt` is `4294967296`; it must be a whole number, 0 or more"),
    ]);
}

#[test]
fn selected_steps_are_names_and_a_source_needs_them() {
    let many: Vec<String> = (0..51).map(|i| format!("s{i}")).collect();
    assert_rows(&[
        (json!({"selected_steps": many}), "`selected_steps` has 51 entries; SageMaker takes at most 50"),
        (json!({"selected_steps": "a,,b"}), "`selected_steps` has the entry ``; step names have 1 to 256 characters"),
        (json!({"selected_steps": [["a"]]}), "`selected_steps` holds a list; it must hold step names"),
        (json!({"selected_steps": "[a"}), "`selected_steps` is `[a`; it must be a list of step names"),
        (json!({"selected_steps": {"a": 1}}), "`selected_steps` is a map; it must be a single value"),
        (
            json!({"source_execution_arn": EXECUTION}),
            "`source_execution_arn` is given without `selected_steps`, which says what to run anew",
        ),
    ]);
}

#[test]
fn a_role_is_an_arn_of_the_same_partition() {
    let allowed = "it must be an IAM role's ARN (`arn:aws:iam::ACCOUNT:role/NAME`)";
    for role in [
        "my-role",
        "arn:aws:iam::100000000002:user/u",
        "arn:aws:iam::1:role/r",
        "arn:aws:iam:us-west-2:100000000002:role/r",
        "arn:aws:sts::100000000002:role/r",
        "arn:aws:iam::100000000002:role/",
        "arn:aws:iam::100000000002:role/a b",
    ] {
        assert_refused(request(&json!({"role_arn": role})), &format!("`role_arn` is `{role}`; {allowed}"));
    }
    assert_rows(&[(
        json!({"role_arn": "arn:aws-cn:iam::100000000002:role/r"}),
        "`role_arn` is in partition `aws-cn`, but `region_name` `us-west-2` is in `aws`",
    )]);
}

#[test]
fn an_external_id_belongs_to_a_role_and_is_never_shown() {
    let role = "arn:aws:iam::100000000002:role/r";
    let sentence = "`external_id` is refused by AWS; it must be 2 to 1224 letters, digits and `_+=,.@:/-`";
    for bad in ["s", "secret value", &"s".repeat(1225)] {
        assert_refused(request(&json!({"role_arn": role, "external_id": bad})), sentence);
    }
    let alone = "`external_id` is given without `role_arn`, the role to which it belongs";
    assert_refused(request(&json!({"external_id": "abc"})), alone);
}

#[test]
fn a_timeout_is_a_duration_of_go_above_zero() {
    let allowed = "it must be a duration above zero in h, m, s or ms, such as `90m` or `1h30m`";
    for bad in ["5", "0s", "0", "-5m", "1d", "an hour"] {
        assert_refused(request(&json!({"timeout": bad})), &format!("`timeout` is `{bad}`; {allowed}"));
        let sentence = format!("`template.timeout` is `{bad}`; {allowed}");
        assert_refused(request_in(&json!({"timeout": bad}), &json!({})), &sentence);
    }
    for (bad, shown) in [(json!(0), "0"), (json!("1h"), "1h"), (json!(-1), "-1")] {
        let sentence = format!("`template.activeDeadlineSeconds` is `{shown}`; it must be a whole number, 1 or more");
        assert_refused(request_in(&json!({"activeDeadlineSeconds": bad}), &json!({})), &sentence);
    }
}

#[test]
fn the_workflows_creation_is_a_time() {
    for bad in ["2026-11-23", "1795435022", "2026-11-23 11:57:02 +0000 UTC", "2026-13-01T00:00:00Z"] {
        let sentence = format!(
            "`workflow_created` is `{bad}`; \
             it must be a time as in RFC 3339, which is \"{{{{workflow.creationTimestamp.RFC3339}}}}\""
        );
        assert_refused(request(&json!({"workflow_created": bad})), &sentence);
    }
}

#[test]
fn a_variable_of_our_examples_that_argo_did_not_replace_is_named() {
    let created = "which Argo did not replace";
    assert_rows(&[
        (
            json!({"execution_key": "{{node.name}}"}),
            "`execution_key` still holds `{{node.name}}`, which Argo did not replace; \
             `{{node.name}}` needs Argo 3.4.3 or later",
        ),
        (
            json!({"execution_key": "{{y}}-{{ node.name }}-b"}),
            "`execution_key` still holds `{{ node.name }}`, which Argo did not replace; \
             `{{node.name}}` needs Argo 3.4.3 or later",
        ),
        (
            json!({"execution_key": "train-{{retries}}"}),
            "`execution_key` still holds `{{retries}}`, which Argo did not replace",
        ),
        (
            json!({"workflow_created": "{{workflow.creationTimestamp.RFC3339}}"}),
            &format!("`workflow_created` still holds `{{{{workflow.creationTimestamp.RFC3339}}}}`, {created}"),
        ),
        (
            json!({"workflow_created": "{{workflow.creationTimestamp}}"}),
            &format!("`workflow_created` still holds `{{{{workflow.creationTimestamp}}}}`, {created}"),
        ),
        (
            json!({"display_name": "{{node.name}}"}),
            &format!("`display_name` still holds `{{{{node.name}}}}`, {created}"),
        ),
    ]);
}

#[test]
fn other_braces_are_judged_as_the_text_that_they_are() {
    let region = "`region_name` is `{{inputs.parameters.region}}`; it must be an AWS region's code such as `us-west-2`";
    assert_rows(&[
        (json!({"region_name": "{{inputs.parameters.region}}"}), region),
        (json!({"attempt": "{{=retries}}"}), "`attempt` is `{{=retries}}`; it must be a whole number, 0 or more"),
        (
            json!({"display_name": "{{y}}"}),
            "`display_name` is `{{y}}`; it must be 1 to 82 letters, digits and inner hyphens",
        ),
    ]);
}

#[test]
fn a_retry_strategy_without_attempt_says_what_to_add() {
    for strategy in [json!({}), json!({"limit": "3"})] {
        for changes in [json!({}), json!({"attempt": ""})] {
            assert_refused(
                request_in(&json!({"retryStrategy": strategy}), &changes),
                "`attempt` is missing, but the template has a `retryStrategy`: add attempt: \"{{retries}}\", \
                 else a retry is taken for the first attempt",
            );
        }
    }
}

#[test]
fn a_long_value_is_shortened_and_put_on_one_line() {
    let text = refusal(request(&json!({"action": format!("a\tb{}", "é".repeat(100))})));
    assert_eq!(
        text,
        format!(
            "malformed plugin input: `action` is `a\\tb{}…`; it must be `validate`, `execute` or `stop`",
            "é".repeat(57)
        )
    );
    assert!(read(request(&json!({"action": "execute"}))).is_ok());
}
