//! The dashboards, made from the catalogue: a query can only name a metric that exists, and colours, units and
//! selectors are decided in one place.
//!
//! `awf-aws monitoring dashboards DIRECTORY` writes them; `monitoring/grafana/dashboards/` holds what it wrote, and
//! `tests/it/monitoring/dashboards.rs` fails when the two differ.
//!
//! The JSON is Grafana's classic form with schema version 39: Grafana 10 to 12 take it as it is, 13 migrates it on load.

use std::{fs, io, path::Path};

use serde_json::Value;

mod aws;
mod builder;
mod overview;
mod panel;
pub mod query;
mod runtime;

/// A dashboard's file name and content.
pub struct Dashboard {
    /// Its file's name.
    pub file: &'static str,
    /// Grafana's JSON of it.
    pub json: Value,
}

/// All dashboards.
pub fn dashboards() -> Vec<Dashboard> {
    vec![
        Dashboard { file: "awf-aws-overview.json", json: overview::dashboard() },
        Dashboard { file: "awf-aws-api.json", json: aws::dashboard() },
        Dashboard { file: "awf-aws-runtime.json", json: runtime::dashboard() },
    ]
}

/// A dashboard as it is written to a file.
pub fn text(dashboard: &Dashboard) -> String {
    format!("{:#}\n", dashboard.json)
}

/// Writes all dashboards into a directory.
pub fn write(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    dashboards().iter().try_for_each(|dashboard| fs::write(directory.join(dashboard.file), text(dashboard)))
}
