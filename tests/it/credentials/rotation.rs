//! Tokens that are replaced and credentials that expire while executions run.

use std::os::unix::fs::symlink;

use super::*;
use crate::support::{
    argo::{Plugin, execute, output, request},
    process::LOOK,
    simulator::Simulator,
    tokens::{ISSUER, SUBJECT},
};

/// A scenario in which STS judges, gives credentials for so long, and a step takes so long.
fn scenario(session_seconds: f64, step_seconds: f64) -> Value {
    json!({
        "pipelines": [{"name": "MyPipeline", "region": "us-west-2", "definition": {
            "Version": "2020-12-01", "Steps": [{"Name": "Train", "Type": "Training", "Arguments": {}}],
        }}],
        "faults": {"session_seconds": session_seconds, "step_seconds": step_seconds},
        "iam": {
            "oidc_providers": {provider(ACCOUNT): {"client_ids": [AUDIENCE]}},
            "roles": {ROLE: {"trust": trust_policy(ACCOUNT)}},
        },
    })
}

/// A token volume as the kubelet keeps it: a name that leads to the newest of several directories.
struct Volume(TempDir);

impl Volume {
    fn new(token: &str) -> Self {
        let volume = Self(TempDir::new());
        volume.write("first", token);
        volume
    }

    fn file(&self) -> String {
        self.0.path().join("token").display().to_string()
    }

    /// Puts another token in place, at once for whoever reads.
    fn write(&self, name: &str, token: &str) {
        let directory = self.0.path();
        fs::write(directory.join(name), token).expect("the token can be written");
        symlink(name, directory.join("next")).expect("a link can be made");
        fs::rename(directory.join("next"), directory.join("token")).expect("it can be put in place");
    }
}

async fn plugin(simulator: &Simulator, volume: &Volume) -> Plugin {
    let file = volume.file();
    let environment = [("AWS_ROLE_ARN", ROLE), ("AWS_WEB_IDENTITY_TOKEN_FILE", file.as_str())];
    Plugin::start_with(&simulator.endpoint, &[], &environment).await
}

async fn calls(simulator: &Simulator, operation: &str) -> u64 {
    simulator.book().await["calls"][operation].as_u64().unwrap_or_default()
}

/// Waits until STS was asked this often.
async fn until_asked(simulator: &Simulator, times: u64) {
    while calls(simulator, "AssumeRoleWithWebIdentity").await < times {
        tokio::time::sleep(LOOK).await;
    }
}

#[actix_rt::test]
async fn credentials_that_expire_in_the_middle_are_renewed_with_the_token_that_is_there_then() {
    // The SDK renews credentials ten seconds before they expire: here with each call.
    let simulator = Simulator::start(scenario(2.0, 4.0)).await;
    let volume = Volume::new(&token_of(&claims(in_an_hour())));
    let plugin = plugin(&simulator, &volume).await;
    let body = execute("main", json!({}));
    let arn = plugin.until_running(&body).await;
    let trusts = |subjects: Value| {
        let mut trust = trust_policy(ACCOUNT);
        trust["Statement"][0]["Condition"] = json!({"StringEquals": {format!("{ISSUER}:sub"): subjects}});
        simulator.iam(json!({"roles": {ROLE: {"trust": trust}}}))
    };
    let renewed = "system:serviceaccount:argo:renewed";
    trusts(json!([SUBJECT, renewed])).await;
    let mut second = claims(in_an_hour());
    second["sub"] = json!(renewed);
    volume.write("second", &token_of(&second));
    // From now on the first token is worth nothing.
    trusts(json!([renewed])).await;
    let asked = calls(&simulator, "AssumeRoleWithWebIdentity").await;
    until_asked(&simulator, asked + 2).await;
    let end = plugin.until_ended(&body).await;
    assert_eq!(end["node"]["phase"], "Succeeded", "{end}");
    assert_eq!(output(&end, "execution-arn"), arn);
    assert_eq!(simulator.executions().await.len(), 1);
}

#[actix_rt::test]
async fn a_stale_token_ends_no_node_that_runs_and_the_next_one_is_taken_without_a_pause() {
    let simulator = Simulator::start(scenario(2.0, 6.0)).await;
    let volume = Volume::new(&token_of(&claims(in_an_hour())));
    let plugin = plugin(&simulator, &volume).await;
    let body = execute("main", json!({}));
    let arn = plugin.until_running(&body).await;
    volume.write("stale", &token_of(&claims(now().minus(Duration::from_secs(5)))));
    let told = |reply: &Value| reply["node"]["message"].as_str().is_some_and(|text| text.contains("ExpiredToken"));
    let reply = plugin.until(&body, "the expired token is told", told).await;
    assert_eq!(reply["node"]["phase"], "Running", "{reply}");
    let message = reply["node"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("request id: ") && message.len() <= 250, "{message}");
    let asked = calls(&simulator, "AssumeRoleWithWebIdentity").await;
    // No poll of the next seconds asks STS again. Half a second is some of them.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        calls(&simulator, "AssumeRoleWithWebIdentity").await,
        asked,
        "a refused token is not sent at every poll"
    );
    volume.write("fresh", &token_of(&claims(in_an_hour())));
    let renewed = tokio::time::Instant::now();
    until_asked(&simulator, asked + 1).await;
    assert!(renewed.elapsed() < Duration::from_secs(10), "a new token needs no pause");
    let end = plugin.until_ended(&body).await;
    assert_eq!((&end["node"]["phase"], output(&end, "execution-arn")), (&json!("Succeeded"), arn.as_str()), "{end}");
}

#[actix_rt::test]
async fn a_role_of_another_account_is_refused_in_a_sentence_unless_the_operator_lists_it() {
    let simulator = Simulator::start(scenario(3600.0, 0.1)).await;
    let volume = Volume::new(&token_of(&claims(in_an_hour())));
    let body = request(json!({"role_arn": OTHER_ROLE}));
    let refused = plugin(&simulator, &volume).await.until_ended(&body).await;
    assert_eq!(refused["node"]["phase"], "Error", "{refused}");
    let message = refused["node"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("is of account 111122223333, but `account_id` is 100000000002"), "{message}");
    assert_eq!(calls(&simulator, "AssumeRole").await, 0, "nobody was asked");

    let file = volume.file();
    let environment = [("AWS_ROLE_ARN", ROLE), ("AWS_WEB_IDENTITY_TOKEN_FILE", file.as_str())];
    let flags = ["--allowed-roles=arn:aws:iam::111122223333:role/dep*", "--denied-grace=0s"];
    let listed = Plugin::start_with(&simulator.endpoint, &flags, &environment).await;
    let denied = listed.until_ended(&body).await;
    let message = denied["node"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("AssumeRoleErr: … AccessDenied"), "now it is IAM that says no: {message}");
}
