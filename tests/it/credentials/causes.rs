//! A web identity that STS refuses, by cause.

use super::*;
use crate::support::{
    process::bound_by_modes,
    tokens::{ISSUER, SUBJECT},
};

const POLICY: &str = "the trust policy of role sm-pipelines-k8s-awf-aws-executor-plugin must allow \
                      argo/awf-aws-executor-plugin";

#[actix_rt::test]
async fn where_everything_is_right_the_pod_is_let_in() {
    let told = Pod::new().calls(&Cloud::new()).await;
    assert_eq!(told.result, "Pipeline arn:aws:sagemaker:us-west-2:100000000002:pipeline/MyPipeline");
}

#[actix_rt::test]
async fn another_service_account_than_the_trust_policy_names() {
    let cloud = Cloud::new();
    cloud
        .trust(json!({"Condition": {"StringEquals": {format!("{ISSUER}:sub"): "system:serviceaccount:argo:default"}}}));
    let told = Pod::new().is_told(&cloud).await;
    assert_told(&told, "credentials", "WebIdentityErr: … AccessDenied … status code: 403", &[POLICY]);
}

#[actix_rt::test]
async fn a_star_in_string_equals() {
    let cloud = Cloud::new();
    cloud.trust(json!({"Condition": {"StringEquals": {format!("{ISSUER}:sub"): "system:serviceaccount:argo:*"}}}));
    assert_told(&Pod::new().is_told(&cloud).await, "credentials", "AccessDenied", &[POLICY]);
    cloud.trust(json!({"Condition": {"StringLike": {format!("{ISSUER}:sub"): "system:serviceaccount:argo:*"}}}));
    assert!(Pod::new().calls(&cloud).await.result.starts_with("Pipeline"), "StringLike is what a star needs");
}

#[actix_rt::test]
async fn a_wrong_audience_in_the_trust_policy() {
    let cloud = Cloud::new();
    cloud.trust(json!({"Condition": {"StringEquals": {format!("{ISSUER}:aud"): "https://kubernetes.default.svc"}}}));
    assert_told(&Pod::new().is_told(&cloud).await, "credentials", "AccessDenied", &[POLICY]);
}

#[actix_rt::test]
async fn a_trust_policy_that_names_the_provider_of_another_cluster() {
    let cloud = Cloud::new();
    cloud.trust(json!({"Principal": {"Federated": provider("111122223333")}}));
    assert_told(&Pod::new().is_told(&cloud).await, "credentials", "AccessDenied", &[POLICY]);
}

#[actix_rt::test]
async fn a_role_that_does_not_exist() {
    let cloud = Cloud::new();
    cloud.iam(json!({"roles": {ROLE: null}}));
    assert_told(&Pod::new().is_told(&cloud).await, "credentials", "AccessDenied", &[POLICY]);
}

#[actix_rt::test]
async fn a_short_name_leaves_room_for_the_whole_subject_and_the_roles_arn() {
    let cloud = Cloud::new();
    let role = "arn:aws:iam::100000000002:role/train";
    let told = Pod::new().with(&[("AWS_ROLE_ARN", role)]).is_told(&cloud).await;
    let hint = format!("the trust policy of role train must allow {SUBJECT}");
    assert_told(&told, "credentials", "AccessDenied", &[&hint]);
}

#[actix_rt::test]
async fn a_cluster_whose_issuer_is_no_provider_of_the_account() {
    let cloud = Cloud::new();
    cloud.iam(json!({"oidc_providers": {provider(ACCOUNT): null}}));
    let hint = format!("account {ACCOUNT} has no IAM OIDC provider for this cluster: create it there");
    assert_told(&Pod::new().is_told(&cloud).await, "credentials", "InvalidIdentityToken", &[&hint]);
}

#[actix_rt::test]
async fn a_provider_that_does_not_know_the_tokens_audience() {
    let cloud = Cloud::new();
    cloud.iam(json!({"oidc_providers": {provider(ACCOUNT): {"client_ids": ["sts.amazonaws.com "]}}}));
    let hint = format!("add the audience sts.amazonaws.com to the IAM OIDC provider in account {ACCOUNT}");
    assert_told(&Pod::new().is_told(&cloud).await, "credentials", "InvalidIdentityToken", &[&hint]);
}

#[actix_rt::test]
async fn a_token_for_another_audience() {
    let mut claims = claims(in_an_hour());
    claims["aud"] = json!(["vault"]);
    let told = Pod::with_token(&token_of(&claims)).is_told(&Cloud::new()).await;
    let hint = "the token's audience is vault: set the annotation eks.amazonaws.com/audience to sts.amazonaws.com";
    assert_told(&told, "credentials", "InvalidIdentityToken", &[hint]);
}

#[actix_rt::test]
async fn a_token_that_has_expired_by_everybodys_clock() {
    let stale = token_of(&claims(now().minus(Duration::from_secs(60))));
    let told = Pod::with_token(&stale).is_told(&Cloud::new()).await;
    assert_told(&told, "credentials", "ExpiredTokenException", &["has expired: delete the pod"]);
}

#[actix_rt::test]
async fn a_token_that_has_expired_by_the_clock_of_aws_alone() {
    let ahead = || now().plus(Duration::from_secs(7200));
    let told = Pod::new().is_told(&Cloud::with_clock(Arc::new(ahead))).await;
    assert_told(&told, "credentials", "ExpiredTokenException", &["the node's clock", "s behind AWS's", "(NTP)"]);
    assert!(told.contains(" 7200 s behind") || told.contains(" 7199 s behind"), "{told}");
}

#[actix_rt::test]
async fn a_malformed_annotation() {
    let told = Pod::new().with(&[("AWS_ROLE_ARN", "arn:aws:iam::::123")]).is_told(&Cloud::new()).await;
    let hint = "mend the service account's annotation eks.amazonaws.com/role-arn, now arn:aws:iam::::123";
    assert_told(&told, "credentials", "ValidationError", &[hint]);
}

#[actix_rt::test]
async fn a_file_that_holds_no_token() {
    let told = Pod::with_token("a.b.c").is_told(&Cloud::new()).await;
    assert_told(&told, "credentials", "InvalidIdentityToken", &["holds no service account token"]);
}

#[actix_rt::test]
async fn keys_of_the_cluster_that_sts_cannot_fetch() {
    let cloud = Cloud::new();
    cloud.iam(json!({"oidc_providers": {provider(ACCOUNT): {"reachable": false}}}));
    let hint = "STS cannot fetch the cluster's verification keys; this passes, unless its issuer is not public";
    assert_told(&Pod::new().is_told(&cloud).await, "connector", "IDPCommunicationError", &[hint]);
    let cloud = Cloud::new();
    let text = "Couldn't retrieve verification key from your identity provider";
    cloud.faults(json!({"errors": {"AssumeRoleWithWebIdentity": {"code": "InvalidIdentityToken", "message": text}}}));
    assert_told(&Pod::new().is_told(&cloud).await, "connector", "InvalidIdentityToken", &[hint]);
}

/// Refusals that the simulator's STS does not come to by itself.
#[actix_rt::test]
async fn the_other_refusals_of_sts_have_hints_too() {
    let thumbprint = "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint";
    let rows = [
        (400, "InvalidIdentityToken", thumbprint, "update the thumbprint of the cluster's IAM OIDC provider"),
        (403, "IDPRejectedClaim", "The identity provider rejected the claim", "delete the pod"),
        (403, "RegionDisabledException", "STS is not activated in this region", "activate STS in us-west-2"),
    ];
    for (status, code, message, hint) in rows {
        let cloud = Cloud::new();
        let error = json!({"code": code, "message": message, "status": status});
        cloud.faults(json!({"errors": {"AssumeRoleWithWebIdentity": error}}));
        assert_told(&Pod::new().is_told(&cloud).await, "credentials", code, &[hint]);
    }
}

#[actix_rt::test]
async fn a_service_account_without_an_annotation() {
    let bare = Pod::new().with(&[("AWS_ROLE_ARN", ""), ("AWS_WEB_IDENTITY_TOKEN_FILE", "")]);
    let told = bare.is_told(&Cloud::new()).await;
    for part in ["no AWS credentials found", "annotate the workflow's service account with eks.amazonaws.com/role-arn"]
    {
        assert!(told.starts_with("credentials ") && told.contains(part), "{told}");
    }
}

#[actix_rt::test]
async fn a_token_file_that_is_not_there() {
    let told = Pod::new().with(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent/token")]).is_told(&Cloud::new()).await;
    for part in
        ["cannot read the web identity token /nonexistent/token: No such file", "it may be older than the annotation"]
    {
        assert!(told.starts_with("credentials ") && told.contains(part), "{told}");
    }
}

#[cfg(unix)]
#[actix_rt::test]
async fn a_token_file_that_the_user_of_the_container_may_not_read() {
    use std::os::unix::fs::PermissionsExt;
    let (cloud, pod) = (Cloud::new(), Pod::new());
    fs::set_permissions(pod.token_file(), fs::Permissions::from_mode(0o000)).expect("it is ours");
    let told = run(bound_by_modes(&pod.command(&cloud))).await.result;
    check(&told);
    for part in ["cannot read the web identity token", "Permission denied", "securityContext.fsGroup"] {
        assert!(told.starts_with("credentials ") && told.contains(part), "{told}");
    }
}

#[actix_rt::test]
async fn the_log_has_the_whole_chain_and_what_the_token_says() {
    let cloud = Cloud::new();
    cloud.iam(json!({"roles": {ROLE: null}}));
    let told = Pod::new().calls(&cloud).await;
    let line = told.log.lines().find(|line| line.contains("AWS denied a call"));
    let line = line.unwrap_or_else(|| panic!("no line about it in {}", told.log));
    for part in [
        "operation=\"DescribePipeline\"",
        "error.code=\"AccessDenied\"",
        "dispatch failure",
        "an error occurred while loading credentials",
        "Not authorized to perform sts:AssumeRoleWithWebIdentity",
        &format!("pod.role=\"{ROLE}\""),
        &format!("iss=https://{ISSUER}"),
        &format!("sub={SUBJECT}"),
        "aud=sts.amazonaws.com",
        "exp=20",
    ] {
        assert!(line.contains(part), "{part:?} is not in {line}");
    }
    assert!(!told.log.contains("eyJ"), "{}", told.log);
}
