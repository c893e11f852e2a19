//! Metrics, dashboards and alerts, with the real parts: the binary, Prometheus, promtool, Alertmanager.

use std::path::{Path, PathBuf};

mod alerts;
mod catalogue;
mod dashboards;
mod linger;
mod live;
mod rules;
mod scene;
mod targets;

/// A file or folder below `monitoring/`.
fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring").join(path)
}

/// A shipped YAML file as JSON.
fn yaml(path: &str) -> serde_json::Value {
    let file = shipped(path);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    yaml_serde::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Every word of a text that looks like one of our metrics.
fn metric_names(text: &str) -> Vec<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("awf_aws_") || word.starts_with("process_"))
        .collect()
}
