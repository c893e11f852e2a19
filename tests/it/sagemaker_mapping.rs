//! The SageMaker backend against a scripted socket: what each answer, and each missing one, lets us know.

use std::time::Duration;

use awf_aws::{
    backend::{
        Backend,
        sagemaker::{MAX_CLIENTS, SageMaker},
    },
    pipelines::{
        Call, CallEnded, CallError, CallErrorKind as Kind, CallReply, ClientKey, Selective, StartExecution, Status,
        Time,
    },
};
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError, future};
use serde_json::json;

use stub::{Asked, DATE, Reply, Stub, answer, caller_identity, refusal, sts_credentials};

mod credentials;
mod stub;

const EXECUTION: &str = "arn:aws:sagemaker:eu-west-1:111122223333:pipeline/train/execution/abcdefghijkl";

fn plain() -> ClientKey {
    ClientKey { region: "eu-west-1".into(), role_arn: None, external_id: None }
}

fn with_role(name: &str) -> ClientKey {
    ClientKey {
        role_arn: Some(format!("arn:aws:iam::222233334444:role/{name}")),
        external_id: Some("external-7".into()),
        ..plain()
    }
}

fn describe() -> Call {
    Call::DescribePipeline { pipeline: "train".into(), version: None }
}

fn start() -> Call {
    Call::StartExecution(Box::new(StartExecution {
        pipeline: "train".into(),
        token: "t".repeat(64),
        display_name: "wf-0123456789ab-0".into(),
        description: "text | awf-aws/1 ns=a".into(),
        parameters: vec![("Zeta".into(), "1".into()), ("Alpha".into(), "two words".into())],
        version: Some(7),
        max_parallel_steps: Some(3),
        selective: Some(Selective {
            source_execution_arn: Some(EXECUTION.into()),
            steps: vec!["a".into(), "b".into()],
        }),
    }))
}

/// The SDK as production has it, with time-outs and back-off short enough for tests.
async fn sdk(url: &str, credentials: impl ProvideCredentials + 'static) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(url)
        .credentials_provider(credentials)
        .retry_config(RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(1)))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(2))
                .read_timeout(Duration::from_millis(300))
                .operation_timeout(Duration::from_secs(10))
                .build(),
        )
        .load()
        .await
}

fn keys() -> Credentials {
    Credentials::new("AKIDEXAMPLE", "secret", None, None, "test")
}

async fn backend(stub: &Stub) -> SageMaker {
    SageMaker::with_config(sdk(&stub.url, keys()).await)
}

async fn failure(stub: &Stub, call: Call) -> CallError {
    let failed = backend(stub).await.call(plain(), call).await.result.expect_err("the call fails");
    assert!(!failed.message.is_empty() && !failed.message.contains(['\n', '\r']), "{failed:?}");
    failed
}

async fn reply(stub: &Stub, call: Call) -> CallReply {
    backend(stub).await.call(plain(), call).await.result.expect("the call succeeds")
}

#[actix_rt::test]
async fn every_error_code_says_what_is_known() {
    let rows = [
        ("ThrottlingException", "Rate exceeded", Kind::Throttled),
        ("RequestLimitExceeded", "slow down", Kind::Throttled),
        ("TooManyRequestsException", "", Kind::Throttled),
        ("ResourceLimitExceeded", "The account-level service limit is 20", Kind::QuotaExceeded),
        ("ResourceNotFound", "Pipeline 'train' does not exist.", Kind::NotFound),
        ("ns#ResourceNotFound", "with a namespace", Kind::NotFound),
        ("ValidationException", "Could not find pipeline with PipelineName train.", Kind::NotFound),
        ("ConflictException", "in use", Kind::Conflict),
        ("IdempotentParameterMismatch", "", Kind::TokenMismatch),
        ("ValidationException", "ClientRequestToken was used with other parameters", Kind::TokenMismatch),
        (
            "ValidationException",
            "Value at 'clientRequestToken' failed to satisfy constraint: Member must have length >= 32",
            Kind::Invalid,
        ),
        ("ValidationException", "Only pipelines with 'Executing' status can be stopped", Kind::Invalid),
        ("SerializationException", "", Kind::Invalid),
        ("SomethingNew", "a new refusal", Kind::Invalid),
        ("AccessDeniedException", "User: arn:aws:sts::1:assumed-role/a/b is not authorized", Kind::Denied),
        ("UnrecognizedClientException", "The security token included in the request is invalid.", Kind::Credentials),
        ("ExpiredTokenException", "The security token included in the request is expired", Kind::Credentials),
        ("InvalidSignatureException", "Signature expired", Kind::Credentials),
        ("InternalFailure", "", Kind::OutcomeUnknown),
        ("ServiceUnavailable", "", Kind::OutcomeUnknown),
    ];
    for (code, message, expected) in rows {
        let stub = Stub::always(refusal(code, message)).await;
        for call in [describe(), start()] {
            let failed = failure(&stub, call).await;
            assert_eq!(failed.kind, expected, "{code}: {message}: {failed:?}");
            assert_eq!(failed.code.as_deref(), code.rsplit('#').next());
            assert_eq!(failed.request_id.as_deref(), Some("request-1"));
        }
    }
}

#[actix_rt::test]
async fn http_status_decides_about_unknown_codes() {
    for (status, expected) in [
        (400, Kind::Invalid),
        (403, Kind::Denied),
        (429, Kind::Throttled),
        (500, Kind::OutcomeUnknown),
        (503, Kind::OutcomeUnknown),
    ] {
        let stub = Stub::always(answer(status, r#"{"__type":"Novelty","message":"m"}"#)).await;
        assert_eq!(failure(&stub, describe()).await.kind, expected, "{status}");
    }
}

#[actix_rt::test]
async fn answers_that_cannot_be_trusted_leave_the_outcome_unknown() {
    let rows = [
        ("closed after sending", Reply::CloseSilently),
        ("never answered", Reply::NeverAnswer),
        ("half a head", Reply::Bytes("HTTP/1.1 200 O")),
        ("half a body", Reply::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"Pipe")),
        ("not HTTP", Reply::Bytes("SSH-2.0-OpenSSH_9.9\r\n")),
        ("a proxy's page", answer(502, "<html>Bad Gateway</html>")),
        ("a page instead of JSON", answer(200, "<html>log in</html>")),
        ("an emulator's 500", answer(500, "<!doctype html><title>500</title>")),
    ];
    for (what, misbehaviour) in rows {
        let stub = Stub::always(misbehaviour).await;
        for call in [start(), describe()] {
            let failed = failure(&stub, call).await;
            assert_eq!(failed.kind, Kind::OutcomeUnknown, "{what}: {failed:?}");
        }
    }
}

#[actix_rt::test]
async fn a_start_without_an_arn_in_the_answer_may_have_started() {
    let stub = Stub::always(answer(200, "{}")).await;
    assert_eq!(failure(&stub, start()).await.kind, Kind::OutcomeUnknown);
}

#[actix_rt::test]
async fn a_service_that_cannot_be_connected_to_is_unreachable() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    for url in [refused.as_str(), "http://no-such-host.invalid:4599"] {
        let sagemaker = SageMaker::with_config(sdk(url, keys()).await);
        let failed = sagemaker.call(plain(), start()).await.result.expect_err("nobody is there");
        assert_eq!(failed.kind, Kind::Unreachable, "{url}: {failed:?}");
        assert!(failed.message.contains("cannot reach SageMaker in eu-west-1"), "{failed:?}");
    }
}

#[actix_rt::test]
async fn a_refusal_after_a_lost_try_does_not_undo_the_lost_try() {
    let first = [Reply::CloseSilently, Reply::NeverAnswer, answer(500, "{}")];
    let then = [
        (refusal("ThrottlingException", "Rate exceeded"), Kind::OutcomeUnknown, Kind::Throttled),
        (refusal("ResourceLimitExceeded", "20"), Kind::OutcomeUnknown, Kind::QuotaExceeded),
        (refusal("AccessDeniedException", "no"), Kind::OutcomeUnknown, Kind::Denied),
        (refusal("ConflictException", "exists"), Kind::Conflict, Kind::Conflict),
        (refusal("ValidationException", "bad"), Kind::Invalid, Kind::Invalid),
    ];
    for lost in &first {
        for (refused, for_a_start, for_a_read) in &then {
            for (call, expected) in [(start(), for_a_start), (describe(), for_a_read)] {
                let (lost, refused) = (lost.clone(), refused.clone());
                let stub = Stub::start(move |_, before| if before == 0 { lost.clone() } else { refused.clone() }).await;
                let failed = failure(&stub, call).await;
                assert_eq!(failed.kind, *expected, "{failed:?}");
                assert_eq!(stub.asked().len(), 2);
            }
        }
    }
}

#[actix_rt::test]
async fn two_tries_carry_the_same_body() {
    let stub = Stub::start(|_, before| match before {
        0 => Reply::CloseSilently,
        _ => answer(200, json!({ "PipelineExecutionArn": EXECUTION }).to_string()),
    })
    .await;
    assert_eq!(reply(&stub, start()).await, CallReply::Started { arn: EXECUTION.into() });
    let asked = stub.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].body, asked[1].body);
}

#[actix_rt::test]
async fn a_start_sends_everything_it_was_given() {
    let stub = Stub::always(answer(200, json!({ "PipelineExecutionArn": EXECUTION }).to_string())).await;
    reply(&stub, start()).await;
    let asked = stub.asked().remove(0);
    assert_eq!(asked.operation, "StartPipelineExecution");
    assert_eq!(
        asked.json(),
        json!({
            "PipelineName": "train",
            "PipelineExecutionDisplayName": "wf-0123456789ab-0",
            "PipelineParameters": [{ "Name": "Zeta", "Value": "1" }, { "Name": "Alpha", "Value": "two words" }],
            "PipelineExecutionDescription": "text | awf-aws/1 ns=a",
            "ClientRequestToken": "t".repeat(64),
            "ParallelismConfiguration": { "MaxParallelExecutionSteps": 3 },
            "SelectiveExecutionConfig": {
                "SourcePipelineExecutionArn": EXECUTION,
                "SelectedSteps": [{ "StepName": "a" }, { "StepName": "b" }],
            },
            "PipelineVersionId": 7,
        })
    );
}

#[actix_rt::test]
async fn a_plain_start_sends_no_empty_members() {
    let stub = Stub::always(answer(200, json!({ "PipelineExecutionArn": EXECUTION }).to_string())).await;
    let plain_start = StartExecution {
        pipeline: "train".into(),
        token: "t".repeat(64),
        display_name: "n".into(),
        description: "d".into(),
        parameters: vec![],
        version: None,
        max_parallel_steps: None,
        selective: None,
    };
    reply(&stub, Call::StartExecution(Box::new(plain_start))).await;
    assert_eq!(
        stub.asked()[0].json(),
        json!({
            "PipelineName": "train",
            "PipelineExecutionDisplayName": "n",
            "PipelineExecutionDescription": "d",
            "ClientRequestToken": "t".repeat(64),
        })
    );
}

#[actix_rt::test]
async fn a_stop_carries_its_token() {
    let stub = Stub::always(answer(200, json!({ "PipelineExecutionArn": EXECUTION }).to_string())).await;
    let call = Call::StopExecution { arn: EXECUTION.into(), token: "s".repeat(64) };
    assert_eq!(reply(&stub, call).await, CallReply::Stopping);
    let asked = stub.asked().remove(0);
    assert_eq!(asked.operation, "StopPipelineExecution");
    assert_eq!(asked.json(), json!({ "PipelineExecutionArn": EXECUTION, "ClientRequestToken": "s".repeat(64) }));
}

#[actix_rt::test]
async fn a_pipeline_is_described_with_its_definition() {
    let stub = Stub::always(answer(
        200,
        json!({
            "PipelineArn": "arn:aws:sagemaker:eu-west-1:111122223333:pipeline/train", "PipelineStatus": "Active",
            "LastModifiedTime": 1795295298.428, "PipelineDefinition": "{\"Steps\":[]}",
        })
        .to_string(),
    ))
    .await;
    let call = Call::DescribePipeline { pipeline: "train".into(), version: Some(2) };
    let CallReply::Pipeline(pipeline) = reply(&stub, call).await else { panic!("a pipeline was asked for") };
    assert_eq!(pipeline.arn, "arn:aws:sagemaker:eu-west-1:111122223333:pipeline/train");
    assert_eq!(pipeline.status, "Active");
    assert_eq!(pipeline.last_modified, Some(Time(1_795_295_298_428)));
    assert_eq!(pipeline.definition, "{\"Steps\":[]}");
    assert_eq!(stub.asked()[0].json(), json!({ "PipelineName": "train", "PipelineVersionId": 2 }));
}

#[actix_rt::test]
async fn listing_passes_paging_tokens_through_and_asks_newest_first() {
    let line = |id: &str, status: &str| {
        json!({ "PipelineExecutionArn": id, "PipelineExecutionStatus": status, "StartTime": 1795295298.5,
                "PipelineExecutionDescription": "d", "PipelineExecutionFailureReason": "" })
    };
    let body = json!({
        "PipelineExecutionSummaries": [line("arn:1", "Succeeded"), { "StartTime": 1 }, line("arn:2", "Hibernating")],
        "NextToken": "page-3",
    });
    let stub = Stub::start(move |_, before| match before {
        0 => answer(200, body.to_string()),
        _ => answer(200, r#"{"PipelineExecutionSummaries":[],"NextToken":""}"#),
    })
    .await;
    let sagemaker = backend(&stub).await;
    let list = |next_token: Option<&str>| Call::ListExecutions {
        pipeline: "train".into(),
        created_after: Some(Time(1_795_000_000_250)),
        next_token: next_token.map(str::to_owned),
    };
    let second = sagemaker.call(plain(), list(Some("page-2"))).await.result.unwrap();
    let CallReply::Executions { page, next_token } = second else { panic!("a page was asked for") };
    assert_eq!(
        page.iter().map(|e| e.arn.as_str()).collect::<Vec<_>>(),
        ["arn:1", "arn:2"],
        "a line without ARN is no use"
    );
    assert_eq!(page[0].created, Some(Time(1_795_295_298_500)));
    assert_eq!((page[0].modified, page[0].failure_reason.as_deref()), (None, None));
    assert_eq!(page[1].status, Status::Unknown("Hibernating".into()));
    assert!(page[1].status.is_live());
    assert_eq!(next_token.as_deref(), Some("page-3"));
    assert_eq!(
        stub.asked()[0].json(),
        json!({ "PipelineName": "train", "CreatedAfter": 1795000000.25, "SortBy": "CreationTime", "SortOrder": "Descending",
                "NextToken": "page-2", "MaxResults": 100 })
    );
    let last = sagemaker.call(plain(), list(None)).await.result.unwrap();
    assert_eq!(last, CallReply::Executions { page: vec![], next_token: None });
}

#[actix_rt::test]
async fn an_execution_with_missing_members_counts_as_running() {
    let stub = Stub::always(answer(200, "{}")).await;
    let call = Call::DescribeExecution { arn: EXECUTION.into() };
    let CallReply::Execution(execution) = reply(&stub, call).await else { panic!("an execution was asked for") };
    assert_eq!(execution.arn, EXECUTION);
    assert!(execution.status.is_live());
}

#[actix_rt::test]
async fn every_status_word_is_kept() {
    for word in ["Executing", "Stopping", "Stopped", "Failed", "Succeeded", "CompletedWithFailures", "Hibernating"] {
        let body = json!({ "PipelineExecutionArn": EXECUTION, "PipelineExecutionStatus": word, "FailureReason": "why",
                           "CreationTime": 1.5, "LastModifiedTime": 2, "PipelineExecutionDescription": "d" });
        let stub = Stub::always(answer(200, body.to_string())).await;
        let call = Call::DescribeExecution { arn: EXECUTION.into() };
        let CallReply::Execution(execution) = reply(&stub, call).await else { panic!("an execution was asked for") };
        assert_eq!(execution.status, Status::parse(word));
        assert_eq!(execution.status.as_str(), word);
        assert_eq!((execution.created, execution.modified), (Some(Time(1500)), Some(Time(2000))));
        assert_eq!(execution.failure_reason.as_deref(), Some("why"));
    }
}

#[actix_rt::test]
async fn steps_tell_their_kind_job_and_outputs() {
    let rows = [
        (json!({ "TrainingJob": { "Arn": "a:training" } }), Some("TrainingJob"), Some("a:training")),
        (json!({ "ProcessingJob": { "Arn": "a:processing" } }), Some("ProcessingJob"), Some("a:processing")),
        (json!({ "RegisterModel": { "Arn": "a:package/1" } }), Some("RegisterModel"), Some("a:package/1")),
        (json!({ "AutoMLJob": { "Arn": "a:automl" } }), Some("AutoMLJob"), Some("a:automl")),
        (json!({ "QualityCheck": { "CheckJobArn": "a:check" } }), Some("QualityCheck"), Some("a:check")),
        (json!({ "ClarifyCheck": {} }), Some("ClarifyCheck"), None),
        (json!({ "EMR": { "ClusterId": "j-1", "StepId": "s-1" } }), Some("EMR"), None),
        (json!({ "EMRServerless": {} }), Some("EMRServerless"), None),
        (json!({ "Condition": { "Outcome": "True" } }), Some("Condition"), None),
        (json!({ "ForEach": {} }), Some("ForEach"), None),
        (json!({ "HubContent": { "HubArn": "newer than the SDK" } }), None, None),
        (json!({}), None, None),
    ];
    let steps: Vec<_> = rows
        .iter()
        .map(|(metadata, ..)| json!({ "StepName": "s", "StepStatus": "Executing", "Metadata": metadata }))
        .chain([
            json!({ "StepName": "l", "StepStatus": "Succeeded", "StartTime": 1, "EndTime": 2.25, "Metadata": { "Lambda": {
                "Arn": "a:lambda", "OutputParameters": [{ "Name": "n", "Value": "v" }] } } }),
            json!({ "StepName": "c", "Metadata": { "Callback": {
                "CallbackToken": "tok", "OutputParameters": [{ "Name": "x", "Value": "y" }] } } }),
            json!({ "StepName": "f", "StepStatus": "Failed", "Metadata": { "Fail": { "ErrorMessage": "too bad a model" } } }),
            json!({ "StepName": "g", "StepStatus": "Failed", "FailureReason": "ClientError" }),
            json!({}),
        ])
        .collect();
    let body = json!({ "PipelineExecutionSteps": steps, "NextToken": "more" });
    let stub = Stub::always(answer(200, body.to_string())).await;
    let call = Call::ListSteps { arn: EXECUTION.into(), next_token: Some("page-2".into()) };
    let CallReply::Steps { page, next_token } = reply(&stub, call).await else { panic!("steps were asked for") };
    assert_eq!(next_token.as_deref(), Some("more"));
    assert_eq!(
        stub.asked()[0].json(),
        json!({ "PipelineExecutionArn": EXECUTION, "NextToken": "page-2", "MaxResults": 100 })
    );
    for ((metadata, kind, arn), step) in rows.iter().zip(&page) {
        assert_eq!((step.kind.as_deref(), step.job_arn.as_deref()), (*kind, *arn), "{metadata}");
    }
    let [lambda, callback, fail, failed, bare] = &page[rows.len()..] else { panic!("five more steps") };
    assert_eq!(lambda.outputs, [("n".to_owned(), "v".to_owned())]);
    assert_eq!((lambda.kind.as_deref(), lambda.job_arn.as_deref()), (Some("Lambda"), Some("a:lambda")));
    assert_eq!((lambda.started, lambda.ended), (Some(Time(1000)), Some(Time(2250))));
    assert_eq!(callback.outputs, [("x".to_owned(), "y".to_owned())]);
    assert_eq!(fail.failure_reason.as_deref(), Some("too bad a model"));
    assert_eq!(failed.failure_reason.as_deref(), Some("ClientError"));
    assert_eq!((bare.name.as_str(), bare.kind.as_deref()), ("", None));
}

#[actix_rt::test]
async fn answers_and_refusals_both_tell_the_servers_time() {
    for reply in [answer(200, "{}"), refusal("ResourceNotFound", "gone"), answer(502, "<html>")] {
        let stub = Stub::always(reply).await;
        let ended = backend(&stub).await.call(plain(), Call::DescribeExecution { arn: EXECUTION.into() }).await;
        assert_eq!(ended.server_time, Some(Time(DATE.1)));
    }
    let stub = Stub::always(Reply::CloseSilently).await;
    assert_eq!(backend(&stub).await.call(plain(), describe()).await.server_time, None);
}

#[actix_rt::test]
async fn a_region_that_is_none_is_refused_before_anything_is_sent() {
    let stub = Stub::always(answer(200, "{}")).await;
    let sagemaker = backend(&stub).await;
    for region in ["", "evil.example.com/", "eu west 1", "EU-WEST-1", "-eu", "ü"] {
        let key = ClientKey { region: region.into(), ..plain() };
        let failed = sagemaker.call(key, describe()).await.result.expect_err("not a region");
        assert_eq!(failed.kind, Kind::Invalid, "{region}");
    }
    assert!(stub.asked().is_empty());
}

#[actix_rt::test]
async fn messages_are_one_line_without_secrets() {
    let canonical = format!(
        "The request signature we calculated does not match.\n\nThe Canonical String for this request should have been\n\
         'POST\n/\n\nx-amz-security-token:{}'",
        "IQoJb3JpZ2lu".repeat(20)
    );
    let jwt = format!("token eyJhbGciOiJSUzI1NiJ9.{}.sig and\tkey ASIAABCDEFGHIJKLMNOP end", "x".repeat(90));
    for (code, text) in [("InvalidSignatureException", canonical.as_str()), ("ValidationException", jwt.as_str())] {
        let stub = Stub::always(refusal(code, text)).await;
        let message = failure(&stub, describe()).await.message;
        for secret in ["IQoJ", "eyJ", "ASIAABCD", "security-token"] {
            assert!(!message.contains(secret), "{message}");
        }
        assert!(message.len() <= 600);
    }
    let long = "Wörter ".repeat(200);
    let stub = Stub::always(refusal("ValidationException", &long)).await;
    let message = failure(&stub, describe()).await.message;
    assert!(message.len() <= 600 && message.ends_with('…'), "{message}");
    let arn = format!("arn:aws:sagemaker:eu-west-1:111122223333:pipeline/{}", "a".repeat(60));
    let stub = Stub::always(refusal("ResourceNotFound", &arn)).await;
    assert_eq!(failure(&stub, describe()).await.message, arn);
}

#[actix_rt::test]
async fn the_credentials_own_account_needs_no_call() {
    let stub = Stub::always(caller_identity("999999999999")).await;
    let keys = Credentials::builder()
        .access_key_id("AKIDEXAMPLE")
        .secret_access_key("secret")
        .account_id("111122223333")
        .provider_name("test")
        .build();
    let sagemaker = SageMaker::with_config(sdk(&stub.url, keys).await);
    let ended = sagemaker.call(plain(), Call::GetCallerIdentity).await;
    assert_eq!(ended.result, Ok(CallReply::CallerIdentity { account: "111122223333".into() }));
    assert!(stub.asked().is_empty());
}

#[actix_rt::test]
async fn sts_is_asked_for_the_account_once_per_client() {
    let stub = Stub::start(|_, before| match before {
        0 => refusal("Throttling", "not JSON for STS, so unreadable"),
        1 => stub::sts_refusal(403, "AccessDenied", "not now"),
        _ => caller_identity("111122223333"),
    })
    .await;
    let sagemaker = backend(&stub).await;
    let first = sagemaker.call(plain(), Call::GetCallerIdentity).await;
    assert!(first.result.is_err(), "{first:?}");
    let again = || sagemaker.call(plain(), Call::GetCallerIdentity);
    if again().await.result.is_err() {
        again().await.result.expect("the third answer is good");
    }
    let known = stub.asked().len();
    let (a, b) = tokio::join!(again(), again());
    for ended in [a, b] {
        assert_eq!(ended.result, Ok(CallReply::CallerIdentity { account: "111122223333".into() }));
    }
    assert_eq!(stub.asked().len(), known, "a known account is not asked for again");
    let elsewhere = ClientKey { region: "us-east-1".into(), ..plain() };
    sagemaker.call(elsewhere, Call::GetCallerIdentity).await.result.expect("answered");
    assert!(stub.asked().last().unwrap().head.contains("/us-east-1/sts/"), "signed for its own region");
}

fn aws(asked: &Asked) -> Reply {
    match asked.operation.as_str() {
        "AssumeRole" => sts_credentials("AssumeRole", "222233334444"),
        _ => answer(200, "{}"),
    }
}

#[actix_rt::test]
async fn a_client_is_built_once_and_its_role_assumed_once() {
    let stub = Stub::start(|asked, _| aws(asked)).await;
    let sagemaker = backend(&stub).await;
    let calls = (0..32).map(|_| sagemaker.call(with_role("runner"), Call::DescribeExecution { arn: EXECUTION.into() }));
    for ended in futures_util::future::join_all(calls).await {
        ended.result.expect("answered");
    }
    assert_eq!(sagemaker.clients_built(), 1);
    let operations = stub.operations();
    assert_eq!(operations.iter().filter(|o| *o == "AssumeRole").count(), 1, "{operations:?}");
    assert_eq!(operations.len(), 33);
    let assumed = stub.asked().into_iter().find(|asked| asked.operation == "AssumeRole").unwrap();
    for part in [
        "RoleArn=arn%3Aaws%3Aiam%3A%3A222233334444%3Arole%2Frunner",
        "RoleSessionName=awf-aws",
        "ExternalId=external-7",
    ] {
        assert!(assumed.body.contains(part), "{}", assumed.body);
    }
    let identity = sagemaker.call(with_role("runner"), Call::GetCallerIdentity).await;
    assert_eq!(identity.result, Ok(CallReply::CallerIdentity { account: "222233334444".into() }));
}

#[actix_rt::test]
async fn regions_roles_and_external_ids_get_clients_of_their_own() {
    let stub = Stub::start(|asked, _| aws(asked)).await;
    let sagemaker = backend(&stub).await;
    let keys = [
        plain(),
        ClientKey { region: "us-east-1".into(), ..plain() },
        with_role("a"),
        with_role("b"),
        ClientKey { external_id: None, ..with_role("a") },
    ];
    for key in keys.iter().chain(&keys) {
        sagemaker.call(key.clone(), Call::DescribeExecution { arn: EXECUTION.into() }).await.result.expect("answered");
    }
    assert_eq!(sagemaker.clients_built(), 5);
}

#[actix_rt::test]
async fn clients_are_bounded_and_the_longest_unused_goes_first() {
    let stub = Stub::start(|asked, _| aws(asked)).await;
    let sagemaker = backend(&stub).await;
    for n in 0..MAX_CLIENTS {
        let key = ClientKey { region: format!("eu-west-{n}"), ..plain() };
        sagemaker.call(key, Call::DescribeExecution { arn: EXECUTION.into() }).await.result.expect("answered");
    }
    let region = |n: usize| ClientKey { region: format!("eu-west-{n}"), ..plain() };
    for (n, built) in [(0, 0), (100, 1), (0, 1), (1, 2), (0, 2)] {
        sagemaker.call(region(n), Call::DescribeExecution { arn: EXECUTION.into() }).await.result.expect("answered");
        assert_eq!(sagemaker.clients_built(), MAX_CLIENTS as u64 + built);
        assert_eq!(sagemaker.clients_kept(), MAX_CLIENTS);
    }
}

#[derive(Debug)]
struct Panics;

impl ProvideCredentials for Panics {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { panic!("a bug below the SDK") })
    }
}

#[actix_rt::test]
async fn a_panic_below_the_sdk_is_an_unknown_outcome() {
    let stub = Stub::always(answer(200, "{}")).await;
    let sagemaker = SageMaker::with_config(sdk(&stub.url, Panics).await);
    for call in [start(), Call::GetCallerIdentity] {
        let CallEnded { result, .. } = sagemaker.call(plain(), call).await;
        let failed = result.expect_err("it panicked");
        assert_eq!(failed.kind, Kind::OutcomeUnknown);
        assert!(!failed.message.contains("a bug below"));
    }
}

#[derive(Debug)]
struct NotThere;

impl ProvideCredentials for NotThere {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded(
            "no providers in chain provided credentials",
        )))
    }
}

#[actix_rt::test]
async fn without_credentials_the_message_says_where_they_could_come_from() {
    let stub = Stub::always(answer(200, "{}")).await;
    let sagemaker = SageMaker::with_config(sdk(&stub.url, NotThere).await);
    for call in [start(), describe(), Call::GetCallerIdentity] {
        let failed = sagemaker.call(plain(), call).await.result.expect_err("no credentials");
        assert_eq!(failed.kind, Kind::Credentials);
        assert!(failed.message.contains("eks.amazonaws.com/role-arn"), "{failed:?}");
    }
    assert!(stub.asked().is_empty());
}
