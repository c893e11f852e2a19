//! Roles of other accounts: both hops through the real SDK, and what CloudTrail would show.

use super::*;
use crate::{
    sagemaker_mapping::stub::{Stub, answer, sts_credentials},
    support::process::{PATIENCE, client},
};

/// A role of another account that trusts the pod's, with an external id.
fn two_accounts() -> Cloud {
    let cloud = Cloud::new();
    cloud.iam(json!({"roles": {
        ROLE: {"policies": [{"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": OTHER_ROLE}}]},
        OTHER_ROLE: {"trust": {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": "ticket-7"}, "StringLike": {"sts:RoleSessionName": "awf-aws-*"}},
        }]}},
    }}));
    cloud
}

fn pod() -> Pod {
    Pod::new().with(&[("TEST_ROLE", OTHER_ROLE), ("TEST_EXTERNAL_ID", "ticket-7"), ("TEST_PIPELINE", "Theirs")])
}

const BOTH: &str = "role deployer must trust role sm-pipelines-k8s-awf-aws-executor-plugin (and its external id match)";

#[actix_rt::test]
async fn a_role_of_another_account_is_reached_through_the_pods() {
    let told = pod().calls(&two_accounts()).await;
    assert_eq!(told.result, "Pipeline arn:aws:sagemaker:us-west-2:111122223333:pipeline/Theirs");
}

#[actix_rt::test]
async fn a_wrong_external_id() {
    let told = pod().with(&[("TEST_EXTERNAL_ID", "ticket-8")]).is_told(&two_accounts()).await;
    assert_told(
        &told,
        "credentials",
        "AccessDenied",
        &["the role must trust the pod's role (and its external id match)"],
    );
}

#[actix_rt::test]
async fn a_role_that_does_not_trust_the_pods() {
    let cloud = two_accounts();
    cloud.iam(json!({"roles": {OTHER_ROLE: {"trust": trust_policy("111122223333")}}}));
    assert_told(&pod().is_told(&cloud).await, "credentials", "AccessDenied", &["the role must trust the pod's role"]);
}

#[actix_rt::test]
async fn a_role_of_the_pod_that_may_not_assume_the_other() {
    let cloud = two_accounts();
    cloud.iam(json!({"roles": {ROLE: {"policies": []}}}));
    let told = pod().is_told(&cloud).await;
    assert_told(&told, "credentials", "AccessDenied", &["which needs sts:AssumeRole on it"]);
}

#[actix_rt::test]
async fn short_names_leave_room_for_both_roles() {
    let cloud = two_accounts();
    let (own, other) = ("arn:aws:iam::100000000002:role/argo", "arn:aws:iam::111122223333:role/ml");
    cloud.iam(json!({"roles": {own: {"trust": trust_policy(ACCOUNT)}}}));
    let told = pod().with(&[("AWS_ROLE_ARN", own), ("TEST_ROLE", other)]).is_told(&cloud).await;
    let hint = "role ml must trust role argo (and its external id match), which needs sts:AssumeRole on it";
    assert_told(&told, "credentials", "AssumeRoleErr: … AccessDenied … status code: 403", &[hint]);
    assert!(!told.contains(BOTH), "{told}");
}

#[actix_rt::test]
async fn a_denied_first_hop_is_told_as_such() {
    let cloud = two_accounts();
    cloud.iam(json!({"oidc_providers": {provider(ACCOUNT): null}}));
    let told = pod().is_told(&cloud).await;
    assert_told(&told, "credentials", "WebIdentityErr: … InvalidIdentityToken", &["IAM OIDC provider"]);
}

fn region(name: &str, role: Option<&str>) -> ClientKey {
    ClientKey { region: name.into(), role_arn: role.map(Into::into), external_id: None }
}

async fn backend(url: &str) -> SageMaker {
    let keys = aws_credential_types::Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new("us-west-2"))
        .endpoint_url(url)
        .credentials_provider(keys)
        .retry_config(aws_config::retry::RetryConfig::disabled())
        .load()
        .await;
    SageMaker::with_config(config, Arc::new(Metrics::new().expect("the catalogue is in order")))
}

fn describe() -> Call {
    Call::DescribePipeline { pipeline: "Theirs".into(), version: None }
}

#[actix_rt::test]
async fn a_session_is_named_after_its_workflow_within_what_sts_takes() {
    let stub = Stub::start(|asked, _| match asked.operation.as_str() {
        "AssumeRole" => sts_credentials("AssumeRole", "111122223333"),
        _ => answer(200, "{}"),
    })
    .await;
    let sagemaker = backend(&stub.url).await;
    let long = format!("{}-tail0", "a".repeat(60));
    for name in ["train-x7k2p", &long, "ünusual/name"] {
        let named = sagemaker.of_workflow(name).expect("it can");
        named.call(region("us-west-2", Some(OTHER_ROLE)), describe()).await.result.expect("answered");
        named.call(region("us-west-2", Some(OTHER_ROLE)), describe()).await.result.expect("answered");
    }
    let sessions: Vec<String> = stub.asked().iter().filter(|a| a.operation == "AssumeRole").map(session).collect();
    let long = format!("awf-aws-{}..aaaaaaaaaa-tail0", "a".repeat(38));
    assert_eq!(sessions, ["awf-aws-train-x7k2p", &long, "awf-aws--nusual-name"]);
    assert!(sessions.iter().all(|name| name.len() <= 64), "{sessions:?}");
}

fn session(asked: &crate::sagemaker_mapping::stub::Asked) -> String {
    let found = asked.body.split('&').find_map(|pair| pair.strip_prefix("RoleSessionName="));
    found.unwrap_or_default().to_owned()
}

#[actix_rt::test]
async fn more_workflows_than_clients_share_one_session_instead_of_building_clients_without_end() {
    let stub = Stub::start(|asked, _| match asked.operation.as_str() {
        "AssumeRole" => sts_credentials("AssumeRole", "111122223333"),
        _ => answer(200, "{}"),
    })
    .await;
    let sagemaker = backend(&stub.url).await;
    for round in 0..2 {
        for n in 0..100 {
            let named = sagemaker.of_workflow(&format!("wf-{n}")).expect("it can");
            named.call(region("us-west-2", Some(OTHER_ROLE)), describe()).await.result.expect("answered");
        }
        assert_eq!(sagemaker.clients_built(), 33, "round {round}");
    }
}

#[actix_rt::test]
async fn a_denied_role_is_asked_for_once_however_many_polls_need_it_and_again_after_a_pause() {
    let cloud = Cloud::new();
    let sagemaker = backend(&cloud.url).await;
    let key = region("us-west-2", Some(OTHER_ROLE));
    let calls = (0..20).map(|_| sagemaker.call(key.clone(), describe()));
    let mut ids: Vec<Option<String>> = Vec::new();
    for ended in futures_util::future::join_all(calls).await {
        let failed = ended.result.expect_err("there is no such role");
        assert!(failed.message.contains("AccessDenied"), "{failed:?}");
        ids.push(failed.request_id);
    }
    ids.dedup();
    assert_eq!((ids.len(), cloud.calls("AssumeRole")), (1, 1), "one denial, told twenty times: {ids:?}");
    // The pause is on tokio's clock; the socket is not.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(14)).await;
    tokio::time::resume();
    sagemaker.call(key.clone(), describe()).await.result.expect_err("it is too soon");
    assert_eq!(cloud.calls("AssumeRole"), 1);
    cloud.iam(json!({"roles": {OTHER_ROLE: {"trust": {"Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"},
    ]}}}}));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    sagemaker.call(key, describe()).await.result.expect("the trust policy is mended");
    assert_eq!(cloud.calls("AssumeRole"), 2);
}

#[actix_rt::test]
async fn trouble_of_sts_itself_is_asked_about_again_at_once() {
    let cloud = Cloud::new();
    cloud.iam(json!({"roles": {OTHER_ROLE: {"trust": {"Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"},
    ]}}}}));
    cloud.faults(json!({"server_error": {"AssumeRole": 2}}));
    let sagemaker = backend(&cloud.url).await;
    let key = region("us-west-2", Some(OTHER_ROLE));
    let mut failures = 0;
    while sagemaker.call(key.clone(), describe()).await.result.is_err() {
        failures += 1;
        assert!(failures < 4, "it is not asked again");
    }
    assert!(client(PATIENCE).get(&cloud.url).send().await.is_ok());
}
