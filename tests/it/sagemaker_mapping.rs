//! The SageMaker backend against a scripted socket: what each answer, and each missing one, lets us know.

use std::{sync::Arc, time::Duration};

use awf_aws::{
    backend::{
        Backend, carry_out,
        sagemaker::{MAX_CLIENTS, SageMaker},
    },
    metrics::Metrics,
    pipelines::{
        Call, CallEnded, CallError, CallErrorKind as Kind, CallReply, ClientKey, PipelineSummary, Selective,
        StartExecution, Status, Time,
    },
};
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError, future};
use serde_json::json;

use stub::{Asked, DATE, Reply, Stub, answer, caller_identity, refusal, sts_credentials};

mod attempts;
mod clients;
mod credentials;
mod jobs;
mod replies;
pub mod stub;

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

fn no_metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new().expect("the catalogue is in order"))
}

async fn backend(stub: &Stub) -> SageMaker {
    SageMaker::with_config(sdk(&stub.url, keys()).await, no_metrics())
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
        let sagemaker = SageMaker::with_config(sdk(url, keys()).await, no_metrics());
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
async fn answers_and_refusals_both_tell_the_servers_time() {
    for reply in [answer(200, "{}"), refusal("ResourceNotFound", "gone"), answer(502, "<html>")] {
        let stub = Stub::always(reply).await;
        let ended = backend(&stub).await.call(plain(), Call::DescribeExecution { arn: EXECUTION.into() }).await;
        assert_eq!(ended.server_time, Some(Time::at(DATE.1)));
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
