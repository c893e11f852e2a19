//! Which of a cluster's pods are scraped, and what their series are called.

use std::fs;

use serde_json::{Value, json};

use super::yaml;
use crate::support::{
    process::TempDir,
    prometheus::{Server, installed},
};

/// A container's port as Prometheus discovers it in Kubernetes (labels as recorded there).
fn discovered(pod: &str, phase: &str, container: &str, port: Option<(&str, u16)>) -> Value {
    let address = port.map_or("10.0.0.1".to_owned(), |(_, number)| format!("10.0.0.1:{number}"));
    let mut labels = json!({
        "__meta_kubernetes_namespace": "ml",
        "__meta_kubernetes_pod_name": pod,
        "__meta_kubernetes_pod_phase": phase,
        "__meta_kubernetes_pod_ip": "10.0.0.1",
        "__meta_kubernetes_pod_ready": "true",
        "__meta_kubernetes_pod_container_name": container,
        "__meta_kubernetes_pod_container_init": "false",
        "__meta_kubernetes_pod_label_workflows_argoproj_io_component": "agent",
        "__meta_kubernetes_pod_label_workflows_argoproj_io_workflow": "train",
    });
    if let Some((name, number)) = port {
        labels["__meta_kubernetes_pod_container_port_name"] = json!(name);
        labels["__meta_kubernetes_pod_container_port_number"] = json!(number.to_string());
    }
    json!({"targets": [address], "labels": labels})
}

#[actix_rt::test]
async fn only_the_plugins_metrics_port_of_a_running_agent_pod_is_scraped() {
    if !installed() {
        return;
    }
    let directory = TempDir::new();
    let pod = "train-1340600742-agent";
    let pods = json!([
        discovered(pod, "Running", "main", None),
        discovered(pod, "Running", "awf-aws", Some(("sm-api", 7492))),
        discovered(pod, "Running", "awf-aws", Some(("sm-metrics", 7493))),
        discovered(pod, "Running", "other-plugin", Some(("metrics", 9090))),
        discovered("gone-1340600742-agent", "Succeeded", "awf-aws", Some(("sm-metrics", 7493))),
    ]);
    let file = directory.path().join("pods.json");
    fs::write(&file, pods.to_string()).unwrap();
    let mut scrape = yaml("prometheus/scrape.yaml");
    // Debian's Prometheus is built without Kubernetes' discovery: the same labels come from a file.
    let discovery = scrape[0].as_object_mut().unwrap().remove("kubernetes_sd_configs").unwrap();
    assert_eq!(discovery[0]["selectors"][0]["label"], "workflows.argoproj.io/component=agent");
    scrape[0]["file_sd_configs"] = json!([{"files": [file]}]);
    let prometheus = Server::start("prometheus", &json!({"scrape_configs": scrape}), &[]).await;
    prometheus.until("up", 1).await;
    let found = prometheus.get("/api/v1/targets").await;
    let active = found["data"]["activeTargets"].as_array().unwrap();
    let labels: Vec<&Value> = active.iter().map(|target| &target["labels"]).collect();
    assert_eq!(
        labels,
        [
            &json!({"instance": "10.0.0.1:7493", "job": "awf-aws", "namespace": "ml", "pod": pod, "container": "awf-aws"})
        ]
    );
    assert_eq!(found["data"]["droppedTargets"].as_array().map(Vec::len), Some(4));
}

#[test]
fn the_operators_form_of_the_scrape_is_the_same() {
    let (scrape, monitor) = (&yaml("prometheus/scrape.yaml")[0], yaml("prometheus/podmonitor.yaml"));
    let (spec, endpoint) = (&monitor["spec"], &monitor["spec"]["podMetricsEndpoints"][0]);
    assert_eq!(spec["selector"]["matchLabels"], json!({"workflows.argoproj.io/component": "agent"}));
    assert_eq!(spec["namespaceSelector"]["any"], true);
    assert_eq!(endpoint["port"], scrape["relabel_configs"][0]["regex"]);
    assert_eq!(endpoint["relabelings"], json!([{"targetLabel": "job", "replacement": scrape["job_name"]}]));
    for (ours, theirs) in [("interval", "scrape_interval"), ("scrapeTimeout", "scrape_timeout")] {
        assert_eq!(endpoint[ours], scrape[theirs], "{ours}");
    }
    for (ours, theirs) in [
        ("sampleLimit", "sample_limit"),
        ("labelLimit", "label_limit"),
        ("labelValueLengthLimit", "label_value_length_limit"),
    ] {
        assert_eq!(spec[ours], scrape[theirs], "{ours}");
    }
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/plugin/plugin.yaml")).unwrap();
    assert!(manifest.contains("name: sm-metrics"), "the port is called so");
}
