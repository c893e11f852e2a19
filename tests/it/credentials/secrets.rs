//! No secret gets out, however much is logged: planted ones are looked for in the log, the answers and the metrics.

use awf_aws::secrets::masked as redact;

use super::*;
use crate::{
    sagemaker_mapping::stub::{Reply, Stub, answer, refusal, sts_refusal},
    support::argo::{Plugin, TOKEN, execute, request},
};

const SECRET_KEY: &str = "planted+secret/key+of+the+first+hop00000";
const SESSION: &str = "IQoJplantedSessionTokenOfTheFirstHop//////////wEaCXVzLXdlc3QtMiJHMEUCIQ==";
const OTHER_SECRET_KEY: &str = "planted+secret/key+of+the+other+hop00000";
const OTHER_SESSION: &str = "IQoJplantedSessionTokenOfTheOtherHop//////////wEaCXVzLXdlc3QtMiJHMEUCIQ==";

/// STS's answer with planted credentials.
fn credentials(action: &str, secret: &str, session: &str) -> Reply {
    answer(
        200,
        format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
             <AccessKeyId>ASIAPLANTEDPLANTEDPL</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
             <SessionToken>{session}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
             <AssumedRoleUser><AssumedRoleId>AROA:awf-aws</AssumedRoleId>\
             <Arn>arn:aws:sts::100000000002:assumed-role/runner/awf-aws</Arn></AssumedRoleUser></{action}Result>\
             </{action}Response>"
        ),
    )
}

/// Parts of a secret that are long enough to be known by.
fn canaries(token: &str) -> Vec<(&'static str, String)> {
    let mut canaries = vec![
        ("Argo's token", TOKEN.to_owned()),
        ("the secret key", SECRET_KEY.to_owned()),
        ("the session token", SESSION[..30].to_owned()),
        ("the other secret key", OTHER_SECRET_KEY.to_owned()),
        ("the other session token", OTHER_SESSION[..30].to_owned()),
        ("the access key's id", "ASIAPLANTED".to_owned()),
        ("any token at all", "eyJ".to_owned()),
    ];
    canaries.extend(token.split('.').map(|part| ("a part of the web identity token", part.to_owned())));
    canaries
}

fn look(what: &str, text: &str, token: &str) {
    for (name, canary) in canaries(token) {
        let escaped = canary.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        for canary in [canary, escaped] {
            let found = text.lines().find(|line| line.contains(&canary));
            assert_eq!(found, None, "{name} is in {what}");
        }
    }
}

/// Everything a secret could be quoted by: AWS's refusals quote tokens and whole requests.
fn script(token: String) -> impl Fn(&crate::sagemaker_mapping::stub::Asked, usize) -> Reply {
    move |asked, before| match asked.operation.as_str() {
        "AssumeRoleWithWebIdentity" if before == 0 => {
            sts_refusal(400, "InvalidIdentityToken", &format!("the token {token} is not good"))
        }
        "AssumeRoleWithWebIdentity" => credentials("AssumeRoleWithWebIdentity", SECRET_KEY, SESSION),
        "AssumeRole" => credentials("AssumeRole", OTHER_SECRET_KEY, OTHER_SESSION),
        "DescribePipeline" => refusal(
            "InvalidSignatureException",
            &format!(
                "The request signature we calculated does not match.\n\nThe Canonical String for this request should have \
                 been\n'POST\n/\n\nx-amz-security-token:{SESSION}\n'"
            ),
        ),
        "StartPipelineExecution" => refusal("AccessDeniedException", &format!("token {SESSION} may not")),
        _ => answer(200, "{}"),
    }
}

#[actix_rt::test]
async fn no_secret_is_in_the_log_the_answers_or_the_metrics_at_any_level() {
    let token = token_of(&claims(in_an_hour()));
    let directory = TempDir::new();
    let file = directory.path().join("token");
    fs::write(&file, &token).expect("the token can be written");
    let file = file.display().to_string();
    for filter in [
        &["--log-filter=trace"][..],
        &["--log-filter=trace", "--log-format=json"],
        &["--log-filter=aws_smithy_runtime=trace,aws_config=trace,aws_runtime=trace,hyper_util=trace,awf_aws=trace"],
    ] {
        let stub = Stub::start(script(token.clone())).await;
        let environment = [("AWS_ROLE_ARN", ROLE), ("AWS_WEB_IDENTITY_TOKEN_FILE", file.as_str())];
        let plugin = Plugin::start_with(&stub.url, filter, &environment).await;
        let with_role = json!({"role_arn": "arn:aws:iam::100000000002:role/other"});
        let bodies =
            [request(json!({})), execute("plain", json!({})), execute("other", with_role.clone()), request(with_role)];
        for _ in 0..12 {
            for body in &bodies {
                look("an answer", &plugin.ask(body).await.to_string(), &token);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        look("the metrics", &plugin.ops("/metrics").await.1, &token);
        let log = plugin.process.log();
        assert!(log.len() > 1000, "{log}");
        look("the log", &log, &token);
    }
}

#[test]
fn what_looks_like_a_secret_is_redacted_and_nothing_else() {
    let jwt = token_of(&claims(in_an_hour()));
    for secret in [
        format!("the token {jwt} is not good"),
        format!("WebIdentityToken={jwt}&Action=x"),
        format!("\"x-amz-security-token\": \"{SESSION}\""),
        format!("<SecretAccessKey>{SECRET_KEY}</SecretAccessKey><SessionToken>{SESSION}</SessionToken>"),
        "key ASIAPLANTEDPLANTEDPL".to_owned(),
        format!("\"authorization\": \"Bearer {TOKEN}\""),
        format!("Authorization: Bearer {TOKEN}"),
    ] {
        let clean = redact(&secret);
        look("the line", &clean, &jwt);
        look("the line", &clean.replace(TOKEN, "Argo's"), &jwt);
        assert!(clean.contains("[redacted]"), "{clean}");
    }
    for harmless in [
        "arn:aws:sagemaker:us-west-2:100000000002:pipeline/MyPipeline/execution/4wemqw2sucgh",
        "request a3ead691-6855-45ed-aa48-b3714ddcff1f token=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "iss=https://oidc.eks.us-west-2.amazonaws.com/id/A8242F25BFBB8F98F5321B2AE63C8B5C sub=system:serviceaccount:a:b",
        "ünïcode … stays",
    ] {
        assert_eq!(redact(harmless), harmless);
    }
}
