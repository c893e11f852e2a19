//! The plugin against moto, an emulator of AWS that others wrote: a second opinion on the wire format.
//!
//! moto 5.2.5 knows pipelines by name only, ends every execution at once, and has neither steps nor stop.

use std::{fs, path::Path, process::Command};

use awf_aws::pipelines::Time;
use serde_json::{Value, json};

use crate::support::{
    argo::{Plugin, execute, output, request},
    process::{Process, TempDir, free_port},
    python::{clean, python, run_script},
    tokens::{claims, token_of},
};

/// moto's own account, which its STS answers.
const ACCOUNT: &str = "123456789012";
/// An account that is only reached by a role.
const OTHER: &str = "111122223333";

/// Starts moto; gives it with its endpoint.
async fn moto(python: &Path) -> (Process, String) {
    let port = free_port().to_string();
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(python);
    clean(command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port]));
    let mut moto = Process::start("moto_server", &mut command);
    assert!(moto.answers(&endpoint).await, "moto_server ended:\n{}", moto.log());
    (moto, endpoint)
}

/// moto lists no steps; the plugin has to give that up before it reports the end.
#[actix_rt::test]
async fn a_pipeline_in_moto_is_validated_and_executed() {
    let Some(python) = python() else { return };
    let (_moto, endpoint) = moto(python).await;
    run_script(python, "create_pipeline.py", &[&endpoint, "MyPipeline"]);

    let plugin = Plugin::start(&endpoint, &[]).await;
    let validated = plugin.until_ended(&request(json!({"account_id": ACCOUNT}))).await;
    assert_eq!(validated["node"]["phase"], "Succeeded", "{validated}");
    let arn = format!("arn:aws:sagemaker:us-west-2:{ACCOUNT}:pipeline/MyPipeline");
    assert_eq!(output(&validated, "pipeline-arn"), arn, "{validated}");
    assert_eq!(output(&validated, "pipeline-status"), "Active", "{validated}");

    let executed = plugin.until_ended(&execute("node", json!({"account_id": ACCOUNT}))).await;
    assert_eq!(executed["node"]["phase"], "Succeeded", "{executed}");
    assert!(output(&executed, "execution-arn").starts_with(&format!("{arn}/execution/")), "{executed}");
    assert_eq!(output(&executed, "status"), "Succeeded", "{executed}");

    let missing: Value = request(json!({"account_id": ACCOUNT, "pipeline_name": "NoSuchPipeline"}));
    let refused = plugin.until_ended(&missing).await;
    assert_eq!(refused["node"]["phase"], "Error", "{refused}");
}

/// moto gives credentials for any token, and has them act in the role's account: so what is not found there was asked for
/// in the wrong one.
#[actix_rt::test]
async fn a_web_identity_and_a_role_of_another_account_get_through_an_sts_of_others() {
    let Some(python) = python() else { return };
    let (_moto, endpoint) = moto(python).await;
    let role = format!("arn:aws:iam::{OTHER}:role/team/runner");
    run_script(python, "create_pipeline.py", &[&endpoint, "MyPipeline"]);
    run_script(python, "create_pipeline.py", &[&endpoint, "Theirs", "--role", &role]);

    let directory = TempDir::new();
    let file = directory.path().join("token");
    fs::write(&file, token_of(&claims(Time::at(4_000_000_000_000)))).expect("the web identity token can be written");
    let file = file.display().to_string();
    let own = format!("arn:aws:iam::{ACCOUNT}:role/plugin");
    let environment = [("AWS_ROLE_ARN", own.as_str()), ("AWS_WEB_IDENTITY_TOKEN_FILE", file.as_str())];
    let plugin = Plugin::start_with(&endpoint, &[], &environment).await;

    let ours = plugin.until_ended(&execute("ours", json!({"account_id": ACCOUNT}))).await;
    assert_eq!(ours["node"]["phase"], "Succeeded", "{ours}");
    let there = json!({"account_id": OTHER, "pipeline_name": "Theirs", "role_arn": role, "external_id": "ticket-7"});
    let theirs = plugin.until_ended(&execute("theirs", there.clone())).await;
    assert_eq!(theirs["node"]["phase"], "Succeeded", "{theirs}");
    let prefix = format!("arn:aws:sagemaker:us-west-2:{OTHER}:pipeline/Theirs/execution/");
    assert!(output(&theirs, "execution-arn").starts_with(&prefix), "{theirs}");

    let mut elsewhere = there;
    elsewhere["pipeline_name"] = json!("MyPipeline");
    let missing = plugin.until_ended(&request(elsewhere)).await;
    assert_eq!(missing["node"]["phase"], "Error", "moto's own account has it, theirs has not: {missing}");
}
