//! An alert's way to a person: the plugin, Prometheus, Alertmanager, a webhook.

use std::{fs, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

use super::{shipped, yaml};
use crate::support::{
    argo::{Plugin, request},
    process::TempDir,
    prometheus::{Server, installed, printed, run},
    simulator::{Simulator, quick},
};

#[test]
fn amtool_accepts_the_example_and_routes_by_severity() {
    if !installed() {
        return;
    }
    let directory = shipped("alertmanager");
    let judged = run("amtool", &["check-config", "alertmanager.yaml"], &directory);
    assert!(judged.status.success(), "{}", printed(&judged));
    for (severity, receiver) in [("critical", "pager"), ("warning", "chat"), ("info", "nobody")] {
        let alert = ["alertname=AwfAwsPollingStalled".to_owned(), format!("severity={severity}")];
        let arguments = ["config", "routes", "test", "--config.file=alertmanager.yaml", &alert[0], &alert[1]];
        let routed = run("amtool", &arguments, &directory);
        assert_eq!(printed(&routed).lines().next(), Some(receiver), "{severity}");
    }
}

/// The shipped rules, fast: nothing has to last.
pub fn hasty_rules(directory: &TempDir) -> String {
    let mut rules = yaml("prometheus/rules.yaml");
    for group in rules["groups"].as_array_mut().unwrap() {
        group["interval"] = json!("1s");
        for rule in group["rules"].as_array_mut().unwrap() {
            if rule["alert"].is_string() {
                rule["for"] = json!("0s");
            }
        }
    }
    let file = directory.path().join("rules.json");
    fs::write(&file, rules.to_string()).unwrap();
    file.display().to_string()
}

/// The shipped example with one webhook for everybody, fast.
fn hasty_alertmanager(webhook: &str) -> Value {
    let mut configuration = yaml("alertmanager/alertmanager.yaml");
    configuration["route"]["group_wait"] = json!("0s");
    for receiver in configuration["receivers"].as_array_mut().unwrap() {
        if let Some(hooks) = receiver["webhook_configs"].as_array_mut() {
            hooks.iter_mut().for_each(|hook| hook["url"] = json!(webhook));
        }
    }
    configuration
}

/// The body of the first request that comes.
async fn first_request(listener: &TcpListener) -> Value {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.unwrap();
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            return body;
        }
        assert!(read > 0, "the webhook's request broke off: {text}");
    }
}

#[actix_rt::test]
async fn a_denied_call_reaches_a_webhook() {
    if !installed() {
        return;
    }
    let simulator = Simulator::with_pipeline(quick(), &["Train"]).await;
    simulator.faults(json!({"deny": {"DescribePipeline": "always"}})).await;
    let plugin = Plugin::start(&simulator.endpoint, &[]).await;
    let webhook = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", webhook.local_addr().unwrap());
    let alertmanager =
        Server::start("prometheus-alertmanager", &hasty_alertmanager(&url), &["--cluster.listen-address="]).await;
    let directory = TempDir::new();
    let configuration = json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [{
            "job_name": "awf-aws",
            "static_configs": [{"targets": [plugin.ops_address()], "labels": {"namespace": "ml"}}],
        }],
        "rule_files": [hasty_rules(&directory)],
        "alerting": {"alertmanagers": [{"static_configs": [{
            "targets": [alertmanager.url.trim_start_matches("http://")],
        }]}]},
    });
    // Without it the first notification, sent before the Alertmanager is known, is repeated a minute later only.
    let _prometheus = Server::start("prometheus", &configuration, &["--rules.alert.resend-delay=1s"]).await;
    plugin.ask(&request(json!({}))).await;
    let told = timeout(Duration::from_secs(60), first_request(&webhook)).await.expect("the webhook is called");
    let alert = &told["alerts"][0];
    assert_eq!(told["receiver"], "chat");
    assert_eq!(alert["status"], "firing");
    assert_eq!(alert["labels"]["alertname"], "AwfAwsApiDenied");
    assert_eq!(alert["labels"]["operation"], "DescribePipeline");
    assert_eq!(alert["labels"]["namespace"], "ml");
    assert!(alert["annotations"]["description"].as_str().unwrap().contains("AWS denied DescribePipeline"), "{alert}");
}
