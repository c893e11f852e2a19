//! Error chains of the credentials chain, as sentences that say what to mend.

use std::{path::PathBuf, process::Command};

use awf_aws::backend::credentials::SENTENCE_LIMIT;

use super::{
    stub::{sts_credentials, sts_refusal},
    *,
};

const WEB_ROLE: &str = "arn:aws:iam::111122223333:role/argo-sagemaker";
const ISSUER: &str = "oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF";

/// A token file as the kubelet projects it; the signature is nonsense.
fn token_file(name: &str) -> PathBuf {
    let claims = json!({ "iss": format!("https://{ISSUER}"), "sub": "system:serviceaccount:argo:runner" }).to_string();
    let encoded = aws_smithy_types::base64::encode(claims).replace('+', "-").replace('/', "_").replace('=', "");
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("web-identity-{name}"));
    std::fs::write(&file, format!("eyJhbGciOiJSUzI1NiJ9.{encoded}.c2lnbmF0dXJl")).expect("target/tmp is writable");
    file
}

/// Runs `SageMaker::connect` in a process of its own, whose environment is a pod's.
async fn in_a_pod(test: &str, stub: &Stub, more: &[(&str, &str)]) -> String {
    let file = token_file(test);
    let mut command = Command::new(std::env::current_exe().expect("a test has a binary"));
    command
        .args(["--exact", "--ignored", "--nocapture", "sagemaker_mapping::credentials::as_the_pod_does"])
        .env_clear()
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_ENDPOINT_URL", &stub.url)
        .env("AWS_ROLE_ARN", WEB_ROLE)
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", &file)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
    for (name, value) in more {
        if value.is_empty() {
            command.env_remove(name)
        } else {
            command.env(name, value)
        };
    }
    let out = actix_rt::task::spawn_blocking(move || command.output()).await.expect("it ends").expect("it runs");
    let out = String::from_utf8_lossy(&out.stdout).into_owned();
    std::fs::remove_file(file).ok();
    let result = out.lines().find_map(|line| line.split_once("RESULT "));
    assert!(result.is_some(), "no result in {out}");
    result.map(|(_, result)| result.to_owned()).unwrap_or_default()
}

#[actix_rt::test]
#[ignore = "run by the tests below, in a process with a pod's environment"]
async fn as_the_pod_does() {
    let ended = SageMaker::connect(no_metrics()).await.call(plain(), start()).await;
    match ended.result {
        Ok(reply) => println!("RESULT {reply:?}"),
        Err(failed) => {
            assert!(failed.message.len() <= SENTENCE_LIMIT, "{} bytes: {}", failed.message.len(), failed.message);
            println!("RESULT {} {}", failed.kind.as_str(), failed.message);
        }
    }
}

fn web_identity_refused(status: u16, code: &'static str, message: &'static str) -> impl Fn(&Asked, usize) -> Reply {
    move |asked, _| match asked.operation.as_str() {
        "AssumeRoleWithWebIdentity" => sts_refusal(status, code, message),
        _ => answer(200, json!({ "PipelineExecutionArn": EXECUTION }).to_string()),
    }
}

#[actix_rt::test]
async fn connect_works_with_a_web_identity_and_survives_bad_retry_settings() {
    let stub = Stub::start(|asked, _| match asked.operation.as_str() {
        "AssumeRoleWithWebIdentity" => sts_credentials("AssumeRoleWithWebIdentity", "111122223333"),
        _ => answer(200, json!({ "PipelineExecutionArn": EXECUTION }).to_string()),
    })
    .await;
    for (name, more) in [
        ("zero", [("AWS_MAX_ATTEMPTS", "0"), ("AWS_RETRY_MODE", "adaptive")]),
        ("garbage", [("AWS_MAX_ATTEMPTS", "many"), ("AWS_RETRY_MODE", "often")]),
        ("no-region", [("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "")]),
    ] {
        let result = in_a_pod(name, &stub, &more).await;
        assert_eq!(result, format!("Started {{ arn: {EXECUTION:?} }}"), "{name}");
    }
    let last = stub.asked().pop().unwrap();
    assert!(last.head.contains("app/awf-aws"), "{}", last.head);
}

#[actix_rt::test]
async fn a_denied_web_identity_names_the_trust_policy_and_who_asked() {
    let rows: [(u16, &'static str, &'static str, &str, &[&str]); 7] = [
        (
            403,
            "AccessDenied",
            "Not authorized to perform sts:AssumeRoleWithWebIdentity",
            "credentials",
            &["AccessDenied", "trust policy", WEB_ROLE, "system:serviceaccount:argo:runner", "request-1"],
        ),
        (
            400,
            "InvalidIdentityToken",
            "No OpenIDConnect provider found in your account for https://oidc.eks.eu-west-1.amazonaws.com/id/0123",
            "credentials",
            &["InvalidIdentityToken", "IAM OIDC provider", ISSUER],
        ),
        (400, "InvalidIdentityToken", "Incorrect token audience", "credentials", &["audience", "sts.amazonaws.com"]),
        (400, "ExpiredTokenException", "Token expired: current date/time", "credentials", &["expired", "clock"]),
        (400, "ValidationError", "Request ARN is invalid", "credentials", &["annotation eks.amazonaws.com/role-arn"]),
        (
            400,
            "InvalidIdentityToken",
            "Couldn't retrieve verification key from your identity provider",
            "connector",
            &["verification key"],
        ),
        (400, "Throttling", "Rate exceeded", "throttled", &["Throttling"]),
    ];
    for (n, (status, code, message, kind, parts)) in rows.into_iter().enumerate() {
        let stub = Stub::start(web_identity_refused(status, code, message)).await;
        let result = in_a_pod(&format!("denied-{n}"), &stub, &[]).await;
        assert!(result.starts_with(kind), "{code}: {result}");
        for part in parts {
            assert!(result.contains(part), "{code}: {part:?} is not in {result}");
        }
        assert!(!result.contains("eyJ"), "{result}");
        assert!(!stub.operations().iter().any(|o| o == "StartPipelineExecution"));
    }
}

#[actix_rt::test]
async fn a_missing_token_file_and_missing_annotation_are_told_apart() {
    let stub = Stub::always(answer(200, "{}")).await;
    let missing = in_a_pod("missing-file", &stub, &[("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent/token")]).await;
    assert!(missing.starts_with("credentials "), "{missing}");
    assert!(missing.contains("cannot read the web identity token /nonexistent/token"), "{missing}");
    assert!(missing.contains("may be older than the annotation"), "{missing}");
    let bare = in_a_pod("bare", &stub, &[("AWS_WEB_IDENTITY_TOKEN_FILE", ""), ("AWS_ROLE_ARN", "")]).await;
    assert!(bare.starts_with("credentials ") && bare.contains("no AWS credentials found"), "{bare}");
    assert!(stub.asked().is_empty());
}

#[actix_rt::test]
async fn a_role_that_may_not_be_assumed_names_both_sides() {
    let stub = Stub::start(|asked, _| match asked.operation.as_str() {
        "AssumeRole" => sts_refusal(
            403,
            "AccessDenied",
            "User: arn:aws:sts::111122223333:assumed-role/argo/awf-aws is not authorized to perform: sts:AssumeRole on \
             resource: arn:aws:iam::222233334444:role/runner",
        ),
        _ => answer(200, "{}"),
    })
    .await;
    let sagemaker = backend(&stub).await;
    for call in [start(), describe(), Call::GetCallerIdentity] {
        let failed = sagemaker.call(with_role("runner"), call).await.result.expect_err("denied");
        assert_eq!((failed.kind, failed.code.as_deref()), (Kind::Credentials, Some("AccessDenied")), "{failed:?}");
        assert_eq!(failed.request_id.as_deref(), Some("request-1"));
        assert!(failed.message.len() <= SENTENCE_LIMIT, "{failed:?}");
        for part in ["arn:aws:iam::222233334444:role/runner", "role argo", "external id", "sts:AssumeRole"] {
            assert!(failed.message.contains(part), "{part:?} is not in {}", failed.message);
        }
    }
    let long = ClientKey { role_arn: Some(format!("arn:aws:iam::222233334444:role/{}", "r".repeat(400))), ..plain() };
    let failed = sagemaker.call(long, describe()).await.result.expect_err("denied");
    assert!(failed.message.len() <= SENTENCE_LIMIT && failed.message.contains("the role must trust"), "{failed:?}");
}

#[actix_rt::test]
async fn trouble_at_sts_is_not_a_denial() {
    let rows = [
        (Reply::CloseSilently, Kind::Unreachable),
        (Reply::NeverAnswer, Kind::Unreachable),
        (answer(502, "<html>"), Kind::Unreachable),
        (sts_refusal(500, "InternalFailure", ""), Kind::Unreachable),
        (sts_refusal(400, "Throttling", "Rate exceeded"), Kind::Throttled),
        (sts_refusal(403, "RegionDisabledException", "STS is not activated in this region"), Kind::Credentials),
    ];
    for (trouble, expected) in rows {
        let stub = Stub::start(move |asked, _| match asked.operation.as_str() {
            "AssumeRole" => trouble.clone(),
            _ => answer(200, "{}"),
        })
        .await;
        let failed = backend(&stub).await.call(with_role("runner"), start()).await.result.expect_err("no credentials");
        assert_eq!(failed.kind, expected, "{failed:?}");
        assert!(!stub.operations().iter().any(|o| o == "StartPipelineExecution"));
    }
}

#[actix_rt::test]
async fn keys_that_aws_does_not_accept_are_a_credentials_matter() {
    let stub =
        Stub::always(refusal("UnrecognizedClientException", "The security token included in the request is invalid."))
            .await;
    let failed = failure(&stub, describe()).await;
    assert_eq!(failed.kind, Kind::Credentials);
    assert!(failed.message.len() <= SENTENCE_LIMIT);
    for part in ["eu-west-1", "UnrecognizedClientException", "request-1"] {
        assert!(failed.message.contains(part), "{failed:?}");
    }
}

#[actix_rt::test]
async fn a_pod_without_an_identity_is_told_to_get_one_when_the_metadata_service_turns_it_away() {
    let stub = Stub::always(answer(403, "")).await;
    let told = in_a_pod(
        "no-identity",
        &stub,
        &[
            ("AWS_ROLE_ARN", ""),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", ""),
            ("AWS_EC2_METADATA_DISABLED", ""),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &stub.url),
        ],
    )
    .await;
    assert!(told.contains("annotate the workflow's service account"), "{told}");
}
