//! What the SDK does below one call is counted: its retries hide throttling, its caches the loss of credentials.

use super::*;
use crate::supervision::series;

async fn counted(stub: &Stub, credentials: impl ProvideCredentials + 'static) -> (SageMaker, Arc<Metrics>) {
    let metrics = no_metrics();
    (SageMaker::with_config(sdk(&stub.url, credentials).await, metrics.clone()), metrics)
}

#[actix_rt::test]
async fn a_throttled_call_comes_back_at_once_and_the_pace_decides_when_it_is_repeated() {
    let by_status = answer(429, r#"{"__type":"Novelty","message":"m"}"#);
    for throttle in [refusal("ThrottlingException", "Rate exceeded"), by_status] {
        let stub = Stub::start(move |_, before| if before == 0 { throttle.clone() } else { answer(200, "{}") }).await;
        let (sagemaker, metrics) = counted(&stub, keys()).await;
        let call = || sagemaker.call(plain(), Call::DescribeExecution { arn: EXECUTION.into() });
        assert_eq!(call().await.result.expect_err("throttled").kind, Kind::Throttled);
        let of = |what: &str| series(&metrics, &format!("awf_aws_{what}{{operation=\"DescribePipelineExecution\"}}"));
        assert!(of("aws_api_throttles_total") == 1.0);
        assert!(of("aws_api_retries_total") == 0.0);
        call().await.result.expect("the second call");
    }
}

#[actix_rt::test]
async fn an_attempt_that_is_throttled_after_another_one_was_lost_is_counted() {
    let stub = Stub::start(|_, before| match before {
        0 => answer(503, "{}"),
        _ => refusal("ThrottlingException", "Rate exceeded"),
    })
    .await;
    let (sagemaker, metrics) = counted(&stub, keys()).await;
    sagemaker.call(plain(), start()).await.result.expect_err("throttled in the end");
    assert!(series(&metrics, "awf_aws_aws_api_throttles_total{operation=\"StartPipelineExecution\"}") == 1.0);
    assert!(series(&metrics, "awf_aws_aws_api_retries_total{operation=\"StartPipelineExecution\"}") == 1.0);
}

#[actix_rt::test]
async fn what_is_refused_for_another_reason_is_no_throttle_and_no_retry() {
    let stub = Stub::always(refusal("ResourceLimitExceeded", "You have reached the limit")).await;
    let (sagemaker, metrics) = counted(&stub, keys()).await;
    assert_eq!(sagemaker.call(plain(), start()).await.result.expect_err("full").kind, Kind::QuotaExceeded);
    assert!(series(&metrics, "awf_aws_aws_api_throttles_total{operation=\"StartPipelineExecution\"}") == 0.0);
    assert!(series(&metrics, "awf_aws_aws_api_retries_total{operation=\"StartPipelineExecution\"}") == 0.0);
}

/// Credentials that end at a known time.
#[derive(Debug)]
struct Passing(bool);

impl ProvideCredentials for Passing {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let end = std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        future::ProvideCredentials::ready(if self.0 {
            Ok(Credentials::new("AKIDEXAMPLE", "secret", None, Some(end), "test"))
        } else {
            Err(CredentialsError::not_loaded("on purpose"))
        })
    }
}

#[actix_rt::test]
async fn credentials_are_counted_when_they_are_asked_for_and_their_end_is_shown() {
    let stub = Stub::always(answer(200, "{}")).await;
    let (sagemaker, metrics) = counted(&stub, Passing(true)).await;
    for _ in 0..3 {
        sagemaker.call(plain(), describe()).await.result.expect("answered");
    }
    assert!(series(&metrics, "awf_aws_aws_credentials_refreshes_total") == 1.0, "the SDK keeps them");
    assert!(series(&metrics, "awf_aws_aws_credentials_failures_total") == 0.0);
    assert!(series(&metrics, "awf_aws_aws_credentials_expiry_timestamp_seconds") == 4_000_000_000.0);
    drop(sagemaker);
    assert!(!metrics.encode().unwrap().contains("credentials_expiry"), "nobody uses them any more");
}

#[actix_rt::test]
async fn credentials_that_are_not_given_are_failures() {
    let stub = Stub::always(answer(200, "{}")).await;
    let (sagemaker, metrics) = counted(&stub, Passing(false)).await;
    sagemaker.call(plain(), describe()).await.result.expect_err("no credentials");
    assert!(series(&metrics, "awf_aws_aws_credentials_failures_total") >= 1.0);
    assert!(!metrics.encode().unwrap().contains("credentials_expiry"));
}
