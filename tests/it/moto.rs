//! The plugin against moto, an emulator of AWS that others wrote: a second opinion on the wire format.
//!
//! moto 5.2.5 knows pipelines by name only, ends every execution at once, and has neither steps nor stop.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{
    argo::{Plugin, execute, output, request},
    process::{Process, free_port},
    python::{clean, python, run_script},
};

/// moto's own account, which its STS answers.
const ACCOUNT: &str = "123456789012";

/// moto lists no steps; the plugin has to give that up before it reports the end.
#[actix_rt::test]
async fn a_pipeline_in_moto_is_validated_and_executed() {
    let Some(python) = python() else { return };
    let port = free_port().to_string();
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(python);
    clean(command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port]));
    let mut moto = Process::start("moto_server", &mut command);
    assert!(moto.answers(&endpoint).await, "moto_server ended:\n{}", moto.log());
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
