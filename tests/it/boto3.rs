//! boto3, a client that nobody here wrote, keeps the simulator honest: it drives every operation.

use std::{fs, path::Path};

use serde_json::json;

use crate::support::{
    python::{python, run_script},
    simulator::Simulator,
};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// Runs all cases of a script against a simulator of its own.
async fn drive(script: &'static str, more: &'static [&'static str]) {
    let Some(python) = python() else { return };
    let simulator = Simulator::start(json!({})).await;
    // Another thread, so that nothing here stands still while Python runs.
    let endpoint = simulator.endpoint.clone();
    let said = actix_rt::task::spawn_blocking(move || {
        let arguments: Vec<&str> = std::iter::once(endpoint.as_str()).chain(more.iter().copied()).collect();
        run_script(python, script, &arguments)
    });
    let said = said.await.expect("the script's thread");
    let written = fs::read_to_string(Path::new(REPOSITORY).join("tests/python").join(script)).expect("it is there");
    let cases = written.matches("\n    def test_").count();
    assert!(said.contains(&format!("Ran {cases} tests")) && cases > 0, "{said}");
}

#[actix_rt::test]
async fn boto3_drives_pipelines_executions_and_sts() {
    drive("drive_simulator.py", &[]).await;
}

#[actix_rt::test]
async fn boto3_drives_retries_jobs_and_logs() {
    drive("drive_jobs.py", &[concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/simulator/sdk/definition.json")]).await;
}
