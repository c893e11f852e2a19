//! What the service does with its calls: tokens, quota, lists, limits, faults.

use awf_aws::simulator::{
    book::{Book, Delivery},
    faults::Faults,
    scenario::Scenario,
};
use serde_json::json;

use super::{ACCOUNT, REGION, T0, World, at, token, two_steps};

#[test]
fn a_repeated_token_gets_what_the_semantics_say() {
    let other = |w: &mut World, seconds| {
        let input =
            json!({"PipelineName": "P", "ClientRequestToken": token("a"), "PipelineExecutionDisplayName": "other"});
        w.answer(seconds, "StartPipelineExecution", input).result
    };
    let mut w = World::with_pipeline(json!({}), two_steps());
    let arn = w.start(0.0, "a");
    assert_eq!(w.start(99.0, "a"), arn);
    assert_eq!(other(&mut w, 99.0).unwrap()["PipelineExecutionArn"], json!(arn));
    assert_eq!(w.book.executions()[0].starts, 3);

    let mut w = World::with_pipeline(json!({"token_semantics": "conflict"}), two_steps());
    w.start(0.0, "a");
    let again = json!({"PipelineName": "P", "ClientRequestToken": token("a")});
    assert_eq!(w.refused(1.0, "StartPipelineExecution", again).0, "ConflictException");

    let mut w = World::with_pipeline(json!({"token_semantics": "mismatch_error"}), two_steps());
    let arn = w.start(0.0, "a");
    assert_eq!(w.start(1.0, "a"), arn);
    assert_eq!(other(&mut w, 1.0).unwrap_err().code, "IdempotentParameterMismatchException");

    let mut w = World::with_pipeline(json!({"token_semantics": {"forgotten_after_seconds": 60}}), two_steps());
    let arn = w.start(0.0, "a");
    assert_eq!(w.start(59.9, "a"), arn);
    assert_ne!(w.start(60.0, "a"), arn);
    assert_eq!(w.book.executions().len(), 2);
}

#[test]
fn the_quota_counts_live_executions_of_the_account_and_region() {
    let mut w = World::with_pipeline(json!({"quota": 2}), two_steps());
    let first = w.start(0.0, "a");
    w.start(1.5, "b");
    let third = json!({"PipelineName": "P", "ClientRequestToken": token("c")});
    let (code, message) = w.refused(1.6, "StartPipelineExecution", third);
    assert_eq!(code, "ResourceLimitExceeded");
    assert!(message.contains("is 2 Executions"), "{message}");
    assert_eq!(w.start(1.7, "a"), first, "a repeated token needs no room");
    w.start(2.0, "c");
    let other = w.book.caller("AKIAANY", "us-east-1");
    let input = json!({"PipelineName": "P", "PipelineDefinition": two_steps().to_string(), "ClientRequestToken": token("c"),
                       "RoleArn": "arn:aws:iam::100000000002:role/pipelines"});
    w.book.call(&other, "CreatePipeline", &input, at(2.0)).result.unwrap();
    let start = json!({"PipelineName": "P", "ClientRequestToken": token("a")});
    w.book.call(&other, "StartPipelineExecution", &start, at(2.0)).result.unwrap();
}

#[test]
fn a_rate_takes_so_many_calls_a_second_and_throttles_the_rest() {
    let mut w = World::with_pipeline(json!({"rate": {"ListPipelineExecutions": 2, "*": 0.5}}), two_steps());
    let mut taken = |operation: &str, seconds| {
        let input = json!({"PipelineName": "P"});
        match w.answer(seconds, operation, input).result {
            Ok(_) => true,
            Err(refusal) => {
                assert_eq!(refusal.code, "ThrottlingException");
                false
            }
        }
    };
    let at_times = |taken: &mut dyn FnMut(&str, f64) -> bool, operation: &str, times: &[f64]| -> Vec<bool> {
        times.iter().map(|seconds| taken(operation, *seconds)).collect()
    };
    let lists = at_times(&mut taken, "ListPipelineExecutions", &[10.0, 10.0, 10.0, 10.4, 10.6, 60.0, 60.0, 60.0]);
    assert_eq!(lists, [true, true, false, false, true, true, true, false]);
    // All other operations share a bucket, which takes one call even though a second brings only half of one.
    assert!(taken("DescribePipeline", 70.0) && !taken("ListPipelines", 70.0) && !taken("DescribePipeline", 71.0));
    assert!(taken("ListPipelines", 73.0));
}

#[test]
fn a_rate_ends_by_zero_and_must_be_a_number_of_calls() {
    let faults = Faults::default().merged(&json!({"rate": {"*": 3}})).unwrap();
    assert!(faults.merged(&json!({"rate": {"*": 0}})).unwrap().rate.is_empty());
    for (patch, part) in
        [(json!({"rate": {"*": -1}}), "rate.*: -1"), (json!({"rate": {"Describe": 1}}), "did you mean")]
    {
        let refusal = Faults::default().merged(&patch).unwrap_err();
        assert!(refusal.contains(part), "{refusal}");
    }
}

#[test]
fn pages_are_newest_first_and_do_not_shift_when_executions_come_in_between() {
    let mut w = World::with_pipeline(json!({"quota": 1000}), two_steps());
    let mut all: Vec<String> = (0..7).map(|i| w.start(f64::from(i), &format!("t{i}"))).collect();
    let (page, next) = w.listed(10.0, json!({"MaxResults": 3}));
    let mut seen = page;
    w.start(11.0, "late");
    let (page, next) = w.listed(12.0, json!({"MaxResults": 3, "NextToken": next}));
    seen.extend(page);
    let (page, next) = w.listed(12.0, json!({"MaxResults": 3, "NextToken": next}));
    seen.extend(page);
    assert_eq!(next, None);
    assert_eq!(w.listed(10.0, json!({"SortOrder": "Ascending", "MaxResults": 7})).0, all);
    all.reverse();
    assert_eq!(seen, all);
    assert_eq!(
        w.refused(12.0, "ListPipelineExecutions", json!({"PipelineName": "P", "NextToken": "zz"})).0,
        "ValidationException"
    );
    assert_eq!(
        w.refused(12.0, "ListPipelineExecutions", json!({"PipelineName": "P", "MaxResults": 101})).0,
        "ValidationException"
    );
}

#[test]
fn lists_are_bounded_by_creation() {
    let mut w = World::with_pipeline(json!({}), two_steps());
    let all: Vec<String> = (0..3).map(|i| w.start(f64::from(i), &format!("t{i}"))).collect();
    let seconds = |s: f64| T0 as f64 / 1000.0 + s;
    assert_eq!(w.listed(9.0, json!({"CreatedAfter": seconds(0.5)})).0, [all[2].clone(), all[1].clone()]);
    assert_eq!(w.listed(9.0, json!({"CreatedAfter": seconds(0.5), "CreatedBefore": seconds(1.5)})).0, [all[1].clone()]);
}

#[test]
fn a_new_execution_is_absent_from_lists_while_they_lag() {
    let mut w = World::with_pipeline(json!({"list_lag_seconds": 30}), two_steps());
    let arn = w.start(0.0, "a");
    assert!(w.listed(29.9, json!({})).0.is_empty());
    assert_eq!(w.status(29.9, &arn), "Succeeded");
    assert_eq!(w.listed(30.0, json!({})).0, [arn]);
}

#[test]
fn parameters_are_checked_against_the_definition() {
    let definition = json!({"Parameters": [
        {"Name": "Data", "Type": "String"},
        {"Name": "Rounds", "Type": "Integer", "DefaultValue": 3},
        {"Name": "Size", "Type": "String", "DefaultValue": "m", "EnumValues": ["s", "m"]},
    ], "Steps": []});
    let mut w = World::with_pipeline(json!({}), definition);
    let long = "x".repeat(1025);
    for (parameters, part) in [
        (json!([]), "Data"),
        (json!([{"Name": "Data", "Value": "d"}, {"Name": "Nope", "Value": "1"}]), "Nope"),
        (json!([{"Name": "Data", "Value": ""}]), "too short (length: 0, required minimum: 1)"),
        (json!([{"Name": "Data", "Value": long}]), "less than or equal to 1024"),
        (json!([{"Name": "Data", "Value": "d"}, {"Name": "Data", "Value": "e"}]), "Duplicate"),
        (json!([{"Name": "Data", "Value": "d"}, {"Name": "Rounds", "Value": "many"}]), "Integer"),
        (json!([{"Name": "Data", "Value": "d"}, {"Name": "Size", "Value": "xl"}]), "[s, m]"),
        (json!((0..201).map(|i| json!({"Name": format!("p{i}"), "Value": "v"})).collect::<Vec<_>>()), "200"),
    ] {
        let input = json!({"PipelineName": "P", "ClientRequestToken": token("a"), "PipelineParameters": parameters});
        let (code, message) = w.refused(0.0, "StartPipelineExecution", input);
        assert_eq!(code, "ValidationException");
        assert!(message.contains(part), "{message}");
    }
    let input = json!({"PipelineName": "P", "ClientRequestToken": token("a"), "PipelineParameters": [{"Name": "Data", "Value": "d"}]});
    let arn = w.ok(0.0, "StartPipelineExecution", input)["PipelineExecutionArn"].clone();
    let shown = w.ok(0.0, "ListPipelineParametersForExecution", json!({"PipelineExecutionArn": arn}));
    assert_eq!(shown["PipelineParameters"][1], json!({"Name": "Rounds", "Value": "3"}));
}

#[test]
fn members_are_held_to_their_limits() {
    let mut w = World::with_pipeline(json!({}), two_steps());
    for (field, value) in [
        ("ClientRequestToken", json!("short")),
        ("ClientRequestToken", json!("x".repeat(129))),
        ("PipelineExecutionDisplayName", json!("no_underscore")),
        ("PipelineExecutionDisplayName", json!("x".repeat(83))),
        ("PipelineExecutionDescription", json!("x".repeat(3073))),
        ("PipelineExecutionDescription", json!("two\nlines")),
        ("ParallelismConfiguration", json!({"MaxParallelExecutionSteps": 0})),
        ("SelectiveExecutionConfig", json!({"SelectedSteps": []})),
        ("SelectiveExecutionConfig", json!({"SelectedSteps": [{"StepName": "Train"}]})),
    ] {
        let mut input = json!({"PipelineName": "P", "ClientRequestToken": token("a")});
        input[field] = value;
        assert_eq!(w.refused(0.0, "StartPipelineExecution", input).0, "ValidationException", "{field}");
    }
    assert_eq!(w.refused(0.0, "StartPipelineExecution", json!({"PipelineName": "P"})).0, "ValidationException");
    assert!(w.book.executions().is_empty());
}

#[test]
fn a_definition_that_sagemaker_would_refuse_is_refused() {
    let mut w = World::new(json!({}));
    for definition in [
        "no json".to_owned(),
        "{}".to_owned(),
        json!({"Steps": [{"Name": "A", "Type": "Training", "DependsOn": ["B"]}]}).to_string(),
        json!({"Steps": [{"Name": "A", "Type": "Training"}, {"Name": "A", "Type": "Training"}]}).to_string(),
        json!({"Steps": [{"Name": "A", "Type": "Training", "DependsOn": ["B"]}, {"Name": "B", "Type": "Training", "DependsOn": ["A"]}]})
            .to_string(),
    ] {
        let input = json!({"PipelineName": "P", "PipelineDefinition": definition, "ClientRequestToken": token("c"),
                           "RoleArn": "arn:aws:iam::100000000002:role/pipelines"});
        let (code, message) = w.refused(0.0, "CreatePipeline", input);
        assert_eq!(code, "ValidationException");
        assert!(message.starts_with("Unable to parse pipeline definition. "), "{message}");
    }
}

#[test]
fn what_is_not_there_is_resource_not_found_and_a_deleted_pipeline_takes_its_executions() {
    let mut w = World::with_pipeline(json!({}), two_steps());
    assert_eq!(w.refused(0.0, "DescribePipeline", json!({"PipelineName": "nope"})).0, "ResourceNotFound");
    let arn = w.start(0.0, "a");
    let delete = json!({"PipelineName": "P", "ClientRequestToken": token("d")});
    assert_eq!(w.refused(0.0, "DeletePipeline", delete.clone()).0, "ConflictException");
    w.ok(5.0, "DeletePipeline", delete);
    let input = json!({"PipelineExecutionArn": arn});
    assert_eq!(w.refused(5.0, "DescribePipelineExecution", input).0, "ResourceNotFound");
    assert_eq!(w.refused(5.0, "ListPipelineExecutions", json!({"PipelineName": "P"})).0, "ResourceNotFound");
    w.create("P", two_steps());
    assert_ne!(w.start(6.0, "a"), arn);
}

#[test]
fn only_an_arn_reaches_another_accounts_pipeline() {
    let mut w = World::with_pipeline(json!({}), two_steps());
    let form = json!({"RoleArn": "arn:aws:iam::111122223333:role/team/runner", "RoleSessionName": "s"});
    let caller = w.caller.clone();
    let keys = w.book.call_sts(Some(&caller), "AssumeRole", &form, at(0.0)).result.unwrap();
    assert_eq!(keys["AssumedRoleUser"]["Arn"], "arn:aws:sts::111122223333:assumed-role/runner/s");
    let stranger = w.book.caller(keys["Credentials"]["AccessKeyId"].as_str().unwrap(), REGION);
    assert_eq!(stranger.account, "111122223333");
    let by_name = json!({"PipelineName": "P"});
    assert_eq!(
        w.book.call(&stranger, "DescribePipeline", &by_name, at(0.0)).result.unwrap_err().code,
        "ResourceNotFound"
    );
    let arn = format!("arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/P");
    let shown = w.book.call(&stranger, "DescribePipeline", &json!({"PipelineName": arn}), at(0.0)).result.unwrap();
    assert_eq!(shown["PipelineArn"], json!(arn));
    let started = w.book.call(
        &stranger,
        "StartPipelineExecution",
        &json!({"PipelineName": arn, "ClientRequestToken": token("a")}),
        at(0.0),
    );
    let execution = started.result.unwrap()["PipelineExecutionArn"].as_str().unwrap().to_owned();
    assert!(execution.starts_with(&arn), "{execution}");
    w.book.reset(at(1.0)).unwrap();
    let key = keys["Credentials"]["AccessKeyId"].as_str().unwrap();
    assert_eq!(w.book.caller(key, REGION).account, "111122223333", "keys survive a reset");
}

#[test]
fn faults_strike_as_often_as_told_and_leave_no_effect() {
    let mut w = World::with_pipeline(json!({}), two_steps());
    let start = || json!({"PipelineName": "P", "ClientRequestToken": token("a")});
    for (fault, code) in [
        (json!({"throttle": {"StartPipelineExecution": 1}}), "ThrottlingException"),
        (json!({"server_error": {"*": 1}}), "InternalFailure"),
        (json!({"conflict": {"StartPipelineExecution": 1}}), "ConflictException"),
        (json!({"deny": {"StartPipelineExecution": 1}}), "AccessDeniedException"),
        (json!({"errors": {"*": {"code": "ExpiredTokenException", "times": 1}}}), "ExpiredTokenException"),
    ] {
        w.book.faults = w.book.faults.merged(&fault).unwrap();
        assert_eq!(w.refused(0.0, "StartPipelineExecution", start()).0, code);
        assert!(w.book.executions().is_empty());
    }
    w.book.faults = w.book.faults.merged(&json!({"hang": {"StartPipelineExecution": 1}})).unwrap();
    assert_eq!(w.answer(0.0, "StartPipelineExecution", start()).delivery, Delivery::Never);
    assert!(w.book.executions().is_empty());
    w.book.faults = w.book.faults.merged(&json!({"lose_reply": {"StartPipelineExecution": 1}})).unwrap();
    assert_eq!(w.answer(0.0, "StartPipelineExecution", start()).delivery, Delivery::Lost);
    assert_eq!(w.book.executions().len(), 1, "a lost reply has had its effect");
    assert_eq!(w.answer(0.0, "StartPipelineExecution", start()).delivery, Delivery::Sent);
    assert_eq!(w.book.calls("StartPipelineExecution"), 8);
}

#[test]
fn a_denial_names_caller_action_and_resource() {
    let mut w = World::with_pipeline(json!({"deny": {"DescribePipeline": "always"}}), two_steps());
    let (_, message) = w.refused(0.0, "DescribePipeline", json!({"PipelineName": "P"}));
    assert_eq!(
        message,
        "User: arn:aws:iam::100000000002:user/simulated is not authorized to perform: sagemaker:DescribePipeline on resource: \
         arn:aws:sagemaker:eu-west-1:100000000002:pipeline/P because no identity-based policy allows the \
         sagemaker:DescribePipeline action"
    );
}

#[test]
fn wrong_faults_are_answered_by_a_sentence_and_change_nothing() {
    let faults = Faults::default();
    for (patch, part) in [
        (json!({"throtle": {}}), "unknown field `throtle`"),
        (json!({"throttle": {"StartPipeline": 1}}), "did you mean \"StartPipelineExecution\""),
        (json!({"throttle": {"*": "often"}}), "the word \"always\""),
        (json!({"step_seconds": -1}), "step_seconds: -1"),
        (json!([]), "must be a JSON object"),
    ] {
        let text = faults.merged(&patch).unwrap_err();
        assert!(text.contains(part), "{text}");
    }
    let changed = faults.merged(&json!({"quota": 3, "throttle": {"*": "always"}})).unwrap();
    assert_eq!(changed.merged(&json!({"quota": null, "throttle": {"*": null}})).unwrap(), faults);
}

#[test]
fn a_scenario_brings_its_pipelines_and_says_what_is_wrong_with_it() {
    let text = json!({"access_keys": {"AKIATEAM": "111122223333"}, "pipelines": [
        {"name": "P", "region": REGION, "account": "111122223333", "definition": two_steps()},
    ], "faults": {"step_seconds": 5}});
    let mut book = Book::new(Scenario::parse(&text.to_string()).unwrap(), at(0.0)).unwrap();
    let caller = book.caller("AKIATEAM", REGION);
    let listed = book.call(&caller, "ListPipelines", &json!({}), at(0.0)).result.unwrap();
    assert_eq!(listed["PipelineSummaries"][0]["PipelineArn"], "arn:aws:sagemaker:eu-west-1:111122223333:pipeline/P");
    assert!(Scenario::parse(r#"{"pipeline": []}"#).unwrap_err().contains("unknown field `pipeline`"));
    assert!(Scenario::parse(r#"{"default_account": "12"}"#).unwrap_err().contains("12 digits"));
    let broken = Scenario::parse(r#"{"pipelines": [{"name": "P", "region": "r", "definition": {}}]}"#).unwrap();
    assert!(Book::new(broken, at(0.0)).unwrap_err().contains("Missing property 'Steps'"));
}

#[test]
fn the_same_calls_give_the_same_arns() {
    let run = || World::with_pipeline(json!({}), two_steps()).start(0.0, "a");
    assert_eq!(run(), run());
}
