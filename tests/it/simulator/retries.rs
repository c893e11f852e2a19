//! RetryPipelineExecution: what it takes, what runs again, what a repeated token gets.

use awf_aws::simulator::refusal::Refusal;
use serde_json::{Value, json};

use super::{World, at, token, two_steps};

fn retry(arn: &str, word: &str) -> Value {
    json!({"PipelineExecutionArn": arn, "ClientRequestToken": token(word)})
}

/// Prepare, then Train, which fails so often.
fn failing(times: u32, faults: Value) -> (World, String) {
    let mut w = World::with_pipeline(faults, two_steps());
    w.book.faults = w.book.faults.merged(&json!({"steps": {"Train": {"fail": times}}})).unwrap();
    let arn = w.start(0.0, "a");
    (w, arn)
}

#[test]
fn a_retry_revives_the_execution_under_its_arn() {
    let mut w = World::with_pipeline(json!({"steps": {"Train": {"fail": 1}}}), two_steps());
    let arn = w.start(0.0, "a");
    let retry = json!({"PipelineExecutionArn": arn, "ClientRequestToken": token("r")});
    assert_eq!(w.refused(0.5, "RetryPipelineExecution", retry.clone()).0, "ValidationException");
    assert_eq!(w.status(2.0, &arn), "Failed");
    assert_eq!(w.ok(10.0, "RetryPipelineExecution", retry)["PipelineExecutionArn"], json!(arn));
    assert_eq!(w.step_states(10.0, &arn), ["Prepare Succeeded", "Train Executing"]);
    assert_eq!(w.status(11.0, &arn), "Succeeded");
    assert_eq!(w.steps(11.0, &arn)[1]["AttemptCount"], 2);
}

#[test]
fn only_what_failed_or_was_stopped_runs_again_and_the_rest_keeps_its_results() {
    let (mut w, arn) = failing(2, json!({}));
    let before = w.steps(2.0, &arn);
    for (n, seconds) in [(1_u32, 10.0), (2, 20.0)] {
        w.ok(seconds, "RetryPipelineExecution", retry(&arn, &format!("r{n}")));
        let steps = w.steps(seconds + 1.0, &arn);
        assert_eq!(steps[0], before[0], "Prepare is as it was: its job, its times, its one attempt");
        assert_eq!(steps[1]["AttemptCount"], n + 1);
        assert_ne!(steps[1]["Metadata"], before[1]["Metadata"], "another job");
    }
    assert_eq!(w.status(21.0, &arn), "Succeeded");
    let shown = &w.book.show(at(21.0))["executions"][0];
    assert_eq!((&shown["retries"], &shown["attempts"]), (&json!(2), &json!({"Prepare": 1, "Train": 3})));
}

#[test]
fn a_stopped_execution_goes_on_where_it_was_stopped() {
    let mut w = World::with_pipeline(json!({}), two_steps());
    let arn = w.start(0.0, "a");
    w.stop(1.5, &arn);
    assert_eq!(w.refused(1.6, "RetryPipelineExecution", retry(&arn, "r")).0, "ValidationException", "Stopping");
    assert_eq!(w.status(3.0, &arn), "Stopped");
    w.ok(3.0, "RetryPipelineExecution", retry(&arn, "r"));
    assert_eq!(w.step_states(3.0, &arn), ["Prepare Succeeded", "Train Executing"]);
    assert_eq!(w.status(4.0, &arn), "Succeeded");
}

#[test]
fn what_did_not_fail_is_not_retried() {
    let mut w = World::with_pipeline(json!({"steps": {"Prepare": {"fail": 1, "handled": true}}}), two_steps());
    let (handled, good) = (w.start(0.0, "a"), w.start(0.0, "b"));
    for (arn, status) in [(handled, "CompletedWithFailures"), (good, "Succeeded")] {
        assert_eq!(w.status(5.0, &arn), status);
        let (code, text) = w.refused(5.0, "RetryPipelineExecution", retry(&arn, "r"));
        assert_eq!(code, "ValidationException");
        assert_eq!(text, "Only pipelines with 'Failed' or 'Stopped' status can be retried");
    }
    let none = "arn:aws:sagemaker:eu-west-1:100000000002:pipeline/P/execution/none";
    assert_eq!(w.refused(5.0, "RetryPipelineExecution", retry(none, "r")).0, "ResourceNotFound");
    let short = json!({"PipelineExecutionArn": none, "ClientRequestToken": "short"});
    assert_eq!(w.refused(5.0, "RetryPipelineExecution", short).0, "ValidationException");
}

#[test]
fn a_retry_needs_room_and_takes_it() {
    let (mut w, arn) = failing(1, json!({"quota": 1}));
    assert_eq!(w.status(2.0, &arn), "Failed");
    w.start(2.0, "b");
    assert_eq!(w.refused(2.5, "RetryPipelineExecution", retry(&arn, "r")).0, "ResourceLimitExceeded");
    w.ok(4.0, "RetryPipelineExecution", retry(&arn, "r"));
    let start = json!({"PipelineName": "P", "ClientRequestToken": token("c")});
    assert_eq!(w.refused(4.5, "StartPipelineExecution", start).0, "ResourceLimitExceeded");
}

#[test]
fn a_repeated_token_never_retries_twice_unless_it_was_forgotten() {
    let again = |semantics: Value| {
        let (mut w, arn) = failing(2, json!({"token_semantics": semantics}));
        assert_eq!(w.status(9.0, &arn), "Failed");
        w.ok(10.0, "RetryPipelineExecution", retry(&arn, "r"));
        assert_eq!(w.status(11.0, &arn), "Failed");
        let mut other = retry(&arn, "r");
        other["ParallelismConfiguration"] = json!({"MaxParallelExecutionSteps": 1});
        let mut told = |input: Value| match w.answer(15.0, "RetryPipelineExecution", input).result {
            Ok(reply) => {
                assert_eq!(reply["PipelineExecutionArn"], json!(arn));
                "ok".to_owned()
            }
            Err(Refusal { code, .. }) => code,
        };
        let told = [told(retry(&arn, "r")), told(other)];
        (told, w.status(15.5, &arn), w.book.show(at(15.5))["executions"][0]["retries"].clone())
    };
    let expected = |same: &str, other: &str, status: &str, retries: u32| {
        ([same.to_owned(), other.to_owned()], status.to_owned(), json!(retries))
    };
    assert_eq!(again(json!("same_arn")), expected("ok", "ok", "Failed", 1));
    assert_eq!(again(json!("conflict")), expected("ConflictException", "ConflictException", "Failed", 1));
    let mismatch = "IdempotentParameterMismatchException";
    assert_eq!(again(json!("mismatch_error")), expected("ok", mismatch, "Failed", 1));
    assert_eq!(again(json!({"forgotten_after_seconds": 60})), expected("ok", "ok", "Failed", 1));
    assert_eq!(again(json!({"forgotten_after_seconds": 4})), expected("ok", "ok", "Executing", 2));
}

#[test]
fn a_lost_reply_of_a_retry_has_retried() {
    let (mut w, arn) = failing(1, json!({"lose_reply": {"RetryPipelineExecution": 1}}));
    assert_eq!(w.status(2.0, &arn), "Failed");
    w.answer(3.0, "RetryPipelineExecution", retry(&arn, "r"));
    assert_eq!(w.status(3.0, &arn), "Executing");
    w.ok(3.1, "RetryPipelineExecution", retry(&arn, "r"));
    assert_eq!(w.status(4.0, &arn), "Succeeded");
}
