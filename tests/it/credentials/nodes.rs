//! Credentials that AWS takes, but that may not do what is asked.

use super::*;
use crate::sagemaker_mapping::stub::{Reply, Stub, answer};

fn may(actions: Value) -> Value {
    json!([{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}])
}

#[actix_rt::test]
async fn a_denial_of_sagemakers_prints_the_statement_that_mends_it() {
    let cloud = Cloud::new();
    // A short name, so that the statement has room.
    let role = "arn:aws:iam::100000000002:role/r";
    cloud.iam(json!({"roles": {role: {"trust": trust_policy(ACCOUNT), "policies": may(json!("sagemaker:List*"))}}}));
    let pod = Pod::new().with(&[("AWS_ROLE_ARN", role)]);
    let told = pod.is_told(&cloud).await;
    assert!(told.contains("User: r is not authorized to perform: sagemaker:DescribePipeline; add"), "{told}");
    let statement: Value = serde_json::from_str(&told[told.find('{').expect("a statement")..]).expect("it is whole");
    cloud.iam(json!({"roles": {role: {"policies": [{"Statement": [statement]}]}}}));
    assert!(pod.calls(&cloud).await.result.starts_with("Pipeline"), "with it, it is allowed");
}

#[actix_rt::test]
async fn a_denial_with_long_names_says_what_to_allow_and_the_log_has_the_statement() {
    let cloud = Cloud::new();
    cloud.iam(json!({"roles": {ROLE: {"policies": may(json!("sagemaker:Describe*"))}}}));
    let pod = Pod::new().with(&[("TEST_CALL", "StartPipelineExecution")]);
    let told = pod.calls(&cloud).await;
    check(&told.result);
    for part in [
        "access_denied User: sm-pipelines-k8s-awf-aws-executor-plugin is not authorized to perform: \
         sagemaker:StartPipelineExecution",
        "allow it on arn:aws:sagemaker:us-west-2:100000000002:pipeline/MyPipeline",
    ] {
        assert!(told.result.contains(part), "{part:?} is not in {}", told.result);
    }
    let statement = r#"{\"Effect\":\"Allow\",\"Action\":\"sagemaker:StartPipelineExecution\",\"Resource\":\"arn:aws:sagemaker:us-west-2:100000000002:pipeline/MyPipeline\"}"#;
    assert!(told.log.contains(statement), "{}", told.log);
}

/// The metadata service of a node, with credentials of the node's role.
async fn metadata(cloud: &Cloud) -> Stub {
    let node = "arn:aws:iam::100000000002:role/node";
    cloud.iam(json!({"roles": {node: {"trust": {"Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"},
    ]}, "policies": []}}}));
    let input = json!({"RoleArn": node, "RoleSessionName": "i-0123456789abcdef0"});
    let given = {
        let mut book = locked(&cloud.book);
        let caller = book.caller("AKIAANY", "us-west-2");
        book.call_sts(Some(&caller), "AssumeRole", &input, now()).result.expect("the node's role")
    };
    let keys = json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z",
        "AccessKeyId": given["Credentials"]["AccessKeyId"], "SecretAccessKey": given["Credentials"]["SecretAccessKey"],
        "Token": given["Credentials"]["SessionToken"], "Expiration": given["Credentials"]["Expiration"],
    });
    Stub::start(move |asked, _| match asked.head.lines().next().unwrap_or_default() {
        line if line.contains("/latest/api/token") => Reply::Bytes(
            "HTTP/1.1 200 OK\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\ncontent-length: 2\r\nconnection: close\r\n\r\nit",
        ),
        line if line.contains("/security-credentials/node") => answer(200, keys.to_string()),
        line if line.contains("/security-credentials") => answer(200, "node"),
        _ => answer(404, ""),
    })
    .await
}

#[actix_rt::test]
async fn a_pod_without_a_role_that_falls_back_to_the_nodes_is_told_so() {
    let cloud = Cloud::new();
    let metadata = metadata(&cloud).await;
    let pod = Pod::new().with(&[
        ("AWS_ROLE_ARN", ""),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", ""),
        ("AWS_EC2_METADATA_DISABLED", ""),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.url),
    ]);
    let told = pod.calls(&cloud).await;
    check(&told.result);
    for part in ["access_denied User: node is not", "the node's credentials: annotate the workflow's service account"] {
        assert!(told.result.contains(part), "{part:?} is not in {}", told.result);
    }
    assert!(told.log.contains("the credentials are the node's"), "also without a denial: {}", told.log);
}

#[actix_rt::test]
async fn keys_in_the_environment_that_come_before_the_pods_role_are_told() {
    let cloud = Cloud::new();
    let other = "arn:aws:iam::100000000002:role/ci";
    cloud.iam(json!({"roles": {other: {"trust": {"Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"},
    ]}, "policies": []}}}));
    let key = {
        let mut book = locked(&cloud.book);
        let caller = book.caller("AKIAANY", "us-west-2");
        let input = json!({"RoleArn": other, "RoleSessionName": "build"});
        let given = book.call_sts(Some(&caller), "AssumeRole", &input, now()).result.expect("the other role");
        given["Credentials"]["AccessKeyId"].as_str().expect("a key").to_owned()
    };
    let pod = Pod::new().with(&[
        ("AWS_ACCESS_KEY_ID", &key),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "session"),
    ]);
    let told = pod.calls(&cloud).await;
    check(&told.result);
    assert!(told.result.contains("this is not the pod's role"), "{}", told.result);
    assert!(told.log.contains("the credentials are not those of the pod's role"), "{}", told.log);
}
